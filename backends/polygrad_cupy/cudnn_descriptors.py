"""Descriptors of cuDNN: an array's shape, strides and dtype, a weight's, and the numbers that scale results."""

import ctypes
import math
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

from polygrad_cupy import cudnn
from polygrad_cupy.cudnn import Library, loaded
from polygrad_cupy.plans import Failure, Plans
from polygrad_cupy.runtime import current

__all__ = [
    "Descriptor",
    "Layout",
    "Work",
    "as_plane",
    "channels_last",
    "dense",
    "floats",
    "ints",
    "new",
    "ordered",
    "plan",
    "scalar",
    "small",
    "taken",
    "tensor",
]

CODES = {
    "float32": cudnn.DATA_FLOAT,
    "float64": cudnn.DATA_DOUBLE,
    "float16": cudnn.DATA_HALF,
    "bfloat16": cudnn.DATA_BFLOAT16,
}
MOST = 2048  # plans that are kept
ALIGNED = 16  # bytes: kernels load vectors, and what lies between is copied
ELEMENTS = 1 << 31  # the API counts with 32 bits


class Layout(NamedTuple):
    """An array's shape (N, C, *S), its strides in elements, and the name of its dtype."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str

    @property
    def last(self) -> bool:
        """Whether channels are innermost in memory."""
        return self.strides != _dense(self.shape)


def _dense(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides = [1] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        strides[i] = strides[i + 1] * shape[i + 1]
    return tuple(strides)


def dense(shape: tuple[int, ...], dtype: str, last: bool = False) -> Layout:
    """The layout of a C-contiguous array, or with `last` of a channels-last one, (N, C, *S)."""
    shape = tuple(shape)
    if not last:
        return Layout(shape, _dense(shape), dtype)
    n, c, *space = shape
    outer, *inner, _ = _dense((n, *space, c))
    return Layout(shape, (outer, 1, *inner), dtype)


def as_plane(layout: Layout) -> Layout:
    """One spatial axis as the second of two: the API has no convolution and no pooling along one axis."""
    shape, strides, dtype = layout
    if len(shape) != 3:
        return layout
    return Layout((*shape[:2], 1, shape[2]), (*strides[:2], strides[2] * shape[2], strides[2]), dtype)


def ints(numbers: Any) -> Any:
    """An array of ints as the API takes it."""
    return (ctypes.c_int * cudnn.DIM_MAX)(*numbers)


def scalar(value: float, dtype: str) -> Any:
    """A factor of a result: double for arrays of float64, float for all others."""
    return (ctypes.c_double if dtype == "float64" else ctypes.c_float)(value)


class Descriptor:
    """A descriptor of the library, which lives as long as this."""

    def __init__(self, lib: Library, kind: str, *settings: tuple[Any, ...]):
        """Make one of this kind; `settings` are calls, each (function, arguments after the descriptor)."""
        self.destroy = lib.functions[f"Destroy{kind}Descriptor"]
        self.pointer = ctypes.c_void_p()
        lib.call(f"Create{kind}Descriptor", ctypes.byref(self.pointer))
        for name, *arguments in settings:
            lib.call(name, self.pointer, *arguments)

    def __del__(self) -> None:
        if self.pointer:
            self.destroy(self.pointer)


def tensor(lib: Library, layout: Layout) -> Descriptor:
    """The descriptor of an array."""
    shape, strides, dtype = layout
    return Descriptor(lib, "Tensor", ("SetTensorNdDescriptor", CODES[dtype], len(shape), ints(shape), ints(strides)))


# ---------------------------------------------------------------------------------------------------------------- arrays


def floats(*arrays: Any) -> bool:
    """Whether these are arrays of one dtype that cuDNN has, on the current device."""
    return current().takes(*arrays) and arrays[0].dtype.name in CODES


def small(*shapes: tuple[int, ...]) -> bool:
    """Whether 32 bits count the elements of arrays of these shapes."""
    return all(math.prod(shape) < ELEMENTS for shape in shapes)


def taken(*arrays: Any) -> bool:
    """Whether the functions of cuDNN do something with arrays of this kind: one dtype of floats, not too large."""
    return floats(*arrays) and small(*(a.shape for a in arrays))


def channels_last(x: Any, *ranks: int) -> bool:
    """Whether the memory of x (N, C, *S), of one of these ranks (4 if there are none), is channels-last.

    Not so for float64, for which cuDNN has no such kernels.
    """
    return (
        x.ndim in (ranks or (4,))
        and not x.flags.c_contiguous
        and x.dtype.name != "float64"
        and bool(x.transpose(0, *range(2, x.ndim), 1).flags.c_contiguous)
    )


def ordered(x: Any, last: bool) -> Any:
    """x (N, C, *S), its memory aligned, and channels-last or C-contiguous: itself where it is so, else a copy."""
    held = current().contiguous(x.transpose(0, *range(2, x.ndim), 1) if last else x)
    if held.data.ptr % ALIGNED:
        held = held.copy()
    return held.transpose(0, x.ndim - 1, *range(1, x.ndim - 1)) if last else held


def new(shape: tuple[int, ...], dtype: Any, last: bool) -> Any:
    """A new array (N, C, *S), its memory channels-last or C-contiguous."""
    if not last:
        return current().empty(tuple(shape), dtype)
    n, c, *space = shape
    return current().empty((n, *space, c), dtype).transpose(0, len(shape) - 1, *range(1, len(shape) - 1))


# ----------------------------------------------------------------------------------------------------------------- plans

_plans = Plans(MOST)


def plan(key: Hashable, make: Callable[[Library], Any]) -> Any:
    """What `make(library)` gave for this key on this device; None where there is no library, or it does not do the case."""
    lib = loaded()
    return None if lib is None else _plans.find((id(lib), key), lambda: make(lib))


class Work:
    """Work of the library for one geometry."""

    def __init__(self, lib: Library):
        self.lib, self.done = lib, True

    def call(self, name: str, *arguments: Any) -> bool:
        """Call a function with this thread's handle; False where it does not do the case, and it is not asked again."""
        if self.done:
            try:
                self.lib.call(name, self.lib.handle(), *arguments)
            except Failure:
                self.done = False
        return self.done
