"""Linear algebra: gradients against PyTorch, exactness at degenerate points, and what bad input gives."""

import itertools
import math

import numpy as np
import pytest

import polygrad as pg

RNG = np.random.default_rng(7)


def draw(*shape, kind="float64"):
    x = RNG.uniform(-1, 1, shape)
    return x + 1j * RNG.uniform(-1, 1, shape) if kind == "complex128" else x


def leaf(values, kind="float64"):
    return pg.tensor(np.asarray(values), dtype=kind, requires_grad=True)


def gradient(loss, *xs):
    """The gradients of a real loss at arrays, as arrays."""
    leaves = [pg.tensor(np.asarray(x), requires_grad=True) for x in xs]
    found = pg.autograd.grad(loss(*leaves), leaves)
    return [g.numpy() for g in found]


def herm(x):
    return pg.conj(pg.matrix_transpose(x))


def close(a, b, tolerance=1e-9):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tolerance, atol=tolerance)


def difference(f, x, t, h=1e-6):
    """The central difference of a function of an array, in a direction."""
    return (f(pg.tensor(x + h * t)).numpy() - f(pg.tensor(x - h * t)).numpy()) / (2 * h)


# ------------------------------------------------------------------------------------------------- against PyTorch


def size(lib, y):
    """A smooth real number made of everything in y."""
    return sum((p * p.conj()).real.sum() if lib == "torch" else pg.sum(pg.real(p * pg.conj(p))) for p in y)


def weighted(lib, y):
    """A real number that tells the elements of y apart."""
    total = 0
    for p in y:
        w = np.arange(1.0, math.prod(p.shape) + 1).reshape(tuple(p.shape))
        if lib == "torch":
            import torch

            w = torch.tensor(w)
            total = total + (w * (p.real if p.is_complex() else p)).sum() + (w * p.abs() ** 2).sum()
        else:
            w = pg.tensor(w)
            total = total + pg.sum(w * pg.real(p)) + pg.sum(w * pg.abs(p) ** 2)
    return total


def both(name):
    """A function by its name below `linalg`, in both libraries."""
    return lambda lib, x, *a, **k: getattr(x[0].linalg, name)(*x[1], *a, **k)


SQUARE, TALL, WIDE, BATCH = (3, 3), (4, 2), (2, 4), (2, 3, 3)

