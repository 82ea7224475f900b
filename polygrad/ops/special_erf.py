"""The error function and the normal distribution.

Rational approximations of W. J. Cody (Mathematics of Computation 23, 1969; CALERF) and M. J. Wichura (AS 241, 1988).
"""

from __future__ import annotations

import math

from polygrad.core import alias, composite, pointwise
from polygrad.ops.special_parts import polynomial

# Cody: erf(x) / x in x^2 up to 0.46875; exp(x^2) erfc(x) in x up to 4; its remainder in 1 / x^2 beyond.
# fmt: off
ERF_TOP = (0.185777706184603153, 3.16112374387056560, 113.864154151050156, 377.485237685302021, 3209.37758913846947)
ERF_BOTTOM = (1.0, 23.6012909523441209, 244.024637934444173, 1282.61652607737228, 2844.23683343917062)
MIDDLE_TOP = (
    2.15311535474403846e-8, 0.564188496988670089, 8.88314979438837594, 66.1191906371416295, 298.635138197400131,
    881.952221241769090, 1712.04761263407058, 2051.07837782607147, 1230.33935479799725,
)
MIDDLE_BOTTOM = (
    1.0, 15.7449261107098347, 117.693950891312499, 537.181101862009858, 1621.38957456669019, 3290.79923573345963,
    4362.61909014324716, 3439.36767414372164, 1230.33935480374942,
)
TAIL_TOP = (
    0.0163153871373020978, 0.305326634961232344, 0.360344899949804439, 0.125781726111229246, 0.0160837851487422766,
    6.58749161529837803e-4,
)
TAIL_BOTTOM = (
    1.0, 2.56852019228982242, 1.87295284992346725, 0.527905102951428412, 0.0605183413124413191, 2.33520497626869185e-3,
)
# Wichura: the normal quantile in 0.180625 - (p - 1/2)^2, and in r = sqrt(-log p) less 1.6 or 5.
CENTRE_TOP = (
    2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4, 4.5921953931549871457e4,
    1.3731693765509461125e4, 1.9715909503065514427e3, 1.3314166789178437745e2, 3.3871328727963666080,
)
CENTRE_BOTTOM = (
    5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4, 2.1213794301586595867e4,
    5.3941960214247511077e3, 6.8718700749205790830e2, 4.2313330701600911252e1, 1.0,
)
NEAR_TOP = (
    7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258,
    3.64784832476320460504, 5.76949722146069140550, 4.63033784615654529590, 1.42343711074968357734,
)
NEAR_BOTTOM = (
    1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
    6.89767334985100004550e-1, 1.67638483018380384940, 2.05319162663775882187, 1.0,
)
FAR_TOP = (
    2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3, 2.65321895265761230930e-2,
    2.96560571828504891230e-1, 1.78482653991729133580, 5.46378491116411436990, 6.65790464350110377720,
)
FAR_BOTTOM = (
    2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5, 7.86869131145613259100e-4,
    1.48753612908506148525e-2, 1.36929880922735805310e-1, 5.99832206555887937690e-1, 1.0,
)
# fmt: on
SQRT_PI, SQRT_2 = math.sqrt(math.pi), math.sqrt(2)


def _small_erf(xp, x):
    """erf(x) for |x| <= 0.46875."""
    x = xp.clip(x, -0.46875, 0.46875)
    z = x * x
    return x * (polynomial(z, ERF_TOP) / polynomial(z, ERF_BOTTOM))


def _scaled_erfc(xp, a):
    """exp(a^2) erfc(a) for a >= 0.46875."""
    m = xp.minimum(a, 4)
    middle = polynomial(m, MIDDLE_TOP) / polynomial(m, MIDDLE_BOTTOM)
    r = 1 / xp.maximum(a, 4)
    z = r * r
    tail = r * (1 / SQRT_PI - z * (polynomial(z, TAIL_TOP) / polynomial(z, TAIL_BOTTOM)))
    return xp.where(a <= 4, middle, tail)


def _gaussian(xp, a, factor):
    """exp(factor * a^2) of a >= 0, the square split so that its rounding error does not grow."""
    head = xp.floor(16 * a) / 16
    return xp.exp(factor * (head * head)) * xp.exp(factor * ((a - head) * (a + head)))


