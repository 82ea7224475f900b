"""The gamma family, accurate to a few units in the last place (absolute near the negative zeros of log-gamma and digamma)."""

from __future__ import annotations

import math

from polygrad.core import alias, case, composite, pointwise
from polygrad.ops.special_parts import polynomial

# Chebyshev interpolants, as polynomials: (log Gamma(2 + d)) / d for d in [-1/2, 1/2], and x digamma(x) / (x - ROOT) in
# x - 3/2 for x in [1, 2].
# fmt: off
LOG_GAMMA = (
    -1.3219945666117874e-07, 2.78740805211359e-07, -4.3252393445604814e-07, 9.200527894968101e-07,
    -2.0439048107029907e-06, 4.38470440459836e-06, -9.438715099211532e-06, 2.0505590755833454e-05,
    -4.49263133791557e-05, 9.945767355819498e-05, -0.00022315475400520507, 0.0005096695154115458,
    -0.0011927539118428156, 0.002890510331034267, -0.0073855510286719986, 0.02058080842778038, -0.0673523010531981,
    0.32246703342411326, 0.42278433509846713,
)
# fmt: on
# fmt: off
DIGAMMA = (
    -1.3572077640482382e-08, 3.3960069535265186e-08, -6.888849233663953e-08, 1.7255654873372493e-07,
    -4.4063526468164884e-07, 1.1058099235357909e-06, -2.7773535477505407e-06, 6.997195701524815e-06,
    -1.7687416223067912e-05, 4.4925451022223917e-05, -0.00011492418349458938, 0.0002971386774065231,
    -0.0007808823642292955, 0.0021055245453697005, -0.0059218363745451984, 0.017935099659910574,
    -0.06281369492028012, 0.31561474410964213, 1.4265838140477494,
)
# fmt: on
ROOT, ROOT_REST = (
    1.4616321325302124,
    1.2438149938918909e-08,
)  # the positive zero of digamma: a single-precision number and the rest
BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330)
HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


def _turned(xp, x):
    """sin(pi x) up to its sign, and cos(pi x) / sin(pi x), from the distance of x to the nearest integer."""
    d = math.pi * (x - xp.round(x))
    return xp.abs(xp.sin(d)), xp.where(d == 0, xp.nan, xp.cos(d) / xp.where(d == 0, 1, xp.sin(d)))


def _reduced(xp, x):
    """d in [-1/2, 1/2] and a product p with Gamma(x) = Gamma(2 + d) * p, or / p where x < 3/2; for x in (0, 8]."""
    steps = xp.maximum(xp.floor(x - 1.5), 0)
    y = x - steps
    p = xp.ones_like(x)
    for i in range(6):
        p = xp.where(i < steps, p * (y + i), p)
    d = xp.where(x < 0.5, x, xp.where(x < 1.5, x - 1, y - 2))
    return d, xp.where(x < 0.5, x * (x + 1), xp.where(x < 1.5, x, p))


def _log_gamma_positive(xp, x):
    """Log-gamma of x >= 0: a polynomial at 2 after the recurrence, Stirling's series above 8."""
    low = xp.minimum(xp.where(x > 0, x, 1), 8)
    d, p = _reduced(xp, low)
    log_p = xp.log(p)
    near = d * polynomial(d, LOG_GAMMA) + xp.where(low < 1.5, -log_p, log_p)
    high = xp.maximum(x, 8)
    r = 1 / high
    series = r * polynomial(r * r, [BERNOULLI[k] / (2 * (k + 1) * (2 * k + 1)) for k in range(6, -1, -1)])
    far = high * (xp.log(high) - 1) - 0.5 * xp.log(high) + (HALF_LOG_TAU + series)
    return xp.where(x == 0, math.inf, xp.where(x <= 8, near, xp.where(xp.isinf(x), x, far)))


