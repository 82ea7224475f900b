"""Initial values of parameters, as `torch.nn.init` has them.

Each function fills a tensor in place, outside any graph, and returns it. All numbers come from the portable generator by operations
that round once, so one seed gives the same bits on every backend; only `orthogonal_` goes through a library's own decomposition,
whose last digits differ.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Concatenate, ParamSpec

from polygrad.autograd.modes import no_grad
from polygrad.core import Tensor
from polygrad.ops.elementwise import greater, logical_and, logical_or, sign, square
from polygrad.ops.indexing import where
from polygrad.ops.linalg import diagonal
from polygrad.ops.linalg_decompositions import qr
from polygrad.ops.reductions import any as any_of
from polygrad.ops.sorting import argsort
from polygrad.random import Generator

__all__ = [
    "calculate_gain",
    "constant_",
    "dirac_",
    "eye_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]

P = ParamSpec("P")

GAINS = {
    **dict.fromkeys(("linear", "conv1d", "conv2d", "conv3d", "sigmoid"), 1.0),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), 1.0),
    "tanh": 5.0 / 3,
    "relu": math.sqrt(2.0),
    "selu": 3.0 / 4,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """By how much to scale the weights before a nonlinearity, so that it keeps the variance.

    Args:
        nonlinearity: linear, conv1d ..., sigmoid, tanh, relu, leaky_relu or selu.
        param: the negative slope of leaky_relu, 0.01 by default.

    Raises:
        ValueError: another nonlinearity.
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, int | float):
            raise ValueError(f"negative_slope {slope} not a valid number")
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity not in GAINS:
        raise ValueError(f"Unsupported nonlinearity {nonlinearity}")
    return GAINS[nonlinearity]


def fans(tensor: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight (out, in, *kernel): how many inputs an output has, and outputs an input.

    Raises ValueError for a tensor of fewer than two axes.
    """
    if tensor.ndim < 2:
        raise ValueError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    receptive = math.prod(tensor.shape[2:])
    return tensor.shape[1] * receptive, tensor.shape[0] * receptive


def _fan(tensor: Tensor, mode: str) -> int:
    mode = mode.lower()
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    return fans(tensor)[mode == "fan_out"]


_left_out: ContextVar[bool] = ContextVar("polygrad initial values are left out", default=False)


@contextmanager
def left_out() -> Iterator[None]:
    """Inside of the block the functions of this module leave tensors as they are."""
    token = _left_out.set(True)
    try:
        yield
    finally:
        _left_out.reset(token)


def _fills(fill: Callable[Concatenate[Tensor, P], Tensor]) -> Callable[Concatenate[Tensor, P], Tensor]:
    @wraps(fill)
    def filled(tensor: Tensor, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        return tensor if _left_out.get() else fill(tensor, *args, **kwargs)

    return filled


@_fills
def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with uniform numbers of [a, b)."""
    with no_grad():
        return tensor.uniform_(a, b, generator=generator)


@_fills
def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with normal numbers."""
    with no_grad():
        return tensor.normal_(mean, std, generator=generator)


@_fills
def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Fill with normal numbers of [a, b], by drawing again what fell outside.

    Where less than 0.3 of the normal distribution lies inside, uniform numbers of [a, b] are drawn instead, and kept with a
    probability proportional to the density: x is kept when an exponential number exceeds half the excess of its square.

    Raises:
        ValueError: a is not below b, or std is not positive.
    """
    if not a < b or not std > 0:
        raise ValueError(f"trunc_normal_ expects a < b and std > 0, got a={a}, b={b} and std={std}")
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of values may be incorrect.",
            stacklevel=2,
        )
    inside = (math.erf((b - mean) / (std * math.sqrt(2))) - math.erf((a - mean) / (std * math.sqrt(2)))) / 2
    draw = _normal_within if inside > 0.3 else _uniform_within
    with no_grad():
        result, wrong = draw(tensor, mean, std, a, b, generator)
        while any_of(wrong):
            again, still = draw(tensor, mean, std, a, b, generator)
            result, wrong = where(wrong, again, result), logical_and(wrong, still)
        return tensor.copy_(result)


