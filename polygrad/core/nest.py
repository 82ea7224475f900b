"""Containers that are taken apart and put together again: what a function may take and return its tensors in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["CONTAINERS", "kind_of"]


class Parts:
    """How a kind of container is taken apart and put together."""

    def __init__(self, take: Callable[[Any], tuple[Any, list[Any]]], make: Callable[[Any, list[Any]], Any]):
        self.take, self.make = take, make


def _fields(x: Any) -> list[str]:
    """The names of a dataclass' fields (whoever made one has loaded the module; polygrad alone does without)."""
    import dataclasses

    return [field.name for field in dataclasses.fields(x)]


def _remake(kind: Any, parts: list[Any]) -> Any:
    """A dataclass with these values in its fields."""
    made = object.__new__(kind)
    for name, part in zip(_fields(kind), parts, strict=True):
        object.__setattr__(made, name, part)
    return made


def _order(mapping: dict[Any, Any]) -> tuple[Any, list[Any]]:
    return tuple(mapping), list(mapping.values())


CONTAINERS: dict[str, Parts] = {
    "list": Parts(lambda x: (None, x), lambda form, parts: list(parts)),
    "tuple": Parts(lambda x: (None, list(x)), lambda form, parts: tuple(parts)),
    "named": Parts(lambda x: (type(x), list(x)), lambda form, parts: form(*parts)),
    "dict": Parts(_order, lambda form, parts: dict(zip(form, parts, strict=True))),
    "slice": Parts(lambda x: (None, [x.start, x.stop, x.step]), lambda form, parts: slice(*parts)),
    "dataclass": Parts(lambda x: (type(x), [getattr(x, name) for name in _fields(x)]), _remake),
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
    if hasattr(t, "__dataclass_fields__"):
        return "dataclass"
    return None
