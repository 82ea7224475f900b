"""Logistic, entropy and other elementary special functions, under SciPy's and PyTorch's names."""

from __future__ import annotations

import math

from polygrad.core import alias, case, composite, pointwise
from polygrad.ops.composite import log_softmax, logsumexp, sigmoid, softmax
from polygrad.ops.elementwise import expm1, log1p
from polygrad.ops.special_parts import polynomial

LN2 = math.log(2)


@composite(dtypes="real floating", cases=[((3, 4), (3, 4))])
def log_sigmoid_backward(xp, g, x, /):
    """g times the derivative of the logarithm of the logistic function at x."""
    return g * xp.sigmoid(-x)


@pointwise(x=lambda xp, g, x: xp.log_sigmoid_backward(g, x), dtypes="real floating", name="special.log_expit")
def log_sigmoid(xp, x, /):
    """log(1 / (1 + exp(-x))) without overflow."""
    return xp.minimum(x, 0) - xp.log1p(xp.exp(-xp.abs(x)))


@pointwise(x=lambda x: 1 / (x * (1 - x)), dtypes="real floating", domain=(0.1, 0.9))
def log_odds(xp, x, /):
    """log(x / (1 - x)), precise near 1/2."""
    s = 2 * (x - 0.5)
    central = xp.abs(s) < 0.4
    inner = xp.where(central, s, 0)
    return xp.where(central, xp.log1p(inner) - xp.log1p(-inner), xp.log(x / (1 - x)))


@composite(dtypes="real floating", domain=(0.1, 0.9), cases=[((3, 4),), case((3, 4), 0.2)])
def logit(xp, x, eps=None):
    """The inverse of the logistic function, of x limited to [eps, 1 - eps] if `eps` is given."""
    return xp.log_odds(x if eps is None else xp.clip(x, eps, 1 - eps))


def _both(xp, x1, x2):
    """Two operands of which one may be a number, as arrays of one data type."""
    like = x1 if hasattr(x1, "dtype") else x2
    place = {"dtype": like.dtype, "device": xp.device(like)}
    return (x if hasattr(x, "dtype") else xp.asarray(x, **place) for x in (x1, x2))


def _log_unless(xp, x1, x2):
    """log(x2), and 0 where x1 is 0 and the logarithm is infinite or undefined."""
    x1, x2 = _both(xp, x1, x2)
    return xp.log(xp.where(xp.logical_and(x1 == 0, x2 <= 0), 1, x2))


def _log1p_unless(xp, x1, x2):
    """log(1 + x2), and 0 where x1 is 0 and the logarithm is infinite or undefined."""
    x1, x2 = _both(xp, x1, x2)
    return xp.log1p(xp.where(xp.logical_and(x1 == 0, x2 <= -1), 0, x2))


@pointwise(
    x1=_log_unless,
    x2=lambda x1, x2: x1 / x2,
    dtypes="real floating",
    domain=(0.2, 3.0),
    cases=[((3, 4), (3, 4)), ((3, 4), (4,))],
)
def xlogy(xp, x1, x2, /):
    """x1 * log(x2), and 0 where x1 is 0 (unless x2 is NaN). The derivative in x1 at (0, 0) is 0."""
    x1, x2 = _both(xp, x1, x2)
    zero = xp.logical_and(x1 == 0, xp.logical_not(xp.isnan(x2)))
    return xp.where(zero, 0, x1 * xp.log(xp.where(zero, 1, x2)))


@pointwise(
    x1=_log1p_unless,
    x2=lambda x1, x2: x1 / (1 + x2),
    dtypes="real floating",
    domain=(-0.7, 2.0),
    name="special.xlog1py",
    cases=[((3, 4), (3, 4)), ((3, 4), (4,))],
)
def xlog1py(xp, x1, x2, /):
    """x1 * log(1 + x2), and 0 where x1 is 0 (unless x2 is NaN)."""
    x1, x2 = _both(xp, x1, x2)
    zero = xp.logical_and(x1 == 0, xp.logical_not(xp.isnan(x2)))
    return xp.where(zero, 0, x1 * xp.log1p(xp.where(zero, 0, x2)))


