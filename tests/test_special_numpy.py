"""Pointwise functions of the NumPy adapter: bodies by parts beside the bodies, own paths beside mpmath and the bodies."""

import importlib
import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import polygrad as pg
from polygrad.core import get_backend
from polygrad.core.backend import declared
from test_fast_numpy import FEW, arrays, both

parts = importlib.import_module("polygrad_numpy.parts")


def numpy():
    return get_backend("numpy").ready()


def bodies():
    """The names of the pointwise ops that have a body, with the operands and parameters of each of their cases."""
    for name, op in sorted(declared.ops.items()):
        if op.kind == "pointwise" and op.body is not None:
            for case in op.cases or [None]:
                operands = case.operands if case else ((3, 4),) * len(op.operands)
                yield pytest.param(name, operands, case.params if case else op.preset, id=f"{name}-{operands}")


def operand(op, i, kind, shape, dtype):
    """The i-th operand: numbers of the op's domain where the case has an array, else what the case has."""
    if not isinstance(kind, tuple):
        return kind
    domain = op.domain.get(op.operands[i]) if isinstance(op.domain, dict) else op.domain
    low, high = domain or (-2.0, 2.0)
    return np.random.default_rng(i).uniform(low, high, shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name, operands, params", list(bodies()))
def test_a_body_by_parts_is_the_body(name, operands, params, dtype, monkeypatch):
    op, body = declared.ops[name], numpy().reference(declared.ops[name])
    monkeypatch.setattr(parts, "ROOM", 1 << 10)
    monkeypatch.setattr(parts, "LEAST", 0)
    fast = parts.body_by_parts(op, body)
    arrays = [operand(op, i, kind, (9, 7, 11), dtype) for i, kind in enumerate(operands)]
    turn = lambda f: [f(a) if isinstance(a, np.ndarray) else a for a in arrays]  # noqa: E731
    for ordered in (arrays, turn(lambda a: a.copy().transpose(2, 0, 1)), turn(lambda a: a[:, ::2])):
        with np.errstate(all="ignore"):
            made, wanted = fast(*ordered, **params), body(*ordered, **params)
        assert made.dtype == wanted.dtype
        np.testing.assert_array_equal(made, wanted)


def test_parts_are_taken_of_large_arrays_of_one_layout_only():
    seen = []

    def body(*operands, scale=2):
        seen.append([np.shape(a) for a in operands])
        return sum(a for a in operands if a is not None) * scale > 0

    fast = parts.body_by_parts(declared.ops["softplus"], body)
    x = np.ones((3, 1 << 15), "f4")
    whole, part = (3, 1 << 15), (1 << 15,)
    for operands, shapes in (
        ((x,), [[part]] * 3),
        ((x.T,), [[part]] * 3),
        ((x.astype("f8"),), [[(1 << 14,)]] * 6),
        ((2, x), [[(), part]] * 3),
        ((x, np.float32(2), None), [[part, (), ()]] * 3),
        ((x, np.array(2, "f4")), [[part, ()]] * 3),
        ((x, x), [[part, part]] * 3),
        ((x, x[:1]), [[whole, (1, 1 << 15)]]),
        ((x, np.asfortranarray(x)), [[whole, whole]]),
        ((x, x.astype("f8")), [[whole, whole]]),
        ((x[:, ::2],), [[(3, 1 << 14)]]),
        ((x[0],), [[part]]),
        ((x.astype("i4"),), [[whole]]),
        ((x.astype("f2"),), [[whole]]),
        ((np.float32(1),), [[()]]),
    ):
        seen.clear()
        y = fast(*operands, scale=3)
        assert seen == shapes
        assert np.shape(y) == np.broadcast_shapes(*[np.shape(a) for a in operands])
        assert y.dtype == bool
        assert np.all(y)


def test_tensors_take_this_way_and_back():
    x = np.linspace(0.1, 9, 70_001)
    ours = pg.tensor(x, requires_grad=True)
    y = pg.lgamma(ours)
    np.testing.assert_array_equal(y.detach().numpy(), numpy().reference(declared.ops["lgamma"])(x))
    (g,) = pg.autograd.grad(y.sum(), ours)
    np.testing.assert_array_equal(g.numpy(), numpy().reference(declared.ops["digamma"])(x))


# --------------------------------------------------------------------------------------------------- the error functions

# name, reference, ranges of positive numbers (equally many of each power of 2), the largest error in ulp
ERRORS = [
    ("erf", mpmath.erf, [(1e-37, 1e-3), (1e-3, 0.5), (0.5, 5), (5, 3e38)], 5),
    ("erfc", mpmath.erfc, [(1e-37, 1e-3), (1e-3, 0.5), (0.5, 4), (4, 9.19)], 8),
    ("erfinv", mpmath.erfinv, [(1e-37, 1e-3), (1e-3, 0.5), (0.5, 0.99)], 5),
]


def spread(low, high, count):
    """Float32 numbers at equal distances of their bits."""
    ends = (int(np.float32(v).view(np.int32)) for v in (low, high))
    return np.linspace(*ends, count).astype(np.int32).view(np.float32)


@pytest.mark.parametrize("name, reference, ranges, ulps", ERRORS, ids=[e[0] for e in ERRORS])
def test_error_functions_beside_exact_ones(name, reference, ranges, ulps):
    x = np.concatenate([spread(low, high, 150) for low, high in ranges])
    x = np.concatenate([x, -x])
    got = numpy().fast[name](x)
    with mpmath.workdps(30):
        exact = np.array([float(reference(mpmath.mpf(float(v)))) for v in x])
    error = np.abs(got.astype("f8") - exact) / np.spacing(np.abs(exact).astype("f4"))
    assert error.max() <= ulps, f"{name}({x[error.argmax()]!r})"


def test_erfinv_next_to_its_ends():
    x = np.nextafter(np.float32(1), np.float32(0)) - np.arange(200, dtype="f4") * np.float32(2**-24)
    y = numpy().fast["erfinv"](x)
    with mpmath.workdps(40):
        exact = np.array([float(mpmath.erfinv(mpmath.mpf(float(v)))) for v in x])
    np.testing.assert_allclose(y, exact, rtol=4e-7)
    np.testing.assert_array_equal(numpy().fast["erfinv"](-x), -y)


@pytest.mark.parametrize("name", [e[0] for e in ERRORS])
@FEW
@given(st.data())
def test_error_functions_in_every_layout(name, data):
    x = data.draw(arrays(data.draw(st.sampled_from([(5, 16, 8), (70_000,), (3,), (0, 2)])))) * np.float32(0.3)
    made, slow = both(name, x)
    if made is not NotImplemented:
        assert made.dtype == np.float32
        np.testing.assert_allclose(made, slow(), rtol=1e-6)
    for other in (x.astype("f8"), x.astype("f2"), np.float32(0.5)):
        assert both(name, other)[0] is NotImplemented


@pytest.mark.parametrize("name", [e[0] for e in ERRORS])
def test_error_functions_at_their_ends(name):
    largest, least = np.finfo("f4").max, np.float32(1e-45)
    for count in (1, 40_000):
        x = np.array([0.0, np.inf, np.nan, 1, 1.5, largest, 1e-3] * count, "f4")
        x = np.concatenate([x, -x])
        with np.errstate(all="raise"):
            made, slow = both(name, x)
        with np.errstate(all="ignore"):
            wanted = slow()
        np.testing.assert_allclose(made, wanted, rtol=4e-7)
        np.testing.assert_array_equal(np.signbit(made[made == 0]), np.signbit(wanted[wanted == 0]))
    if name != "erfc":
        assert numpy().fast[name](np.array([least, -least])).tolist() == [least, -least]


@pytest.mark.parametrize("name", [e[0] for e in ERRORS])
def test_derivatives_of_error_functions(name):
    """Both modes and second order beside those of float64, which is the body's."""
    found = {}
    for dtype in ("float32", "float64"):
        x = pg.tensor(np.linspace(-0.9, 0.9, 60_000, dtype="f4").astype(dtype), requires_grad=True)
        function = getattr(pg, name)
        y = function(x)
        (first,) = pg.autograd.grad(y.sum(), x, create_graph=True)
        (second,) = pg.autograd.grad(first.sum(), x)
        value, tangent = pg.jvp(function, (x.detach(),), (pg.ones_like(x),))
        found[dtype] = [t.detach().numpy() for t in (y, first, second, value, tangent)]
    for single, double in zip(found["float32"], found["float64"], strict=True):
        assert single.dtype == np.float32
        np.testing.assert_allclose(single, double, rtol=3e-6, atol=1e-6)


# ------------------------------------------------------------------------------------------------------- the gamma family

FAMILY = [
    ("lgamma", (), lambda x: mpmath.loggamma(x)),
    ("digamma", (), lambda x: mpmath.digamma(x)),
    ("polygamma", (1,), lambda x: mpmath.polygamma(1, x)),
]
IDS = [f[0] for f in FAMILY]


@pytest.mark.parametrize("name, order, reference", FAMILY, ids=IDS)
def test_the_gamma_family_beside_exact_ones(name, order, reference):
    ranges = [(1e-18, 1e-3), (1e-3, 0.9), (0.99, 1.01), (1.46, 1.463), (1.2, 1.8), (1.9999, 2.0001), (2, 9), (9, 1e18)]
    x = np.concatenate([spread(low, high, 80) for low, high in ranges])
    near = [np.nextafter(np.float32(v), np.float32(w)) for v in (1, 1.4616321, 2) for w in (0, 9)]
    x = np.concatenate([x, np.array([1, 2, 1.4616321, 1.4616322, *near], "f4")])
    got = numpy().fast[name](*order, x)
    with mpmath.workdps(30):
        exact = np.array([float(reference(mpmath.mpf(float(v)))) for v in x])
    error = np.abs(got.astype("f8") - exact) / np.spacing(np.abs(exact).astype("f4"))
    assert error.max() <= 0.6, f"{name}({x[error.argmax()]!r})"
    if name == "lgamma":
        assert (got == 0).sum() == np.logical_or(x == 1, x == 2).sum() > 0


@pytest.mark.parametrize("name, order, reference", FAMILY, ids=IDS)
@FEW
@given(st.data())
def test_the_gamma_family_in_every_layout(name, order, reference, data):
    x = np.exp(2 * data.draw(arrays(data.draw(st.sampled_from([(5, 16, 8), (70_000,), (3,), (0, 2)])))))
    made, slow = both(name, *order, x)
    if made is not NotImplemented:
        assert made.dtype == np.float32
        np.testing.assert_allclose(made, slow(), rtol=2e-6, atol=1e-6)
    for other in (x.astype("f8"), np.float32(0.5), *[np.array([1, bad], "f4") for bad in (0, -1, math.inf, math.nan)]):
        assert both(name, *order, other)[0] is NotImplemented
    if order:
        assert both(name, 2, x)[0] is NotImplemented


@pytest.mark.parametrize("name, order, reference", FAMILY, ids=IDS)
def test_the_gamma_family_at_its_ends(name, order, reference):
    x = np.array([1e-45, 1e-38, 1e-20, 1e20, 1e30, 4e36, np.finfo("f4").max], "f4")
    with np.errstate(all="raise"):
        made, slow = both(name, *order, x)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(made, slow(), rtol=1e-6, atol=1e-37)


def test_derivatives_of_the_gamma_family():
    """Of log-gamma up to the third, in both modes, beside those of float64, which are the bodies'."""
    found = {}
    for dtype in ("float32", "float64"):
        x = pg.tensor(np.linspace(0.1, 20, 9000, dtype="f4").astype(dtype), requires_grad=True)
        derived = [pg.lgamma(x)]
        for _ in range(3):
            derived += pg.autograd.grad(derived[-1].sum(), x, create_graph=True)
        _, tangent = pg.jvp(pg.lgamma, (x.detach(),), (pg.ones_like(x),))
        found[dtype] = [t.detach().numpy() for t in (*derived, tangent)]
    for single, double in zip(found["float32"], found["float64"], strict=True):
        assert single.dtype == np.float32
        np.testing.assert_allclose(single, double, rtol=3e-6, atol=1e-6)
