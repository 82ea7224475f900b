"""`Function`: PyTorch's way to write an operation with its own derivative."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

from polygrad.autograd.custom import derived_push, wrap
from polygrad.core import Tensor, new_tensor
from polygrad.core.custom import Whole, attach
from polygrad.core.engine import FREED
from polygrad.core.inplace import recording
from polygrad.core.tensor import Leaf, Pick, current_mode, using_mode
from polygrad.core.watch import Packed

__all__ = ["Function", "FunctionCtx", "once_differentiable"]


class Saved(NamedTuple):
    """A tensor that `save_for_backward` keeps: its value (or what a hook packed), and its history."""

    value: Any
    backend: Any
    vertex: Any  # of an input
    output: int  # of a result, which cannot hold its own history; -1 for others


class FunctionCtx:
    """What `forward` leaves for `backward` and `jvp`; anything may be put on it as an attribute.

    Attributes:
        needs_input_grad: for each argument, whether its gradient is asked for.
    """

    needs_input_grad: tuple[bool, ...] = ()

    def __init__(self) -> None:
        self._to_save: tuple[Any, ...] = ()
        self._dirty: tuple[Any, ...] = ()
        self._fixed: tuple[Any, ...] = ()
        self._materialize = True
        self._node: Any = None

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors (inputs, outputs or others; or None) until backward has passed.

        Raises TypeError for anything else; put other things on ctx as attributes.
        """
        for x in tensors:
            if x is not None and not isinstance(x, Tensor):
                raise TypeError(f"save_for_backward can only save tensors, but got {type(x).__name__}")
        self._to_save = tensors

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for `jvp`, as `save_for_backward` does; both may be called with the same tensors."""
        self.save_for_backward(*tensors)

    def mark_dirty(self, *args: Tensor) -> None:
        """Say which inputs `forward` has changed in place; it must return them."""
        self._dirty = args

    def mark_non_differentiable(self, *args: Tensor) -> None:
        """Say which outputs have no derivative."""
        self._fixed = args

    def set_materialize_grads(self, value: bool) -> None:
        """Whether `backward` and `jvp` get zeros (the default) or None where there is no gradient."""
        self._materialize = value

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What was saved, with its history. Raises RuntimeError after backward has freed it."""
        node = None if self._node is None else self._node()
        if node is None:
            return self._to_save
        if node.kept is FREED:
            raise RuntimeError(
                "Trying to backward through the graph a second time (or directly access saved tensors after they have already "
                "been freed). Specify retain_graph=True if you need to backward through the graph a second time."
            )
        return tuple([None if s is None else _opened(s, node) for s in node.kept])


def _opened(saved: Saved, node: Any) -> Tensor:
    array = saved.value.open(node) if type(saved.value) is Packed else saved.value
    vertex = saved.vertex if saved.output < 0 else Pick(node, saved.output, array)
    return new_tensor(array, saved.backend, vertex)


