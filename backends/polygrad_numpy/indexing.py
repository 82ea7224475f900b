"""Indexing on NumPy: reads and sums at places of the flattened array, sums over repeats slice by slice, the largest by partition.

What these do not take (small arrays, indices that are out of bounds or that broadcast, masks among other indices) is declined
or left to NumPy's own indexing.
"""

import math
from typing import Any

import numpy as np

from polygrad_numpy import namespace

__all__ = ["argsort", "at_add", "put_along_axis_add", "take_along_axis", "top_indices"]

MANY = 1 << 12  # elements; below this, the calls cost more than the memory
FEW_ROWS = 4  # from so few places on, a sum for each is faster
NARROW = 16  # slices of fewer elements are added one element at a time
FULL = slice(None)


# ------------------------------------------------------------------------------------------------------------- along an axis


def _places(shape: tuple[int, ...], indices: Any, axis: int) -> np.ndarray | None:
    """Where in an array of that shape, flattened, `indices` point along `axis`; None unless they match elsewhere and are in bounds."""
    axis %= len(shape)
    n = shape[axis]
    if indices.ndim != len(shape) or indices.shape != (*shape[:axis], indices.shape[axis], *shape[axis + 1 :]):
        return None
    if not indices.size or indices.dtype.kind not in "iu" or indices.min() < 0 or indices.max() >= n:
        return None
    outer, inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    return _flat(indices.reshape(outer, -1, inner), outer, n, inner).reshape(indices.shape)


def _flat(places: np.ndarray, outer: int, n: int, inner: int) -> np.ndarray:
    """Where the elements (i, places[i, :, j], j) of an array (outer, n, inner) lie in its memory; places may broadcast."""
    flat = np.broadcast_to(places, (outer, places.shape[1], inner)) * np.int64(inner)
    flat += np.arange(inner)
    flat += (np.arange(outer) * (n * inner))[:, None, None]
    return flat


def take_along_axis(x: Any, indices: Any, /, *, axis: int = -1) -> Any:
    """The op `take_along_axis` (twice as fast as with an index for each axis)."""
    if type(x) is not np.ndarray or indices.size < MANY or not x.flags.c_contiguous:
        return NotImplemented
    places = _places(x.shape, indices, axis)
    return NotImplemented if places is None else x.reshape(-1).take(places)


def put_along_axis_add(x: Any, indices: Any, /, *, shape: tuple[int, ...], axis: int) -> Any:
    """The op `put_along_axis_add` (7 times as fast as with an index for each axis)."""
    if x.size < MANY or x.shape != indices.shape:
        return NotImplemented
    places = _places(shape, indices, axis)
    if places is None:
        return NotImplemented
    y = np.zeros(math.prod(shape), x.dtype)
    np.add.at(y, places.reshape(-1), x.reshape(-1))
    return y.reshape(shape)


# ------------------------------------------------------------------------------------------------------------------- sums


def sums_at(y: np.ndarray, values: np.ndarray, places: np.ndarray) -> None:
    """y[:, places] += values for y (outer, n, inner) and values (outer, k, inner), repeats adding up; places are of [0, n).

    The first slice of each place, then the second ... (2 to 4 times faster than sums over sorted runs). Where there are more
    repeats than places, each place has its slices summed.
    """
    n, k = y.shape[1], len(places)
    counts = np.bincount(places, minlength=n)
    most = int(counts.max(initial=0))
    order = None if k < 2 or (places[1:] >= places[:-1]).all() else np.argsort(places, kind="stable")
    if order is None and k == n * most:  # as of repeat_interleave
        runs = values.reshape(y.shape[0], n, most, y.shape[2])
        for i in range(most if most <= n else 0):
            y += runs[:, :, i]
        if most > n:
            y += runs.sum(2)
        return
    first, done = np.cumsum(counts) - counts, 0
    here = np.flatnonzero(counts)
    lead: tuple[slice, ...] = (FULL,)
    if y.shape[0] == 1:  # NumPy indexes the first axis a tenth faster
        y, values, lead = y[0], values[0], ()
    while len(here) > max(FEW_ROWS, most - done):
        chosen = first[here] + done
        part = values[*lead, chosen if order is None else order[chosen]]
        if len(here) == n:
            y += part
        else:
            y[*lead, here] += part
        done += 1
        here = here[counts[here] > done]
    for place in here.tolist():
        run = slice(first[place] + done, first[place] + counts[place])
        y[*lead, place] += values[*lead, run if order is None else order[run]].sum(len(lead))


