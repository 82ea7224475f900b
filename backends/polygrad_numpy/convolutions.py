"""Convolution and its transposes on NumPy: products of a weight with shifted planes, which a bounded buffer holds.

A convolution is a matrix product with the elements of every window. Only the shifts along the inner axes are copied: those along
the first one are the same memory read from a later row on, so that axis' taps are as many products, added up by BLAS. What these
do not take (integers, empty arrays, geometry that makes no sense) is declined: the op's body does it, or says what is wrong.
"""

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from polygrad_numpy import depthwise, onednn, onednn_matmul
from polygrad_numpy.blas import multiply_add, transpose
from polygrad_numpy.layers import matmul
from polygrad_numpy.planes import buffer, counts, even, fill, offsets, padded, phases, span, taken, windows

__all__ = ["conv", "conv_input", "conv_weight"]

# Elements of the buffer, and columns that a product has at least: packing the weight again for each costs more than cache gives.
BLOCK, PRODUCT = 1 << 20, 768
# Planes of at most this many positions are laid beside each other with the batch innermost: long rows, one product.
PLANE = 512
# So are products for all taps with at most so many elements, or adding them for each image takes longer than the products.
SMALL = 1 << 16
# With at most so many positions in the batch, the weight is what takes time, and is read once, where it lies.
HEAVY = 64
# With at most so many, the gradient of a weight is made so many rows at a time: twice as fast, though products are the same.
LIGHT, ROWS = 16, 16
# A weight is laid out by the first axis' taps where there are this many times more positions than outputs, so many elements of
# columns, and so many rows in the columns of a tap.
WORTH, LARGE, THICK = 2, 1 << 18, 20
# The least rows that a product for one tap of the first axis has in the gradient of a weight: below, BLAS is half as fast.
TALL = 128
# With so many times fewer channels of the input than of the result, products for all taps take less than columns of the result.
FEWER = 2


class _Block:
    """Columns (B, groups, K, elements) of some images and rows; each product's are the `width` from one of `starts` on."""

    def __init__(self, images: slice, rows: slice, columns: np.ndarray, starts: list[int], width: int, joined: bool):
        self.images, self.rows, self.joined = images, rows, joined
        self.columns, self.starts, self.width = columns, starts, width

    def products(self) -> list[np.ndarray]:
        """For one image (or joined images) and group: the columns (K, width) of each product."""
        return [self.columns[0, 0, :, start : start + self.width] for start in self.starts]


def _joins(count: int, positions: int, stride: Any) -> bool:
    """Whether the batch goes innermost: many small planes. A stride leaves rows of one place of each image only."""
    return positions <= PLANE and count > (1 if stride[-1] == 1 else 7)


def _splits(inputs: int, outputs: int, kernel: Any, positions: int) -> bool:
    """Whether the first axis' taps are products of their own: many columns, and enough rows and columns in each."""
    tap = inputs * math.prod(kernel[1:])
    return tap >= THICK and tap * kernel[0] * positions >= LARGE and positions >= WORTH * outputs


