"""Methods that pick elements or put others in their place, as PyTorch names them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polygrad.core.methods.operators import functions
from polygrad.core.methods.spelling import Described

if TYPE_CHECKING:
    from polygrad.core.tensor import Tensor

__all__ = ["IndexingMethods"]


class IndexingMethods(Described):
    """Methods that pick elements or put others in their place, as PyTorch names them."""

    __slots__ = ()

    def where(self, condition: Any, other: Any) -> Tensor:
        """This tensor where `condition` holds, else `other`."""
        return functions.where(condition, self, other)

    def masked_fill(self, mask: Any, value: Any) -> Tensor:
        """With `value` where `mask` is true."""
        return functions.where(mask, value, self)

    def masked_select(self, mask: Any) -> Tensor:
        """The elements where `mask` is true, in one axis."""
        return functions.index(functions.broadcast_to(self, functions.broadcast_shapes(self.shape, mask.shape)), mask)

    def gather(self, dim: int, index: Any) -> Tensor:
        """Elements picked along `dim` by `index`, which may be shorter than this tensor elsewhere."""
        return functions.gather(self, dim, index)

    def index_select(self, dim: int, index: Any) -> Tensor:
        """Slices picked along `dim`."""
        return functions.take(self, index, axis=dim)

    def take_along_dim(self, indices: Any, dim: int | None = None) -> Tensor:
        """Elements picked along `dim` (of the flattened tensor without one) by `indices`."""
        x = functions.reshape(self, (-1,)) if dim is None else self
        indices = functions.reshape(indices, (-1,)) if dim is None else indices
        return functions.take_along_axis(x, indices, axis=dim or 0)

    def take(self, index: Any) -> Tensor:
        """Elements picked from the flattened tensor."""
        return functions.index(functions.reshape(self, (-1,)), index)

    def nonzero(self, *, as_tuple: bool = False) -> Any:
        """Positions of the elements that are not zero, one a row; or, `as_tuple`, a tensor for each axis."""
        return functions.nonzero(self) if as_tuple else functions.argwhere(self)

    def argwhere(self) -> Tensor:
        """Positions of the elements that are not zero, one a row."""
        return functions.argwhere(self)

    def scatter(self, dim: int, index: Any, src: Any = None, *, value: Any = None, reduce: str | None = None) -> Tensor:
        """With `src` (or the number `value`) put at the places that `index` names along `dim`.

        With `reduce` "add" or "multiply" it is added to what is there, or multiplied with it.
        """
        src = value if src is None else src
        if reduce is None:
            return functions.scatter(self, dim, index, src)
        if not isinstance(src, type(self)):
            src = functions.new_full(self, index.shape, src)
        return functions.scatter_reduce(self, dim, index, src, {"add": "sum", "multiply": "prod"}.get(reduce, reduce))

    def scatter_add(self, dim: int, index: Any, src: Any) -> Tensor:
        """With `src` added at the places that `index` names along `dim`."""
        return functions.scatter_add(self, dim, index, src)

    def index_add(self, dim: int, index: Any, source: Any, *, alpha: Any = 1) -> Tensor:
        """With `alpha` times `source` added to the slices that `index` names along `dim`."""
        return functions.index_add(self, dim, index, source if alpha == 1 else functions.multiply(source, alpha))

    def scatter_reduce(self, dim: int, index: Any, src: Any, reduce: str, *, include_self: bool = True) -> Tensor:
        """Reduced ("sum", "prod", "mean", "amax", "amin") with the elements of `src` that `index` sends along `dim`."""
        return functions.scatter_reduce(self, dim, index, src, reduce, include_self=include_self)

    def index_reduce(self, dim: int, index: Any, source: Any, reduce: str, *, include_self: bool = True) -> Tensor:
        """Reduced with the slices of `source` that `index` names along `dim`, as by `scatter_reduce`."""
        return functions.index_reduce(self, dim, index, source, reduce, include_self=include_self)

    def index_fill(self, dim: int, index: Any, value: Any) -> Tensor:
        """With `value` in the slices that `index` names along `dim`."""
        return functions.index_fill(self, dim, index, value)

    def index_copy(self, dim: int, index: Any, source: Any) -> Tensor:
        """With `source` in the slices that `index` names along `dim`."""
        return functions.index_copy(self, dim, index, source)

    def index_put(self, indices: Any, values: Any, accumulate: bool = False) -> Tensor:
        """With `values` at `self[indices]`, or added there."""
        return functions.index_put(self, indices, values, accumulate)

    def put(self, index: Any, source: Any, accumulate: bool = False) -> Tensor:
        """With `source` at the places of the flattened tensor that `index` names, or added there."""
        return functions.put(self, index, source, accumulate)

    def masked_scatter(self, mask: Any, source: Any) -> Tensor:
        """With the elements of `source`, one after the other, where `mask` is true."""
        return functions.masked_scatter(self, mask, source)

    def select_scatter(self, src: Any, dim: int, index: int) -> Tensor:
        """With `src` in place of one slice along `dim`."""
        return functions.select_scatter(self, src, dim, index)

    def slice_scatter(
        self, src: Any, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
    ) -> Tensor:
        """With `src` in place of the slice from `start` to `end` along `dim`."""
        return functions.slice_scatter(self, src, dim, start, end, step)

    def diagonal_scatter(self, src: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
        """With `src` in place of a diagonal of two axes."""
        return functions.diagonal_scatter(self, src, offset, dim1, dim2)
