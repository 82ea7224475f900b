"""Writing, adding and reducing at places that index tensors name, under PyTorch's names."""

from __future__ import annotations

import math

from polygrad.core import bools, case, composite, general, ints
from polygrad.ops.indexing import _along, _at, _scatter_key


@composite(dtypes="any", cases=[case((3, 4), 1, ints((2,), 0, 4), 0.5)])
def index_fill(xp, input, dim, index, value):
    """The input with `value` in the slices that `index` names along `dim`."""
    return xp.at_set(input, _like(xp, value, input), key=_at(dim, len(input.shape), index))


def _like(xp, value, x):
    """A value in the data type of x."""
    if hasattr(value, "dtype"):
        return xp.astype(value, x.dtype, copy=False)
    return xp.full((), value, dtype=x.dtype, device=xp.device(x))


@composite(dtypes="any", cases=[case((3, 4), 1, ints((1,), 0, 4), (3, 1))])
def index_copy(xp, input, dim, index, source):
    """The input with the slices of `source` in those that `index` names along `dim`; the last of equal places wins."""
    return xp.at_set(input, source, key=_at(dim, len(input.shape), index))


@composite(
    dtypes="floating",
    cases=[
        case((3, 4), indices=(ints((5,), 0, 3), ints((5,), 0, 4)), values=0.5, accumulate=True),
        case((3, 4), indices=(ints((2,), 1, 3), ints((1,), 1, 4)), values=0.5),
    ],
)
def index_put(xp, input, indices, values, accumulate=False):
    """The input with `values` at `input[indices]`, or added there, as often as a place is named."""
    key = tuple(slice(None) if i is None else i for i in indices)
    return (xp.at_add if accumulate else xp.at_set)(input, _like(xp, values, input), key=key)


@composite(dtypes="numeric", cases=[case((3, 4), ints((2,), 0, 12), (2,), True), case((3, 4), ints((1,), 0, 12), (1,))])
def put(xp, input, index, source, accumulate=False):
    """The input with `source` at the places of the flattened input that `index` names, or added there."""
    flat = xp.reshape(input, (-1,))
    if math.prod(index.shape) and not flat.shape[0]:
        raise IndexError("put: index out of range of a tensor without elements")
    write = xp.at_add if accumulate else xp.at_set
    return xp.reshape(write(flat, xp.reshape(source, (-1,)), key=xp.reshape(index, (-1,))), input.shape)


@composite(dtypes="any", cases=[case((3, 4), bools((3, 4)), (15,)), case((3, 4), bools((4,)), (3, 5))])
def masked_scatter(xp, input, mask, source):
    """The input with the elements of `source`, one after the other, where `mask` is true.

    Raises RuntimeError where `source` has too few elements.
    """
    shape = xp.broadcast_shapes(input.shape, mask.shape)
    mask = xp.reshape(xp.broadcast_to(mask, shape), (-1,))
    places = xp.cumulative_sum(xp.astype(mask, xp.int64)) - 1
    flat = xp.reshape(source, (-1,))
    missing = int(places[-1]) + 1 - flat.shape[0] if math.prod(shape) else 0
    if missing > 0:
        raise RuntimeError(f"masked_scatter: expected {missing} more elements in source than its {flat.shape[0]}")
    if not flat.shape[0]:
        return xp.broadcast_to(input, shape)
    taken = xp.take(flat, xp.where(mask, places, 0), axis=0)
    return xp.where(xp.reshape(mask, shape), xp.reshape(taken, shape), input)


