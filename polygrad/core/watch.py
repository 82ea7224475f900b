"""What a walk does where somebody watches: hooks, values that were packed away, and the search for NaN.

Nodes say so in `extra`; all others pass by on one comparison.

    hooks       key -> hook(grad), on what a tensor's gradient is
    retained    the gradient of a tensor that is no leaf is kept, in `grad`
    pre         key -> hook(grad_outputs), before a node is walked
    post        key -> hook(grad_inputs, grad_outputs), after a node was walked
    packed      kept values are `Packed`
    made        the place in the user's source that made the node

What a walk gathers for later stands in a `Walk`.
"""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Callable
from typing import Any

from polygrad.core.hooks import Gathering
from polygrad.core.tensor import Mode, Node, Tensor, new_tensor, using_mode

__all__ = [
    "Packed",
    "Unpacked",
    "Walk",
    "annotate",
    "call_hook",
    "check_nan",
    "locate",
    "pack_node",
    "place",
    "run_post",
    "run_pre",
    "visit",
]

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def call_hook(hook: Callable[..., Any], old: Tensor, *args: Any) -> Tensor:
    """What a hook makes of a gradient: `old`, or what it returned in its place.

    Raises:
        TypeError: it returned something that is no Tensor.
        RuntimeError: it returned another shape, dtype or backend.
    """
    new = hook(*args)
    return old if new is None else replaced(hook, new, old)


def replaced(hook: Callable[..., Any], new: Any, old: Tensor | None) -> Tensor:
    """`new` checked against the gradient that it stands for."""
    name = getattr(hook, "__name__", type(hook).__name__)
    if not isinstance(new, Tensor):
        raise TypeError(f"hook {name!r} returned a {type(new).__name__}, expected a Tensor or None")
    if old is not None:
        for what in ("shape", "dtype", "backend"):
            was, now = getattr(old, what), getattr(new, what)
            if was != now:
                raise RuntimeError(f"hook {name!r} has changed the {what} of the gradient from {was} to {now}")
    return new


class Walk:
    """What is left to do when a walk has come to its end: gradients to keep, hooks that wait for several gradients.

    Attributes:
        record: cotangents are Tensors.
        gathered: for each hook on several tensors that was met, their gradients so far.
        retained: the gradients of tensors that are no leaves, by the `extra` they will stand in.
    """

    __slots__ = ("record", "gathered", "retained")

    def __init__(self, record: bool):
        self.record = record
        self.gathered: dict[Any, list[Any]] = {}
        self.retained: list[tuple[dict[str, Any], Tensor]] = []

    def gather(self, part: Gathering, g: Tensor) -> None:
        """Note the gradient of one of the tensors of a hook on several."""
        grads = self.gathered.get(part.shared)
        if grads is None:
            grads = self.gathered[part.shared] = [None] * part.shared.count
            if part.shared.first:
                part.shared.fn(g)
        grads[part.which] = g

    def tell(self) -> None:
        """Call the hooks that waited."""
        for shared, grads in self.gathered.items():
            if not shared.first:
                shared.fn(grads)

    def keep(self) -> None:
        """Keep what is to be kept."""
        for extra, g in self.retained:
            extra["grad"] = g


def visit(n: Any, extra: dict[str, Any], g: Any, walk: Walk) -> Any:
    """Run the hooks of a tensor on its gradient, and note it where the user asked to keep it."""
    hooks = extra.get("hooks")
    if hooks:
        shown = g if walk.record else new_tensor(g, n.backend)
        for hook in list(hooks.values()):
            if type(hook) is Gathering:
                walk.gather(hook, shown)
            else:
                shown = call_hook(hook, shown, shown)
        g = shown if walk.record else shown._array
    if "retained" in extra:
        held, new = extra.get("grad"), g if walk.record else new_tensor(g, n.backend)
        walk.retained.append((extra, new if held is None else held + new))
    return g


def _shown(parts: Any, n: Any, record: bool) -> tuple[Tensor | None, ...]:
    """Gradients as a hook sees them: a tuple of Tensors and None."""
    return tuple(p if p is None or record else new_tensor(p, n.backend) for p in parts)


def _answered(hook: Callable[..., Any], answer: Any, shown: tuple[Any, ...]) -> tuple[Any, ...]:
    if answer is None:
        return shown
    given = answer if isinstance(answer, tuple) else (answer,)
    if len(given) != len(shown):
        name = getattr(hook, "__name__", type(hook).__name__)
        raise RuntimeError(f"hook {name!r} returned {len(given)} gradients, expected {len(shown)}")
    return tuple(o if n is None else replaced(hook, n, o) for n, o in zip(given, shown, strict=True))


def run_pre(n: Any, g: Any, record: bool) -> Any:
    """The cotangent of a node (a list for several results) after its pre-hooks."""
    several = type(g) is list
    shown = _shown(g if several else [g], n, record)
    for hook in list(n.extra["pre"].values()):
        shown = _answered(hook, hook(shown), shown)
    parts = [s if s is None or record else s._array for s in shown]
    return parts if several else parts[0]


