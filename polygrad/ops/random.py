"""Random bits and numbers made of them: pure functions of a state, the same bits on every backend, eager or compiled.

The source of bits is Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
1, 2, 3", SC 2011): block c of a stream is the cipher of the counter c under the stream's key. A state is an int64 array
of three words, two for the key and one for the counter. What a draw takes depends on its shape and data type alone, and
element i of a draw on i alone (but for permutations and multinomials), so a shorter draw is a prefix of a longer one.

Bits become numbers by integer arithmetic and operations that round once, so that no library and no compiler can make a
difference. Logarithms and cosines differ in the last place from library to library, and a compiler may contract
`a * b + c` into one rounding; here a product that is added to something is exact in its format, so contraction changes
nothing. 32-bit words are held in int64, because not every library computes on unsigned types.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from functools import cache
from operator import mul
from typing import Any

from polygrad.core import case, discrete, ints

# ------------------------------------------------------------------------------------------------------------ the bits

WORD = 0xFFFFFFFF
ROTATIONS = ((17, 29, 16, 24), (13, 15, 26, 6))
PARITY = 0x1BD11BDA


@discrete(dtypes="integer", cases=[(2, 3, ints((4,), 0, 2**32), ints((4,), 0, 2**32))])
def threefry2x32(xp, k0, k1, x0, x1, /):
    """The two words of the block (x0, x1) under the key (k0, k1); all are int64, in [0, 2**32).

    The body has operators only: it also takes Python's integers, which are faster than arrays for a few blocks.
    """
    keys = (k0, k1, k0 ^ k1 ^ PARITY)
    x0, x1 = x0 + k0, (x1 + k1) & WORD
    for step in range(1, 6):
        for r in ROTATIONS[step % 2]:
            x0 = x0 + x1  # 26 sums below 2**32 stay far below 2**63: one mask at the end is enough
            x1 = ((x1 << r | x1 >> (32 - r)) ^ x0) & WORD
        x0 = x0 + keys[step % 3]
        x1 = (x1 + keys[(step + 1) % 3] + step) & WORD
    return x0 & WORD, x1


STATE = ints((3,), 0, 2**31)


@discrete(promote=(), cases=[case(STATE, blocks=1), case(STATE, blocks=40)])
def draw_bits(xp, state, /, *, blocks):
    """`blocks` pairs of 32-bit words from the counter on, in an int64 array of shape (blocks, 2)."""
    counter = state[2] + xp.arange(blocks, dtype=xp.int64, device=xp.device(state))
    return xp.stack(xp.threefry2x32(state[0], state[1], counter >> 32, counter & WORD), axis=-1)


@discrete(promote=(), cases=[case(STATE, blocks=3)])
def advance(xp, state, /, *, blocks):
    """The state with its counter moved on by `blocks`."""
    return state + xp.asarray((0, 0, blocks), dtype=xp.int64, device=xp.device(state))


def _words(xp: Any, state: Any, n: int) -> Any:
    blocks = (n + 1) // 2
    return xp.reshape(xp.draw_bits(state, blocks=blocks), (2 * blocks,))[:n]


def _pairs(xp: Any, state: Any, n: int) -> tuple[Any, Any]:
    bits = xp.draw_bits(state, blocks=n)
    return bits[:, 0], bits[:, 1]


# ------------------------------------------------------------------------------------------------ integers and uniforms


def _scaled(span: Any, hi: Any, lo: Any) -> Any:
    """span * (hi * 2**32 + lo) / 2**64 rounded down (one too low at times), for a span (int or array) below 2**62."""
    top, low = span >> 31, span & 0x7FFFFFFF
    rest = ((top * hi & 1) << 30) + (top * lo >> 2) + (low * hi >> 1) + (low * lo >> 33)
    return (top * hi >> 1) + (rest >> 31)


@discrete(promote=(), cases=[case(STATE, shape=(5,), low=-3, high=7), case(STATE, shape=(2, 3), low=0, high=2**61)])
def draw_integers(xp, state, /, *, shape, low, high):
    """Integers of [low, high), where high - low < 2**62, as int64."""
    return xp.reshape(_scaled(high - low, *_pairs(xp, state, math.prod(shape))) + low, shape)


@discrete(promote=(), cases=[case(STATE, n=1), case(STATE, n=30)])
def draw_permutation(xp, state, /, *, n):
    """0 ... n - 1 in random order, as int64: the stable order of 63-bit keys."""
    hi, lo = _pairs(xp, state, n)
    return xp.astype(xp.argsort(hi << 31 | lo >> 1, stable=True), xp.int64)


@discrete(
    promote=(),
    cases=[
        case(STATE, shape=(2, 3), dtype="float32", first=0, count=2**24, scale=2.0**-24),
        case(STATE, shape=(9,), dtype="float64", first=-(2**53), count=2**54, scale=2.0**-53),
    ],
)
def draw_uniform(xp, state, /, *, shape, dtype, first, count, scale):
    """Equally likely points scale * first, scale * (first + 1) ..., `count` of them, as float32 or float64.

    What is added to is an integer; the only operation on floats is the scaling by a power of two, which is exact.
    """
    n = math.prod(shape)
    steps = _scaled(count, *_pairs(xp, state, n)) if dtype == xp.float64 else _words(xp, state, n) * count >> 32
    return xp.reshape(xp.astype(steps + first, dtype) * scale, shape)


@discrete(promote=(), cases=[case(STATE, shape=(7,), threshold=0x8000), case(STATE, shape=(2, 5), threshold=60000)])
def draw_mask(xp, state, /, *, shape, threshold):
    """True with probability threshold / 65536; two elements a word."""
    n = math.prod(shape)
    words = _words(xp, state, (n + 1) // 2)
    halves = xp.reshape(xp.stack((words & 0xFFFF, words >> 16), axis=-1), (2 * ((n + 1) // 2),))[:n]
    return xp.reshape(halves < threshold, shape)


# ------------------------------------------------------------------------------------------- normals and exponentials
#
# A quantile function is tabulated by octaves of the probability, 32 cubics an octave, because it is singular at 0:
# inside an octave it is nearly the same smooth curve. The cubics pass through the ends and thirds of their segments.

SEGMENTS = 32
NODES = 3 * SEGMENTS + 1
ORDER = 36  # of the Taylor series below: 3**-36 = 7e-18
# z and dz/dx at x = 1/2 of the last octave
TAILS = {32: (6.3379577545537895, -0.30822754217883663), 63: (9.080155124873613, -0.217680846411041)}


def _taylor(z: float, v: float) -> tuple[list[float], list[float]]:
    """Taylor coefficients of z and v = dz/dx from their values, by the differential equation dv/dx = z v**2."""
    zs, vs, squares = [z], [v], [v * v]
    for j in range(ORDER):  # fsum rounds once, whatever the version of Python; sum does not
        vs.append(math.fsum(map(mul, zs, reversed(squares))) / (j + 1))
        zs.append(vs[j] / (j + 1))
        squares.append(math.fsum(map(mul, vs, reversed(vs))))
    return zs, vs


def _polynomial(coefficients: list[float], s: float) -> float:
    value = 0.0
    for c in reversed(coefficients):
        value = value * s + c
    return value


def _normal_nodes(octaves: int) -> list[list[float]]:
    """Upper quantiles of the normal distribution at p = x * 2**-(1 + octave), at 97 equidistant x of [1/2, 1].

    With dp/dz = -exp(-z**2 / 2) / sqrt(2 pi) the quantile function obeys z'' = z z'**2 (Steinbrecher and Shaw,
    "Quantile mechanics", 2008). Its series is stepped inward from the tail, since outward errors would grow as 1 / p;
    only + * / of floats, so that every machine makes the same table.
    """
    found = []
    z, v = TAILS[octaves]
    for _ in range(octaves):
        for _ in range(2):  # from x = 1/2 over 5/8 to 3/4; the singularity at 0 is 4 and 5 times as far as the step
            zs, vs = _taylor(z, v)
            z, v = _polynomial(zs, 0.125), _polynomial(vs, 0.125)
        zs, vs = _taylor(z, v)
        found.append([_polynomial(zs, (k - 48) / 192) for k in range(NODES)])
        z, v = _polynomial(zs, 0.25), _polynomial(vs, 0.25) * 2
    return found[::-1]


def _exponential_nodes(octaves: int) -> list[list[float]]:
    """-ln(p) at p = x * 2**-octave, at 97 equidistant x of [1/2, 1]; decimal logarithms are correctly rounded."""
    import decimal  # only here: it would be a fiftieth of polygrad's import

    with decimal.localcontext() as context:
        context.prec = 30
        logs = [-(decimal.Decimal(NODES - 1 + k) / (2 * (NODES - 1))).ln() for k in range(NODES)]
        unit = decimal.Decimal(2).ln()
        return [[float(octave * unit + log) for log in logs] for octave in range(octaves)]


@cache
def _table(nodes: Callable[[int], list[list[float]]], bits: int) -> tuple[list[int], ...]:
    """Coefficients of the cubics, highest power first, in units of 2**-UNITS[bits], segment after segment."""
    table: tuple[list[int], ...] = ([], [], [], [])
    for octave in nodes(bits):
        points = [round(math.ldexp(y, UNITS[bits])) for y in octave]
        for a, b, c, d in zip(points[:-1:3], points[1::3], points[2::3], points[3::3], strict=True):
            second, third = c - 2 * b + a, d - 3 * c + 3 * b - a
            c3, c2 = 9 * third // 2, 9 * (second - third) // 2
            cubic = (c3, c2, d - a - c3 - c2, a)  # its sum is d: segments meet exactly
            for column, value in zip(table, cubic, strict=True):
                column.append(value)
    return table


UNITS = {32: 40, 63: 56}


def _product(a: Any, f: Any, bits: int) -> Any:
    """a * f * 2**-(bits - 6) rounded down; the 57-bit fractions of bits = 63 are multiplied in two parts."""
    if bits == 32:
        return a * f >> 26
    a1, a0, f1, f0 = a >> 26, a & 0x3FFFFFF, f >> 31, f & 0x7FFFFFFF
    return a1 * f1 + ((a1 * f0 + (a0 * f1 << 5) + (a0 * f0 >> 26)) >> 31)


@discrete(promote=(), cases=[case(ints((5,), 1, 2**31), *(ints((1024,), -(2**34), 2**34) for _ in range(4)), bits=32)])
def tabulated(xp, m, c3, c2, c1, c0, /, *, bits):
    """The tabulated function at m * 2**-bits, in its units, for odd int64 m of [1, 2**bits); bits is 32 or 63."""
    octave = xp.zeros_like(m)
    for step in (32, 16, 8, 4, 2, 1):
        if step < bits:
            shift = xp.astype(m < 1 << (bits - step), xp.int64) * step
            m, octave = m << shift, octave + shift
    segment = octave * SEGMENTS + (m >> (bits - 6)) - SEGMENTS
    f = m & ((1 << (bits - 6)) - 1)
    y = xp.take(c3, segment, axis=0)
    for c in (c2, c1, c0):
        y = xp.take(c, segment, axis=0) + _product(y, f, bits)
    return y


def _interpolated(xp: Any, nodes: Any, m: Any, bits: int) -> Any:
    table = (xp.asarray(column, dtype=xp.int64, device=xp.device(m)) for column in _table(nodes, bits))
    return xp.tabulated(m, *table, bits=bits)


@discrete(
    promote=(),
    cases=[
        case(STATE, shape=(3, 4), dtype="float32"),
        case(STATE, shape=(9,), dtype="float64"),
        case(STATE, shape=(9,), dtype="float32", mean=0.7, std=0.3),
        case(STATE, shape=(9,), dtype="float64", mean=-5.0, std=1.7),
    ],
)
def draw_normal(xp, state, /, *, shape, dtype, mean=0.0, std=1.0):
    """Normal numbers by the inverse distribution function: one bit is the sign, the others the probability beyond."""
    n = math.prod(shape)
    if dtype == xp.float64:
        hi, lo = _pairs(xp, state, n)
        bits, m = 63, (hi & 0x7FFFFFFF) << 31 | lo >> 1
    else:
        hi = _words(xp, state, n)
        bits, m = 32, hi & 0x7FFFFFFF
    q = _interpolated(xp, _normal_nodes, 2 * m + 1, bits)
    q = xp.where(hi >> 31 == 1, q, -q)
    return xp.reshape(_affine(xp, q, UNITS[bits], mean, std, dtype), shape)


def _affine(xp: Any, q: Any, units: int, mean: float, std: float, dtype: Any) -> Any:
    """mean + std * q * 2**-units as floats, by operations that no contraction changes.

    Without a mean it is an exact scaling and one product. With one, q is cut to 49 fractional bits and split into two
    parts, std into parts of 26 bits: the products are exact in float64, only their sums round, in the order written.
    """
    if dtype != xp.float64:
        std = struct.unpack("f", struct.pack("f", std))[0]
    if mean == 0:
        z = xp.astype(q, dtype) * 2.0**-units
        return z if std == 1 else z * std
    cut = max(units - 49, 0)
    unit = 2.0 ** (cut - units)
    q = q >> cut
    high, low = xp.astype(q >> 26, xp.float64), xp.astype(q & 0x3FFFFFF, xp.float64)
    fraction, exponent = math.frexp(std)
    head = math.ldexp(round(math.ldexp(fraction, 26)), exponent - 26)
    tail = std - head
    value = low * (head * unit) + high * (head * unit * 2**26)
    if tail:
        value = (low * (tail * unit) + high * (tail * unit * 2**26)) + value
    return xp.astype(value + mean, dtype)


@discrete(
    promote=(), cases=[case(STATE, shape=(3, 4), dtype="float32"), case(STATE, shape=(9,), dtype="float64", scale=2.5)]
)
def draw_exponential(xp, state, /, *, shape, dtype, scale=1.0):
    """Exponentially distributed numbers of mean `scale`, by the inverse distribution function."""
    n = math.prod(shape)
    if dtype == xp.float64:
        hi, lo = _pairs(xp, state, n)
        bits, m = 63, hi << 30 | lo >> 2
    else:
        bits, m = 32, _words(xp, state, n) >> 1
    q = _interpolated(xp, _exponential_nodes, 2 * m + 1, bits) + 4  # rounded down it may be -3: keep it positive
    return xp.reshape(_affine(xp, q, UNITS[bits], 0, scale, dtype), shape)


@discrete(
    dtypes="real",
    promote=(),
    domain={"weights": (0.1, 2.0)},
    cases=[case(STATE, (2, 5), samples=3, replacement=True), case(STATE, (2, 5), samples=3, replacement=False)],
)
def draw_multinomial(xp, state, weights, /, *, samples, replacement):
    """Indices drawn by the weights in the rows of a matrix, of shape (rows, samples), as int64.

    With replacement, weights count in steps of 2**-40 of the row's largest (coarser when rows * columns > 2**21),
    because sums of integers are exact in any order. Without, the first arrivals of exponential clocks are taken.
    """
    rows, columns = weights.shape
    weights = xp.astype(weights, xp.float64)
    if not replacement:
        possible, ones = weights > 0, xp.ones_like(weights)
        clock = xp.draw_exponential(state, shape=(rows, columns), dtype=xp.float64)
        arrival = xp.where(possible, clock / xp.where(possible, weights, ones), ones * math.inf)
        order = xp.argsort(arrival, axis=-1, stable=True)
        return xp.astype(order[:, : min(samples, columns)], xp.int64)
    steps = 2.0 ** min(40, 61 - (rows * columns).bit_length())
    largest = xp.max(weights, axis=-1, keepdims=True)
    counts = xp.astype(xp.floor(weights / largest * steps), xp.int64)
    ends = xp.cumulative_sum(xp.reshape(counts, (rows * columns,)))
    total = xp.sum(counts, axis=-1, keepdims=True)
    first = xp.reshape(ends, (rows, columns))[:, -1:] - total
    hi, lo = (xp.reshape(word, (rows, samples)) for word in _pairs(xp, state, rows * samples))
    target = xp.reshape(first + _scaled(total, hi, lo), (rows * samples,))
    found = xp.reshape(xp.searchsorted(ends, target, side="right"), (rows, samples))
    start = xp.arange(rows, dtype=xp.int64, device=xp.device(state)) * columns
    return xp.astype(found, xp.int64) - xp.reshape(start, (rows, 1))
