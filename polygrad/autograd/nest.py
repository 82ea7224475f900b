"""Nests of tensors: what a function that is differentiated takes and returns.

A nest is a tensor, an array, a number, or a list, tuple, named tuple, dict, slice, dataclass or Module of nests. A Module counts
by its parameters that require grad: the function gets a copy of it with parameters of its own, and their gradients come as a dict by
name. Everything else is a constant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from polygrad.core import Tensor, backend_of
from polygrad.core.nest import CONTAINERS, kind_of

__all__ = ["LEAF", "fill", "inexact", "is_value", "match", "restore", "take_apart"]

LEAF = "leaf"
Form = Any  # LEAF, or (kind, what it takes to put it together, the forms of its parts)


def inexact(value: Any) -> bool:
    """True for what a derivative can be taken with respect to: real and complex floating-point tensors, arrays and numbers."""
    if isinstance(value, Tensor):
        return value.dtype.category in ("floating", "complex")
    if type(value) in (float, complex):
        return True
    home = backend_of(value)
    return home is not None and home.dtypes[value.dtype].category in ("floating", "complex")


def is_value(value: Any) -> bool:
    """True for tensors, arrays and numbers."""
    return isinstance(value, Tensor) or type(value) in (int, float, complex) or backend_of(value) is not None


def take_apart(value: Any, is_leaf: Callable[[Any], bool], leaves: list[Any], modules: bool = True) -> Form:
    """The form of a nest; its leaves are appended to `leaves`. Without `modules`, Modules are constants."""
    if is_leaf(value):
        leaves.append(value)
        return LEAF
    if modules and hasattr(type(value), "named_parameters"):
        found = {name: p for name, p in value.named_parameters() if p._node is not None}
        leaves.extend(found.values())
        return "module", value, tuple(found)
    kind = kind_of(value)
    if kind is None:
        return "constant", value, ()
    what, parts = CONTAINERS[kind].take(value)
    return kind, what, [take_apart(part, is_leaf, leaves, modules) for part in parts]


def restore(form: Form, leaves: Iterator[Any]) -> Any:
    """The nest of a form with other leaves; constants are the objects that they were, a Module is a copy with other parameters."""
    if form is LEAF:
        return next(leaves)
    kind, what, parts = form
    if kind == "module":
        held = dict(what.named_parameters())
        return _copied(what, {id(held[name]): next(leaves) for name in parts}, {})
    return what if kind == "constant" else CONTAINERS[kind].make(what, [restore(p, leaves) for p in parts])


def _copied(module: Any, replaced: dict[int, Any], memo: dict[int, Any]) -> Any:
    """A module with other parameters; everything else in it, its buffers too, is the same object."""
    if module is None or id(module) in memo:
        return None if module is None else memo[id(module)]
    made = memo[id(module)] = object.__new__(type(module))
    members = made.__dict__
    members.update(module.__dict__)
    members["_parameters"] = {k: replaced.get(id(p), p) for k, p in module._parameters.items()}
    members["_modules"] = {k: _copied(child, replaced, memo) for k, child in module._modules.items()}
    return made


def fill(form: Form, leaves: Iterator[Any]) -> Any:
    """A nest of a form that holds something else than its values: constants become None, a Module becomes a dict."""
    if form is LEAF:
        return next(leaves)
    kind, what, parts = form
    if kind == "module":
        return {name: next(leaves) for name in parts}
    return None if kind == "constant" else CONTAINERS[kind].make(what, [fill(p, leaves) for p in parts])


def match(form: Form, value: Any, what: str, leaves: list[Any]) -> None:
    """Append to `leaves` what stands in `value` at the leaves of a form that `fill` makes a nest of.

    Raises:
        TypeError: `value` is built differently; the message names the place.
    """
    if form is LEAF:
        if value is not None and not is_value(value):
            raise TypeError(f"{what}: expected a Tensor, got {type(value).__name__}")
        leaves.append(value)
        return
    kind, _, parts = form
    if kind == "constant":
        return
    if value is None:  # for all of it
        leaves.extend([None] * _count(form))
        return
    if kind == "module":
        if not isinstance(value, dict) or value.keys() != set(parts):
            raise TypeError(f"{what}: expected a dict with the keys {', '.join(parts)}, got {_described(value)}")
        leaves.extend(value[name] for name in parts)
        return
    if kind_of(value) != kind:
        raise TypeError(f"{what}: expected a {kind}, got {type(value).__name__}")
    keys, given = CONTAINERS[kind].take(value)
    if kind == "dict" and set(keys) == set(form[1]):
        keys, given = form[1], [value[key] for key in form[1]]
    if len(given) != len(parts) or keys != form[1]:
        raise TypeError(f"{what}: expected a {kind} of {len(parts)}, got {_described(value)}")
    for i, (part, inner) in enumerate(zip(parts, given, strict=True)):
        match(part, inner, f"{what}[{keys[i]!r}]" if kind == "dict" else f"{what}[{i}]", leaves)


def _count(form: Form) -> int:
    """How many leaves a form has."""
    if form is LEAF:
        return 1
    return len(form[2]) if form[0] == "module" else sum(map(_count, form[2]))


def _described(value: Any) -> str:
    if isinstance(value, dict):
        return f"a dict with the keys {', '.join(map(str, value))}"
    return f"a {type(value).__name__}" + (f" of {len(value)}" if hasattr(value, "__len__") else "")
