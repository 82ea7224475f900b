"""Counting, ranking and summing up: how often, which one in order, and what lies under a curve, under PyTorch's names."""

from __future__ import annotations

import math
from collections import namedtuple

from polygrad.core import ascending, case, composite, discrete, ints
from polygrad.core.methods.reductions import ValuesAndIndices
from polygrad.ops.sets import groups, sorting_order
from polygrad.ops.sorting import _picked
from polygrad.ops.statistics import _nan_last

# ------------------------------------------------------------------------------------------------------------ counting


@composite(
    dtypes="integer", cases=[case(ints((6,), 0, 4)), case(ints((6,), 0, 4), (6,)), case(ints((3,), 0, 2), minlength=5)]
)
def bincount(xp, input, weights=None, minlength=0):
    """How often each of 0, 1, 2 ... occurs in a vector (int64), or the sum of its `weights`; at least `minlength` numbers.

    Raises RuntimeError for anything but a vector of non-negative integers.
    """
    if len(input.shape) != 1 or (input.shape[0] and int(xp.min(input)) < 0):
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    n = max(minlength, int(xp.max(input)) + 1 if input.shape[0] else 0)
    weights = xp.ones(input.shape, dtype=xp.int64, device=xp.device(input)) if weights is None else weights
    return xp.at_add(
        xp.zeros((n,), dtype=weights.dtype, device=xp.device(input)), weights, key=xp.astype(input, xp.int64)
    )


@discrete(dtypes="real floating", cases=[case((20,), bins=4, min=-0.5, max=0.5), case((3, 4), bins=3)])
def histc(xp, input, /, bins=100, min=0, max=0):
    """How many elements lie in each of `bins` equal intervals from min to max, the last one closed; others do not count.

    Equal limits stand for the smallest and the largest element. Raises RuntimeError for `bins` below 1 or max < min.
    """
    if bins < 1 or max < min:
        raise RuntimeError(f"histc: bins must be > 0 and max not less than min, got {bins} bins from {min} to {max}")
    flat = xp.reshape(input, (-1,))
    low, high = xp.full((), min, dtype=input.dtype), xp.full((), max, dtype=input.dtype)
    if min == max and flat.shape[0]:
        low, high = xp.min(flat), xp.max(flat)
    flat_range = low == high
    low, high = xp.where(flat_range, low - 1, low), xp.where(flat_range, high + 1, high)
    inside = xp.logical_and(flat >= low, flat <= high)
    place = xp.floor((xp.where(inside, flat, low) - low) * (bins / (high - low)))
    place = xp.astype(xp.clip(place, 0, bins - 1), xp.int64)
    counts = xp.zeros((bins,), dtype=input.dtype, device=xp.device(input))
    return xp.at_add(counts, xp.astype(inside, input.dtype), key=place)


@composite(dtypes="real", cases=[case((3, 4), ascending((5,))), case((3,), ascending((5,)), right=True)])
def bucketize(xp, input, boundaries, *, out_int32=False, right=False):
    """Which interval between sorted boundaries each element lies in: the i with b[i - 1] < x <= b[i] (<= and < if `right`)."""
    if not hasattr(input, "shape"):
        input = xp.full((), input, dtype=boundaries.dtype, device=xp.device(boundaries))
    kind = xp.result_type(input, boundaries)
    places = xp.searchsorted(
        xp.astype(boundaries, kind, copy=False),
        xp.reshape(xp.astype(input, kind, copy=False), (-1,)),
        side="right" if right else "left",
    )
    return xp.reshape(xp.astype(places, xp.int32 if out_int32 else xp.int64, copy=False), input.shape)


# ------------------------------------------------------------------------------------------------------------- the set


@discrete(dtypes="any", cases=[((4, 3),), ((3, 0),)])
def unique_rows(xp, x, /):
    """Where each distinct row of a matrix first stood, which of them every row is, and how often each occurs.

    The distinct rows are in ascending order, compared from their first element on.
    """
    n, device = x.shape[0], xp.device(x)
    order = xp.arange(n, dtype=xp.int64, device=device)
    for j in range(x.shape[1] - 1, -1, -1):
        order = xp.take(order, sorting_order(xp, xp.take(x[:, j], order, axis=0)), axis=0)
    if n == 0:
        return order, order, order
    rows = xp.take(x, order, axis=0)
    changes = xp.any(rows[1:, :] != rows[:-1, :], axis=1)
    return groups(xp, changes, order)


def _as_rows(xp, x, dim):
    d = dim % len(x.shape)
    moved = xp.moveaxis(x, d, 0)
    return d, xp.reshape(moved, (moved.shape[0], math.prod(moved.shape[1:])))