def _tail_erfc(xp, a):
    """erfc(a) for a >= 0.46875; 0 from 30 on."""
    a = xp.minimum(a, 30)
    return _gaussian(xp, a, -1) * _scaled_erfc(xp, a)


@pointwise(x=lambda xp, x: (2 / SQRT_PI) * xp.exp(-x * x), dtypes="real floating", domain=(-3.0, 3.0))
def erf(xp, x, /):
    """The error function."""
    a = xp.abs(x)
    return xp.where(a <= 0.46875, _small_erf(xp, x), xp.sign(x) * (1 - _tail_erfc(xp, a)))


@pointwise(x=lambda xp, x: (-2 / SQRT_PI) * xp.exp(-x * x), dtypes="real floating", domain=(-3.0, 3.0))
def erfc(xp, x, /):
    """1 - erf(x), precise where it is small."""
    a = xp.abs(x)
    tail = _tail_erfc(xp, a)
    return xp.where(a <= 0.46875, 1 - _small_erf(xp, x), xp.where(x < 0, 2 - tail, tail))


@pointwise(x=lambda x, y: 2 * x * y - 2 / SQRT_PI, dtypes="real floating", domain=(-2.0, 3.0), name="special.erfcx")
def erfcx(xp, x, /):
    """exp(x^2) erfc(x), which decays like 1 / x."""
    a = xp.abs(x)
    tail = _scaled_erfc(xp, a)
    small = _gaussian(xp, xp.minimum(a, 0.5), 1) * (1 - _small_erf(xp, x))
    left = 2 * _gaussian(xp, xp.where(x < 0, xp.minimum(a, 30), 0), 1) - tail
    return xp.where(a <= 0.46875, small, xp.where(x < 0, left, tail))


def _quantile(xp, q, tail):
    """The normal quantile of p = 1/2 + q, where `tail` is the smaller of p and 1 - p."""
    z = 0.180625 - xp.clip(q, -0.425, 0.425) ** 2
    centre = q * (polynomial(z, CENTRE_TOP) / polynomial(z, CENTRE_BOTTOM))
    inside = xp.logical_and(tail > 0, tail <= 0.5)
    r = xp.sqrt(-xp.log(xp.where(inside, tail, 0.5)))
    n, f = xp.minimum(r, 5) - 1.6, xp.maximum(r, 5) - 5
    near, far = polynomial(n, NEAR_TOP) / polynomial(n, NEAR_BOTTOM), polynomial(f, FAR_TOP) / polynomial(f, FAR_BOTTOM)
    out = xp.where(inside, xp.where(r <= 5, near, far), xp.where(tail == 0, xp.full_like(tail, math.inf), xp.nan))
    return xp.where(xp.abs(q) <= 0.425, centre, xp.where(q < 0, -out, out))


@pointwise(x=lambda xp, y: (SQRT_PI / 2) * xp.exp(y * y), dtypes="real floating", domain=(-0.95, 0.95))
def erfinv(xp, x, /):
    """The inverse of erf on [-1, 1]; infinite at the ends, NaN outside."""
    return _quantile(xp, 0.5 * x, 0.5 * (1 - xp.abs(x))) / SQRT_2


@pointwise(
    x=lambda xp, y: (-SQRT_PI / 2) * xp.exp(y * y), dtypes="real floating", domain=(0.1, 1.9), name="special.erfcinv"
)
def erfcinv(xp, x, /):
    """The inverse of erfc on [0, 2]; infinite at the ends, NaN outside."""
    return -_quantile(xp, 0.5 * (x - 1), 0.5 * xp.minimum(x, 2 - x)) / SQRT_2


def _density(xp, x):
    return xp.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


def _lower_tail(xp, a):
    """The distribution function of the normal distribution at -a, for a >= 2/3; 0 from 40 on."""
    a = xp.minimum(a, 40)
    return 0.5 * _gaussian(xp, a, -0.5) * _scaled_erfc(xp, a / SQRT_2)


