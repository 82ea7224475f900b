"""Nests of tensors: what a captured function takes and returns.

A nest is a tensor, a number, or a list, tuple, named tuple, dict, slice or dataclass of nests; anything else is a constant. `flatten`
gives the leaves of a nest and its form, which is hashable and tells all that a capture depends on but the leaves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from polygrad.core import DType, Tensor, backend_of
from polygrad.jit.numbers import TracedNumber

__all__ = ["Same", "constants", "flatten", "rebuild", "signature"]

TENSOR, ARRAY, NUMBER = "tensor", "array", "number"
PLAIN = frozenset({bool, str, bytes, type(None), DType})


class Same:
    """An object as a key: equal to itself only."""

    __slots__ = ("value",)

    def __init__(self, value: Any):
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.value is other.value


class Parts:
    """How a kind of container is taken apart and put together."""

    def __init__(self, take: Callable[[Any], tuple[Any, list[Any]]], make: Callable[[Any, list[Any]], Any]):
        self.take, self.make = take, make


def _remake(kind: Any, parts: list[Any]) -> Any:
    """A dataclass with these values in its fields."""
    made = object.__new__(kind)
    for field, part in zip(dataclasses.fields(kind), parts, strict=True):
        object.__setattr__(made, field.name, part)
    return made


def _order(mapping: dict[Any, Any]) -> tuple[Any, list[Any]]:
    return tuple(mapping), list(mapping.values())


CONTAINERS: dict[str, Parts] = {
    "list": Parts(lambda x: (None, x), lambda form, parts: list(parts)),
    "tuple": Parts(lambda x: (None, list(x)), lambda form, parts: tuple(parts)),
    "named": Parts(lambda x: (type(x), list(x)), lambda form, parts: form(*parts)),
    "dict": Parts(_order, lambda form, parts: dict(zip(form, parts, strict=True))),
    "slice": Parts(lambda x: (None, [x.start, x.stop, x.step]), lambda form, parts: slice(*parts)),
    "dataclass": Parts(lambda x: (type(x), [getattr(x, f.name) for f in dataclasses.fields(x)]), _remake),
}


def kind_of(value: Any) -> str | None:
    """The key of `CONTAINERS` for a container, None for everything else."""
    t = type(value)
    if t is list or t is tuple or t is dict or t is slice:
        return str(t.__name__)
    if isinstance(value, tuple):
        return "named" if hasattr(t, "_fields") else None
    if isinstance(value, dict) and t.__module__ == "collections":
        return "dict"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return "dataclass"
    return None


def flatten(value: Any, leaves: list[Any]) -> Any:
    """The form of a nest; its tensors, arrays and numbers are appended to `leaves`."""
    if isinstance(value, Tensor):
        leaves.append(value)
        return TENSOR
    t = type(value)
    if t is int or t is float or t is TracedNumber:
        leaves.append(value)
        return NUMBER, value.kind if t is TracedNumber else t
    if t in PLAIN:
        return "constant", t, value
    kind = kind_of(value)
    if kind is not None:
        form, parts = CONTAINERS[kind].take(value)
        return kind, form, tuple([flatten(part, leaves) for part in parts])
    if backend_of(value) is not None:
        leaves.append(value)
        return ARRAY
    try:
        hash(value)
    except TypeError:
        return "constant", t, Same(value)
    return "constant", t, value


def rebuild(form: Any, leaves: Iterator[Any]) -> Any:
    """The nest of a form with these leaves."""
    if form is TENSOR or form is ARRAY:
        return next(leaves)
    kind, what, rest = form if len(form) == 3 else (*form, None)
    if kind is NUMBER:
        return next(leaves)
    if kind in CONTAINERS:
        return CONTAINERS[kind].make(what, [rebuild(part, leaves) for part in rest])
    return rest.value if type(rest) is Same else rest


def constants(form: Any) -> Iterator[Any]:
    """The objects in a form that are no leaves: what a function gets as constants."""
    if isinstance(form, tuple) and len(form) == 3:
        kind, _, rest = form
        if kind in CONTAINERS:
            for part in rest:
                yield from constants(part)
        elif kind == "constant" and type(rest) not in PLAIN:
            yield rest.value if type(rest) is Same else rest


def signature(leaf: Any) -> Any:
    """What of a leaf a capture depends on."""
    if isinstance(leaf, Tensor):
        array, node = leaf._array, leaf._node
        return array.shape, array.dtype, leaf._backend, None if node is None else type(node), type(leaf)
    return None if isinstance(leaf, int | float | TracedNumber) else (tuple(leaf.shape), str(leaf.dtype), type(leaf))
