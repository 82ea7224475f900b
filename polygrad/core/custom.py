"""Nodes whose derivative is a function of their own, not the rules of an op: custom functions, compiled calls, loops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from polygrad.core.backend import Backend
from polygrad.core.dtype import CATEGORIES
from polygrad.core.rules import Rule
from polygrad.core.tensor import Node, Pick, current_mode, next_serial
from polygrad.core.watch import annotate

__all__ = ["Whole", "attach"]


class Whole:
    """What a node needs of an op: a name, and functions that derive all its operands at once.

    Args:
        name: the op's name in messages.
        node_name: the name of its nodes.
        pull: `pull(xp, g, node)` gives the cotangents of all edges, None where there is none; g is a tuple with a cotangent
            for each result (None for integer ones).
        push: `push(xp, t, node)` gives the tangents of all results from those of all edges.
        materialize: give zeros, not None, for a result or an operand that has no cotangent or tangent.
    """

    pointwise = False
    variadic = True
    spread = False
    custom = True
    kind = "general"

    def __init__(
        self,
        name: str,
        node_name: str,
        pull: Callable[[Any, Any, Any], Sequence[Any]],
        push: Callable[[Any, Any, Any], Sequence[Any]] | None = None,
        materialize: bool = True,
    ):
        self.name, self.node_name, self.materialize = name, node_name, materialize
        self.pulls = self.pulls_complex = (Rule(pull, frozenset(), False, False, pull),)
        self.pushes = (Rule(push or self._push, frozenset(), False, False, push),)

    def _push(self, xp: Any, t: Any, n: Any) -> Any:
        raise NotImplementedError(f"{self.name} has no forward-mode derivative; use it inside of one compiled function")


def attach(
    op: Whole, edges: Sequence[Any], arrays: Sequence[Any], backend: Backend, params: dict[str, Any], kept: Any = ()
) -> list[Any]:
    """The histories of the results of one node: a Pick for each array, None for those that carry no derivative.

    What `kept` holds is dropped by a walk that does not retain the graph. The edges and the backend stand among the node's
    parameters too.
    """
    n = object.__new__(Node)
    n.op, n.edges, n.backend, n.extra = op, tuple(edges), backend, None
    n.params = {**params, "edges": n.edges, "backend": backend}
    n.kept, n.y, n.shapes = kept, None, None
    n.shape, n.dtype = [tuple(a.shape) for a in arrays], [a.dtype for a in arrays]
    n.serial = next_serial()
    mode = current_mode()
    if mode is not None and mode.anomaly is not None:
        annotate(n, mode)
    inexact = CATEGORIES["floating"]
    return [Pick(n, i, a) if backend.dtypes[a.dtype] in inexact else None for i, a in enumerate(arrays)]
