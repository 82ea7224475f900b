"""Activation functions, as `torch.nn.functional` has them."""

from __future__ import annotations

from typing import Any

from polygrad.autograd.modes import no_grad
from polygrad.core import Tensor, overwrite
from polygrad.ops import activations, composite, elementwise, shapes, special_erf
from polygrad.ops.indexing import where
from polygrad.ops.special import log_sigmoid

__all__ = [
    "celu",
    "celu_",
    "elu",
    "elu_",
    "gelu",
    "glu",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hardtanh_",
    "leaky_relu",
    "leaky_relu_",
    "log_softmax",
    "logsigmoid",
    "mish",
    "prelu",
    "relu",
    "relu_",
    "relu6",
    "rrelu",
    "rrelu_",
    "selu",
    "selu_",
    "sigmoid",
    "silu",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
    "threshold_",
]

# Klambauer et al., "Self-normalizing neural networks" (2017).
SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def _placed(x: Tensor, y: Tensor, inplace: bool) -> Tensor:
    return overwrite(x, y) if inplace else y


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0)."""
    y = composite.relu(input)
    return overwrite(input, y) if inplace else y


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where it is positive, negative_slope * x elsewhere."""
    return _placed(input, activations.leaky_relu(input, negative_slope=negative_slope), inplace)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where it is positive, alpha * (exp(x) - 1) elsewhere."""
    return _placed(input, activations.elu(input, alpha=alpha), inplace)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """x limited to [min_val, max_val]."""
    return _placed(input, activations.hardtanh(input, min_val=min_val, max_val=max_val), inplace)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """x limited to [0, 6]."""
    return hardtanh(input, 0.0, 6.0, inplace)


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return composite.sigmoid(input)


def tanh(input: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return elementwise.tanh(input)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x * sigmoid(x)."""
    return _placed(input, activations.silu(input), inplace)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta * x)) / beta, and x itself where beta * x is above the threshold."""
    return activations.softplus(input, beta=beta, threshold=threshold)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """1.0507 * elu(x, 1.6733), which keeps mean 0 and variance 1 (Klambauer et al., 2017)."""
    return _placed(input, activations.elu(input, alpha=SELU_ALPHA) * SELU_SCALE, inplace)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where it is positive, alpha * (exp(x / alpha) - 1) elsewhere (Barron, 2017)."""
    return _placed(input, activations.celu(input, alpha=alpha), inplace)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x times the normal distribution function of x, or its approximation "tanh" (Hendrycks and Gimpel, 2016)."""
    return special_erf.gelu(input, approximate=approximate)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * tanh(softplus(x)) (Misra, 2019)."""
    return _placed(input, activations.mish(input), inplace)


def logsigmoid(input: Tensor) -> Tensor:
    """log(1 / (1 + exp(-x))) without overflow."""
    return log_sigmoid(input)


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return input / (elementwise.abs(input) + 1)


def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x)."""
    return input - elementwise.tanh(input)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """relu6(x + 3) / 6."""
    return _placed(input, activations.hardtanh(input, min_val=-3.0, max_val=3.0) / 6 + 0.5, inplace)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * relu6(x + 3) / 6 (Howard et al., 2019)."""
    return _placed(input, activations.hardswish(input), inplace)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x where |x| is above lambd, 0 elsewhere."""
    return where(elementwise.abs(input) <= lambd, 0, input)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by lambd, and 0 where |x| is at most lambd. Raises RuntimeError for a negative lambd."""
    if lambd < 0:
        raise RuntimeError(f"lambda must be greater or equal to 0, but found to be {lambd}.")
    return where(elementwise.abs(input) <= lambd, 0, input - elementwise.sign(input.detach()) * lambd)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where it is above the threshold, `value` elsewhere."""
    return _placed(input, where(input <= threshold, value, input), inplace)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x where it is positive, weight * x elsewhere (He et al., 2015).

    Args:
        input: (N, C, *), or any shape for one weight.
        weight: one number for all channels, or one for each of the C channels.

    Raises:
        RuntimeError: another number of weights.
    """
    if weight.numel() != 1:
        channels = input.shape[1] if input.ndim > 1 else input.numel() if input.ndim else 1
        if weight.ndim != 1 or weight.numel() != channels:
            raise RuntimeError(
                f"Mismatch of parameter numbers and input channel size. Found parameter numbers = {weight.numel()} and "
                f"channel size = {channels}."
            )
        weight = weight.reshape(-1, *[1] * (input.ndim - 2))
    elif weight.ndim:
        weight = weight.reshape(())
    return where(input > 0, input, weight * input)


