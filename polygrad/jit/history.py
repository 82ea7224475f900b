"""Nodes that stand for more than one op: a compiled call, a branch, a loop."""

from __future__ import annotations

from typing import Any

from polygrad.core import Backend
from polygrad.core.custom import Whole, attach
from polygrad.core.tensor import Leaf

__all__ = ["Whole", "attach", "spent", "undifferentiable"]


def undifferentiable(name: str, node_name: str, message: str) -> Whole:
    """An op whose pull raises RuntimeError."""

    def pull(xp: Any, g: Any, n: Any) -> list[Any]:
        raise RuntimeError(message)

    return Whole(name, node_name, pull)


SPENT = undifferentiable(
    "jit",
    "CompiledBackward0",
    "Trying to backward through the result of a compiled function whose graph was walked inside, or whose inputs it has "
    "overwritten. Call backward() inside of the function.",
)


def spent(array: Any, backend: Backend) -> Any:
    """A node through which no gradient flows any more; walking it raises RuntimeError. Its results are Picks."""
    return attach(SPENT, [Leaf(array, backend)], [array], backend, {})[0].edges[0]
