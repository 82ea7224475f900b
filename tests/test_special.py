"""Special functions: values against mpmath, derivatives against each other, special values against SciPy."""

import math

import mpmath
import numpy as np
import pytest

import polygrad as pg
from polygrad.ops.special_erf import gelu

mpmath.mp.dps = 30
SQRT_2 = mpmath.sqrt(2)


def erfcinv(p):
    """The inverse of erfc, with digits to spare for small p."""
    with mpmath.workdps(70):
        return mpmath.erfinv(1 - mpmath.mpf(p))


# name, reference, ranges, and how many units in the last place of a double a value may be off.
# Where a function passes through zero on the way (log-gamma and digamma of negative numbers) the error is of the largest value.
VALUES = [
    ("erf", mpmath.erf, [(-6, 6), (-1e-3, 1e-3), (0.4, 0.5)], 4),
    ("erfc", mpmath.erfc, [(-6, 6), (0, 8), (20, 26)], 4),
    ("erfcx", lambda x: mpmath.exp(x * x) * mpmath.erfc(x), [(-5, 5), (5, 1e6)], 4),
    ("erfinv", mpmath.erfinv, [(-0.99, 0.99), (-1e-3, 1e-3), (1 - 1e-9, 1 - 1e-12)], 4),
    ("erfcinv", lambda p: erfcinv(p), [(0.01, 1.99), (1e-30, 1e-20)], 5),
    ("ndtr", mpmath.ncdf, [(-5, 5), (-37, -5)], 5),
    ("ndtri", lambda p: SQRT_2 * mpmath.erfinv(2 * p - 1), [(0.01, 0.99), (1e-15, 1e-10)], 5),
    ("log_ndtr", lambda x: mpmath.log(mpmath.ncdf(x)), [(-100, -1), (-1, 8)], 5),
    ("gammaln", lambda x: mpmath.loggamma(x).real, [(1e-8, 3), (0.9, 1.1), (1.9, 2.1), (3, 20), (20, 1e5)], 5),
    ("gamma", mpmath.gamma, [(0.01, 3), (3, 170), (-0.9, -0.1), (-20.9, -20.1)], 6),
    ("psi", mpmath.digamma, [(1e-3, 3), (1.4, 1.5), (3, 20), (20, 1e5)], 5),
    ("i0", lambda x: mpmath.besseli(0, x), [(-10, 10), (10, 500)], 6),
    ("i0e", lambda x: mpmath.besseli(0, x) * mpmath.exp(-abs(x)), [(-10, 10), (10, 1000)], 6),
    ("i1", lambda x: mpmath.besseli(1, x), [(-10, 10), (10, 500), (-1e-3, 1e-3)], 12),
    ("i1e", lambda x: mpmath.besseli(1, x) * mpmath.exp(-abs(x)), [(-10, 10), (10, 1000)], 12),
    ("log_expit", lambda x: -mpmath.log1p(mpmath.exp(-x)), [(-30, 30)], 4),
    ("expit", lambda x: 1 / (1 + mpmath.exp(-x)), [(-30, 30)], 4),
    ("logit", lambda x: mpmath.log(x / (1 - x)), [(0.01, 0.99), (0.49, 0.51), (1e-9, 1e-6)], 4),
    ("exp2", lambda x: mpmath.power(2, x), [(-10, 10)], 4),
    ("entr", lambda x: -x * mpmath.log(x), [(1e-9, 3)], 4),
    ("sinc", lambda x: mpmath.sinc(mpmath.pi * x), [(-0.9, 0.9), (0.24, 0.26)], 16),
]
# What XLA's and PyTorch's own functions, which stand in for the bodies there, may be off more.
NATIVE = 1000
NEAR_ZERO = 0.01  # and below this size the error is theirs of this size


