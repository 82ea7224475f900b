"""Sorting and what is built on it."""

from __future__ import annotations

from polygrad.core import case, composite, discrete


@discrete(dtypes="real", cases=[((3, 4),), case((3, 4), axis=0, descending=True)], order=("axis", "descending"))
def argsort(x, /, *, axis=-1, descending=False, stable=True):
    """Indices that put the elements in order along `axis`."""


@composite(dtypes="real", cases=[((3, 4),), case((3, 4), axis=0, descending=True)], order=())
def sort(xp, x, /, *, axis=-1, descending=False, stable=True):
    """The elements in order along `axis`; equal ones keep their order, and each carries its own gradient."""
    return xp.take_along_axis(x, xp.argsort(x, axis=axis, descending=descending, stable=stable), axis=axis)


def _picked(xp, x, indices, dim, keepdim):
    values = xp.take_along_axis(x, indices, axis=dim)
    return (values, indices) if keepdim else (xp.squeeze(values, axis=dim), xp.squeeze(indices, axis=dim))


@composite(dtypes="real", cases=[case((3, 4), dim=1), case((3, 4), dim=0, keepdim=True)])
def max_with_indices(xp, x, dim, keepdim=False):
    """The largest elements along an axis and their indices; the first of equal ones has the gradient."""
    return _picked(xp, x, xp.argmax(x, axis=dim, keepdims=True), dim, keepdim)


@composite(dtypes="real", cases=[case((3, 4), dim=1), case((3, 4), dim=0, keepdim=True)])
def min_with_indices(xp, x, dim, keepdim=False):
    """The smallest elements along an axis and their indices; the first of equal ones has the gradient."""
    return _picked(xp, x, xp.argmin(x, axis=dim, keepdims=True), dim, keepdim)


@discrete(dtypes="real", cases=[case((3, 5), k=2, axis=1, largest=True), case((3, 5), k=2, axis=0, largest=False)])
def top_indices(xp, x, /, *, k, axis, largest):
    """The indices of the `k` largest (or smallest) elements along an axis, in their order, the first of equal ones first."""
    order = xp.argsort(x, axis=axis, descending=largest)
    return order[(slice(None),) * axis + (slice(0, min(k, x.shape[axis])), ...)]


@composite(dtypes="real", cases=[case((3, 5), k=2), case((3, 5), k=2, dim=0, largest=False)])
def topk(xp, input, k, dim=-1, largest=True, sorted=True):
    """The `k` largest (or smallest) elements along an axis, in order, and their indices.

    Raises RuntimeError when `k` exceeds the axis.
    """
    d = dim % len(input.shape)
    if not 0 <= k <= input.shape[d]:
        raise RuntimeError(f"topk: k = {k} is out of range for an axis of size {input.shape[d]}")
    indices = xp.top_indices(input, k=k, axis=d, largest=largest)
    return xp.take_along_axis(input, indices, axis=d), indices
