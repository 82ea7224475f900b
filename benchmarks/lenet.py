"""A training step of LeNet (two convolutions, two max-pools, three linear layers) on a batch of 64 images of 28x28.

`python benchmarks/lenet.py` compares PyTorch eager (the base of the ratios) and polygrad on NumPy, alone and with oneDNN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from peers import compare
from workloads import both_forms, on_devices, parameters, training_step, with_torch

BATCH, LR = 64, 1e-3
SHAPES = [(6, 1, 5, 5), (6,), (16, 6, 5, 5), (16,), (120, 400), (120,), (84, 120), (84,), (10, 84), (10,)]


def build(lib: Any, optimizer: str) -> Callable[[], float]:
    """The step on torch or on polygrad."""
    import numpy as np

    rng = np.random.default_rng(0)
    x = lib.tensor(rng.standard_normal((BATCH, 1, 28, 28)).astype("f4"))
    y = lib.tensor(rng.integers(0, 10, BATCH))
    arrays = [
        (rng.standard_normal(s) / np.prod(s[1:]) ** 0.5).astype("f4") if len(s) > 1 else np.zeros(s, "f4")
        for s in SHAPES
    ]
    p = parameters(lib, arrays)
    f = lib.nn.functional

    def loss() -> Any:
        h = f.max_pool2d(f.relu(f.conv2d(x, p[0], p[1], padding=2)), 2)
        h = f.max_pool2d(f.relu(f.conv2d(h, p[2], p[3])), 2).reshape(BATCH, -1)
        h = f.relu(f.linear(h, p[4], p[5]))
        h = f.relu(f.linear(h, p[6], p[7]))
        return f.cross_entropy(f.linear(h, p[8], p[9]), y)

    return training_step(lib, optimizer, p, loss, LR)


if __name__ == "__main__":
    compare(
        "LeNet, batch 64",
        {"torch": with_torch(build), **both_forms(build)},
        [{"optimizer": "SGD"}, {"optimizer": "Adam"}],
        asked=on_devices(build),
    )
