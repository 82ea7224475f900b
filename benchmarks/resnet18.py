"""A training step (SGD with momentum) of resnet18: one image of 64x64, and a batch of 8 of 224x224.

`python benchmarks/resnet18.py` compares PyTorch eager (the base of the ratios) and polygrad on NumPy, alone and with oneDNN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from peers import compare
from workloads import both_forms, on_devices, training_step, with_torch

LR = 1e-6  # an overfitted batch would have denormal gradients, which slow every framework down
BLOCKS = [
    (64, 64, 1),
    (64, 64, 1),
    (64, 128, 2),
    (128, 128, 1),
    (128, 256, 2),
    (256, 256, 1),
    (256, 512, 2),
    (512, 512, 1),
]


def _convolution(lib: Any, rng: Any, inputs: int, outputs: int, kernel: int) -> list[Any]:
    import numpy as np

    weight = (rng.standard_normal((outputs, inputs, kernel, kernel)) * (2 / (outputs * kernel**2)) ** 0.5).astype("f4")
    return [lib.nn.Parameter(lib.tensor(a)) for a in (weight, np.ones(outputs, "f4"), np.zeros(outputs, "f4"))]


def build(lib: Any, size: int, batch: int) -> Callable[[], float]:
    """The step on torch or on polygrad: the same functions, so that only the library differs."""
    import numpy as np

    rng = np.random.default_rng(0)
    x = lib.tensor(rng.standard_normal((batch, 3, size, size)).astype("f4"))
    y = lib.tensor(rng.integers(0, 1000, batch))
    p = _convolution(lib, rng, 3, 64, 7)
    for inputs, outputs, stride in BLOCKS:
        p += _convolution(lib, rng, inputs, outputs, 3) + _convolution(lib, rng, outputs, outputs, 3)
        if stride != 1 or inputs != outputs:
            p += _convolution(lib, rng, inputs, outputs, 1)
    p += [lib.nn.Parameter(lib.tensor((rng.standard_normal((1000, 512)) / 512**0.5).astype("f4")))]
    p += [lib.nn.Parameter(lib.zeros(1000))]
    moments = [(lib.zeros(w.shape[0]), lib.ones(w.shape[0])) for w in p if w.ndim == 4]
    f = lib.nn.functional

    def loss() -> Any:
        weights, running = iter(p), iter(moments)

        def layer(x: Any, stride: int, padding: int) -> Any:
            y = f.conv2d(x, next(weights), stride=stride, padding=padding)
            return f.batch_norm(y, *next(running), next(weights), next(weights), True)

        h = f.max_pool2d(f.relu(layer(x, 2, 3)), 3, 2, 1)
        for inputs, outputs, stride in BLOCKS:
            z = layer(f.relu(layer(h, stride, 1)), 1, 1)
            h = f.relu(z + (layer(h, stride, 0) if stride != 1 or inputs != outputs else h))
        return f.cross_entropy(f.linear(h.mean((2, 3)), next(weights), next(weights)), y)

    return training_step(lib, "SGD", p, loss, LR)


if __name__ == "__main__":
    compare(
        "resnet18",
        {"torch": with_torch(build), **both_forms(build)},
        [{"size": 64, "batch": 1}, {"size": 224, "batch": 8}],
        asked=on_devices(build),
    )
