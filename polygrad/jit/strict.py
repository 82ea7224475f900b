"""What a compiler would refuse, refused where there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from polygrad.core import Tensor, as_dtype
from polygrad.core.tensor import Observer, using_mode
from polygrad.jit.environment import Environment, unchanged_in_bulk
from polygrad.jit.errors import WAY_OUT, TraceError, user_line
from polygrad.jit.slots import Fixed, Slot, refuse_hooks

__all__ = ["refuse_iterators", "reset", "strictly"]

# The standard's functions whose result's shape depends on values.
SHAPED_BY_VALUES = {"nonzero", "unique_all", "unique_counts", "unique_inverse", "unique_values"}


class Refusing(Observer):
    """Refuses what has no meaning on stand-ins."""

    __slots__ = ()
    values = False

    def enter(self, op: Any, operands: Any, params: Any) -> tuple[Any, Any]:
        """Refuse results whose shape depends on values."""
        key = params.get("key") if op.name == "getitem" else None
        keys = key if isinstance(key, tuple) else (key,)
        masked = any(hasattr(k, "dtype") and as_dtype(k.dtype).category == "bool" for k in keys)
        if op.name in SHAPED_BY_VALUES or masked:
            what = "indexing with a mask" if masked else op.name
            raise TraceError(f"the shape of the result of {what} depends on values, at {user_line()}. {WAY_OUT}")
        return operands, params

    def leave(self, x: Tensor, what: str) -> None:
        """Refuse to turn a tensor into something else."""
        raise TraceError(f"{what} of a traced tensor of shape {x.shape}, at {user_line()}. {WAY_OUT}")


def refuse_iterators(environment: Environment) -> None:
    """Raise TraceError where a function can name an iterator: it would be advanced once, when the program is made."""
    if environment.iterators:
        raise TraceError(
            f"the function uses the iterator {environment.iterators[0]}, which would be advanced only when a program is made. "
            "Call next() outside, and pass what it gives as an argument"
        )


def strictly(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a function; what a compiler would refuse raises TraceError, and any error leaves everything as it was."""
    name = getattr(function, "__qualname__", type(function).__name__)
    environment = Environment([(function, name), (list(args), "the arguments"), (dict(kwargs), "the arguments")])
    refuse_iterators(environment)
    slots = [Slot(Fixed(x), x, path) for x, path in environment.tensors.values()]
    for slot in slots:
        slot.save()
    try:
        with using_mode(observer=Refusing()):
            result = function(*args, **kwargs)
        for container, before, path in environment.containers:
            refuse_growth(container, before, path)
        refuse_changes(environment.bulk)
        refuse_hooks(slots)
        return result
    except BaseException:
        reset(environment)
        for slot in slots:
            slot.restore()
        raise


def refuse_growth(container: Any, before: Any, path: str) -> None:
    """Raise TraceError for a list, set or deque that has another length (or other members) than before."""
    if isinstance(container, dict):
        return
    if len(container) != len(before) or (isinstance(container, set | frozenset) and container != before):
        raise TraceError(
            f"the function changes the {type(container).__name__} {path}, which would happen once when it is compiled and not in "
            "each call. Return the value, and append it outside"
        )


def refuse_changes(bulk: list[tuple[Any, list[Any], str]]) -> None:
    """Raise TraceError for a large container of plain values, which is compared as a whole, that has changed."""
    for container, before, path in bulk:
        if not unchanged_in_bulk(container, before):
            raise TraceError(
                f"the function changes items of {path}, of which there are {len(before)}. Keep them in a tensor, or change them outside"
            )


def reset(environment: Environment) -> None:
    """Give every place and container that was met its old content."""
    for container, before, _ in [*environment.containers, *environment.objects]:
        _refill(container, before)
    for place in environment.places:
        if place.writable and place.get() is not place.value:
            place.set(place.value)


def _refill(container: Any, before: Any) -> None:
    if isinstance(container, dict):
        if len(container) != len(before) or any(container.get(k, before) is not v for k, v in before.items()):
            container.clear()
            container.update(before)
    elif isinstance(container, set):
        if container != before:
            container.clear()
            container.update(before)
    elif not isinstance(container, frozenset):
        if len(container) != len(before) or any(a is not b for a, b in zip(container, before, strict=True)):
            container.clear()
            container.extend(before)
