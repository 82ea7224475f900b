"""Methods that reduce, scan or order, as PyTorch names them."""

from __future__ import annotations

from collections import namedtuple
from typing import TYPE_CHECKING, Any

from polygrad.core.methods.operators import Operators, functions
from polygrad.core.methods.spelling import Described, axes

if TYPE_CHECKING:
    from polygrad.core.tensor import Tensor

__all__ = ["ReductionMethods"]


class ValuesAndIndices(namedtuple("ValuesAndIndices", "values indices")):
    """What PyTorch's reductions along an axis give: the values, and where they stood."""

    __slots__ = ()


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

    def median(self, dim: int | None = None, keepdim: bool = False) -> Any:
        """The lower median of all elements, or along `dim` with its indices."""
        return functions.median(self, dim, keepdim)

    def nanmedian(self, dim: int | None = None, keepdim: bool = False) -> Any:
        """`median` of the elements that are not NaN."""
        return functions.nanmedian(self, dim, keepdim)

    def mode(self, dim: int = -1, keepdim: bool = False) -> Any:
        """The most frequent elements along `dim`, and their indices."""
        return functions.mode(self, dim, keepdim)

    def kthvalue(self, k: int, dim: int = -1, keepdim: bool = False) -> Any:
        """The k-th smallest elements along `dim`, counted from 1, and their indices."""
        return functions.kthvalue(self, k, dim, keepdim)

    def quantile(
        self, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
    ) -> Tensor:
        """The q-quantile of all elements, or along `dim`."""
        return functions.quantile(self, q, dim, keepdim, interpolation=interpolation)

    def nansum(self, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
        """The sum of the elements that are not NaN."""
        return functions.nansum(self, axis=axes(dim), keepdims=keepdim, dtype=dtype)

    def nanmean(self, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
        """The mean of the elements that are not NaN."""
        return functions.nanmean(self, axis=axes(dim), keepdims=keepdim, dtype=dtype)

    def aminmax(self, *, dim: int | None = None, keepdim: bool = False) -> Any:
        """The smallest and the largest element, of all or along `dim` (a named tuple)."""
        return functions.aminmax(self, dim=dim, keepdim=keepdim)

    def cummax(self, dim: int) -> Any:
        """The largest elements so far along `dim`, and their indices."""
        return functions.cummax(self, dim)

    def cummin(self, dim: int) -> Any:
        """The smallest elements so far along `dim`, and their indices."""
        return functions.cummin(self, dim)

    def logcumsumexp(self, dim: int) -> Tensor:
        """The logarithm of running sums of exponentials along `dim`."""
        return functions.logcumsumexp(self, dim)

    def msort(self) -> Tensor:
        """The elements in order along the first axis."""
        return functions.msort(self)

    def dist(self, other: Any, p: Any = 2) -> Tensor:
        """The p-norm of the difference."""
        return functions.dist(self, other, p)

    def renorm(self, p: Any, dim: int, maxnorm: float) -> Tensor:
        """With each slice along `dim` scaled down to the p-norm `maxnorm` where it exceeds that."""
        return functions.renorm(self, p, dim, maxnorm)

    def histc(self, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
        """How many elements lie in each of `bins` equal intervals from min to max."""
        return functions.histc(self, bins, min, max)

    def bincount(self, weights: Any = None, minlength: int = 0) -> Tensor:
        """How often each of 0, 1, 2 ... occurs, or the sum of its weights."""
        return functions.bincount(self, weights, minlength)

    def unique(
        self, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
    ) -> Any:
        """The distinct elements, or slices along `dim`; what else is asked for makes it a tuple."""
        return functions.unique(self, sorted, return_inverse, return_counts, dim)

    def unique_consecutive(
        self, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
    ) -> Any:
        """One of each run of equal neighbours; what else is asked for makes it a tuple."""
        return functions.unique_consecutive(self, return_inverse, return_counts, dim)

    def cov(self, *, correction: int = 1, fweights: Any = None, aweights: Any = None) -> Tensor:
        """The covariance matrix of variables in rows."""
        return functions.cov(self, correction=correction, fweights=fweights, aweights=aweights)

    def corrcoef(self) -> Tensor:
        """The correlation coefficients of variables in rows."""
        return functions.corrcoef(self)

    def trace(self) -> Tensor:
        """The sum of the diagonal of a matrix."""
        return functions.linalg.trace(self)
