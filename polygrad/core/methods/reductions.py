"""Methods that reduce, scan or order, as PyTorch names them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from polygrad.core.methods.operators import Operators, functions
from polygrad.core.methods.spelling import Described, axes

if TYPE_CHECKING:
    from polygrad.core.tensor import Tensor

__all__ = ["ReductionMethods"]


class ValuesAndIndices(NamedTuple):
    """What PyTorch's reductions along an axis give: the values, and where they stood."""

    values: Any
    indices: Any


class ReductionMethods(Described):
    """Methods that reduce, scan or order, as PyTorch names them."""

    __slots__ = ()

    def sum(
        self, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, axis: Any = None, keepdims: bool = False
    ) -> Tensor:
        """The sum of all elements or along `dim`."""
        return functions.sum(self, axis=axes(axis if dim is None else dim), keepdims=keepdim or keepdims, dtype=dtype)

    def prod(
        self, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, axis: Any = None, keepdims: bool = False
    ) -> Tensor:
        """The product of all elements or along `dim`."""
        return functions.prod(self, axis=axes(axis if dim is None else dim), keepdims=keepdim or keepdims, dtype=dtype)

    def mean(
        self, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, axis: Any = None, keepdims: bool = False
    ) -> Tensor:
        """The mean of all elements or along `dim`."""
        x = self if dtype is None else functions.astype(self, dtype)
        return functions.mean(x, axis=axes(axis if dim is None else dim), keepdims=keepdim or keepdims)

    def std(
        self,
        dim: Any = None,
        unbiased: bool = True,
        keepdim: bool = False,
        *,
        correction: float | None = None,
        axis: Any = None,
        keepdims: bool = False,
    ) -> Tensor:
        """The standard deviation; divides by n - 1 unless `correction` says otherwise."""
        correction = float(unbiased) if correction is None else correction
        return functions.std(
            self, axis=axes(axis if dim is None else dim), correction=correction, keepdims=keepdim or keepdims
        )

    def var(
        self,
        dim: Any = None,
        unbiased: bool = True,
        keepdim: bool = False,
        *,
        correction: float | None = None,
        axis: Any = None,
        keepdims: bool = False,
    ) -> Tensor:
        """The variance; divides by n - 1 unless `correction` says otherwise."""
        correction = float(unbiased) if correction is None else correction
        return functions.var(
            self, axis=axes(axis if dim is None else dim), correction=correction, keepdims=keepdim or keepdims
        )

    def max(self, dim: Any = None, keepdim: bool = False) -> Any:
        """The largest element; with `dim`, the largest along it and their indices; with a Tensor, the largest of each pair."""
        if isinstance(dim, Operators):
            return functions.maximum(self, dim)
        if dim is None:
            return functions.max(self)
        return ValuesAndIndices(*functions.max_with_indices(self, dim, keepdim))

    def amax(self, dim: Any = (), keepdim: bool = False) -> Tensor:
        """The largest element along `dim`, ties sharing the gradient."""
        return functions.max(self, axis=axes(dim) if dim != () else None, keepdims=keepdim)

    def argmax(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        """The index of the largest element."""
        return functions.argmax(self, axis=dim, keepdims=keepdim)

    def min(self, dim: Any = None, keepdim: bool = False) -> Any:
        """The smallest element; with `dim`, the smallest along it and their indices; with a Tensor, the smallest of each pair."""
        if isinstance(dim, Operators):
            return functions.minimum(self, dim)
        if dim is None:
            return functions.min(self)
        return ValuesAndIndices(*functions.min_with_indices(self, dim, keepdim))

    def amin(self, dim: Any = (), keepdim: bool = False) -> Tensor:
        """The smallest element along `dim`, ties sharing the gradient."""
        return functions.min(self, axis=axes(dim) if dim != () else None, keepdims=keepdim)

    def argmin(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        """The index of the smallest element."""
        return functions.argmin(self, axis=dim, keepdims=keepdim)

    def all(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        """True where all elements are true."""
        return functions.all(self, axis=dim, keepdims=keepdim)

    def any(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        """True where any element is true."""
        return functions.any(self, axis=dim, keepdims=keepdim)

    def norm(self, p: Any = 2, dim: Any = None, keepdim: bool = False) -> Tensor:
        """The p-norm of the elements, or along `dim`."""
        return functions.linalg.vector_norm(self, axis=axes(dim), keepdims=keepdim, ord=2 if p == "fro" else p)

    def logsumexp(self, dim: Any, keepdim: bool = False) -> Tensor:
        """The logarithm of the sum of exponentials along `dim`."""
        return functions.logsumexp(self, axis=axes(dim), keepdims=keepdim)

    def cumsum(self, dim: int, dtype: Any = None) -> Tensor:
        """Running sums along `dim`."""
        return functions.cumulative_sum(self, axis=dim, dtype=dtype)

    def cumprod(self, dim: int, dtype: Any = None) -> Tensor:
        """Running products along `dim`."""
        return functions.cumulative_prod(self, axis=dim, dtype=dtype)

    def diff(self, n: int = 1, dim: int = -1) -> Tensor:
        """Differences of neighbours along `dim`."""
        return functions.diff(self, axis=dim, n=n)

    def count_nonzero(self, dim: Any = None) -> Tensor:
        """How many elements are not zero."""
        return functions.count_nonzero(self, axis=axes(dim))

    def sort(self, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
        """The elements in order along `dim`, and where they stood."""
        indices = functions.argsort(self, axis=dim, descending=descending)
        return ValuesAndIndices(functions.take_along_axis(self, indices, axis=dim), indices)

    def argsort(self, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
        """Indices that put the elements in order along `dim`."""
        return functions.argsort(self, axis=dim, descending=descending)

    def topk(self, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
        """The `k` largest elements along `dim` and their indices, in order."""
        return ValuesAndIndices(*functions.topk(self, k, dim, largest))

    def trace(self) -> Tensor:
        """The sum of the diagonal of a matrix."""
        return functions.linalg.trace(self)
