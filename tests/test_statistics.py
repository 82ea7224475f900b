"""Order statistics, running extremes, covariances, diagonals and products under PyTorch's names."""

import math

import numpy as np
import pytest

import polygrad as pg

RNG = np.random.default_rng(4)
X = RNG.uniform(-1, 1, (3, 5))


def compare(ours, theirs, *arrays, torch):
    """Values and gradients of a function in both libraries."""
    mine = [pg.tensor(a, requires_grad=True) for a in arrays]
    other = [torch.tensor(a, requires_grad=True) for a in arrays]
    y, z = ours(*mine), theirs(*other)
    y, z = (list(p) if isinstance(p, tuple | list) else [p] for p in (y, z))
    total = rest = 0
    for a, b in zip(y, z, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-10, atol=1e-12)
        if b.is_floating_point():
            w = np.arange(1.0, b.numel() + 1).reshape(tuple(b.shape))
            total, rest = total + (a * pg.tensor(w)).sum(), rest + (b * torch.tensor(w)).sum()
    total.backward()
    rest.backward()
    for m, o in zip(mine, other, strict=True):
        np.testing.assert_allclose(m.grad.numpy(), o.grad.numpy(), rtol=1e-9, atol=1e-11)


FUNCTIONS = {
    "median": [{}, {"dim": 1}, {"dim": 0, "keepdim": True}],
    "nanmedian": [{}, {"dim": 1}],
    "quantile": [
        *({"q": 0.37, "interpolation": i} for i in ("linear", "lower", "higher", "midpoint", "nearest")),
        {"q": 0.8, "dim": 1},
        {"q": 0.1, "dim": 0, "keepdim": True},
        {"q": 1.0},
    ],
    "cummax": [{"dim": 1}, {"dim": 0}],
    "cummin": [{"dim": 1}],
    "logcumsumexp": [{"dim": 1}, {"dim": 0}],
    "nansum": [{}, {"dim": 1, "keepdim": True}],
    "nanmean": [{}, {"dim": 0}],
    "nan_to_num": [{}],
    "cov": [{}, {"correction": 0}],
    "corrcoef": [{}],
    "gradient": [{}, {"dim": 1, "spacing": 0.5}, {"edge_order": 2}],
    "diag": [{}, {"diagonal": 1}],
    "diag_embed": [{}, {"offset": 1, "dim1": 0, "dim2": 2}],
    "diagonal": [{"offset": -1}, {"dim1": 1, "dim2": 0}],
    "diagflat": [{}, {"offset": -1}],
    "atleast_3d": [{}],
}


@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_values_and_gradients_are_pytorchs(name, backend, torch):
    for options in FUNCTIONS[name]:
        compare(
            lambda x, o=options: getattr(pg, name)(x, **o),
            lambda x, o=options: getattr(torch, name)(x, **o),
            X,
            torch=torch,
        )


def test_several_quantiles_at_once(backend, torch):
    q = [0.2, 0.5, 0.95]
    for options in ({}, {"dim": 1}, {"dim": 0, "keepdim": True}):
        compare(
            lambda x, o=options: pg.quantile(x, pg.tensor(q, dtype="float64"), **o),
            lambda x, o=options: torch.quantile(x, torch.tensor(q, dtype=torch.float64), **o),
            X,
            torch=torch,
        )
    with pytest.raises(RuntimeError, match="q must be in"):
        pg.quantile(pg.tensor(X), 1.5)


