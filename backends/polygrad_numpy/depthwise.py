"""Convolutions with one input channel in each group, on NumPy: a multiplication and an addition for each tap.

The planes of a block lie in scratch memory, a plane for each place modulo the stride, with rows as long as the taps reach: then
every tap reads one run of memory, so many elements further on. Rows of results have some elements too many, which are dropped.
"""

import math
from itertools import product
from typing import Any

import numpy as np

from polygrad_numpy import bands
from polygrad_numpy.planes import buffer, even, fill, offsets, phases

__all__ = ["conv", "conv_input", "conv_weight"]

# Elements of a result that are worked on at once: the planes, the result and the products stay in a cache of 2 MB.
BLOCK = 1 << 17
# Elements of one dot product: from 10000 on OpenBLAS calls a second thread for each, which takes longer.
DOT = 1 << 13
# Up to so many windows in a row, without and with a stride, products with band matrices take less.
SHORT, STRIDED = 20, 28


class _Runs:
    """The runs of memory that a kernel's taps read, of planes that lie behind each other."""

    def __init__(self, kernel: Any, out: Any, stride: Any, padding: Any, dilation: Any):
        found = [phases(p, s) for p, s in zip(offsets(kernel, padding, dilation), stride, strict=True)]
        self.rows = tuple([o + max(row for _, row in taps) for o, (_, taps) in zip(out, found, strict=True)])
        self.starts = [starts for starts, _ in found]
        self.numbers = tuple([len(starts) for starts, _ in found])
        self.out, self.stride = out, stride
        steps = [math.prod(self.rows[i + 1 :]) for i in range(len(out))]
        self.length = sum((o - 1) * step for o, step in zip(out, steps, strict=True)) + 1
        self.firsts = []  # of each tap, in row-major order
        for tap in product(*[taps for _, taps in found]):
            number = 0
            for (plane, _), many in zip(tap, self.numbers, strict=True):
                number = number * many + plane
            self.firsts.append(number * math.prod(self.rows) + sum(r * s for (_, r), s in zip(tap, steps, strict=True)))

    def filled(self, x: np.ndarray) -> np.ndarray:
        """The planes (P, elements) of x (P, *S), in scratch memory."""
        planes = buffer("planes", (1, len(x), *self.numbers, *self.rows, 1), x.dtype)
        fill(planes, x[None, ..., None], self.starts, self.stride)
        return planes.reshape(len(x), -1)

    def results(self, name: str, count: int, each: int, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
        """Scratch memory for results: as runs (count, each, length), and those in it that are wanted (count, each, *out)."""
        made = buffer(name, (count, each, self.out[0], *self.rows[1:]), dtype)
        return made.reshape(count, each, -1)[..., : self.length], made[(..., *[slice(0, o) for o in self.out])]


def _filtered(x: np.ndarray, w: np.ndarray, runs: _Runs) -> np.ndarray:
    """The planes x (P, a, *S) with w (P, a, b, taps), summed over a: (P, b, *out)."""
    count, summed, each = w.shape[:3]
    y = np.empty((count, each, *runs.out), x.dtype)
    some = even(count, BLOCK // (runs.length * each))
    for start in range(0, count, some):
        here = slice(start, min(start + some, count))
        total, results = runs.results("total", here.stop - start, each, x.dtype)
        term = buffer("term", total.shape, x.dtype)
        for a in range(summed):
            planes = runs.filled(x[here, a])
            for tap, first in enumerate(runs.firsts):
                run, factor = planes[:, None, first : first + runs.length], w[here, a, :, tap, None]
                if a == tap == 0:
                    np.multiply(run, factor, out=total)
                else:
                    np.add(total, np.multiply(run, factor, out=term), out=total)
        y[here] = results
    return y


def conv(x: np.ndarray, w: np.ndarray, out: Any, stride: Any, padding: Any, dilation: Any) -> np.ndarray:
    """The op `conv` of x (N, C, *S) with w (C * each, 1, *K)."""
    if out[-1] <= (SHORT if stride[-1] == 1 else STRIDED):
        return bands.conv(x, w, out, stride, padding, dilation)
    count, channels, each = x.shape[0], x.shape[1], w.shape[0] // x.shape[1]
    runs = _Runs(w.shape[2:], out, stride, padding, dilation)
    factors = np.tile(w.reshape(channels, 1, each, -1), (count, 1, 1, 1))
    return _filtered(x.reshape(-1, 1, *x.shape[2:]), factors, runs).reshape(count, w.shape[0], *out)


def conv_input(
    z: np.ndarray, w: np.ndarray, shape: Any, channels: int, stride: Any, padding: Any, dilation: Any
) -> np.ndarray:
    """The op `conv_input` of z (N, C * each, *S_out) with w (C * each, 1, *K)."""
    if math.prod(stride) > 1:
        return bands.conv_input(z, w, shape, channels, stride, padding, dilation)
    count, each, kernel = z.shape[0], z.shape[1] // channels, w.shape[2:]
    reach = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    around = tuple([(r - lo, r - hi) for r, (lo, hi) in zip(reach, padding, strict=True)])
    turned = w[(slice(None), slice(None), *[slice(None, None, -1)] * len(kernel))]
    if each == 1:
        return conv(z, turned, shape, stride, around, dilation)
    runs = _Runs(kernel, shape, stride, around, dilation)
    factors = np.tile(turned.reshape(channels, each, 1, -1), (count, 1, 1, 1))
    return _filtered(z.reshape(-1, each, *z.shape[2:]), factors, runs).reshape(count, channels, *shape)


def conv_weight(x: np.ndarray, z: np.ndarray, shape: Any, stride: Any, padding: Any, dilation: Any) -> np.ndarray:
    """The op `conv_weight` of x (N, C, *S) and z (N, C * each, *S_out)."""
    count, channels, each = x.shape[0], x.shape[1], z.shape[1] // x.shape[1]
    runs = _Runs(shape, z.shape[2:], stride, padding, dilation)
    x, z = x.reshape(-1, *x.shape[2:]), z.reshape(count * channels, each, *z.shape[2:])
    w = np.zeros((count * channels, each, len(runs.firsts)), x.dtype)
    some = even(len(x), BLOCK // (runs.length * each))
    for start in range(0, len(x), some):
        here = slice(start, min(start + some, len(x)))
        planes = runs.filled(x[here])
        if x.dtype.kind == "c":
            np.conj(planes, out=planes)
        seen, places = runs.results("total", here.stop - start, each, x.dtype)
        seen[...] = 0
        places[...] = z[here]
        for tap, first in enumerate(runs.firsts):
            for i in range(0, runs.length, DOT):
                part = slice(i, min(i + DOT, runs.length))
                w[here, :, tap] += np.vecdot(planes[:, None, first + part.start : first + part.stop], seen[..., part])
    return w.reshape(count, channels * each, 1, *shape).sum(0)
