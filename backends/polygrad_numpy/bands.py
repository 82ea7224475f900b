"""Convolutions with one input channel in each group, on NumPy, as products of short rows with band matrices."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from polygrad_numpy.planes import even, padded

__all__ = ["conv", "conv_input"]

# Rows are cut to this length, because the work of the band matrices grows with the square.
TILE = 64


class _Bands:
    """Depthwise convolution as products of rows with band matrices.

    A row of windows along the last axis is a row of the input times a matrix with the taps on its diagonals. Iterating gives,
    for each tile of windows and each tap of the other axes, the places of the input, of the result, and of the matrices.
    """

    def __init__(self, kernel: Any, out: Any, stride: Any, dilation: Any):
        self.kernel, self.stride, self.dilation, self.out = kernel, stride, dilation, out
        self.tile = even(out[-1], TILE)

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


def conv(x: np.ndarray, w: np.ndarray, out: Any, stride: Any, padding: Any, dilation: Any) -> np.ndarray:
    """The op `conv` of x (N, C, *S) with w (C * each, 1, *K)."""
    bands, each = _Bands(w.shape[2:], out, stride, dilation), w.shape[0] // x.shape[1]
    y = np.zeros((x.shape[0], w.shape[0], *out), x.dtype)
    x = padded(x, padding)
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


def conv_input(
    z: np.ndarray, w: np.ndarray, shape: Any, channels: int, stride: Any, padding: Any, dilation: Any
) -> np.ndarray:
    """The op `conv_input` of z (N, C * each, *S_out) with w (C * each, 1, *K)."""
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
    return padded(x, tuple((-lo, -hi) for lo, hi in padding))