def test_kinks_of_the_median(backend):
    x = pg.tensor([1.0, 2.0, 2.0, 3.0], dtype="float64", requires_grad=True)
    pg.median(x).backward()
    assert x.grad.tolist() == [0, 0.5, 0.5, 0]
    x.grad = None
    pg.median(x, dim=0).values.backward()
    assert x.grad.tolist() == [0, 1, 0, 0]


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # the mean of no elements is 0 / 0
def test_nan(backend):
    x = pg.tensor([[1.0, math.nan, 3.0], [math.nan] * 3], dtype="float64")
    assert math.isnan(float(pg.median(x)))
    assert pg.median(x, dim=1).indices.tolist() == [1, 0]
    assert pg.nanmedian(x, dim=1).values.tolist()[0] == 1
    assert math.isnan(pg.nanmedian(x, dim=1).values.tolist()[1])
    assert pg.nansum(x).tolist() == 4
    assert pg.nanmean(x, dim=1).tolist()[0] == 2
    assert pg.nanmax(x, axis=1).tolist()[0] == pg.nanmax(x).tolist() == 3
    assert pg.nanmin(x, 0, True).tolist()[0][::2] == [1, 3] and math.isnan(pg.nanmin(x, dim=1).tolist()[1])
    assert math.isnan(float(pg.quantile(x[0], 0.5)))
    values = pg.cummax(pg.tensor([1.0, math.nan, 2.0]), 0).values.tolist()
    assert values[0] == 1 and all(map(math.isnan, values[1:]))
    y = pg.nan_to_num(pg.tensor([math.nan, math.inf, -math.inf, 1.0]), nan=7.0, neginf=-2.0)
    assert y.tolist()[0] == 7 and y.tolist()[2:] == [-2, 1] and math.isfinite(y.tolist()[1])
    z = pg.nan_to_num(pg.tensor([complex(math.nan, 1)]))
    assert z.tolist() == [1j]


def test_ties_of_running_extremes_go_to_the_last(backend, torch):
    x = [1.0, 1.0, 0.0, 2.0, 2.0]
    for name in ("cummax", "cummin"):
        got, want = getattr(pg, name)(pg.tensor(x), 0), getattr(torch, name)(torch.tensor(x), 0)
        assert got.indices.tolist() == want.indices.tolist()


def test_weighted_covariance(backend, torch):
    f, a = np.array([1, 2, 1, 3, 1]), np.array([0.5, 1.0, 2.0, 1.0, 0.25])
    for weights in ({"fweights": f}, {"aweights": a}, {"fweights": f, "aweights": a}):
        compare(
            lambda x, w=weights: pg.cov(x, **{k: pg.tensor(v) for k, v in w.items()}),
            lambda x, w=weights: torch.cov(x, **{k: torch.tensor(v) for k, v in w.items()}),
            X,
            torch=torch,
        )
    assert pg.cov(pg.tensor(X[0])).shape == ()
    z = X + 1j * X[::-1]
    np.testing.assert_allclose(pg.cov(pg.tensor(z)).numpy(), np.cov(z), atol=1e-12)


def test_uneven_gradient(backend, torch):
    t = np.array([0.0, 0.5, 0.7, 1.5, 2.0])
    for order in (1, 2):
        compare(
            lambda x, o=order: pg.gradient(x, spacing=(pg.tensor(t),), dim=1, edge_order=o),
            lambda x, o=order: torch.gradient(x, spacing=(torch.tensor(t),), dim=1, edge_order=o),
            X,
            torch=torch,
        )
    with pytest.raises(RuntimeError, match="gradient"):
        pg.gradient(pg.ones((1, 4)))


def test_interp(backend):
    points, values = np.array([0.0, 1.0, 2.5, 3.0]), np.array([1.0, 3.0, 2.0, 5.0])
    x = np.array([[-1.0, 0.1, 0.3], [1.1, 2.9, 4.0]])  # no kink of the function
    t, p, v = (pg.tensor(a, requires_grad=True) for a in (x, points, values))
    y = pg.interp(t, p, v)
    np.testing.assert_allclose(y.detach().numpy(), np.interp(x, points, values), atol=1e-14)
    np.testing.assert_allclose(
        pg.interp(t, p, v, -7.0, 9.0).detach().numpy(), np.interp(x, points, values, -7.0, 9.0), atol=1e-14
    )
    y.sum().backward()
    h = 1e-6
    for which, index in ((0, (0, 2)), (0, (1, 1)), (1, 1), (1, 2), (2, 0), (2, 3)):
        ends = []
        for sign in (1, -1):
            arrays = [a.copy() for a in (x, points, values)]
            arrays[which][index] += sign * h
            ends.append(np.interp(*arrays).sum())
        slope = float((t, p, v)[which].grad[index])
        assert math.isclose(slope, (ends[0] - ends[1]) / (2 * h), abs_tol=1e-7), (which, index)


