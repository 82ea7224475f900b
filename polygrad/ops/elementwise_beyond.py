"""Elementwise functions beyond the standard, under PyTorch's names."""

from __future__ import annotations

import math
from collections import namedtuple

from polygrad.core import case, composite, discrete, general, ints, pointwise
from polygrad.ops.elementwise import as_arrays, as_complex

LN2 = math.log(2)

# ------------------------------------------------------------------------------------------- division and its rests


def _quotient(xp, x1, x2):
    """x1 / x2 rounded towards 0: integers by integers stay exact."""
    y = xp.floor_divide(x1, x2)
    inexact = xp.logical_and(y < 0, y * x2 != x1)
    return y + xp.astype(inexact, y.dtype)


@composite(
    dtypes="real",
    domain={"other": (0.6, 2.4)},
    cases=[((3, 4), (3, 4)), case((3, 4), (3, 4), rounding_mode="floor"), case((3, 4), (4,), rounding_mode="trunc")],
)
def div(xp, input, other, *, rounding_mode=None):
    """Quotient, rounded towards 0 ("trunc") or down ("floor") if asked, with a derivative of zero then.

    Raises RuntimeError for another rounding mode.
    """
    if rounding_mode is None:
        return xp.divide(input, other)
    if rounding_mode == "floor":
        return xp.floor_divide(input, other)
    if rounding_mode != "trunc":
        raise RuntimeError(
            f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found {rounding_mode!r}"
        )
    operands = [x for x in (input, other) if hasattr(x, "dtype")]
    if any(xp.isdtype(x.dtype, "real floating") for x in operands) or any(isinstance(x, float) for x in (input, other)):
        return xp.trunc(xp.divide(input, other))
    return _quotient(xp, input, other)


@pointwise(
    x1=1,
    x2=lambda xp, x1, x2: -xp.trunc(x1 / x2),
    dtypes="real",
    domain={"x2": (0.6, 2.4)},
    cases=[((3, 4), (3, 4)), ((3, 4), (4,))],
)
def fmod(xp, x1, x2, /):
    """x1 - trunc(x1 / x2) * x2, which has the sign of x1."""
    x1, x2 = as_arrays(xp, x1, x2)
    rest = xp.remainder(xp.abs(x1), xp.abs(x2))
    return xp.where(x1 < 0, -rest, rest)


@composite(dtypes="real floating", cases=[((3, 4),)])
def frac(xp, input):
    """The part of each number behind the point, with the number's sign."""
    return input - xp.trunc(input)


@composite(dtypes="numeric", cases=[((3, 4), (3, 4)), case((3, 4), (4,), alpha=2)])
def rsub(xp, input, other, *, alpha=1):
    """other - alpha * input."""
    return other - (input if alpha == 1 else alpha * input)


# ------------------------------------------------------------------------------------------------- powers and scales


@composite(domain=(0.5, 2.0), cases=[((3, 4), (3, 4)), case((3, 4), 1.5)])
def float_power(xp, input, exponent):
    """input to the power exponent, in float64 (complex128 where one is complex)."""
    given = [x for x in (input, exponent) if hasattr(x, "dtype")]
    complex_ = any(xp.is_complex(x) for x in given) or any(isinstance(x, complex) for x in (input, exponent))
    wanted = xp.complex128 if complex_ else xp.float64
    return xp.pow(*(xp.astype(x, wanted) if hasattr(x, "dtype") else x for x in (input, exponent)))


@composite(dtypes="real floating", cases=[((3, 4), (3, 4)), ((3, 4), (4,))])
def logaddexp2(xp, input, other):
    """log2(2**input + 2**other) without overflow."""
    return xp.logaddexp(input * LN2, other * LN2) / LN2


@composite(dtypes="real floating", cases=[((3, 4),)])
def deg2rad(xp, input):
    """Degrees as radians."""
    return xp.multiply(input, math.pi / 180)


@composite(dtypes="real floating", cases=[((3, 4),)])
def rad2deg(xp, input):
    """Radians as degrees."""
    return xp.multiply(input, 180 / math.pi)


@composite(dtypes="real floating", cases=[((3, 4), (3, 4)), case((3, 4), ints((4,), -3, 4))])
def ldexp(xp, input, other):
    """input times 2 to the power other."""
    floating = xp.isdtype(input.dtype, ("real floating", "complex floating"))
    kind = input.dtype if floating and not xp.is_complex(input) else xp.float32
    return input * (xp.exp2(xp.astype(other, kind)) if hasattr(other, "dtype") else 2.0**other)


class Parts(namedtuple("Parts", "mantissa exponent")):
    """Numbers as mantissa * 2**exponent."""

    __slots__ = ()


def _scaled(xp, x, e):
    """x * 2**e in two steps, each of which stays within the range of exponents."""
    half = xp.floor_divide(e, 2)
    two = xp.full_like(x, 2)
    return x * xp.pow(two, xp.astype(half, x.dtype)) * xp.pow(two, xp.astype(e - half, x.dtype))


