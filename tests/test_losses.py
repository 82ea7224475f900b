"""Losses beside PyTorch's over their options, and what they refuse."""

from itertools import product

import numpy as np
import pytest

import polygrad as pg
from conftest import backend_names
from polygrad import nn
from polygrad.nn import functional as F

RNG = np.random.default_rng(11)


def combinations(few, *options):
    """All combinations of options on NumPy, and a few of them on every other backend."""
    return [(name, *o) for name in backend_names() for o in product(*options) if name == "numpy" or o in few]


REDUCTIONS = ("mean", "sum", "none")
FEW = [("mean", True, 0.2), ("none", False, 0.0)]


def agree(function, theirs, torch, data, *rest, **options):
    """Assert equal values and gradients of a loss; `rest` and options may hold arrays."""
    x, tx = pg.tensor(data, requires_grad=True), torch.tensor(data, requires_grad=True)

    def placed(make, value):
        return make(value) if isinstance(value, np.ndarray) else value

    y = function(x, *(placed(pg.tensor, r) for r in rest), **{k: placed(pg.tensor, v) for k, v in options.items()})
    ty = theirs(
        tx, *(placed(torch.tensor, r) for r in rest), **{k: placed(torch.tensor, v) for k, v in options.items()}
    )
    assert y.shape == tuple(ty.shape)
    assert y.dtype.name == str(ty.dtype).partition(".")[2]
    np.testing.assert_allclose(y.detach().numpy(), ty.detach().numpy(), rtol=1e-11, atol=1e-12)
    g = RNG.standard_normal(y.shape)
    y.backward(pg.tensor(g))
    ty.backward(torch.tensor(g))
    np.testing.assert_allclose(x.grad.numpy(), tx.grad.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("backend", "reduction", "weighted", "smoothing"),
    combinations(FEW, REDUCTIONS, (False, True), (0.0, 0.2)),
    indirect=["backend"],
)
def test_cross_entropy_with_classes(backend, torch, reduction, weighted, smoothing):
    options = {"reduction": reduction, "label_smoothing": smoothing}
    if weighted:
        options["weight"] = RNG.uniform(0.5, 2, 5)
    for shape in ((4, 5), (2, 5, 3), (5,)):
        target = RNG.integers(0, 5, (*shape[:1], *shape[2:]) if len(shape) > 1 else ())
        data = 3 * RNG.standard_normal(shape)
        agree(F.cross_entropy, torch.nn.functional.cross_entropy, torch, data, np.asarray(target), **options)
        if len(shape) > 1:
            target = np.array(target)
            target.flat[1] = 3
            target.flat[0] = -1
            agree(F.cross_entropy, torch.nn.functional.cross_entropy, torch, data, target, ignore_index=-1, **options)


@pytest.mark.parametrize(
    ("backend", "reduction", "weighted", "smoothing"),
    combinations(FEW, REDUCTIONS, (False, True), (0.0, 0.2)),
    indirect=["backend"],
)
def test_cross_entropy_with_probabilities(backend, torch, reduction, weighted, smoothing):
    options = {"reduction": reduction, "label_smoothing": smoothing}
    if weighted:
        options["weight"] = RNG.uniform(0.5, 2, 5)
    for shape in ((4, 5), (2, 5, 3), (5,)):
        agree(
            F.cross_entropy,
            torch.nn.functional.cross_entropy,
            torch,
            RNG.standard_normal(shape),
            RNG.uniform(0, 0.3, shape),
            **options,
        )


@pytest.mark.parametrize(
    ("backend", "reduction", "weighted"),
    combinations([("mean", True), ("none", False)], REDUCTIONS, (False, True)),
    indirect=["backend"],
)
def test_nll_loss(backend, torch, reduction, weighted):
    options = {"reduction": reduction, "ignore_index": 2}
    if weighted:
        options["weight"] = RNG.uniform(0.5, 2, 5)
    for shape in ((6, 5), (2, 5, 3, 2)):
        target = RNG.integers(0, 5, (*shape[:1], *shape[2:]))
        target.flat[0] = 1
        agree(F.nll_loss, torch.nn.functional.nll_loss, torch, RNG.standard_normal(shape), target, **options)


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss"])
def test_differences(backend, torch, name):
    data, target = RNG.standard_normal((3, 4)), RNG.standard_normal((3, 4))
    for reduction in ("mean", "sum", "none"):
        for weight in (None, RNG.uniform(0.5, 2, (3, 4))):
            agree(
                getattr(F, name),
                getattr(torch.nn.functional, name),
                torch,
                data,
                target,
                reduction=reduction,
                weight=weight,
            )
    with pytest.warns(UserWarning, match="different to the input size"):
        getattr(F, name)(pg.tensor(data), pg.tensor(target[:1]))


