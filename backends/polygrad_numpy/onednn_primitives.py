"""Primitives of oneDNN on NumPy's memory: made once for each geometry and thread, then called with other arrays.

An argument that the primitive wants in another layout is reordered into this thread's arena. Arrays of images are logically
channels-first; their memory is channels-last, which oneDNN's convolutions like best and NumPy's functions hand on.
"""

import ctypes
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from polygrad_numpy.blas import address
from polygrad_numpy.onednn import Failure, Library, loaded, state

__all__ = [
    "ANY",
    "Descriptor",
    "Primitive",
    "channels_last",
    "dense",
    "described",
    "dims",
    "images",
    "new_images",
    "primitive",
    "taken",
]

F32, ANY_TAG = 3, 1
FLOAT32 = np.dtype(np.float32)
SRC, DST = 1, 17
MOST = 2048  # primitives held by a thread; a program that makes new shapes for ever must not fill the memory
ANY = "any"

Descriptor = tuple[tuple[int, ...], Any]  # a shape, and the strides in elements or ANY


class _Argument(ctypes.Structure):
    _fields_ = (("argument", ctypes.c_int), ("memory", ctypes.c_void_p))


def dense(shape: tuple[int, ...]) -> Descriptor:
    """The descriptor of a C-contiguous array."""
    strides = [1] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        strides[i] = strides[i + 1] * shape[i + 1]
    return tuple(shape), tuple(strides)


def images(shape: tuple[int, ...]) -> Descriptor:
    """The descriptor of an array (N, C, *S) whose memory is channels-last."""
    n, c, *space = shape
    strides = dense((n, *space, c))[1]
    return tuple(shape), (strides[0], 1, *strides[1:-1])


def dims(numbers: Any) -> Any:
    """An array of dimensions as the C API takes it."""
    return (ctypes.c_int64 * 12)(*numbers)


def described(lib: Library, descriptor: Descriptor) -> Any:
    """A memory descriptor of float32."""
    shape, strides = descriptor
    if strides == ANY:
        return lib.make("memory_desc_create_with_tag", len(shape), dims(shape), F32, ANY_TAG)
    return lib.make("memory_desc_create_with_strides", len(shape), dims(shape), F32, dims(strides))


class _Arena:
    """This thread's memory for reordered arguments; a call uses it from the start, and nothing in it outlives the call."""

    def __init__(self) -> None:
        self.memory = np.empty(0, np.uint8)

    def address(self, size: int) -> int:
        if self.memory.size < size + 64:
            self.memory = np.empty(size + 64, np.uint8)
        start = address(self.memory)
        return start + -start % 64


class _Kept:
    """Objects of the library that live as long as this one: primitives and memories (descriptors are small, and stay)."""

    def __init__(self, lib: Library):
        self.lib = lib
        self.objects: list[tuple[str, Any]] = []

    def make(self, kind: str, *arguments: Any) -> Any:
        """A new primitive or memory."""
        made = self.lib.make(f"{kind}_create", *arguments)
        self.objects.append((kind, made))
        return made

    def __del__(self) -> None:
        for kind, made in self.objects:
            self.lib.functions[f"{kind}_destroy"](made)


