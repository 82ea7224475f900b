"""`custom_vjp` and `custom_jvp`: JAX's two ways to give a function a derivative of one's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import update_wrapper
from typing import Any

from polygrad.autograd.custom import derived_push, transposed, wrap
from polygrad.autograd.nest import fill, inexact, is_value, match, restore, take_apart
from polygrad.core import Tensor, new_tensor
from polygrad.core.inplace import recording
from polygrad.core.tensor import Leaf, using_mode

__all__ = ["custom_jvp", "custom_vjp"]


class _Custom:
    """A function of nests whose derivative is another function."""

    what = ""

    def __init__(self, fun: Callable[..., Any], nondiff_argnums: int | Sequence[int] = ()):
        self.fun = fun
        self.fixed = (nondiff_argnums,) if isinstance(nondiff_argnums, int) else tuple(nondiff_argnums)
        self.signature = inspect.signature(fun)
        update_wrapper(self, fun)

    def _defined(self) -> bool:
        raise NotImplementedError

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        if bound.kwargs:
            raise TypeError(
                f"{self.what} takes functions of positional arguments, {self.__name__} has keyword-only ones"
            )
        if not self._defined():
            raise RuntimeError(f"no derivative is defined for {self.__name__}; see {self.what}")
        call = _Call(self, bound.args)
        if not recording() or not any(e is not None for e in call.edges):
            return self.fun(*bound.args)
        return self._record(call)

    def _record(self, call: _Call) -> Any:
        raise NotImplementedError

    __name__: str


class _Call:
    """One call: its arguments as they were, taken apart."""

    def __init__(self, custom: _Custom, args: tuple[Any, ...]):
        self.custom = custom
        self.free = [i for i in range(len(args)) if i not in custom.fixed]
        self.args = list(args)
        leaves: list[Any] = []
        self.form = take_apart(tuple(args[i] for i in self.free), inexact, leaves)
        # a box may get another value before backward; the call remembers this one
        self.leaves = [new_tensor(x._array, x._backend, x._node) if isinstance(x, Tensor) else x for x in leaves]
        self.edges = [x._node if isinstance(x, Tensor) else None for x in leaves]

    def fixed(self) -> list[Any]:
        """The arguments that are not differentiated."""
        return [self.args[i] for i in self.custom.fixed]

    def primals(self, record: bool = True) -> tuple[Any, ...]:
        """The others, with their history if `record`."""
        return restore(
            self.form, iter([x.detach() if isinstance(x, Tensor) and not record else x for x in self.leaves])
        )

    def given(self) -> list[Any]:
        """All arguments, in their places."""
        args = list(self.args)
        for i, a in zip(self.free, self.primals(), strict=True):
            args[i] = a
        return args

    def finish(self, value: Any, pull: Any, push: Any, kept: Any = ()) -> Any:
        """The value with a history of these derivatives."""
        made: list[Any] = []
        self.result = take_apart(value, is_value, made)
        outputs = [y if isinstance(y, Tensor) else None for y in made]
        tensors = [y for y in outputs if y is not None]
        if not tensors:
            raise TypeError(
                f"{self.custom.__name__} must return a Tensor or a nest of them, got {type(value).__name__}"
            )
        self.kinds = [(y.shape, y._array.dtype, y._backend) for y in tensors]
        self.wide = [y is not None for y in outputs]
        vertices = wrap(self.custom.__name__, self.edges, tensors, pull, push, kept=kept)
        self.inexact = [v is not None for v in vertices]
        found = iter([new_tensor(y._array, y._backend, v) for y, v in zip(tensors, vertices, strict=True)])
        return restore(self.result, iter([x if y is None else next(found) for x, y in zip(made, outputs, strict=True)]))

    def cotangents(self, g: list[Any]) -> Any:
        """Cotangents built like the result."""
        parts = iter(g)
        return fill(self.result, iter([next(parts) if wide else None for wide in self.wide]))

    def likes(self) -> list[Any]:
        """Raw arrays of the shapes of the outputs, None for integer ones."""
        return [
            backend.xp.zeros(shape, dtype=dtype) if use else None
            for (shape, dtype, backend), use in zip(self.kinds, self.inexact, strict=True)
        ]

    def tangents(self, t: Sequence[Any]) -> Any:
        """Tangents built like the differentiated arguments, zeros where there is none."""
        return fill(self.form, iter([_zeros(x) if p is None else p for p, x in zip(t, self.leaves, strict=True)]))

    def outputs_of(self, value: Any, what: str) -> list[Any]:
        """The leaves of a nest built like the result."""
        leaves: list[Any] = []
        match(self.result, value, what, leaves)
        return [_tensor(x) for x, wide in zip(leaves, self.wide, strict=True) if wide]

    def inputs_of(self, value: Any, what: str) -> list[Any]:
        """The leaves of a nest built like the differentiated arguments, which may be given alone if there is one."""
        leaves: list[Any] = []
        match(self.form, tuple(value) if isinstance(value, tuple | list) else (value,), what, leaves)
        return [_tensor(x) for x in leaves]


def _zeros(x: Any) -> Any:
    return new_tensor(x._backend.xp.zeros_like(x._array), x._backend) if isinstance(x, Tensor) else type(x)(0)


def _tensor(x: Any) -> Any:
    return None if not isinstance(x, Tensor) else x


class custom_vjp(_Custom):
    """Decorate a function whose derivative in reverse mode is given: JAX's `custom_vjp`.

    `f.defvjp(fwd, bwd)`: `fwd(*args)` gives `(output, residuals)`, `bwd(*nondiff, residuals, cotangents)` a tuple with a cotangent
    (or None) for each differentiated argument. Where the derivative is differentiated again, `fwd` runs once more, recorded, so
    residuals may be computed from the arguments. Tensors that the function reads from outside are constants to it. Forward
    mode is derived.

    Args:
        fun: a function of nests of tensors.
        nondiff_argnums: the positions of arguments that are not differentiated, which `bwd` gets first.
    """

    what = "custom_vjp"
    fwd: Callable[..., Any] | None = None
    bwd: Callable[..., Any] | None = None

    def defvjp(self, fwd: Callable[..., Any], bwd: Callable[..., Any]) -> None:
        """Give the derivative."""
        self.fwd, self.bwd = fwd, bwd

    def _defined(self) -> bool:
        return self.fwd is not None

    def _run(self, args: Sequence[Any]) -> tuple[Any, Any]:
        assert self.fwd is not None
        made = self.fwd(*args)
        if not isinstance(made, tuple) or len(made) != 2:
            raise TypeError(f"{self.__name__}: fwd must return a pair (output, residuals), got {type(made).__name__}")
        return made

    def _record(self, call: _Call) -> Any:
        with using_mode(grad=False):
            value, residuals = self._run(call.given())

        def pull(g: list[Any], node: Any, record: bool) -> list[Any]:
            assert self.bwd is not None
            call, residuals = node.kept  # by way of the node, which lets go of them when a walk frees it
            if record:
                residuals = self._run(call.given())[1]
            made = self.bwd(*call.fixed(), residuals, call.cotangents(g))
            return call.inputs_of(made, f"{self.__name__}: the result of bwd")

        def push(t: list[Any], node: Any, record: bool) -> list[Any]:
            return derived_push(pull, t, node.kept[0].likes(), node, record)

        return call.finish(value, pull, push, kept=(call, residuals))


class custom_jvp(_Custom):
    """Decorate a function whose derivative in forward mode is given: JAX's `custom_jvp`.

    `f.defjvp(rule)`: `rule(*nondiff, primals, tangents)` gives `(output, tangent)`, where the tangent is linear in the tangents;
    reverse mode is derived by transposing it. `f.defjvps(*rules)`: one `rule(t, output, *primals)` per argument, or None.

    Args:
        fun: a function of nests of tensors.
        nondiff_argnums: the positions of arguments that are not differentiated, which the rule gets first.
    """

    what = "custom_jvp"
    rule: Callable[..., Any] | None = None

    def defjvp(self, jvp: Callable[..., Any]) -> Callable[..., Any]:
        """Give the derivative; returns it."""
        self.rule = jvp
        return jvp

    def defjvps(self, *jvps: Callable[..., Any] | None) -> None:
        """Give the derivative with respect to each argument; None for zero."""

        def rule(*args: Any) -> Any:
            *fixed, primals, tangents = args
            value = self(*primals)
            parts = [r(t, value, *primals) for r, t in zip(jvps, tangents, strict=True) if r is not None]
            total = parts[0]
            for part in parts[1:]:
                total = total + part
            return value, total

        self.rule = rule

    def _defined(self) -> bool:
        return self.rule is not None

    def _moved(self, call: _Call, tangents: Sequence[Any], record: bool) -> list[Any]:
        assert self.rule is not None
        made = self.rule(*call.fixed(), call.primals(record), call.tangents(tangents))
        if not isinstance(made, tuple) or len(made) != 2:
            raise TypeError(
                f"{self.__name__}: the rule must return a pair (output, tangent), got {type(made).__name__}"
            )
        return call.outputs_of(made[1], f"{self.__name__}: the tangent of the rule")

    def _record(self, call: _Call) -> Any:
        with using_mode(grad=False):
            value = self.fun(*call.given())

        def push(t: list[Any], node: Any, record: bool) -> list[Any]:
            return self._moved(node.kept[0], t, record)

        def pull(g: list[Any], node: Any, record: bool) -> list[Any]:
            call = node.kept[0]
            leaves = [
                None if e is None else Leaf(x._array, x._backend) for x, e in zip(call.leaves, call.edges, strict=True)
            ]
            with using_mode(grad=True, inference=False):
                given = [None if leaf is None else _zero(leaf) for leaf in leaves]
                moved = self._moved(call, given, record)
            return transposed(moved, leaves, g, record, retain=record)

        return call.finish(value, pull, push, kept=(call,))


def _zero(leaf: Leaf) -> Tensor:
    return new_tensor(leaf.backend.xp.zeros(leaf.shape, dtype=leaf.dtype), leaf.backend, leaf)
