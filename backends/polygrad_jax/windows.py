"""Convolution, max pooling and padding by XLA's own operations, each compiled once for a shape.

What XLA would take and PyTorch would not (channels that do not fit, windows larger than the input) is declined: the op's
body then says what is wrong.
"""

import math
import os
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

__all__ = ["conv", "conv_input", "conv_weight", "max_pool", "pad_constant"]

GEOMETRY = ("stride", "padding", "dilation", "groups")

# On processors XLA turns the weight of every convolution into another order and back, which takes longer than the convolution
# where there are few positions for so many weights. Products with the weight as it lies take, of the processor time of a step,
# 0.08 (512 channels of 2x2), 0.28 (256 of 4x4), 0.69 (128 of 8x8), 0.50 (a batch of 8 of 512 of 7x7); 1.01 with 1568 positions
# (8 of 256 of 14x14) and 1.37 with 37 thousand weights (64 of 16x16): benchmarks/jax_convolutions.py.
POSITIONS, WEIGHTS = 512, 1 << 17
LAYOUTS = {"channels_first": False, "channels_last": True}


def _is_last(layout: str) -> bool:
    if layout not in LAYOUTS:
        raise ValueError(f"POLYGRAD_JAX_LAYOUT is {layout!r}; it may be {' or '.join(LAYOUTS)}")
    return LAYOUTS[layout]


CHANNELS_LAST = _is_last(os.environ.get("POLYGRAD_JAX_LAYOUT") or "channels_first")


def _correlate(x: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    if min(*stride, *dilation) < 1:
        raise ValueError("a stride or a dilation is not positive")
    how = {"window_strides": stride, "padding": padding, "rhs_dilation": dilation, "feature_group_count": groups}
    if not CHANNELS_LAST or not x.ndim == w.ndim == len(stride) + 2:
        return lax.conv_general_dilated(x, w, **how)
    last, axes = x.ndim - 1, tuple(range(x.ndim - 2))
    x, w = jnp.moveaxis(x, 1, -1), jnp.transpose(w, (*[a + 2 for a in axes], 1, 0))
    # where the batch (or the outputs) lies, then the channels, then the other axes
    data, weight = (0, last, *[a + 1 for a in axes]), (last, last - 1, *axes)
    y = lax.conv_general_dilated(x, w, **how, dimension_numbers=lax.ConvDimensionNumbers(data, weight, data))
    return jnp.moveaxis(y, -1, 1)


def _or_decline(function: Callable[..., Any], *operands: Any, **params: Any) -> Any:
    try:
        return function(*operands, **params)
    except (TypeError, ValueError):
        return NotImplemented


def _by_columns(positions: int, w_shape: Any, groups: int) -> bool:
    """Whether a convolution with so many positions in the batch is a product with columns."""
    few = positions <= POSITIONS and math.prod(w_shape) >= WEIGHTS
    return few and groups == 1 and jax.default_backend() == "cpu"


def _columns(x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """The elements of every window of x (N, C, *S): (C, taps, N, *S_out)."""
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), (0, 0, 0), *[(lo, hi, 0) for lo, hi in padding]])
    size = x.shape[2:]
    out = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(size, kernel, stride, dilation, strict=True)]
    taps = []
    for tap in product(*map(range, kernel)):
        start = [t * d for t, d in zip(tap, dilation, strict=True)]
        stop = [a + (o - 1) * s + 1 for a, o, s in zip(start, out, stride, strict=True)]
        taps.append(lax.slice(x, (0, 0, *start), (*x.shape[:2], *stop), (1, 1, *stride)))
    return jnp.stack([jnp.swapaxes(t, 0, 1) for t in taps], axis=1)


