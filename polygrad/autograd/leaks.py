"""`audit`: where the values of a function leave the graph, so that no gradient flows back through them."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

from polygrad.core import Tensor
from polygrad.core.tensor import Observer, current_mode, using_mode
from polygrad.core.watch import locate

__all__ = ["Audit", "Leak", "audit"]


class Leak(NamedTuple):
    """One place where values that require grad left the graph.

    Attributes:
        kind: "branch" (`if t`, `while t`, `bool(t)`), "number" (`float(t)`, `t.item()` and the like), "conversion" (`t.tolist()`,
            an array, pickling) or "integer cast".
        what: how, as it is written.
        file, line, function, source: where.
        times: how often.
    """

    kind: str
    what: str
    file: str
    line: int
    function: str
    source: str
    times: int

    def __str__(self) -> str:
        times = f" ({self.times} times)" if self.times > 1 else ""
        shown = f"\n    {self.source}" if self.source else ""
        return f"{self.file}:{self.line}: {self.kind}, {self.what}, in {self.function}{times}{shown}"


class Audit(list[Leak]):
    """What `audit` found, in the order in which it was met first; printed, a line each.

    Attributes:
        result: what the function returned.
    """

    result: Any = None

    def __str__(self) -> str:
        return "\n".join(map(str, self)) or "no gradient leaves the graph"

    __repr__ = __str__


KINDS = {"bool()": "branch", "float()": "number", "int()": "number", "complex()": "number", "item()": "number"}


class _Auditor(Observer):
    """Notes what leaves; whoever watched before still watches."""

    __slots__ = ("found", "outer", "masks")

    def __init__(self, outer: Observer | None):
        self.found: dict[tuple[str, str, str, int, str, str], int] = {}
        self.masks: dict[int, weakref.ref[Tensor]] = {}  # booleans made of values that require grad, by id
        self.outer = outer

    @property
    def values(self) -> bool:  # type: ignore[override]
        """As for whoever watched before."""
        return self.outer is None or self.outer.values

    def enter(self, op: Any, operands: Any, params: Any) -> tuple[Any, Any]:
        return (operands, params) if self.outer is None else self.outer.enter(op, operands, params)

    def op(self, op: Any, operands: Any, params: Any, results: Any) -> None:
        if isinstance(results, Tensor) and results._node is None:
            category = results.dtype.category
            if category == "bool":
                if any(isinstance(x, Tensor) and (x._node is not None or self._is_mask(x)) for x in operands):
                    self.masks[id(results)] = weakref.ref(results)
            elif category in ("integer", "unsigned") and op.name == "cast" and operands[0]._node is not None:
                self._note("integer cast", f"cast to {results.dtype.name}")
        if self.outer is not None:
            self.outer.op(op, operands, params, results)

    def leave(self, x: Tensor, what: str) -> None:
        if x._node is not None or (what == "bool()" and self._is_mask(x)):
            self._note(KINDS.get(what, "conversion"), what)
        if self.outer is not None:
            self.outer.leave(x, what)

    def write(self, x: Tensor) -> None:
        if self.outer is not None:
            self.outer.write(x)

    def _is_mask(self, x: Tensor) -> bool:
        ref = self.masks.get(id(x))
        return ref is not None and ref() is x

    def _note(self, kind: str, what: str) -> None:
        key = (kind, what, *locate())
        self.found[key] = self.found.get(key, 0) + 1


def audit(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Audit:
    """Run `fn(*args, **kwargs)` and list each place where a value that requires grad left the graph without a word.

    Such places are conversions to numbers and lists, branches on a value, and casts to integers; each comes with its file and
    line. Conversions to arrays raise while grad is required, and `detach()` says what it does, so neither is listed.

    Args:
        fn: for example a loss; the tensors that it is to be differentiated by must require grad.
    """
    mode = current_mode()
    auditor = _Auditor(None if mode is None else mode.observer)
    with using_mode(grad=True, observer=auditor):
        result = fn(*args, **kwargs)
    report = Audit(Leak(*key, times) for key, times in auditor.found.items())
    report.result = result
    return report
