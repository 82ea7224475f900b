"""What convolutions and pooling on NumPy share: the geometry of windows, scratch memory, copies of shifted planes."""

import math
import threading
from itertools import product
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

__all__ = ["buffer", "counts", "even", "fill", "offsets", "padded", "phases", "span", "taken", "windows"]

_local = threading.local()


def buffer(name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """This thread's scratch memory of that name, kept from call to call, because fresh pages cost as much as the copy."""
    held = _local.__dict__.get(name)
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if held is None or held.size < size:
        held = _local.__dict__[name] = np.empty(size, np.uint8)
    return held[:size].view(dtype).reshape(shape)


def counts(size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> tuple[int, ...] | None:
    """How many windows fit along each axis, or None for sizes that make no sense."""
    n = len(size)
    if not n == len(kernel) == len(stride) == len(padding) == len(dilation) or min(*kernel, *stride, *dilation) < 1:
        return None
    axes = zip(size, kernel, stride, padding, dilation, strict=True)
    out = [
        (m + lo + hi - d * (k - 1) - 1) // s + 1 if m + lo + hi > d * (k - 1) else 0 for m, k, s, (lo, hi), d in axes
    ]
    return tuple(out) if min(out) > 0 else None


def taken(x: np.ndarray, w_like: np.ndarray) -> bool:
    """Whether these are operands of a convolution that floats and complex numbers with elements make up."""
    return bool(
        x.dtype == w_like.dtype and x.dtype.kind in "fc" and 3 <= x.ndim == w_like.ndim <= 5 and x.size and w_like.size
    )


def even(total: int, most: int) -> int:
    """The size of the parts when `total` is cut into as few equal parts of at most `most` as can be."""
    return -(-total // -(-total // max(1, most)))


def padded(x: np.ndarray, padding: Any, value: Any = 0) -> np.ndarray:
    """x with a border on the axes from the third on that `padding` tells of; negative numbers crop."""
    if any(n for pair in padding for n in pair):
        inner = tuple(slice(max(-lo, 0), n - max(-hi, 0)) for n, (lo, hi) in zip(x.shape[2:], padding, strict=False))
        x = x[(slice(None), slice(None), *inner)]
        grown = [max(lo, 0) + n + max(hi, 0) for n, (lo, hi) in zip(x.shape[2:], padding, strict=False)]
        shape = (*x.shape[:2], *grown, *x.shape[2 + len(padding) :])
        if shape != x.shape:
            y = np.full(shape, value, x.dtype) if value else np.zeros(shape, x.dtype)
            here = [slice(max(lo, 0), max(lo, 0) + n) for n, (lo, _) in zip(x.shape[2:], padding, strict=False)]
            y[(slice(None), slice(None), *here)] = x
            x = y
    return x


def offsets(kernel: Any, padding: Any, dilation: Any) -> list[list[int]]:
    """Where each axis' taps lie in the input, from the place of a window's number on."""
    return [[t * d - lo for t in range(k)] for k, d, (lo, _) in zip(kernel, dilation, padding, strict=True)]


def phases(places: list[int], stride: int) -> tuple[list[int], list[tuple[int, int]]]:
    """Taps at these places of an axis: where planes of every stride-th element start, and each tap's plane and row in it."""
    least = min(places)
    starts = sorted({(p - least) % stride for p in places})
    taps = [(starts.index((p - least) % stride), (p - least) // stride) for p in places]
    return [least + s for s in starts], taps


def span(first: int, step: int, count: int, size: int) -> tuple[slice, slice]:
    """Of `count` places from `first` on: the numbers of those that lie in an axis, and the places."""
    lo = min(count, max(0, -(first // step)))
    hi = max(lo, min(count, (size - 1 - first) // step + 1))
    return slice(lo, hi), slice(first + lo * step, first + (hi - 1) * step + 1, step) if lo < hi else slice(0, 0)


def windows(x: np.ndarray, kernel: Any, out: Any, stride: Any, padding: Any, dilation: Any) -> np.ndarray:
    """The elements that each tap meets: x (B, C, *S, n) as (B, C, *kernel, *out, n), a view of x or of x with a border."""
    x = padded(x, padding)
    space = x.strides[2:-1]
    taps = [t * d for t, d in zip(space, dilation, strict=True)]
    steps = [t * s for t, s in zip(space, stride, strict=True)]
    return as_strided(x, (*x.shape[:2], *kernel, *out, x.shape[-1]), (*x.strides[:2], *taps, *steps, x.strides[-1]))


def fill(planes: np.ndarray, x: np.ndarray, starts: list[list[int]], steps: Any) -> None:
    """Copy planes of x (B, C, *S, n) to (B, C, *numbers, *extents, n): from each axis' starts on, in its steps, zeros outside x."""
    n, places = len(starts), []
    for axis, (firsts, step) in enumerate(zip(starts, steps, strict=True)):
        size, extent, found = x.shape[2 + axis], planes.shape[2 + n + axis], []
        for number, first in enumerate(firsts):
            numbers, there = span(first, step, extent, size)
            found.append((number, numbers, there))
            lead = (*[slice(None)] * (2 + axis), number, *[slice(None)] * (n - 1))
            if numbers.start:
                planes[(*lead, slice(0, numbers.start))] = 0
            if numbers.stop < extent:
                planes[(*lead, slice(numbers.stop, extent))] = 0
        places.append(found)
    firsts, step = starts[-1], steps[-1]
    # Elements of a stride that several taps read are laid beside each other first: copying rows is then 3 times faster.
    rows = {p: np.ascontiguousarray(x[..., p::step, :]) for p in {f % step for f in firsts} if 1 < step < len(firsts)}
    for parts in product(*places):
        numbers, targets, sources = zip(*parts, strict=True)
        source = x
        if rows:
            first, last = firsts[numbers[-1]], targets[-1]
            source = rows[first % step]
            sources = (*sources[:-1], slice(first // step + last.start, first // step + last.stop))
        np.copyto(planes[(slice(None), slice(None), *numbers, *targets)], source[(slice(None), slice(None), *sources)])
