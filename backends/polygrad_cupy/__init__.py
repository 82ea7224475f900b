"""CuPy: arrays on CUDA.

Memory comes from CuPy's pool, which CUPY_GPU_MEMORY_LIMIT (bytes, or a share such as "80%") limits; `show_config` tells how much of
it is used and held. Workspaces of cuDNN come from the same pool and go back to it after each call.
"""

import sys
from collections.abc import Callable
from typing import Any

import array_api_compat.cupy as xp
import cupy

from polygrad.core import Backend
from polygrad_cupy import convolution, cudnn, cudnn_frontend, cudnn_norm, cudnn_pool, kernels, runtime

__all__ = ["backend"]

# The import succeeds on a machine without a GPU; only this question finds out.
if not cupy.cuda.is_available():
    raise RuntimeError("CuPy is installed but finds no usable CUDA device or driver")


class Device:
    """CuPy as `polygrad_cupy.runtime` describes a library."""

    empty = staticmethod(cupy.empty)
    zeros = staticmethod(cupy.zeros)
    like = staticmethod(cupy.empty_like)
    contiguous = staticmethod(cupy.ascontiguousarray)
    memory = staticmethod(cupy.cuda.alloc)
    device = staticmethod(cupy.cuda.get_device_id)

    def takes(self, *arrays: Any) -> bool:
        """Whether all are arrays of one dtype on the current device, with elements."""
        here, dtype = cupy.cuda.get_device_id(), arrays[0].dtype if type(arrays[0]) is cupy.ndarray else None
        return all(type(a) is cupy.ndarray and a.dtype == dtype and a.size and a.device.id == here for a in arrays)

    def stream(self) -> int:
        """The address of the current stream."""
        return int(cupy.cuda.get_current_stream().ptr)

    def elementwise(self, inputs: str, outputs: str, body: str, name: str) -> Callable[..., Any]:
        """A kernel that runs this C++ for each element."""
        return cupy.ElementwiseKernel(inputs, outputs, body, name)

    def reduction(self, inputs: str, output: str, body: str, number: str, name: str) -> Callable[..., Any]:
        """A kernel that adds up this C++ expression, in the C++ type `number`."""
        return cupy.ReductionKernel(inputs, output, body, "a + b", "z = a", "0", name, reduce_type=number)


runtime.use(Device())


def owned(array: Any, count: int) -> bool:
    """True for an array with its own memory and at most `count` references, the caller's included."""
    return type(array) is cupy.ndarray and array.base is None and sys.getrefcount(array) <= count


# The dtypes that every CuPy adds atomically: for others it raises TypeError.
ATOMIC = {"float16", "float32", "float64", "int32", "uint32", "uint64"}


def at_add(x: Any, value: Any, /, *, key: Any) -> Any:
    """A copy of x with x[key] += value, repeated indices adding up; declines dtypes without atomic addition."""
    if x.dtype.name not in ATOMIC:
        return NotImplemented
    y = x.copy()
    cupy.add.at(y, key, value)
    return y


def synchronize(array: Any) -> Any:
    """Wait until the array's device has finished."""
    array.device.synchronize()
    return array


PARTS = {"cudnn": cudnn, "cudnn frontend": cudnn_frontend}


def info() -> dict[str, Any]:
    """Versions, devices and memory, for `polygrad.show_config`, which makes the search for cuDNN and its frontend happen."""
    pool, properties = cupy.get_default_memory_pool(), cupy.cuda.runtime.getDeviceProperties
    return {
        "cupy": cupy.__version__,
        "cuda": cupy.cuda.runtime.runtimeGetVersion(),
        **{name: found.text() if (found := part.loaded()) else part.state.reason for name, part in PARTS.items()},
        "names": [properties(i)["name"].decode() for i in range(cupy.cuda.runtime.getDeviceCount())],
        "memory pool": f"{pool.used_bytes()} bytes used of {pool.total_bytes()}, limit {pool.get_limit() or 'none'}",
    }


modules = (convolution, cudnn_norm, cudnn_pool, kernels)

backend = Backend(
    "cupy",
    xp,
    to_numpy=cupy.asnumpy,
    owned=owned,
    blockwise=kernels.blockwise,
    devices=lambda: [cupy.cuda.Device(i) for i in range(cupy.cuda.runtime.getDeviceCount())],
    synchronize=synchronize,
    info=info,
    at_add=at_add,
    **{name: getattr(module, name) for module in modules for name in module.__all__},
)
