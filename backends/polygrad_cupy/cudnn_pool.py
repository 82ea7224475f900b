"""Average pooling and its transpose by cuDNN. (Maxima are in `kernels`: cuDNN's do not say where they were found.)"""

import ctypes
import math
from typing import Any

from polygrad_cupy import cudnn
from polygrad_cupy.cudnn import Library
from polygrad_cupy.cudnn_descriptors import (
    Descriptor,
    Layout,
    Work,
    as_plane,
    channels_last,
    dense,
    ints,
    new,
    ordered,
    plan,
    scalar,
    small,
    taken,
    tensor,
)
from polygrad_cupy.geometry import symmetric
from polygrad_cupy.runtime import current

__all__ = ["avg_pool", "avg_unpool"]


class _Plan(Work):
    """Pooling for one geometry: its descriptors, and the factors of the result."""

    def __init__(self, lib: Library, x: Layout, y: Layout, windows: Any, include: bool, divisor: Any):
        kernel, padding, stride = windows
        super().__init__(lib)
        self.x, self.y = tensor(lib, as_plane(x)), tensor(lib, as_plane(y))
        factor = 1.0 if divisor is None else math.prod(kernel) / divisor
        self.factor, self.nothing = scalar(factor, x.dtype), scalar(0, x.dtype)
        if len(kernel) == 1:
            kernel, padding, stride = (1, *kernel), (0, *padding), (1, *stride)
        mode = (
            cudnn.POOLING_AVERAGE_COUNT_INCLUDE_PADDING
            if include or divisor is not None
            else cudnn.POOLING_AVERAGE_COUNT_EXCLUDE_PADDING
        )
        numbers = (len(kernel), ints(kernel), ints(padding), ints(stride))
        self.pooling = Descriptor(lib, "Pooling", ("SetPoolingNdDescriptor", mode, cudnn.PROPAGATE_NAN, *numbers))

    def forward(self, x: Any, y: Any) -> bool:
        """Put the means of x into y; False where it cannot be done."""
        factors = ctypes.byref(self.factor), ctypes.byref(self.nothing)
        return self.call(
            "PoolingForward",
            *(self.pooling.pointer, factors[0], self.x.pointer, x.data.ptr),
            *(factors[1], self.y.pointer, y.data.ptr),
        )

    def backward(self, z: Any, x: Any) -> bool:
        """Put z, shared out over the windows, into x, which is zeros; False where it cannot be done.

        The function also asks for the operand and the result of the pooling, which means do not depend on: it gets zeros and z.
        """
        factors = ctypes.byref(self.factor), ctypes.byref(self.nothing)
        return self.call(
            "PoolingBackward",
            *(self.pooling.pointer, factors[0], self.y.pointer, z.data.ptr),
            *(self.y.pointer, z.data.ptr, self.x.pointer, x.data.ptr, factors[1], self.x.pointer, x.data.ptr),
        )


def _windows(size: Any, kernel: Any, stride: Any, padding: Any) -> tuple[Any, Any] | None:
    """The number of windows, and (kernel, padding before, stride); None for what cuDNN does not take."""
    found = symmetric(size, kernel, stride, padding, (1,) * len(size)) if 1 <= len(size) <= 3 else None
    if found is None or any(p >= k for p, k in zip(found[1], kernel, strict=True)):
        return None
    return found[0], (tuple(kernel), found[1], tuple(stride))


def _plan(x: Layout, y: Layout, windows: Any, include: bool, divisor: Any) -> Any:
    return plan(("pool", x, y, windows, include, divisor), lambda lib: _Plan(lib, x, y, windows, include, divisor))


def avg_pool(
    x: Any, /, *, kernel_size: Any, stride: Any, padding: Any, count_include_pad: Any, divisor_override: Any
) -> Any:
    """The op `avg_pool`; the result's memory is channels-last if that of x is."""
    if not taken(x) or divisor_override == 0:
        return NotImplemented
    found = _windows(x.shape[2:], kernel_size, stride, padding)
    if found is None:
        return NotImplemented
    out, windows = found
    y_shape = (*x.shape[:2], *out)
    if not small(y_shape):
        return NotImplemented
    for last in (True, False) if channels_last(x) else (False,):
        layouts = (dense(shape, x.dtype.name, last) for shape in (x.shape, y_shape))
        run = _plan(*layouts, windows, bool(count_include_pad), divisor_override)
        if run is None:
            continue
        y = new(y_shape, x.dtype, last)
        if run.forward(ordered(x, last), y):
            return y
    return NotImplemented


def avg_unpool(
    z: Any,
    /,
    *,
    shape: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    count_include_pad: Any,
    divisor_override: Any,
) -> Any:
    """The op `avg_unpool`; the result is C-contiguous."""
    if not taken(z) or divisor_override == 0 or not small((*z.shape[:2], *shape)):
        return NotImplemented
    found = _windows(shape, kernel_size, stride, padding)
    if found is None or tuple(z.shape[2:]) != found[0]:
        return NotImplemented
    x_layout, z_layout = (dense(s, z.dtype.name) for s in ((*z.shape[:2], *shape), z.shape))
    run = _plan(x_layout, z_layout, found[1], bool(count_include_pad), divisor_override)
    if run is None:
        return NotImplemented
    x = current().zeros(x_layout.shape, z.dtype)
    return x if run.backward(ordered(z, False), x) else NotImplemented
