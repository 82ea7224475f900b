"""Convolution and its transposes by oneDNN: channels-last images, weights in the layout that the primitive likes."""

import math
from typing import Any

import numpy as np

from polygrad_numpy.onednn import Library
from polygrad_numpy.onednn_primitives import (
    ANY,
    Primitive,
    channels_last,
    dense,
    described,
    dims,
    images,
    new_images,
    primitive,
    taken,
)

__all__ = ["conv", "conv_input", "conv_weight"]

TRAINING, DIRECT = 64, 1
SRC, DST, WEIGHTS, D_SRC, D_DST, D_WEIGHTS = 1, 17, 33, 129, 145, 161
Q_SRC, Q_D_SRC, Q_WEIGHTS, Q_D_WEIGHTS, Q_DST, Q_D_DST = 129, 130, 131, 132, 133, 134
FEW = 1 << 14  # multiply-adds below which a call costs more than it saves
LIGHT, HEAVY = 16, 1 << 16  # at most so many positions and at least so many weights: reordering these takes too long
THIN = 4  # up to so many input channels the transpose in x is 2 to 3 times faster channels-first
# Up to so many outputs it is up to twice as fast by the kernel chosen for a result of any layout, which is channels-last too.
NARROW = 16


def _counts(size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> tuple[int, ...] | None:
    """How many windows fit along each axis, or None for what oneDNN does not take: cropping, sizes that make no sense."""
    n = len(size)
    if not n == len(kernel) == len(stride) == len(padding) == len(dilation) or min(*kernel, *stride, *dilation) < 1:
        return None
    if any(min(pair) < 0 for pair in padding):
        return None
    axes = zip(size, kernel, stride, padding, dilation, strict=True)
    out = tuple(
        [(m + lo + hi - d * (k - 1) - 1) // s + 1 if m + lo + hi > d * (k - 1) else 0 for m, k, s, (lo, hi), d in axes]
    )
    return out if min(out) > 0 else None


def _fits(x_shape: Any, w_shape: Any, groups: int) -> bool:
    return (
        3 <= len(x_shape) == len(w_shape) <= 5
        and groups >= 1
        and w_shape[0] % groups == 0
        and w_shape[1] * groups == x_shape[1]
    )


def _worth_it(positions: int, weights: int) -> bool:
    return positions * weights >= FEW and not (positions <= LIGHT and weights >= HEAVY)


def _grouped(w_shape: Any, groups: int) -> tuple[int, ...]:
    return tuple(w_shape) if groups == 1 else (groups, w_shape[0] // groups, *w_shape[1:])


def _describe(lib: Library, kind: str, x_shape: Any, w_shape: Any, out: Any, geometry: Any) -> Any:
    """The descriptor of one of the three primitives."""
    stride, padding, dilation, groups = geometry
    shape, y_shape = _grouped(w_shape, groups), (x_shape[0], w_shape[0], *out)
    layout = dense if kind == "input" and x_shape[1] <= THIN else images
    x, y = described(lib, layout(x_shape)), described(lib, layout(y_shape))
    w = described(lib, (shape, ANY))
    steps = (
        dims(stride),
        dims([d - 1 for d in dilation]),
        dims([lo for lo, _ in padding]),
        dims([hi for _, hi in padding]),
    )
    forward = lib.make(
        "convolution_forward_primitive_desc_create", lib.engine, TRAINING, DIRECT, x, w, None, y, *steps, None
    )
    if kind == "input":
        name = "convolution_backward_data_primitive_desc_create"
        if layout is images and w_shape[0] <= NARROW and groups == 1:
            x = described(lib, (tuple(x_shape), ANY))
        return lib.make(name, lib.engine, DIRECT, x, w, y, *steps, forward, None)
    if kind == "weight":
        name = "convolution_backward_weights_primitive_desc_create"
        return lib.make(name, lib.engine, DIRECT, x, w, None, y, *steps, forward, None)
    return forward


def _primitive(kind: str, x_shape: Any, w_shape: Any, out: Any, geometry: Any, plain: Any = (False, False)) -> Any:
    """The primitive for arrays x and y that are channels-last, or channels-first where `plain` says so."""

    def make(lib: Library) -> Primitive:
        description = _describe(lib, kind, x_shape, w_shape, out, geometry)
        x, y = (dense if plain[0] else images)(x_shape), (dense if plain[1] else images)((x_shape[0], w_shape[0], *out))
        w = dense(_grouped(w_shape, geometry[-1]))
        if kind == "input":
            return Primitive(lib, description, [(D_DST, y, Q_D_DST), (WEIGHTS, w, Q_WEIGHTS)], [(D_SRC, x, Q_D_SRC)])
        if kind == "weight":
            return Primitive(lib, description, [(SRC, x, Q_SRC), (D_DST, y, Q_D_DST)], [(D_WEIGHTS, w, Q_D_WEIGHTS)])
        return Primitive(lib, description, [(SRC, x, Q_SRC), (WEIGHTS, w, Q_WEIGHTS)], [(DST, y, Q_DST)])

    return primitive((kind, x_shape, w_shape, geometry, plain), make)


def conv(x: Any, w: Any, /, *, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """The op `conv`; the result's memory is channels-last."""
    if not taken(x, w) or not _fits(x.shape, w.shape, groups):
        return NotImplemented
    out = _counts(x.shape[2:], w.shape[2:], stride, padding, dilation)
    if not out or not _worth_it(x.shape[0] * math.prod(out), w.size):
        return NotImplemented
    run = _primitive("conv", x.shape, w.shape, out, (tuple(stride), tuple(padding), tuple(dilation), groups))
    if run is None:
        return NotImplemented
    y = new_images((x.shape[0], w.shape[0], *out))
    run(channels_last(x), np.ascontiguousarray(w), y)
    return y


def conv_input(z: Any, w: Any, /, *, shape: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """The op `conv_input`; the result's memory is channels-last, or channels-first if there are few channels."""
    if not taken(z, w):
        return NotImplemented
    x_shape = (z.shape[0], w.shape[1] * groups, *shape)
    out = _counts(shape, w.shape[2:], stride, padding, dilation)
    if not out or not _fits(x_shape, w.shape, groups) or z.shape[1:] != (w.shape[0], *out):
        return NotImplemented
    thin = x_shape[1] <= THIN
    geometry = (tuple(stride), tuple(padding), tuple(dilation), groups)
    if not _worth_it(z.shape[0] * math.prod(out), w.size):
        return NotImplemented
    plain = thin and z.flags.c_contiguous
    run = _primitive("input", x_shape, w.shape, out, geometry, (thin, plain))
    if run is None:
        return NotImplemented
    x = np.empty(x_shape, np.float32) if thin else new_images(x_shape)
    run(z if plain else channels_last(z), np.ascontiguousarray(w), x)
    return x


def conv_weight(x: Any, z: Any, /, *, shape: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """The op `conv_weight`; the result is C-contiguous."""
    if not taken(x, z) or groups < 1 or x.shape[1] % groups:
        return NotImplemented
    w_shape = (z.shape[1], x.shape[1] // groups, *shape)
    out = _counts(x.shape[2:], shape, stride, padding, dilation)
    if not out or not _fits(x.shape, w_shape, groups) or z.shape != (x.shape[0], w_shape[0], *out):
        return NotImplemented
    geometry = (tuple(stride), tuple(padding), tuple(dilation), groups)
    if not _worth_it(z.shape[0] * math.prod(out), math.prod(w_shape)):
        return NotImplemented
    run = _primitive("weight", x.shape, w_shape, out, geometry)
    if run is None:
        return NotImplemented
    w = np.empty(w_shape, np.float32)
    run(channels_last(x), channels_last(z), w)
    return w