@pytest.mark.parametrize("name, reference, ranges, ulps", VALUES, ids=[v[0] for v in VALUES])
def test_values(name, reference, ranges, ulps, backend):
    own = backend.name in ("numpy", "array_api_strict")
    rng = np.random.default_rng(1)
    for low, high in ranges:
        x = rng.uniform(low, high, 40)
        got = getattr(pg.special, name)(pg.tensor(x)).numpy()
        for value, y in zip(x.tolist(), got.tolist(), strict=True):
            exact = reference(mpmath.mpf(value))
            size = abs(exact) if own else max(abs(exact), NEAR_ZERO)
            error = abs(mpmath.mpf(y) - exact) / (size * mpmath.mpf(2) ** -52)
            assert error <= (ulps if own else max(ulps, NATIVE)), (
                f"{name}({value!r}) is {y!r}, off by {float(error):.3g} ulp"
            )


@pytest.mark.parametrize("name", [v[0] for v in VALUES])
def test_single_precision_is_kept(name, backend):
    x = np.linspace(0.1, 0.9, 5)
    single = getattr(pg.special, name)(pg.tensor(x, dtype="float32"))
    double = getattr(pg.special, name)(pg.tensor(x))
    assert single.dtype is pg.float32
    np.testing.assert_allclose(single.numpy(), double.numpy(), rtol=3e-6, atol=1e-6)


def test_negative_arguments_of_the_gamma_family(backend):
    x = np.linspace(-5.9, -0.05, 40) + 1e-3
    for name, reference in (("gammaln", lambda v: mpmath.log(abs(mpmath.gamma(v)))), ("psi", mpmath.digamma)):
        got = getattr(pg.special, name)(pg.tensor(x)).numpy()
        want = np.array([float(reference(mpmath.mpf(v))) for v in x.tolist()])
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13)
    for n in (1, 2, 3):
        got = pg.special.polygamma(n, pg.tensor(x)).numpy()
        want = np.array([float(mpmath.polygamma(n, v)) for v in x.tolist()])
        np.testing.assert_allclose(got, want, rtol=1e-11)


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_polygamma(n, backend):
    x = np.concatenate([np.linspace(0.05, 3, 20), np.linspace(3, 100, 20)])
    want = np.array([float(mpmath.polygamma(n, v)) for v in x.tolist()])
    np.testing.assert_allclose(pg.special.polygamma(n, pg.tensor(x)).numpy(), want, rtol=1e-14, atol=1e-15)
    with pytest.raises(ValueError):
        pg.special.polygamma(-1, pg.tensor(x))


SPECIAL = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, -0.5, 30.0, -30.0, 1e300, -1e300, math.inf, -math.inf, math.nan]
ODD = {("gammaln", -math.inf): math.inf}  # SciPy says -inf; the limit does not exist, the absolute value is of poles


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "name",
    "erf erfc erfcx erfinv ndtr ndtri log_ndtr gammaln gamma psi i0 i0e i1 i1e entr log_expit expit logit exp2".split(),
)
def test_special_values(name, backend):
    special = pytest.importorskip("scipy.special")
    got = getattr(pg.special, name)(pg.tensor(SPECIAL, dtype="float64")).tolist()
    for x, y in zip(SPECIAL, got, strict=True):
        want = ODD.get((name, x), float(getattr(special, name)(x)))
        if backend.name in ("torch", "jax") and (name, x) in LIBRARY:
            continue
        same = y == want or (math.isnan(y) and math.isnan(want)) or math.isclose(y, want, rel_tol=1e-12, abs_tol=1e-300)
        assert same, f"{name}({x}) is {y}, in SciPy {want}"


