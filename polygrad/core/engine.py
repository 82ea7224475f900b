"""Walks over a recorded graph: newest first with the pulls, oldest first with the pushes.

Serial numbers grow with creation, so sorting the reachable nodes by serial orders them topologically; there is no recursion.
A first-order walk runs on raw arrays. A recorded walk lifts what was kept back into tensors with their history, and the
same rules, given the other namespace, record their own derivative.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Any

from polygrad.core.tensor import Leaf, Node, Pick, Tensor, current_mode, new_tensor
from polygrad.core.watch import Unpacked, Walk, check_nan, run_post, run_pre, visit

__all__ = ["boundary", "collect", "fit", "forward", "merged", "reverse"]

FREED: tuple[Any, ...] = ("freed",)
_serial = attrgetter("serial")


def collect(roots: Any, ends: Any = (), since: int = 0) -> list[Any]:
    """Every Node and Pick that the roots were computed from, oldest first.

    Left out are `ends` and what is behind them, and everything with a serial number up to `since` (the roots excepted).
    """
    found: list[Any] = []
    seen: set[Any] = set(ends)
    stack = [r for r in roots if type(r) is not Leaf]
    pop, push, add, keep = stack.pop, stack.append, seen.add, found.append
    while stack:
        n = pop()
        if n in seen:
            continue
        add(n)
        keep(n)
        for e in n.edges:
            if e is not None and e.serial > since and type(e) is not Leaf:
                push(e)
    found.sort(key=_serial)
    return found


def boundary(roots: Iterable[Any], since: int) -> list[Any]:
    """The vertices older than a serial number that the roots were computed from, or are; None among the roots is left out."""
    found: dict[Any, None] = {}
    seen: set[Any] = set()
    stack = [n for n in roots if n is not None]
    while stack:
        n = stack.pop()
        if n in seen:
            continue
        seen.add(n)
        if n.serial < since:
            found[n] = None
        elif type(n) is not Leaf:
            stack += [e for e in n.edges if e is not None]
    return list(found)


def merged(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """Vertex -> cotangent, with those of one vertex added up; pairs in which either is None are left out."""
    found: dict[Any, Any] = {}
    for n, g in pairs:
        if n is not None and g is not None:
            found[n] = g if n not in found else found[n] + g
    return found


def fit(xp: Any, d: Any, e: Any, raw: Any, record: bool) -> Any:
    """A cotangent summed down to the shape of operand `e` and cast to its dtype; `raw` is the array inside `d`."""
    shape = e.shape
    if raw.shape != shape:
        extra = len(raw.shape) - len(shape)
        leading = tuple(range(extra))
        axes = leading + tuple([i + extra for i, n in enumerate(shape) if n == 1 and raw.shape[i + extra] != 1])
        if axes and axes == leading:
            d = xp.sum(d, axis=axes)
        else:
            d = xp.reshape(xp.sum(d, axis=axes, keepdims=True) if axes else d, shape)
    if raw.dtype != e.dtype:
        dtypes = e.backend.dtypes
        if dtypes[raw.dtype].is_complex and not dtypes[e.dtype].is_complex:
            d = xp.real(d)
        d = xp.astype(d, dtypes[e.dtype] if record else e.dtype)
    return d


class Lifted:
    """A node as a recorded walk sees it: what was kept, as tensors with their history."""

    __slots__ = ("y", "kept", "params", "shapes", "shape", "dtype")
    y: Any
    kept: Any

    def __init__(self, n: Node | Unpacked, node: Node):
        backend = n.backend
        self.params, self.shapes, self.shape, self.dtype = n.params, n.shapes, n.shape, n.dtype
        if n.op.variadic and n.kept:
            self.kept = ([_lift(a, e, backend) for a, e in zip(n.kept[0], n.edges, strict=True)],)
        else:
            self.kept = tuple([_lift(a, e, backend) for a, e in zip(n.kept, n.edges, strict=True)]) if n.kept else ()
        if isinstance(n.y, tuple | list):
            picks: list[Any] = [
                Pick(node, i, a)
                if a is not None and backend.dtypes[a.dtype].category in ("floating", "complex")
                else None
                for i, a in enumerate(n.y)
            ]
            self.y = tuple([None if a is None else new_tensor(a, backend, p) for a, p in zip(n.y, picks, strict=True)])
        else:
            self.y = None if n.y is None else new_tensor(n.y, backend, node)


def _lift(array: Any, edge: Any, backend: Any) -> Any:
    """A kept array as a tensor with its history; one that the op promoted goes back to the data type it came in."""
    if not hasattr(array, "dtype"):
        return array
    if edge is not None and array.dtype != edge.dtype:
        xp = backend.arrays
        array = xp.astype(xp.real(array) if xp.is_complex(array) else array, edge.dtype)
    return new_tensor(array, backend, edge)


def _complex(n: Any, e: Any) -> bool:
    dtypes = n.backend.dtypes
    result = n.dtype[0] if type(n.dtype) is list else n.dtype
    return dtypes[e.dtype].category == "complex" or dtypes[result].category == "complex"


def reverse(
    seeds: dict[Any, Any],
    targets: Any = None,
    *,
    retain: bool = False,
    record: bool = False,
    until: bool = False,
    since: int = 0,
    walk: Walk | None = None,
) -> dict[Any, Any]:
    """Walk newest first from `seeds` (node -> cotangent) and return the cotangents of the leaves, or of `targets`.

    Cotangents are raw arrays, or Tensors when `record` is set. Unless `retain` is set, what nodes kept is dropped as the walk
    passes them. With `until` the walk ends at the targets, and their hooks are left to whoever walks on. Nodes with a serial
    number up to `since` are constants. With `walk` the caller finishes it, when it has done what may fail.

    Raises:
        RuntimeError: a node on the way was already walked without `retain`; in anomaly mode, a node makes NaN.
    """
    if targets:  # what is older than all of them cannot lead to one
        since = max(since, min([t.serial for t in targets]) - 1)
    order = collect(seeds, targets if until else (), since)
    mode = current_mode()
    anomaly = mode is not None and mode.anomaly == "check"
    watch = Walk(record) if walk is None else walk
    wanted = None if targets is None else _leading_to(order, targets)
    found: dict[Any, Any] = {}
    cotangents = dict(seeds)
    take = cotangents.pop
    real = None  # the real dtype met last: almost every node of a graph has the same one
    while order:
        n = order.pop()
        g = take(n, None)
        if g is None:
            continue
        extra = n.extra
        if extra is not None and type(g) is not list:
            g = visit(n, extra, g, watch)
        if targets is not None and n in targets:
            found[n] = g
        if wanted is not None and n not in wanted:
            continue
        if type(n) is Pick:
            main = n.edges[0]
            parts = cotangents.get(main)
            if parts is None:
                cotangents[main] = parts = [None] * len(main.shape)
            parts[n.index] = g if parts[n.index] is None else parts[n.index] + g
            continue
        op, kept, edges = n.op, n.kept, n.edges
        if kept is FREED:
            raise RuntimeError(
                "Trying to backward through the graph a second time (or directly access saved tensors after they have already "
                "been freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). "
                "Specify retain_graph=True if you need to backward through the graph a second time."
            )
        if record:
            xp, seen = n.backend.tensors, _seen(n, True)
        else:
            xp, seen = n.backend.arrays, n
        dtype = n.dtype
        if extra is not None or anomaly:
            for e, d in _watched(xp, g, n, seen, wanted, record, anomaly):
                d = fit(xp, d, e, d._array if record else d, record)
                old = take(e, None)
                cotangents[e] = d if old is None else xp.add(old, d)
            if not retain and (kept or n.y is not None):
                n.kept, n.y = FREED, None
            continue
        if dtype is not real and op.pointwise and n.backend.dtypes[dtype].is_floating_point:
            real = dtype
        if dtype is real and op.pointwise:
            # In a real pointwise op a pull has the result's shape and dtype, so the array itself need not be asked.
            shape = n.shape
            pulls, i = op.real_pulls, -1  # counted here: a strict zip of two takes 200 ns
            for e in edges:
                i += 1
                if e is None or (wanted is not None and e not in wanted):
                    continue
                d = pulls[i](xp, g, seen)
                if e.shape != shape or e.dtype is not dtype:
                    d = fit(xp, d, e, d._array if record else d, record)
                old = take(e, None)
                cotangents[e] = d if old is None else xp.add(old, d)
        else:
            for e, d in _pull(xp, g, n, seen, wanted, record):
                raw = d._array if record else d
                if raw.shape != e.shape or raw.dtype is not e.dtype:
                    d = fit(xp, d, e, raw, record)
                old = take(e, None)
                cotangents[e] = d if old is None else xp.add(old, d)
        if not retain and (kept or n.y is not None):
            n.kept, n.y = FREED, None
    if until:
        found = {t: cotangents[t] for t in targets if t in cotangents}
    else:
        for leaf in list(cotangents) if targets is None else targets:
            if type(leaf) is Leaf and leaf in cotangents:
                g = cotangents[leaf]
                found[leaf] = visit(leaf, leaf.extra, g, watch) if leaf.extra else g
    if walk is None:
        watch.tell()
        watch.keep()
    return found


def _seen(n: Node, record: bool) -> Any:
    """A node as its rules see it: with the values it kept, in a recorded walk as tensors with their history."""
    if n.op.custom:
        return n
    opened = Unpacked(n) if n.extra is not None and "packed" in n.extra else n
    return Lifted(opened, n) if record else opened


def _watched(xp: Any, g: Any, n: Node, seen: Any, wanted: Any, record: bool, anomaly: bool) -> list[tuple[Any, Any]]:
    """`_pull` for a node that somebody watches."""
    extra = n.extra or {}
    if extra.get("pre"):
        g = run_pre(n, g, record)
    if "packed" in extra and not record:
        seen = _seen(n, False)
    pairs = _pull(xp, g, n, seen, wanted, record)
    if anomaly:
        check_nan(n, pairs)
    return run_post(n, pairs, g, record) if extra.get("post") else pairs


def _pull(xp: Any, g: Any, n: Node, seen: Any, wanted: Any, record: bool) -> list[tuple[Any, Any]]:
    """The cotangents that one node of any kind passes to its operands, with the edges they go along."""
    op = n.op
    if type(g) is list:
        g = _complete(xp, n, g, record) if op.materialize else tuple(g)
    if op.variadic:
        contributions = zip(n.edges, op.pulls[0].apply(xp, g, seen), strict=True)
        return [(e, d) for e, d in contributions if e is not None and d is not None and (wanted is None or e in wanted)]
    out = []
    for i, e in enumerate(n.edges):
        if e is not None and (wanted is None or e in wanted):
            rule = (op.pulls_complex if op.pointwise and _complex(n, e) else op.pulls)[i]
            out.append((e, rule.apply(xp, g, seen)))
    return out


def _leading_to(order: list[Any], targets: Any) -> set[Any]:
    """The nodes through which some target is reached, and the targets."""
    wanted = set(targets)
    for n in order:
        for e in n.edges:
            if e in wanted:
                wanted.add(n)
                break
    return wanted


def _complete(xp: Any, n: Node, parts: list[Any], record: bool) -> tuple[Any, ...]:
    """Cotangents of all results of a node: zeros for those that nothing was computed from, None for integer ones."""
    some = next(p for p in parts if p is not None)
    device = xp.device(some)
    dtypes = n.backend.dtypes
    return tuple(
        p
        if p is not None
        else (
            xp.zeros(shape, dtype=dtypes[dtype] if record else dtype, device=device)
            if dtypes[dtype].category in ("floating", "complex")
            else None
        )
        for p, shape, dtype in zip(parts, n.shape, n.dtype, strict=True)
    )


def forward(roots: Any, tangents: dict[Any, Any], *, record: bool = False, since: int = 0) -> dict[Any, Any]:
    """Walk oldest first from `tangents` (node or leaf -> tangent) and return the tangents of the roots that depend on them.

    Nodes with a serial number up to `since` are constants.

    Tangents are raw arrays, or Tensors when `record` is set; they live in a dictionary keyed by node, so nested derivatives
    cannot be confused. Nothing is freed.
    """
    known = dict(tangents)
    for n in collect(roots, (), since):
        if n in known:
            continue
        if type(n) is Pick:
            t = known.get(n.edges[0])
            if t is not None and t[n.index] is not None:
                known[n] = t[n.index]
            continue
        if not any(e in known for e in n.edges if e is not None):
            continue
        if n.kept is FREED:
            raise RuntimeError("the graph was freed by backward(); pass retain_graph=True there to walk it again")
        xp, seen = n.backend.tensors if record else n.backend.arrays, _seen(n, record)
        known[n] = _push_variadic(xp, n, seen, known, record) if n.op.variadic else _push(xp, n, seen, known, record)
    return {r: known[r] for r in roots if r in known}


def _push(xp: Any, n: Node, seen: Any, known: dict[Any, Any], record: bool) -> Any:
    total: Any = None
    for i, e in enumerate(n.edges):
        if e is None or e not in known:
            continue
        t = n.op.pushes[i].apply(xp, known[e], seen)
        if isinstance(t, tuple | list):
            t = tuple(_shaped(xp, p, s, d, record) for p, s, d in zip(t, n.shape, n.dtype, strict=True))
            total = (
                t
                if total is None
                else tuple(a if b is None else b if a is None else a + b for a, b in zip(total, t, strict=True))
            )
        else:
            t = _shaped(xp, t, n.shape, n.dtype, record)
            total = t if total is None else total + t
    return total


def _push_variadic(xp: Any, n: Node, seen: Any, known: dict[Any, Any], record: bool) -> Any:
    ts = [known.get(e) for e in n.edges]
    if not n.op.custom:
        device = xp.device(next(t for t in ts if t is not None))
        dtype = n.dtype[0] if isinstance(n.dtype, list) else n.dtype
        dtype = n.backend.dtypes[dtype] if record else dtype
        ts = [xp.zeros(s, dtype=dtype, device=device) if t is None else t for t, s in zip(ts, n.shapes[0], strict=True)]
    t = n.op.pushes[0].apply(xp, ts, seen)
    if isinstance(n.shape, list):
        return tuple(_shaped(xp, p, s, d, record) for p, s, d in zip(t, n.shape, n.dtype, strict=True))
    return _shaped(xp, t, n.shape, n.dtype, record)


def _shaped(xp: Any, t: Any, shape: Any, dtype: Any, record: bool) -> Any:
    """A tangent broadcast to the result's shape and cast to its dtype."""
    if t is None:
        return None
    raw = t._array if isinstance(t, Tensor) else t
    if raw.shape != shape:
        t = xp.broadcast_to(t, shape)
    if raw.dtype != dtype:
        t = xp.astype(t, t._backend.dtypes[dtype] if record else dtype)
    return t
