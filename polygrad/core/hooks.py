"""Handles of hooks: what registering a hook gives, by which it is taken off again."""

from __future__ import annotations

from itertools import count
from typing import Any

__all__ = ["RemovableHandle", "add_hook"]

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
