"""One run of a function, and the walks over its graph from which all functional derivatives are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from polygrad.autograd.gradients import seed
from polygrad.autograd.nest import LEAF, fill, inexact, is_value, match, restore, take_apart
from polygrad.core import Tensor, backend_of, get_backend, new_tensor
from polygrad.core.backend import declared
from polygrad.core.engine import forward, merged, reverse
from polygrad.core.inplace import recording
from polygrad.core.tensor import Node, next_serial, using_mode

__all__ = ["Trace", "arguments"]


class Trace:
    """One run of a function on variables of its own, with its graph kept.

    Every differentiated argument is a new variable, at which walks end, and everything older than the run is a constant to
    them. So what an outer derivative varies is never taken for what an inner one does. Walks are recorded where something
    outside may be differentiated through them: the run used a tensor that requires grad, or the cotangents do.

    Args:
        name: the verb, for messages.
        func: what to run.
        args, kwargs: its arguments; arrays among them become tensors.
        argnums: the positions of the arguments to differentiate.
        has_aux: func gives a pair, of which the second is not differentiated.

    Attributes:
        value, aux: the results, connected to the graph outside of the run if there is one.
        inputs, outputs: tensors, in the order in which the nests of the arguments and of the result hold them.
        form: of the tuple of differentiated arguments.
        result: form of the result.

    Raises:
        TypeError: an argument to differentiate has nothing that could be, a result is no nest of tensors.
    """

    def __init__(
        self, name: str, func: Callable[..., Any], args: Any, kwargs: Any, argnums: Sequence[int], has_aux: bool = False
    ):
        self.name = name
        self.since = next_serial()
        given: list[Any] = []
        self.form = take_apart(tuple(args[i] for i in argnums), inexact, given)
        if not given:
            kinds = ", ".join(_kind(args[i]) for i in argnums)
            raise TypeError(
                f"{name}: expected a floating-point or complex tensor, array or number (or a nest of them) to differentiate "
                f"with respect to, got {kinds}"
            )
        self.inputs = [_variable(x) for x in given]
        inner = [lifted(a) for a in args]
        for i, a in zip(argnums, restore(self.form, iter(self.inputs)), strict=True):
            inner[i] = a
        with using_mode(grad=True, inference=False):
            result = func(*inner, **{k: lifted(v) for k, v in kwargs.items()})
        self.aux = None
        if has_aux:
            if not isinstance(result, tuple) or len(result) != 2:
                raise TypeError(f"{name}: with has_aux=True func returns a pair (output, aux), got {_kind(result)}")
            result, self.aux = result
        made: list[Any] = []
        self.result = take_apart(result, is_value, made)
        self.outputs = [y if isinstance(y, Tensor) else _constant(y) for y in made]
        if not self.outputs:
            raise TypeError(f"{name}: expected func to return a Tensor or a nest of them, got {_kind(result)}")
        self.targets = [x._node for x in self.inputs]
        self.outside = self._reaches_outside()
        self.value = restore(self.result, iter([self._released(y) for y in self.outputs]))
        if has_aux:
            others: list[Any] = []
            form = take_apart(self.aux, is_value, others)
            self.aux = restore(form, iter([self._released(y) if isinstance(y, Tensor) else y for y in others]))

    def _reaches_outside(self) -> bool:
        """True when the results were computed from a tensor outside that requires grad."""
        seen: set[Any] = set()
        stack = [y._node for y in self.outputs if y._node is not None]
        while stack:
            n = stack.pop()
            if n in seen:
                continue
            if n.serial < self.since:
                return True
            seen.add(n)
            stack += [e for e in n.edges if e is not None]
        return False

    def _released(self, y: Tensor) -> Tensor:
        """A result as the caller gets it: of its history, what lies outside."""
        return y if self.outside and recording() else new_tensor(y._array, y._backend)

    def record(self, given: Sequence[Any] = ()) -> bool:
        """True when a walk from `given` must be recorded."""
        return recording() and (self.outside or any(isinstance(g, Tensor) and g._node is not None for g in given))

    def _depends(self, y: Tensor) -> bool:
        return y._node is not None and y._node.serial > self.since

    def pull(self, cotangents: Sequence[Any], *, free: bool = False) -> list[Tensor]:
        """The cotangents of all inputs, zeros where nothing flows; None among `cotangents` stands for zeros.

        With `free` the graph is dropped as the walk passes it, unless something outside may need it.
        """
        record = self.record(cotangents)
        with using_mode(grad=record):
            pairs = enumerate(zip(self.outputs, cotangents, strict=True))
            seeds = merged(
                (y._node, seed(y, g, i, record)) for i, (y, g) in pairs if g is not None and self._depends(y)
            )
            retain = not free or self.outside
            found = reverse(seeds, dict.fromkeys(self.targets), retain=retain, record=record, since=self.since)
            return [self._tensor(found.get(x._node), x, record) for x in self.inputs]

    def push(self, tangents: Sequence[Any], strict: bool = False) -> list[Tensor]:
        """The tangents of all outputs; None among `tangents` stands for zeros.

        Raises RuntimeError for a tangent of another shape than its input; with `strict`, for an output without a tangent.
        """
        record = self.record(tangents)
        with using_mode(grad=record):
            pairs = zip(self.inputs, tangents, strict=True)
            known = {x._node: self._tangent(x, t, i, record) for i, (x, t) in enumerate(pairs) if t is not None}
            roots = [y._node for y in self.outputs if self._depends(y)]
            found = forward(roots, known, record=record, since=self.since)
            for i, y in enumerate(self.outputs):
                if strict and y._node not in found:
                    raise RuntimeError(
                        f"{self.name}: output {i} is independent of the primals, which strict=True forbids"
                    )
            return [self._tensor(found.get(y._node), y, record) for y in self.outputs]

    def _tangent(self, x: Tensor, t: Any, i: int, record: bool) -> Any:
        t = t if isinstance(t, Tensor) else x._backend.tensors.asarray(t, dtype=x.dtype, device=x.device)
        if t.shape != x.shape:
            raise RuntimeError(f"{self.name}: tangent {i} has shape {t.shape}, its input has shape {x.shape}")
        if t._backend is not x._backend:
            raise RuntimeError(f"{self.name}: tangent {i} is on backend {t.backend!r}, its input on {x.backend!r}")
        if t.dtype is not x.dtype:
            t = x._backend.tensors.astype(t, x.dtype)
        return t if record else t._array

    @staticmethod
    def _tensor(g: Any, like: Tensor, record: bool) -> Tensor:
        if g is None:
            return new_tensor(like._backend.xp.zeros_like(like._array), like._backend)
        return g if record else new_tensor(g, like._backend)

    def inputs_of(self, value: Any, what: str) -> list[Any]:
        """The leaves of a nest that is built like the tuple of differentiated arguments."""
        leaves: list[Any] = []
        match(self.form, value, what, leaves)
        return leaves

    def outputs_of(self, value: Any, what: str) -> list[Any]:
        """The leaves of a nest that is built like the result."""
        leaves: list[Any] = []
        match(self.result, value, what, leaves)
        return leaves

    def like_inputs(self, leaves: Sequence[Any]) -> Any:
        """A tuple built like the differentiated arguments."""
        return fill(self.form, iter(leaves))

    def like_outputs(self, leaves: Sequence[Any]) -> Any:
        """A nest built like the result."""
        return fill(self.result, iter(leaves))

    def scalar(self) -> Tensor:
        """The only output, which must be a 0-d tensor. Raises RuntimeError otherwise."""
        if self.result is not LEAF or self.outputs[0].ndim:
            shown = f"shape {self.outputs[0].shape}" if self.result is LEAF else f"a {self.result[0]}"
            raise RuntimeError(
                f"{self.name}: expected func to return a scalar Tensor, got {shown}; reduce it first, for example with sum(), "
                "or use vjp or jacrev"
            )
        return self.outputs[0]


def _kind(value: Any) -> str:
    return f"{value.dtype} Tensor" if isinstance(value, Tensor) else type(value).__name__


def _constant(value: Any) -> Tensor:
    home = backend_of(value)
    backend = get_backend() if home is None else home
    return backend.tensors.asarray(value)


def _variable(x: Any) -> Tensor:
    """A tensor that a walk may end at: a copy of `x`, joined to its history."""
    if not isinstance(x, Tensor):
        x = _constant(x)
    n = object.__new__(Node)
    n.op, n.edges, n.params, n.backend, n.extra = declared.op("clone"), (x._node,), {}, x._backend, None
    n.kept, n.y, n.shapes, n.shape, n.dtype = (), None, None, x.shape, x._array.dtype
    n.serial = next_serial()
    return new_tensor(x._array, x._backend, n)


def lifted(value: Any) -> Any:
    """A nest with tensors in place of raw arrays: an array on the left of an operator might not leave the operator to a tensor."""
    arrays: list[Any] = []
    form = take_apart(value, lambda v: not isinstance(v, Tensor) and backend_of(v) is not None, arrays)
    if all(isinstance(a, Tensor) for a in arrays):  # a Module's parameters, if any
        return value
    return restore(form, iter([a if isinstance(a, Tensor) else _constant(a) for a in arrays]))


def arguments(name: str, argnums: Any, args: Sequence[Any]) -> tuple[int, ...]:
    """The positions that `argnums` names, counted from the front.

    Raises:
        TypeError: it is neither an int nor a tuple of ints.
        ValueError: a position that there is not, or one that is named twice.
    """
    listed = (argnums,) if isinstance(argnums, int) else argnums
    if not isinstance(listed, tuple | list) or not listed or not all(isinstance(i, int) for i in listed):
        raise TypeError(f"{name}: argnums must be an int or a tuple of ints, got {argnums!r}")
    for i in listed:
        if not -len(args) <= i < len(args):
            raise ValueError(f"{name}: got argnums={argnums}, but only {len(args)} positional arguments")
    places = tuple(i % len(args) for i in listed)
    if len(set(places)) != len(places):
        raise ValueError(f"{name}: argnums must be unique, got {argnums}")
    return places
