"""PyTorch's `torch.autograd.graph`: the nodes of a graph, what they save, and hooks on both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from polygrad.autograd.gradients import GradientEdge, get_gradient_edge
from polygrad.autograd.hooks import register_multi_grad_hook
from polygrad.core import Tensor
from polygrad.core.tensor import Node, current_mode, using_mode

__all__ = [
    "GradientEdge",
    "Node",
    "disable_saved_tensors_hooks",
    "get_gradient_edge",
    "register_multi_grad_hook",
    "save_on_cpu",
    "saved_tensors_hooks",
]

_disabled: ContextVar[str | None] = ContextVar("polygrad saved-tensor hooks disabled", default=None)


class saved_tensors_hooks(using_mode):
    """Inside the `with` block, what an op keeps for backward goes through `pack_hook`, and comes back by `unpack_hook`.

    Args:
        pack_hook: called with each Tensor that is kept; gives any object.
        unpack_hook: called with that object when backward needs the Tensor; gives a Tensor of the same value, shape and dtype.

    Raises:
        RuntimeError: the block is inside `disable_saved_tensors_hooks`.
        TypeError: in backward, when `unpack_hook` gives no Tensor.
    """

    __slots__ = ()

    def __init__(self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]):
        super().__init__(pack=pack_hook, unpack=unpack_hook)

    def __enter__(self) -> saved_tensors_hooks:
        message = _disabled.get()
        if message is not None:
            raise RuntimeError(message)
        super().__enter__()
        return self


class save_on_cpu(saved_tensors_hooks):
    """Inside the `with` block, what ops keep for backward waits in the host's memory.

    Args:
        pin_memory, device_type: as in PyTorch; they have no effect.
    """

    __slots__ = ()

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda"):
        super().__init__(lambda x: (x.device, x.detach().cpu()), lambda packed: packed[1].to_device(packed[0]))


@contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Iterator[None]:
    """Inside the `with` block, `saved_tensors_hooks` raises RuntimeError with this message; so does entering it inside one."""
    mode = current_mode()
    if mode is not None and mode.pack is not None:
        raise RuntimeError(error_message)
    token = _disabled.set(error_message)
    try:
        yield
    finally:
        _disabled.reset(token)