@composite(dtypes="any", cases=[case((3, 4), 0.5), case((7, 3), 0.5, True), case((3, 3, 3), 0.5)])
def filled_diagonal(xp, x, value, wrap=False):
    """x with `value` on its main diagonal; of a tall matrix again below it, after a gap of one row, if `wrap`.

    Raises RuntimeError for a vector, and for axes of several sizes where there are more than two.
    """
    n = len(x.shape)
    if n < 2 or (n > 2 and len(set(x.shape)) > 1):
        raise RuntimeError(f"fill_diagonal_ takes a matrix, or more axes of one size, got shape {tuple(x.shape)}")
    step = sum(math.prod(x.shape[i + 1 :]) for i in range(n))
    last = math.prod(x.shape) if wrap else min(math.prod(x.shape), x.shape[1] * step)
    flat = xp.reshape(x, (-1,))
    return xp.reshape(xp.at_set(flat, _like(xp, value, x), key=slice(0, last, step)), x.shape)


@composite(dtypes="any", cases=[case((3, 4), size=(2, 2)), case((3,), size=(2, 3))])
def resized(xp, x, size):
    """The first elements of x in another size, followed by zeros where it has too few."""
    n, missing = math.prod(size), math.prod(size) - math.prod(x.shape)
    flat = xp.reshape(x, (-1,))
    if missing > 0:
        flat = xp.concat([flat, xp.zeros((missing,), dtype=x.dtype, device=xp.device(x))])
    return xp.reshape(flat[:n], tuple(size))


@composite(dtypes="any", cases=[case(bools((3, 4)))])
def argwhere(xp, input):
    """The positions of the elements that are not zero, one a row, as int64."""
    found = xp.nonzero(input if input.shape else xp.reshape(input, (1,)))
    return xp.astype(xp.stack(found, axis=1), xp.int64, copy=False)[:, : len(input.shape)]


# ----------------------------------------------------------------------------------------------------------- reducing


def _touched(xp, x, key):
    """True at the places of x that a key names."""
    zeros = xp.zeros(x.shape, dtype=xp.int64, device=xp.device(x))
    return xp.at_set(zeros, xp.ones((), dtype=xp.int64, device=xp.device(x)), key=key) == 1


def _places(xp, x, key):
    """The place in the flattened x of each element that a key names, in one axis."""
    numbers = xp.reshape(xp.arange(math.prod(x.shape), dtype=xp.int64, device=xp.device(x)), x.shape)
    return xp.reshape(xp.getitem(numbers, key=key), (-1,))


def _shares(xp, x, src, y, index, dim, include_self):
    """What of y each of x and src makes up: equal ones share evenly."""
    key = _along(xp, index, index.shape, dim)
    mine, theirs = x == y, src == xp.getitem(y, key=key)
    if not include_self:
        mine = xp.logical_and(mine, xp.logical_not(_touched(xp, x, key)))
    mine, theirs = xp.astype(mine, y.dtype), xp.astype(theirs, y.dtype)
    count = xp.maximum(xp.at_add(mine, theirs, key=key), 1)
    return key, mine / count, theirs / xp.getitem(count, key=key)


def _extreme_pull(xp, g, x, src, y, index, dim, include_self):
    return g * _shares(xp, x, src, y, index, dim, include_self)[1]


def _extreme_source_pull(xp, g, x, src, y, index, dim, include_self):
    key, _, share = _shares(xp, x, src, y, index, dim, include_self)
    return xp.getitem(g, key=key) * share


def _extreme_source_push(xp, t, x, src, y, index, dim, include_self):
    key, _, share = _shares(xp, x, src, y, index, dim, include_self)
    return xp.at_add(xp.zeros_like(y), t * share, key=key)


@general(
    x=(
        _extreme_pull,
        lambda xp, t, x, src, y, index, dim, include_self: t * _shares(xp, x, src, y, index, dim, include_self)[1],
    ),
    src=(_extreme_source_pull, _extreme_source_push),
    dtypes="real",
    cases=[
        case((3, 4), (2, 3), ints((2, 3), 0, 4), dim=1),
        case((3, 4), (3, 3), ints((3, 3), 0, 3), dim=0, largest=False, include_self=False),
    ],
)
def scatter_extreme(xp, x, src, index, /, *, dim, largest=True, include_self=True):
    """The largest (or smallest) of each element of x and those of `src` that `index` sends to it along `dim`."""
    if not largest:
        return -xp.scatter_extreme(-x, -src, index, dim=dim, include_self=include_self)
    key = _along(xp, index, index.shape, dim)
    flat, places = xp.reshape(src, (-1,)), _places(xp, x, key)
    order = xp.argsort(flat, stable=True)
    written = xp.at_set(xp.reshape(x, (-1,)), xp.take(flat, order, axis=0), key=xp.take(places, order, axis=0))
    written = xp.reshape(written, x.shape)  # of several values for one place the last was kept, which is the largest
    return xp.maximum(x, written) if include_self else written


