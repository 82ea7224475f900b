"""`mlx.core` as the standard has it: what is not named here is MLX's own function of that name.

Left out are the functions that MLX lacks; `polygrad.ops.polyfills` has them.
"""

from collections.abc import Callable
from typing import Any

import mlx.core as mx
import numpy as np

from polygrad.core.backend import Namespace
from polygrad_mlx import linear_algebra, reductions

__all__ = ["DEVICE", "device", "xp"]

DEVICE = mx.default_device()
FLOATS = (mx.float32, mx.float64, mx.float16, mx.bfloat16)


def device(x: Any) -> Any:
    """Where arrays are: memory is shared, so there is one device, the one that computes."""
    return DEVICE


def _check(device: Any) -> None:
    if device is not None and device != DEVICE:
        raise ValueError(f"MLX computes on {DEVICE} here, not on {device!r}; see mlx.core.set_default_device")


# ------------------------------------------------------------------------------------------------------------ creation


def asarray(obj: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None) -> mx.array:
    """An array of a number, nested lists or an array of the host, whose double precision is kept."""
    _check(device)
    if isinstance(obj, mx.array):
        if dtype is not None and obj.dtype != dtype:
            return obj.astype(dtype)
        return mx.array(obj) if copy else obj
    if isinstance(obj, np.ndarray | np.generic):
        if obj.dtype == np.complex128 and dtype is None:
            raise TypeError("MLX has no complex128; cast to complex64")
        dtype = dtype or (mx.float64 if obj.dtype == np.float64 else None)
        obj = np.ascontiguousarray(obj).reshape(obj.shape)
    return mx.array(obj, dtype=dtype)


def full(shape: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> mx.array:
    """One number everywhere."""
    _check(device)
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    return mx.full(shape, fill_value if isinstance(fill_value, mx.array) else mx.array(fill_value, dtype=dtype))


def _filled(name: str, value: int) -> Callable[..., mx.array]:
    def create(shape: Any, *, dtype: Any = None, device: Any = None) -> mx.array:
        return full(shape, value, dtype=mx.float32 if dtype is None else dtype, device=device)

    create.__name__ = name
    return create


zeros, ones = _filled("zeros", 0), _filled("ones", 1)


def _like(function: Callable[..., mx.array]) -> Callable[..., mx.array]:
    def create(x: mx.array, /, *value: Any, dtype: Any = None, device: Any = None) -> mx.array:
        return function(x.shape, *value, dtype=x.dtype if dtype is None else dtype, device=device)

    create.__name__ = f"{function.__name__}_like"
    return create


def eye(n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: Any = None, device: Any = None) -> mx.array:
    """Ones on the k-th diagonal."""
    _check(device)
    columns = n_rows if n_cols is None else n_cols
    rows = mx.arange(n_rows).reshape(-1, 1)
    return (mx.arange(columns) - rows == k).astype(mx.float32 if dtype is None else dtype)


def arange(start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None) -> mx.array:
    """Evenly spaced values of a half-open interval, each rounded once."""
    _check(device)
    if dtype is None and all(isinstance(v, int | None) for v in (start, stop, step)):
        dtype = mx.int64
    return asarray(np.arange(*((0, start) if stop is None else (start, stop)), step), dtype=dtype or mx.float32)


def linspace(
    start: Any, stop: Any, /, num: int, *, dtype: Any = None, device: Any = None, endpoint: bool = True
) -> Any:
    """Evenly spaced values of an interval."""
    _check(device)
    return asarray(np.linspace(start, stop, num, endpoint=endpoint), dtype=dtype or mx.float32)


def astype(x: mx.array, dtype: Any, /, *, copy: bool = True, device: Any = None) -> mx.array:
    """x in another data type."""
    _check(device)
    return x.astype(dtype)


# -------------------------------------------------------------------------------------------------- element by element


def _is_double(x: Any) -> bool:
    return isinstance(x, mx.array) and x.dtype == mx.float64


def exp(x: mx.array, /) -> mx.array:
    """e^x; MLX's own has single precision for float64."""
    return mx.power(2.718281828459045, x) if _is_double(x) else mx.exp(x)


def sin(x: mx.array, /) -> mx.array:
    """The sine, by the tangent of half of x for float64, where MLX's own has single precision."""
    if not _is_double(x):
        return mx.sin(x)
    t = mx.tan(0.5 * x)
    return 2 * t / (1 + t * t)


def cos(x: mx.array, /) -> mx.array:
    """The cosine, by the tangent of half of x for float64, where MLX's own has single precision."""
    if not _is_double(x):
        return mx.cos(x)
    t = mx.tan(0.5 * x)
    return (1 - t) * (1 + t) / (1 + t * t)


def expm1(x: mx.array, /) -> mx.array:
    """e^x - 1; of a complex x without cancellation in the real part: expm1(a) cos(b) - 2 sin(b / 2)^2."""
    if x.dtype != mx.complex64:
        return mx.expm1(x)
    a, b = mx.real(x), mx.imag(x)
    half = mx.sin(0.5 * b)
    return mx.expm1(a) * mx.cos(b) - 2 * half * half + 1j * (mx.exp(a) * mx.sin(b))


def logaddexp(x1: Any, x2: Any, /) -> mx.array:
    """log(e^x1 + e^x2), in terms of log1p for float64, for which MLX's own has single precision."""
    if not (_is_double(x1) or _is_double(x2)):
        return mx.logaddexp(x1, x2)
    high, low = mx.maximum(x1, x2), mx.minimum(x1, x2)
    gap = mx.where(high == low, 0, low - high)  # not inf - inf
    return high + mx.log1p(exp(gap))


def nextafter(x1: Any, x2: Any, /) -> mx.array:
    """The number next to x1 on the way to x2: its bits, taken for an integer, plus or minus one."""
    like = x1 if isinstance(x1, mx.array) else x2
    x1, x2 = mx.broadcast_arrays(*(x if isinstance(x, mx.array) else mx.array(x, dtype=like.dtype) for x in (x1, x2)))
    whole = mx.int64 if x1.dtype == mx.float64 else mx.int32
    away = (x2 > x1) == (x1 > 0)
    moved = (mx.contiguous(x1).view(whole) + mx.where(away, 1, -1).astype(whole)).view(x1.dtype)
    least = mx.full(x1.shape, 1, dtype=whole).view(x1.dtype)
    moved = mx.where(x1 == 0, mx.where(x2 > 0, least, -least), moved)
    return mx.where(mx.isnan(x1) | mx.isnan(x2), mx.nan, mx.where(x1 == x2, x2, moved))


def _whole(name: str) -> Callable[..., mx.array]:
    """Rounding, which leaves integers as they are."""

    def rounded(x: mx.array, /) -> mx.array:
        return x if mx.isdtype(x.dtype, "integral") else getattr(mx, name)(x)

    rounded.__name__ = name
    return rounded


def clip(x: mx.array, /, min: Any = None, max: Any = None) -> mx.array:
    """x limited to an interval."""
    return x if min is None and max is None else mx.clip(x, min, max)


def pow(x1: Any, x2: Any, /) -> mx.array:
    """x1 to the power of x2."""
    return mx.power(x1, x2)


# ------------------------------------------------------------------------------------------------------- shapes, order


def broadcast_to(x: mx.array, /, shape: Any) -> mx.array:
    """x repeated along axes of size one."""
    return mx.broadcast_to(x, tuple(shape))


def reshape(x: mx.array, /, shape: Any, *, copy: bool | None = None) -> mx.array:
    """x in another shape."""
    shape = tuple(shape)
    if -1 in shape and 0 in x.shape:  # MLX cannot infer a size then
        known = int(np.prod([n for n in shape if n != -1]))
        shape = tuple((0 if known else 1) if n == -1 else n for n in shape)
        shape = tuple(0 if known and n == -1 else n for n in shape)
    return mx.reshape(x, shape)


def flip(x: mx.array, /, *, axis: Any = None) -> mx.array:
    """x backwards along axes, all of them by default."""
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple | list) else (axis,)
    turned = {a % x.ndim for a in axes}
    return x[tuple(slice(None, None, -1) if i in turned else slice(None) for i in range(x.ndim))] if turned else x


