"""Log-gamma, digamma and trigamma of positive float32 numbers, in double precision: their zeros then need no form of their own.

Each is the function at x + 4, by Stirling's series, less what the recurrence adds on the way; with u = x (x + 3) the product of
x, x + 1, x + 2 and x + 3 is u (u + 2). The series' coefficients (highest power of 1 / (x + 4)^2 first) are this file's own, by
`polygrad_numpy.special`'s method, and make a relative error of less than 0.01 units of 2^-24.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from polygrad_numpy.memory import aligned
from polygrad_numpy.parts import PART, by_parts
from polygrad_numpy.special import polynomial

__all__ = ["digamma", "lgamma", "polygamma"]

LGAMMA = (0.0007321315599940454, -0.0027755577399221952, 0.08333330684820628)
DIGAMMA = (-0.0035814431946529887, 0.008320940345129266, -0.08333320438356916)
TRIGAMMA = (0.021479867436919774, -0.03328320088201725, 0.16666638004177498)
DOUBLE = np.dtype(np.float64)


def _product(d: np.ndarray, u: np.ndarray, p: np.ndarray) -> None:
    """Write d (d + 3) into u and the product of four factors into p."""
    np.add(d, 3, out=u)
    u *= d
    np.add(u, 2, out=p)
    p *= u


def _lgamma(d: np.ndarray, p: np.ndarray, r: np.ndarray, s: np.ndarray) -> np.ndarray:
    _product(d, s, p)
    np.log(p, out=p)
    d += 4
    np.divide(1, d, out=r)
    np.log(d, out=s)
    s -= 1
    d -= 0.5
    d *= s  # (y - 1/2) log y - y + 1/2
    d -= p
    np.multiply(r, r, out=p)
    polynomial(p, LGAMMA, s)
    s *= r
    s += 0.5 * math.log(2 * math.pi) - 0.5
    s += d
    return s


def _digamma(d: np.ndarray, p: np.ndarray, r: np.ndarray, s: np.ndarray) -> np.ndarray:
    _product(d, s, p)
    s += 1
    np.add(d, 1.5, out=r)
    s *= r
    s *= 4
    s /= p  # the sum of 1 / x, 1 / (x + 1) ... 1 / (x + 3)
    d += 4
    np.log(d, out=p)
    p -= s
    np.divide(1, d, out=r)
    np.multiply(r, r, out=d)
    polynomial(d, DIGAMMA, s)
    s *= d
    r *= 0.5
    s -= r
    s += p
    return s


def _trigamma(d: np.ndarray, p: np.ndarray, r: np.ndarray, s: np.ndarray) -> np.ndarray:
    _product(d, s, p)
    s += 1
    s *= 4  # 4 v, where v = u + 1
    np.divide(1, p, out=p)
    np.add(d, 1.5, out=r)
    r *= r  # w^2, where w = x + 3/2
    d += 4
    # (16 w^2 v^2 / p - 8 w^2 - 4 v) / p is the sum of 1 / x^2 ... 1 / (x + 3)^2
    t = s * p
    t *= s
    t -= 8
    t *= r
    t -= s
    p *= t
    np.divide(1, d, out=r)
    np.multiply(r, r, out=d)
    polynomial(d, TRIGAMMA, s)
    s *= r
    s += 0.5
    s *= d
    s += r
    s += p
    return s


def _positive(function: Callable[..., np.ndarray], x: Any) -> Any:
    """What the function makes of float32 arrays of positive finite numbers."""
    if type(x) is not np.ndarray or x.dtype != np.float32 or not x.size:
        return NotImplemented
    if not (np.minimum.reduce(x, None) > 0 and np.maximum.reduce(x, None) < np.inf):
        return NotImplemented
    scratch = aligned(DOUBLE, *[(min(PART, x.size),)] * 4)

    def part(x: np.ndarray, y: np.ndarray) -> None:
        d, *more = [s[: x.size] for s in scratch]
        np.copyto(d, x)
        np.copyto(y, function(d, *more), casting="same_kind")

    with np.errstate(over="ignore", under="ignore"):
        return by_parts(part, x, scratches=0, least=1)


def lgamma(x: Any, /) -> Any:
    """The op `lgamma`, within 0.6 ulp."""
    y = _positive(_lgamma, x)
    if y is not NotImplemented:
        zeros = np.logical_or(x == 1, x == 2)
        if zeros.any():  # where the sum is 1e-16
            y[zeros] = 0
    return y


def digamma(x: Any, /) -> Any:
    """The op `digamma`, within 0.6 ulp."""
    return _positive(_digamma, x)


def polygamma(n: Any, x: Any, /) -> Any:
    """The op `polygamma` of n = 1, within 0.6 ulp."""
    return _positive(_trigamma, x) if type(n) is int and n == 1 else NotImplemented
