"""The standard's elementwise functions.

At kinks the derivative is PyTorch's: the subgradient of least norm where the function is convex, the supergradient of least
norm where it is concave, else the limit.
"""

from __future__ import annotations

import builtins
import cmath
import math
from typing import Any

from polygrad.core import case, composite, discrete, general, pointwise

LN2, LN10 = math.log(2.0), math.log(10.0)

# ----------------------------------------------------------------------------------------------------- arithmetic


@pointwise(x1=1, x2=1, dtypes="numeric", boolean="logical_or", cases=[((3, 4), (3, 4)), ((3, 4), (4,))])
def add(x1, x2, /):
    """Sum, element by element."""


@pointwise(x1=1, x2=-1, dtypes="numeric", node="Sub", cases=[((3, 4), (3, 4)), ((2, 1), (3,))])
def subtract(x1, x2, /):
    """Difference, element by element."""


@pointwise(
    x1=lambda x2: x2,
    x2=lambda x1: x1,
    dtypes="numeric",
    boolean="logical_and",
    node="Mul",
    cases=[((3, 4), (3, 4)), ((3, 1), (4,))],
)
def multiply(x1, x2, /):
    """Product, element by element."""


def _one_over(x2):
    try:
        return 1 / x2
    except ZeroDivisionError:  # the number 0, which an array would not mind
        return math.copysign(math.inf, x2)


@pointwise(
    x1=_one_over,
    x2=lambda y, x2: -y / x2,
    node="Div",
    domain=(0.5, 2.0),
    cases=[((3, 4), (3, 4)), ((3, 4), (4,))],
)
def divide(x1, x2, /):
    """Quotient, element by element; integers give the default float."""


def _is_number(x: Any) -> bool:
    return isinstance(x, bool | int | float | complex)


def _pow_base(xp, x1, x2):
    """x2 * x1 ** (x2 - 1), and 0 where x2 is 0 (x1 ** 0 is constant, even at 0)."""
    if _is_number(x2):
        if x2 == 2:
            return 2 * x1
        return x2 * xp.pow(x1, x2 - 1) if x2 != 0 else xp.zeros_like(x1)
    zero = x2 == 0
    return xp.where(zero, 0, x2 * xp.pow(x1, xp.where(zero, 1, x2 - 1)))


def _pow_exponent(xp, y, x1):
    """y * log(x1); where x1 is 0, 0 for exponents from 0 on (1 at the kink x2 = 0), infinite like y for negative ones."""
    if _is_number(x1):
        if x1 == 0:
            return xp.where(xp.isinf(y), -y, 0)
        return y * (cmath.log(x1) if isinstance(x1, complex) else math.log(x1) if x1 > 0 else math.nan)
    return y * xp.log(xp.where(xp.logical_and(x1 == 0, xp.logical_not(xp.isinf(y))), 1, x1))


@pointwise(
    x1=_pow_base, x2=_pow_exponent, dtypes="numeric", domain=(0.5, 2.0), cases=[((3, 4), (3, 4)), ((3, 4), (4,))]
)
def pow(x1, x2, /):
    """x1 to the power x2, element by element."""


@pointwise(x1=0, x2=0, dtypes="real", domain=(0.6, 2.4), cases=[((3, 4), (3, 4))])
def floor_divide(x1, x2, /):
    """The largest integer not above x1 / x2; its derivative is zero."""


@pointwise(
    x1=1, x2=lambda xp, x1, x2: -xp.floor_divide(x1, x2), dtypes="real", domain=(0.6, 2.4), cases=[((3, 4), (3, 4))]
)
def remainder(x1, x2, /):
    """x1 - floor(x1 / x2) * x2, which has the sign of x2."""


@pointwise(x=-1, dtypes="numeric", node="Neg")
def negative(x, /):
    """Minus x."""


@pointwise(x=1, dtypes="numeric")
def positive(x, /):
    """Plus x."""


@pointwise(x=lambda x: 2 * x, dtypes="numeric")
def square(x, /):
    """x * x."""


@pointwise(x=lambda y: -y * y, domain=(0.5, 2.0))
def reciprocal(x, /):
    """1 / x."""


@pointwise(x=lambda y: 0.5 / y, domain=(0.2, 3.0))
def sqrt(x, /):
    """Square root (the principal one of complex numbers)."""


def _real(xp, x):
    return xp.real(x) if xp.is_complex(x) else x


@general(
    x=(lambda xp, g, x: g * xp.sign(x), lambda xp, t, x: _real(xp, t * xp.conj(xp.sign(x)))),
    dtypes="numeric",
    cases=[((3, 4),)],
)
def abs(x, /):
    """Absolute value; the derivative at 0 is 0."""


