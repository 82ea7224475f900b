"""A layer of ours beside PyTorch's: equal weights, inputs and cotangents in, equal results, gradients and buffers out."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import polygrad as pg
from conftest import backend_names
from polygrad import nn

RNG = np.random.default_rng(23)


class Whole(NamedTuple):
    """An operand of integers of [low, high), without a gradient."""

    shape: tuple[int, ...]
    low: int
    high: int


class Fixed(NamedTuple):
    """An operand of these numbers, without a gradient."""

    data: Any


class Flags(NamedTuple):
    """A boolean operand."""

    shape: tuple[int, ...]


def spread_over_backends(rows, share=8):
    """(backend, *row) for every row on NumPy, and one of `share` on each other backend, a different one on each."""
    others = [name for name in backend_names() if name != "numpy"]
    found = [("numpy", *row) for row in rows if "numpy" in backend_names()]
    for offset, name in enumerate(others):
        found += [(name, *row) for i, row in enumerate(rows) if i % share == offset % share]
    return found


def close(ours, theirs, bound=1e-9):
    """Assert that a tensor of ours is PyTorch's, relative to its largest element; NaNs and infinities at the same places."""
    a, b = (np.asarray(t.detach().numpy()) for t in (ours, theirs))
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    a, b = (x.astype(np.float64) for x in (a, b))
    finite = np.isfinite(b)
    np.testing.assert_array_equal(np.where(finite, 0, a), np.where(finite, 0, b))
    error = np.abs(np.where(finite, a, 0) - np.where(finite, b, 0)).max(initial=0)
    assert error <= bound * max(1, np.abs(np.where(finite, b, 0)).max(initial=0))


def flat(value):
    """The tensors in nested tuples and lists, in order."""
    if value is None:
        return []
    if isinstance(value, tuple | list):
        return [x for part in value for x in flat(part)]
    return [value]


def operands(specs, torch, seed=None):
    """The same operands on both sides; float64 ones require grad."""
    rng = RNG if seed is None else np.random.default_rng(seed)
    ours: list[Any] = []
    theirs: list[Any] = []
    for spec in specs:
        if isinstance(spec, Whole):
            data = rng.integers(spec.low, spec.high, spec.shape)
        elif isinstance(spec, Flags):
            data = rng.random(spec.shape) < 0.3
        elif isinstance(spec, np.ndarray):
            data = spec
        elif isinstance(spec, Fixed):
            data = spec.data
        elif isinstance(spec, tuple):
            data = rng.standard_normal(spec)
        else:
            ours.append(spec)
            theirs.append(spec)
            continue
        inexact = data.dtype.kind == "f" and not isinstance(spec, Fixed)
        ours.append(pg.tensor(data, requires_grad=inexact))
        theirs.append(torch.tensor(data, requires_grad=inexact))
    return ours, theirs


def compare(f, g, specs, torch, bound=1e-9, **options):
    """Assert that two functions agree in values and in the gradients of all floating-point operands."""
    ours, theirs = operands(specs, torch)
    ys, tys = flat(f(*ours, **options)), flat(g(*theirs, **options))
    assert len(ys) == len(tys)
    for y, ty in zip(ys, tys, strict=True):
        close(y, ty, bound)
    both = [(y, ty) for y, ty in zip(ys, tys, strict=True) if ty.requires_grad]
    if not both:
        return
    cotangents = [RNG.standard_normal(tuple(ty.shape)) for _, ty in both]
    pg.autograd.backward([y for y, _ in both], [pg.tensor(c) for c in cotangents])
    torch.autograd.backward([ty for _, ty in both], [torch.tensor(c) for c in cotangents])
    for x, tx in zip(ours, theirs, strict=True):
        if getattr(tx, "grad", None) is not None:
            close(x.grad, tx.grad, bound)


def build(expression, space):
    """A layer of ours or of PyTorch's, in float64."""
    return eval(f"nn.{expression}", {"nn": space}).double()


def twins(expression, torch):
    """A layer of ours and PyTorch's, with equal parameters and buffers."""
    theirs, ours = build(expression, torch.nn), build(expression, nn)
    assert repr(ours) == repr(theirs)
    state = theirs.state_dict()
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict({k: v.numpy() for k, v in state.items()})
    return ours, theirs


def agree(expression, specs, torch, modes=(True,), bound=1e-9, **options):
    """Assert that a layer is PyTorch's: repr, keys, results, gradients of inputs and parameters, buffers afterwards."""
    ours, theirs = twins(expression, torch)
    for mode in modes:
        ours.train(mode)
        theirs.train(mode)
        compare(ours, theirs, specs, torch, bound, **options)
        gradients = {name: p.grad for name, p in theirs.named_parameters()}
        assert [name for name, _ in ours.named_parameters()] == list(gradients)
        for name, p in ours.named_parameters():
            if gradients[name] is None:
                assert p.grad is None, name
            else:
                close(p.grad, gradients[name], bound)
    for (name, value), (their_name, their_value) in zip(
        ours.state_dict().items(), theirs.state_dict().items(), strict=True
    ):
        assert name == their_name
        close(value, their_value, bound)
    return ours, theirs