def _normal_within(
    x: Tensor, mean: float, std: float, a: float, b: float, generator: Generator | None
) -> tuple[Tensor, Tensor]:
    drawn = x.detach().normal_(mean, std, generator=generator)
    return drawn, logical_or(drawn < a, drawn > b)


def _uniform_within(
    x: Tensor, mean: float, std: float, a: float, b: float, generator: Generator | None
) -> tuple[Tensor, Tensor]:
    drawn = x.detach().uniform_(a, b, generator=generator)
    least = ((max(a, min(mean, b)) - mean) / std) ** 2
    excess = (square((drawn - mean) / std) - least) * 0.5
    draw = x._backend.tensors.exponential
    return drawn, greater(excess, draw(1.0, x.shape, generator=generator, dtype=x.dtype, device=x.device))


@_fills
def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one value."""
    with no_grad():
        return tensor.fill_(val)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros."""
    return constant_(tensor, 0.0)


@_fills
def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with ones on the diagonal and zeros elsewhere. Raises ValueError unless there are two axes."""
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    with no_grad():
        return tensor.copy_(tensor._backend.tensors.eye(*tensor.shape, dtype=tensor.dtype, device=tensor.device))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with uniform numbers of variance 2 gain**2 / (fan_in + fan_out) (Glorot and Bengio, 2010)."""
    bound = gain * math.sqrt(6.0 / sum(fans(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with normal numbers of variance 2 gain**2 / (fan_in + fan_out) (Glorot and Bengio, 2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(fans(tensor))), generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill with uniform numbers of variance gain**2 / fan (He et al., 2015); `a` is the slope that a leaky_relu has below 0."""
    if not tensor.numel():
        return _nothing(tensor)
    std = calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode))
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill with normal numbers of variance gain**2 / fan (He et al., 2015); `a` is the slope that a leaky_relu has below 0."""
    if not tensor.numel():
        return _nothing(tensor)
    return normal_(tensor, 0.0, calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode)), generator)


def orthonormal(x: Tensor) -> Tensor:
    """The factor Q of x = QR for a positive diagonal of R."""
    q, r = qr(x)
    return q * sign(diagonal(r)).unsqueeze(-2)


@_fills
def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator | None = None) -> Tensor:
    """Fill with orthonormal rows or columns, whichever are fewer, times `gain` (Saxe et al., 2013).

    Axes behind the first are joined. Raises ValueError for a tensor of fewer than two axes.
    """
    if tensor.ndim < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if not tensor.numel():
        return tensor
    rows = tensor.shape[0]
    columns = tensor.numel() // rows
    with no_grad():
        drawn = tensor.detach().reshape(rows, columns).clone().normal_(generator=generator)
        q = orthonormal(drawn.T if rows < columns else drawn)  # unique, and so uniformly distributed (Mezzadri, 2006)
        return tensor.copy_(((q.T if rows < columns else q) * gain).reshape(tensor.shape))


@_fills
def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill the weight of a convolution so that it keeps as many channels as it can.

    Args:
        tensor: (O, C, *kernel) of three to five axes.
        groups: into how many separate convolutions the channels O are split.

    Raises:
        ValueError: another number of axes; channels that `groups` does not divide.
    """
    if tensor.ndim not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    if tensor.shape[0] % groups:
        raise ValueError("dim 0 must be divisible by groups")
    each = tensor.shape[0] // groups
    kept = min(each, tensor.shape[1])
    middle = tuple(k // 2 for k in tensor.shape[2:])
    with no_grad():
        tensor.zero_()
        for g in range(groups):
            for c in range(kept):
                tensor[(g * each + c, c, *middle)] = 1
    return tensor


@_fills
def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> Tensor:
    """Fill a matrix with normal numbers of mean 0, and a part `sparsity` of each column with zeros (Martens, 2010).

    Raises ValueError unless there are two axes.
    """
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    zeros = math.ceil(sparsity * tensor.shape[0])
    with no_grad():
        tensor.normal_(0, std, generator=generator)
        order = argsort(tensor.detach().clone().uniform_(generator=generator), axis=0)
        return tensor.copy_(where(order < zeros, 0, tensor.detach()))


def _nothing(tensor: Tensor) -> Tensor:
    warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
    return tensor