def _sign_map(xp, g, x, y):
    """The part of g across the direction of x, over |x|; zero for real x, where sign is constant, and at 0."""
    if not xp.is_complex(x):
        return xp.zeros_like(g)
    size = xp.abs(x)
    across = g - y * xp.real(xp.conj(y) * g)
    return xp.where(size == 0, 0, across / xp.where(size == 0, 1, size))


@general(x=(_sign_map, _sign_map), dtypes="numeric", cases=[((3, 4),)])
def sign(xp, x, /):
    """-1, 0 or 1; for complex numbers x / |x|, and 0 at 0."""
    if not xp.is_complex(x):
        return xp.raw.sign(x)
    size = xp.abs(x)
    return xp.where(size == 0, 0, x / xp.where(size == 0, 1, size))


# ------------------------------------------------------------------------------------------- exponentials, logarithms


@pointwise(x=lambda y: y)
def exp(x, /):
    """The exponential."""


@pointwise(x=lambda y: y + 1)
def expm1(x, /):
    """exp(x) - 1, exact near 0."""


@pointwise(x=lambda x: 1 / x, domain=(0.2, 3.0))
def log(x, /):
    """Natural logarithm."""


@pointwise(x=lambda x: 1 / (1 + x), domain=(-0.6, 3.0))
def log1p(x, /):
    """log(1 + x), exact near 0."""


@pointwise(x=lambda x: (1 / LN2) / x, domain=(0.2, 3.0))
def log2(x, /):
    """Logarithm to base 2."""


@pointwise(x=lambda x: (1 / LN10) / x, domain=(0.2, 3.0))
def log10(x, /):
    """Logarithm to base 10."""


def _weight(xp, x1, x2):
    """exp(x1) / (exp(x1) + exp(x2)); equal infinities share evenly."""
    gap = xp.where(xp.logical_and(x1 == x2, xp.isinf(x1)), 0, x2 - x1)
    return 1 / (1 + xp.exp(gap))


@pointwise(
    x1=_weight,
    x2=lambda xp, x1, x2: _weight(xp, x2, x1),
    dtypes="real floating",
    cases=[((3, 4), (3, 4)), ((3, 4), (4,))],
)
def logaddexp(x1, x2, /):
    """log(exp(x1) + exp(x2)) without overflow."""


# --------------------------------------------------------------------------------------------------- trigonometry


@pointwise(x=lambda xp, x: xp.cos(x))
def sin(x, /):
    """Sine, element by element (x in radians)."""


@pointwise(x=lambda xp, x: -xp.sin(x))
def cos(x, /):
    """Cosine, element by element (x in radians)."""


@pointwise(x=lambda y: 1 + y * y, domain=(-1.2, 1.2))
def tan(x, /):
    """Tangent, element by element (x in radians)."""


# The products of two roots, unlike the root of a product, stay on the principal branch for complex arguments.
@pointwise(x=lambda xp, x: 1 / (xp.sqrt(1 - x) * xp.sqrt(1 + x)), domain=(-0.9, 0.9))
def asin(x, /):
    """Inverse sine, in radians."""


@pointwise(x=lambda xp, x: -1 / (xp.sqrt(1 - x) * xp.sqrt(1 + x)), domain=(-0.9, 0.9))
def acos(x, /):
    """Inverse cosine, in radians."""


@pointwise(x=lambda x: 1 / (1 + x * x))
def atan(x, /):
    """Inverse tangent, in radians."""


def _over_square_radius(xp, top, x1, x2):
    r = x1 * x1 + x2 * x2
    return top / xp.where(r == 0, 1, r)


@pointwise(
    x1=lambda xp, x1, x2: _over_square_radius(xp, x2, x1, x2),
    x2=lambda xp, x1, x2: -_over_square_radius(xp, x1, x1, x2),
    dtypes="real floating",
    domain=(0.5, 2.0),
    cases=[((3, 4), (3, 4))],
)
def atan2(x1, x2, /):
    """The angle in radians of the point (x2, x1), in [-pi, pi]."""


@pointwise(
    x1=lambda xp, x1, y: x1 / xp.where(y == 0, 1, y),
    x2=lambda xp, x2, y: x2 / xp.where(y == 0, 1, y),
    dtypes="real floating",
    domain=(0.5, 2.0),
    cases=[((3, 4), (3, 4))],
)
def hypot(x1, x2, /):
    """sqrt(x1**2 + x2**2) without overflow; the derivative at (0, 0) is (0, 0)."""


