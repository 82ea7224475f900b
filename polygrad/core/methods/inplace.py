"""Methods that put a new value into the box, as PyTorch names them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polygrad.core.methods.operators import functions
from polygrad.core.methods.spelling import Described

if TYPE_CHECKING:
    from polygrad.core.tensor import Tensor

__all__ = ["InPlaceMethods"]


class InPlaceMethods(Described):
    """Methods that put a new value into the box, as PyTorch names them."""

    __slots__ = ()

    def add_(self, other: Any, *, alpha: Any = 1) -> Tensor:
        """In-place `add` of `alpha * other`."""
        return functions.inplace("add", self, other if alpha == 1 else functions.multiply(other, alpha))

    def sub_(self, other: Any, *, alpha: Any = 1) -> Tensor:
        """In-place `subtract` of `alpha * other`."""
        return functions.inplace("subtract", self, other if alpha == 1 else functions.multiply(other, alpha))

    def mul_(self, other: Any) -> Tensor:
        """In-place `multiply`."""
        return functions.inplace("multiply", self, other)

    def div_(self, other: Any) -> Tensor:
        """In-place `divide`."""
        return functions.inplace("divide", self, other)

    def pow_(self, other: Any) -> Tensor:
        """In-place `pow`."""
        return functions.inplace("pow", self, other)

    def remainder_(self, other: Any) -> Tensor:
        """In-place `remainder`."""
        return functions.inplace("remainder", self, other)

    def floor_divide_(self, other: Any) -> Tensor:
        """In-place `floor_divide`."""
        return functions.inplace("floor_divide", self, other)

    def exp_(self) -> Tensor:
        """In-place `exp`."""
        return functions.inplace("exp", self)

    def log_(self) -> Tensor:
        """In-place `log`."""
        return functions.inplace("log", self)

    def sqrt_(self) -> Tensor:
        """In-place `sqrt`."""
        return functions.inplace("sqrt", self)

    def neg_(self) -> Tensor:
        """In-place `negative`."""
        return functions.inplace("negative", self)

    def abs_(self) -> Tensor:
        """In-place `abs`."""
        return functions.inplace("abs", self)

    def sigmoid_(self) -> Tensor:
        """In-place `sigmoid`."""
        return functions.inplace("sigmoid", self)

    def tanh_(self) -> Tensor:
        """In-place `tanh`."""
        return functions.inplace("tanh", self)

    def relu_(self) -> Tensor:
        """In-place `relu`."""
        return functions.inplace("relu", self)

    def reciprocal_(self) -> Tensor:
        """In-place `reciprocal`."""
        return functions.inplace("reciprocal", self)

    def floor_(self) -> Tensor:
        """In-place `floor`."""
        return functions.inplace("floor", self)

    def ceil_(self) -> Tensor:
        """In-place `ceil`."""
        return functions.inplace("ceil", self)

    def round_(self) -> Tensor:
        """In-place `round`."""
        return functions.inplace("round", self)

    def clamp_(self, min: Any = None, max: Any = None) -> Tensor:
        """In-place limit to [min, max]."""
        return functions.inplace("clip", self, min, max)

    def clip_(self, min: Any = None, max: Any = None) -> Tensor:
        """In-place limit to [min, max]."""
        return functions.inplace("clip", self, min, max)

    def zero_(self) -> Tensor:
        """Fill with zeros."""
        return self.fill_(0)

    def fill_(self, value: Any) -> Tensor:
        """Fill with one value."""
        return functions.refill(self, value)

    def copy_(self, source: Any) -> Tensor:
        """Take the values of `source`, broadcast and cast."""
        return functions.refill(self, source)

    def masked_fill_(self, mask: Any, value: Any) -> Tensor:
        """In-place masked_fill."""
        return functions.overwrite(self, functions.where(mask, value, self))

    def lerp_(self, end: Any, weight: Any) -> Tensor:
        """In-place lerp."""
        return functions.overwrite(self, functions.add(self, functions.multiply(weight, functions.subtract(end, self))))

    def addcmul_(self, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Tensor:
        """Add `value * tensor1 * tensor2` in place."""
        return functions.inplace("add", self, functions.multiply(functions.multiply(tensor1, value), tensor2))

    def addcdiv_(self, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Tensor:
        """Add `value * tensor1 / tensor2` in place."""
        return functions.inplace("add", self, functions.divide(functions.multiply(tensor1, value), tensor2))

    def index_add(self, dim: int, index: Any, source: Any) -> Tensor:
        """With `source` added to the slices that `index` names along `dim`."""
        return functions.index_add(self, dim, index, source)

    def scatter_add(self, dim: int, index: Any, src: Any) -> Tensor:
        """With `src` added at the places that `index` names along `dim`."""
        return functions.scatter_add(self, dim, index, src)

    def scatter(self, dim: int, index: Any, src: Any) -> Tensor:
        """With `src` put at the places that `index` names along `dim`."""
        return functions.scatter(self, dim, index, src)

    def normal_(self, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Tensor:
        """Fill with normal random numbers."""
        return functions.overwrite(self, functions.random_normal(self, mean, std, generator))

    def uniform_(self, low: float = 0.0, high: float = 1.0, *, generator: Any = None) -> Tensor:
        """Fill with uniform random numbers of [low, high)."""
        return functions.overwrite(self, functions.random_uniform(self, low, high, generator))