@pointwise(x=_density, dtypes="real floating", domain=(-3.0, 3.0), name="special.ndtr")
def ndtr(xp, x, /):
    """The distribution function of the normal distribution."""
    a = xp.abs(x)
    tail = _lower_tail(xp, a)
    return xp.where(a < 0.66, 0.5 + 0.5 * _small_erf(xp, x / SQRT_2), xp.where(x < 0, tail, 1 - tail))


@pointwise(
    x=lambda xp, y: math.sqrt(2 * math.pi) * xp.exp(0.5 * y * y),
    dtypes="real floating",
    domain=(0.05, 0.95),
    name="special.ndtri",
)
def ndtri(xp, x, /):
    """The quantile of the normal distribution; infinite at 0 and 1, NaN outside."""
    return _quantile(xp, x - 0.5, xp.minimum(x, 1 - x))


def _log_ndtr_slope(xp, x):
    """The density over the distribution function, by the scaled function where both are small."""
    low = math.sqrt(2 / math.pi) / xp.special.erfcx(-xp.minimum(x, 0) / SQRT_2)
    return xp.where(x < 0, low, _density(xp, xp.maximum(x, 0)) / xp.special.ndtr(xp.maximum(x, 0)))


@pointwise(x=_log_ndtr_slope, dtypes="real floating", domain=(-6.0, 3.0), name="special.log_ndtr")
def log_ndtr(xp, x, /):
    """The logarithm of the distribution function of the normal distribution, also far out."""
    low = xp.minimum(x, -1)
    left = xp.log(0.5 * _scaled_erfc(xp, -low / SQRT_2)) - 0.5 * low * low
    return xp.where(x < -1, left, xp.log1p(-xp.special.ndtr(-xp.maximum(x, -1))))


# -------------------------------------------------------------------------------------------------------- gelu

GELU_SCALE, GELU_CUBE = math.sqrt(2 / math.pi), 0.044715


@composite(dtypes="real floating", cases=[((3, 4), (3, 4))])
def gelu_exact_backward(xp, g, x, y=None, /):
    """g times the derivative of `gelu_exact` at x, where its result is y: some libraries divide faster than they integrate."""
    return g * (xp.special.ndtr(x) + x * _density(xp, x))


@pointwise(
    x=lambda xp, g, x, y: xp.gelu_exact_backward(g, x, y), dtypes="real floating", domain=(-3.0, 3.0), node="Gelu"
)
def gelu_exact(xp, x, /):
    """x times the normal distribution function of x."""
    return x * xp.special.ndtr(x)


def _gelu_tanh_slope(xp, x):
    z = xp.tanh(GELU_SCALE * (x + GELU_CUBE * x * x * x))
    return 0.5 * (1 + z) + 0.5 * x * (1 - z * z) * GELU_SCALE * (1 + 3 * GELU_CUBE * x * x)


@composite(dtypes="real floating", cases=[((3, 4), (3, 4))])
def gelu_tanh_backward(xp, g, x, y=None, /):
    """g times the derivative of `gelu_tanh` at x, where its result is y; see `gelu_exact_backward`."""
    return g * _gelu_tanh_slope(xp, x)


@pointwise(
    x=lambda xp, g, x, y: xp.gelu_tanh_backward(g, x, y), dtypes="real floating", domain=(-3.0, 3.0), node="Gelu"
)
def gelu_tanh(xp, x, /):
    """The approximation of gelu by a hyperbolic tangent (Hendrycks and Gimpel, 2016)."""
    return 0.5 * x * (1 + xp.tanh(GELU_SCALE * (x + GELU_CUBE * x * x * x)))


@composite(dtypes="real floating", cases=[((3, 4),)])
def gelu(xp, input, *, approximate="none"):
    """x times the normal distribution function of x, or its approximation "tanh". Raises RuntimeError for another one."""
    if approximate not in ("none", "tanh"):
        raise RuntimeError(f'gelu: approximate must be "none" or "tanh", got {approximate!r}')
    return xp.gelu_exact(input) if approximate == "none" else xp.gelu_tanh(input)


for _function in (erf, erfc, erfinv):
    alias(f"special.{_function.__name__}", _function)
