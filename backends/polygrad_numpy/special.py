"""The error functions in float32: in few passes, each a call of NumPy that its vector instructions do.

The coefficients are this file's own: weighted least squares at 800 Chebyshev nodes against 40 digits, the weights raised where
the error is largest until it is the same everywhere (Lawson's method). Their errors are relative, in units of 2^-24. The largest
errors of the functions are those of a million numbers in each of six ranges, in units in the last place of float32 (ulp), and
with NumPy's own exp, log and tanh of AVX-512; the bodies' are 6, 9 and 6.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from polygrad_numpy.parts import by_parts, limited

__all__ = ["erf", "erfc", "erfinv"]

# Highest power first; all are positive, so that the sums lose nothing.
# erf(x) = tanh(x P(x^2) / Q(x^2)) to 0.06 units up to |x| = 4; beyond, the argument is above 9 and erf(x) rounds to 1.
ERF_TOP = (0.00217827939, 0.0426465343, 0.279806803, 1.12837917)
ERF_BOTTOM = (0.000324923856, 0.0236899085, 0.156892555, 1.0)
ERF_END = 100.0  # of x^2
# erfc(x) = exp(-x^2) P(x) / Q(x) to 0.10 units for 0 <= x <= 10.1, from where on it is less than the least number.
ERFC_TOP = (0.0327984814, 0.229228206, 0.731623929, 1.23842939, 1.0)
ERFC_BOTTOM = (0.058133096, 0.406322815, 1.32540552, 2.4022727, 2.36680913, 1.0)
ERFC_END = 11.0
# erfinv(x) = x P(w) / Q(w) to 0.22 units for w = -log(1 - x^2) <= 16; that of the number next to 1 is 15.9.
ERFINV_TOP = (2.43114315e-05, 0.000643890895, 0.00776560055, 0.0595894048, 0.306542353, 0.886226937)
ERFINV_BOTTOM = (1.29075927e-06, 0.000179528206, 0.00187706309, 0.0321892231, 0.0840969881, 1.0)
SIGN, ONE = np.int32(-(2**31)), np.float32(1).view(np.int32)  # bits
HEAD = np.int32(-(2**12))  # the bits of a number's first 12 digits


def polynomial(x: np.ndarray, coefficients: tuple[float, ...], y: np.ndarray) -> None:
    """Write a polynomial in x into y by Horner's rule."""
    np.multiply(x, coefficients[0], out=y)
    y += coefficients[1]
    for c in coefficients[2:]:
        y *= x
        y += c


def _erf(limits: np.ndarray, x: np.ndarray, y: np.ndarray, t: np.ndarray, q: np.ndarray) -> None:
    np.multiply(x, x, out=t)
    np.minimum(t, limits, out=t)
    polynomial(t, ERF_TOP, y)
    polynomial(t, ERF_BOTTOM, q)
    y /= q
    y *= x
    np.tanh(y, out=y)


def _erfc(limits: np.ndarray, x: np.ndarray, y: np.ndarray, a: np.ndarray, h: np.ndarray, p: np.ndarray) -> None:
    np.abs(x, out=a)
    np.minimum(a, limits, out=a)
    # exp(-a^2) = exp(-h^2) exp((h - a) (h + a)), where h has half of the digits: no rounding error is made a^2 times as large
    np.bitwise_and(a.view(np.int32), HEAD, out=h.view(np.int32))
    np.subtract(h, a, out=p)
    np.add(h, a, out=y)
    p *= y
    np.exp(p, out=y)
    np.multiply(h, h, out=p)
    np.negative(p, out=p)
    np.exp(p, out=p)
    y *= p
    polynomial(a, ERFC_TOP, p)
    y *= p
    polynomial(a, ERFC_BOTTOM, p)
    y /= p
    # 2 - y where x is negative: y with the sign of x, and 1 less a 1 with that sign
    sign = h.view(np.int32)
    np.bitwise_and(x.view(np.int32), SIGN, out=sign)
    bits = y.view(np.int32)
    bits |= sign
    sign |= ONE
    np.subtract(1, h, out=h)
    y += h


def _erfinv(x: np.ndarray, y: np.ndarray, s: np.ndarray, q: np.ndarray) -> None:
    np.subtract(1, x, out=s)
    np.add(1, x, out=q)
    s *= q
    np.log(s, out=s)
    least = np.minimum.reduce(s)
    np.negative(s, out=s)
    polynomial(s, ERFINV_TOP, y)
    polynomial(s, ERFINV_BOTTOM, q)
    y /= q
    y *= x
    if not least > -np.inf:  # it is -infinite or NaN
        ends = s == np.inf
        y[ends] = x[ends] * np.inf


def _single(part: Callable[..., None], x: Any, scratches: int, limit: float | None = None) -> Any:
    """What `part` makes of a float32 array that is not 0-d, without the warnings of its ends; a `limit` comes first as a vector."""
    if x.dtype != np.float32:
        return NotImplemented
    if limit is not None:
        part = limited(x, part, limit)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        return by_parts(part, x, scratches=scratches, least=1)


def erf(x: Any, /) -> Any:
    """The op `erf`, within 5 ulp."""
    return _single(_erf, x, 2, ERF_END)


def erfc(x: Any, /) -> Any:
    """The op `erfc`, within 8 ulp."""
    return _single(_erfc, x, 3, ERFC_END)


def erfinv(x: Any, /) -> Any:
    """The op `erfinv`, within 5 ulp."""
    return _single(_erfinv, x, 2)
