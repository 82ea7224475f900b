"""Whether OpenBLAS and oneDNN slow each other down: a product and a convolution, each alone and in turn.

`python benchmarks/thread_pools.py` prints, for polygrad on NumPy alone and with oneDNN, the time of both in turn over the sum
of their times alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from peers import compare
from workloads import both_forms

TIMES = 5


def build(pg: Any, what: str) -> Callable[[], Any]:
    """Five products, five convolutions, or five of each in turn."""
    import numpy as np

    rng = np.random.default_rng(0)
    xp = pg.core.get_backend("numpy").ready().arrays
    a, b = rng.standard_normal((512, 512)).astype("f4"), rng.standard_normal((512, 512)).astype("f4")
    x = rng.standard_normal((1, 28, 28, 128)).astype("f4").transpose(0, 3, 1, 2)
    w = rng.standard_normal((128, 128, 3, 3)).astype("f4")
    geometry = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}

    def step() -> None:
        for _ in range(TIMES):
            if what != "convolutions":
                xp.matmul(a, b)
            if what != "products":
                xp.conv(x, w, **geometry)

    return step


if __name__ == "__main__":
    compare("thread pools", both_forms(build), [{"what": w} for w in ("products", "convolutions", "in turn")])