class Primitive:
    """A primitive with the layouts of the arrays that it is called with.

    Args:
        lib: the library.
        description: the primitive's descriptor, which must live as long as this.
        inputs, outputs: (argument number, descriptor of the array, query of the layout that the primitive wants or None).
        workspace: the argument number of a workspace whose descriptor is queried; the array is an extra output or input.
    """

    def __init__(self, lib: Library, description: Any, inputs: Any, outputs: Any, workspace: Any = None):
        self.lib, self.description = lib, description
        self.kept = _Kept(lib)
        self.handle = self.kept.make("primitive", description)
        self.memories: list[Any] = []
        self.before: list[Any] = []
        self.after: list[Any] = []
        self.inner: list[tuple[Any, int]] = []  # memory in the arena, offset
        self.arena = 0
        arguments = []
        for number, descriptor, query in inputs:
            arguments.append((number, self._argument(descriptor, query, True)))
        for number, descriptor, query in outputs:
            arguments.append((number, self._argument(descriptor, query, False)))
        if workspace is not None:
            number, found = workspace
            memory = self.kept.make("memory", found, lib.engine, None)
            self.memories.append(memory)
            arguments.append((number, memory))
        self.count = len(arguments)
        self.arguments = (_Argument * self.count)(*[_Argument(n, m) for n, m in arguments])

    def _argument(self, descriptor: Descriptor, query: int | None, incoming: bool) -> Any:
        lib = self.lib
        mine = described(lib, descriptor)
        memory = self.kept.make("memory", mine, lib.engine, None)
        self.memories.append(memory)
        if query is None:
            return memory
        wanted = ctypes.c_void_p(lib.functions["primitive_desc_query_md"](self.description, query, 0))
        if lib.functions["memory_desc_equal"](mine, wanted):
            return memory
        inner = self.kept.make("memory", wanted, lib.engine, None)
        self.inner.append((inner, self.arena))
        self.arena += lib.functions["memory_desc_get_size"](wanted) + 63 & ~63
        source, target = ((mine, memory), (wanted, inner)) if incoming else ((wanted, inner), (mine, memory))
        reorder = lib.make("reorder_primitive_desc_create", source[0], lib.engine, target[0], lib.engine, None)
        made = self.kept.make("primitive", reorder)
        pair = (_Argument * 2)(_Argument(SRC, source[1]), _Argument(DST, target[1]))
        (self.before if incoming else self.after).append((made, pair))
        return inner

    def __call__(self, *arrays: np.ndarray) -> None:
        """Run it on the inputs and outputs, in the order of the constructor (and the workspace last)."""
        self.at(*[address(a) for a in arrays])

    def at(self, *places: int) -> None:
        """Run it on inputs and outputs that lie at these addresses."""
        lib, stream = self.lib, self.lib.stream
        set_handle, execute = lib.set_handle, lib.execute
        for memory, place in zip(self.memories, places, strict=True):
            set_handle(memory, place)
        if self.inner:
            start = _held(lib).arena.address(self.arena)
            for memory, offset in self.inner:
                set_handle(memory, start + offset)
        for made, pair in self.before:
            execute(made, stream, 2, pair)
        status = execute(self.handle, stream, self.count, self.arguments)
        if status:
            raise Failure(f"oneDNN: a primitive gave status {status}")
        for made, pair in self.after:
            execute(made, stream, 2, pair)


class _Held:
    """What a thread holds: its primitives by key, and its arena."""

    def __init__(self) -> None:
        self.primitives: dict[Hashable, Any] = {}
        self.arena = _Arena()


def _held(lib: Library) -> _Held:
    held = getattr(lib.local, "held", None)
    if held is None:
        lib.local.held = held = _Held()
    return held


def primitive(key: Hashable, make: Callable[[Library], Any]) -> Any:
    """What `make(library)` gave for this key in this thread; None where there is no library, or no primitive for the case."""
    lib = loaded()
    if lib is None:
        return None
    held = _held(lib).primitives
    try:
        return held[key]
    except KeyError:
        pass
    if len(held) >= MOST:
        held.clear()
    try:
        made = make(lib)
    except Failure:
        made = None
    held[key] = made
    return made


# --------------------------------------------------------------------------------------------------------------- layouts


def is_channels_last(x: np.ndarray) -> bool:
    """Whether the memory of x (N, C, *S) is channels-last, without gaps."""
    return x.transpose(0, *range(2, x.ndim), 1).flags.c_contiguous


def channels_last(x: np.ndarray) -> np.ndarray:
    """x (N, C, *S), its memory in channels-last order: itself where it is so already, else a copy."""
    turned = x.transpose(0, *range(2, x.ndim), 1)
    if turned.flags.c_contiguous:
        return x
    y = new_images(x.shape)
    if x.flags.c_contiguous and x.size >= 4096:
        run = primitive(("reorder", x.shape), lambda lib: _Reorder(lib, dense(x.shape), images(x.shape)))
        if run is not None:
            run(x, y)
            return y
    y[...] = x
    return y


def new_images(shape: tuple[int, ...]) -> np.ndarray:
    """A new array (N, C, *S) of float32 whose memory is channels-last."""
    n, c, *space = shape
    return np.empty((n, *space, c), np.float32).transpose(0, len(shape) - 1, *range(1, len(shape) - 1))


class _Reorder:
    """Copies an array into another layout."""

    def __init__(self, lib: Library, source: Descriptor, target: Descriptor):
        self.lib, self.kept = lib, _Kept(lib)
        a, b = described(lib, source), described(lib, target)
        reorder = lib.make("reorder_primitive_desc_create", a, lib.engine, b, lib.engine, None)
        self.handle = self.kept.make("primitive", reorder)
        self.source, self.target = (self.kept.make("memory", d, lib.engine, None) for d in (a, b))
        self.pair = (_Argument * 2)(_Argument(SRC, self.source), _Argument(DST, self.target))

    def __call__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.lib.set_handle(self.source, address(x))
        self.lib.set_handle(self.target, address(y))
        self.lib.execute(self.handle, self.lib.stream, 2, self.pair)


def taken(*arrays: Any) -> bool:
    """Whether all are arrays of float32 with elements, and oneDNN may be there."""
    if state.tried and state.found is None:
        return False
    for a in arrays:
        if type(a) is not np.ndarray or a.dtype != FLOAT32 or not a.size:
            return False
    return True
