"""What must come out the same on every backend from one seed: random bits, initial weights, and training curves."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from typing import Any

import polygrad as pg
from polygrad import nn
from polygrad.core import Backend, use_backend
from polygrad_conformance.outcome import Outcome
from polygrad_conformance.samples import as_host, host

__all__ = ["CURVES", "DRAWS", "examine_curve", "examine_draw"]

SEED = 2026

DRAWS: dict[str, Callable[[], Any]] = {
    "rand(1000)": lambda: pg.rand(1000),
    "rand(1000), float64": lambda: pg.rand(1000, dtype=pg.float64),
    "randn(1000)": lambda: pg.randn(1000),
    "randn(1000), float64": lambda: pg.randn(1000, dtype=pg.float64),
    "randint(0, 1000)": lambda: pg.randint(0, 1000, (1000,)),
    "randperm(1000)": lambda: pg.randperm(1000),
    "a dropout mask": lambda: nn.functional.dropout(pg.ones(1000), p=0.3, training=True),
    "initial weights of Linear": lambda: nn.Linear(30, 20).weight,
    "initial weights of Conv2d": lambda: nn.Conv2d(3, 8, 3).weight,
}


def _digest(make: Callable[[], Any], backend: Backend) -> str:
    """The SHA-256 of two draws in a row, after the seed was set."""
    with use_backend(backend), pg.random.fork_rng():
        pg.manual_seed(SEED)
        drawn = [make(), make()]
    sha = hashlib.sha256()
    for x in drawn:
        array = as_host(x)
        sha.update(f"{array.dtype} {tuple(array.shape)}".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()


def examine_draw(name: str, backend: Backend, outcome: Outcome) -> None:
    """Check that the bits drawn are those of the host's backend."""
    outcome.applies = ["value"]
    with outcome.check("value", "SHA-256"):
        ours, theirs = (_digest(DRAWS[name], b) for b in (backend, host()))
        assert ours == theirs, f"the SHA-256 is {ours}, on {host().name!r} {theirs}"


# ------------------------------------------------------------------------------------------------------------ training


def _mlp() -> tuple[nn.Module, Any, Any, nn.Module]:
    x = pg.randn(16, 4, dtype=pg.float64)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    return model, x, pg.sin(x[:, :2]), nn.MSELoss()


def _cnn() -> tuple[nn.Module, Any, Any, nn.Module]:
    model = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Dropout(0.25), nn.Linear(36, 3)),
    )
    return model, pg.randn(8, 1, 6, 6, dtype=pg.float64), pg.randint(0, 3, (8,)), nn.CrossEntropyLoss()


CURVES = {"a perceptron": _mlp, "a convolutional network": _cnn}
STEPS = 10


@cache
def _curve(name: str, backend: Backend) -> list[float]:
    """The losses of a few steps of gradient descent with momentum in double precision."""
    with use_backend(backend), pg.random.fork_rng():
        pg.manual_seed(SEED)
        model, x, target, criterion = CURVES[name]()
        model.to(pg.float64)
        optimizer = pg.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        losses = []
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = criterion(model(x), target)
            loss.backward()
            optimizer.step()
            losses.append(float(loss))
    return losses


def examine_curve(name: str, backend: Backend, outcome: Outcome) -> None:
    """Check that training from one seed gives the losses of the host's backend within 1e-9, and that they fall."""
    outcome.applies = ["value"]
    with outcome.check("value", f"{STEPS} steps"):
        ours, theirs = (_curve(name, b) for b in (backend, host()))
        off = [abs(a - b) / abs(b) for a, b in zip(ours, theirs, strict=True)]
        worst = max(range(STEPS), key=off.__getitem__)
        assert off[worst] <= 1e-9, (
            f"the loss of step {worst} is {ours[worst]:.15g}, on {host().name!r} {theirs[worst]:.15g}"
        )
        assert ours[-1] < ours[0], f"the loss went from {ours[0]:.6g} to {ours[-1]:.6g}"
