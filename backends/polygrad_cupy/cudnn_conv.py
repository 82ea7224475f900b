"""Convolution and its transposes by cuDNN.

float16 and bfloat16 are multiplied by tensor cores and summed in float32. float32 stays float32 unless CUPY_TF32=1 (CuPy's own
switch) lets tensor cores round it to TF32. Only deterministic algorithms are taken, and none that wants more workspace than
POLYGRAD_CUDNN_WORKSPACE bytes (1 GiB by default), which comes from the memory pool and goes back after the call.
"""

import ctypes
import math
import os
from typing import Any

from polygrad_cupy import cudnn
from polygrad_cupy.cudnn import Failure, Library, Performance
from polygrad_cupy.cudnn_descriptors import (
    CODES,
    Descriptor,
    Layout,
    as_plane,
    channels_last,
    dense,
    ints,
    new,
    ordered,
    plan,
    scalar,
    taken,
    tensor,
)
from polygrad_cupy.runtime import current

__all__ = ["conv", "conv_input", "conv_weight"]

WORKSPACE = int(os.environ.get("POLYGRAD_CUDNN_WORKSPACE") or 1 << 30)
TF32 = os.environ.get("CUPY_TF32") == "1"
FUNCTIONS = {"conv": "Forward", "input": "BackwardData", "weight": "BackwardFilter"}
ALGORITHMS = 10  # more than the API has for any of the three

# ------------------------------------------------------------------------------------------------------------- geometry


