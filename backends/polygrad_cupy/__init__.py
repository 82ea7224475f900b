"""CuPy: arrays on CUDA."""

import sys
from typing import Any

import array_api_compat.cupy as xp
import cupy

from polygrad.core import Backend

__all__ = ["backend"]

# The import succeeds on a machine without a GPU; only this question finds out.
if not cupy.cuda.is_available():
    raise RuntimeError("CuPy is installed but finds no usable CUDA device or driver")


def owned(array: Any, count: int) -> bool:
    """True for an array with its own memory and at most `count` references, the caller's included."""
    return type(array) is cupy.ndarray and array.base is None and sys.getrefcount(array) <= count


def at_add(x: Any, value: Any, /, *, key: Any) -> Any:
    """A copy of x with x[key] += value, repeated indices adding up; declines dtypes without atomic addition."""
    if x.dtype.char not in "efdFDilIL":
        return NotImplemented
    y = x.copy()
    cupy.add.at(y, key, value)
    return y


def synchronize(array: Any) -> Any:
    """Wait until the array's device has finished."""
    array.device.synchronize()
    return array


def info() -> dict[str, Any]:
    """Versions and devices, for `polygrad.show_config`."""
    runtime = cupy.cuda.runtime
    names = [runtime.getDeviceProperties(i)["name"].decode() for i in range(runtime.getDeviceCount())]
    return {"cupy": cupy.__version__, "cuda": runtime.runtimeGetVersion(), "devices": names}


backend = Backend(
    "cupy",
    xp,
    to_numpy=cupy.asnumpy,
    owned=owned,
    devices=lambda: [cupy.cuda.Device(i) for i in range(cupy.cuda.runtime.getDeviceCount())],
    synchronize=synchronize,
    info=info,
    at_add=at_add,
)
