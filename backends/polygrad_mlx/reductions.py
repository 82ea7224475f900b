"""Reductions with the standard's parameters and data types: sums of small integers in 64 bits, indices in int64.

MLX's own take minutes over an axis of size zero, or give what is in the memory: such results are filled here.
"""

import math
from collections.abc import Callable
from typing import Any

import mlx.core as mx

__all__ = ["FUNCTIONS"]


def _wide(x: mx.array, dtype: Any) -> mx.array:
    """x in the data type in which it is summed."""
    if dtype is not None:
        return x.astype(dtype)
    if x.dtype == mx.bool_ or mx.isdtype(x.dtype, "signed integer"):
        return x.astype(mx.int64)
    return x.astype(mx.uint64) if mx.isdtype(x.dtype, "unsigned integer") else x


def _reduced(x: mx.array, axis: Any, keepdims: bool) -> tuple[int, ...]:
    """The shape of x without the axes that are reduced."""
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple | list) else (axis,)
    gone = {a % x.ndim for a in axes}
    return tuple(1 if i in gone else n for i, n in enumerate(x.shape) if keepdims or i not in gone)


def _reduction(name: str, of_nothing: Any) -> Callable[..., mx.array]:
    function = getattr(mx, name)

    def reduce(x: mx.array, /, *, axis: Any = None, keepdims: bool = False, **options: Any) -> mx.array:
        if 0 not in x.shape:
            return function(x, axis=axis, keepdims=keepdims, **options)
        shape = _reduced(x, axis, keepdims)
        if of_nothing is None and 0 not in shape:
            raise ValueError(f"{name} of no elements has no value")
        return mx.full(shape, mx.array(of_nothing or 0, dtype=mx.bool_ if name in ("all", "any") else x.dtype))

    reduce.__name__ = name
    return reduce


_sum, _prod = _reduction("sum", 0), _reduction("prod", 1)


def sum(x: mx.array, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> mx.array:
    """The sum over axes."""
    return _sum(_wide(x, dtype), axis=axis, keepdims=keepdims)


def prod(x: mx.array, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> mx.array:
    """The product over axes."""
    return _prod(_wide(x, dtype), axis=axis, keepdims=keepdims)


def count_nonzero(x: mx.array, /, *, axis: Any = None, keepdims: bool = False) -> mx.array:
    """How many elements are not zero."""
    return _sum((x != 0).astype(mx.int64), axis=axis, keepdims=keepdims)


def _spread(name: str) -> Callable[..., mx.array]:
    mean = _reduction(name, math.nan)

    def spread(x: mx.array, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> mx.array:
        if 0 in x.shape or correction == int(correction):
            options = {} if 0 in x.shape else {"correction": int(correction)}
            return mean(x, axis=axis, keepdims=keepdims, **options)
        n = x.size // max(1, math.prod(_reduced(x, axis, False)))
        y = mx.var(x, axis=axis, keepdims=keepdims) * (n / (n - correction))
        return mx.sqrt(y) if name == "std" else y

    spread.__name__ = name
    return spread


def _cumulative(name: str, function: Callable[..., mx.array], first: int) -> Callable[..., mx.array]:
    def cumulative(
        x: mx.array, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
    ) -> mx.array:
        x = _wide(x, dtype)
        axis = 0 if axis is None else axis
        y = x if 0 in x.shape else function(x, axis=axis)
        if not include_initial:
            return y
        shape = list(y.shape)
        shape[axis] = 1
        return mx.concatenate([mx.full(shape, mx.array(first, dtype=y.dtype)), y], axis=axis)

    cumulative.__name__ = name
    return cumulative


def _place(name: str) -> Callable[..., mx.array]:
    function = getattr(mx, name)

    def place(x: mx.array, /, *, axis: int | None = None, keepdims: bool = False) -> mx.array:
        if 0 in x.shape and 0 in (shape := _reduced(x, axis, keepdims)):
            return mx.zeros(shape, dtype=mx.int64)
        return function(x, axis=axis, keepdims=keepdims).astype(mx.int64)

    place.__name__ = name
    return place


FUNCTIONS = (
    *(sum, prod, count_nonzero, _spread("var"), _spread("std")),
    *(_reduction(n, v) for n, v in (("mean", math.nan), ("max", None), ("min", None), ("all", True), ("any", False))),
    *(_cumulative("cumulative_sum", mx.cumsum, 0), _cumulative("cumulative_prod", mx.cumprod, 1)),
    *(_place("argmax"), _place("argmin")),
)
