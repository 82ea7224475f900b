"""What stands in where a library lacks a function of the standard: equal to NumPy's own, and used, with its gradient."""

import math

import numpy as np
import pytest

import polygrad as pg
from polygrad.core import Backend
from polygrad.core.backend import Namespace, declared

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 4, 3))
SQUARE = RNG.normal(size=(2, 3, 3)) + 1j * RNG.normal(size=(2, 3, 3))
POSITIVE = SQUARE @ SQUARE.conj().mT + np.eye(3)
EDGES = np.array([0.0, -0.0, 1.0, -2.0, np.inf, -np.inf, 1e300, -1e-300])
SINGULAR = np.array([[[1.0, 2.0], [2.0, 4.0]], [[0.0, 1.0], [1.0, 0.0]]])


def polyfill(name):
    """A polyfill on NumPy's arrays."""
    arrays = pg.get_backend("numpy").arrays
    return lambda *operands, **params: declared.polyfills[name](arrays, *operands, **params)


def same(got, wanted, tolerance=1e-13):
    """Assert that results, or tuples of them, are equal to rounding, in data type and shape too."""
    if isinstance(wanted, tuple):
        assert len(got) == len(wanted)
        return [same(g, w, tolerance) for g, w in zip(got, wanted, strict=True)]
    wanted = np.asarray(wanted)
    assert got.dtype == wanted.dtype and got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)


CASES = [
    ("signbit", np.signbit, (EDGES,), {}),
    ("copysign", np.copysign, (EDGES, EDGES[::-1]), {}),
    ("copysign", np.copysign, (2.0, EDGES), {}),
    ("hypot", np.hypot, (EDGES[:, None], EDGES), {}),
    ("hypot", np.hypot, (EDGES, 3.0), {}),
    ("hypot", np.hypot, (np.array([1e300, 3e-300]), np.array([1e300, 4e-300])), {}),
    ("nonzero", np.nonzero, (X > 0,), {}),
    ("nonzero", np.nonzero, (np.zeros((0, 3)),), {}),
    ("take_along_axis", np.take_along_axis, (X, np.array([[[0, -1]], [[2, 1]]])), {"axis": 2}),
    ("take_along_axis", np.take_along_axis, (X, np.array([[[3, 0, 1]]])), {"axis": 1}),
    *(("linalg.diagonal", np.linalg.diagonal, (X,), {"offset": k}) for k in (-5, -2, 0, 1, 3)),
    ("linalg.svdvals", np.linalg.svdvals, (X,), {}),
    ("linalg.eigvalsh", np.linalg.eigvalsh, (POSITIVE,), {}),
    *(("linalg.vector_norm", np.linalg.vector_norm, (X,), {"axis": 1, "ord": p}) for p in (0, 1, 2, 2.5, -1)),
    *(("linalg.vector_norm", np.linalg.vector_norm, (X,), {"ord": p, "keepdims": True}) for p in (math.inf, -math.inf)),
    ("linalg.matrix_rank", np.linalg.matrix_rank, (SINGULAR,), {}),
    ("linalg.matrix_rank", np.linalg.matrix_rank, (SINGULAR,), {"rtol": 10.0}),
    ("linalg.pinv", np.linalg.pinv, (SINGULAR,), {}),
    ("linalg.pinv", np.linalg.pinv, (SQUARE[..., :2],), {}),
    ("linalg.pinv", np.linalg.pinv, (np.zeros((2, 0, 3)),), {}),
    ("linalg.cross", np.linalg.cross, (X, X[::-1]), {}),
    ("linalg.cross", np.linalg.cross, (SQUARE, X[:, :3]), {"axis": 1}),
    *(("linalg.det", np.linalg.det, (x,), {}) for x in (SQUARE, SINGULAR, np.zeros((2, 0, 0)), np.zeros((0, 2, 2)))),
    ("linalg.slogdet", lambda x: tuple(np.linalg.slogdet(x)), (SQUARE,), {}),
    ("linalg.slogdet", lambda x: tuple(np.linalg.slogdet(x)), (1e-200 * np.eye(3),), {}),
    ("linalg.cholesky", np.linalg.cholesky, (POSITIVE,), {}),
    ("linalg.cholesky", np.linalg.cholesky, (POSITIVE.real,), {"upper": True}),
]