# Where PyTorch's or XLA's own function says otherwise than SciPy, at a pole or at infinity.
LIBRARY = {
    ("psi", 0.0),
    ("psi", -0.0),
    ("psi", -1.0),
    ("psi", -30.0),
    ("psi", -math.inf),
    ("psi", -1e300),
    ("gammaln", -1e300),
    ("gammaln", -math.inf),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", ["xlogy", "xlog1py", "rel_entr", "kl_div"])
def test_special_values_of_pairs(name, backend):
    special = pytest.importorskip("scipy.special")
    values = [0.0, 1.0, -1.0, 2.0, math.nan, math.inf]
    for a in values:
        for b in values:
            y = float(getattr(pg.special, name)(pg.tensor(a, dtype="float64"), pg.tensor(b, dtype="float64")))
            want = float(getattr(special, name)(a, b))
            assert y == want or (math.isnan(y) and math.isnan(want)) or math.isclose(y, want), (name, a, b, y, want)


# ----------------------------------------------------------------------------------------------------- derivatives


def test_kinks(backend):
    def grad(f, *xs):
        leaves = [pg.tensor(x, dtype="float64", requires_grad=True) for x in xs]
        f(*leaves).sum().backward()
        return [leaf.grad.tolist() for leaf in leaves]

    assert grad(pg.sinc, [0.0]) == [[0.0]]
    assert grad(lambda x: pg.xlogy(x, pg.tensor([0.0], dtype="float64")), [0.0]) == [[0.0]]
    assert grad(pg.special.i1, [0.0]) == [[0.5]]
    assert grad(pg.special.entr, [1.0]) == [[-1.0]]


def test_sinc_has_every_derivative_at_zero(backend):
    """sinc(x) = sum of (-1)^k (pi x)^2k / (2k + 1)!"""
    y = x = pg.tensor(0.0, dtype="float64", requires_grad=True)
    y = pg.sinc(x)
    for order in range(1, 7):
        (y,) = pg.autograd.grad(y, x, create_graph=True)
        k, odd = divmod(order, 2)
        want = 0.0 if odd else (-1) ** k * math.pi**order / (order + 1)
        assert math.isclose(float(y), want, rel_tol=1e-9, abs_tol=1e-12), order


def test_a_third_derivative_of_the_gamma_family(backend):
    x = pg.tensor([0.7, 2.5, 11.0, -1.3], dtype="float64", requires_grad=True)
    y = pg.lgamma(x)
    for _ in range(3):
        (y,) = pg.autograd.grad(y.sum(), x, create_graph=True)
    want = [float(mpmath.polygamma(2, v)) for v in x.tolist()]
    np.testing.assert_allclose(y.detach().numpy(), want, rtol=1e-10)


def test_gradients_are_pytorchs(backend, torch):
    x = np.array([0.3, 0.8, 1.7, 2.6])
    pairs = {
        **{
            n: (getattr(pg.special, n), getattr(torch.special, n))
            for n in (
                "erf erfc erfcx erfinv ndtr log_ndtr i0 i0e i1 i1e entr expit exp2 sinc logit ndtri gammaln"
            ).split()
        },
        "gelu": (gelu, torch.nn.functional.gelu),
        "gelu_tanh": (
            lambda t: gelu(t, approximate="tanh"),
            lambda t: torch.nn.functional.gelu(t, approximate="tanh"),
        ),
        "angle": (pg.angle, torch.angle),
    }
    for name, (ours, theirs) in pairs.items():
        values = x / 3 if name in ("erfinv", "logit", "ndtri") else x
        mine, other = pg.tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
        y, z = ours(mine), theirs(other)
        np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-11, atol=1e-14, err_msg=name)
        y.sum().backward()
        z.sum().backward()
        np.testing.assert_allclose(mine.grad.numpy(), other.grad.numpy(), rtol=1e-10, atol=1e-14, err_msg=name)


def test_the_normal_tail_keeps_its_gradient_where_the_probability_underflows(backend):
    x = pg.tensor([-50.0, -1e4], dtype="float64", requires_grad=True)
    pg.special.log_ndtr(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [50.0 + 1 / 50.0, 1e4], rtol=1e-3)


def test_a_client_finds_the_functions_under_scipys_names(monkeypatch, backend):
    special = pytest.importorskip("scipy.special")
    namespace = pg.tensor([1.0]).__array_namespace__()
    for name in ("erf", "gammaln", "expit", "logit", "log_ndtr", "ndtr", "ndtri", "xlogy", "i0", "entr", "rel_entr"):
        assert hasattr(special, name) and callable(getattr(namespace.special, name))


def test_gelu_refuses_an_unknown_approximation(backend):
    with pytest.raises(RuntimeError, match="approximate"):
        gelu(pg.ones(2), approximate="sine")
