"""Hooks of a Module: around its call, and around its part of backward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from polygrad.autograd.modes import is_grad_enabled
from polygrad.core import Tensor, new_tensor
from polygrad.ops.layers import watched

__all__ = ["call_hooked"]


def call_hooked(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What `module(*args, **kwargs)` gives, with all its hooks."""
    for hook, with_kwargs in list(module._forward_pre_hooks.values()):
        if with_kwargs:
            replaced = hook(module, args, kwargs)
            if replaced is not None:
                if not (isinstance(replaced, tuple) and len(replaced) == 2):
                    raise RuntimeError(
                        f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {replaced}."
                    )
                args, kwargs = replaced
        else:
            replaced = hook(module, args)
            if replaced is not None:
                args = replaced if isinstance(replaced, tuple) else (replaced,)
    backward = _Backward(module) if module._backward_hooks or module._backward_pre_hooks else None
    called = set()
    result = None
    try:
        result = module.forward(*(args if backward is None else backward.inputs(args)), **kwargs)
        for key, (hook, with_kwargs, _) in list(module._forward_hooks.items()):
            called.add(key)
            replaced = hook(module, args, kwargs, result) if with_kwargs else hook(module, args, result)
            if replaced is not None:
                result = replaced
    except Exception:
        for key, (hook, with_kwargs, always) in list(module._forward_hooks.items()):
            if always and key not in called:
                hook(module, args, kwargs, result) if with_kwargs else hook(module, args, result)
        raise
    return result if backward is None else backward.outputs(result)


class _Backward:
    """One call's way back: the gradients of the outputs come first, those of the inputs last."""

    def __init__(self, module: Any):
        self.module = module
        self.before: list[Callable[..., Any]] = list(module._backward_pre_hooks.values())
        self.after: list[Callable[..., Any]] = list(module._backward_hooks.values())
        self.watched_inputs: list[int] = []
        self.count = 0
        self.came: tuple[Tensor | None, ...] | None = None

    def inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments, those that require grad watched."""
        self.count = len(args)
        found, self.watched_inputs = _watch(args, self._input_gradients) if self.after else (args, [])
        return found

    def outputs(self, result: Any) -> Any:
        """The result, watched where it requires grad. Raises TypeError for anything but tensors and sequences of them."""
        several = isinstance(result, tuple | list)
        if not several and not isinstance(result, Tensor):
            raise TypeError(
                f"for backward hooks, the output of a Module must be a tensor or a tuple of tensors, but got {type(result).__name__}"
            )
        parts = tuple(result) if several else (result,)
        total = len(parts)
        found, places = _watch(parts, lambda g: self._output_gradients(g, places, total))
        if not several:
            return found[0]
        return type(result)(*found) if hasattr(result, "_fields") else type(result)(found)

    def _output_gradients(self, g: list[Tensor], places: list[int], total: int) -> list[Tensor]:
        came = _spread(g, places, total)
        for hook in self.before:
            came = _replaced(hook(self.module, came), came, "pre-")
        self.came = came
        if not self.watched_inputs:
            for hook in self.after:
                if hook(self.module, (None,) * self.count, came) is not None:
                    raise RuntimeError("a backward hook replaced the gradients of inputs that require none")
        return [x for i in places if (x := came[i]) is not None]

    def _input_gradients(self, g: list[Tensor]) -> list[Tensor]:
        if self.came is None:  # a second derivative comes to the inputs by another way than the outputs
            return g
        going = _spread(g, self.watched_inputs, self.count)
        for hook in self.after:
            going = _replaced(hook(self.module, going, self.came), going, "")
        self.came = None
        return [x for i in self.watched_inputs if (x := going[i]) is not None]


def _spread(g: Sequence[Tensor], places: list[int], total: int) -> tuple[Tensor | None, ...]:
    """One entry for each input or output, None for those without a gradient."""
    found: list[Tensor | None] = [None] * total
    for i, x in zip(places, g, strict=True):
        found[i] = x
    return tuple(found)


def _replaced(new: Any, old: tuple[Any, ...], kind: str) -> tuple[Any, ...]:
    """What a hook gave, or what it was given. Raises RuntimeError for another number of gradients."""
    if new is None:
        return old
    given = new if isinstance(new, tuple) else (new,)
    if len(given) != len(old) or any((a is None) != (b is None) for a, b in zip(given, old, strict=True)):
        raise RuntimeError(
            f"a backward {kind}hook returned gradients for {len(given)} tensors, expected {len(old)} like its own"
        )
    return given


def _watch(values: tuple[Any, ...], seen: Callable[[list[Tensor]], list[Tensor]]) -> tuple[tuple[Any, ...], list[int]]:
    """Values with those that require grad sent through one node, which shows their gradients to `seen`; and their places."""
    places = [i for i, x in enumerate(values) if isinstance(x, Tensor) and x.requires_grad and is_grad_enabled()]
    if not places:
        return values, []
    backend = values[places[0]]._backend

    def pull(g: Sequence[Any]) -> list[Any]:
        if isinstance(g[0], Tensor):
            return seen(list(g))
        return [x._array for x in seen([new_tensor(a, backend) for a in g])]

    found = list(values)
    for i, x in zip(places, watched([values[i] for i in places], on_pull=pull), strict=True):
        found[i] = x
    return tuple(found), places
