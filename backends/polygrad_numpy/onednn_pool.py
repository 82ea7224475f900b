"""Max-pooling by oneDNN, whose workspace says which tap won; its transpose, where that workspace is still there."""

import ctypes
import math
import weakref
from functools import partial
from typing import Any

import numpy as np

from polygrad_numpy.onednn import Failure, Library
from polygrad_numpy.onednn_primitives import (
    Primitive,
    channels_last,
    described,
    dims,
    images,
    new_images,
    primitive,
    taken,
)

__all__ = ["max_pool", "max_unpool"]

TRAINING, MAXIMUM = 64, 0x1FF
SRC, DST, WORKSPACE, D_SRC, D_DST = 1, 17, 64, 129, 145
Q_WORKSPACE = 135
FEW = 1 << 12  # elements of the result below which NumPy's maxima are as fast

# id of an array of indices -> (a reference to it, its workspace, the geometry). The array is read-only, so that nobody can
# change it in place and leave the workspace behind.
_workspaces: dict[int, tuple[Any, np.ndarray, Any]] = {}


def _primitive(shape: Any, out: Any, geometry: Any, back: bool) -> Any:
    kernel, stride, padding, dilation = geometry

    def make(lib: Library) -> Primitive:
        of_x, of_y = images(shape), images((*shape[:2], *out))
        x, y = described(lib, of_x), described(lib, of_y)
        steps = (dims(stride), dims(kernel), dims([d - 1 for d in dilation]))
        edges = (dims([lo for lo, _ in padding]), dims([hi for _, hi in padding]))
        name = "pooling_forward_primitive_desc_create"
        made = lib.make(name, lib.engine, TRAINING, MAXIMUM, x, y, *steps, *edges, None)
        workspace = ctypes.c_void_p(lib.functions["primitive_desc_query_md"](made, Q_WORKSPACE, 0))
        if lib.functions["memory_desc_get_size"](workspace) != math.prod(of_y[0]):
            raise Failure("a workspace of another form than a byte for each element")
        if not back:
            return Primitive(lib, made, [(SRC, of_x, None)], [(DST, of_y, None)], (WORKSPACE, workspace))
        name = "pooling_backward_primitive_desc_create"
        backward = lib.make(name, lib.engine, MAXIMUM, x, y, *steps, *edges, made, None)
        return Primitive(lib, backward, [(D_DST, of_y, None)], [(D_SRC, of_x, None)], (WORKSPACE, workspace))

    return primitive(("max_pool", shape, geometry, back), make)


def max_pool(x: Any, /, *, kernel_size: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """The op `max_pool`; declines NaN and padding of more than half a window."""
    if not taken(x) or not 4 <= x.ndim <= 5 or not x.ndim - 2 == len(kernel_size) == len(stride) == len(padding):
        return NotImplemented
    size, axes = x.shape[2:], list(zip(x.shape[2:], kernel_size, stride, padding, dilation, strict=True))
    if any(min(k, s, d) < 1 or min(p) < 0 or max(p) * 2 > (k - 1) * d + 1 or d > 1 < max(p) for _, k, s, p, d in axes):
        return NotImplemented
    out = tuple([(n + sum(p) - d * (k - 1) - 1) // s + 1 if n + sum(p) > d * (k - 1) else 0 for n, k, s, p, d in axes])
    if math.prod(out) * math.prod(x.shape[:2]) < FEW or math.prod(kernel_size) > 255:
        return NotImplemented
    geometry = (tuple(kernel_size), tuple(stride), tuple(padding), tuple(dilation))
    run = _primitive(x.shape, out, geometry, False)
    if run is None:
        return NotImplemented
    x = channels_last(x)
    flat = x.transpose(0, *range(2, x.ndim), 1).reshape(-1)
    if np.isnan(np.dot(flat, flat)):
        return NotImplemented
    y, workspace = new_images((*x.shape[:2], *out)), np.empty((x.shape[0], *out, x.shape[1]), np.uint8)
    run(x, y, workspace)
    indices = _indices(workspace, size, out, geometry)
    key = id(indices)
    _workspaces[key] = weakref.ref(indices, partial(_drop, key)), workspace, geometry
    return y, indices


def _drop(key: int, _: Any) -> None:
    _workspaces.pop(key, None)


def _indices(workspace: np.ndarray, size: Any, out: Any, geometry: Any) -> np.ndarray:
    """The flat positions (N, C, *out) in a plane, from the numbers of the taps (N, *out, C)."""
    table, base = np.zeros((1,), np.int64), np.zeros((1,), np.int64)
    for n, o, k, s, (before, _), d in zip(size, out, *geometry, strict=True):
        table = (table[:, None] * n + np.arange(k) * d).reshape(-1)
        base = base[..., None] * n + (np.arange(o) * s - before)
    found = table.take(workspace)
    found += base.reshape(*out, 1)
    found = found.transpose(0, found.ndim - 1, *range(1, found.ndim - 1))
    found.flags.writeable = False
    return found


def max_unpool(x: Any, indices: Any, /, *, shape: Any) -> Any:
    """The op `max_unpool` for indices that `max_pool` gave here."""
    reference, workspace, geometry = _workspaces.get(id(indices), (None, None, None))
    if reference is None or reference() is not indices or not taken(x) or x.shape != indices.shape:
        return NotImplemented
    kernel, stride, padding, dilation = geometry
    axes = zip(shape, kernel, stride, padding, dilation, strict=True)
    if x.shape[2:] != tuple([(n + sum(p) - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes]):
        return NotImplemented
    run = _primitive((*x.shape[:2], *shape), x.shape[2:], geometry, True)
    if run is None:
        return NotImplemented
    y = new_images((*x.shape[:2], *shape))
    run(channels_last(x), y, workspace)
    return y
