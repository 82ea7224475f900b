"""`array_api_compat.dask.array` with what Dask lacks or leaves open.

A result whose size depends on values (nonzero, masks) is computed at once, for a shape that is unknown cannot be
differentiated through.
"""

import math
from typing import Any

import array_api_compat.dask.array as compat
import dask.array as da
import numpy as np

from polygrad.core.backend import Namespace
from polygrad_dask import linear_algebra

__all__ = ["sized", "xp"]


def sized(x: da.Array) -> da.Array:
    """x with a known shape."""
    return x.compute_chunk_sizes() if any(math.isnan(n) for n in x.shape) else x


def asarray(obj: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None) -> da.Array:
    """An array of a number, nested lists or an array of the host, in one chunk."""
    if isinstance(obj, da.Array):
        obj = obj if dtype is None else obj.astype(dtype)
        return obj.copy() if copy else obj  # an assignment changes the object, not a view of it
    return da.from_array(np.array(obj, dtype=dtype), chunks=-1)


def eye(n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: Any = None, device: Any = None) -> da.Array:
    """Ones on the k-th diagonal."""
    return asarray(np.eye(n_rows, n_cols, k=k, dtype=dtype))


def nonzero(x: da.Array, /) -> tuple[da.Array, ...]:
    """The positions of the elements that are not zero."""
    return tuple(asarray(places) for places in np.nonzero(x.compute()))


def repeat(x: da.Array, repeats: Any, /, *, axis: int | None = None) -> da.Array:
    """Each slice along `axis` so many times in a row."""
    if axis is None:
        x, axis = x.reshape(-1), 0
    places = np.repeat(np.arange(x.shape[axis]), np.asarray(repeats))
    return da.take(x, places, axis=axis)


def reshape(x: da.Array, /, shape: Any, *, copy: bool | None = None) -> da.Array:
    """x in another shape; Dask's own refuses some of empty arrays."""
    return asarray(x.compute().reshape(shape)) if 0 in x.shape else compat.reshape(x, shape, copy=copy)


def take(x: da.Array, indices: da.Array, /, *, axis: int | None = None) -> da.Array:
    """The slices of x along `axis` that the indices name; a complex x in two parts, for Dask warns of casts to real."""
    axis = 0 if axis is None else axis
    if x.dtype.kind == "c":
        return (da.take(x.real, indices, axis=axis) + 1j * da.take(x.imag, indices, axis=axis)).astype(x.dtype)
    return da.take(x, indices, axis=axis)


def roll(x: da.Array, /, shift: Any, *, axis: Any = None) -> da.Array:
    """x moved along axes, what falls off at one end coming in at the other."""
    return x if 0 in x.shape else compat.roll(x, shift, axis=axis)


xp = Namespace("dask.array")
vars(xp).update({name: getattr(compat, name) for name in dir(compat) if not name.startswith("_")})
xp.__array_namespace_info__ = compat.__array_namespace_info__
for _function in (asarray, eye, nonzero, repeat, reshape, take, roll):
    setattr(xp, _function.__name__, _function)
xp.linalg = linear_algebra.xp
