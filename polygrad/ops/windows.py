"""Windows that slide over 1, 2 or 3 spatial axes: convolution, patches and padding (pooling is next door).

Arrays are channels-first, (N, C, *S). `stride`, `dilation`, `kernel_size` and the like are tuples with one int for each
spatial axis; `padding` is a tuple of (before, after) pairs, in which a negative number crops.

Every body gathers or spreads windows by whole strided slices: an im2col of one copy, or an overlap-add of one sum.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

from polygrad.core import case, composite, general, linear

# A block of columns (window elements x positions) has about this many elements: 2 MB of float32 stay in the second-level
# cache between the copy that makes them and the product that reads them (64 channels of 56x56: 2.5 -> 1.9 times PyTorch).
BLOCK = 1 << 19
# A product has at least this many columns, or packing the weight again for each costs more than the cache gives.
PRODUCT = 768
# Planes of at most this many positions are laid beside each other with the batch innermost, so that slices have long rows
# and a batch is one product (512 channels of 7x7: 2.0 -> 1.5 times PyTorch).
PLANE = 512
# With this many times fewer channels on the other side, that side is shifted: products first, or the smaller columns (64 to
# 3 channels of 56x56: 3.7 -> 0.7 times PyTorch; to 32: 3.4 -> 2.3).
FEWER = 2


# ------------------------------------------------------------------------------------------------------------ geometry


def window_counts(size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> tuple[int, ...]:
    """How many windows fit along each axis; RuntimeError for sizes that make no sense."""
    n = len(size)
    if not n == len(kernel) == len(stride) == len(padding) == len(dilation):
        raise RuntimeError(
            f"expected kernel size, stride, padding and dilation for {n} spatial axes, got {tuple(kernel)}, {stride}, "
            f"{padding} and {dilation}"
        )
    for name, values in (("kernel size", kernel), ("stride", stride), ("dilation", dilation)):
        if min(values) < 1:
            raise RuntimeError(f"{name} should be greater than zero along every axis, but got {tuple(values)}")
    padded = [s + lo + hi for s, (lo, hi) in zip(size, padding, strict=True)]
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    if any(p < r for p, r in zip(padded, reach, strict=True)):
        raise RuntimeError(
            f"Calculated padded input size per channel: ({_by(padded)}). Kernel size: ({_by(kernel)}), with dilation "
            f"({_by(reach)}). Kernel size can't be greater than actual input size"
        )
    return tuple([(p - r) // s + 1 for p, r, s in zip(padded, reach, stride, strict=True)])


def _by(numbers: Any) -> str:
    return " x ".join(map(str, numbers))


class _Phase(NamedTuple):
    """What one axis of the input receives at every stride-th place: place m sums tap i of window m - start - i * step."""

    taps: slice
    size: int
    step: int
    start: int


def _phases(kernel: int, stride: int, before: int, dilation: int) -> list[_Phase | None]:
    """The phase of each place modulo the stride; None where no tap ever comes."""
    common = math.gcd(stride, dilation)
    phases: list[_Phase | None] = []
    for place in range(stride):
        window, rest = divmod(place + before, stride)
        first = next((a for a in range(min(kernel, stride // common)) if a * dilation % stride == rest), None)
        if first is None:
            phases.append(None)
            continue
        taps = slice(first, None, stride // common)
        count = len(range(first, kernel, stride // common))
        phases.append(_Phase(taps, count, dilation // common, first * dilation // stride - window))
    return phases


def _interleave(xp, planes, stride, shape):
    """The places of each phase put between each other: prod(stride) arrays (N, C, *M) -> (N, C, *shape)."""
    for axis in reversed(range(len(stride))):
        s = stride[axis]
        if s > 1:
            whole = list(planes[0].shape)
            whole[2 + axis] *= s
            planes = [
                xp.reshape(xp.stack(planes[i : i + s], axis=3 + axis), tuple(whole)) for i in range(0, len(planes), s)
            ]
    (whole,) = planes
    return whole if whole.shape[2:] == tuple(shape) else whole[(..., *[slice(0, n) for n in shape])]


def _even(total: int, most: int) -> int:
    """The size of the parts when `total` is cut into as few equal parts of at most `most` as can be."""
    return -(-total // -(-total // max(1, most))) if total else 1


def _cuts(total: int, size: int) -> list[slice]:
    """`total` places in slices of `size`; one empty slice if there are none."""
    return [slice(i, min(i + size, total)) for i in range(0, max(total, 1), size)]


def blank(xp, shape, like):
    """Zeros of this shape with the data type and device of `like`."""
    return xp.zeros(shape, dtype=like.dtype, device=xp.device(like))


def _together(xp, parts, axis):
    return parts[0] if len(parts) == 1 else xp.concat(parts, axis=axis)


# ---------------------------------------------------------------------------------------------------- padding


@general(
    x=(
        lambda xp, g, padding: xp.pad_constant(g, padding=tuple((-lo, -hi) for lo, hi in padding)),
        lambda xp, t, padding: xp.pad_constant(t, padding=padding),
    ),
    dtypes="any",
    node="ConstantPadNd",
    cases=[case((2, 3, 4), padding=((1, 2), (0, 1))), case((3, 5), padding=((-1, 1), (2, -2)), value=1.5)],
)
def pad_constant(xp, x, /, *, padding, value=0):
    """x with `value` around it: (before, after) pairs for the last axes; negative numbers crop.

    Raises:
        ValueError: a crop by more than there is.
    """
    for axis, (before, after) in enumerate(padding, len(x.shape) - len(padding)):
        if before < 0 or after < 0:
            size = x.shape[axis]
            start, stop = max(-before, 0), size - max(-after, 0)
            if start > stop:
                raise ValueError(f"padding {(before, after)} crops more than the {size} elements of axis {axis}")
            x = x[(slice(None),) * axis + (slice(start, stop), ...)]
        if before > 0 or after > 0:
            edges = [
                xp.full((*x.shape[:axis], n, *x.shape[axis + 1 :]), value, dtype=x.dtype, device=xp.device(x))
                for n in (max(before, 0), max(after, 0))
            ]
            x = xp.concat([e for e in (edges[0], x, edges[1]) if e.shape[axis]], axis=axis)
    return x


@composite(cases=[case((2, 3, 4), padding=((1, 2),), mode=mode) for mode in ("reflect", "replicate", "circular")])
def pad(xp, x, /, padding, *, mode="constant", value=0):
    """x with a border: (before, after) pairs for the last axes; negative numbers crop.

    Args:
        mode: "constant" (`value`), "reflect" (mirrored, without the edge), "replicate" (the edge) or "circular".

    Raises:
        ValueError: an unknown mode; a border wider than "reflect" or "circular" can fill; a crop by more than there is.
    """
    if mode == "constant":
        return xp.pad_constant(x, padding=tuple(padding), value=0 if value is None else value)
    if mode not in _BORDERS:
        raise ValueError(f"pad: expected mode constant, reflect, replicate or circular, got {mode!r}")
    if any(n < 0 for pair in padding for n in pair):
        x = xp.pad_constant(x, padding=tuple((min(lo, 0), min(hi, 0)) for lo, hi in padding))
    for axis, (before, after) in enumerate(padding, len(x.shape) - len(padding)):
        most, border = _BORDERS[mode]
        size, widest = x.shape[axis], max(before, after)
        if widest > 0 and (size == 0 or (most is not None and widest > size - most)):
            raise ValueError(
                f"pad: mode {mode!r} cannot add {(before, after)} to axis {axis} of an array of shape {tuple(x.shape)}; "
                f"at most {max(size - (most or 0), 0)} a side"
            )
        if widest > 0:
            x = xp.concat(border(xp, x, axis, max(before, 0), max(after, 0)), axis=axis)
    return x


def span(x, axis, start, stop):
    """The places from start to stop of one axis."""
    return x[(slice(None),) * axis + (slice(start, stop), ...)]


def _reflect(xp, x, axis, before, after):
    size = x.shape[axis]
    left = xp.flip(span(x, axis, 1, before + 1), axis=axis)
    return [left, x, xp.flip(span(x, axis, size - 1 - after, size - 1), axis=axis)]


def _replicate(xp, x, axis, before, after):
    size = x.shape[axis]
    first, last = span(x, axis, 0, 1), span(x, axis, size - 1, size)
    return [*[first] * before, x, *[last] * after]


def _wrap(xp, x, axis, before, after):
    size = x.shape[axis]
    return [span(x, axis, size - before, size), x, span(x, axis, 0, after)]


# mode -> (what a border must be smaller than the axis by, or None; the pieces to join)
_BORDERS = {"reflect": (1, _reflect), "replicate": (None, _replicate), "circular": (0, _wrap)}


# ------------------------------------------------------------------------------------------------ columns and planes


def _fits_together(count, positions, stride):
    """Whether the batch goes innermost: many small planes. A stride leaves rows of one place of each image only."""
    return positions <= PLANE and count > (1 if stride[-1] == 1 else 7)


def _join(xp, x, joined):
    """(b, C, *S) as (b, C, *S, 1), or with the batch innermost as (1, C, *S, b)."""
    b, c, *size = x.shape
    if not joined:
        return xp.reshape(x, (b, c, *size, 1))
    inner = c * math.prod(size)
    turned = xp.permute_dims(xp.reshape(x, (b, inner)), (1, 0))
    return xp.reshape(xp.reshape(turned, (inner * b,)), (1, c, *size, b))  # by one axis, or there would be no copy


def _apart(xp, y, count, shape):
    """Undo `_join`: the elements of y as (count, *shape)."""
    if y.shape[0] != count:
        inner = math.prod(shape)
        y = xp.reshape(xp.permute_dims(xp.reshape(y, (inner, count)), (1, 0)), (inner * count,))
    return xp.reshape(y, (count, *shape))


def _shifted(x, kernel, out, stride, dilation):
    """For every tap of the kernel, in row-major order, the element of each window that it meets: (B, C, *out, ...)."""
    return [
        x[(slice(None), slice(None), *[stretch(*axis) for axis in zip(tap, out, stride, dilation, strict=True)], ...)]
        for tap in product(*map(range, kernel))
    ]


def stretch(tap, count, stride, dilation):
    """The places along one axis that a tap of the kernel meets in `count` windows."""
    first = tap * dilation
    return slice(first, first + (count - 1) * stride + 1, stride)


def column_blocks(xp, x, out, kernel, stride, padding, dilation, groups, value=0) -> Iterator[tuple[slice, slice, Any]]:
    """The elements of every window, block by block: (images, rows, columns).

    The columns (B, groups, C / groups * taps, positions, n) are those of a slice of the batch and a slice of the rows (the
    first spatial axis), with the batch either outermost (B images, n = 1) or innermost (B = 1, n images).
    """
    count, channels = x.shape[:2]
    taps, positions = math.prod(kernel), math.prod(out)
    most = max(PRODUCT, BLOCK // max(channels * taps, 1))
    joined = _fits_together(count, positions, stride)
    images = _even(count, max(16 if joined else 1, most // positions))
    height = _even(out[0], most * out[0] // (positions * images))
    for here in _cuts(count, images):
        block = xp.pad_constant(_join(xp, x[here, ...], joined), padding=(*padding, (0, 0)), value=value)
        b, n = block.shape[0], block.shape[-1]
        for rows in _cuts(out[0], height):
            size = (rows.stop - rows.start, *out[1:])
            band = block[:, :, rows.start * stride[0] :, ...] if rows.start else block
            columns = xp.stack(_shifted(band, kernel, size, stride, dilation), axis=2)
            columns = xp.reshape(columns, (b, groups, channels // groups * taps, math.prod(size), n))
            yield here, rows, columns


def assembled(xp, parts, shape):
    """What was made of each block of columns, (images, rows, (B, ..., positions * n)), as one (N, *shape)."""
    blocks, bands = [], []
    for images, rows, y in parts:
        height = rows.stop - rows.start
        bands.append(xp.reshape(y, (y.shape[0], shape[0], height, y.shape[-1] // height)))
        if rows.stop == shape[1]:
            blocks.append(_apart(xp, _together(xp, bands, 2), images.stop - images.start, shape))
            bands = []
    return _together(xp, blocks, 0)


def phased(xp, make, lead, like, shape, kernel, stride, padding, dilation):
    """(*lead, *shape) of what `make(phase, size)` gives for each phase of the stride."""
    size = tuple([-(-n // s) for n, s in zip(shape, stride, strict=True)])
    axes = zip(kernel, stride, padding, dilation, strict=True)
    phases = product(*[_phases(k, s, before, d) for k, s, (before, _), d in axes])
    planes = [blank(xp, (*lead, *size), like) if None in phase else make(phase, size) for phase in phases]
    return _interleave(xp, planes, stride, shape)


def _overlap_add(xp, t, lead, kernel, step, plane, n):
    """Planes summed where each is moved by its tap: (lead, *reversed kernel, *plane, n) -> (lead, *extents, n).

    Axis i of the result has plane[i] + step[i] * (kernel[i] - 1) places, but the first axis of t must already be padded
    with zeros, by `_padding_rows` rows. The planes of an axis' taps lie behind each other, so reading the same memory in
    rows that are `shift` elements shorter moves tap i to the right by i * shift: one sum adds all, with no plane copied.
    """
    plane, taps = list(plane), math.prod(kernel)
    for axis, (k, d) in enumerate(zip(kernel, step, strict=True)):
        taps //= k
        if k == 1:
            continue
        if axis:
            rows, inner = lead * taps * k * math.prod(plane[:axis]), math.prod(plane[axis + 1 :]) * n
            t = xp.pad_constant(xp.reshape(t, (rows, plane[axis], inner)), padding=((0, d * (k - 1)), (0, 0)))
            plane[axis] += d * (k - 1)
        size, shift = math.prod(plane) * n, d * math.prod(plane[axis + 1 :]) * n
        t = xp.reshape(t, (lead * taps, k * size))[:, : k * (size - shift)]
        t = xp.sum(xp.reshape(t, (lead * taps, k, size - shift)), axis=1)
        row = math.prod(plane[1:]) * n
        plane[0] = (size - shift) // row
        t = t[:, : plane[0] * row]
    return xp.reshape(t, (lead, *plane, n))


def _padding_rows(kernel, step):
    """The rows of zeros that `_overlap_add` needs: where the first axis' taps reach, and what each axis' shift cuts off."""
    return step[0] * kernel[0] * (kernel[0] > 1) + sum(k > 1 for k in kernel[1:])


def _placed(xp, t, phase, size, behind):
    """What `_overlap_add` gave, cut and padded to the places of its phase; `behind` axes follow the spatial ones."""
    made = t.shape[2 : 2 + len(size)]
    fit = [(p.start, m - p.start - k) for p, m, k in zip(phase, size, made, strict=True)]
    return xp.pad_constant(t, padding=(*fit, *[(0, 0)] * behind))


# --------------------------------------------------------------------------------------------------------- convolution


def _conv_from_x(xp, g, w, x_shape, stride, padding, dilation, groups):
    return xp.conv_input(
        g, xp.conj(w), shape=x_shape[2:], stride=stride, padding=padding, dilation=dilation, groups=groups
    )


def _conv_from_w(xp, g, x, w_shape, stride, padding, dilation, groups):
    return xp.conv_weight(
        xp.conj(x), g, shape=w_shape[2:], stride=stride, padding=padding, dilation=dilation, groups=groups
    )


_CONV_CASES: list[dict[str, Any]] = [
    {"stride": (2,), "padding": ((1, 2),), "dilation": (1,), "groups": 1},
    {"stride": (1, 1), "padding": ((1, 1), (0, 1)), "dilation": (1, 2), "groups": 2},
    {"stride": (2, 3), "padding": ((1, 1), (2, 2)), "dilation": (1, 1), "groups": 1},
    {"stride": (1, 2, 1), "padding": ((0, 0), (1, 0), (0, 0)), "dilation": (1, 1, 1), "groups": 1},
]
# (x, w, y) of each case
_CONV_SHAPES: list[tuple[tuple[int, ...], ...]] = [
    ((2, 3, 7), (4, 3, 3), (2, 4, 4)),
    ((2, 4, 4, 6), (6, 2, 3, 2), (2, 6, 4, 5)),
    ((1, 2, 5, 6), (3, 2, 3, 4), (1, 3, 3, 3)),
    ((1, 2, 3, 4, 3), (2, 2, 2, 3, 1), (1, 2, 2, 2, 3)),
]


@linear(
    x=_conv_from_x,
    w=_conv_from_w,
    dtypes="floating",
    node="Convolution",
    cases=[case(x, w, **p) for (x, w, _), p in zip(_CONV_SHAPES, _CONV_CASES, strict=True)],
)
def conv(xp, x, w, /, *, stride, padding, dilation, groups):
    """Cross-correlation of x (N, C, *S) with w (O, C / groups, *K), as PyTorch's conv1d, conv2d and conv3d: (N, O, *S_out).

    Raises:
        RuntimeError: ranks, channels or sizes that do not fit; the message has what was given and what was expected.
    """
    _check_operands("conv", x.shape, w.shape, groups)
    if w.shape[1] * groups != x.shape[1]:
        raise RuntimeError(
            f"Given groups={groups}, weight of size {list(w.shape)}, expected input{list(x.shape)} to have "
            f"{w.shape[1] * groups} channels, but got {x.shape[1]} channels instead"
        )
    kernel, outputs = w.shape[2:], w.shape[0]
    out = window_counts(x.shape[2:], kernel, stride, padding, dilation)
    weight = xp.reshape(w, (groups, outputs // groups, w.shape[1] * math.prod(kernel)))
    if math.prod(kernel) == math.prod(stride) == 1:  # one product, nothing copied
        columns = xp.reshape(xp.pad_constant(x, padding=padding), (x.shape[0], groups, w.shape[1], math.prod(out)))
        return xp.reshape(xp.matmul(weight, columns), (x.shape[0], outputs, *out))
    if math.prod(stride) == 1 and FEWER * outputs <= x.shape[1]:
        axes = zip(kernel, dilation, padding, strict=True)
        phase = [_Phase(slice(None), k, d, before - (k - 1) * d) for k, d, (before, _) in axes]
        return _spread(xp, x, _turned(xp, w, groups), phase, out, groups)
    parts = column_blocks(xp, x, out, kernel, stride, padding, dilation, groups)
    products = ((images, rows, xp.matmul(weight, _flat(xp, columns))) for images, rows, columns in parts)
    return assembled(xp, products, (outputs, *out))


def _flat(xp, columns):
    """Columns with their last two axes, positions and images, as one."""
    *lead, positions, n = columns.shape
    return xp.reshape(columns, (*lead, positions * n))


@linear(
    z=lambda xp, g, w, stride, padding, dilation, groups: xp.conv(
        g, xp.conj(w), stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    w=lambda xp, g, z, w_shape, stride, padding, dilation, groups: xp.conv_weight(
        g, xp.conj(z), shape=w_shape[2:], stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    dtypes="floating",
    node="ConvolutionBackward",
    cases=[case(z, w, shape=x[2:], **p) for (x, w, z), p in zip(_CONV_SHAPES, _CONV_CASES, strict=True)],
)
def conv_input(xp, z, w, /, *, shape, stride, padding, dilation, groups):
    """The transpose of `conv` in x: z (N, O, *S_out) with w (O, C / groups, *K) gives (N, C, *shape); no conjugation.

    Raises:
        RuntimeError: as `conv`; and for a z that `conv` would not give for an input of this shape.
    """
    _check_operands("conv_input", z.shape, w.shape, groups)
    check_result("conv_input", z.shape, w.shape[0], shape, w.shape[2:], stride, padding, dilation)
    channels = w.shape[1] * groups
    # Columns of z where it has no more channels than x, else shifted products: whichever moves less memory.
    made = _gathered if w.shape[0] <= channels else _spread

    def plane(phase, size):
        return made(xp, z, w[(slice(None), slice(None), *[p.taps for p in phase])], phase, size, groups)

    return phased(xp, plane, (z.shape[0], channels), z, shape, w.shape[2:], stride, padding, dilation)


def _turned(xp, w, groups):
    """A weight (O, C / groups, *K) with its kernel turned round and its channels exchanged: (C, O / groups, *K)."""
    outputs, inputs, *kernel = w.shape
    w = xp.reshape(w, (groups, outputs // groups, inputs, *kernel))
    w = xp.permute_dims(xp.flip(w, axis=tuple(range(3, len(w.shape)))), (0, 2, 1, *range(3, len(w.shape))))
    return xp.reshape(w, (groups * inputs, outputs // groups, *kernel))


def _gathered(xp, z, w, phase, size, groups):
    """One phase of `conv_input` as a convolution with the kernel turned round."""
    reach = [p.start + (p.size - 1) * p.step for p in phase]
    after = [m - p.start - n for m, p, n in zip(size, phase, z.shape[2:], strict=True)]
    return xp.conv(
        z,
        _turned(xp, w, groups),
        stride=(1,) * len(size),
        padding=tuple(zip(reach, after, strict=True)),
        dilation=tuple([p.step for p in phase]),
        groups=groups,
    )


def _spread(xp, z, w, phase, size, groups):
    """One phase of `conv_input` as a product for each tap, added where the tap falls."""
    count, outputs, *plane = z.shape
    inputs, kernel = w.shape[1], w.shape[2:]
    taps, step, each = math.prod(kernel), [p.step for p in phase], outputs // groups
    axes = (0, 2, *range(len(w.shape), 2, -1), 1)  # groups, channels, taps from the last axis to the first, outputs
    w = xp.permute_dims(xp.reshape(w, (groups, each, inputs, *kernel)), axes)
    w = xp.reshape(w, (groups, inputs, taps, each))
    below = _padding_rows(kernel, step)
    positions = (plane[0] + below) * math.prod(plane[1:])
    joined = _fits_together(count, math.prod(plane), (1,))
    images = _even(count, max(PRODUCT, BLOCK // max(groups * inputs * taps, 1)) // positions)
    # Blocks of whole groups, or of the channels of one group, keep what a product writes in cache for the sum.
    one = taps * positions * images
    chosen = _even(groups, BLOCK // max(inputs * one, 1))
    channels = inputs if groups > 1 else _even(inputs, BLOCK // one)
    blocks = []
    for here in _cuts(count, images):
        block = _join(xp, z[here, ...], joined)
        block = xp.pad_constant(block, padding=((0, below), *[(0, 0)] * len(plane)))
        b, n = block.shape[0], block.shape[-1]
        block = xp.reshape(block, (b, groups, each, positions * n))
        parts = []
        for some_groups, some_channels in product(_cuts(groups, chosen), _cuts(inputs, channels)):
            some = w[some_groups, some_channels, ...]
            some = xp.reshape(some, (some.shape[0], some.shape[1] * taps, each))
            t = xp.matmul(some, block[:, some_groups, ...])
            made = t.shape[1] * t.shape[2] // taps
            t = _overlap_add(xp, t, b * made, kernel, step, (plane[0] + below, *plane[1:]), n)
            parts.append(xp.reshape(t, (b, made, *t.shape[1:])))
        whole = _placed(xp, _together(xp, parts, 1), phase, size, 1)
        blocks.append(_apart(xp, whole, here.stop - here.start, (groups * inputs, *size)))
    return _together(xp, blocks, 0)


@linear(
    x=lambda xp, g, z, x_shape, stride, padding, dilation, groups: xp.conv_input(
        xp.conj(z), g, shape=x_shape[2:], stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    z=lambda xp, g, x, stride, padding, dilation, groups: xp.conv(
        xp.conj(x), g, stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    dtypes="floating",
    node="ConvolutionBackward",
    cases=[case(x, z, shape=w[2:], **p) for (x, w, z), p in zip(_CONV_SHAPES, _CONV_CASES, strict=True)],
)
def conv_weight(xp, x, z, /, *, shape, stride, padding, dilation, groups):
    """The transpose of `conv` in w: x (N, C, *S) with z (N, O, *S_out) gives (O, C / groups, *shape); no conjugation.

    Raises:
        RuntimeError: ranks, batches, channels or sizes that do not fit.
    """
    if len(x.shape) != len(z.shape) or x.shape[0] != z.shape[0] or x.shape[1] % groups or z.shape[1] % groups:
        raise RuntimeError(
            f"conv_weight: expected x (N, C, *S) and z (N, O, *S_out) with C and O divisible by groups={groups}, got "
            f"{list(x.shape)} and {list(z.shape)}"
        )
    check_result("conv_weight", z.shape, z.shape[1], x.shape[2:], shape, stride, padding, dilation)
    outputs, inputs, out = z.shape[1], x.shape[1] // groups, z.shape[2:]
    if math.prod(stride) == 1 and FEWER * outputs <= x.shape[1]:  # columns of z, with the kernel turned round
        reach = [d * (k - 1) for k, d in zip(shape, dilation, strict=True)]
        around = tuple([(r - lo, r - hi) for r, (lo, hi) in zip(reach, padding, strict=True)])
        turned = xp.conv_weight(z, x, shape=shape, stride=stride, padding=around, dilation=dilation, groups=groups)
        return _turned(xp, turned, groups)
    total = None
    for images, rows, columns in column_blocks(xp, x, out, shape, stride, padding, dilation, groups):
        columns = _flat(xp, columns)
        seen = z[images, :, rows, ...]
        seen = _join(xp, seen, columns.shape[0] != seen.shape[0])
        seen = xp.reshape(seen, (columns.shape[0], groups, outputs // groups, columns.shape[-1]))
        part = xp.sum(xp.matmul(columns, xp.matrix_transpose(seen)), axis=0)
        total = part if total is None else total + part
    return xp.reshape(xp.matrix_transpose(total), (outputs, inputs, *shape))


def _check_operands(name, x_shape, w_shape, groups):
    if not 3 <= len(x_shape) == len(w_shape) <= 5:
        raise RuntimeError(
            f"{name}: expected an input (batch, channels, *size) and a weight (outputs, channels / groups, *kernel) with 1 "
            f"to 3 spatial axes each, got {list(x_shape)} and {list(w_shape)}"
        )
    if groups < 1 or w_shape[0] % groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, but got weight of size "
            f"{list(w_shape)} instead"
        )


def check_result(name, y_shape, outputs, size, kernel, stride, padding, dilation):
    """Raise RuntimeError for a shape that windows of this geometry do not give."""
    out = window_counts(size, kernel, stride, padding, dilation)
    if y_shape[1] != outputs or tuple(y_shape[2:]) != out:
        raise RuntimeError(
            f"{name}: expected {outputs} channels of size {list(out)}, as conv gives for an input of size {list(size)} and "
            f"a kernel of size {list(kernel)}, but got {list(y_shape)}"
        )


# ------------------------------------------------------------------------------------------------------------- patches


_PATCHES: list[dict[str, Any]] = [
    {"kernel_size": (2, 3), "stride": (1, 2), "padding": ((0, 0), (1, 1)), "dilation": (1, 1)},
    {"kernel_size": (3,), "stride": (2,), "padding": ((2, 1),), "dilation": (2,)},
]


@linear(
    x=lambda xp, g, x_shape, kernel_size, stride, padding, dilation: xp.fold(
        g, output_size=x_shape[2:], kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation
    ),
    dtypes="any",
    node="Im2Col",
    cases=[case((2, 2, 4, 5), **_PATCHES[0]), case((1, 2, 7), **_PATCHES[1])],
)
def unfold(xp, x, /, *, kernel_size, stride, padding, dilation):
    """The patches of x (N, C, *S) as columns: (N, C * prod(kernel_size), positions), as torch.nn.functional.unfold.

    Raises:
        RuntimeError: sizes that make no sense.
    """
    out = window_counts(x.shape[2:], kernel_size, stride, padding, dilation)
    columns = xp.stack(_shifted(xp.pad_constant(x, padding=padding), kernel_size, out, stride, dilation), axis=2)
    return xp.reshape(columns, (x.shape[0], x.shape[1] * math.prod(kernel_size), math.prod(out)))


@linear(
    x=lambda xp, g, kernel_size, stride, padding, dilation: xp.unfold(
        g, kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation
    ),
    dtypes="floating",
    node="Col2Im",
    cases=[case((2, 12, 9), output_size=(4, 5), **_PATCHES[0]), case((1, 6, 3), output_size=(7,), **_PATCHES[1])],
)
def fold(xp, x, /, *, output_size, kernel_size, stride, padding, dilation):
    """Columns (N, C * prod(kernel_size), positions) summed into (N, C, *output_size), as torch.nn.functional.fold.

    Raises:
        RuntimeError: a number of rows or columns that `unfold` would not give.
    """
    out = window_counts(output_size, kernel_size, stride, padding, dilation)
    taps, spatial = math.prod(kernel_size), len(out)
    if len(x.shape) != 3 or x.shape[1] % taps or x.shape[2] != math.prod(out):
        raise RuntimeError(
            f"fold: expected (batch, channels * {taps}, {math.prod(out)}), {taps} elements in each of {_by(out)} windows, "
            f"but got an input of size {list(x.shape)}"
        )
    count, channels = x.shape[0], x.shape[1] // taps
    x = xp.reshape(x, (count, channels, *kernel_size, *out))
    reverse = (0, 1, *range(spatial + 1, 1, -1), *range(spatial + 2, 2 * spatial + 2))

    def plane(phase, size):
        kernel, step = [p.size for p in phase], [p.step for p in phase]
        below = _padding_rows(kernel, step)
        t = xp.permute_dims(x[(slice(None), slice(None), *[p.taps for p in phase], ...)], reverse)
        t = xp.pad_constant(t, padding=((0, below), *[(0, 0)] * (spatial - 1)))
        t = _overlap_add(xp, t, count * channels, kernel, step, (out[0] + below, *out[1:]), 1)
        return _placed(xp, xp.reshape(t, (count, channels, *t.shape[1:-1])), phase, size, 0)

    return phased(xp, plane, (count, channels), x, output_size, kernel_size, stride, padding, dilation)