A, B, V = RNG.uniform(-1, 1, (3, 4)), RNG.uniform(-1, 1, (4, 5)), RNG.uniform(-1, 1, 4)
BATCH = RNG.uniform(-1, 1, (2, 3, 4)), RNG.uniform(-1, 1, (2, 4, 5))


@pytest.mark.parametrize(
    "name, arrays, options",
    [
        ("dot", (V, V[::-1].copy()), {}),
        ("vdot", (V, V[::-1].copy()), {}),
        ("inner", (A, A[:2].copy()), {}),
        ("mv", (A, V), {}),
        ("addmm", (X, A, B), {"beta": 2, "alpha": 0.5}),
        ("addmm", (X[:, :1].copy(), A, B), {}),
        ("addmv", (X[:, 0].copy(), A, V), {"beta": 2}),
        ("addr", (A, X[:, 0].copy(), V), {"alpha": 3}),
        ("baddbmm", (X, *BATCH), {"alpha": 2}),
        ("addbmm", (X, *BATCH), {"beta": 0.5}),
        ("lerp", (A, A * 2, A), {}),
        ("addcmul", (A, A, V), {"value": 0.3}),
        ("addcdiv", (A, A, V), {"value": 0.3}),
        ("cdist", (A, A[:2] + 1), {}),
        ("cdist", (A, A[:2] + 1), {"p": 1.0}),
        ("kron", (A, V), {}),
    ],
)
def test_products_are_pytorchs(name, arrays, options, backend, torch):
    compare(
        lambda *x: getattr(pg, name)(*x, **options),
        lambda *x: getattr(torch, name)(*x, **options),
        *arrays,
        torch=torch,
    )


def test_the_distance_zero_has_no_slope(backend):
    x = pg.tensor(A, requires_grad=True)
    pg.cdist(x, x).sum().backward()
    assert np.isfinite(x.grad.numpy()).all()


def test_products_refuse_other_ranks(backend):
    m, v = pg.ones((2, 2)), pg.ones(2)
    for call in (lambda: pg.dot(m, v), lambda: pg.dot(v, pg.ones(3)), lambda: pg.mv(v, m), lambda: pg.addr(m, m, v)):
        with pytest.raises(RuntimeError):
            call()


def test_addmm_ignores_what_it_multiplies_by_zero(backend):
    y = pg.addmm(pg.full((3, 5), math.nan, dtype="float64"), pg.tensor(A), pg.tensor(B), beta=0)
    np.testing.assert_allclose(y.numpy(), A @ B)


def test_diagonals(backend):
    assert pg.create_diagonal(pg.tensor([1, 2]), offset=1).tolist() == [[0, 1, 0], [0, 0, 2], [0, 0, 0]]
    assert pg.diag(pg.tensor([1, 2])).tolist() == [[1, 0], [0, 2]]
    assert pg.block_diag(pg.tensor([[1, 2]]), pg.tensor(3)).tolist() == [[1, 2, 0], [0, 0, 3]]
    assert [t.shape for t in pg.atleast_2d(pg.ones(3), pg.ones(()))] == [(1, 3), (1, 1)]
    assert pg.atleast_1d(pg.tensor(1.0)).shape == (1,)
    assert pg.atleast_nd(pg.ones((2, 3)), ndim=4).shape == (1, 1, 2, 3)
    with pytest.raises(RuntimeError):
        pg.diag(pg.ones((1, 1, 1)))
    with pytest.raises(RuntimeError):
        pg.diag_embed(pg.ones((2,)), 0, 1, 1)
