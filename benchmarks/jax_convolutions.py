"""Convolutions with many weights and few positions on JAX's processor backend: XLA's own beside products with columns.

`python benchmarks/jax_convolutions.py` compiles, for each shape, a step of three such convolutions (forward, both transposes and
the update of the weights) in both forms, runs them in turn in one process, and prints milliseconds of processor time.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

from quiet import waited

# batch, channels, size of the plane
SHAPES = [(1, 512, 2), (1, 256, 4), (1, 128, 8), (1, 64, 16), (8, 512, 7), (8, 256, 14)]
FORMS = {"XLA": 0, "columns": 1 << 30}  # the most positions that are columns


def build(pg: Any, form: str, batch: int, channels: int, size: int) -> Callable[[], float]:
    """The compiled step."""
    windows = importlib.import_module("polygrad_jax.windows")
    windows.POSITIONS, windows.WEIGHTS = FORMS[form], 1
    pg.manual_seed(0)
    x = pg.randn(batch, channels, size, size)
    weights = [pg.nn.Parameter(pg.randn(channels, channels, 3, 3) * 0.02) for _ in range(3)]
    optim = pg.optim.SGD(weights, lr=1e-3)

    @pg.jit
    def step() -> Any:
        optim.zero_grad()
        h = x
        for w in weights:
            h = pg.relu(pg.nn.functional.conv2d(h, w, padding=1))
        loss = (h * h).mean()
        loss.backward()
        optim.step()
        return loss

    step()  # compiled now, while the form is set
    step()
    return lambda: step().item()


def main() -> None:
    parser = argparse.ArgumentParser(description="XLA's convolutions beside products with columns")
    parser.add_argument("--turns", type=int, default=9)
    args = parser.parse_args()
    import polygrad as pg

    pg.set_backend("jax")
    for batch, channels, size in SHAPES:
        steps = {form: build(pg, form, batch, channels, size) for form in FORMS}
        samples: dict[str, list[tuple[float, float]]] = {form: [] for form in FORMS}
        losses = {}
        for _ in range(args.turns):
            for form, step in steps.items():
                queued, processor = waited(), time.process_time()
                losses[form] = step()
                samples[form].append((time.process_time() - processor, waited() - queued))
        ms = {form: round(1e3 * statistics.median(s[0] for s in taken), 1) for form, taken in samples.items()}
        record = {"batch": batch, "channels": channels, "plane": f"{size}x{size}", **ms}
        record |= {"ratio": round(ms["columns"] / ms["XLA"], 2), "losses": list(losses.values())}
        print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