def _asked(xp, values, inverse, counts, return_inverse, return_counts):
    """The values alone, or a tuple with what else was asked for, in int64."""
    others = [x for x, asked in ((inverse, return_inverse), (counts, return_counts)) if asked]
    found = (values, *[xp.astype(x, xp.int64, copy=False) for x in others])
    return found if len(found) > 1 else values


@composite(dtypes="any", cases=[case((6,)), case((4, 3), True, True, True, 0)])
def unique(xp, input, sorted=True, return_inverse=False, return_counts=False, dim=None):
    """The distinct elements in ascending order, or the distinct slices along `dim`; the first of equal ones has the gradient.

    With `return_inverse` also which of them every element (slice) is, with `return_counts` how often each occurs.
    """
    if dim is None:
        first, inverse, counts = xp.unique_places(input)
        values = xp.take(xp.reshape(input, (-1,)), first, axis=0)
    else:
        d, rows = _as_rows(xp, input, dim)
        first, inverse, counts = xp.unique_rows(rows)
        values = xp.take(input, first, axis=d)
    return _asked(xp, values, inverse, counts, return_inverse, return_counts)


@discrete(dtypes="any", cases=[((4, 3),), ((0, 2),)])
def runs_of_rows(xp, x, /):
    """Where each run of equal neighbouring rows begins, which run every row is in, and how long each is."""
    order = xp.arange(x.shape[0], dtype=xp.int64, device=xp.device(x))
    return groups(xp, xp.any(x[1:, :] != x[:-1, :], axis=1), order) if x.shape[0] else (order, order, order)


@composite(dtypes="any", cases=[case((6,)), case((4, 3), True, True, 0)])
def unique_consecutive(xp, input, return_inverse=False, return_counts=False, dim=None):
    """One of each run of equal neighbours (of the flattened input, or of slices along `dim`), which has the gradient.

    With `return_inverse` also which run every element (slice) is in, with `return_counts` how long each is.
    """
    flat = xp.reshape(input, (-1,)) if dim is None else input
    d, rows = _as_rows(xp, flat, dim or 0)
    first, inverse, counts = xp.runs_of_rows(rows)
    inverse = xp.reshape(inverse, input.shape) if dim is None else inverse
    return _asked(xp, xp.take(flat, first, axis=d), inverse, counts, return_inverse, return_counts)


# ------------------------------------------------------------------------------------------------------------- ranking


@composite(dtypes="real", cases=[case((3, 4), 2), case((3, 4), 1, 0, True)])
def kthvalue(xp, input, k, dim=-1, keepdim=False):
    """The k-th smallest element along `dim`, counted from 1, and its index (a named tuple). NaN count as the largest.

    Raises RuntimeError for a k that is not within the axis.
    """
    if not input.shape:
        input, dim, keepdim = xp.reshape(input, (1,)), 0, False
    d = dim % len(input.shape)
    if not 1 <= k <= input.shape[d]:
        raise RuntimeError("kthvalue(): selected number k out of range for dimension " + str(d))
    order = xp.argsort(_nan_last(xp, input), axis=d, stable=True)
    at = xp.astype(order[(slice(None),) * d + (slice(k - 1, k), ...)], xp.int64, copy=False)
    return ValuesAndIndices(*_picked(xp, input, at, d, keepdim))


@discrete(dtypes="real", cases=[case(ints((3, 5), 0, 3)), case((4, 2), axis=0)])
def mode_places(xp, x, /, *, axis=-1):
    """Where the most frequent element along an axis stands last, the smallest of equally frequent ones; an axis of size one."""
    x = xp.moveaxis(x, axis, -1)
    n = x.shape[-1]
    order = xp.argsort(x, axis=-1, stable=True)
    ordered = xp.take_along_axis(x, order, axis=-1)
    places = xp.arange(n, dtype=xp.int64, device=xp.device(x))
    same = ordered[..., 1:] == ordered[..., :-1]
    first = xp.ones((*x.shape[:-1], 1), dtype=xp.bool, device=xp.device(x))
    begins = xp.concat([first, xp.logical_not(same)], axis=-1)
    start, s = xp.where(begins, places, 0), 1
    while s < n:  # a running maximum: where the run of equal elements that each belongs to begins
        start = xp.concat([start[..., :s], xp.maximum(start[..., s:], start[..., :-s])], axis=-1)
        s *= 2
    last = xp.argmax(places - start, axis=-1, keepdims=True)  # the longest run ends where its length is first reached
    return xp.moveaxis(xp.astype(xp.take_along_axis(order, last, axis=-1), xp.int64), -1, axis)