@pointwise(x=lambda xp, x: xp.digamma(x), dtypes="real floating", domain=(0.2, 9.0))
def lgamma(xp, x, /):
    """The logarithm of the absolute value of the gamma function; infinite at 0, -1, -2 ..."""
    positive = _log_gamma_positive(xp, xp.abs(x))
    inside = xp.where(xp.isinf(x), 0.5, x)
    sine, _ = _turned(xp, inside)
    zero = sine == 0
    size = xp.log(xp.where(zero, 1, sine)) + xp.log(xp.where(zero, 1, xp.abs(inside)))
    reflected = xp.where(zero, math.inf, math.log(math.pi) - size - positive)
    return xp.where(xp.logical_and(x < 0, xp.isfinite(x)), reflected, positive)


def _gamma_positive(xp, x):
    """Gamma of x > 0, by the recurrence from [3/2, 5/2], or by Stirling's series with the power split in two so that it overflows late."""
    low = xp.minimum(x, 8)
    d, p = _reduced(xp, low)
    near = xp.exp(d * polynomial(d, LOG_GAMMA))
    near = xp.where(low < 1.5, near / p, near * p)
    high = xp.minimum(xp.maximum(x, 8), 172)
    r = 1 / high
    series = r * polynomial(r * r, [BERNOULLI[k] / (2 * (k + 1) * (2 * k + 1)) for k in range(6, -1, -1)])
    root = xp.pow(high, 0.5 * high - 0.25)
    far = math.sqrt(2 * math.pi) * root * xp.exp(-high) * xp.exp(series) * root
    return xp.where(x <= 8, near, xp.where(x > 172, math.inf, far))


def _gamma_slope(xp, y, x):
    return y * xp.digamma(x)


@pointwise(x=_gamma_slope, dtypes="real floating", domain=(0.2, 6.0), name="special.gamma")
def gamma(xp, x, /):
    """The gamma function; NaN at -1, -2 ... and signed infinity at 0."""
    size = xp.abs(x)
    zero = x == 0
    positive = _gamma_positive(xp, xp.where(zero, 1, size))
    whole = x == xp.floor(x)
    sine, _ = _turned(xp, xp.where(xp.isinf(x), 0.5, x))
    under = xp.where(xp.logical_or(whole, zero), 1, sine * positive * size)
    even = xp.floor(x) - 2 * xp.floor(0.5 * xp.floor(x)) == 0
    reflected = xp.where(whole, xp.nan, xp.where(even, 1 / under, -1 / under) * math.pi)
    y = xp.where(x < 0, reflected, positive)
    return xp.where(zero, xp.copysign(xp.full_like(x, math.inf), x), y)


def _digamma_positive(xp, x):
    """Digamma of x > 0: a polynomial around its zero after the recurrence, the asymptotic series above 10."""
    low = xp.minimum(x, 10)
    steps = xp.maximum(xp.ceil(low) - 2, 0)
    y = xp.where(low < 1, low + 1, low - steps)
    total = xp.where(low < 1, -1 / low, 0)
    for i in range(8):
        total = xp.where(i < steps, total + 1 / (y + i), total)
    near = ((y - ROOT) - ROOT_REST) * polynomial(y - 1.5, DIGAMMA) / y + total
    high = xp.maximum(x, 10)
    r = 1 / (high * high)
    far = xp.log(high) - 0.5 / high - r * polynomial(r, [BERNOULLI[k] / (2 * k + 2) for k in range(7, -1, -1)])
    return xp.where(x <= 10, near, far)


@pointwise(x=lambda xp, x: xp.polygamma(1, x), dtypes="real floating", domain=(0.2, 12.0))
def digamma(xp, x, /):
    """The derivative of log-gamma; NaN at -1, -2 ... and infinite at 0, of the opposite sign."""
    negative = x < 0
    inside = xp.where(negative, x, 0.5)
    _, cotangent = _turned(xp, xp.where(xp.isinf(inside), -1, inside))
    positive = _digamma_positive(
        xp, xp.where(negative, 1 - xp.where(xp.isinf(inside), -1, inside), xp.where(x == 0, 1, x))
    )
    y = xp.where(negative, positive - math.pi * cotangent, positive)
    return xp.where(x == 0, -xp.copysign(xp.full_like(x, math.inf), x), y)


