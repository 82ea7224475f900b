"""Parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from polygrad.core import Tensor
from polygrad.ops.shapes import concat

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements of all parameters in one vector, differentiably."""
    return concat([p.reshape(-1) for p in parameters], axis=0)


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Put the elements of a vector into parameters, in order.

    Raises:
        TypeError: anything but a Tensor.
        RuntimeError: a vector that is too short. Nothing has changed then.
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected a Tensor, but got: {type(vec).__name__}")
    given = list(parameters)
    needed = sum(p.numel() for p in given)
    if vec.numel() < needed:
        raise RuntimeError(f"expected a vector of {needed} elements, but got {vec.numel()}")
    start = 0
    for p in given:
        p.data = vec.detach()[start : start + p.numel()].reshape(p.shape).to(p.dtype)
        start += p.numel()