@pointwise(x=lambda xp, x: -xp.log(x) - 1, dtypes="real floating", domain=(0.2, 3.0), name="special.entr")
def entr(xp, x, /):
    """-x log(x), 0 at 0, and -inf for negative x."""
    inside = xp.where(x > 0, x, 1)
    return xp.where(x > 0, -inside * xp.log(inside), xp.where(x == 0, 0, xp.where(xp.isnan(x), x, -math.inf)))


def _ratio(xp, x1, x2):
    """Where both are positive, and the pair there (ones elsewhere)."""
    inside = xp.logical_and(x1 > 0, x2 > 0)
    one = xp.ones_like(x1 + x2)  # an array, because two numbers leave the choice of precision to the library
    return inside, xp.where(inside, x1, one), xp.where(inside, x2, one)


@pointwise(
    x1=lambda xp, x1, x2: xp.log(x1 / x2) + 1,
    x2=lambda x1, x2: -x1 / x2,
    dtypes="real floating",
    domain=(0.2, 3.0),
    name="special.rel_entr",
    cases=[((3, 4), (3, 4)), ((3, 4), (4,))],
)
def rel_entr(xp, x1, x2, /):
    """x1 log(x1 / x2), 0 for x1 = 0 <= x2, and inf where one is negative or only x2 is 0."""
    inside, a, b = _ratio(xp, x1, x2)
    ratio = a / b
    plain = xp.logical_and(ratio > 0.5, ratio < 2)  # the logarithm of a ratio near 1 is that of its distance from 1
    y = a * xp.where(plain, xp.log1p(xp.where(plain, (a - b) / b, 0)), xp.log(a) - xp.log(b))
    outside = xp.where(
        xp.logical_and(x1 == 0, x2 >= 0), 0, xp.where(xp.isnan(x1 + x2), xp.nan, xp.full_like(y, math.inf))
    )
    return xp.where(inside, y, outside)


@composite(dtypes="real floating", domain=(0.2, 3.0), name="special.kl_div", cases=[((3, 4), (3, 4)), ((3, 4), (4,))])
def kl_div(xp, x1, x2, /):
    """x1 log(x1 / x2) - x1 + x2, the summand of the Kullback-Leibler divergence; inf where one is negative or only x2 is 0."""
    entropy = xp.special.rel_entr(x1, x2)
    outside = xp.logical_and(entropy == math.inf, xp.logical_or(x1 <= 0, x2 <= 0))
    return xp.where(outside, entropy, xp.where(outside, 0, entropy) - x1 + x2)


@pointwise(x=lambda y: y * LN2, dtypes="floating")
def exp2(xp, x, /):
    """2 to the power x."""
    return xp.pow(xp.full_like(x, 2), x)


# The Taylor series of sin(u) / u in u^2; up to |x| = 1/4 (u = pi x) eleven terms leave 1e-21, and 1e-12 of an eighth derivative.
SINC = [(-1) ** k / math.factorial(2 * k + 1) for k in range(10, -1, -1)]


@composite(cases=[((3, 4),)])
def sinc(xp, x, /):
    """sin(pi x) / (pi x), 1 at 0, with exact derivatives of every order around 0."""
    near = xp.abs(x) < 0.25
    inner, outer = math.pi * xp.where(near, x, 0), math.pi * xp.where(near, 1, x)
    return xp.where(near, polynomial(inner * inner, SINC), xp.sin(outer) / outer)


for _name, _function in {
    "expit": sigmoid,
    "logit": logit,
    "xlogy": xlogy,
    "exp2": exp2,
    "expm1": expm1,
    "log1p": log1p,
    "logsumexp": logsumexp,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "sinc": sinc,
}.items():
    alias(f"special.{_name}", _function)


@composite(cases=[((3, 4),)])
def angle(xp, input):
    """The angle of each number in the complex plane, in radians; 0 or pi for real ones. The derivative at 0 is 0."""
    if xp.is_complex(input):
        return xp.atan2(xp.imag(input), xp.real(input))
    return xp.atan2(xp.zeros_like(input), input)