def _zeta_tail(xp, s, x):
    """The Hurwitz zeta function of an integer s > 1 and x > 0, by Euler and Maclaurin from x + 12 on."""
    total = xp.pow(x, -s)
    for k in range(1, 12):
        total = total + xp.pow(x + k, -s)
    z = x + 12
    factor = s * xp.pow(z, -s - 1) / 2
    rest = xp.pow(z, 1 - s) / (s - 1) + 0.5 * xp.pow(z, -s)
    for j, b in enumerate(BERNOULLI, 1):
        rest = rest + b * factor
        factor = factor * ((s + 2 * j - 1) * (s + 2 * j) / ((2 * j + 1) * (2 * j + 2))) / (z * z)
    return total + rest


def _cotangent_derivative(n):
    """The n-th derivative of cot(pi x) over pi^n, as the coefficients of a polynomial in cot(pi x), highest first."""
    lowest_first = [0, 1]
    for _ in range(n):
        slope = [k * c for k, c in enumerate(lowest_first)][1:]
        lowest_first = [-a - b for a, b in zip([*slope, 0, 0], [0, 0, *slope], strict=True)]
    return lowest_first[::-1]


@pointwise(
    x=lambda xp, n, x: xp.polygamma(n + 1, x),
    dtypes="real floating",
    domain={"x": (0.3, 6.0)},
    cases=[case(1, (3, 4)), case(2, (4,)), case(0, (3,)), case(5, (2,))],
)
def polygamma(xp, n, x, /):
    """The n-th derivative of digamma. Raises ValueError unless `n` is an int that is not negative."""
    if not isinstance(n, int) or n < 0:
        raise ValueError(f"polygamma: n must be a non-negative int, got {n!r}")
    if n == 0:
        return xp.digamma(x)
    negative = xp.logical_and(x < 0, xp.isfinite(x))
    _, cotangent = _turned(xp, xp.where(negative, x, 0.5))
    place = xp.where(negative, 1 - x, xp.where(x > 0, x, 1))
    sign = -1 if n % 2 == 0 else 1
    positive = (sign * math.factorial(n)) * _zeta_tail(xp, n + 1, place)
    reflected = -sign * positive - math.pi ** (n + 1) * polynomial(cotangent, _cotangent_derivative(n))
    y = xp.where(negative, reflected, positive)
    y = xp.where(x == -math.inf, xp.nan, y)
    return xp.where(x == 0, xp.copysign(xp.full_like(x, math.inf), x if n % 2 == 0 else xp.ones_like(x)) * sign, y)


@composite(dtypes="real floating", name="special.betaln", domain=(0.3, 5.0), cases=[((3, 4), (4,))])
def betaln(xp, a, b, /):
    """The logarithm of the absolute value of the beta function."""
    return xp.lgamma(a) + xp.lgamma(b) - xp.lgamma(a + b)


@composite(dtypes="real floating", name="special.beta", domain=(0.3, 5.0), cases=[((3, 4), (4,))])
def beta(xp, a, b, /):
    """The beta function of positive numbers."""
    return xp.exp(xp.special.betaln(a, b))


@composite(
    dtypes="real floating", name="special.multigammaln", domain=(1.5, 5.0), cases=[case((3, 4), 2), case((4,), 3)]
)
def multigammaln(xp, a, d, /):
    """The logarithm of the multivariate gamma function of dimension d, for a > (d - 1) / 2."""
    terms = [xp.lgamma(a - 0.5 * j) for j in range(d)]
    total = terms[0]
    for t in terms[1:]:
        total = total + t
    return total + d * (d - 1) / 4 * math.log(math.pi)


for _name, _function in (("gammaln", lgamma), ("digamma", digamma), ("psi", digamma), ("polygamma", polygamma)):
    alias(f"special.{_name}", _function)
