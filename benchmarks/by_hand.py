"""Optimizers on plain NumPy arrays, in blocks that stay in the cache, for peers that bring none."""

from __future__ import annotations

from typing import Any

__all__ = ["Optimizer"]

BLOCK = 32768


class Optimizer:
    """SGD with momentum 0.9, or Adam, in place on a list of arrays; called with their gradients."""

    def __init__(self, name: str, params: list[Any], lr: float):
        import numpy as np

        self.np, self.name, self.params, self.lr, self.steps = np, name, params, np.float32(lr), 0
        self.first = [np.zeros_like(p) for p in params]
        self.second = [np.zeros_like(p) for p in params]

    def __call__(self, gradients: list[Any]) -> None:
        self.steps += 1
        for arrays in zip(self.params, self.first, self.second, gradients, strict=True):
            flat = [self.np.ascontiguousarray(a, "f4").reshape(-1) for a in arrays]
            for i in range(0, flat[0].size, BLOCK):
                (self._sgd if self.name == "SGD" else self._adam)(*[a[i : i + BLOCK] for a in flat])

    def _sgd(self, p: Any, m: Any, _: Any, g: Any) -> None:
        m *= 0.9
        m += g
        p -= self.lr * m

    def _adam(self, p: Any, m: Any, v: Any, g: Any) -> None:
        m *= 0.9
        m += 0.1 * g
        v *= 0.999
        v += 0.001 * (g * g)
        scale = self.np.sqrt(v / (1 - 0.999**self.steps)) + 1e-8
        p -= self.lr / (1 - 0.9**self.steps) * m / scale
