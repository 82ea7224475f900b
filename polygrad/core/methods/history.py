"""Methods about gradients, as PyTorch names them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polygrad.core.dtype import DType, as_dtype
from polygrad.core.methods.operators import functions
from polygrad.core.methods.spelling import Described

if TYPE_CHECKING:
    from polygrad.core.hooks import RemovableHandle
    from polygrad.core.tensor import Tensor

__all__ = ["HistoryMethods"]


class HistoryMethods(Described):
    """Methods about gradients, as PyTorch names them."""

    __slots__ = ()

    if TYPE_CHECKING:
        _node: Any
        _extra: dict[str, Any] | None
        grad: Tensor | None

        @property
        def is_leaf(self) -> bool:
            """True unless this tensor is the recorded result of an op."""

        def _extras(self) -> dict[str, Any]: ...

    def backward(
        self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False, inputs: Any = None
    ) -> None:
        """Add to `.grad` of every leaf the gradient of this tensor (of its product with `gradient` unless it is a scalar)."""
        functions._backward_of(self, gradient, retain_graph, create_graph, inputs)

    def register_hook(self, hook: Any) -> RemovableHandle:
        """Call `hook(grad)` when this tensor's gradient is known; what it returns replaces it. Gives a handle with `remove()`."""
        return functions.register_hook(self, hook)

    def register_post_accumulate_grad_hook(self, hook: Any) -> RemovableHandle:
        """Call `hook(tensor)` after backward() has added to this leaf's `.grad`."""
        return functions.register_post_accumulate_grad_hook(self, hook)

    @property
    def grad_dtype(self) -> DType | None:
        """The dtype that backward() gathers the gradient of this leaf in; None lets every dtype in.

        Raises RuntimeError for tensors that are no leaves.
        """
        if not self.is_leaf:
            raise RuntimeError("grad_dtype can only be accessed on leaf tensors.")
        return (self._extra or {}).get("grad_dtype", self.dtype)

    @grad_dtype.setter
    def grad_dtype(self, value: Any) -> None:
        if not self.is_leaf:
            raise RuntimeError("grad_dtype can only be set on leaf tensors.")
        wanted = None if value is None else as_dtype(value)
        held = self.grad
        if held is not None and wanted not in (None, held.dtype):
            raise RuntimeError(
                f"Cannot set grad_dtype to {wanted} because there is already a gradient of {held.dtype}; "
                "clear it first (tensor.grad = None)"
            )
        self._extras()["grad_dtype"] = wanted
        if self._node is not None:
            self._node.extras()["grad_dtype"] = wanted

    @property
    def _version(self) -> int:
        """How often an in-place form has put a value into this tensor."""
        return (self._extra or {}).get("version", 0)

    def is_inference(self) -> bool:
        """True for a tensor that was made in `inference_mode`."""
        return self._extra is not None and "inference" in self._extra
