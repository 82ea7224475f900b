"""Nests of tensors: what a captured function takes and returns.

A nest is a tensor, a number, or a list, tuple, named tuple, dict, slice or dataclass of nests; anything else is a constant. `flatten`
gives the leaves of a nest and its form, which is hashable and tells all that a capture depends on but the leaves.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from polygrad.core import DType, Tensor, backend_of
from polygrad.core.nest import CONTAINERS, kind_of
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