def repeat(x: mx.array, repeats: Any, /, *, axis: int | None = None) -> mx.array:
    """Each slice along `axis` so many times in a row."""
    if not isinstance(repeats, mx.array):
        return mx.repeat(x, repeats, axis=axis)
    if axis is None:
        x, axis = x.reshape(-1), 0
    counts = np.broadcast_to(np.asarray(repeats), (x.shape[axis],))
    return mx.take(x, mx.array(np.repeat(np.arange(x.shape[axis]), counts)), axis=axis)


def sort(x: mx.array, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> mx.array:
    """x in order along an axis."""
    return flip(mx.sort(x, axis=axis), axis=axis) if descending else mx.sort(x, axis=axis)


def argsort(x: mx.array, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> mx.array:
    """The indices that put x in order along an axis; equal elements keep theirs."""
    if not descending:
        return mx.argsort(x, axis=axis).astype(mx.int64)
    last = x.shape[axis] - 1
    return flip(last - mx.argsort(flip(x, axis=axis), axis=axis).astype(mx.int64), axis=axis)


def searchsorted(x1: mx.array, x2: mx.array, /, *, side: str = "left", sorter: Any = None) -> mx.array:
    """Where each element of x2 belongs in x1."""
    x1 = x1 if sorter is None else mx.take(x1, sorter)
    return mx.searchsorted(x1, x2, side=side).astype(mx.int64)


def take(x: mx.array, indices: mx.array, /, *, axis: int | None = None) -> mx.array:
    """The slices of x along `axis` that the indices name."""
    if 0 in x.shape and indices.size and axis is not None and x.shape[axis]:
        return mx.zeros((*x.shape[:axis], *indices.shape, *x.shape[axis % x.ndim + 1 :]), dtype=x.dtype)
    return mx.take(x, indices, axis=axis)


# ------------------------------------------------------------------------------------------------------- the namespace

xp = Namespace(mx.__name__)
vars(xp).update({name: getattr(mx, name) for name in dir(mx) if not name.startswith("_")})
xp.__array_namespace_info__ = mx.__array_namespace_info__
xp.bool = mx.bool_
for _function in (
    *(zeros, ones, full, _like(zeros), _like(ones), _like(full)),
    *(asarray, eye, arange, linspace, astype, exp, sin, cos, expm1, logaddexp, nextafter, clip, pow),
    linear_algebra.matmul,
    *(broadcast_to, reshape, flip, repeat, sort, argsort, searchsorted, take),
    *reductions.FUNCTIONS,
):
    setattr(xp, _function.__name__, _function)
xp.empty, xp.empty_like = xp.zeros, xp.zeros_like
for _name in ("ceil", "floor", "trunc", "round"):
    setattr(xp, _name, _whole(_name))
del xp.moveaxis  # takes one axis only: the op's body does it
xp.linalg = linear_algebra.xp
