"""Handles of hooks: what registering a hook gives, by which it is taken off again."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple

__all__ = ["Gathering", "RemovableHandle", "Shared", "add_hook"]

_next_key = count().__next__


class RemovableHandle:
    """Takes a hook off: by `remove()`, or at the end of a `with` block.

    Attributes:
        id: the key of the hook in the dictionary that holds it.
    """

    __slots__ = ("id", "_hooks")

    def __init__(self, hooks: dict[int, Any], key: int):
        self._hooks, self.id = hooks, key

    def remove(self) -> None:
        """Take the hook off; a second call does nothing."""
        self._hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.remove()


def add_hook(hooks: dict[int, Any], hook: Any, prepend: bool = False) -> RemovableHandle:
    """Put a hook (with whatever its caller must know about it) at the end, or the start, of a dictionary of hooks."""
    key = _next_key()
    if prepend:
        others = dict(hooks)
        hooks.clear()
        hooks[key] = hook
        hooks.update(others)
    else:
        hooks[key] = hook
    return RemovableHandle(hooks, key)


class Shared:
    """A hook on several tensors.

    Attributes:
        count: how many tensors.
        fn: gets the list of their gradients at the end of a walk, or the first of them as soon as it is known.
        first: which of the two.
    """

    __slots__ = ("count", "fn", "first")

    def __init__(self, count: int, fn: Callable[..., None], first: bool):
        self.count, self.fn, self.first = count, fn, first


class Gathering(NamedTuple):
    """What stands among the hooks of one of the tensors of a `Shared` hook: the hook, and which tensor it is."""

    shared: Shared
    which: int
