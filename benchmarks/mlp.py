"""A training step of a 784-256-10 network on a batch of 128.

`python benchmarks/mlp.py` compares PyTorch eager (the base of the ratios), polygrad on NumPy and with oneDNN, and HIPS
autograd with an optimizer by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from by_hand import Optimizer
from peers import compare
from workloads import both_forms, on_devices, parameters, training_step, with_torch

BATCH, SIZES, LR = 128, (784, 256, 10), 1e-3


def _data() -> tuple[Any, Any, list[Any]]:
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH, SIZES[0])).astype("f4")
    arrays = []
    for fan_in, fan_out in zip(SIZES, SIZES[1:], strict=False):
        arrays.append((rng.standard_normal((fan_out, fan_in)) / fan_in**0.5).astype("f4"))
        arrays.append(np.zeros(fan_out, "f4"))
    return x, rng.integers(0, SIZES[-1], BATCH), arrays


def build(lib: Any, optimizer: str) -> Callable[[], float]:
    """The step on torch or on polygrad."""
    x, y, arrays = _data()
    x, y, p = lib.tensor(x), lib.tensor(y), parameters(lib, arrays)
    f = lib.nn.functional

    def loss() -> Any:
        return f.cross_entropy(f.linear(f.relu(f.linear(x, p[0], p[1])), p[2], p[3]), y)

    return training_step(lib, optimizer, p, loss, LR)


def with_autograd(optimizer: str) -> Callable[[], float]:
    """HIPS autograd."""
    import autograd.numpy as anp
    import numpy as np
    from autograd import value_and_grad

    x, y, p = _data()
    hot = np.eye(SIZES[-1], dtype="f4")[y]

    def loss(p: Any) -> Any:
        z = anp.dot(anp.maximum(anp.dot(x, p[0].T) + p[1], 0), p[2].T) + p[3]
        z = z - anp.max(z, axis=1, keepdims=True)
        return -anp.mean(anp.sum(hot * (z - anp.log(anp.sum(anp.exp(z), axis=1, keepdims=True))), axis=1))

    both, update = value_and_grad(loss), Optimizer(optimizer, p, LR)

    def step() -> float:
        value, gradients = both(p)
        update(gradients)
        return float(value)

    return step


if __name__ == "__main__":
    compare(
        "MLP 784-256-10, batch 128",
        {"torch": with_torch(build), **both_forms(build), "autograd": with_autograd},
        [{"optimizer": "SGD"}, {"optimizer": "Adam"}],
        asked=on_devices(build),
    )
