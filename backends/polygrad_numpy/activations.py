"""Activations and their like on NumPy, in place on parts that stay in the cache, without `where`.

A choice by NumPy's vector instructions takes a tenth of the time: maxima and minima with arrays (with a number they take twice as
long), products with ones and zeros, ands of bits. What they would spoil (a slope of 0 times an infinity) is declined or masked.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from polygrad_numpy.parts import MANY, WORDS, by_parts, limited

__all__ = [
    "celu",
    "elu",
    "elu_backward",
    "exp2",
    "hardswish",
    "hardswish_backward",
    "hardtanh",
    "leaky_relu",
    "leaky_relu_backward",
    "log_odds",
    "log_sigmoid_backward",
    "sigmoid",
    "silu",
    "silu_backward",
    "softplus",
    "softplus_backward",
]

# From here on exp(-z) is less than half a unit in the last place of 1 in float32, so that softplus(z) = z and sigmoid(z) = 1.
LINEAR = 17.0


def _runs(x: Any, *more: Any) -> bool:
    """Whether all are arrays, large enough and of one of the data types taken here."""
    if type(x) is not np.ndarray or x.size < MANY or x.dtype not in WORDS:
        return False
    return all(type(a) is np.ndarray and a.dtype == x.dtype for a in more)


def leaky_relu(x: Any, /, *, negative_slope: float = 0.01) -> Any:
    """The op `leaky_relu` of slopes in (0, 1]."""
    if not _runs(x) or not 0 < negative_slope <= 1:
        return NotImplemented

    def part(x: np.ndarray, y: np.ndarray) -> None:
        np.multiply(x, negative_slope, out=y)
        np.maximum(x, y, out=y)

    return by_parts(part, x, scratches=0)


def leaky_relu_backward(g: Any, x: Any, /, *, negative_slope: float) -> Any:
    """The function `leaky_relu_backward` of slopes in (0, 1], of which 1 - slope + slope is 1 in floating point too."""
    if not _runs(x, g) or not 0 < negative_slope <= 1:
        return NotImplemented

    def part(x: np.ndarray, g: np.ndarray, y: np.ndarray) -> None:
        np.copyto(y, x > 0)
        y *= 1 - negative_slope
        y += negative_slope
        y *= g

    return by_parts(part, x, g, scratches=0)


def _exponential(x: Any, alpha: float, scale: float) -> Any:
    """max(x, 0) + alpha (exp(min(x, 0) / scale) - 1), of which one of the two is 0."""
    if not _runs(x):
        return NotImplemented

    def part(zeros: np.ndarray, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> None:
        np.minimum(x, zeros, out=y)
        if scale != 1:
            y /= scale
        np.expm1(y, out=y)
        if alpha != 1:
            y *= alpha
        np.maximum(x, zeros, out=z)
        y += z

    return by_parts(limited(x, part, 0.0), x, scratches=1)


def elu(x: Any, /, *, alpha: float = 1.0) -> Any:
    """The op `elu`."""
    return _exponential(x, alpha, 1)


def celu(x: Any, /, *, alpha: float = 1.0) -> Any:
    """The op `celu`."""
    return _exponential(x, alpha, alpha)


def elu_backward(g: Any, x: Any, y: Any, /, *, alpha: float) -> Any:
    """The function `elu_backward` of positive alphas, whose results have the sign of x."""
    if not _runs(y, g) or alpha <= 0:
        return NotImplemented

    def plain(zeros: np.ndarray, y: np.ndarray, g: np.ndarray, out: np.ndarray) -> None:
        np.minimum(y, zeros, out=out)
        out += 1
        out *= g

    def part(zeros: np.ndarray, y: np.ndarray, g: np.ndarray, out: np.ndarray, up: np.ndarray) -> None:
        np.copyto(up, y > 0)
        up *= 1 - alpha
        np.minimum(y, zeros, out=out)
        out += alpha
        out += up
        out *= g

    return by_parts(limited(y, plain if alpha == 1 else part, 0.0), y, g, scratches=alpha != 1)


def hardtanh(x: Any, /, *, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """The op `hardtanh`."""
    if not _runs(x):
        return NotImplemented

    def part(low: np.ndarray, high: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
        np.maximum(x, low, out=y)
        np.minimum(y, high, out=y)

    return by_parts(limited(x, part, min_val, max_val), x, scratches=0)


def _hardswish(zeros: np.ndarray, sixes: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    np.add(x, 3, out=y)
    np.maximum(y, zeros, out=y)
    np.minimum(y, sixes, out=y)
    y *= x
    y *= 1 / 6


def hardswish(x: Any, /) -> Any:
    """The op `hardswish`."""
    return by_parts(limited(x, _hardswish, 0.0, 6.0), x, scratches=0) if _runs(x) else NotImplemented


def _hardswish_backward(
    low: np.ndarray, high: np.ndarray, x: np.ndarray, g: np.ndarray, y: np.ndarray, inside: np.ndarray
) -> None:
    below = x < 3
    np.copyto(inside, below)
    np.fmax(x, low, out=y)
    np.fmin(y, high, out=y)
    y /= 3  # as the body does, because the sum is 0 at -3/2
    y += 0.5
    y *= inside
    np.subtract(1, inside, out=inside)
    y += inside
    y *= g
    mask = inside.view(WORDS[x.dtype])
    np.copyto(mask, (x <= -3).view(np.int8))
    mask -= 1  # all bits where x is above -3
    bits = y.view(mask.dtype)
    bits &= mask


def hardswish_backward(g: Any, x: Any, /) -> Any:
    """The function `hardswish_backward`."""
    if not _runs(x, g):
        return NotImplemented
    return by_parts(limited(x, _hardswish_backward, -3.0, 3.0), x, g, scratches=1)


def softplus(x: Any, /, *, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """The op `softplus` in float32, of thresholds from which on it is linear anyway."""
    if not _runs(x) or x.dtype != np.float32 or threshold < LINEAR or beta <= 0:
        return NotImplemented

    def part(zeros: np.ndarray, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> None:
        if beta != 1:
            x = np.multiply(x, beta, out=z)
        np.abs(x, out=y)
        np.negative(y, out=y)
        np.exp(y, out=y)
        np.log1p(y, out=y)
        np.maximum(x, zeros, out=z)
        y += z
        if beta != 1:
            y /= beta

    return by_parts(limited(x, part, 0.0), x, scratches=1)


def softplus_backward(g: Any, x: Any, /, *, beta: float, threshold: float) -> Any:
    """The function `softplus_backward` in float32, of such thresholds."""
    if not _runs(x, g) or x.dtype != np.float32 or threshold < LINEAR or beta <= 0:
        return NotImplemented

    def part(x: np.ndarray, g: np.ndarray, y: np.ndarray) -> None:
        np.multiply(x, -beta, out=y)
        np.exp(y, out=y)
        y += 1
        np.divide(g, y, out=y)

    with np.errstate(over="ignore"):
        return by_parts(part, x, g, scratches=0)


# Where exp(-x) is infinite, the logistic function is 0 in what follows; it is less than the least normal number there.


def _sigmoid(x: np.ndarray, y: np.ndarray) -> None:
    np.negative(x, out=y)
    np.exp(y, out=y)
    y += 1
    np.divide(1, y, out=y)


def _silu(x: np.ndarray, y: np.ndarray) -> None:
    np.negative(x, out=y)
    np.exp(y, out=y)
    y += 1
    np.divide(x, y, out=y)


def _silu_backward(x: np.ndarray, g: np.ndarray, y: np.ndarray, s: np.ndarray) -> None:
    _sigmoid(x, s)
    np.subtract(1, s, out=y)
    y *= x
    y += 1
    y *= s
    y *= g


def _log_sigmoid_backward(x: np.ndarray, g: np.ndarray, y: np.ndarray) -> None:
    np.exp(x, out=y)
    y += 1
    np.divide(g, y, out=y)


def _logistic(part: Callable[..., None], x: Any, *more: Any, scratches: int = 0) -> Any:
    if not _runs(x, *more):
        return NotImplemented
    with np.errstate(over="ignore", invalid="ignore"):
        return by_parts(part, x, *more, scratches=scratches)


def sigmoid(x: Any, /) -> Any:
    """The op `sigmoid`."""
    return _logistic(_sigmoid, x)


def silu(x: Any, /) -> Any:
    """The op `silu`."""
    return _logistic(_silu, x)


def silu_backward(g: Any, x: Any, /) -> Any:
    """The function `silu_backward`."""
    return _logistic(_silu_backward, x, g, scratches=1)


def log_sigmoid_backward(g: Any, x: Any, /) -> Any:
    """The function `log_sigmoid_backward`."""
    return _logistic(_log_sigmoid_backward, x, g)


def _log_odds(least: np.ndarray, x: np.ndarray, y: np.ndarray, s: np.ndarray, z: np.ndarray) -> None:
    np.subtract(1, x, out=s)
    np.divide(x, s, out=y)
    np.subtract(y, 1, out=z)
    s *= z
    np.add(x, x, out=z)
    z -= 1
    z /= s  # how much y - 1 lacks of (2 x - 1) / (1 - x), which is as exact as 1 - x
    np.fmax(z, least, out=z)  # not NaN at 1/2 and 1
    np.log(y, out=y)
    y *= z


def log_odds(x: Any, /) -> Any:
    """The op `log_odds` in float32; near 1/2 by W. Kahan's correction of the logarithm for its argument's rounding."""
    if not _runs(x) or x.dtype != np.float32:
        return NotImplemented
    with np.errstate(divide="ignore", invalid="ignore"):
        return by_parts(limited(x, _log_odds, 0.25), x, scratches=2)


def exp2(x: Any, /) -> Any:
    """The op `exp2` of real numbers."""
    return np.exp2(x) if x.dtype in WORDS else NotImplemented
