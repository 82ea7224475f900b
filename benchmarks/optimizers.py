"""An optimizer's step over 11.7 million parameters in the 62 tensors of resnet18.

`python benchmarks/optimizers.py` compares PyTorch (foreach, the base of the ratios), PyTorch fused and polygrad on NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from peers import compare
from workloads import both_forms, with_torch


def _arrays() -> list[Any]:
    import numpy as np

    shapes: list[tuple[int, ...]] = [(64, 3, 7, 7), (64,), (64,), (1000, 512), (1000,)]
    before = 64
    for width, blocks in ((64, 2), (128, 2), (256, 2), (512, 2)):
        for block in range(blocks):
            shapes += [(width, before, 3, 3), (width,), (width,), (width, width, 3, 3), (width,), (width,)]
            if before != width and not block:
                shapes += [(width, before, 1, 1), (width,), (width,)]
            before = width
    rng = np.random.default_rng(0)
    return [rng.standard_normal(s).astype("f4") for s in shapes]


def build(lib: Any, optimizer: str, **options: Any) -> Callable[[], Any]:
    """A step with gradients that stay."""
    params = []
    for array in _arrays():
        p = lib.nn.Parameter(lib.tensor(array))
        p.grad = lib.tensor(array * 1e-3)
        params.append(p)
    momentum = {"momentum": 0.9} if optimizer == "SGD" else {}
    return getattr(lib.optim, optimizer)(params, lr=1e-4, **momentum, **options).step


if __name__ == "__main__":
    compare(
        "optimizers, 11.7 M parameters",
        {
            "torch foreach": with_torch(lambda torch, optimizer: build(torch, optimizer, foreach=True)),
            "torch fused": with_torch(lambda torch, optimizer: build(torch, optimizer, fused=True)),
            "polygrad": both_forms(build)["polygrad"],
        },
        [{"optimizer": "SGD"}, {"optimizer": "Adam"}, {"optimizer": "AdamW"}],
    )
