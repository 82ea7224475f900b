"""MLX: arrays in the memory that Apple's CPUs and GPUs share, and on the CPU elsewhere. Computed when looked at."""

from importlib.metadata import version
from typing import Any

import mlx.core as mx
import numpy as np

from polygrad.core import Backend
from polygrad_mlx.namespace import DEVICE, device, xp

__all__ = ["backend"]


def to_numpy(array: mx.array) -> np.ndarray:
    """The values as an ndarray (bfloat16, which NumPy lacks, as float32)."""
    return np.array(array.astype(mx.float32) if array.dtype == mx.bfloat16 else array)


def _has_mask(key: Any) -> bool:
    return any(isinstance(k, mx.array) and k.dtype == mx.bool_ for k in (key if isinstance(key, tuple) else (key,)))


def getitem(x: mx.array, /, *, key: Any) -> mx.array:
    """x[key]; a mask, which MLX does not read with, is turned into the places where it is true."""
    if isinstance(key, mx.array) and key.dtype == mx.bool_:
        places = mx.array(np.flatnonzero(np.array(key)))
        return mx.take(x.reshape(-1, *x.shape[key.ndim :]), places, axis=0)
    return NotImplemented


def at_add(x: mx.array, value: Any, /, *, key: Any) -> mx.array:
    """A copy of x with x[key] += value, repeated indices adding up; declines masks and empty arrays."""
    if _has_mask(key) or 0 in x.shape:
        return NotImplemented
    return x.at[key].add(value)


def to_device(x: mx.array, /, *, device: Any) -> mx.array:
    """x itself: there is one device."""
    return xp.asarray(x, device=device)


def synchronize(array: mx.array) -> mx.array:
    """Wait until the array is computed."""
    mx.eval(array)
    return array


def info() -> dict[str, Any]:
    """Versions, for `polygrad.show_config`."""
    return {"mlx": version("mlx")}


backend = Backend(
    "mlx",
    xp,
    to_numpy=to_numpy,
    devices=lambda: [DEVICE],
    device=device,
    synchronize=synchronize,
    info=info,
    getitem=getitem,
    at_add=at_add,
    to_device=to_device,
)