@composite(dtypes="real", cases=[case((3, 4)), case((3, 4), 0, True)])
def mode(xp, input, dim=-1, keepdim=False):
    """The most frequent element along `dim`, the smallest of equally frequent ones, and its last index (a named tuple)."""
    if not input.shape:
        input, dim, keepdim = xp.reshape(input, (1,)), 0, False
    return ValuesAndIndices(*_picked(xp, input, xp.mode_places(input, axis=dim), dim, keepdim))


@composite(dtypes="real", cases=[case((3, 4)), case((3, 4), dim=1)])
def aminmax(xp, input, *, dim=None, keepdim=False):
    """The smallest and the largest element, of all or along `dim` (a named tuple); equal ones share the gradient."""
    return Extremes(*(f(input, axis=dim, keepdims=keepdim) for f in (xp.min, xp.max)))


class Extremes(namedtuple("Extremes", "min max")):
    """The smallest and the largest element."""

    __slots__ = ()


@composite(dtypes="real", cases=[((4, 3),)])
def msort(xp, input):
    """The elements in order along the first axis."""
    return xp.sort(input, axis=0)


# ------------------------------------------------------------------------------------------------- moments, distances


def _moments(xp, f, input, dim, unbiased, keepdim, correction):
    if isinstance(dim, bool):  # PyTorch's var_mean(input, unbiased)
        dim, unbiased = None, dim
    correction = float(unbiased) if correction is None else correction
    axis = tuple(dim) if isinstance(dim, list) else dim
    return f(input, axis=axis, correction=correction, keepdims=keepdim), xp.mean(input, axis=axis, keepdims=keepdim)


@composite(dtypes="real floating", cases=[case((3, 4)), case((3, 4), 1, correction=0)])
def std_mean(xp, input, dim=None, unbiased=True, keepdim=False, *, correction=None):
    """The standard deviation (divided by n - 1 unless `correction` says otherwise) and the mean."""
    return _moments(xp, xp.std, input, dim, unbiased, keepdim, correction)


@composite(dtypes="real floating", cases=[case((3, 4)), case((3, 4), 1, correction=0)])
def var_mean(xp, input, dim=None, unbiased=True, keepdim=False, *, correction=None):
    """The variance (divided by n - 1 unless `correction` says otherwise) and the mean."""
    return _moments(xp, xp.var, input, dim, unbiased, keepdim, correction)


@composite(cases=[((3, 4), (3, 4)), case((3, 4), (4,), 1), case((3, 4), (3, 4), float("inf"))])
def dist(xp, input, other, p=2):
    """The p-norm of input - other."""
    return xp.linalg.vector_norm(input - other, ord=p)


@composite(cases=[case((3, 4), 2, 0, 0.5), case((2, 3, 2), 1, 1, 0.7)])
def renorm(xp, input, p, dim, maxnorm):
    """The input with each slice along `dim` whose p-norm exceeds `maxnorm` scaled down to it."""
    d = dim % len(input.shape)
    others = tuple(i for i in range(len(input.shape)) if i != d)
    norm = xp.linalg.vector_norm(input, axis=others, ord=p, keepdims=True)
    large = norm > maxnorm
    return input * xp.where(large, maxnorm / (xp.where(large, norm, 1) + 1e-7), 1)  # 1e-7 as PyTorch has it


# ------------------------------------------------------------------------------------------------------ under a curve


def _trapezoids(xp, y, x, dx, dim):
    """Along an axis, the areas between the neighbours of a curve."""
    d = dim % len(y.shape)
    front, n = (slice(None),) * d, y.shape[d]
    means = (y[(*front, slice(min(n, 1), n), ...)] + y[(*front, slice(0, max(n - 1, 0)), ...)]) / 2
    if x is None:
        return means if dx is None or dx == 1 else means * dx
    if len(x.shape) == 1:
        x = xp.reshape(x, (-1,) + (1,) * (len(y.shape) - d - 1))
    along = dim if dim < 0 else dim - len(y.shape)
    return means * xp.diff(x, axis=along)


@composite(cases=[((5,),), case((3, 5), (5,)), case((3, 5), dx=0.5, dim=0)])
def trapezoid(xp, y, x=None, *, dx=None, dim=-1):
    """The integral of y along `dim` by the trapezoidal rule, at the places x or `dx` (1 by default) apart."""
    return xp.sum(_trapezoids(xp, y, x, dx, dim), axis=dim)


@composite(cases=[((5,),), case((3, 5), (5,)), case((3, 5), dx=0.5, dim=0)])
def cumulative_trapezoid(xp, y, x=None, *, dx=None, dim=-1):
    """The running integral of y along `dim` by the trapezoidal rule, at the places x or `dx` (1 by default) apart."""
    return xp.cumulative_sum(_trapezoids(xp, y, x, dx, dim), axis=dim)