def rrelu(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """`leaky_relu` with slopes drawn from [lower, upper) in training, and their mean otherwise (Xu et al., 2015)."""
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    with no_grad():
        slopes = input.detach().uniform_(lower, upper)
    return _placed(input, where(input <= 0, input * slopes, input), inplace)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a * sigmoid(b) for the two halves a and b of the input along `dim` (Dauphin et al., 2016).

    Raises RuntimeError where an axis has no two halves.
    """
    if not input.ndim:
        raise RuntimeError("glu does not support 0-dimensional tensors")
    if input.shape[dim] % 2:
        raise RuntimeError(
            f"Halving dimension must be even, but dimension {dim % input.ndim} is size {input.shape[dim]}"
        )
    a, b = shapes.chunk(input, 2, dim)
    return a * composite.sigmoid(b)


def _axis(dim: int | None, ndim: int) -> int:
    """PyTorch's choice where no axis is given: 0 for 0, 1 and 3 axes, 1 for others."""
    return dim if dim is not None else 0 if ndim in (0, 1, 3) else 1


def softmax(input: Tensor, dim: int | None = None, dtype: Any = None) -> Tensor:
    """exp(x) over its sum along `dim`, in `dtype` if given."""
    x = input if dtype is None else shapes.astype(input, dtype)
    return composite.softmax(x, axis=_axis(dim, x.ndim))


def log_softmax(input: Tensor, dim: int | None = None, dtype: Any = None) -> Tensor:
    """The logarithm of `softmax` along `dim`, in `dtype` if given."""
    x = input if dtype is None else shapes.astype(input, dtype)
    return composite.log_softmax(x, axis=_axis(dim, x.ndim))


def softmin(input: Tensor, dim: int | None = None, dtype: Any = None) -> Tensor:
    """`softmax` of -x."""
    return softmax(-input, dim, dtype)


def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """A sample of the Gumbel-softmax distribution of these unnormalised log-probabilities (Jang et al., 2017).

    Args:
        tau: the temperature.
        hard: give a one-hot vector, with the derivative of the soft sample.
        eps: has no effect, as in PyTorch.
        dim: the axis of the classes.
    """
    draw = logits._backend.tensors.exponential
    noise = -elementwise.log(draw(1.0, logits.shape, dtype=logits.dtype, device=logits.device))
    soft = composite.softmax((logits + noise) / tau, axis=dim)
    if not hard:
        return soft
    classes = logits._backend.tensors.argmax(soft.detach(), axis=dim)
    sample = composite.one_hot(classes, logits.shape[dim]).to(soft.dtype)
    sample = shapes.moveaxis(sample, -1, dim)
    return sample - soft.detach() + soft


# ------------------------------------------------------------------------------------------------------------- in place


def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`celu` in place."""
    return celu(input, alpha, inplace=True)


def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`elu` in place."""
    return elu(input, alpha, inplace=True)


def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """`hardtanh` in place."""
    return hardtanh(input, min_val, max_val, inplace=True)


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """`leaky_relu` in place."""
    return leaky_relu(input, negative_slope, inplace=True)


def relu_(input: Tensor) -> Tensor:
    """`relu` in place."""
    return relu(input, inplace=True)


def rrelu_(input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False) -> Tensor:
    """`rrelu` in place."""
    return rrelu(input, lower, upper, training, inplace=True)


def selu_(input: Tensor) -> Tensor:
    """`selu` in place."""
    return selu(input, inplace=True)


def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """`threshold` in place."""
    return overwrite(input, where(input <= threshold, value, input))
