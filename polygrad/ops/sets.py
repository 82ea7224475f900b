"""Sets: the distinct elements of an array, each with the gradient of the element that stands for it."""

from __future__ import annotations

from collections import namedtuple

from polygrad.core import composite, discrete


class UniqueAll(namedtuple("UniqueAll", "values indices inverse_indices counts")):
    """The distinct elements in order, where each first stood, which of them every element is, and how often each occurs."""

    __slots__ = ()


class UniqueCounts(namedtuple("UniqueCounts", "values counts")):
    """The distinct elements in order, and how often each occurs."""

    __slots__ = ()


class UniqueInverse(namedtuple("UniqueInverse", "values inverse_indices")):
    """The distinct elements in order, and which of them every element is."""

    __slots__ = ()


def sorting_order(xp, flat):
    """The indices that sort one axis of any data type, equal elements keeping their order; complex numbers by real part first."""
    if xp.is_complex(flat):
        order = xp.argsort(xp.imag(flat), stable=True)
        return xp.take(order, xp.argsort(xp.take(xp.real(flat), order, axis=0), stable=True), axis=0)
    if xp.isdtype(flat.dtype, "bool"):
        flat = xp.astype(flat, xp.uint8)
    return xp.argsort(flat, stable=True)


@discrete(dtypes="any", cases=[((6,),), ((2, 3),), ((),), ((0,),)])
def unique_places(xp, x, /):
    """Where each distinct element first stood in the flattened x, which of them every element is, and how often each occurs.

    The distinct elements are in ascending order; every NaN is one of its own.
    """
    flat = xp.reshape(x, (-1,))
    order = sorting_order(xp, flat)
    if flat.shape[0] == 0:
        return order, xp.reshape(order, x.shape), order
    ordered = xp.take(flat, order, axis=0)
    first, inverse, counts = groups(xp, ordered[1:] != ordered[:-1], order)
    return first, xp.reshape(inverse, x.shape), counts


def groups(xp, changes, order):
    """First places, membership and sizes of the groups of neighbours in an order, of which a new one begins at each change."""
    n, device = order.shape[0], xp.device(order)
    begins = xp.concat([xp.ones((1,), dtype=xp.bool, device=device), changes])
    starts = xp.nonzero(begins)[0]
    group = xp.cumulative_sum(xp.astype(begins, order.dtype)) - 1
    inverse = xp.take(group, xp.argsort(order, stable=True), axis=0)
    ends = xp.concat([starts[1:], xp.full((1,), n, dtype=starts.dtype, device=device)])
    return xp.take(order, starts, axis=0), inverse, ends - starts


def _representatives(xp, x, indices):
    return xp.take(xp.reshape(x, (-1,)), indices, axis=0)


ANY = [((6,),), ((2, 3),)]


@composite(dtypes="any", cases=ANY)
def unique_all(xp, x, /):
    """The distinct elements, their first places, the inverse and the counts: a named tuple."""
    indices, inverse, counts = xp.unique_places(x)
    return UniqueAll(_representatives(xp, x, indices), indices, inverse, counts)


@composite(dtypes="any", cases=ANY)
def unique_counts(xp, x, /):
    """The distinct elements and how often each occurs: a named tuple."""
    indices, _, counts = xp.unique_places(x)
    return UniqueCounts(_representatives(xp, x, indices), counts)


@composite(dtypes="any", cases=ANY)
def unique_inverse(xp, x, /):
    """The distinct elements and which of them every element is: a named tuple."""
    indices, inverse, _ = xp.unique_places(x)
    return UniqueInverse(_representatives(xp, x, indices), inverse)


@composite(dtypes="any", cases=ANY)
def unique_values(xp, x, /):
    """The distinct elements of x, in ascending order."""
    return _representatives(xp, x, xp.unique_places(x)[0])


@composite(dtypes="any", cases=[((6,), (3,))])
def setdiff1d(xp, x1, x2, /, *, assume_unique=False):
    """The elements of x1 that are not in x2; distinct and in order unless x1 is known to be so."""
    x1 = xp.reshape(x1, (-1,)) if assume_unique else xp.unique_values(x1)
    x2 = xp.reshape(x2, (-1,))
    first, inverse, _ = xp.unique_places(xp.concat([x2, x1]))
    new = xp.take(first, inverse[x2.shape[0] :], axis=0) >= x2.shape[0]
    return xp.take(x1, xp.nonzero(new)[0], axis=0)
