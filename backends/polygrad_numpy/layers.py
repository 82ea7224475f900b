"""What layers are built of, on NumPy: in few passes, in place on what was just made, in parts that stay in the cache.

Each function is an op's, in its closed form. What it does not take (small or mixed arrays, float16) is declined.
"""

import math
from functools import lru_cache
from typing import Any

import numpy as np

from polygrad_numpy import onednn_matmul, onednn_pointwise
from polygrad_numpy.blas import add_outer
from polygrad_numpy.indexing import sums_at
from polygrad_numpy.memory import ones
from polygrad_numpy.parts import MANY, PART, WORDS, by_parts

__all__ = [
    "add_channels",
    "affine",
    "affine_weight",
    "any_outside_classes",
    "embedding_sum",
    "gelu_exact",
    "gelu_exact_backward",
    "gelu_tanh",
    "gelu_tanh_backward",
    "log_softmax",
    "masked_scale",
    "matmul",
    "relu_backward",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "softmax_cross_entropy_backward",
    "sum",
    "where",
]

WIDE = 1 << 15  # elements from which on a bias is added by the BLAS
NARROW = 64  # classes below which NumPy's loops are faster along the rows
LEVEL = 16.0  # exp(16) = 9e6: exponentials of values up to there need no shift, their sums and products lose nothing in float32
BITS = {4: np.int32, 8: np.int64}
# erf(z) = 1 - t (((E0 t + E1) t + ...) t + E4) exp(-z^2), t = 1 / (1 + ERF_SCALE z), to 1.5e-7 for z >= 0:
# Abramowitz and Stegun, "Handbook of mathematical functions" (1964), 7.1.26
ERF_SCALE, ERF = 0.3275911, (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
GELU_SCALE, GELU_CUBE = math.sqrt(2 / math.pi), 0.044715


# ------------------------------------------------------------------------------------------------------------- pointwise


def where(condition: Any, x1: Any, x2: Any, /) -> Any:
    """The op `where` of words of 4 or 8 bytes, by bits: as fast for any condition (NumPy's choice takes 5 times as long at random).

    It is x2 ^ ((x1 ^ x2) * condition), and of 0 and an array one product.
    """
    x, other = (x1, x2) if type(x1) is np.ndarray else (x2, x1)
    if type(x) is not np.ndarray or x.size < MANY or condition.shape != x.shape or condition.dtype != bool:
        return NotImplemented
    word = BITS.get(x.itemsize)
    if word is None or x.dtype.kind not in "fiuc":
        return NotImplemented
    if type(other) is np.ndarray:
        if other.dtype != x.dtype or other.shape != x.shape:
            return NotImplemented
        bits = np.ascontiguousarray(other).reshape(-1).view(word)
    elif x.dtype in WORDS and (type(other) is int or type(other) is float):
        bits = x.dtype.type(other).view(word)
        if not bits:
            return np.multiply(x.view(word), condition if x is x1 else ~condition).view(x.dtype)
    else:
        return NotImplemented
    if not condition.flags.c_contiguous:
        return NotImplemented
    y = np.empty(x.shape, x.dtype)
    flat = np.ascontiguousarray(x).reshape(-1).view(word), condition.reshape(-1), y.reshape(-1).view(word)
    for start in range(0, x.size, PART):
        here = slice(start, start + PART)
        bits_of_x, chosen, made = (a[here] for a in flat)
        there = bits[here] if bits.ndim else bits
        np.bitwise_xor(bits_of_x, there, out=made)
        made *= chosen
        made ^= there if x is x1 else bits_of_x
    return y


def relu_backward(g: Any, y: Any, /) -> Any:
    """The function `relu_backward`, by bits: infinite cotangents do not reach what they are not of."""
    if type(g) is not np.ndarray or (word := WORDS.get(g.dtype)) is None:
        return NotImplemented
    return np.multiply(g.view(word), y > 0).view(g.dtype)


def masked_scale(x: Any, mask: Any, /, *, scale: float) -> Any:
    """The op `masked_scale`."""
    made = where(mask, x, 0)
    if made is not NotImplemented:
        made *= scale
    return made


def _gelu_tanh(a: np.ndarray, y: np.ndarray, z: np.ndarray, *_: np.ndarray) -> None:
    np.multiply(a, a, out=z)
    z *= GELU_SCALE * GELU_CUBE
    z += GELU_SCALE
    z *= a
    np.tanh(z, out=z)
    z += 1
    z *= 0.5
    np.multiply(z, a, out=y)


def _share(a: np.ndarray, made: np.ndarray, w: np.ndarray) -> None:
    """w = made / a, what gelu took of a: half of 0. The caller lets NumPy divide by 0."""
    np.divide(made, a, out=w)
    if math.isnan(np.dot(w, w)):
        w[a == 0] = 0.5


def _gelu_tanh_backward(
    a: np.ndarray, g: np.ndarray, made: np.ndarray, y: np.ndarray, z: np.ndarray, w: np.ndarray
) -> None:
    """With w = made / a = (1 + tanh(u)) / 2 the slope is w + made (1 - w) 2 u'."""
    _share(a, made, w)
    np.multiply(a, a, out=z)
    z *= 6 * GELU_SCALE * GELU_CUBE
    z += 2 * GELU_SCALE
    np.subtract(1, w, out=y)
    y *= made
    z *= y
    z += w
    np.multiply(z, g, out=y)


def _normal(a: np.ndarray, z: np.ndarray, bell: np.ndarray, t: np.ndarray) -> None:
    """exp(-a^2 / 2) in `bell` and the normal distribution function of a in z, for a vector of float32; t is scratch."""
    np.multiply(a, a, out=bell)
    bell *= -0.5
    np.exp(bell, out=bell)
    np.abs(a, out=t)
    t *= ERF_SCALE * math.sqrt(0.5)
    t += 1
    np.divide(1, t, out=t)
    np.multiply(t, 0.5 * ERF[0], out=z)
    for coefficient in ERF[1:]:
        z += 0.5 * coefficient
        z *= t
    z *= bell  # the tail beyond |a|
    np.subtract(0.5, z, out=z)
    np.copysign(z, a, out=z)
    z += 0.5


def _gelu_exact(a: np.ndarray, y: np.ndarray, z: np.ndarray, bell: np.ndarray, t: np.ndarray) -> None:
    _normal(a, z, bell, t)
    np.multiply(z, a, out=y)


def _gelu_exact_backward(
    a: np.ndarray, g: np.ndarray, made: np.ndarray, y: np.ndarray, z: np.ndarray, w: np.ndarray
) -> None:
    """With w = made / a, the distribution function, the slope is w + a exp(-a^2 / 2) / sqrt(2 pi)."""
    _share(a, made, w)
    np.multiply(a, a, out=z)
    z *= -0.5
    np.exp(z, out=z)
    z *= a
    z *= 1 / math.sqrt(2 * math.pi)
    z += w
    np.multiply(z, g, out=y)


def _gelu_backward(part: Any, g: Any, x: Any, y: Any) -> Any:
    if y is NotImplemented:
        return y
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return by_parts(part, x, g, y, scratches=2)


def gelu_tanh(x: Any, /) -> Any:
    """The op `gelu_tanh`."""
    return by_parts(_gelu_tanh, x) if x.dtype in WORDS else NotImplemented


def gelu_tanh_backward(g: Any, x: Any, y: Any = None, /) -> Any:
    """The function `gelu_tanh_backward`."""
    if x.dtype not in WORDS:
        return NotImplemented
    return _gelu_backward(_gelu_tanh_backward, g, x, gelu_tanh(x) if y is None else y)


def gelu_exact(x: Any, /) -> Any:
    """The op `gelu_exact` in float32."""
    return by_parts(_gelu_exact, x) if x.dtype == np.float32 else NotImplemented


def gelu_exact_backward(g: Any, x: Any, y: Any = None, /) -> Any:
    """The function `gelu_exact_backward` in float32."""
    if x.dtype != np.float32:
        return NotImplemented
    return _gelu_backward(_gelu_exact_backward, g, x, gelu_exact(x) if y is None else y)


# ------------------------------------------------------------------------------------------- images that are channels-last


def _as_rows(x: np.ndarray) -> np.ndarray | None:
    """Images (N, C, *S) as rows of channels, if their memory is channels-last and not channels-first, else None."""
    if x.ndim < 3 or x.size < MANY or x.dtype not in WORDS or x.flags.c_contiguous:
        return None
    turned = x.transpose(0, *range(2, x.ndim), 1)
    return turned.reshape(-1, x.shape[1]) if turned.flags.c_contiguous else None


def add_channels(x: Any, bias: Any, /) -> Any:
    """The op `add_channels` on channels-last images: whole lines are added, where NumPy would loop over a few channels."""
    rows = _as_rows(x)
    if rows is None:
        return NotImplemented
    line = x.shape[-1]
    y = np.empty_like(x)
    made = y.transpose(0, *range(2, x.ndim), 1).reshape(-1, line * x.shape[1])
    np.add(rows.reshape(made.shape), np.tile(bias, line), out=made)
    return y


def _sums_of_columns(x: np.ndarray) -> np.ndarray:
    y = onednn_matmul.sums_of_columns(x)
    return np.matmul(ones(len(x), x.dtype), x) if y is NotImplemented else y


def sum(x: Any, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    """The op `sum`; the sums of rows, and those of the channels of channels-last images, are one product."""
    if type(axis) is tuple and dtype is None and x.size >= MANY and len(axis) == x.ndim - 1 and x.dtype in WORDS:
        if axis == tuple(range(x.ndim - 1)) and x.flags.c_contiguous:
            y = _sums_of_columns(x.reshape(-1, x.shape[-1]))
            return y.reshape(*[1] * len(axis), -1) if keepdims else y
        if axis == (0, *range(2, x.ndim)) and (rows := _as_rows(x)) is not None:
            y = _sums_of_columns(rows)
            return y.reshape(1, -1, *[1] * (x.ndim - 2)) if keepdims else y
    return np.add.reduce(x, axis, dtype, None, keepdims)


# --------------------------------------------------------------------------------------------------------------- softmax


def _sums(x1: np.ndarray, x2: np.ndarray | None = None) -> np.ndarray:
    """Sums over the last axis of x1, or of x1 * x2, which stays in the result with size one."""
    y = np.einsum("...i->...", x1) if x2 is None else np.einsum("...i,...i->...", x1, x2)
    return y[..., None]


def _last(x: Any, axis: int) -> bool:
    return type(x) is np.ndarray and x.dtype in WORDS and axis in (-1, x.ndim - 1) and bool(x.size)


def _maxima(x: np.ndarray) -> np.ndarray:
    """The maxima along the last axis, which stays with size one: their places first, which takes NumPy a third to two thirds."""
    rows = x.reshape(-1, x.shape[-1])
    return rows[_range(len(rows)), rows.argmax(1)].reshape(*x.shape[:-1], 1)


def softmax(x: Any, /, axis: int) -> Any:
    """The op `softmax` along the last axis."""
    if not _last(x, axis):
        return NotImplemented
    if np.maximum.reduce(x, None) <= LEVEL and np.minimum.reduce(x, None) >= -LEVEL:
        y = np.exp(x)
    else:
        y = np.subtract(x, _maxima(x))
        np.exp(y, out=y)
    y /= _sums(y)
    return y


def log_softmax(x: Any, /, axis: int) -> Any:
    """The op `log_softmax` along the last axis, in place."""
    if not _last(x, axis):
        return NotImplemented
    y = np.subtract(x, _maxima(x))
    y -= np.log(_sums(np.exp(y)))
    return y


def softmax_backward(g: Any, y: Any, /, *, axis: int) -> Any:
    """The function `softmax_backward` along the last axis, in place."""
    if not _last(y, axis) or g.shape != y.shape or g.dtype != y.dtype:
        return NotImplemented
    d = np.subtract(g, _sums(g, y))
    d *= y
    return d


# --------------------------------------------------------------------------------------------------------- cross-entropy


def _classes(x: Any, target: Any, axis: int) -> bool:
    """Whether x is a matrix with a row for each target."""
    return _last(x, axis) and x.ndim == 2 and type(target) is np.ndarray and target.shape == x.shape[:1]


def any_outside_classes(target: Any, /, *, classes: int, ignore_index: int) -> Any:
    """The op `any_outside_classes`: where the largest target is a class, all are, as a negative one reads as a huge word."""
    return np.False_ if target.size and _all_classes(target, classes) else NotImplemented


def _all_classes(target: np.ndarray, classes: int) -> bool:
    words = target if target.dtype == np.int64 else target.astype(np.int64)
    return bool(np.maximum.reduce(words.view(np.uint64), None) < classes)


def _ignored(x: np.ndarray, target: np.ndarray, ignore_index: int) -> np.ndarray | None:
    """Where targets are ignored, or None if none is, as where all are classes of x and the index is none."""
    classes = x.shape[1]
    if not 0 <= ignore_index < classes and _all_classes(target, classes):
        return None
    ignored = target == ignore_index
    return ignored if ignored.any() else None


def _exp_less(x: np.ndarray, less: np.ndarray) -> np.ndarray:
    """exp(x - less) with a number for each row."""
    y = onednn_pointwise.exp_less(x, less)
    if y is NotImplemented:
        y = np.subtract(x, less[:, None])
        np.exp(y, out=y)
    return y


def _labels(target: np.ndarray, ignored: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """An index of the elements of a matrix that the targets name, which are any where a target is ignored."""
    return _range(len(target)), target if ignored is None else np.where(ignored, 0, target)


def softmax_cross_entropy(x: Any, target: Any, /, *, axis: int, ignore_index: int, reduction: str) -> Any:
    """The op `softmax_cross_entropy` of a matrix, which makes one array of its size."""
    if not _classes(x, target, axis):
        return NotImplemented
    ignored = _ignored(x, target, ignore_index)
    losses = x[_labels(target, ignored)]
    if x.shape[1] < NARROW:
        z = x.T.copy()
        top = np.maximum.reduce(z)
        z -= top
        lse = np.add.reduce(np.exp(z, out=z))
    else:
        top = _maxima(x)[:, 0]
        lse = np.matmul(_exp_less(x, top), ones(x.shape[1], x.dtype))
    losses -= top
    np.log(lse, out=lse)
    np.subtract(lse, losses, out=losses)
    if ignored is not None:
        losses[ignored] = 0
    lse += top
    if reduction == "none":
        return losses, lse
    total = np.add.reduce(losses)
    if reduction == "mean":
        total = total / x.dtype.type(_counted(x, ignored))
    return total, lse


def _counted(x: np.ndarray, ignored: np.ndarray | None) -> int:
    return len(x) if ignored is None else len(x) - int(np.add.reduce(ignored))


def softmax_cross_entropy_backward(
    g: Any, g_lse: Any, x: Any, target: Any, lse: Any, /, *, axis: int, ignore_index: int, reduction: str
) -> Any:
    """The function `softmax_cross_entropy_backward` of a matrix, in place on one array of its size."""
    if g is None or g.dtype != x.dtype or not _classes(x, target, axis) or lse.dtype != x.dtype:
        return NotImplemented
    ignored = _ignored(x, target, ignore_index)
    if reduction == "mean":
        g = g / x.dtype.type(max(_counted(x, ignored), 1))
    loss = g if ignored is None else np.where(ignored, 0, g)
    d = _exp_less(x, lse)
    slope = loss if g_lse is None else loss + g_lse
    d *= slope[:, None] if slope.ndim else slope
    d[_labels(target, ignored)] -= loss
    return d


# ----------------------------------------------------------------------------------------------------- affine, embedding


def matmul(x1: Any, x2: Any, /) -> Any:
    """The op `matmul`; a stack of rows times one matrix is one product, where NumPy would make one for each matrix."""
    if x1.ndim == x2.ndim == 2 and x1.shape[1] == 1 and x2.shape[0] == 1:
        return x1 * x2  # 2 to 5 times faster on (512, 1) x (1, 4608)
    y = onednn_matmul.matmul(x1, x2)
    if y is not NotImplemented:
        return y
    if x1.ndim > 2 and x2.ndim == 2 and x1.size and x1.flags.c_contiguous and x1.shape[-1] == x2.shape[0]:
        return np.matmul(x1.reshape(-1, x1.shape[-1]), x2).reshape(*x1.shape[:-1], x2.shape[1])
    return np.matmul(x1, x2)


def affine(x: Any, weight: Any, bias: Any = None, /) -> Any:
    """The op `affine`."""
    if weight.ndim != 2:
        return NotImplemented
    if bias is not None and (y := onednn_matmul.affine(x, weight, bias)) is not NotImplemented:
        return y
    y = matmul(x, weight.T)
    if bias is not None and not (y.size >= WIDE and _add_rows(y, bias)):
        y += bias
    return y


@lru_cache(maxsize=16)
def _range(count: int) -> np.ndarray:
    return np.arange(count)


def _add_rows(y: np.ndarray, bias: np.ndarray) -> bool:
    """Add a bias to each row of a new array in place; False where there is no faster way than NumPy's."""
    if not (y.dtype == bias.dtype and bias.shape == y.shape[-1:] and bias.flags.c_contiguous and y.flags.c_contiguous):
        return False
    rows = y.reshape(-1, y.shape[-1])
    return add_outer(rows, ones(len(rows), y.dtype), bias)


def affine_weight(g: Any, x: Any, /) -> Any:
    """The function `affine_weight` of real arrays."""
    if x.dtype not in WORDS or x.ndim < 2 or not g.size or not x.size:
        return NotImplemented
    if x.ndim > 2:
        g, x = g.reshape(-1, g.shape[-1]), x.reshape(-1, x.shape[-1])
    return matmul(g.T, x)


def embedding_sum(g: np.ndarray, indices: np.ndarray, /, *, rows: int) -> Any:
    """The op `embedding_sum`; declines indices that are out of bounds."""
    places, width = indices.reshape(-1).astype(np.intp, copy=False), g.shape[-1]
    if not g.size or places.min() < 0 or places.max() >= rows:
        return NotImplemented
    total = np.zeros((rows, width), g.dtype)
    sums_at(total[None], g.reshape(1, -1, width), places)
    return total