def _blocks(x: Any, out: Any, taps: list[list[int]], stride: Any, groups: int, split: bool) -> Iterator[_Block]:
    """The elements of every window, block by block, in a buffer that the next block reuses.

    K is (taps, C) without the first axis' taps if `split`, which is for one group; else (C / groups, taps). The columns of a
    block are its rows (of the first spatial axis), the other axes, and, where the images are joined, these.
    """
    count, channels, row = x.shape[0], x.shape[1], math.prod(out[1:])
    kernel = [len(places) for places in taps]
    dilation = [f[1] - f[0] if len(f) > 1 else 1 for f in taps]
    axes = zip(x.shape[2:], taps, out, stride, strict=True)
    padding = [(-f[0], (count - 1) * step + f[-1] + 1 - size) for size, f, count, step in axes]
    starts, shifts = phases(taps[0], stride[0]) if split else ([], [(0, 0)])
    height = channels * math.prod(kernel[1:]) * (1 if split else kernel[0])
    planes, below = len(starts) if split else 1, max(shift for _, shift in shifts)
    most = max(PRODUCT, BLOCK // (height * planes))
    joined = _joins(count, math.prod(out), stride)
    images = 1 if split and not joined else even(count, max(16 if joined else 1, most // math.prod(out)))
    band = out[0] if joined else even(out[0], most // (row * images))
    for i in range(0, count, images):
        here = slice(i, min(i + images, count))
        b, n = (1, here.stop - i) if joined else (here.stop - i, 1)
        block = _joined(x[here]) if joined else x[here][..., None]
        seen = block if split else windows(block, kernel, out, stride, padding, dilation)
        for j in range(0, out[0], band):
            rows = slice(j, min(j + band, out[0]))
            extents = (rows.stop - j + below, *out[1:], n)
            if split:
                columns = buffer("columns", (1, *kernel[1:], channels, planes, *extents), x.dtype)
                k = len(kernel)
                target = columns.transpose(0, k, k + 1, *range(1, k), *range(k + 2, columns.ndim))
                fill(target, block, [[j * stride[0] + s for s in starts], *taps[1:]], stride)
            else:
                columns = buffer("columns", (b, channels, *kernel, *extents), x.dtype)
                np.copyto(columns, seen[(*[slice(None)] * (2 + len(kernel)), rows)])
            firsts = [(plane * extents[0] + shift) * row * n for plane, shift in shifts]
            columns = columns.reshape(b, groups, height // groups, -1)
            yield _Block(here, rows, columns, firsts, (rows.stop - j) * row * n, joined)


def _joined(x: np.ndarray, name: str = "joined") -> np.ndarray:
    """(n, C, *S) as (1, C, *S, n), in scratch memory."""
    made = buffer(name, (1, *x.shape[1:], x.shape[0]), x.dtype)
    transpose(np.ascontiguousarray(x).reshape(x.shape[0], -1), made.reshape(-1, x.shape[0]))
    return made


# --------------------------------------------------------------------------------------------------------- convolution


def conv(x: np.ndarray, w: np.ndarray, /, *, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """The op `conv`."""
    out = counts(x.shape[2:], w.shape[2:], stride, padding, dilation) if taken(x, w) else None
    if not out or groups < 1 or w.shape[0] % groups or w.shape[1] * groups != x.shape[1]:
        return NotImplemented
    count, outputs = x.shape[0], w.shape[0]
    if w.shape[1] == 1 < groups:
        return depthwise.conv(x, w, out, stride, padding, dilation)
    if groups == 1 and count * math.prod(out) <= LIGHT:
        rows = _window_rows(x, out, w.shape[2:], stride, padding, dilation)
        made = np.ascontiguousarray(matmul(w.reshape(outputs, -1), rows.T).T)
        return _channels_second(made.reshape(count, *out, outputs))
    if math.prod(w.shape[2:]) == 1:
        columns = _strided(padded(x, padding), out, stride).reshape(count, groups, w.shape[1], math.prod(out))
        weight = w.reshape(groups, outputs // groups, w.shape[1])
        return np.matmul(weight, columns).reshape(count, outputs, *out)
    w, taps = np.ascontiguousarray(w), offsets(w.shape[2:], padding, dilation)
    if groups == 1 and _splits(w.shape[1], outputs, w.shape[2:], count * math.prod(out)):
        return _correlate(x, _by_first_axis(w), out, taps, stride, True)
    return _correlate(x, w.reshape(groups, outputs // groups, -1), out, taps, stride, False)


def _correlate(x: np.ndarray, w: np.ndarray, out: Any, taps: Any, stride: Any, split: bool) -> np.ndarray:
    """The convolution with matrices w (groups, O, K), or if `split`, w (taps of the first axis, O, K)."""
    groups, each, count, row = 1 if split else len(w), w.shape[1], x.shape[0], math.prod(out[1:])
    y = np.empty((count, groups * each, *out), x.dtype)
    for block in _blocks(x, out, taps, stride, groups, split):
        if block.joined:
            made = buffer("made", (1, groups, each, block.width), x.dtype)
        else:
            here = slice(block.rows.start * row, block.rows.stop * row)
            made = y[block.images].reshape(-1, groups, each, math.prod(out))[..., here]
        if split:
            for i, columns in enumerate(block.products()):
                multiply_add(w[i], columns, made[0, 0], i > 0)
        else:
            np.matmul(w, block.columns, out=made)
        if block.joined:
            _part(made, y[block.images])
    return y


def _part(made: np.ndarray, y: np.ndarray) -> None:
    """Write what was made of joined images to y (n, C, *S), which is contiguous."""
    transpose(made.reshape(-1, len(y)), y.reshape(len(y), -1))


def _by_taps(w: np.ndarray) -> np.ndarray:
    """A contiguous weight (O, C, *kernel) as (*kernel, O, C)."""
    made = np.empty((*w.shape[2:], *w.shape[:2]), w.dtype)
    transpose(w.reshape(w.shape[0] * w.shape[1], -1), made.reshape(-1, w.shape[0] * w.shape[1]))
    return made


def _by_first_axis(w: np.ndarray) -> np.ndarray:
    """A contiguous weight (O, C, *kernel) as a matrix (O, other taps * C) for each tap of the first axis."""
    turned = _by_taps(w)
    n = turned.ndim
    return turned.transpose(0, n - 2, *range(1, n - 2), n - 1).reshape(w.shape[2], w.shape[0], -1)


def _channels_second(x: np.ndarray) -> np.ndarray:
    """(N, *S, C) as (N, C, *S), with its memory as it is where oneDNN is in use, which likes it so."""
    turned = x.transpose(0, x.ndim - 1, *range(1, x.ndim - 1))
    return turned if onednn.state.found is not None else np.ascontiguousarray(turned)


def _window_rows(x: np.ndarray, out: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> np.ndarray:
    """The elements of every window as a row: (images * positions, C * taps)."""
    seen, n = windows(x[..., None], kernel, out, stride, padding, dilation)[..., 0], len(out)
    order = (0, *range(2 + n, 2 + 2 * n), *range(1, 2 + n))
    return seen.transpose(order).reshape(x.shape[0] * math.prod(out), -1)


def _strided(x: np.ndarray, out: Any, stride: Any) -> np.ndarray:
    return x[(slice(None), slice(None), *[slice(0, (o - 1) * s + 1, s) for o, s in zip(out, stride, strict=True)])]


# ------------------------------------------------------------------------------------------------------------ weights


def conv_weight(
    x: np.ndarray, z: np.ndarray, /, *, shape: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Any:
    """The op `conv_weight`; the result is contiguous, so that an optimizer's update reads it in order."""
    out = counts(x.shape[2:], shape, stride, padding, dilation) if taken(x, z) else None
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
        return depthwise.conv_weight(x, z, shape, stride, padding, dilation)
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
    taps, z = offsets(shape, padding, dilation), np.ascontiguousarray(z)
    positions = z.size // outputs
    split = groups == 1 and inputs * math.prod(shape[1:]) >= TALL and _splits(inputs, outputs, shape, positions)
    if groups > 1 or positions < WORTH * outputs or inputs * math.prod(shape) < THICK * shape[0]:
        made = _grouped_weight(x, z, taps, stride, groups)
    elif not split:
        made = np.empty((outputs, inputs * math.prod(shape)), x.dtype)
        transpose(_weight(x, z, taps, stride, False)[0], made)
    else:
        made = np.empty((outputs * inputs, math.prod(shape)), x.dtype)
        turned = buffer("made", (made.shape[1], outputs, inputs), x.dtype)
        for source, target in zip(_weight(x, z, taps, stride, True).reshape(-1, inputs, outputs), turned, strict=True):
            transpose(source, target)
        transpose(turned.reshape(made.shape[1], -1), made)
    return made.reshape(outputs, inputs, *shape)


def _seen(z: np.ndarray, block: _Block, groups: int) -> np.ndarray:
    """The part (B, groups, O / groups, columns) of a contiguous z that belongs to a block."""
    if block.joined:
        return _joined(z[block.images], "seen").reshape(1, groups, z.shape[1] // groups, -1)
    row = math.prod(z.shape[3:])
    here = slice(block.rows.start * row, block.rows.stop * row)
    return z[block.images].reshape(-1, groups, z.shape[1] // groups, math.prod(z.shape[2:]))[..., here]


def _weight(x: np.ndarray, z: np.ndarray, taps: Any, stride: Any, split: bool) -> np.ndarray:
    """The gradient (1, K, O), or if `split`, (taps of the first axis, K, O).

    The columns are the first operand: with few outputs BLAS is up to twice as fast as with the second.
    """
    total = None
    for block in _blocks(x, z.shape[2:], taps, stride, 1, split):
        begun = total is not None
        if total is None:
            total = np.empty((len(block.starts), block.columns.shape[2], z.shape[1]), x.dtype)
        for seen, image in zip(_seen(z, block, 1), block.columns, strict=True):
            for i, start in enumerate(block.starts):
                multiply_add(image[0, :, start : start + block.width], seen[0].T, total[i], begun)
            begun = True
    assert total is not None
    return total


def _grouped_weight(x: np.ndarray, z: np.ndarray, taps: Any, stride: Any, groups: int) -> np.ndarray:
    """The gradient (groups, O / groups, K)."""
    total = None
    for block in _blocks(x, z.shape[2:], taps, stride, groups, False):
        for seen, columns in zip(_seen(z, block, groups), block.columns, strict=True):
            part = np.matmul(seen, columns.swapaxes(1, 2))
            total = part if total is None else np.add(total, part, out=total)
    assert total is not None
    return total


# ------------------------------------------------------------------------------------------------------------- inputs


def conv_input(
    z: np.ndarray, w: np.ndarray, /, *, shape: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Any:
    """The op `conv_input`, without groups, with groups of one input channel and no stride, or of single elements; else it is the body's."""
    out = counts(shape, w.shape[2:], stride, padding, dilation) if taken(z, w) else None
    if not out or z.shape[1:] != (w.shape[0], *out) or groups < 1 or w.shape[0] % groups:
        return NotImplemented
    kernel = w.shape[2:]
    if math.prod(kernel) == 1 and not (w.shape[1] == 1 < groups):
        return _input_of_points(z, w, shape, stride, padding, groups)
    if groups == 1 and z.shape[0] * math.prod(out) <= HEAVY and w.flags.c_contiguous:
        return _input_by_tap(z, w, shape, stride, padding, dilation)
    if w.shape[1] == 1 < groups:
        return depthwise.conv_input(z, w, tuple(shape), groups, stride, padding, dilation)
    if groups > 1:
        return NotImplemented
    w = np.ascontiguousarray(w)
    few = z.shape[0] * math.prod(out) < WORTH * w.shape[0]
    if few or math.prod(stride) > 1 or w.shape[0] >= FEWER * w.shape[1]:
        return _input_by_products(z, w, shape, stride, padding, dilation)
    taps = [[lo - t * d for t in range(k)] for k, d, (lo, _) in zip(kernel, dilation, padding, strict=True)]
    weight = _by_taps(w).reshape(kernel[0], -1, w.shape[1]).swapaxes(1, 2)
    return _correlate(z, weight, tuple(shape), taps, stride, True)


def _input_by_products(
    z: np.ndarray, w: np.ndarray, shape: Any, stride: Any, padding: Any, dilation: Any
) -> np.ndarray:
    """`conv_input` as one product for all taps, each added where it falls."""
    count, outputs, *out = z.shape
    channels, kernel, row = w.shape[1], w.shape[2:], math.prod(out[1:])
    taps = offsets(kernel, padding, dilation)
    x = np.zeros((count, channels, *shape), z.dtype)
    z, weight = np.ascontiguousarray(z), w.reshape(outputs, -1).T
    most = max(PRODUCT, BLOCK // len(weight))
    joined = _joins(count, math.prod(out), (1,)) or len(weight) * math.prod(out) <= SMALL
    images = even(count, max(16, most // math.prod(out))) if joined else 1
    band = out[0] if joined else even(out[0], most // row)
    bands = [(j, min(band, out[0] - j)) for j in range(0, out[0], band)]
    places = [_falls(taps, stride, j, (rows, *out[1:]), shape) for j, rows in bands]
    for i in range(0, count, images):
        here = slice(i, min(i + images, count))
        n = here.stop - i if joined else 1
        seen = (_joined(z[here]) if joined else z[here]).reshape(outputs, -1)
        sums = buffer("sums", (channels, *shape, n), z.dtype) if joined else x[i][..., None]
        if joined:
            sums[...] = 0
        for (j, rows), falls in zip(bands, places, strict=True):
            made = buffer("made", (channels, *kernel, rows, *out[1:], n), z.dtype)
            multiply_add(weight, seen[:, j * row * n : (j + rows) * row * n], made.reshape(len(weight), -1), False)
            for source, target in falls:
                part = sums[target]
                np.add(part, made[source], out=part)
        if joined:
            _part(sums, x[here])
    return x


def _falls(taps: Any, stride: Any, row: int, counts: tuple[int, ...], shape: Any) -> list[tuple[Any, Any]]:
    """For each tap, the key of its elements in (C, *kernel, *counts), windows from this row on, and that of where they fall."""
    found = []
    for tap in product(*[range(len(places)) for places in taps]):
        firsts = [places[t] for places, t in zip(taps, tap, strict=True)]
        firsts[0] += row * stride[0]
        spans = [span(*axis) for axis in zip(firsts, stride, counts, shape, strict=True)]
        found.append(((slice(None), *tap, *[s for s, _ in spans]), (slice(None), *[there for _, there in spans])))
    return found


def _input_of_points(z: np.ndarray, w: np.ndarray, shape: Any, stride: Any, padding: Any, groups: int) -> np.ndarray:
    """`conv_input` for kernels of one element."""
    out = z.shape[2:]
    weight = w.reshape(groups, w.shape[0] // groups, w.shape[1]).swapaxes(1, 2)
    made = np.matmul(weight, z.reshape(z.shape[0], groups, w.shape[0] // groups, -1))
    made = made.reshape(z.shape[0], groups * w.shape[1], *out)
    grown = tuple([n + lo + hi for n, (lo, hi) in zip(shape, padding, strict=True)])
    if math.prod(stride) > 1 or grown != out:
        spread = np.zeros((*made.shape[:2], *grown), made.dtype)
        _strided(spread, out, stride)[...] = made
        made = spread
    return padded(made, tuple((-lo, -hi) for lo, hi in padding))


def _input_by_tap(z: np.ndarray, w: np.ndarray, shape: Any, stride: Any, padding: Any, dilation: Any) -> np.ndarray:
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
    inner = padded(x[:, None], [(-lo, -hi) for lo, hi in padding])[:, 0]
    return _channels_second(np.ascontiguousarray(inner))