@discrete(dtypes="real floating", cases=[((3, 4),)])
def binary_exponent(xp, x, /):
    """The int32 e with 0.5 <= |x| / 2**e < 1; 0 where x is 0, infinite or NaN."""
    plain = xp.logical_and(xp.isfinite(x), x != 0)
    size = xp.where(plain, xp.abs(x), 1)
    e = xp.astype(xp.floor(xp.log2(size)), xp.int32) + 1
    mantissa = _scaled(xp, size, -e)  # the logarithm may have been rounded over a power of two
    e = e + xp.astype(mantissa >= 1, xp.int32) - xp.astype(mantissa < 0.5, xp.int32)
    return xp.where(plain, e, 0)


@composite(dtypes="real floating", domain=(0.2, 3.0), cases=[((3, 4),)])
def frexp(xp, input):
    """Mantissas of [0.5, 1), with the sign of the input, and int32 exponents of 2 (a named tuple)."""
    e = xp.binary_exponent(input)
    return Parts(_scaled(xp, input, -e), e)


# --------------------------------------------------------------------------------------------------- steps and limits


@composite(dtypes="real", cases=[((3, 4), (3, 4)), ((3, 4), ())])
def heaviside(xp, input, values):
    """0 where input is negative, 1 where it is positive, `values` where it is 0; the derivative in `input` is 0."""
    return xp.where(input == 0, values, xp.astype(input > 0, input.dtype))


def _preferred(xp, input, other, better):
    """One of each pair: the other where this is NaN, both NaN where both are; this one where they are equal."""
    if xp.isdtype(other.dtype, "real floating"):
        better = xp.logical_or(better, xp.isnan(other))
    return xp.where(better, input, other)


@composite(dtypes="real", cases=[((3, 4), (3, 4)), ((3, 4), (4,))])
def fmax(xp, input, other):
    """The larger of each pair, a number rather than NaN; of equal ones the first has the gradient."""
    return _preferred(xp, input, other, input >= other)


@composite(dtypes="real", cases=[((3, 4), (3, 4)), ((3, 4), (4,))])
def fmin(xp, input, other):
    """The smaller of each pair, a number rather than NaN; of equal ones the first has the gradient."""
    return _preferred(xp, input, other, input <= other)


@composite(dtypes="real", domain={"min": (-0.5, 0.5)}, cases=[case((3, 4), 0.1), ((3, 4), (4,))])
def clamp_min(xp, input, min):
    """The elements, not less than `min`."""
    return xp.clip(input, min=min)


@composite(dtypes="real", domain={"max": (-0.5, 0.5)}, cases=[case((3, 4), 0.1), ((3, 4), (4,))])
def clamp_max(xp, input, max):
    """The elements, not more than `max`."""
    return xp.clip(input, max=max)


def _is(xp, x, value):
    """True where x is a value that only floating types have."""
    return xp.equal(x, value) if xp.isdtype(x.dtype, "real floating") else xp.zeros_like(x, dtype=xp.bool)


@composite(dtypes="real", cases=[((3, 4),)])
def isposinf(xp, input):
    """True where the input is positive infinity."""
    return _is(xp, input, math.inf)


@composite(dtypes="real", cases=[((3, 4),)])
def isneginf(xp, input):
    """True where the input is negative infinity."""
    return _is(xp, input, -math.inf)


@composite(dtypes="any", cases=[((3, 4),)])
def isreal(xp, input):
    """True where the imaginary part is 0, so everywhere in a real tensor."""
    return xp.imag(input) == 0 if xp.is_complex(input) else xp.ones_like(input, dtype=xp.bool)


# ------------------------------------------------------------------------------------------------------------ complex


@general(
    x1=(lambda xp, g: xp.real(g), lambda xp, t: as_complex(xp, t)),
    x2=(lambda xp, g: xp.imag(as_complex(xp, g)), lambda xp, t: xp.complex(xp.zeros_like(t), t)),
    dtypes="real floating",
    name="complex",
    cases=[((3, 4), (3, 4)), ((3, 4), (4,))],
)
def complex_of(xp, x1, x2, /):
    """The complex numbers with real parts x1 and imaginary parts x2."""
    imaginary = 1j * as_complex(xp, xp.where(xp.isfinite(x2), x2, 0))
    for value in (math.inf, -math.inf):  # 1j * inf would make the real part NaN
        imaginary = xp.where(x2 == value, complex(0, value), imaginary)
    return as_complex(xp, x1) + xp.where(xp.isnan(x2), complex(0, math.nan), imaginary)


@composite(dtypes="real floating", cases=[((3, 4), (3, 4))])
def polar(xp, abs, angle):
    """The complex numbers of these absolute values and angles in radians."""
    return xp.complex(abs * xp.cos(angle), abs * xp.sin(angle))


@composite(dtypes="complex", cases=[((3, 4),)])
def view_as_real(xp, input):
    """Real and imaginary parts along a new last axis of size two. Raises RuntimeError for a real tensor."""
    if not xp.is_complex(input):
        raise RuntimeError("view_as_real is only supported for complex tensors")
    return xp.stack([xp.real(input), xp.imag(input)], axis=-1)


@composite(dtypes="real floating", cases=[((3, 2),)])
def view_as_complex(xp, input):
    """The complex numbers whose parts stand along the last axis. Raises RuntimeError unless that has size two."""
    if not input.shape or input.shape[-1] != 2:
        raise RuntimeError("Tensor must have a last dimension of size 2")
    return xp.complex(input[..., 0], input[..., 1])
