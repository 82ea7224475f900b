"""What an op costs beyond its arithmetic: a chain of 1,002 small ops, `h = tanh(h * c + x)`, and its gradient.

`python benchmarks/op_overhead.py` prints nanoseconds an op, forward alone and forward with backward, on scalars, 4x4 and
64x64 arrays, for PyTorch eager (the base of the ratios), polygrad on NumPy, HIPS autograd and NumPy by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from peers import compare

LINKS = 334
OPS = 3 * LINKS


def chain(x: Any, c: Any, tanh: Callable[[Any], Any]) -> Any:
    """The workload: three ops a link."""
    h = x
    for _ in range(LINKS):
        h = tanh(h * c + x)
    return h


def _data(shape: tuple[int, ...]) -> tuple[Any, Any]:
    import numpy as np

    return np.full(shape, 0.3, "f4"), np.full(shape, 0.9, "f4")


def with_torch(shape: tuple[int, ...], what: str) -> Callable[[], Any]:
    """PyTorch eager."""
    import torch

    torch.set_num_threads(1)
    x, c = (torch.from_numpy(a) for a in _data(shape))
    x.requires_grad_()

    def both() -> Any:
        x.grad = None
        chain(x, c, torch.tanh).sum().backward()
        return x.grad

    return both if what == "fwd+bwd" else lambda: chain(x, c, torch.tanh)


def with_polygrad(shape: tuple[int, ...], what: str) -> Callable[[], Any]:
    """polygrad on NumPy."""
    import polygrad as pg

    x, c = (pg.tensor(a) for a in _data(shape))
    x.requires_grad_()

    def both() -> Any:
        x.grad = None
        chain(x, c, pg.tanh).sum().backward()
        return x.grad

    return both if what == "fwd+bwd" else lambda: chain(x, c, pg.tanh)


def with_autograd(shape: tuple[int, ...], what: str) -> Callable[[], Any]:
    """HIPS autograd."""
    import autograd.numpy as anp
    from autograd import grad

    x, c = _data(shape)
    slope = grad(lambda x: anp.sum(chain(x, c, anp.tanh)))
    return (lambda: slope(x)) if what == "fwd+bwd" else (lambda: chain(x, c, anp.tanh))


def by_hand(shape: tuple[int, ...], what: str) -> Callable[[], Any]:
    """NumPy with the derivative written out: the floor."""
    import numpy as np

    x, c = _data(shape)

    def both() -> Any:
        hs, h = [], x
        for _ in range(LINKS):
            h = np.tanh(h * c + x)
            hs.append(h)
        g, gx = np.ones_like(h), 0
        for h in reversed(hs):
            g = g * (1 - h * h)
            gx = gx + g
            g = g * c
        return gx + g

    return both if what == "fwd+bwd" else lambda: chain(x, c, np.tanh)


if __name__ == "__main__":
    compare(
        "op chain",
        {"torch": with_torch, "polygrad": with_polygrad, "autograd": with_autograd, "numpy by hand": by_hand},
        [{"shape": shape, "what": what} for shape in ((), (4, 4), (64, 64)) for what in ("fwd", "fwd+bwd")],
        per=OPS,
        unit="ns",
    )
