"""Images sampled at the points of a grid, as `torch.nn.functional` has it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import reduce

from polygrad.core import Tensor
from polygrad.ops.elementwise import abs as absolute
from polygrad.ops.elementwise import clip, floor, logical_and
from polygrad.ops.elementwise import round as rounded
from polygrad.ops.indexing import take_along_axis, where
from polygrad.ops.products import matmul
from polygrad.ops.shapes import broadcast_to, stack, unstack

__all__ = ["affine_grid", "grid_sample"]


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The points of a grid after an affine map, for `grid_sample`.

    Args:
        theta: (N, 2, 3) or (N, 3, 4).
        size: of the result of `grid_sample`, (N, C, H, W) or (N, C, D, H, W).
        align_corners: -1 and 1 are the centres of the corner pixels, not their outer edges.

    Returns:
        (N, H, W, 2) or (N, D, H, W, 3).

    Raises:
        ValueError: shapes that do not fit.
    """
    spatial = tuple(size[2:])
    n = len(spatial)
    if n not in (2, 3) or theta.shape != (size[0], n, n + 1):
        raise ValueError(f"affine_grid: maps of shape {theta.shape} do not fit a result of size {tuple(size)}")
    xp = theta._backend.tensors

    def line(count: int) -> list[float]:
        if align_corners:
            return [-1 + 2 * i / (count - 1) if count > 1 else 0.0 for i in range(count)]
        return [(2 * i + 1) / count - 1 for i in range(count)]

    axes = [xp.asarray(line(count), dtype=theta.dtype, device=theta.device) for count in spatial]
    grids = [broadcast_to(a.reshape(-1, *[1] * (n - 1 - i)), spatial) for i, a in enumerate(axes)]
    points = stack([*reversed(grids), xp.ones_like(grids[0])], axis=-1).reshape(1, -1, n + 1)
    return matmul(points, theta.swapaxes(1, 2)).reshape(size[0], *spatial, n)


def _pixel(x: Tensor, size: int, align_corners: bool) -> Tensor:
    """A coordinate of [-1, 1] in pixels."""
    return (x + 1) * ((size - 1) / 2) if align_corners else (x + 1) * (size / 2) - 0.5


def _reflected(x: Tensor, low: float, high: float) -> Tensor:
    """A coordinate thrown back at both ends, as often as it takes."""
    span = high - low
    if span == 0:
        return x * 0
    away = absolute(x - low)
    flips = floor(away / span).detach()
    rest = away - flips * span
    return where(flips % 2 == 0, rest + low, high - rest)


def _inside(x: Tensor, size: int, padding_mode: str, align_corners: bool) -> Tensor:
    """A coordinate in pixels after the border's rule; its slope is 0 where it was cut off."""
    if padding_mode == "reflection":
        x = _reflected(x, 0, size - 1) if align_corners else _reflected(x, -0.5, size - 0.5)
    if padding_mode == "zeros":
        return x
    cut = logical_and(x > 0, x < size - 1)
    return where(cut, x, clip(x.detach(), 0, size - 1))


def _cubic(t: Tensor, a: float = -0.75) -> list[Tensor]:
    """The weights of the taps -1, 0, 1 and 2 (Keys, 1981)."""

    def near(x: Tensor) -> Tensor:
        return ((x * (a + 2) - (a + 3)) * x) * x + 1

    def far(x: Tensor) -> Tensor:
        return ((x * a - 5 * a) * x + 8 * a) * x - 4 * a

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]


def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """The values of images at points between their pixels.

    Args:
        input: (N, C, H, W) or (N, C, D, H, W).
        grid: (N, *, 2) or (N, *, 3), points (x, y) or (x, y, z) with -1 and 1 at the edges.
        mode: "bilinear" (trilinear in three dimensions), "nearest" or "bicubic" (in two).
        padding_mode: what is outside: "zeros", "border" or "reflection".
        align_corners: -1 and 1 are the centres of the corner pixels, not their outer edges.

    Returns:
        (N, C, *).

    Raises:
        ValueError: shapes or modes that do not fit.
    """
    n = input.ndim - 2
    if n not in (2, 3) or grid.ndim != n + 2 or grid.shape[-1] != n or grid.shape[0] != input.shape[0]:
        raise ValueError(f"grid_sample: an input of shape {input.shape} does not fit a grid of shape {grid.shape}")
    if mode not in ("bilinear", "nearest", "bicubic") or (mode == "bicubic" and n == 3):
        raise ValueError(f"grid_sample: no mode {mode!r} for an input of {input.ndim} axes")
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(f"grid_sample: padding_mode must be zeros, border or reflection, got {padding_mode!r}")
    align = bool(align_corners)
    size, out = input.shape[2:], grid.shape[1:-1]
    flat = input.reshape(*input.shape[:2], math.prod(size))
    points = [p.reshape(grid.shape[0], math.prod(out)) for p in reversed(unstack(grid, axis=-1))]
    taps: list[list[tuple[Tensor, Tensor]]] = []
    for p, s in zip(points, size, strict=True):
        x = _pixel(p, s, align)
        if mode == "bicubic":
            base = floor(x).detach()
            places = [_inside(base + k, s, padding_mode, align).detach() for k in (-1, 0, 1, 2)]
            taps.append(list(zip(places, _cubic(x - base), strict=True)))
            continue
        x = _inside(x, s, padding_mode, align)
        if mode == "nearest":
            taps.append([(rounded(x).detach(), x * 0 + 1)])  # the grid's gradient is zeros, not missing
        else:
            base = floor(x).detach()
            taps.append([(base, 1 - (x - base)), (base + 1, x - base)])
    total: Tensor | None = None
    for chosen in itertools.product(*taps):
        y = _gathered(flat, [place for place, _ in chosen], size)
        y = y * reduce(lambda a, b: a * b, [w for _, w in chosen]).unsqueeze(1)
        total = y if total is None else total + y
    assert total is not None
    return total.reshape(*input.shape[:2], *out)


def _gathered(flat: Tensor, places: list[Tensor], size: Sequence[int]) -> Tensor:
    """The pixels at whole coordinates (N, points) of planes (N, C, pixels); zeros outside."""
    inside = reduce(logical_and, [logical_and(p >= 0, p <= s - 1) for p, s in zip(places, size, strict=True)])
    index = 0
    for p, s in zip(places, size, strict=True):
        index = clip(p, 0, s - 1).long() + index * s
    assert isinstance(index, Tensor)
    shape = (*flat.shape[:2], index.shape[-1])
    found = take_along_axis(flat, broadcast_to(index.unsqueeze(1), shape), axis=2)
    return where(inside.unsqueeze(1), found, 0)