@pointwise(x=lambda xp, x: xp.cosh(x))
def sinh(x, /):
    """Hyperbolic sine."""


@pointwise(x=lambda xp, x: xp.sinh(x))
def cosh(x, /):
    """Hyperbolic cosine."""


@pointwise(x=lambda y: 1 - y * y)
def tanh(x, /):
    """Hyperbolic tangent, element by element."""


@pointwise(x=lambda xp, x: 1 / xp.sqrt(x * x + 1))
def asinh(x, /):
    """Inverse hyperbolic sine."""


@pointwise(x=lambda xp, x: 1 / (xp.sqrt(x - 1) * xp.sqrt(x + 1)), domain=(1.2, 3.0))
def acosh(x, /):
    """Inverse hyperbolic cosine."""


@pointwise(x=lambda x: 1 / (1 - x * x), domain=(-0.9, 0.9))
def atanh(x, /):
    """Inverse hyperbolic tangent."""


# ------------------------------------------------------------------------------------------------- pieces and limits


def _larger(xp, g, x1, x2):
    return xp.where(x1 < x2, 0, xp.where(x1 == x2, 0.5 * g, g))


@pointwise(
    x1=_larger, x2=lambda xp, g, x1, x2: _larger(xp, g, x2, x1), dtypes="real", cases=[((3, 4), (3, 4)), ((3, 4), (4,))]
)
def maximum(x1, x2, /):
    """The larger of each pair; a tie gives half the gradient to each."""


@pointwise(
    x1=lambda xp, g, x1, x2: _larger(xp, g, x2, x1), x2=_larger, dtypes="real", cases=[((3, 4), (3, 4)), ((3, 4), (4,))]
)
def minimum(x1, x2, /):
    """The smaller of each pair; a tie gives half the gradient to each."""


def _inside(xp, g, x, low, high):
    inside = None
    if low is not None:
        inside = x >= low
    if high is not None:
        inside = x <= high if inside is None else xp.logical_and(inside, x <= high)
    return g if inside is None else xp.where(inside, g, 0)


def _at_low(xp, g, x, low, high):
    at = x < low
    if high is not None:
        at = xp.logical_and(at, low < high)
    return xp.where(at, g, 0)


def _at_high(xp, g, x, low, high):
    at = x > high
    if low is not None:
        at = xp.logical_or(at, low >= high)
    return xp.where(at, g, 0)


@pointwise(
    x=_inside,
    low=_at_low,
    high=_at_high,
    dtypes="real",
    cases=[((3, 4), -0.5, 0.7), ((3, 4), (4,), None)],
    node="Clamp",
)
def limit(xp, x, low=None, high=None, /):
    """x limited to [low, high]; on a limit the gradient is x's."""
    if all(bound is None or _is_number(bound) for bound in (low, high)):
        if low is None or high is None or low <= high:
            return xp.raw.clip(x, low, high)
    x = x if low is None else xp.maximum(x, low)  # the library's clip may refuse limits that cross
    return x if high is None else xp.minimum(x, high)


@composite(
    library=True,
    dtypes="real",
    domain={"min": (-1.0, -0.2), "max": (0.2, 1.0)},
    cases=[case((3, 4), -0.5, 0.7), case((3, 4), min=-0.5), ((3, 4), (4,), (3, 1))],
)
def clip(xp, x, /, min=None, max=None):
    """x limited to [min, max], either of which may be missing, a number or an array; high wins where they cross."""
    return xp.limit(x, min, max)


@pointwise(x=0, dtypes="real", domain=(0.1, 0.9))
def ceil(x, /):
    """The smallest integer not below x; its derivative is zero."""


@pointwise(x=0, dtypes="real", domain=(0.1, 0.9))
def floor(x, /):
    """The largest integer not above x; its derivative is zero."""


@pointwise(x=0, dtypes="numeric", domain=(0.1, 0.4), cases=[((3, 4),), case((3, 4), decimals=2)])
def round(xp, x, /, *, decimals=0):
    """The nearest number with so many decimals, halves to even (tens, hundreds ... if negative); its derivative is zero."""
    if decimals == 0:
        return xp.raw.round(x)
    scale = 10.0 ** builtins.abs(decimals)
    return xp.raw.round(x * scale) / scale if decimals > 0 else xp.raw.round(x / scale) * scale


@pointwise(x=0, dtypes="real", domain=(0.1, 0.9))
def trunc(x, /):
    """The integer part; its derivative is zero."""