@pytest.mark.parametrize("name, function, operands, params", CASES, ids=[c[0] for c in CASES])
def test_it_is_equal_to_numpys(name, function, operands, params):
    with np.errstate(all="ignore"):
        same(polyfill(name)(*operands, **params), function(*operands, **params))


@pytest.mark.parametrize("x", [X, X.mT, SQUARE, np.zeros((3, 2)), np.ones((2, 0))], ids=str)
@pytest.mark.parametrize("mode", ["reduced", "complete"])
def test_qr(x, mode):
    """The factors are unique up to phases only: their shapes are NumPy's, and they are factors of that kind."""
    q, r = polyfill("linalg.qr")(x, mode=mode)
    for ours, theirs in zip((q, r), np.linalg.qr(x, mode=mode), strict=True):
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    same(q @ r, x, 1e-12)
    same(
        q.conj().mT @ q, np.broadcast_to(np.eye(q.shape[-1], dtype=x.dtype), (*x.shape[:-2], *q.shape[-1:] * 2)), 1e-12
    )
    assert np.all(np.tril(r, -1) == 0)


def test_a_negative_definite_matrix_has_no_cholesky_factor():
    with np.errstate(invalid="ignore"):
        assert np.isnan(polyfill("linalg.cholesky")(-np.eye(2))).any()


@pytest.mark.parametrize("shapes", [(), ((),), ((3, 1), (1, 4)), ((2, 1, 3), (4, 1), ()), ((0, 1), (1,))])
def test_broadcast_shapes(shapes):
    assert polyfill("broadcast_shapes")(*shapes) == np.broadcast_shapes(*shapes)


def test_shapes_that_do_not_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"\(2,\), \(3,\)"):
        polyfill("broadcast_shapes")((2,), (3,))


@pytest.fixture
def poor():
    """A backend whose library lacks whatever a polyfill can stand in for."""
    full = pg.get_backend("numpy").xp
    xp = Namespace("poor")
    for space, part, prefix in (
        (xp, full, ""),
        *((Namespace(n), getattr(full, n), f"{n}.") for n in ("linalg", "fft")),
    ):
        names = [n for n in dir(part) if not n.startswith("_") and prefix + n not in declared.polyfills]
        vars(space).update({n: getattr(part, n) for n in names})
        if prefix:
            setattr(xp, prefix[:-1], space)
    backend = Backend("poor", xp, to_numpy=np.asarray, devices=lambda: ["cpu"]).ready()
    yield backend
    declared.live.remove(backend)


def _derivatives(values):
    """A function of what a library may lack, its gradient, and the gradient of that one's square."""
    x = pg.tensor(values, requires_grad=True)
    q, r = pg.linalg.qr(x)
    y = pg.hypot(pg.linalg.det(x @ x.mT), pg.linalg.vector_norm(x, ord=3)) + (pg.linalg.diagonal(r)[0] * q[0, 0]) ** 2
    y = y + pg.sum(pg.linalg.pinv(x) ** 2) + pg.linalg.svdvals(x)[0]
    y = y + pg.sum(pg.take_along_axis(x, pg.asarray([[1], [0]]), axis=1) ** 2)
    (g,) = pg.autograd.grad(y, x, create_graph=True)
    (h,) = pg.autograd.grad((g * g).sum(), x)
    return x.backend, [np.asarray(t.detach().array) for t in (y, g, h)]


def test_a_library_that_lacks_functions_gets_them_with_their_gradients(poor, double):
    """In bodies that refine the library's function too (`xp.raw`), to second order."""
    found = {}
    for backend in ("numpy", poor):
        with pg.use_backend(backend):
            name, results = _derivatives(X[0, :2].tolist())
            found[name] = results
    assert set(found) == {"numpy", "poor"}
    for got, wanted in zip(found["poor"], found["numpy"], strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-9)
