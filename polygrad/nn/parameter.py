"""Tensors that a Module knows by name: parameters, which are trained, and buffers, which are not."""

from __future__ import annotations

from typing import Any

from polygrad.core import Tensor
from polygrad.core.methods import OPERANDS
from polygrad.ops.creation import empty, tensor

__all__ = ["Buffer", "Parameter"]


class _Member(Tensor):
    """A tensor around the value of another, to be told apart by its type."""

    __slots__ = ()

    def __init__(self, data: Any = None):
        value = data if isinstance(data, Tensor) else empty(0) if data is None else tensor(data)
        self._array, self._backend, self._node, self._extra = value._array, value._backend, None, None


class Parameter(_Member):
    """A tensor that requires grad and, when it is assigned to a Module's attribute, is one of its parameters.

    Args:
        data: a Tensor, whose value is taken out of its graph, or what `polygrad.tensor` takes; empty by default.
        requires_grad: train it.

    Raises:
        RuntimeError: integer or boolean data that shall require grad.
    """

    __slots__ = ()

    def __init__(self, data: Any = None, requires_grad: bool = True):
        super().__init__(data)
        self.requires_grad = requires_grad

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


class Buffer(_Member):
    """A tensor that, when it is assigned to a Module's attribute, is one of its buffers.

    Args:
        data: a Tensor, whose value is taken out of its graph, or what `polygrad.tensor` takes; empty by default.
        persistent: part of the Module's `state_dict`.
    """

    __slots__ = ("persistent",)

    def __init__(self, data: Any = None, *, persistent: bool = True):
        super().__init__(data)
        self.persistent = persistent

    def __deepcopy__(self, memo: dict[int, Any]) -> Buffer:
        made: Any = super().__deepcopy__(memo)
        made.persistent = self.persistent
        return made

    def __reduce_ex__(self, protocol: Any) -> Any:
        return (*super().__reduce_ex__(protocol), (None, {"persistent": self.persistent}))


OPERANDS.update((Parameter, Buffer))
