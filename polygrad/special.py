"""Special functions under SciPy's names, differentiable to any order."""

from polygrad.ops.composite import log_softmax, logsumexp, sigmoid, softmax
from polygrad.ops.elementwise import expm1, log1p, round
from polygrad.ops.special import entr, exp2, kl_div, log_sigmoid, logit, rel_entr, sinc, xlog1py, xlogy
from polygrad.ops.special_bessel import i0, i0e, i1, i1e
from polygrad.ops.special_erf import erf, erfc, erfcinv, erfcx, erfinv, log_ndtr, ndtr, ndtri
from polygrad.ops.special_gamma import beta, betaln, digamma, gamma, lgamma, multigammaln, polygamma

expit, log_expit = sigmoid, log_sigmoid
gammaln, psi = lgamma, digamma

__all__ = [
    "beta",
    "betaln",
    "digamma",
    "entr",
    "erf",
    "erfc",
    "erfcinv",
    "erfcx",
    "erfinv",
    "exp2",
    "expit",
    "expm1",
    "gamma",
    "gammaln",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "kl_div",
    "log1p",
    "log_expit",
    "log_ndtr",
    "log_softmax",
    "logit",
    "logsumexp",
    "multigammaln",
    "ndtr",
    "ndtri",
    "polygamma",
    "psi",
    "rel_entr",
    "round",
    "sinc",
    "softmax",
    "xlog1py",
    "xlogy",
]
