"""Pointwise functions of the NumPy adapter: bodies by parts beside the bodies, own paths beside mpmath and the bodies."""

import importlib

import numpy as np
import pytest

import polygrad as pg
from polygrad.core import get_backend
from polygrad.core.backend import declared

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
    x = np.linspace(0.1, 9, 70_001, dtype="f4")
    ours = pg.tensor(x, requires_grad=True)
    y = pg.lgamma(ours)
    np.testing.assert_array_equal(y.detach().numpy(), numpy().reference(declared.ops["lgamma"])(x))
    (g,) = pg.autograd.grad(y.sum(), ours)
    np.testing.assert_array_equal(g.numpy(), numpy().reference(declared.ops["digamma"])(x))