def run_post(n: Any, pairs: list[tuple[Any, Any]], g: Any, record: bool) -> list[tuple[Any, Any]]:
    """The (edge, cotangent) pairs of a node after its post-hooks; an operand with no pair is shown as None."""
    shown = _shown(_by_operand(n, pairs), n, record)
    outputs = _shown(g if isinstance(g, list | tuple) else [g], n, record)
    for hook in list(n.extra["post"].values()):
        shown = _answered(hook, hook(shown, outputs), shown)
    return [
        (e, s if record else s._array) for e, s in zip(n.edges, shown, strict=True) if e is not None and s is not None
    ]


def _by_operand(n: Any, pairs: list[tuple[Any, Any]]) -> list[Any]:
    """The cotangents of all operands of a node, None where there is none."""
    grads: list[Any] = [None] * len(n.edges)
    left = list(pairs)
    for i, e in enumerate(n.edges):
        if left and left[0][0] is e:
            grads[i] = left.pop(0)[1]
    return grads


def check_nan(n: Any, pairs: list[tuple[Any, Any]]) -> None:
    """Raise RuntimeError when a cotangent that a node passes on has a NaN; the message shows the line that made the node."""
    isnan, any_ = n.backend.arrays.isnan, n.backend.arrays.any
    for i, d in enumerate(_by_operand(n, pairs)):
        raw = d._array if isinstance(d, Tensor) else d
        if raw is not None and bool(any_(isnan(raw))):
            made = (n.extra or {}).get("made")
            where = (
                f"It was made at\n{made}"
                if made
                else "Where it was made is known for graphs built in anomaly mode only."
            )
            raise RuntimeError(f"Function '{n.name()}' returned nan values in its {i}th output. {where}")


# ---------------------------------------------------------------------------------------------------- packed values


class Packed:
    """What a saved-tensor hook made of a kept value."""

    __slots__ = ("content", "unpack")

    def __init__(self, content: Any, unpack: Callable[[Any], Any]):
        self.content, self.unpack = content, unpack

    def open(self, n: Any) -> Any:
        """The array again. Raises TypeError when the hook gives no Tensor, RuntimeError for one of another backend."""
        with using_mode(grad=False, pack=None, unpack=None):
            made = self.unpack(self.content)
        if not isinstance(made, Tensor):
            raise TypeError(f"the unpack hook returned a {type(made).__name__}, expected a Tensor")
        if made._backend is not n.backend:
            raise RuntimeError(f"the unpack hook returned a Tensor on {made.backend!r}, expected {n.backend.name!r}")
        return made._array


class Unpacked:
    """A node with the values it kept as they were before they were packed."""

    __slots__ = ("op", "edges", "y", "kept", "params", "shapes", "shape", "dtype", "backend")

    def __init__(self, n: Node):
        self.op, self.edges, self.params, self.backend = n.op, n.edges, n.params, n.backend
        self.shapes, self.shape, self.dtype = n.shapes, n.shape, n.dtype
        self.kept, self.y = _opened(n.kept, n), _opened(n.y, n)


def _opened(value: Any, n: Node) -> Any:
    if type(value) is Packed:
        return value.open(n)
    return type(value)([_opened(v, n) for v in value]) if type(value) in (tuple, list) else value


def annotate(n: Node, mode: Mode) -> None:
    """Give a new node what an unusual mode asks for: packed values, the place that made it."""
    if mode.pack is not None:
        pack_node(n, mode)
    if mode.anomaly is not None:
        n.extras()["made"] = place()


def pack_node(n: Node, mode: Mode) -> None:
    """Replace the arrays that a new node keeps by what the pack hook makes of them."""
    pairs = zip(n.kept[0], n.edges, strict=True) if n.op.variadic and n.kept else zip(n.kept, n.edges, strict=False)
    kept = [_pack(a, e, n, mode) for a, e in pairs]
    n.kept = ((kept,) if n.op.variadic else tuple(kept)) if n.kept else n.kept
    if isinstance(n.y, tuple | list):
        n.y = tuple([_pack(a, None, n, mode) for a in n.y])
    else:
        n.y = _pack(n.y, None, n, mode)
    n.extras()["packed"] = True


def _pack(array: Any, edge: Any, n: Node, mode: Mode) -> Any:
    if not hasattr(array, "dtype"):
        return array
    with using_mode(grad=False, pack=None, unpack=None):
        return Packed(mode.pack(new_tensor(array, n.backend, edge)), mode.unpack)


# ------------------------------------------------------------------------------------------------------------ places


def locate() -> tuple[str, int, str, str]:
    """The innermost line outside this package that led here: its file, number, function and text."""
    frame: Any = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    file, line = frame.f_code.co_filename, frame.f_lineno
    return file, line, frame.f_code.co_name, linecache.getline(file, line).strip()


def place() -> str:
    """That line as a traceback shows it."""
    file, line, function, source = locate()
    return f'  File "{file}", line {line}, in {function}' + (f"\n    {source}" if source else "")