# name, operand shapes, parameters of ours, of PyTorch's, and what of the result does not depend on a free choice
FUNCTIONS = [
    ("cholesky", ["spd3"], {}, {}, None),
    ("cholesky", ["spd3"], {"upper": True}, {"upper": True}, None),
    ("cross", [(2, 3), (2, 3)], {}, {}, None),
    ("det", [SQUARE], {}, {}, None),
    ("det", [BATCH], {}, {}, None),
    ("slogdet", [BATCH], {}, {}, lambda y: [y[1], y[0]]),
    ("diagonal", [(3, 4)], {"offset": 1}, {"offset": 1}, None),
    ("eigh", ["spd3"], {}, {}, lambda y: [y[0], (y[1] * y[1].conj()).real]),
    ("eigvalsh", ["spd3"], {}, {}, None),
    ("eig", [SQUARE], {}, {}, lambda y: [y[0], y[1].abs()]),
    ("eigvals", [SQUARE], {}, {}, None),
    ("svd", [TALL], {"full_matrices": False}, {"full_matrices": False}, lambda y: [y[1], y[0].abs(), y[2].abs()]),
    ("svd", [WIDE], {"full_matrices": False}, {"full_matrices": False}, lambda y: [y[1], y[0].abs(), y[2].abs()]),
    ("svd", [BATCH], {}, {}, lambda y: [y[1], y[0].abs(), y[2].abs()]),
    ("svdvals", [TALL], {}, {}, None),
    ("qr", [TALL], {}, {}, None),
    ("qr", [WIDE], {}, {}, None),
    ("qr", [BATCH], {}, {}, None),
    ("qr", [WIDE], {"mode": "complete"}, {"mode": "complete"}, None),
    ("inv", [BATCH], {}, {}, None),
    ("solve", [SQUARE, (3, 2)], {}, {}, None),
    ("solve", [BATCH, (2, 3, 2)], {}, {}, None),
    ("pinv", [TALL], {}, {}, None),
    ("pinv", [WIDE], {"rtol": 1e-3}, {"rtol": 1e-3}, None),
    *(("matrix_norm", [TALL], {"ord": p}, {"ord": p}, None) for p in ("fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf)),
    *(("vector_norm", [TALL], {"ord": p}, {"ord": p}, None) for p in (0, 1, 2, 3.5, -1, math.inf, -math.inf)),
    *(("matrix_power", [SQUARE, n], {}, {}, None) for n in (2, 3, -2)),
    ("solve_triangular", [SQUARE, (3, 2)], {"upper": True}, {"upper": True}, None),
    (
        "solve_triangular",
        [SQUARE, (2, 3)],
        {"upper": False, "left": False, "unitriangular": True},
        {"upper": False, "left": False, "unitriangular": True},
        None,
    ),
    ("lstsq", [TALL, (4, 3)], {}, {}, lambda y: [y[0]]),
    ("matrix_exp", [BATCH], {}, {}, None),
    ("vecdot", [(2, 3), (2, 3)], {}, {}, None),
]


def operands(shapes, kind):
    rng = np.random.default_rng(3)

    def one(shape):
        x = rng.uniform(-1, 1, (3, 3) if shape == "spd3" else shape)
        if kind == "complex128":
            x = x + 1j * rng.uniform(-1, 1, x.shape)
        if shape == "spd3":
            return x @ x.conj().T + np.diag([1.0, 2.0, 3.0])
        return x + 0.1 * np.eye(*shape[-2:]) if len(shape) > 1 else x

    return [s if isinstance(s, int) else one(s) for s in shapes]


@pytest.mark.parametrize("kind", ["float64", "complex128"])
@pytest.mark.parametrize(
    "function", FUNCTIONS, ids=lambda f: f"{f[0]}-{'-'.join(map(str, f[1]))}-{'-'.join(map(str, f[2].values()))}"
)
def test_values_and_gradients_are_pytorchs(function, kind, backend, torch):
    name, shapes, ours, theirs, unique = function
    if backend.compiler is not None and kind == "complex128":
        pytest.skip("each shape compiles for seconds; the conformance suite has complex operands on this backend")
    arrays = operands(shapes, kind)
    mine = [a if isinstance(a, int) else leaf(a, kind) for a in arrays]
    other = [a if isinstance(a, int) else torch.tensor(a, requires_grad=True) for a in arrays]
    got = getattr(pg.linalg, name)(*mine, **ours)
    wanted = getattr(torch.linalg, name)(*other, **theirs)
    got, wanted = (unique(y) if unique else list(y) if isinstance(y, tuple) else [y] for y in (got, wanted))
    if name.startswith("eig"):  # in no particular order
        order = [
            np.argsort([complex(v).real + 1e-3 * complex(v).imag for v in y[0].detach().tolist()])
            for y in (got, wanted)
        ]
        assert len(order[0]) == 3
        got = [g[..., pg.tensor(order[0])] for g in got]
        wanted = [w[..., torch.tensor(order[1])] for w in wanted]
    for g, w in zip(got, wanted, strict=True):
        close(g.detach().numpy(), w.detach().resolve_conj().numpy())
    weighted("polygrad", got).backward()
    weighted("torch", wanted).backward()
    for m, o in zip(mine, other, strict=True):
        if not isinstance(m, int):
            grad = np.zeros(o.shape) if o.grad is None else o.grad.resolve_conj().numpy()
            if name in (
                "cholesky",
                "eigh",
                "eigvalsh",
            ):  # PyTorch leaves the gradient of a Hermitian matrix as it comes
                grad = (grad + grad.conj().T) / 2
            close(m.grad.numpy(), grad, 1e-7)


# --------------------------------------------------------------------------------------------- determinants


def cofactors_of(a):
    """Cofactors by their definition."""
    n = len(a)
    c = np.zeros_like(a)
    for i, j in itertools.product(range(n), repeat=2):
        minor = np.delete(np.delete(a, i, 0), j, 1)
        c[i, j] = (-1) ** (i + j) * (np.linalg.det(minor) if n > 1 else 1)
    return c


def of_rank(n, rank, kind):
    return draw(n, rank, kind=kind) @ draw(rank, n, kind=kind) if rank else np.zeros((n, n), dtype=kind)


@pytest.mark.parametrize("kind", ["float64", "complex128"])
@pytest.mark.parametrize("n, rank", [(1, 0), (2, 0), (2, 1), (3, 1), (3, 2), (3, 3), (4, 2), (5, 4)])
def test_det_has_the_cofactors_for_gradient_at_any_rank(n, rank, kind, backend):
    a = of_rank(n, rank, kind)
    (grad,) = gradient(lambda x: pg.real(pg.linalg.det(x)), a)
    close(grad, cofactors_of(a).conj())


def test_det_at_the_textbook_singular_matrix(backend):
    (grad,) = gradient(pg.linalg.det, np.array([[1.0, 2.0], [2.0, 4.0]]))
    close(grad, [[4, -2], [-2, 1]])


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_det_has_second_derivatives_at_any_rank(rank, backend):
    a, t = of_rank(4, rank, "float64"), draw(4, 4)
    x = leaf(a)
    (g,) = pg.autograd.grad(pg.linalg.det(x), x, create_graph=True)
    (h,) = pg.autograd.grad(pg.sum(g * pg.tensor(t)), x)
    close(h.numpy(), (cofactors_of(a + 1e-5 * t) - cofactors_of(a - 1e-5 * t)) / 2e-5, 1e-6)


def test_slogdet_at_a_singular_matrix_is_nan_and_beside_it_is_right(backend):
    a = np.stack([np.array([[1.0, 2.0], [2.0, 4.0]]), np.array([[2.0, 1.0], [1.0, 3.0]])])
    x = leaf(a)
    sign, logabsdet = pg.linalg.slogdet(x)
    assert sign.tolist() == [0, 1]
    assert logabsdet.tolist()[0] == -math.inf
    logabsdet[1].backward()
    (both_,) = pg.autograd.grad(pg.linalg.slogdet(x).logabsdet.sum(), x)
    assert np.isnan(both_.numpy()[0]).all()
    close(x.grad.numpy()[1], np.linalg.inv(a[1]).T)


def test_empty_and_one_by_one_matrices(backend):
    assert pg.linalg.det(pg.zeros((2, 0, 0), dtype="float64")).tolist() == [1, 1]
    (grad,) = gradient(lambda x: pg.linalg.det(x).sum(), np.full((3, 1, 1), 2.0))
    assert (grad == 1).all()
    for f in (pg.linalg.inv, pg.linalg.pinv, pg.linalg.cholesky, lambda x: pg.linalg.eigh(x)[1]):
        (grad,) = gradient(lambda x, f=f: f(x).sum(), np.ones((0, 3, 3)))
        assert grad.shape == (0, 3, 3)


# ---------------------------------------------------------------------------------------------- repeated values


def rotation(n, kind="float64"):
    return np.linalg.qr(draw(n, n, kind=kind))[0]


def test_the_sum_of_eigenvalues_and_of_singular_values_of_the_identity(backend):
    for f in (pg.linalg.eigvalsh, pg.linalg.svdvals):
        (grad,) = gradient(lambda x, f=f: f(x).sum(), np.eye(3))
        close(grad, np.eye(3))


@pytest.mark.parametrize("kind", ["float64", "complex128"])
def test_eigenvectors_at_a_repeated_eigenvalue_when_the_loss_does_not_see_the_basis(kind, backend):
    q = rotation(4, kind)
    a = q @ np.diag([1.0, 1.0, 1.0, 3.0]) @ q.conj().T
    w = draw(4, 4, kind=kind)

    def loss(x):
        v = pg.linalg.eigh(x).eigenvectors[:, :3]  # the projector on the whole eigenspace
        return pg.sum(pg.real(pg.tensor(w) * (v @ herm(v))))

    (grad,) = gradient(loss, a)
    t = draw(4, 4, kind=kind)
    t = t + t.conj().T
    close(np.sum((grad.conj() * t).real), difference(loss, a, t), 1e-6)


def test_eigenvectors_of_the_identity_when_the_loss_does_not_see_the_basis(backend):
    (grad,) = gradient(lambda x: (lambda v: (v @ v.T).sum())(pg.linalg.eigh(x).eigenvectors), np.eye(3))
    close(grad, np.zeros((3, 3)))


def test_eigenvectors_at_a_repeated_eigenvalue_are_nan_with_a_warning_when_the_loss_sees_the_basis(backend):
    x = leaf(np.eye(3))
    loss = (pg.linalg.eigh(x).eigenvectors * pg.tensor(draw(3, 3))).sum()
    with pytest.warns(RuntimeWarning, match="linalg.eigh.*repeated eigenvalue"):
        loss.backward()
    assert np.isnan(x.grad.numpy()).any()


def test_a_loss_that_sees_the_phase_of_complex_vectors_is_an_error(backend):
    for f, name in ((lambda x: pg.linalg.eigh(x + herm(x))[1], "eigh"), (lambda x: pg.linalg.svd(x)[0], "svd")):
        x = leaf(draw(3, 3, kind="complex128"), "complex128")
        with pytest.raises(RuntimeError, match=rf"linalg.{name}.*ill-defined"):
            pg.sum(pg.real(f(x))).backward()
    x = leaf(draw(3, 3))
    with pytest.raises(RuntimeError, match="linalg.eig:.*ill-defined"):
        pg.sum(pg.imag(pg.linalg.eig(x)[1] * (1 + 2j))).backward()


@pytest.mark.parametrize("kind", ["float64", "complex128"])
def test_the_polar_factor_at_repeated_singular_values(kind, backend):
    """U V^H is smooth there, though U and V are not."""
    a = 2 * rotation(3, kind)
    w = draw(3, 3, kind=kind)

    def loss(x):
        u, _, vh = pg.linalg.svd(x)
        return pg.sum(pg.real(pg.tensor(w) * (u @ vh)))

    (grad,) = gradient(loss, a)
    t = draw(3, 3, kind=kind)
    close(np.sum((grad.conj() * t).real), difference(loss, a, t), 1e-6)


def test_svd_of_zeros_and_of_low_rank(backend):
    (grad,) = gradient(lambda x: pg.linalg.svdvals(x).sum(), np.zeros((2, 3)))
    assert np.isfinite(grad).all()
    a = of_rank(4, 2, "float64")

    def loss(x):
        u, s, vh = pg.linalg.svd(x)
        return ((u[:, :2] * s[:2]) @ vh[:2, :]).square().sum()

    (grad,) = gradient(loss, a)
    close(grad, 2 * a)


def test_eigenvalues_of_the_identity_as_a_general_matrix(backend):
    (grad,) = gradient(lambda x: pg.real(pg.linalg.eigvals(x)).sum(), np.eye(3))
    close(grad, np.eye(3))


def test_qr_of_low_rank_is_nan_with_a_warning(backend):
    x = leaf([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    with pytest.warns(RuntimeWarning, match="linalg.qr.*full rank"):
        pg.linalg.qr(x)[0].sum().backward()
    assert np.isnan(x.grad.numpy()).all()


def test_qr_with_all_columns_of_a_tall_matrix(backend):
    """PyTorch has no derivative here; the projector on the complement is unique."""
    a, t = draw(4, 2), draw(4, 2)
    w = pg.tensor(draw(4, 4))

    def loss(x):
        q = pg.linalg.qr(x, mode="complete").Q
        return (w * (q[:, 2:] @ q[:, 2:].T)).sum() + q[:, :2].square().sum()

    (grad,) = gradient(loss, a)
    close((grad * t).sum(), difference(loss, a, t), 1e-6)
    with pytest.raises(RuntimeError, match="linalg.qr.*ill-defined"):
        gradient(lambda x: (pg.linalg.qr(x, mode="complete").Q * w).sum(), a)


def test_pinv_at_low_rank_moves_along_its_rank(backend, torch):
    a = np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]])
    w = draw(2, 3)
    x = torch.tensor(a, requires_grad=True)
    (torch.linalg.pinv(x) * torch.tensor(w)).sum().backward()
    (grad,) = gradient(lambda x: (pg.linalg.pinv(x) * pg.tensor(w)).sum(), a)
    close(grad, x.grad.numpy())
    (grad,) = gradient(lambda x: pg.linalg.pinv(x).sum(), np.zeros((2, 3)))
    assert (grad == 0).all()


# --------------------------------------------------------------------------------------------------------- norms


@pytest.mark.parametrize(
    "values, order, wanted",
    [
        ([0.0, 0.0], 2, [0, 0]),
        ([0.0, 3.0], 1, [0, 1]),
        ([1.0, 1.0], math.inf, [0.5, 0.5]),
        ([1.0, -1.0], -math.inf, [0.5, -0.5]),
        ([0.0, 2.0], 0, [0, 0]),
        ([0.0, 0.0], 3, [0, 0]),
        ([0.0, 2.0], 0.5, [0, 1]),
        ([0.0, 0.0], math.inf, [0, 0]),
    ],
)
def test_kinks_of_the_vector_norms(values, order, wanted, backend):
    (grad,) = gradient(lambda x: pg.linalg.vector_norm(x, ord=order), np.array(values))
    close(grad, wanted)


def test_the_second_derivative_of_the_norm_at_zero_is_zero(backend):
    x = leaf([0.0, 0.0])
    (g,) = pg.autograd.grad(pg.linalg.vector_norm(x), x, create_graph=True)
    (h,) = pg.autograd.grad(g.sum(), x)
    assert h.tolist() == [0, 0]


def test_kinks_of_the_matrix_norms(backend):
    for order in ("nuc", 2, "fro", 1, math.inf):
        (grad,) = gradient(lambda x, order=order: pg.linalg.matrix_norm(x, ord=order), np.zeros((2, 2)))
        assert (grad == 0).all(), order
    (grad,) = gradient(lambda x: pg.linalg.matrix_norm(x, ord="nuc"), np.eye(2))
    close(grad, np.eye(2))
    (grad,) = gradient(lambda x: pg.linalg.matrix_norm(x, ord=2), np.eye(2))
    close(grad, np.eye(2) / 2)
    (grad,) = gradient(lambda x: pg.linalg.matrix_norm(x, ord="nuc"), np.diag([2.0, 0.0, 0.0]))
    close(grad, np.diag([1.0, 0, 0]))


# ------------------------------------------------------------------------------------------------- rules of the standard


def test_solve_takes_a_vector_only_where_it_has_one_axis(backend):
    a = pg.tensor(np.stack([np.eye(2), 2 * np.eye(2)]))
    assert pg.linalg.solve(a, pg.tensor([1.0, 2.0], dtype="float64")).shape == (2, 2)
    assert pg.linalg.solve(a, pg.ones((2, 3), dtype="float64")).shape == (2, 2, 3)
    a, b = leaf(draw(4, 2, 2) + 3 * np.eye(2)), leaf(draw(2))
    pg.linalg.solve(a, b).square().sum().backward()
    want = np.linalg.solve(a.detach().numpy(), np.broadcast_to(b.detach().numpy()[:, None], (4, 2, 1)))[..., 0]
    back = np.linalg.solve(a.detach().numpy().swapaxes(-1, -2), 2 * want[..., None])[..., 0]
    close(b.grad.numpy(), back.sum(axis=0))
    close(a.grad.numpy(), -back[..., :, None] * want[..., None, :])


def test_named_results(backend):
    x = pg.tensor(np.diag([1.0, 2.0]))
    for f, fields in (
        (pg.linalg.eigh, ("eigenvalues", "eigenvectors")),
        (pg.linalg.eig, ("eigenvalues", "eigenvectors")),
        (pg.linalg.qr, ("Q", "R")),
        (pg.linalg.slogdet, ("sign", "logabsdet")),
        (pg.linalg.svd, ("U", "S", "Vh")),
    ):
        y = f(x)
        assert isinstance(y, tuple) and y._fields == fields
        assert all(isinstance(p, pg.Tensor) for p in y)


def test_the_aliases_are_the_functions_themselves():
    for name in ("matmul", "matrix_transpose", "tensordot", "vecdot"):
        assert getattr(pg.linalg, name) is getattr(pg, name)


def test_eig_of_a_real_matrix_is_complex_and_its_gradient_real(backend):
    x = leaf([[1.0, 2.0], [0.5, 3.0]])
    values, vectors = pg.linalg.eig(x)
    assert values.dtype is pg.complex128 and vectors.dtype is pg.complex128
    pg.abs(values).sum().backward()
    assert x.grad.dtype is pg.float64


def test_cholesky_gives_both_triangles_the_same_gradient(backend):
    (grad,) = gradient(lambda x: pg.linalg.cholesky(x).sum(), np.array([[2.0, 0.5], [0.5, 1.0]]))
    close(grad, grad.T)


def test_matrix_rank_is_an_integer_without_history(backend):
    rank = pg.linalg.matrix_rank(leaf(of_rank(4, 2, "float64")))
    assert int(rank) == 2 and not rank.requires_grad


def test_tolerances_may_be_tensors(backend):
    x = pg.tensor(np.diag([1.0, 0.1]))
    assert int(pg.linalg.matrix_rank(x, rtol=pg.tensor(0.5, dtype="float64"))) == 1
    close(pg.linalg.pinv(x, rtol=pg.tensor(0.5, dtype="float64")).numpy(), np.diag([1.0, 0]))


# ----------------------------------------------------------------------------------------------------- bad input


def raises_or_is_not_finite(f):
    """The library's error, or, where a library cannot stop (XLA), a result that says so."""
    try:
        y = f()
    except (RuntimeError, ValueError, ArithmeticError) as error:
        return bool(str(error))
    return not bool(pg.all(pg.isfinite(pg.abs(y))))


def test_singular_not_positive_definite_and_nan_matrices(backend):
    singular = pg.tensor([[1.0, 2.0], [2.0, 4.0]], dtype="float64")
    assert raises_or_is_not_finite(lambda: pg.linalg.solve(singular, pg.ones((2,), dtype="float64")))
    assert raises_or_is_not_finite(lambda: pg.linalg.inv(singular))
    assert raises_or_is_not_finite(lambda: pg.linalg.cholesky(-singular))
    nan = pg.full((2, 2), math.nan, dtype="float64")
    assert raises_or_is_not_finite(lambda: pg.linalg.eigh(nan).eigenvalues)


def test_shapes_and_orders_that_do_not_fit(backend):
    x = pg.ones((2, 3), dtype="float64")
    for call in (
        lambda: pg.linalg.inv(x),
        lambda: pg.linalg.det(x),
        lambda: pg.linalg.cross(x, x, axis=0),
        lambda: pg.linalg.outer(x, x),
        lambda: pg.linalg.matrix_norm(x, ord=3),
        lambda: pg.linalg.matrix_power(x, 2),
        lambda: pg.linalg.multi_dot([x, x]),
        lambda: pg.linalg.multi_dot([x]),
    ):
        with pytest.raises((ValueError, TypeError, RuntimeError)):
            call()
    with pytest.raises(TypeError):
        pg.linalg.inv(pg.ones((2, 2), dtype="bool"), 3)


# ---------------------------------------------------------------------------------------------- beyond the standard


def test_lstsq_of_every_shape_and_rank(backend):
    for m, n in ((4, 2), (2, 4), (3, 3)):
        a, b = draw(m, n), draw(m, 2)
        y = pg.linalg.lstsq(pg.tensor(a), pg.tensor(b))
        close(y.solution.numpy(), np.linalg.lstsq(a, b, rcond=None)[0])
        assert y.rank.tolist() == min(m, n)
    a, b = of_rank(4, 2, "float64"), draw(4)
    close(pg.linalg.lstsq(pg.tensor(a), pg.tensor(b)).solution.numpy(), np.linalg.lstsq(a, b, rcond=None)[0])


@pytest.mark.parametrize("scale", [1e-8, 1.0, 30.0])
def test_matrix_exp_of_small_and_large_matrices(scale, backend):
    scipy_linalg = pytest.importorskip("scipy.linalg")
    a = scale * draw(2, 4, 4)
    got = pg.linalg.matrix_exp(pg.tensor(a)).numpy()
    for g, m in zip(got, a, strict=True):
        want = scipy_linalg.expm(m)
        assert np.abs(g - want).max() <= 1e-12 * np.abs(want).max() * max(1, scale)


def test_multi_dot_multiplies_in_the_cheap_order(backend, monkeypatch):
    shapes = [(10, 100), (100, 5), (5, 50)]
    arrays = [draw(*s) for s in shapes]
    got = pg.linalg.multi_dot([pg.tensor(a) for a in arrays])
    close(got.numpy(), np.linalg.multi_dot(arrays))
    assert pg.linalg.multi_dot([pg.tensor(draw(3)), pg.tensor(draw(3, 3)), pg.tensor(draw(3))]).shape == ()


def test_kron_cond_and_norm(backend):
    a, b = draw(2, 3), draw(3, 2)
    close(pg.kron(pg.tensor(a), pg.tensor(b)).numpy(), np.kron(a, b))
    close(pg.kron(pg.tensor(a[0]), pg.tensor(b)).numpy(), np.kron(a[0], b))
    square = draw(3, 3)
    for p in (None, 2, -2, 1, "fro"):
        close(pg.linalg.cond(pg.tensor(square), p).numpy(), np.linalg.cond(square, p))
    close(pg.linalg.norm(pg.tensor(a)).numpy(), np.linalg.norm(a))
    close(pg.linalg.norm(pg.tensor(a), 1).numpy(), np.linalg.norm(a, 1))
    close(pg.linalg.norm(pg.tensor(a), ord=3, dim=1).numpy(), np.linalg.norm(a, 3, axis=1))
    cube = draw(2, 3, 4)
    close(pg.linalg.norm(pg.tensor(cube), "nuc", (0, 2)).numpy(), np.linalg.norm(cube, "nuc", (0, 2)))