def symmetric(size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> tuple[Any, Any] | None:
    """How many windows fit along each axis, and the padding before, which then also is enough after.

    None for what cuDNN does not take: cropping, windows that need another padding after, sizes that make no sense.
    """
    n = len(size)
    if not n == len(kernel) == len(stride) == len(padding) == len(dilation) or min(*kernel, *stride, *dilation) < 1:
        return None
    if any(min(pair) < 0 for pair in padding):
        return None
    axes = list(zip(size, kernel, stride, padding, dilation, strict=True))
    out = tuple([(m + lo + hi - d * (k - 1) - 1) // s + 1 for m, k, s, (lo, hi), d in axes])
    same = tuple([(m + 2 * lo - d * (k - 1) - 1) // s + 1 for m, k, s, (lo, _), d in axes])
    return (out, tuple([lo for lo, _ in padding])) if out == same and min(out) > 0 else None


def _filter(lib: Library, layout: Layout, last: bool) -> Descriptor:
    shape, _, dtype = layout
    format = cudnn.TENSOR_NHWC if last else cudnn.TENSOR_NCHW
    return Descriptor(lib, "Filter", ("SetFilterNdDescriptor", CODES[dtype], format, len(shape), ints(shape)))


def _convolution(lib: Library, dtype: str, steps: tuple[Any, ...], groups: int) -> Descriptor:
    padding, stride, dilation = steps
    if len(padding) == 1:
        padding, stride, dilation = (0, *padding), (1, *stride), (1, *dilation)
    if dtype in ("float16", "bfloat16"):
        math_type = cudnn.TENSOR_OP_MATH
    else:
        math_type = cudnn.FMA_MATH if dtype == "float32" and not TF32 else cudnn.DEFAULT_MATH
    compute = cudnn.DATA_DOUBLE if dtype == "float64" else cudnn.DATA_FLOAT
    numbers = (len(padding), ints(padding), ints(stride), ints(dilation))
    return Descriptor(
        lib,
        "Convolution",
        ("SetConvolutionNdDescriptor", *numbers, cudnn.CROSS_CORRELATION, compute),
        ("SetConvolutionGroupCount", groups),
        ("SetConvolutionMathType", math_type),
    )


class _Plan:
    """One of the three convolutions for one geometry: its descriptors, and the algorithms that may do it, best first."""

    def __init__(self, lib: Library, kind: str, x: Layout, w: Layout, y: Layout, steps: Any, groups: int):
        self.lib, self.function = lib, FUNCTIONS[kind]
        last = x.last
        images = {"x": tensor(lib, as_plane(x)), "y": tensor(lib, as_plane(y)), "w": _filter(lib, as_plane(w), last)}
        self.operands = [images[name] for name in {"conv": "xwy", "input": "wyx", "weight": "xyw"}[kind]]
        self.convolution = _convolution(lib, x.dtype, steps, groups)
        self.one, self.nothing = scalar(1, x.dtype), scalar(0, x.dtype)
        self.algorithms = self._algorithms()
        if not self.algorithms:
            raise Failure("no deterministic algorithm that is content with the workspace")

    def _algorithms(self) -> list[tuple[int, int]]:
        """(algorithm, bytes of its workspace), in the order in which the library expects them to be fast."""
        a, b, c = (d.pointer for d in self.operands)
        call, count, found = self.lib.call, ctypes.c_int(), (Performance * ALGORITHMS)()
        handle, convolution = self.lib.handle(), self.convolution.pointer
        name = f"GetConvolution{self.function}Algorithm_v7"
        call(name, handle, a, b, convolution, c, ALGORITHMS, ctypes.byref(count), found)
        algorithms = []
        for one in found[: count.value]:
            if one.status or one.determinism != cudnn.DETERMINISTIC:
                continue
            size = ctypes.c_size_t()
            try:
                name = f"GetConvolution{self.function}WorkspaceSize"
                call(name, handle, a, b, convolution, c, one.algo, ctypes.byref(size))
            except Failure:
                continue
            if size.value <= WORKSPACE:
                algorithms.append((one.algo, size.value))
        return algorithms

    def __call__(self, *arrays: Any) -> bool:
        """Run it on the two operands and the result; False where no algorithm does it after all."""
        handle = self.lib.handle()
        (a, b, c), (of_a, of_b, of_c) = self.operands, arrays
        for algorithm, size in self.algorithms:
            try:
                memory = current().memory(size) if size else None
                self.lib.call(
                    f"Convolution{self.function}",
                    *(handle, ctypes.byref(self.one), a.pointer, of_a.data.ptr, b.pointer, of_b.data.ptr),
                    *(self.convolution.pointer, algorithm, memory.ptr if memory is not None else None, size),
                    *(ctypes.byref(self.nothing), c.pointer, of_c.data.ptr),
                )
                return True
            except Failure:
                self.algorithms = [other for other in self.algorithms if other[0] != algorithm]
            except MemoryError:
                continue
        return False


# ------------------------------------------------------------------------------------------------------------- the ops


def _fits(x_shape: Any, w_shape: Any, groups: int) -> bool:
    return (
        3 <= len(x_shape) == len(w_shape) <= 5
        and groups >= 1
        and w_shape[0] % groups == 0
        and w_shape[1] * groups == x_shape[1]
        and min(*x_shape, *w_shape) > 0
    )


def _run(kind: str, shapes: Any, a: Any, b: Any, geometry: tuple[Any, ...], groups: int) -> Any:
    """One of the three on two arrays; where cuDNN has no channels-last kernel for it, on C-contiguous copies."""
    dtype = a.dtype.name
    images = {"conv": (a,), "input": (b,), "weight": (a, b)}[kind]
    for last in (True, False) if any(channels_last(i) for i in images) else (False,):
        x, w, y = (dense(shape, dtype, last) for shape in shapes)
        key = (kind, x, w, y, geometry, groups)
        run = plan(key, lambda lib, x=x, w=w, y=y: _Plan(lib, kind, x, w, y, geometry, groups))
        if run is None:
            continue
        result = new({"conv": y, "input": x, "weight": w}[kind].shape, a.dtype, last)
        if run(ordered(a, last), ordered(b, last), result):
            return current().contiguous(result) if kind == "weight" else result
    return NotImplemented


def conv(x: Any, w: Any, /, *, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """The op `conv`; the result's memory is channels-last if that of x is."""
    if not taken(x, w) or not _fits(x.shape, w.shape, groups):
        return NotImplemented
    found = symmetric(x.shape[2:], w.shape[2:], stride, padding, dilation)
    if found is None:
        return NotImplemented
    out, before = found
    shapes = (x.shape, w.shape, (x.shape[0], w.shape[0], *out))
    if math.prod(shapes[2]) >= 1 << 31:
        return NotImplemented
    return _run("conv", shapes, x, w, (before, tuple(stride), tuple(dilation)), groups)


def conv_input(z: Any, w: Any, /, *, shape: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """The op `conv_input`; the result's memory is channels-last if that of z is."""
    if not taken(z, w):
        return NotImplemented
    x_shape = (z.shape[0], w.shape[1] * groups, *shape)
    if not _fits(x_shape, w.shape, groups) or math.prod(x_shape) >= 1 << 31:
        return NotImplemented
    found = symmetric(shape, w.shape[2:], stride, padding, dilation)
    if found is None or tuple(z.shape[1:]) != (w.shape[0], *found[0]):
        return NotImplemented
    return _run("input", (x_shape, w.shape, z.shape), w, z, (found[1], tuple(stride), tuple(dilation)), groups)


def conv_weight(x: Any, z: Any, /, *, shape: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """The op `conv_weight`; the result is C-contiguous."""
    if not taken(x, z) or groups < 1 or x.shape[1] % groups or len(x.shape) != len(z.shape):
        return NotImplemented
    w_shape = (z.shape[1], x.shape[1] // groups, *shape)
    found = symmetric(x.shape[2:], shape, stride, padding, dilation)
    if found is None or not _fits(x.shape, w_shape, groups):
        return NotImplemented
    if tuple(z.shape) != (x.shape[0], w_shape[0], *found[0]):
        return NotImplemented
    return _run("weight", (x.shape, w_shape, z.shape), x, z, (found[1], tuple(stride), tuple(dilation)), groups)
