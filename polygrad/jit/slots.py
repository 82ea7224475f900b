"""The boxes that a captured function reads or writes, and how each later call finds them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from polygrad.core import Backend, Tensor, new_tensor
from polygrad.core.tensor import Leaf
from polygrad.jit.environment import Place, hooks_of
from polygrad.jit.errors import TraceError
from polygrad.jit.nest import flatten

__all__ = [
    "Argument",
    "At",
    "Current",
    "Fixed",
    "LOCK",
    "GradientOf",
    "RawArgument",
    "RawAt",
    "Slot",
    "Within",
    "leaf_of",
    "refuse_hooks",
]


# Boxes hold stand-ins while a function is captured: nobody may gather their values then. Reentrant, since code that runs in a
# capture may call what gathers.
LOCK = threading.RLock()


def leaf_of(x: Tensor) -> Leaf | None:
    """Where gradients of a tensor are gathered, or None."""
    node = x._node
    if type(node) is Leaf:
        return node
    return x._extra.get("leaf") if node is None and x._extra else None


class Fixed:
    """The same tensor in every call; the place where it was found is guarded."""

    __slots__ = ("tensor",)

    def __init__(self, tensor: Tensor):
        self.tensor = tensor

    def get(self, leaves: list[Any]) -> Tensor | None:
        """The tensor in a call with these arguments, or None."""
        return self.tensor


class Argument:
    """A tensor among the call's arguments."""

    __slots__ = ("index",)

    def __init__(self, index: int):
        self.index = index

    def get(self, leaves: list[Any]) -> Tensor | None:
        """The tensor in a call with these arguments, or None."""
        return leaves[self.index]


class RawArgument:
    """An array of a library among the call's arguments."""

    __slots__ = ("index", "backend")

    def __init__(self, index: int, backend: Backend):
        self.index, self.backend = index, backend

    def get(self, leaves: list[Any]) -> Tensor | None:
        """The tensor in a call with these arguments, or None."""
        return new_tensor(self.backend.asarray(leaves[self.index]), self.backend)


class At:
    """Whatever tensor stands at a place, because the function puts a new one there."""

    __slots__ = ("place",)

    def __init__(self, place: Place):
        self.place = place

    def get(self, leaves: list[Any]) -> Tensor | None:
        """The tensor in a call with these arguments, or None."""
        found = self.place.get()
        return found if isinstance(found, Tensor) else None


class Within:
    """A tensor or a number in the container at a place, because the function puts a new container there."""

    __slots__ = ("place", "form", "index")

    def __init__(self, place: Place, form: Any, index: int):
        self.place, self.form, self.index = place, form, index

    def get(self, leaves: list[Any] = []) -> Any:  # noqa: B006
        """The tensor (or number) in a call with these arguments, or None."""
        found: list[Any] = []
        return found[self.index] if flatten(self.place.get(), found) == self.form else None


class RawAt:
    """A library's array at a place; it is read again in each call, because some libraries write into arrays."""

    __slots__ = ("place", "backend")

    def __init__(self, place: Place, backend: Backend):
        self.place, self.backend = place, backend

    def get(self, leaves: list[Any]) -> Tensor | None:
        """The tensor in a call with these arguments, or None."""
        return new_tensor(self.backend.asarray(self.place.get()), self.backend)


class GradientOf:
    """The gradient of another slot's tensor."""

    __slots__ = ("owner",)

    def __init__(self, owner: Any):
        self.owner = owner

    def get(self, leaves: list[Any]) -> Tensor | None:
        """The tensor in a call with these arguments, or None."""
        tensor = self.owner.get(leaves)
        leaf = None if tensor is None else leaf_of(tensor)
        return None if leaf is None else leaf.grad


class Current:
    """What a function of `declared.ambient` gives in this thread."""

    __slots__ = ("function", "backend")

    def __init__(self, function: Callable[[Backend], Tensor], backend: Backend):
        self.function, self.backend = function, backend

    def get(self, leaves: list[Any]) -> Tensor | None:
        """The tensor in a call with these arguments, or None."""
        return self.function(self.backend)


class Slot:
    """One box while a function is captured: how to find it, what it held, and what stands in for that.

    Attributes:
        ref: how a later call finds the box.
        tensor: the box in the call that is captured.
        path: how the user would write it.
        array: its value before the call.
        stand_in: what it held when the function began.
        leaf: where its gradient is gathered, if it has such a place.
        outer: the node of a history that was recorded outside, or None.
        edge: the leaf at which the graph of the captured function begins, or None.
        hooks: those that wait for its gradient when the function begins.
    """

    __slots__ = (
        "ref",
        "tensor",
        "path",
        "array",
        "stand_in",
        "leaf",
        "outer",
        "edge",
        "hooks",
        "_saved",
        "_leaf_saved",
    )

    def __init__(self, ref: Any, tensor: Tensor, path: str):
        self.ref, self.path = ref, path
        self.tensor: Any = tensor
        self.array = tensor._array
        self.stand_in: Any = None
        self.leaf = leaf_of(tensor)
        self.outer = None if tensor._node is None or type(tensor._node) is Leaf else tensor._node
        self.edge: Any = None
        self.hooks: list[Any] | None = None
        self._saved: Any = None
        self._leaf_saved: Any = None

    def save(self) -> None:
        """Remember the box and its gradient."""
        x, leaf = self.tensor, self.leaf
        self._saved = x._array, x._backend, x._node, None if x._extra is None else dict(x._extra)
        if leaf is not None:
            extra = leaf.extra and {k: dict(v) if isinstance(v, dict) else v for k, v in leaf.extra.items()}
            self._leaf_saved = leaf.shape, leaf.dtype, leaf.backend, leaf.grad, leaf.extra, extra
            self.hooks = hooks_of(leaf)

    def bind(self, stand_in: Any) -> None:
        """Put the stand-in into the box; a history from outside ends at the box."""
        self.save()
        x = self.tensor
        self.stand_in = x._array = stand_in
        if self.outer is not None:
            x._node = Leaf(stand_in, x._backend)
        self.edge = x._node

    def restore(self) -> None:
        """Make the box as it was when it was saved."""
        x, leaf = self.tensor, self.leaf
        if self._saved is not None:
            x._array, x._backend, x._node, x._extra = self._saved
            self._saved = None
        if leaf is not None and self._leaf_saved is not None:
            leaf.shape, leaf.dtype, leaf.backend, leaf.grad, leaf.extra, before = self._leaf_saved
            if leaf.extra is not None:
                _undo(leaf.extra, before)
            self._leaf_saved = None


def _undo(extra: dict[str, Any], before: dict[str, Any]) -> None:
    """Give the rare things of a leaf their old values, in the same dictionaries: the handles of hooks refer to them."""
    for key in extra.keys() - before.keys():
        del extra[key]
    for key, value in before.items():
        if isinstance(value, dict):
            extra[key].clear()
            extra[key].update(value)
        else:
            extra[key] = value


def refuse_hooks(slots: list[Slot]) -> None:
    """Raise TraceError for a leaf that has other hooks than when its slot was saved."""
    for slot in slots:
        if slot.leaf is not None and hooks_of(slot.leaf) != slot.hooks:
            raise TraceError(
                f"the function leaves a hook on {slot.path}, or takes one off, which would happen once when it is compiled. "
                "Register hooks outside, or remove them before the function ends"
            )