def _outputs(x_shape: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> int:
    """How many positions there are in the batch; more than count for geometry that makes no sense."""
    if not len(x_shape) - 2 == len(kernel) == len(stride) == len(padding) == len(dilation):
        return POSITIONS + 1
    if min(*stride, *dilation) < 1:
        return POSITIONS + 1
    axes = zip(x_shape[2:], kernel, stride, padding, dilation, strict=True)
    counts = [(n + lo + hi - d * (k - 1) - 1) // s + 1 for n, k, s, (lo, hi), d in axes]
    return x_shape[0] * math.prod(counts) if min(counts) > 0 else POSITIONS + 1


@partial(jax.jit, static_argnames=GEOMETRY[:-1])
def _product(x: Any, w: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    columns = _columns(x, w.shape[2:], stride, padding, dilation)
    y = w.reshape(w.shape[0], -1) @ columns.reshape(columns.shape[0] * columns.shape[1], -1)
    return jnp.swapaxes(y.reshape(w.shape[0], *columns.shape[2:]), 0, 1)


def conv(x: Any, w: Any, /, *, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """The op `conv`, by lax.conv_general_dilated."""
    if x.shape[1:2] == w.shape[1:2] and x.dtype == w.dtype:
        positions = _outputs(x.shape, w.shape[2:], stride, padding, dilation)
        if _by_columns(positions, w.shape, groups):
            return _or_decline(_product, x, w, stride, padding, dilation)
    y = _or_decline(_correlate, x, w, stride, padding, dilation, groups)
    return NotImplemented if y is NotImplemented or 0 in y.shape[1:] else y


@partial(jax.jit, static_argnames=("shape", "columns", *GEOMETRY))
def _input(z: Any, w: Any, shape: Any, columns: bool, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    x = jax.ShapeDtypeStruct((z.shape[0], w.shape[1] * groups, *shape), z.dtype)
    if columns:
        seen = jnp.swapaxes(z, 0, 1)
        made = w.reshape(w.shape[0], -1).T @ seen.reshape(w.shape[0], -1)
        made = made.reshape(w.shape[1], math.prod(w.shape[2:]), *seen.shape[1:])
        (x,) = jax.linear_transpose(lambda x: _columns(x, w.shape[2:], stride, padding, dilation), x)(made)
        return x
    (x,) = jax.linear_transpose(lambda x: _correlate(x, w, stride, padding, dilation, groups), x)(z)
    return x


def conv_input(z: Any, w: Any, /, *, shape: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """The op `conv_input`, by XLA's transpose of the convolution."""
    positions = z.shape[0] * math.prod(z.shape[2:])
    columns = z.dtype == w.dtype and _by_columns(positions, w.shape, groups)
    return _or_decline(_input, z, w, tuple(shape), columns, stride, padding, dilation, groups)


@partial(jax.jit, static_argnames=("shape", "columns", *GEOMETRY))
def _weight(x: Any, z: Any, shape: Any, columns: bool, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    w = jax.ShapeDtypeStruct((z.shape[1], x.shape[1] // groups, *shape), z.dtype)
    if columns:
        seen = jnp.swapaxes(z, 0, 1)
        made = _columns(x, shape, stride, padding, dilation)
        if made.shape[2:] != seen.shape[1:]:
            raise ValueError("windows of this geometry are not as many")
        return (seen.reshape(z.shape[1], -1) @ made.reshape(made.shape[0] * made.shape[1], -1).T).reshape(w.shape)
    (w,) = jax.linear_transpose(lambda w: _correlate(x, w, stride, padding, dilation, groups), w)(z)
    return w


def conv_weight(x: Any, z: Any, /, *, shape: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """The op `conv_weight`, by XLA's transpose of the convolution."""
    w_shape = (z.shape[1], x.shape[1], *shape)
    columns = x.dtype == z.dtype and _by_columns(z.shape[0] * math.prod(z.shape[2:]), w_shape, groups)
    return _or_decline(_weight, x, z, tuple(shape), columns, stride, padding, dilation, groups)


def pad_constant(x: Any, /, *, padding: Any, value: Any = 0) -> Any:
    """The op `pad_constant`, by lax.pad."""
    full = [(0, 0)] * (x.ndim - len(padding)) + list(padding)
    if any(n + min(lo, 0) + min(hi, 0) < 0 for n, (lo, hi) in zip(x.shape, full, strict=True)):
        return NotImplemented
    return lax.pad(x, jnp.asarray(value, dtype=x.dtype), [(lo, hi, 0) for lo, hi in full])


@partial(jax.jit, static_argnames=("out", "kernel_size", "stride", "padding", "dilation"))
def _largest(x: Any, out: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any) -> tuple[Any, Any]:
    size = x.shape[2:]
    rows = [math.prod(size[i + 1 :]) for i in range(len(size))]
    padded = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), (0, 0, 0), *[(lo, hi, 0) for lo, hi in padding]])
    corners = [
        lax.broadcasted_iota(jnp.int32, out, i) * s - lo
        for i, (s, (lo, _)) in enumerate(zip(stride, padding, strict=True))
    ]
    best = offset = None
    full = False  # every window has met an element that is no padding
    for tap in product(*map(range, kernel_size)):
        start = [a * d for a, d in zip(tap, dilation, strict=True)]
        stop = [a + (o - 1) * s + 1 for a, o, s in zip(start, out, stride, strict=True)]
        value = lax.slice(padded, (0, 0, *start), (*x.shape[:2], *stop), (1, 1, *stride))
        inside = None
        for n, o, s, a, corner, (before, _) in zip(size, out, stride, start, corners, padding, strict=True):
            if a < before or a - before + (o - 1) * s >= n:
                here = (corner >= -a) & (corner < n - a)
                inside = here if inside is None else inside & here
        here = sum(a * row for a, row in zip(start, rows, strict=True))
        if best is None:
            best, offset = value, jnp.full(value.shape, here, jnp.int32)
            offset = offset if inside is None else jnp.where(inside, offset, -1)
        else:
            better = (best == best) & ~(value <= best)  # larger, or the first NaN
            better = better if full else better | (offset < 0)
            better = better if inside is None else better & inside
            best, offset = jnp.where(better, value, best), jnp.where(better, here, offset)
        full |= inside is None
    corner = sum(c * row for c, row in zip(corners, rows, strict=True))
    return best, (offset + corner).astype(jnp.int64)


def max_pool(x: Any, /, *, kernel_size: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """The op `max_pool`, as one fused loop over the windows; declines padding that fills a window."""
    if min(*stride, *dilation, *kernel_size) < 1:
        return NotImplemented
    out = []
    for n, k, s, (before, after), d in zip(x.shape[2:], kernel_size, stride, padding, dilation, strict=True):
        count = (n + before + after - d * (k - 1) - 1) // s + 1
        windows = (range(i * s - before, i * s - before + d * k, d) for i in range(count))
        if count < 1 or not ((before, after) == (0, 0) or all(any(0 <= a < n for a in w) for w in windows)):
            return NotImplemented
        out.append(count)
    return _largest(x, tuple(out), kernel_size, stride, padding, dilation)
