"""Pooling over 1, 2 or 3 spatial axes, channels first, with the conventions of `polygrad.ops.windows`."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

from polygrad.core import case, composite, general, ints, linear
from polygrad.ops.windows import assembled, blank, check_result, column_blocks, phased, span, stretch, window_counts

# ------------------------------------------------------------------------------------------------------------ maxima


def _places(xp, indices, size):
    """Flat positions in planes of `size` as positions in the whole flattened array."""
    planes, inside = math.prod(indices.shape[:2]), math.prod(indices.shape[2:])
    first = xp.arange(planes, dtype=indices.dtype, device=xp.device(indices)) * math.prod(size)
    return xp.reshape(xp.reshape(indices, (planes, inside)) + xp.reshape(first, (planes, 1)), (planes * inside,))


def _picked(xp, x, indices):
    """The elements of the planes of x (N, C, *S) at flat positions."""
    flat = xp.reshape(x, (math.prod(x.shape),))
    return xp.reshape(xp.take(flat, _places(xp, indices, x.shape[2:]), axis=0), indices.shape)


@linear(
    x=lambda xp, g, indices: _picked(xp, g, indices),
    node="MaxUnpool",
    cases=[
        case((2, 2, 3), ints((2, 2, 3), 0, 5), shape=(5,)),
        case((1, 2, 2, 2), ints((1, 2, 2, 2), 0, 12), shape=(3, 4)),
    ],
)
def max_unpool(xp, x, indices, /, *, shape):
    """Zeros (N, C, *shape) with x (N, C, *S) added at the flat positions `indices` of each plane.

    Raises:
        RuntimeError: indices of another shape than x.
    """
    if x.shape != indices.shape:
        raise RuntimeError(f"max_unpool: expected indices of x's shape {list(x.shape)}, got {list(indices.shape)}")
    total = blank(xp, (math.prod(x.shape[:2]) * math.prod(shape),), x)
    total = xp.at_add(total, xp.reshape(x, (math.prod(x.shape),)), key=(_places(xp, indices, shape),))
    return xp.reshape(total, (*x.shape[:2], *shape))


_MAX_RULE = (
    lambda xp, g, y1, x_shape: xp.max_unpool(g[0], y1, shape=x_shape[2:]),
    lambda xp, t, y1: (_picked(xp, t, y1), None),
)


@general(
    x=_MAX_RULE,
    dtypes="real",
    node="MaxPoolWithIndices",
    cases=[
        case((2, 2, 7), kernel_size=(3,), stride=(2,), padding=((1, 1),), dilation=(1,)),
        case((1, 2, 5, 6), kernel_size=(2, 2), stride=(2, 1), padding=((0, 1), (1, 0)), dilation=(1, 2)),
    ],
)
def max_pool(xp, x, /, *, kernel_size, stride, padding, dilation):
    """The largest element of each window of x (N, C, *S) and its flat position (int64) in the plane, both (N, C, *S_out).

    The first of equal elements wins; a NaN is larger than any number; padding never wins.

    Raises:
        RuntimeError: sizes that make no sense; a window with nothing but padding in it.
    """
    size = x.shape[2:]
    out = window_counts(size, kernel_size, stride, padding, dilation)
    axes = list(zip(size, out, kernel_size, stride, padding, dilation, strict=True))
    for n, o, k, s, (before, after), d in axes:
        if (before or after) and not all(any(0 <= i * s - before + a * d < n for a in range(k)) for i in range(o)):
            raise RuntimeError(
                f"max_pool: a window has nothing but padding in it: pad should be at most half of effective kernel size, "
                f"but got padding={(before, after)}, kernel_size={k} and dilation={d} on an axis of size {n}"
            )
    grids = [
        xp.expand_dims(xp.arange(-before, k * d - before, d, dtype=xp.int64, device=xp.device(x)), axis=1)
        + xp.arange(0, o * s, s, dtype=xp.int64, device=xp.device(x))
        for _, o, k, s, (before, _), d in axes
    ]
    inside = [(grid >= 0) & (grid < n) for grid, n in zip(grids, size, strict=True)]
    places = _combined(xp, [g * math.prod(size[i + 1 :]) for i, g in enumerate(grids)], lambda a, b: a + b)
    order = _order(xp, places.shape[0], x)
    order = xp.where(_combined(xp, inside, lambda a, b: a & b), order, xp.zeros_like(order))
    lowest = -math.inf if xp.isdtype(x.dtype, "real floating") else xp.iinfo(x.dtype).min
    values, indices = [], []
    for images, rows, columns in column_blocks(xp, x, out, kernel_size, stride, padding, dilation, x.shape[1], lowest):
        row = math.prod(out[1:])
        here = slice(rows.start * row, rows.stop * row)
        largest, index = _largest(xp, columns, order[:, here], places[:, here])
        values.append((images, rows, largest))
        indices.append((images, rows, index))
    shape = (x.shape[1], *out)
    return assembled(xp, values, shape), assembled(xp, indices, shape)


def _combined(xp, axes, combine):
    """One (kernel, windows) array an axis, combined to (taps, positions)."""
    n = len(axes)
    spread = [
        xp.reshape(
            a, (*[a.shape[0] if j == i else 1 for j in range(n)], *[a.shape[1] if j == i else 1 for j in range(n)])
        )
        for i, a in enumerate(axes)
    ]
    whole = reduce(combine, spread)
    return xp.reshape(whole, (math.prod(whole.shape[:n]), math.prod(whole.shape[n:])))


def _order(xp, taps, like):
    """(taps, 1): taps down to 1, so that the largest number is the first tap; 0 is left for none."""
    dtype = xp.uint8 if taps < 256 else xp.int32
    return xp.expand_dims(xp.arange(taps, 0, -1, dtype=dtype, device=xp.device(like)), axis=1)


def _largest(xp, columns, order, places):
    """The largest element of each column (B, C, taps, positions, n) and its place: two (B, C, positions * n)."""
    b, channels, taps, positions, n = columns.shape
    values = xp.max(columns, axis=2)
    hit = (columns == xp.expand_dims(values, axis=2)) | (columns != columns)
    order = xp.reshape(order, (*order.shape, 1))
    # A product of bytes is 20 times faster than `where` on them.
    first = xp.max(xp.astype(hit, order.dtype) * order, axis=2)
    tap = taps - xp.astype(first, places.dtype)
    position = xp.reshape(xp.arange(positions, dtype=places.dtype, device=xp.device(columns)), (positions, 1))
    at = xp.reshape(tap * positions + position, (b * channels * positions * n,))
    index = xp.take(xp.reshape(places, (taps * positions,)), at, axis=0)
    shape = (b, channels, positions * n)
    return xp.reshape(values, shape), xp.reshape(index, shape)


def _bins(size, count):
    """Where PyTorch's adaptive pooling cuts an axis: bin i is [floor(i * size / count), ceil((i + 1) * size / count))."""
    return [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


@general(
    x=_MAX_RULE,
    dtypes="real",
    node="AdaptiveMaxPool",
    cases=[case((2, 2, 7), output_size=(3,)), case((1, 2, 5, 6), output_size=(2, 3))],
)
def adaptive_max_pool(xp, x, /, *, output_size):
    """The largest element of each of `output_size` bins along each axis and its flat position, as `max_pool`'s results."""
    _check_bins("adaptive_max_pool", x.shape, output_size)
    size = x.shape[2:]
    grids = []
    for i, (n, count) in enumerate(zip(size, output_size, strict=True)):
        bins = _bins(n, count)
        longest, row = max(stop - start for start, stop in bins), math.prod(size[i + 1 :])
        # A short bin repeats its last element, which never wins because the first of equal elements does.
        grid = [[min(start + tap, stop - 1) * row for start, stop in bins] for tap in range(longest)]
        grids.append(xp.asarray(grid, dtype=xp.int64, device=xp.device(x)))
    places = _combined(xp, grids, lambda a, b: a + b)
    planes = xp.reshape(x, (x.shape[0], x.shape[1], math.prod(size)))
    columns = xp.take(planes, xp.reshape(places, (math.prod(places.shape),)), axis=2)
    columns = xp.reshape(columns, (*x.shape[:2], *places.shape, 1))
    values, index = _largest(xp, columns, _order(xp, places.shape[0], x), places)
    shape = (*x.shape[:2], *output_size)
    return xp.reshape(values, shape), xp.reshape(index, shape)


# ------------------------------------------------------------------------------------------------------------ averages


_AVERAGES: list[dict[str, Any]] = [
    {"kernel_size": (3,), "stride": (2,), "padding": ((1, 1),), "count_include_pad": False, "divisor_override": None},
    {
        "kernel_size": (2, 3),
        "stride": (1, 2),
        "padding": ((1, 0), (1, 1)),
        "count_include_pad": True,
        "divisor_override": None,
    },
    {
        "kernel_size": (2, 2),
        "stride": (3, 2),
        "padding": ((0, 0),) * 2,
        "count_include_pad": True,
        "divisor_override": 3,
    },
]


def _divided(xp, x, size, out, kernel, stride, padding, count_include_pad, divisor_override):
    """x over how many elements each window counts.

    With `count_include_pad`, padding counts as far as the padding before reaches on either side: what `ceil_mode` adds
    after that does not.
    """
    if divisor_override is not None:
        return x / divisor_override
    whole = 1
    for i, (n, o, k, s, (before, _)) in enumerate(zip(size, out, kernel, stride, padding, strict=True)):
        low, high = (-before, n + before) if count_include_pad else (0, n)
        counts = [min(j * s - before + k, high) - max(j * s - before, low) for j in range(o)]
        if min(counts) == max(counts):
            whole *= counts[0]
        else:
            counts = xp.asarray(counts, dtype=x.dtype, device=xp.device(x))
            whole = whole * xp.reshape(counts, tuple([o if j == i else 1 for j in range(len(out))]))
    return x / whole


@linear(
    x=lambda xp, g, x_shape, kernel_size, stride, padding, count_include_pad, divisor_override: xp.avg_unpool(
        g,
        shape=x_shape[2:],
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        count_include_pad=count_include_pad,
        divisor_override=divisor_override,
    ),
    dtypes="floating",
    node="AvgPool",
    cases=[case(x, **p) for x, p in zip(((2, 2, 7), (1, 2, 4, 6), (1, 1, 5, 6)), _AVERAGES, strict=True)],
)
def avg_pool(xp, x, /, *, kernel_size, stride, padding, count_include_pad, divisor_override):
    """The mean of each window of x (N, C, *S): (N, C, *S_out).

    Args:
        count_include_pad: whether padding counts as elements of a window.
        divisor_override: what to divide a window's sum by, in place of how many elements it has.

    Raises:
        RuntimeError: sizes that make no sense.
    """
    size = x.shape[2:]
    out = window_counts(size, kernel_size, stride, padding, (1,) * len(size))
    x = xp.pad_constant(x, padding=padding)
    for axis, (k, o, s) in enumerate(zip(kernel_size, out, stride, strict=True), 2):
        x = _summed(x, axis, [stretch(tap, o, s, 1) for tap in range(k)])
    return _divided(xp, x, size, out, kernel_size, stride, padding, count_include_pad, divisor_override)


def _summed(x, axis, slices):
    return reduce(lambda a, b: a + b, [x[(slice(None),) * axis + (s, ...)] for s in slices])


@linear(
    z=lambda xp, g, kernel_size, stride, padding, count_include_pad, divisor_override: xp.avg_pool(
        g,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        count_include_pad=count_include_pad,
        divisor_override=divisor_override,
    ),
    dtypes="floating",
    node="AvgPoolBackward",
    cases=[
        case(z, shape=x, **p)
        for z, x, p in zip(((2, 2, 4), (1, 2, 4, 3), (1, 1, 2, 3)), ((7,), (4, 6), (5, 6)), _AVERAGES, strict=True)
    ],
)
def avg_unpool(xp, z, /, *, shape, kernel_size, stride, padding, count_include_pad, divisor_override):
    """The transpose of `avg_pool`: each element of z (N, C, *S_out) shared out over its window in (N, C, *shape).

    Raises:
        RuntimeError: sizes that make no sense; a z that `avg_pool` would not give for an input of this shape.
    """
    dilation = (1,) * len(shape)
    check_result("avg_unpool", z.shape, z.shape[1], shape, kernel_size, stride, padding, dilation)
    out = z.shape[2:]
    z = _divided(xp, z, shape, out, kernel_size, stride, padding, count_include_pad, divisor_override)

    def plane(phase, size):
        x = z
        for axis, (p, m, o) in enumerate(zip(phase, size, out, strict=True), 2):
            fit = (p.start + p.size - 1, m - p.start - o)
            x = xp.pad_constant(x, padding=(fit, *[(0, 0)] * (len(out) + 1 - axis)))
            x = _summed(x, axis, [slice(i, i + m) for i in range(p.size)])
        return x

    return phased(xp, plane, z.shape[:2], z, shape, kernel_size, stride, padding, dilation)


@composite(cases=[case((2, 2, 7), output_size=(3,)), case((1, 2, 4, 6), output_size=(2, 3))])
def adaptive_avg_pool(xp, x, /, *, output_size):
    """The mean of each of `output_size` bins along each axis of x (N, C, *S), with PyTorch's bins.

    Raises:
        RuntimeError: a number of bins that is not positive, or not one for each spatial axis.
    """
    _check_bins("adaptive_avg_pool", x.shape, output_size)
    size = x.shape[2:]
    if all(n == 1 for n in output_size):
        return xp.mean(x, axis=tuple(range(2, len(x.shape))), keepdims=True)
    if all(n % count == 0 for n, count in zip(size, output_size, strict=True)):
        window = tuple([n // count for n, count in zip(size, output_size, strict=True)])
        none = ((0, 0),) * len(size)
        return xp.avg_pool(
            x, kernel_size=window, stride=window, padding=none, count_include_pad=True, divisor_override=None
        )
    for axis, (n, count) in enumerate(zip(size, output_size, strict=True), 2):
        x = xp.concat([xp.mean(span(x, axis, *b), axis=axis, keepdims=True) for b in _bins(n, count)], axis=axis)
    return x


def _check_bins(name, shape, output_size):
    if len(shape) != len(output_size) + 2 or min(output_size) < 1 or min(shape[2:]) < 1:
        raise RuntimeError(
            f"{name}: expected (batch, channels, *size) with a positive number of bins for each spatial axis, got an input "
            f"of size {list(shape)} and output_size={tuple(output_size)}"
        )
