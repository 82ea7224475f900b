"""Max-pooling on NumPy by maxima of shifted slices.

What it does not take (integers, NaN, geometry that makes no sense) is declined: the op's body does it, or says what is wrong.
"""

import math
from itertools import product
from typing import Any

import numpy as np

from polygrad_numpy.planes import counts, padded

__all__ = ["max_pool", "max_unpool"]

BLOCK = 1 << 18  # elements of some planes: what is made of them stays in the second-level cache


def max_pool(x: np.ndarray, /, *, kernel_size: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """The op `max_pool`, by maxima of shifted slices; declines NaN and windows with nothing but padding in them."""
    if x.dtype.kind != "f" or not 3 <= x.ndim <= 5 or not x.size or min(n for pair in padding for n in pair) < 0:
        return NotImplemented
    size, taps = x.shape[2:], math.prod(kernel_size)
    out = counts(size, kernel_size, stride, padding, dilation)
    axes = list(zip(size, kernel_size, padding, dilation, strict=True))
    if not out or taps > 255 or any(max(pair) * 2 > (k - 1) * d + 1 or d > 1 < max(pair) for _, k, pair, d in axes):
        return NotImplemented
    planes = x.shape[0] * x.shape[1]
    values = np.empty((planes, *out), x.dtype)
    indices = np.empty((planes, *out), np.int64)
    table, base = _places(size, out, kernel_size, stride, padding, dilation)
    some = max(1, BLOCK // math.prod(size))
    flat = x.reshape(planes, 1, *size)
    for start in range(0, planes, some):
        here = slice(start, start + some)
        shifted = _shifted(padded(flat[here], padding, -math.inf)[:, 0], out, kernel_size, stride, dilation)
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