def test_extreme_logits(backend):
    x = pg.tensor([[1e4, -1e4, 0.0], [-np.inf, 0.0, 1.0]], dtype=pg.float64, requires_grad=True)
    losses = F.cross_entropy(x, pg.tensor([0, 2]), reduction="none")
    np.testing.assert_allclose(losses.detach().numpy(), [0, np.log1p(np.exp(-1))], atol=1e-12)
    losses.sum().backward()
    p = 1 / (1 + np.exp(-1))
    np.testing.assert_allclose(x.grad.numpy(), [[0, 0, 0], [0, 1 - p, p - 1]], atol=1e-12)


def test_loss_layers(torch):
    data, target, weight = RNG.standard_normal((4, 5)), RNG.integers(0, 5, 4), RNG.uniform(0.5, 2, 5)
    for space, t in ((nn, pg), (torch.nn, torch)):
        layer = space.CrossEntropyLoss(t.tensor(weight), ignore_index=1, label_smoothing=0.1)
        assert repr(layer) == "CrossEntropyLoss()" and list(layer.state_dict()) == ["weight"]
    ours = nn.CrossEntropyLoss(pg.tensor(weight), reduction="sum", label_smoothing=0.1)
    theirs = torch.nn.CrossEntropyLoss(torch.tensor(weight), reduction="sum", label_smoothing=0.1)
    agree(ours, theirs, torch, data, target)
    agree(nn.NLLLoss(pg.tensor(weight)), torch.nn.NLLLoss(torch.tensor(weight)), torch, data, target)
    agree(nn.MSELoss(reduction="sum"), torch.nn.MSELoss(reduction="sum"), torch, data, data + 1)
    agree(nn.L1Loss(), torch.nn.L1Loss(), torch, data, data + 1)
    agree(nn.MSELoss(reduce=False), lambda x, y: (x - y) ** 2, torch, data, data + 1)


def test_second_derivative_of_cross_entropy(backend, torch):
    data, target = RNG.standard_normal((3, 4)), np.array([0, 3, 1])
    found = []
    for space, f in ((pg, F), (torch, torch.nn.functional)):
        x = space.tensor(data, requires_grad=True)
        (g,) = space.autograd.grad(f.cross_entropy(x, space.tensor(target), label_smoothing=0.1), x, create_graph=True)
        (h,) = space.autograd.grad((g**2).sum(), x)
        found.append(h.numpy())
    np.testing.assert_allclose(*found, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(
    ("target", "options", "error", "message"),
    [
        (np.array([1, 10]), {}, IndexError, r"^Target 10 is out of bounds\.$"),
        (np.array([-1, 2]), {}, IndexError, r"^Target -1 is out of bounds\.$"),
        (np.array([1, 2, 3]), {}, ValueError, r"Expected input batch_size \(2\) to match target batch_size \(3\)"),
        (np.array([[1], [2]]), {}, RuntimeError, r"Expected target size \[2\], got \[2, 1\]"),
        (np.array([0.5, 1.0]), {}, TypeError, "expected a target of integers"),
        (
            np.array([1, 2]),
            {"weight": np.ones(3)},
            RuntimeError,
            "weight tensor should be defined either for all 10 classes",
        ),
        (np.full((2, 10), 0.1), {"weight": np.ones(3)}, RuntimeError, "should be defined for all 10 classes"),
        (np.array([1, 2]), {"reduction": "product"}, ValueError, "product is not a valid value for reduction"),
        (np.array([1, 2]), {"label_smoothing": 2.0}, RuntimeError, "label_smoothing must be between"),
    ],
)
def test_wrong_targets(backend, target, options, error, message):
    x = pg.tensor(RNG.standard_normal((2, 10)), requires_grad=True)
    options = {k: pg.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    with pytest.raises(error, match=message):
        F.cross_entropy(x, pg.tensor(target), **options)
    assert x.grad is None
