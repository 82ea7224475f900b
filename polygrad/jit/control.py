"""Control flow that depends on values: Python's own in eager code, the compiler's inside of `jit`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from polygrad.core import Backend, Tensor, new_tensor
from polygrad.core.engine import boundary, merged, reverse
from polygrad.core.tensor import current_mode, next_serial, using_mode
from polygrad.jit.errors import TraceError
from polygrad.jit.history import Whole, attach, undifferentiable
from polygrad.jit.nest import flatten, rebuild

__all__ = ["cond", "while_loop"]


def _traced(tensors: Sequence[Any]) -> Backend | None:
    """The backend that is capturing, if some of these tensors have no value."""
    for x in tensors:
        if isinstance(x, Tensor) and x._backend.is_traced(x._array):
            return x._backend
    return None


def _known(pred: Any) -> None:
    """Let a capture check that it can find a condition again."""
    mode = current_mode()
    if mode is not None and mode.observer is not None and isinstance(pred, Tensor):
        mode.observer.enter(COND, (pred,), {})


def _truth(pred: Any) -> bool:
    """The value of a condition, also where conversions are refused (there is a branch for either value)."""
    if not isinstance(pred, Tensor):
        return bool(pred)
    if pred.shape != ():
        raise ValueError(
            f"a condition must be a 0-d tensor or a bool, got shape {pred.shape}; use polygrad.any or polygrad.all"
        )
    return bool(pred._array)


class _Branch:
    """A function of a nest of tensors, run inside of a construct of the compiler."""

    def __init__(self, function: Callable[..., Any], operands: Sequence[Any], backend: Backend):
        self.function, self.operands, self.backend = function, operands, backend
        self.form: Any = None
        self.edges: list[Any] = []
        self.kinds: list[Any] | None = None

    def tensors(self) -> list[Tensor]:
        """Run it; the leaves of its result, as tensors. What it was computed from is remembered in `edges`."""
        observer: Any = current_mode().observer  # type: ignore[union-attr]
        held = observer.hold() if hasattr(observer, "hold") else None
        mark = next_serial()
        leaves: list[Any] = []
        self.form = flatten(self.function(*self.operands), leaves)
        found = [x if isinstance(x, Tensor) else self.backend.tensors.asarray(x) for x in leaves]
        if held is not None:
            observer.check(held)
        self.edges = boundary([x._node for x in found], mark)
        self.kinds = [(x.shape, x.dtype) for x in found]
        return found

    def arrays(self) -> list[Any]:
        """Run it; the arrays of the leaves of its result."""
        return [x._array for x in self.tensors()]

    def cotangents(self, gs: Sequence[Any], edges: list[Any], record: bool) -> list[Any]:
        """Run it again, recording, and pull cotangents back to `edges`; zeros where nothing depends on one."""
        with using_mode(grad=True):
            results = self.tensors()
        seeds = merged(zip([x._node for x in results], gs, strict=True))
        found = reverse(seeds, dict.fromkeys(edges), retain=record, record=record, until=True) if seeds else {}
        xp = self.backend.tensors if record else self.backend.arrays
        dtypes = self.backend.dtypes
        return [
            found[e] if e in found else xp.zeros(e.shape, dtype=dtypes[e.dtype] if record else e.dtype) for e in edges
        ]


def cond(pred: Any, true_fn: Callable[..., Any], false_fn: Callable[..., Any], operands: Sequence[Any] = ()) -> Any:
    """`true_fn(*operands)` where `pred` is true, else `false_fn(*operands)`; differentiable, to any order.

    In eager code this is Python's `if`. Inside of `jit`, where `pred` has no value yet, both functions become part of the
    program, which runs one of them; they must then give nests of tensors of the same form, shapes and dtypes, and change no
    tensor in place.

    Args:
        pred: a bool, a number or a 0-d tensor.
        true_fn, false_fn: functions of the operands; they may use other tensors as well.
        operands: a sequence of nests of tensors.

    Raises:
        ValueError: `pred` is a tensor with axes.
        TraceError: inside of `jit`, results that differ in form, shape or dtype, or a branch that changes a tensor.
    """
    _known(pred)
    backend = _traced([pred])
    if backend is None:
        return (true_fn if _truth(pred) else false_fn)(*operands)
    if pred.shape != ():
        raise ValueError(
            f"a condition must be a 0-d tensor or a bool, got shape {pred.shape}; use polygrad.any or polygrad.all"
        )
    branches = _Branch(true_fn, operands, backend), _Branch(false_fn, operands, backend)
    test = backend.tensors.astype(pred, backend.tensors.bool)._array
    try:
        arrays = backend.compiler.cond(test, branches[0].arrays, branches[1].arrays)  # type: ignore[union-attr]
    except TypeError as error:
        _compare("the branches of cond give", branches[0], branches[1], error)
        raise
    _compare("the branches of cond give", branches[0], branches[1], None)
    edges = list(dict.fromkeys(branches[0].edges + branches[1].edges))
    nodes: list[Any] = [None] * len(arrays)
    mode = current_mode()
    if edges and (mode is None or mode.grad):
        nodes = attach(COND, edges, arrays, backend, {"pred": pred, "branches": branches})
    made = [new_tensor(a, backend, n) for a, n in zip(arrays, nodes, strict=True)]
    return rebuild(branches[0].form, iter(made))


def _compare(what: str, a: _Branch, b: _Branch, error: Exception | None) -> None:
    """Raise TraceError if two functions, both run, gave results that do not fit each other."""
    if a.kinds is not None and b.kinds is not None and (a.form != b.form or a.kinds != b.kinds):
        first, second = (", ".join(f"{dtype.name}{list(shape)}" for shape, dtype in x.kinds) for x in (a, b))  # type: ignore[union-attr]
        raise TraceError(f"{what} results of different forms, shapes or types: ({first}) and ({second})") from error


def _pull_cond(xp: Any, g: Any, n: Any) -> list[Any]:
    """The cotangents of one branch: the branch is chosen again, and run again."""
    pred, (true, false), backend = n.params["pred"], n.params["branches"], n.params["backend"]
    edges = list(n.params["edges"])
    if xp is backend.tensors:
        return list(cond(pred, lambda: true.cotangents(g, edges, True), lambda: false.cotangents(g, edges, True)))
    test = backend.tensors.astype(pred.detach(), backend.tensors.bool)._array
    return backend.compiler.cond(
        test, lambda: true.cotangents(g, edges, False), lambda: false.cotangents(g, edges, False)
    )


COND = Whole("cond", "CondBackward0", _pull_cond)


def while_loop(
    cond_fn: Callable[..., Any], body_fn: Callable[..., Any], carried_inputs: Sequence[Any]
) -> tuple[Any, ...]:
    """`carried = body_fn(*carried)` while `cond_fn(*carried)` is true; returns what is carried in the end.

    In eager code this is Python's `while`, differentiable as ever. Inside of `jit` it is one loop of the program, however often
    it turns; what is carried must keep its shapes and dtypes, and gradients do not flow through it (a Python `for` loop of a
    fixed length does, it is unrolled).

    Args:
        cond_fn: gives a bool or a 0-d tensor.
        body_fn: gives a tuple or list of as many nests of tensors as it takes.
        carried_inputs: what is carried at first; numbers become tensors inside of `jit`.

    Raises:
        ValueError: `cond_fn` gives a tensor with axes.
        TraceError: inside of `jit`, what is carried changes its form, shape or dtype, or the loop changes a tensor in place.
    """
    carried = tuple(carried_inputs)
    leaves: list[Any] = []
    form = flatten(carried, leaves)
    mode = current_mode()
    backend = _traced(leaves) or getattr(None if mode is None else mode.observer, "backend", None)
    if backend is None:
        while _truth(cond_fn(*carried)):
            carried = _listed(body_fn(*carried), len(carried))
        return carried
    start = [x if isinstance(x, Tensor) else backend.tensors.asarray(x) for x in leaves]
    mark = next_serial()
    histories: list[Any] = [x._node for x in start]

    def values(arrays: list[Any]) -> Any:
        return rebuild(form, iter([new_tensor(a, backend, None) for a in arrays]))

    def test(arrays: list[Any]) -> Any:
        found = _Branch(cond_fn, values(arrays), backend).tensors()
        if len(found) != 1 or found[0].shape != ():
            raise ValueError("cond_fn must give a bool or a 0-d tensor; use polygrad.any or polygrad.all")
        return backend.tensors.astype(found[0], backend.tensors.bool)._array

    def body(arrays: list[Any]) -> list[Any]:
        branch = _Branch(lambda *c: _listed(body_fn(*c), len(c)), values(arrays), backend)
        found = branch.tensors()
        kinds = [(x.shape, x.dtype) for x in start]
        if branch.kinds != kinds:
            before, after = (", ".join(f"{d.name}{list(s)}" for s, d in k) for k in (kinds, branch.kinds or ()))
            raise TraceError(f"body_fn must keep the shapes and types of what is carried: ({before}) became ({after})")
        histories.extend(e for e in branch.edges if e.serial < mark)
        return [x._array for x in found]

    arrays = backend.compiler.while_loop(test, body, [x._array for x in start])  # type: ignore[union-attr]
    edges = [e for e in dict.fromkeys(histories) if e is not None]
    nodes: list[Any] = [None] * len(arrays)
    if edges and (mode is None or mode.grad):
        nodes = attach(LOOP, edges, arrays, backend, {})
    return rebuild(form, iter([new_tensor(a, backend, n) for a, n in zip(arrays, nodes, strict=True)]))


def _listed(carried: Any, count: int) -> tuple[Any, ...]:
    if not isinstance(carried, tuple | list) or len(carried) != count:
        raise TypeError(f"body_fn must give a tuple of {count} values, as many as are carried")
    return tuple(carried)


LOOP = undifferentiable(
    "while_loop",
    "WhileLoopBackward0",
    "gradients do not flow through a compiled while_loop, whose number of turns is not known. Use a Python loop of a fixed length "
    "with polygrad.where, or detach what is carried.",
)
