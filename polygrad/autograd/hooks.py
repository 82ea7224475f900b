"""Hooks: a user's functions that see gradients, and may replace them, as backward passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from polygrad.core import Tensor, method
from polygrad.core.hooks import Gathering, RemovableHandle, Shared, add_hook
from polygrad.core.tensor import Leaf

__all__ = ["register_multi_grad_hook"]


@method
def register_hook(x: Tensor, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
    """Call `hook(grad)` when the gradient of `x` is known; a Tensor that it returns replaces it.

    Raises:
        RuntimeError: `x` does not require grad.
    """
    if x._node is None:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    return add_hook(x._node.extras().setdefault("hooks", {}), hook)


@method
def register_post_accumulate_grad_hook(x: Tensor, hook: Callable[[Tensor], None]) -> RemovableHandle:
    """Call `hook(tensor)` after backward() has added to the `.grad` of this leaf.

    Raises:
        RuntimeError: `x` does not require grad, or is no leaf.
    """
    if x._node is None:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    if type(x._node) is not Leaf:
        raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
    return add_hook(x._node.extras().setdefault("after", {}), hook)


class _Handles:
    """The handles of a multi-grad hook as one."""

    def __init__(self, handles: list[RemovableHandle]):
        self.handles = handles

    def remove(self) -> None:
        """Take the hook off all tensors."""
        for handle in self.handles:
            handle.remove()

    def __enter__(self) -> _Handles:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.remove()


def register_multi_grad_hook(tensors: Sequence[Tensor], fn: Callable[..., None], *, mode: str = "all") -> _Handles:
    """Call `fn` once in every backward that reaches some of `tensors`.

    Args:
        tensors: tensors that require grad.
        fn: with mode "all" it gets a list of their gradients, None where backward did not come by, when the walk is over; with
            mode "any" the first of the gradients, as soon as it is known. What it returns is not used.
        mode: "all" or "any".

    Raises:
        ValueError: another mode.
        RuntimeError: a tensor that does not require grad.
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    for i, t in enumerate(tensors):
        if not isinstance(t, Tensor) or t._node is None:
            raise RuntimeError(f"tensors[{i}] must be a Tensor that requires grad")
    shared = Shared(len(tensors), fn, mode == "any")
    return _Handles(
        [add_hook(t._node.extras().setdefault("hooks", {}), Gathering(shared, i)) for i, t in enumerate(tensors)]
    )