@pointwise(x1=lambda xp, x1, y: xp.sign(x1) * xp.sign(y), x2=0, dtypes="real floating", cases=[((3, 4), (3, 4))])
def copysign(x1, x2, /):
    """|x1| with the sign of x2; the derivative at x1 = 0 is 0."""


@pointwise(x1=1, x2=0, dtypes="real floating", cases=[((3, 4), (3, 4))])
def nextafter(x1, x2, /):
    """The number after x1 in the direction of x2; it moves with x1."""


# -------------------------------------------------------------------------------------------------------- complex


def as_arrays(xp, x1, x2):
    """Two operands, of which one may be a number, as arrays of one data type."""
    like = x1 if hasattr(x1, "dtype") else x2
    place = {"dtype": like.dtype, "device": xp.device(like)}
    return tuple(x if hasattr(x, "dtype") else xp.asarray(x, **place) for x in (x1, x2))


def as_complex(xp, g):
    """g in the complex type of its precision."""
    return g if xp.is_complex(g) else xp.astype(g, xp.result_type(g.dtype, xp.complex64))


@general(x=(lambda g: g, lambda xp, t: _real(xp, t)), dtypes="numeric", cases=[((3, 4),)])
def real(xp, x, /):
    """The real part; a real x is its own."""
    return xp.raw.real(x) if xp.is_complex(x) else x


@general(
    x=(lambda xp, g: 1j * as_complex(xp, g), lambda xp, t: xp.imag(as_complex(xp, t))),
    dtypes="complex",
    cases=[((3, 4),)],
)
def imag(x, /):
    """The imaginary part of a complex x; as in the standard and PyTorch, a real one is an error."""


@general(x=(lambda xp, g: xp.conj(g), lambda xp, t: xp.conj(t)), dtypes="numeric", cases=[((3, 4),)])
def conj(xp, x, /):
    """The complex conjugate; a real x is its own."""
    return xp.raw.conj(x) if xp.is_complex(x) else x


# -------------------------------------------------------------------------------------- comparison, logic, bits


@discrete(cases=[((3, 4), (3, 4))])
def equal(x1, x2, /):
    """True where x1 == x2."""


@discrete(cases=[((3, 4), (3, 4))])
def not_equal(x1, x2, /):
    """True where x1 != x2."""


@discrete(dtypes="real", cases=[((3, 4), (3, 4))])
def less(x1, x2, /):
    """True where x1 < x2."""


@discrete(dtypes="real", cases=[((3, 4), (3, 4))])
def less_equal(x1, x2, /):
    """True where x1 <= x2."""


@discrete(dtypes="real", cases=[((3, 4), (3, 4))])
def greater(x1, x2, /):
    """True where x1 > x2."""


@discrete(dtypes="real", cases=[((3, 4), (3, 4))])
def greater_equal(x1, x2, /):
    """True where x1 >= x2."""


@discrete(dtypes="numeric", cases=[((3, 4),)])
def isfinite(x, /):
    """True where x is neither infinite nor NaN."""


@discrete(dtypes="numeric", cases=[((3, 4),)])
def isinf(x, /):
    """True where x is infinite."""


@discrete(dtypes="numeric", cases=[((3, 4),)])
def isnan(x, /):
    """True where x is NaN."""


@discrete(dtypes="real floating", cases=[((3, 4),)])
def signbit(x, /):
    """True where the sign bit of x is set (also for -0.0)."""


@discrete(dtypes="boolean")
def logical_not(x, /):
    """True where x is false."""


@discrete(dtypes="boolean")
def logical_and(x1, x2, /):
    """True where both are true."""


@discrete(dtypes="boolean")
def logical_or(x1, x2, /):
    """True where either is true."""


@discrete(dtypes="boolean")
def logical_xor(x1, x2, /):
    """True where exactly one is true."""


@discrete(dtypes="integer or boolean")
def bitwise_and(x1, x2, /):
    """And of the bits."""


@discrete(dtypes="integer or boolean")
def bitwise_or(x1, x2, /):
    """Or of the bits."""


@discrete(dtypes="integer or boolean")
def bitwise_xor(x1, x2, /):
    """Exclusive or of the bits."""


@discrete(dtypes="integer or boolean")
def bitwise_invert(x, /):
    """The bits of x inverted."""


@discrete(dtypes="integer")
def bitwise_left_shift(x1, x2, /):
    """The bits of x1 shifted left by x2."""


@discrete(dtypes="integer")
def bitwise_right_shift(x1, x2, /):
    """The bits of x1 shifted right by x2, keeping the sign."""
