"""Convolution and max-pooling on NumPy: columns by one strided copy into a bounded buffer, maxima of shifted slices.

What these do not take (integers, empty arrays, geometry that makes no sense) is declined: the op's body does it, or says what
is wrong.
"""

import math
import threading
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from polygrad_numpy import onednn, onednn_matmul
from polygrad_numpy.layers import matmul

__all__ = ["conv", "conv_input", "conv_weight", "max_pool", "max_unpool"]

# Elements of the column buffer: 2 MB of float32 stay in the second-level cache between the copy and the product.
BLOCK = 1 << 19
# A product has at least this many columns, or packing the weight again for each costs more than the cache gives.
PRODUCT = 768
# Planes of at most this many positions are laid beside each other with the batch innermost: long rows, one product.
PLANE = 512
# With at most so many positions in the batch, the weight is what takes time, and is read once, where it lies.
HEAVY = 64
# With at most so many, the gradient of a weight is made so many rows at a time: twice as fast, though products are the same.
LIGHT, ROWS = 16, 16
# Rows of a depthwise convolution are cut to this length, because the work of its band matrices grows with the square.
TILE = 64

_local = threading.local()


def _buffer(elements: int, dtype: Any) -> np.ndarray:
    """This thread's scratch memory, kept from call to call, because fresh pages cost as much as the copy."""
    held = getattr(_local, "buffer", None)
    size = elements * np.dtype(dtype).itemsize
    if held is None or held.size < size:
        _local.buffer = held = np.empty(size, np.uint8)
    return held[:size].view(dtype)


# ------------------------------------------------------------------------------------------------------------ geometry


