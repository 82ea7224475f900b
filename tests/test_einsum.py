"""Einstein's notation: values and gradients against PyTorch, paths, and what does not fit."""

import numpy as np
import pytest

import polygrad as pg

RNG = np.random.default_rng(2)
EQUATIONS = [
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("ij,jk", (2, 3), (3, 4)),
    ("bij,bjk->bik", (2, 3, 4), (2, 4, 2)),
    ("bij,bjk->ik", (2, 3, 4), (2, 4, 2)),
    ("ii", (3, 3)),
    ("ii->i", (3, 3)),
    ("iij->ji", (3, 3, 2)),
    ("ij->ji", (2, 3)),
    ("ij->", (2, 3)),
    ("ij->j", (2, 3)),
    ("i,j->ij", (2,), (3,)),
    ("i,i->i", (3,), (3,)),
    ("i,i", (3,), (3,)),
    ("...ij,...jk->...ik", (5, 2, 3), (3, 4)),
    ("...ij,...jk", (2, 1, 2, 3), (4, 3, 2)),
    ("...i->...", (2, 3, 4)),
    ("b...,b...->...", (2, 3, 4), (2, 3, 4)),
    ("ij,jk,kl->il", (2, 3), (3, 4), (4, 2)),
    ("a,ab,abc,cd,d->", (2,), (2, 3), (2, 3, 4), (4, 5), (5,)),
    ("a,b,c,d,e,f->fa", (2,), (1,), (2,), (3,), (2,), (2,)),
    ("ij,ij->ij", (2, 3), (1, 3)),
    ("i,", (3,), ()),
    (" i j , j k -> i k ", (2, 3), (3, 4)),
]


@pytest.mark.parametrize("kind", ["float64", "complex128"])
@pytest.mark.parametrize("example", EQUATIONS, ids=lambda e: e[0])
def test_values_and_gradients_are_pytorchs(example, kind, backend, torch):
    equation, *shapes = example
    arrays = [RNG.uniform(-1, 1, s) + (1j * RNG.uniform(-1, 1, s) if kind == "complex128" else 0) for s in shapes]
    mine = [pg.tensor(a, requires_grad=True) for a in arrays]
    other = [torch.tensor(a, requires_grad=True) for a in arrays]
    y, z = pg.einsum(equation, *mine), torch.einsum(equation, *other)
    np.testing.assert_allclose(y.detach().numpy(), z.detach().resolve_conj().numpy(), atol=1e-12)
    w = np.arange(1.0, y.size + 1).reshape(y.shape)
    (pg.tensor(w) * pg.abs(y) ** 2).sum().backward()
    (torch.tensor(w) * z.abs() ** 2).sum().backward()
    for m, o in zip(mine, other, strict=True):
        np.testing.assert_allclose(m.grad.numpy(), o.grad.resolve_conj().numpy(), atol=1e-10)


def test_other_spellings(backend):
    a, b = pg.tensor(RNG.uniform(size=(2, 3))), pg.tensor(RNG.uniform(size=(3, 4)))
    want = (a @ b).numpy()
    np.testing.assert_allclose(pg.einsum("ij,jk->ik", [a, b]).numpy(), want)
    np.testing.assert_allclose(pg.einsum(a, [0, 1], b, [1, 2], [0, 2]).numpy(), want)
    np.testing.assert_allclose(pg.einsum(a, [0, 1], b, [1, 2]).numpy(), want)
    batch = pg.tensor(RNG.uniform(size=(5, 2, 3)))
    np.testing.assert_allclose(pg.einsum(batch, [..., 0, 1], b, [1, 2], [..., 0, 2]).numpy(), (batch @ b).numpy())


def test_integers_stay_integers(backend):
    x = pg.tensor([[1, 2], [3, 4]], dtype="int32")
    y = pg.einsum("ij->", x)
    assert y.dtype is pg.int32 and int(y) == 10
    assert pg.einsum("ij,jk->ik", x, x).tolist() == [[7, 10], [15, 22]]


def test_a_chain_is_multiplied_in_the_cheap_order(backend):
    """(a b) c takes 2 * 10 * 200 products here, a (b c) a thousand times that."""
    calls = []

    def spied(xp, *args):
        calls.append(tuple(x.shape for x in args))
        return matmul(*args)

    a, b, c = (pg.tensor(RNG.uniform(size=s)) for s in ((2, 200), (200, 200), (200, 2)))
    matmul = backend.tensors.matmul
    try:
        backend.tensors.matmul = lambda *args: spied(None, *args)
        pg.einsum("ij,jk,kl->il", a, b, c)
    finally:
        backend.tensors.matmul = matmul
    assert len(calls) == 2
    assert all(2 in shape for shapes in calls for shape in shapes[:1] + shapes[1:] if shape != (200, 200))


def test_paths_of_opt_einsum(backend):
    opt_einsum = pytest.importorskip("opt_einsum")
    equation, shapes = "ij,jk,kl,lm->im", [(2, 3), (3, 4), (4, 5), (5, 2)]
    arrays = [RNG.uniform(size=s) for s in shapes]
    path, _ = opt_einsum.contract_path(equation, *arrays)
    tensors = [pg.tensor(a, requires_grad=True) for a in arrays]
    y = pg.einsum(equation, *tensors, optimize=path)
    np.testing.assert_allclose(y.detach().numpy(), np.einsum(equation, *arrays), atol=1e-12)
    y.sum().backward()
    assert all(t.grad is not None for t in tensors)


@pytest.mark.parametrize(
    "equation, shapes",
    [
        ("ij,jk->ik", [(2, 3), (4, 5)]),
        ("ij->ik", [(2, 3)]),
        ("ij->ii", [(2, 3)]),
        ("ij,jk->ik", [(2, 3)]),
        ("ijk", [(2, 3)]),
        ("i1->i", [(2, 3)]),
    ],
)
def test_what_does_not_fit(equation, shapes, backend):
    with pytest.raises(ValueError, match="einsum"):
        pg.einsum(equation, *[pg.ones(s) for s in shapes])
