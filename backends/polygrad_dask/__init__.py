"""Dask: arrays in chunks, computed when they are looked at, larger than memory if need be."""

from typing import Any

import dask
import dask.array as da
import numpy as np

from polygrad.core import Backend
from polygrad_dask.namespace import sized, xp

__all__ = ["backend"]


def to_numpy(array: da.Array) -> np.ndarray:
    """The values as an ndarray."""
    return np.asarray(array.compute())


def getitem(x: da.Array, /, *, key: Any) -> da.Array:
    """x[key]; the size of what a mask picks is computed at once."""
    if isinstance(key, da.Array) and key.dtype == bool:
        return sized(x[key])
    return NotImplemented


def at_set(x: da.Array, value: Any, /, *, key: Any) -> da.Array:
    """A copy of x with x[key] = value for a mask, whose size Dask does not know, and x itself if it is empty; else declined."""
    if 0 in x.shape:
        return x
    if not (isinstance(key, da.Array) and key.dtype == bool):
        return NotImplemented
    mask = key.reshape(*key.shape, *(1,) * (x.ndim - key.ndim))
    if getattr(value, "ndim", 0) == 0:
        return da.where(mask, value, x).astype(x.dtype)
    count, rest = int(key.sum()), x.shape[key.ndim :]
    if count == 0:
        return x
    places = da.maximum(da.cumsum(key.reshape(-1).astype(np.int64), axis=0) - 1, 0)
    values = da.take(da.broadcast_to(value, (count, *rest)), places.compute(), axis=0)
    return da.where(mask, values.reshape(x.shape), x).astype(x.dtype)


def info() -> dict[str, Any]:
    """Versions, for `polygrad.show_config`."""
    return {"dask": dask.__version__}


backend = Backend(
    "dask",
    xp,
    to_numpy=to_numpy,
    devices=lambda: ["cpu"],
    device=lambda x: "cpu",
    info=info,
    getitem=getitem,
    at_set=at_set,
)