def _multiplied(xp, values, places, n):
    """The product of the values of each place, 1 where there is none: neighbours of one place, in order, by doubling."""
    k = places.shape[0]
    if not k:
        return xp.ones((n,), dtype=values.dtype, device=xp.device(values))
    order = xp.argsort(places, stable=True)
    places, products = xp.take(places, order, axis=0), xp.take(values, order, axis=0)
    s = 1
    while s < k:
        factor = xp.where(places[:-s] == places[s:], products[s:], 1)
        products = xp.concat([products[:-s] * factor, products[-s:]], axis=0)
        s *= 2
    targets = xp.arange(n, dtype=places.dtype, device=xp.device(values))
    first = xp.minimum(xp.searchsorted(places, targets), k - 1)
    return xp.where(xp.take(places, first, axis=0) == targets, xp.take(products, first, axis=0), 1)


@composite(
    dtypes="real",
    cases=[
        case((3, 4), 1, ints((2, 3), 0, 4), (2, 3), "sum"),
        case((3, 4), 1, ints((2, 3), 0, 4), (2, 3), "prod"),
        case((3, 4), 0, ints((3, 3), 0, 3), (3, 3), "mean", include_self=False),
        case((3, 4), 0, ints((3, 3), 0, 3), (3, 3), "amin"),
    ],
)
def scatter_reduce(xp, input, dim, index, src, reduce, *, include_self=True):
    """The input reduced with the elements of `src` that `index` sends to it along `dim`.

    Args:
        reduce: "sum", "prod", "mean", "amax" or "amin"; equal extremes share the gradient evenly.
        include_self: False leaves the input's own elements out, where there are others.

    Raises:
        RuntimeError: another `reduce`.
    """
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    d = dim % max(len(input.shape), 1)
    key, src = _scatter_key(xp, index, src, d)
    if reduce in ("amax", "amin"):
        return xp.scatter_extreme(input, src, index, dim=d, largest=reduce == "amax", include_self=include_self)
    if not include_self:
        neutral = 1 if reduce == "prod" else 0
        input = xp.where(_touched(xp, input, key), neutral, input)
    if reduce == "prod":
        n = math.prod(input.shape)
        factors = _multiplied(xp, xp.reshape(src, (-1,)), _places(xp, input, key), n)
        return input * xp.reshape(factors, input.shape)
    total = xp.at_add(input, src, key=key)
    if reduce == "sum":
        return total
    ones = (xp.ones if include_self else xp.zeros)(input.shape, dtype=input.dtype, device=xp.device(input))
    count = xp.maximum(xp.at_add(ones, xp.ones_like(src), key=key), 1)
    integers = xp.isdtype(input.dtype, "integral")
    return xp.floor_divide(total, count) if integers else total / count


@composite(
    dtypes="real",
    cases=[case((3, 4), 1, ints((2,), 0, 4), (3, 2), "amax"), case((3, 4), 0, ints((5,), 0, 3), (5, 4), "mean")],
)
def index_reduce(xp, input, dim, index, source, reduce, *, include_self=True):
    """The input reduced with the slices of `source` that `index` names along `dim`, as `scatter_reduce`."""
    d = dim % max(len(input.shape), 1)
    along = xp.reshape(index, (-1,) + (1,) * (len(input.shape) - d - 1))
    return xp.scatter_reduce(input, d, xp.broadcast_to(along, source.shape), source, reduce, include_self=include_self)