class Function:
    """Base class of operations with their own derivative: define `forward` and `backward` as static methods, call `apply`.

    `forward(ctx, *args)` computes on plain tensors, or `forward(*args)` with `setup_context(ctx, inputs, output)` beside it.
    `backward(ctx, *grads)` gives a gradient for each argument of forward, None for those that have none; what it computes is
    recorded where its own derivative is asked for. `jvp(ctx, *tangents)` gives the tangent of each output; without it forward
    mode is derived from `backward`.
    """

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """The operation itself."""
        raise NotImplementedError("a Function needs a static method forward(ctx, *args)")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        """Save what backward needs, where `forward` takes no ctx."""
        raise NotImplementedError("setup_context is not defined")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """The gradients of the arguments from those of the outputs."""
        raise NotImplementedError("to differentiate it, a Function needs a static method backward(ctx, *grad_outputs)")

    vjp = backward

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        """The tangents of the outputs from those of the arguments."""
        raise NotImplementedError("jvp is not defined")

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run `forward` and record it with its derivative."""
        split = cls.setup_context is not Function.setup_context
        if split or kwargs:
            bound = inspect.signature(cls.forward).bind(*(args if split else (None, *args)), **kwargs)
            bound.apply_defaults()
            args = bound.args if split else bound.args[1:]
        ctx = FunctionCtx()
        record = recording()
        edges = [a._node if isinstance(a, Tensor) and record else None for a in args]
        ctx.needs_input_grad = tuple([e is not None for e in edges])
        with using_mode(grad=False):
            output = cls.forward(*args) if split else cls.forward(ctx, *args)
            if split:
                cls.setup_context(ctx, args, output)
        if not any(ctx.needs_input_grad):
            return output
        several = isinstance(output, tuple | list)
        call = Call(cls, ctx, args, edges, list(output) if several else [output])
        results = call.record()
        return tuple(results) if several else results[0]


class Call:
    """One recorded call of a Function: from its results and their cotangents to what the static methods take and give."""

    def __init__(self, function: type[Function], ctx: FunctionCtx, args: Any, edges: list[Any], outputs: list[Any]):
        self.function, self.ctx, self.edges = function, ctx, edges
        self.inputs = args
        self.outputs = outputs
        self.places = [i for i, y in enumerate(outputs) if isinstance(y, Tensor)]
        if not self.places:
            raise TypeError(
                f"{function.__name__}.forward must return a Tensor or a tuple with some, got {type(outputs[0]).__name__}"
            )

    def record(self) -> list[Any]:
        """The results with their history."""
        ctx, outputs = self.ctx, self.outputs
        tensors = [outputs[i] for i in self.places]
        for x in ctx._dirty:
            if type(x._node) is Leaf:
                raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
        saved = [self._saved(x) for x in ctx._to_save]
        ctx._to_save = ()
        self.kinds = [(y.shape, y._array.dtype, y._backend, y.device) for y in tensors]
        fixed = {id(y) for y in ctx._fixed}
        name = self.function.__name__
        materialize = ctx._materialize
        vertices = wrap(name, self.edges, tensors, self.pull, self.push, materialize=False, kept=tuple(saved))
        results = list(outputs)
        node = next((v.edges[0] for v in vertices if v is not None), None)
        if node is None:
            return results
        ctx._node, self.materialize = weakref.ref(node), materialize
        dirty = {id(x) for x in ctx._dirty}
        for i, y, vertex in zip(self.places, tensors, vertices, strict=True):
            vertex = None if id(y) in fixed else vertex
            if id(y) in dirty:
                y._node = vertex
            else:
                results[i] = new_tensor(y._array, y._backend, vertex)
        self.has_tangent = [v is not None and id(y) not in fixed for y, v in zip(tensors, vertices, strict=True)]
        del self.inputs, self.outputs
        ctx._dirty = ctx._fixed = ()
        return results

    def _saved(self, x: Tensor | None) -> Saved | None:
        if x is None:
            return None
        vertex = next((e for a, e in zip(self.inputs, self.edges, strict=True) if a is x), None)
        output = next((k for k, i in enumerate(self.places) if self.outputs[i] is x), -1)
        if vertex is not None and not any(x is d for d in self.ctx._dirty):
            output = -1
        mode = current_mode()
        value = x._array
        if mode is not None and mode.pack is not None:
            with using_mode(grad=False, pack=None, unpack=None):
                value = Packed(mode.pack(new_tensor(value, x._backend, vertex)), mode.unpack)
        return Saved(value, x._backend, vertex, output)

    def pull(self, g: list[Any], node: Any, record: bool) -> list[Any]:
        """The cotangents of the arguments."""
        if self.materialize:
            g = [self._zeros(k) if p is None else p for p, k in zip(g, self.kinds, strict=True)]
        given: list[Any] = [None] * (self.places[-1] + 1)
        for i, p in zip(self.places, g, strict=True):
            given[i] = p
        rule = self.function.backward if self.function.backward is not Function.backward else self.function.vjp
        return _listed(rule(self.ctx, *given), f"{self.function.__name__}.backward")

    def push(self, t: list[Any], node: Any, record: bool) -> list[Any]:
        """The tangents of the results."""
        if self.function.jvp is Function.jvp:
            likes = [
                node.backend.xp.zeros(k[0], dtype=k[1]) if has else None
                for k, has in zip(self.kinds, self.has_tangent, strict=True)
            ]
            return derived_push(self.pull, t, likes, node, record)
        if self.materialize:
            t = [
                new_tensor(e.backend.xp.zeros(e.shape, dtype=e.dtype), e.backend) if p is None and e is not None else p
                for p, e in zip(t, self.edges, strict=True)
            ]
        made = _listed(self.function.jvp(self.ctx, *t), f"{self.function.__name__}.jvp")
        return [made[i] for i in self.places]

    @staticmethod
    def _zeros(kind: Any) -> Tensor:
        shape, dtype, backend, device = kind
        return new_tensor(backend.xp.zeros(shape, dtype=dtype, device=device), backend)


def _listed(value: Any, what: str) -> list[Any]:
    listed = list(value) if isinstance(value, tuple | list) else [value]
    for i, x in enumerate(listed):
        if x is not None and not isinstance(x, Tensor):
            raise TypeError(f"{what} must return Tensors or None, got {type(x).__name__} at index {i}")
    return listed


def once_differentiable(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a `backward` that must not be differentiated itself: doing so raises RuntimeError instead of giving zeros."""

    @wraps(fn)
    def wrapped(ctx: Any, *grads: Any) -> Any:
        with using_mode(grad=False):
            outputs = fn(ctx, *grads)
        if not recording():
            return outputs
        edges = [g._node for g in grads if isinstance(g, Tensor) and g._node is not None]
        edges += [e for e in ctx._node().edges if e is not None]
        several = isinstance(outputs, tuple | list)
        made = [_end(y, edges) if isinstance(y, Tensor) else y for y in (outputs if several else [outputs])]
        return tuple(made) if several else made[0]

    return wrapped


def _refuse(xp: Any, g: Any, node: Any) -> list[Any]:
    raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")


ONCE = Whole("once_differentiable", "DelayedErrorBackward", _refuse, _refuse)


def _end(y: Tensor, edges: list[Any]) -> Tensor:
    return new_tensor(y._array, y._backend, attach(ONCE, edges, [y._array], y._backend, {})[0])
