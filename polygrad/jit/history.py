"""Nodes that stand for more than one op: a compiled call, a branch, a loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from polygrad.core import Backend
from polygrad.core.rules import Rule
from polygrad.core.tensor import Leaf, Node, Pick, next_serial

__all__ = ["Whole", "attach", "boundary", "spent", "undifferentiable"]


class Whole:
    """What a node needs of an op: a name, and a pull that gives the cotangents of all edges at once.

    Args:
        name: the op's name in messages.
        node_name: the name of its nodes.
        pull: `pull(xp, g, node)`, where g is a tuple with a cotangent for each result (None for integer ones).
    """

    pointwise = False
    variadic = True
    spread = False
    kind = "general"

    def __init__(self, name: str, node_name: str, pull: Callable[[Any, Any, Any], list[Any]]):
        self.name, self.node_name = name, node_name
        self.pulls = self.pulls_complex = (Rule(pull, frozenset(), False, False, pull),)
        self.pushes = (Rule(self._push, frozenset(), False, False, None),)

    def _push(self, xp: Any, t: Any, n: Any) -> Any:
        raise NotImplementedError(f"{self.name} has no forward-mode derivative; use it inside of one compiled function")


def attach(op: Whole, edges: Any, arrays: list[Any], backend: Backend, params: dict[str, Any]) -> list[Any]:
    """The histories of the results of one node: a Pick for each array, None for those that carry no derivative.

    A pull finds the edges and the backend among the node's parameters too, since a recorded walk shows it no more.
    """
    n = object.__new__(Node)
    n.op, n.edges, n.backend, n.extra = op, tuple(edges), backend, None
    n.params = {**params, "edges": n.edges, "backend": backend}
    n.kept, n.y, n.shapes = (), None, None
    n.shape, n.dtype = [tuple(a.shape) for a in arrays], [a.dtype for a in arrays]
    n.serial = next_serial()
    inexact = [backend.dtypes[a.dtype].category in ("floating", "complex") for a in arrays]
    return [Pick(n, i, a) if use else None for i, (a, use) in enumerate(zip(arrays, inexact, strict=True))]


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
    """A history through which no gradient flows any more; walking it raises RuntimeError."""
    return attach(SPENT, [Leaf(array, backend)], [array], backend, {})[0]


def boundary(nodes: list[Any], mark: int) -> list[Any]:
    """The nodes and leaves older than a serial number at which the graph of `nodes` begins."""
    found: dict[Any, None] = {}
    seen: set[Any] = set()
    stack = [n for n in nodes if n is not None]
    while stack:
        n = stack.pop()
        if n in seen:
            continue
        seen.add(n)
        if n.serial < mark:
            found[n] = None
        elif type(n) is not Leaf:
            stack += [e for e in n.edges if e is not None]
    return list(found)