def _counts(size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> tuple[int, ...] | None:
    """How many windows fit along each axis, or None for sizes that make no sense."""
    n = len(size)
    if not n == len(kernel) == len(stride) == len(padding) == len(dilation) or min(*kernel, *stride, *dilation) < 1:
        return None
    axes = zip(size, kernel, stride, padding, dilation, strict=True)
    out = [
        (m + lo + hi - d * (k - 1) - 1) // s + 1 if m + lo + hi > d * (k - 1) else 0 for m, k, s, (lo, hi), d in axes
    ]
    return tuple(out) if min(out) > 0 else None


def _taken(x: np.ndarray, w_like: np.ndarray) -> bool:
    return (
        x.dtype == w_like.dtype and x.dtype.kind in "fc" and 3 <= x.ndim == w_like.ndim <= 5 and x.size and w_like.size
    )


def _padded(x: np.ndarray, padding: Any, value: Any = 0) -> np.ndarray:
    """x with a border on its spatial axes, from the third on; negative numbers crop."""
    if any(n for pair in padding for n in pair):
        inner = tuple(slice(max(-lo, 0), n - max(-hi, 0)) for n, (lo, hi) in zip(x.shape[2:], padding, strict=False))
        x = x[(slice(None), slice(None), *inner)]
        grown = [max(lo, 0) + n + max(hi, 0) for n, (lo, hi) in zip(x.shape[2:], padding, strict=False)]
        if (*x.shape[:2], *grown) != x.shape:
            whole = np.empty if value is None else np.zeros if value == 0 else lambda s, d: np.full(s, value, d)
            y = whole((*x.shape[:2], *grown, *x.shape[2 + len(padding) :]), x.dtype)
            y[
                (
                    slice(None),
                    slice(None),
                    *[slice(max(lo, 0), max(lo, 0) + n) for n, (lo, _) in zip(x.shape[2:], padding, strict=False)],
                )
            ] = x
            x = y
    return x


def _windows(x: np.ndarray, kernel: Any, out: Any, stride: Any, dilation: Any) -> np.ndarray:
    """A view of x (B, C, *S, n): (B, C, *kernel, *out, n), with no element copied."""
    space, inner = x.strides[2:-1], x.strides[-1:]
    taps = [t * d for t, d in zip(space, dilation, strict=True)]
    steps = [t * s for t, s in zip(space, stride, strict=True)]
    return as_strided(x, (*x.shape[:2], *kernel, *out, x.shape[-1]), (*x.strides[:2], *taps, *steps, *inner))


def _even(total: int, most: int) -> int:
    """The size of the parts when `total` is cut into as few equal parts of at most `most` as can be."""
    return -(-total // -(-total // max(1, most)))


def _joins(count: int, positions: int, stride: Any) -> bool:
    """Whether the batch goes innermost: many small planes. A stride leaves rows of one place of each image only."""
    return positions <= PLANE and count > (1 if stride[-1] == 1 else 7)


def _inner(x: np.ndarray, joined: bool) -> np.ndarray:
    """(b, C, *S) as (b, C, *S, 1), or with the batch innermost as (1, C, *S, b)."""
    return np.ascontiguousarray(x.transpose(*range(1, x.ndim), 0))[None] if joined else x[..., None]


def _columns(x: Any, out: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Iterator[Any]:
    """The elements of every window, block by block, in a buffer that the next block reuses: (images, rows, columns).

    The columns are (B, groups, C / groups * taps, positions * n), for a slice of the batch and a slice of the rows (the
    first spatial axis), with the batch either outermost (B images, n = 1) or innermost (B = 1, n images).
    """
    count, channels, taps, row = x.shape[0], x.shape[1], math.prod(kernel), math.prod(out[1:])
    most = max(PRODUCT, BLOCK // (channels * taps))
    joined = _joins(count, math.prod(out), stride)
    images = _even(count, max(16 if joined else 1, most // math.prod(out)))
    height = _even(out[0], most * out[0] // (math.prod(out) * images))
    for i in range(0, count, images):
        here = slice(i, min(i + images, count))
        block = _padded(_inner(x[here], joined), padding)
        for j in range(0, out[0], height):
            rows = slice(j, min(j + height, out[0]))
            size = (rows.stop - j, *out[1:])
            windows = _windows(block[:, :, j * stride[0] :], kernel, size, stride, dilation)
            columns = _buffer(windows.size, x.dtype).reshape(windows.shape)
            np.copyto(columns, windows)
            b, n = block.shape[0], block.shape[-1]
            yield here, rows, columns.reshape(b, groups, channels // groups * taps, size[0] * row * n)


# --------------------------------------------------------------------------------------------------------- convolution


def conv(x: np.ndarray, w: np.ndarray, /, *, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """The op `conv`."""
    out = _taken(x, w) and _counts(x.shape[2:], w.shape[2:], stride, padding, dilation)
    if not out or groups < 1 or w.shape[0] % groups or w.shape[1] * groups != x.shape[1]:
        return NotImplemented
    count, outputs, each = x.shape[0], w.shape[0], w.shape[0] // groups
    if w.shape[1] == 1 < groups:
        return _conv_by_channel(x, w, out, stride, padding, dilation)
    weight = w.reshape(groups, each, -1)
    if groups == 1 and count * math.prod(out) <= LIGHT:
        rows = _window_rows(x, out, w.shape[2:], stride, padding, dilation)
        made = np.ascontiguousarray(matmul(weight[0], rows.T).T)
        return _channels_second(made.reshape(count, *out, outputs))
    if math.prod(w.shape[2:]) == 1:
        columns = _strided(_padded(x, padding), out, stride).reshape(count, groups, w.shape[1], math.prod(out))
        return np.matmul(weight, columns).reshape(count, outputs, *out)
    y = np.empty((count, outputs, *out), x.dtype)
    flat, row = y.reshape(count, groups, each, -1), math.prod(out[1:])
    for images, rows, columns in _columns(x, out, w.shape[2:], stride, padding, dilation, groups):
        if columns.shape[0] == images.stop - images.start:
            np.matmul(weight, columns, out=flat[images, :, :, rows.start * row : rows.stop * row])
        else:
            made = np.matmul(weight, columns[0]).reshape(outputs, rows.stop - rows.start, *out[1:], -1)
            y[images, :, rows] = made.transpose(made.ndim - 1, *range(made.ndim - 1))
    return y


def _channels_second(x: np.ndarray) -> np.ndarray:
    """(N, *S, C) as (N, C, *S), with its memory as it is where oneDNN is in use, which likes it so."""
    turned = x.transpose(0, x.ndim - 1, *range(1, x.ndim - 1))
    return turned if onednn.state.found is not None else np.ascontiguousarray(turned)


def _window_rows(x: np.ndarray, out: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> np.ndarray:
    """The elements of every window as a row: (images * positions, C * taps)."""
    windows, n = _windows(_padded(x, padding)[..., None], kernel, out, stride, dilation)[..., 0], len(out)
    order = (0, *range(2 + n, 2 + 2 * n), *range(1, 2 + n))
    return windows.transpose(order).reshape(x.shape[0] * math.prod(out), -1)


def _strided(x: np.ndarray, out: Any, stride: Any) -> np.ndarray:
    return x[(slice(None), slice(None), *[slice(0, (o - 1) * s + 1, s) for o, s in zip(out, stride, strict=True)])]


def conv_weight(
    x: np.ndarray, z: np.ndarray, /, *, shape: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Any:
    """The op `conv_weight`; the result is contiguous, so that an optimizer's update reads it in order."""
    out = _taken(x, z) and _counts(x.shape[2:], shape, stride, padding, dilation)
    if (
        not out
        or z.shape[0] != x.shape[0]
        or z.shape[2:] != out
        or groups < 1
        or x.shape[1] % groups
        or z.shape[1] % groups
    ):
        return NotImplemented
    outputs, inputs = z.shape[1], x.shape[1] // groups
    if inputs == 1 < groups:
        return _conv_weight_by_channel(x, z, shape, stride, padding, dilation)
    if groups == 1 and z.size // outputs <= LIGHT:
        rows = _window_rows(x, out, shape, stride, padding, dilation)
        seen = np.ascontiguousarray(z.swapaxes(0, 1)).reshape(outputs, -1)
        if len(rows) == 1:
            made = seen * rows
        elif outputs % ROWS == 0:
            made = np.matmul(seen.reshape(-1, ROWS, len(rows)), rows)
        else:
            made = np.matmul(seen, rows)
        return made.reshape(outputs, inputs, *shape)
    total = None
    for images, rows, columns in _columns(x, out, shape, stride, padding, dilation, groups):
        seen = z[images, :, rows]
        joined = columns.shape[0] != seen.shape[0]
        seen = _inner(seen, joined).reshape(columns.shape[0], groups, outputs // groups, columns.shape[-1])
        for image, columns_of_one in zip(seen, columns, strict=True):
            part = np.matmul(image, columns_of_one.swapaxes(-1, -2))
            total = part if total is None else np.add(total, part, out=total)
    assert total is not None
    return total.reshape(outputs, inputs, *shape)


def conv_input(
    z: np.ndarray, w: np.ndarray, /, *, shape: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Any:
    """The op `conv_input` for kernels of one element, groups of one input channel and few positions; else it is the body's."""
    out = _taken(z, w) and _counts(shape, w.shape[2:], stride, padding, dilation)
    if not out or z.shape[1:] != (w.shape[0], *out) or groups < 1 or w.shape[0] % groups:
        return NotImplemented
    if w.shape[1] == 1 < groups:
        return _conv_input_by_channel(z, w, shape, groups, stride, padding, dilation)
    if math.prod(w.shape[2:]) != 1:
        if groups == 1 and z.shape[0] * math.prod(out) <= HEAVY and w.flags.c_contiguous:
            return _conv_input_by_tap(z, w, shape, stride, padding, dilation)
        return NotImplemented
    weight = w.reshape(groups, w.shape[0] // groups, w.shape[1]).swapaxes(1, 2)
    made = np.matmul(weight, z.reshape(z.shape[0], groups, w.shape[0] // groups, -1))
    made = made.reshape(z.shape[0], groups * w.shape[1], *out)
    grown = tuple([n + lo + hi for n, (lo, hi) in zip(shape, padding, strict=True)])
    if math.prod(stride) > 1 or grown != out:
        spread = np.zeros((*made.shape[:2], *grown), made.dtype)
        _strided(spread, out, stride)[...] = made
        made = spread
    return _padded(made, tuple((-lo, -hi) for lo, hi in padding))


def _conv_input_by_tap(
    z: np.ndarray, w: np.ndarray, shape: Any, stride: Any, padding: Any, dilation: Any
) -> np.ndarray:
    count, out, kernel = z.shape[0], z.shape[2:], w.shape[2:]
    flat = w.reshape(w.shape[0], -1)
    seen = np.ascontiguousarray(z.transpose(0, *range(2, z.ndim), 1)).reshape(-1, z.shape[1])
    made = onednn_matmul.matmul(seen, flat)
    if made is NotImplemented:
        made = np.matmul(flat.T, seen.T).T
    made = made.reshape(count, *out, w.shape[1], *kernel)
    x = np.zeros((count, *[m + lo + hi for m, (lo, hi) in zip(shape, padding, strict=True)], w.shape[1]), z.dtype)
    for tap in product(*[range(k) for k in kernel]):
        axes = zip(tap, out, stride, dilation, strict=True)
        x[(slice(None), *[slice(t * d, t * d + (o - 1) * s + 1, s) for t, o, s, d in axes])] += made[(..., *tap)]
    inner = _padded(x[:, None], [(-lo, -hi) for lo, hi in padding])[:, 0]
    return _channels_second(np.ascontiguousarray(inner))


# ------------------------------------------------------------------------------------- one input channel in each group


class _Bands:
    """Depthwise convolution as products of rows with band matrices (64 channels of 56x56: 1.6 ms, by taps 2.7 ms).

    A row of windows along the last axis is a row of the input times a matrix with the taps on its diagonals. Iterating gives,
    for each tile of windows and each tap of the other axes, the places of the input, of the result, and of the matrices.
    """

    def __init__(self, kernel: Any, out: Any, stride: Any, dilation: Any):
        self.kernel, self.stride, self.dilation, self.out = kernel, stride, dilation, out
        self.tile = _even(out[-1], TILE)

    def span(self, tile: int) -> int:
        """How many elements of a row the windows of a tile cover."""
        return (tile - 1) * self.stride[-1] + (self.kernel[-1] - 1) * self.dilation[-1] + 1

    def places(self) -> Iterator[tuple[int, slice, list[tuple[Any, ...]]]]:
        """For each tile: its length, its windows, and the rows and columns of the input for each tap of the other axes."""
        lead = list(zip(self.kernel, self.out, self.stride, self.dilation, strict=True))[:-1]
        for start in range(0, self.out[-1], self.tile):
            tile = min(self.tile, self.out[-1] - start)
            first = start * self.stride[-1]
            columns = slice(first, first + self.span(tile))
            taps = [
                (
                    *[slice(t * d, t * d + (o - 1) * s + 1, s) for t, (_, o, s, d) in zip(tap, lead, strict=True)],
                    columns,
                )
                for tap in product(*[range(k) for k, _, _, _ in lead])
            ]
            yield tile, slice(start, start + tile), taps

    def diagonals(self, matrices: np.ndarray, tile: int) -> np.ndarray:
        """A view of matrices (..., span, tile): the elements (..., kernel, tile) that are taps."""
        *lead, row, column = matrices.strides
        steps = (self.dilation[-1] * row, self.stride[-1] * row + column)
        return as_strided(matrices, (*matrices.shape[:-2], self.kernel[-1], tile), (*lead, *steps))

    def matrices(self, w: np.ndarray, tile: int) -> np.ndarray:
        """The band matrices (taps of the other axes, O, span, tile) of a weight (O, 1, *kernel)."""
        taps = w.reshape(w.shape[0], -1, self.kernel[-1])
        made = np.zeros((taps.shape[1], w.shape[0], self.span(tile), tile), w.dtype)
        self.diagonals(made, tile)[...] = taps.swapaxes(0, 1)[..., None]
        return made


def _images(x: np.ndarray) -> Any:
    """The parts that are worked on one after another: images; or, of (N, C, S), the whole as (C, N, S), so that it has rows."""
    return [x.swapaxes(0, 1)] if x.ndim == 3 else x


def _spread_over(matrices: np.ndarray, axes: int) -> np.ndarray:
    """Matrices (taps, O, span, tile) with room for the axes between the channels and the rows."""
    return matrices.reshape(*matrices.shape[:2], *[1] * axes, *matrices.shape[2:])


def _conv_by_channel(x: np.ndarray, w: np.ndarray, out: Any, stride: Any, padding: Any, dilation: Any) -> np.ndarray:
    bands, each = _Bands(w.shape[2:], out, stride, dilation), w.shape[0] // x.shape[1]
    y = np.zeros((x.shape[0], w.shape[0], *out), x.dtype)
    x = _padded(x, padding)
    for tile, windows, taps in bands.places():
        matrices = _spread_over(bands.matrices(w, tile), max(0, x.ndim - 4))
        for image, made in zip(_images(x), _images(y), strict=True):
            for place, matrix in zip(taps, matrices, strict=True):
                rows = image[(slice(None), *_rows(place))]
                made[..., windows] += np.matmul(rows.repeat(each, 0) if each > 1 else rows, matrix)
    return y


def _rows(place: tuple[Any, ...]) -> tuple[Any, ...]:
    """The place of a tap in one of the parts."""
    return (slice(None), *place) if len(place) == 1 else place


def _conv_input_by_channel(
    z: np.ndarray, w: np.ndarray, shape: Any, channels: int, stride: Any, padding: Any, dilation: Any
) -> np.ndarray:
    bands, each = _Bands(w.shape[2:], z.shape[2:], stride, dilation), w.shape[0] // channels
    grown = [n + lo + hi for n, (lo, hi) in zip(shape, padding, strict=True)]
    x = np.zeros((z.shape[0], channels, *grown), z.dtype)
    for tile, windows, taps in bands.places():
        matrices = _spread_over(bands.matrices(w, tile), max(0, z.ndim - 4)).swapaxes(-1, -2)
        for seen, made in zip(_images(z), _images(x), strict=True):
            for place, matrix in zip(taps, matrices, strict=True):
                part = np.matmul(seen[..., windows], matrix)
                if each > 1:
                    part = part.reshape(channels, each, *part.shape[1:]).sum(1)
                made[(slice(None), *_rows(place))] += part
    return _padded(x, tuple((-lo, -hi) for lo, hi in padding))


def _conv_weight_by_channel(x: Any, z: Any, shape: Any, stride: Any, padding: Any, dilation: Any) -> np.ndarray:
    bands, each = _Bands(shape, z.shape[2:], stride, dilation), z.shape[1] // x.shape[1]
    x = _padded(x, padding)
    total = np.zeros((math.prod(shape[:-1]), z.shape[1], shape[-1]), x.dtype)
    for tile, windows, taps in bands.places():
        for image, seen in zip(_images(x), _images(z), strict=True):
            columns = seen[..., windows]
            for tap, place in enumerate(taps):
                rows = image[(slice(None), *_rows(place))]
                part = np.matmul((rows.repeat(each, 0) if each > 1 else rows).swapaxes(-1, -2), columns)
                part = part.sum(tuple(range(1, part.ndim - 2)))
                total[tap] += bands.diagonals(part, tile).sum(-1)
    return np.ascontiguousarray(total.swapaxes(0, 1)).reshape(z.shape[1], 1, *shape)


# ------------------------------------------------------------------------------------------------------------- maxima


def max_pool(x: np.ndarray, /, *, kernel_size: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """The op `max_pool`, by maxima of shifted slices; declines NaN and windows with nothing but padding in them."""
    if x.dtype.kind != "f" or not 3 <= x.ndim <= 5 or not x.size or min(n for pair in padding for n in pair) < 0:
        return NotImplemented
    size, taps = x.shape[2:], math.prod(kernel_size)
    out = _counts(size, kernel_size, stride, padding, dilation)
    axes = list(zip(size, kernel_size, padding, dilation, strict=True))
    if not out or taps > 255 or any(max(pair) * 2 > (k - 1) * d + 1 or d > 1 < max(pair) for _, k, pair, d in axes):
        return NotImplemented
    planes = x.shape[0] * x.shape[1]
    values = np.empty((planes, *out), x.dtype)
    indices = np.empty((planes, *out), np.int64)
    table, base = _places(size, out, kernel_size, stride, padding, dilation)
    some = max(1, BLOCK // 2 // math.prod(size))
    flat = x.reshape(planes, 1, *size)
    for start in range(0, planes, some):
        here = slice(start, start + some)
        shifted = _shifted(_padded(flat[here], padding, -math.inf)[:, 0], out, kernel_size, stride, dilation)
        best = values[here]
        np.copyto(best, shifted[0])
        for s in shifted[1:]:
            np.maximum(best, s, out=best)
        order = np.zeros(best.shape, np.uint8)  # the first tap that is equal has the highest number
        for tap, s in enumerate(shifted):
            np.maximum(order, np.equal(s, best).view(np.uint8) * np.uint8(taps - tap), out=order)
        np.add(table.take(order), base, out=indices[here])
    if np.isnan(values.max()):
        return NotImplemented
    return values.reshape(*x.shape[:2], *out), indices.reshape(*x.shape[:2], *out)


def _places(
    size: Any, out: Any, kernel: Any, stride: Any, padding: Any, dilation: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Flat positions in a plane: of each tap, from the last one (number 1) to the first, and of each window's start."""
    table, base = np.zeros((1,), np.int64), np.zeros((1,), np.int64)
    for n, o, k, s, (before, _), d in zip(size, out, kernel, stride, padding, dilation, strict=True):
        table = (table[:, None] * n + np.arange(k) * d).reshape(-1)
        base = base[..., None] * n + (np.arange(o) * s - before)
    return np.concatenate([table[:1], table[::-1]]), base.reshape(out)


def _shifted(x: np.ndarray, out: Any, kernel: Any, stride: Any, dilation: Any) -> list[np.ndarray]:
    """For each tap, the element of each window that it meets; a stride's phases are copied once, so that rows are contiguous."""
    phases: dict[tuple[int, ...], np.ndarray] = {}
    shifted = []
    for tap in product(*[range(k) for k in kernel]):
        first = [t * d for t, d in zip(tap, dilation, strict=True)]
        phase = tuple([f % s for f, s in zip(first, stride, strict=True)])
        if phase not in phases:
            phases[phase] = np.ascontiguousarray(
                x[(..., *[slice(p, None, s) for p, s in zip(phase, stride, strict=True)])]
            )
        at = [slice(f // s, f // s + o) for f, s, o in zip(first, stride, out, strict=True)]
        shifted.append(phases[phase][(..., *at)])
    return shifted


def max_unpool(x: np.ndarray, indices: np.ndarray, /, *, shape: Any) -> Any:
    """The op `max_unpool`."""
    if x.shape != indices.shape or not x.size:
        return NotImplemented
    planes, places = math.prod(x.shape[:2]), math.prod(shape)
    y = np.zeros(planes * places, x.dtype)
    at = indices.reshape(planes, -1) + np.arange(0, planes * places, places)[:, None]
    np.add.at(y, at.reshape(-1), x.reshape(-1))
    return y.reshape(*x.shape[:2], *shape)
