"""Activation functions, as `torch.nn.functional` has them."""

from __future__ import annotations

from typing import Any

from polygrad.core import Tensor, overwrite
from polygrad.ops import activations, composite, elementwise, shapes

__all__ = [
    "elu",
    "hardtanh",
    "leaky_relu",
    "log_softmax",
    "relu",
    "relu6",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
]


def _placed(x: Tensor, y: Tensor, inplace: bool) -> Tensor:
    return overwrite(x, y) if inplace else y


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0)."""
    return _placed(input, composite.relu(input), inplace)


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