def at_add(x: Any, value: Any, /, *, key: Any) -> Any:
    """A copy of x with x[key] += value, repeated indices adding up; declines keys without an array."""
    parts = key if isinstance(key, tuple) else (key,)
    arrays = [k for k in parts if isinstance(k, np.ndarray)]
    if not arrays:
        return NotImplemented
    y = x.copy()
    if len(parts) == 1 and arrays[0].dtype == bool:
        y[key] += value
    elif not (_add_slices(y, value, parts, arrays) or _add_elements(y, value, parts, arrays)):
        np.add.at(y, key, value)
    return y


def _in_bounds(index: np.ndarray, n: int) -> np.ndarray | None:
    """Indices of an axis of size n, without negative ones; None for others, which NumPy explains."""
    if index.dtype.kind not in "iu" or not index.size:
        return None
    least = index.min()
    if index.max() >= n or least < -n:
        return None
    return np.where(index < 0, index + n, index) if least < 0 else index


def _add_slices(y: np.ndarray, value: Any, parts: tuple[Any, ...], arrays: list[np.ndarray]) -> bool:
    """Do it for a key of one array among full slices; whether it was done."""
    if len(arrays) != 1 or not y.flags.c_contiguous or any(type(k) is not np.ndarray and k != FULL for k in parts):
        return False
    axis = next(i for i, k in enumerate(parts) if type(k) is np.ndarray)
    before, after = y.shape[:axis], y.shape[axis + 1 :]
    outer, n, inner = math.prod(before), y.shape[axis], math.prod(after)
    places = _in_bounds(arrays[0], n)
    if places is None or not y.size:
        return False
    values = np.broadcast_to(value, (*before, *places.shape, *after)).reshape(outer, -1, inner)
    if outer * inner >= NARROW:
        sums_at(y.reshape(outer, n, inner), values, places.reshape(-1))
    else:
        np.add.at(y.reshape(-1), _flat(places.reshape(1, -1, 1), outer, n, inner).reshape(-1), values.reshape(-1))
    return True


def _add_elements(y: np.ndarray, value: Any, parts: tuple[Any, ...], arrays: list[np.ndarray]) -> bool:
    """Do it for a key of an array for each axis; whether it was done."""
    if len(arrays) != len(parts) or len(parts) != y.ndim or not y.flags.c_contiguous:
        return False
    places: Any = 0
    for index, n in zip(arrays, y.shape, strict=True):
        found = _in_bounds(index, n)
        if found is None:
            return False
        places = places * n + found
    values = np.broadcast_to(value, places.shape)
    np.add.at(y.reshape(-1), places.reshape(-1), values.reshape(-1))
    return True


# ------------------------------------------------------------------------------------------------------------------ order


def argsort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """The op `argsort` of numbers that all differ, whose order does not ask for a stable sort (which takes 4 times as long)."""
    if type(x) is not np.ndarray or x.dtype.kind != "f" or x.size < MANY:
        return NotImplemented
    order = np.argsort(x, axis=axis)
    y = np.moveaxis(np.take_along_axis(x, order, axis), axis, -1)
    if not (y[..., 1:] > y[..., :-1]).all():  # equal ones, or NaN
        return NotImplemented
    return np.flip(order, axis) if descending else order


def top_indices(x: Any, /, *, k: int, axis: int, largest: bool) -> Any:
    """The op `top_indices` of few among many, by a partition; declines NaN, and equal ones of which only some are among the k."""
    n = x.shape[axis]
    if type(x) is not np.ndarray or x.size < MANY or not 0 < 4 * k <= n:
        return NotImplemented
    rows = np.moveaxis(x, axis, -1)
    found = np.argpartition(rows, n - k if largest else k - 1, axis=-1)
    found = np.sort(found[..., n - k :] if largest else found[..., :k], axis=-1)
    values = np.take_along_axis(rows, found, -1)
    edge = (values.min(-1) if largest else values.max(-1))[..., None]
    if np.count_nonzero(rows >= edge if largest else rows <= edge) != found.size:
        return NotImplemented
    order = namespace.argsort(values, axis=-1, descending=largest, stable=True)
    return np.moveaxis(np.take_along_axis(found, order, -1), -1, axis)
