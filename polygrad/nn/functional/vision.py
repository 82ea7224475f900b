"""Images resized and rearranged, as `torch.nn.functional` has them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from polygrad.core import Tensor
from polygrad.nn.functional.conv import batched, spread, unbatched
from polygrad.nn.functional.pooling import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
from polygrad.ops import windows
from polygrad.ops.indexing import take

__all__ = [
    "channel_shuffle",
    "fold",
    "interpolate",
    "pixel_shuffle",
    "pixel_unshuffle",
    "unfold",
    "upsample",
]

# ------------------------------------------------------------------------------------------------------- interpolation

Taps = list[tuple[list[int], list[float]]]  # for each tap, where each result looks and how much it counts


def _scale(size: int, out: int, factor: float | None, align_corners: bool) -> float:
    """How far the source moves for one step of the result."""
    if align_corners:
        return (size - 1) / (out - 1) if out > 1 else 0.0
    return size / out if factor is None else 1 / factor


def _centres(size: int, out: int, factor: float | None, align_corners: bool) -> list[float]:
    """The source position of each result, for pixels that are points at the centres of squares (or at the corners)."""
    scale = _scale(size, out, factor, align_corners)
    return [i * scale if align_corners else (i + 0.5) * scale - 0.5 for i in range(out)]


def _nearest(size: int, out: int, factor: float | None, align_corners: bool, shift: float = 0.0) -> Taps:
    scale = _scale(size, out, factor, False)
    return [([min(math.floor((i + shift) * scale), size - 1) for i in range(out)], [1.0] * out)]


def _nearest_exact(size: int, out: int, factor: float | None, align_corners: bool) -> Taps:
    return _nearest(size, out, factor, align_corners, 0.5)


def _linear(size: int, out: int, factor: float | None, align_corners: bool) -> Taps:
    centres = [max(c, 0.0) for c in _centres(size, out, factor, align_corners)]
    first = [min(math.floor(c), size - 1) for c in centres]
    share = [c - f for c, f in zip(centres, first, strict=True)]
    return [(first, [1 - s for s in share]), ([min(f + 1, size - 1) for f in first], share)]


def _cubic_weight(x: float, a: float) -> float:
    """Keys, "Cubic convolution interpolation for digital image processing" (1981)."""
    x = abs(x)
    if x <= 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a if x < 2 else 0.0


def _cubic(size: int, out: int, factor: float | None, align_corners: bool) -> Taps:
    centres = _centres(size, out, factor, align_corners)
    return [
        (
            [min(max(math.floor(c) + tap, 0), size - 1) for c in centres],
            [_cubic_weight(c - math.floor(c) - tap, -0.75) for c in centres],
        )
        for tap in (-1, 0, 1, 2)
    ]


def _smoothed(kernel: Callable[[float], float], reach: float) -> Callable[[int, int, float | None, bool], Taps]:
    """Taps of a kernel that widens where the result is smaller than the source."""

    def taps(size: int, out: int, factor: float | None, align_corners: bool) -> Taps:
        scale = _scale(size, out, factor, align_corners)
        stretch = max(scale, 1.0)
        rows = []
        for i in range(out):
            centre = scale * (i + 0.5)
            low = max(int(centre - reach * stretch + 0.5), 0)
            high = min(int(centre + reach * stretch + 0.5), size)
            weights = [kernel((j - centre + 0.5) / stretch) for j in range(low, high)]
            total = sum(weights)
            rows.append([(low + j, w / total) for j, w in enumerate(weights)])
        longest = max(len(row) for row in rows)
        rows = [row + [(0, 0.0)] * (longest - len(row)) for row in rows]
        return [([row[t][0] for row in rows], [row[t][1] for row in rows]) for t in range(longest)]

    return taps


TAPS: dict[str, tuple[int | None, Callable[..., Taps]]] = {
    "nearest": (None, _nearest),
    "nearest-exact": (None, _nearest_exact),
    "linear": (1, _linear),
    "bilinear": (2, _linear),
    "trilinear": (3, _linear),
    "bicubic": (2, _cubic),
}
SMOOTHED = {
    "bilinear": _smoothed(lambda x: max(1 - abs(x), 0.0), 1.0),
    "bicubic": _smoothed(lambda x: _cubic_weight(x, -0.5), 2.0),
}


def _resampled(x: Tensor, axis: int, taps: Taps) -> Tensor:
    """x with each element along an axis the weighted sum of some elements of it."""
    xp = x._backend.tensors
    shape = (-1,) + (1,) * (x.ndim - 1 - axis)
    total: Any = None
    for places, weights in taps:
        y = take(x, xp.asarray(places, dtype="int64", device=x.device), axis=axis)
        if any(w != 1 for w in weights):
            y = y * xp.asarray(weights, dtype=x.dtype, device=x.device).reshape(shape)
        total = y if total is None else total + y
    return total


def _sizes(size: Any, scale_factor: Any, spatial: tuple[int, ...]) -> tuple[tuple[int, ...], list[float | None]]:
    """The result's sizes and the factors that were given. Raises ValueError where sizes and factors do not fit."""
    n = len(spatial)
    if (size is None) == (scale_factor is None):
        raise ValueError("only one of size or scale_factor should be defined, and one of them must be")
    if size is not None:
        sizes = (size,) * n if isinstance(size, int) else tuple(size)
        if len(sizes) != n:
            raise ValueError(
                f"Input and output must have the same number of spatial dimensions, but got {spatial} and {size}"
            )
        return sizes, [None] * n
    factors = [float(scale_factor)] * n if isinstance(scale_factor, int | float) else [float(f) for f in scale_factor]
    if len(factors) != n:
        raise ValueError(
            f"Input and scale_factor must have the same number of spatial dimensions, but got {spatial} and {scale_factor}"
        )
    return tuple(math.floor(s * f) for s, f in zip(spatial, factors, strict=True)), list(factors)


def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """The input (N, C, *) resized along its spatial axes.

    Args:
        size: an int, or one for each spatial axis.
        scale_factor: a factor instead, or one for each axis; sizes are rounded down.
        mode: "nearest", "nearest-exact", "linear" (one axis), "bilinear" and "bicubic" (two), "trilinear" (three) or "area".
        align_corners: the corner pixels' centres stay where they are, for the linear and cubic modes.
        recompute_scale_factor: sample by the ratio of the sizes, not by the given factor.
        antialias: average over what shrinks, for "bilinear" and "bicubic".

    Raises:
        ValueError: sizes, factors, modes or options that do not fit.
    """
    n = input.ndim - 2
    if not 1 <= n <= 3:
        raise ValueError(f"interpolate expects an input of 3, 4 or 5 axes (N, C, *), got shape {input.shape}")
    if align_corners is not None and mode in ("nearest", "nearest-exact", "area"):
        raise ValueError(
            "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear"
        )
    if antialias and (mode not in SMOOTHED or n != 2):
        raise ValueError(
            "Anti-alias option is restricted to bilinear and bicubic modes and requires a 4-D tensor as input"
        )
    sizes, factors = _sizes(size, scale_factor, input.shape[2:])
    if mode == "area":
        return (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)[n - 1](input, sizes)
    if mode not in TAPS or TAPS[mode][0] not in (None, n):
        raise ValueError(f"interpolate has no mode {mode!r} for an input of {input.ndim} axes")
    if recompute_scale_factor:
        if size is not None:
            raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
        factors = [None] * n
    if min(sizes) < 1:
        raise ValueError(
            f"Input and output sizes should be greater than 0, but got input {input.shape[2:]} and output {sizes}"
        )
    make = SMOOTHED[mode] if antialias else TAPS[mode][1]
    y = input
    for axis, (out, factor) in enumerate(zip(sizes, factors, strict=True), 2):
        y = _resampled(y, axis, make(input.shape[axis], out, factor, bool(align_corners)))
    return y


def upsample(
    input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
) -> Tensor:
    """PyTorch's old name of `interpolate`."""
    return interpolate(input, size, scale_factor, mode, align_corners)


# --------------------------------------------------------------------------------------------------------- arrangement


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(*, C * r**2, H, W) as (*, C, H * r, W * r) (Shi et al., 2016). Raises RuntimeError where channels do not fit."""
    r = upscale_factor
    if input.ndim < 3 or r < 1 or input.shape[-3] % (r * r):
        raise RuntimeError(
            f"pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, but got "
            f"input of shape {input.shape} and upscale_factor={r}"
        )
    *lead, channels, h, w = input.shape
    n = len(lead)
    x = input.reshape(*lead, channels // (r * r), r, r, h, w)
    return x.permute(*range(n + 1), n + 3, n + 1, n + 4, n + 2).reshape(*lead, channels // (r * r), h * r, w * r)


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(*, C, H * r, W * r) as (*, C * r**2, H, W). Raises RuntimeError where sizes do not fit."""
    r = downscale_factor
    if input.ndim < 3 or r < 1 or input.shape[-1] % r or input.shape[-2] % r:
        raise RuntimeError(
            f"pixel_unshuffle expects height and width to be divisible by downscale_factor, but got input of shape {input.shape} "
            f"and downscale_factor={r}"
        )
    *lead, channels, h, w = input.shape
    n = len(lead)
    x = input.reshape(*lead, channels, h // r, r, w // r, r)
    return x.permute(*range(n + 1), n + 2, n + 4, n + 1, n + 3).reshape(*lead, channels * r * r, h // r, w // r)


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """The channels of (N, C, *) dealt out to `groups` in turn (Zhang et al., 2018). Raises RuntimeError where they do not fit."""
    if input.ndim < 3 or groups < 1 or input.shape[1] % groups:
        raise RuntimeError(
            f"channel_shuffle: number of channels must be divisible by groups. Got input of shape {input.shape} and {groups} groups."
        )
    count, channels, *spatial = input.shape
    return input.reshape(count, groups, channels // groups, *spatial).swapaxes(1, 2).reshape(input.shape)


# ------------------------------------------------------------------------------------------------------------- patches


def _geometry(kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> dict[str, Any]:
    return {
        "kernel_size": spread(kernel_size, 2, "kernel_size"),
        "stride": spread(stride, 2, "stride"),
        "padding": tuple((p, p) for p in spread(padding, 2, "padding")),
        "dilation": spread(dilation, 2, "dilation"),
    }


def unfold(input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """The windows of (N, C, H, W) or (C, H, W) as columns, (N, C * kH * kW, windows) or without the N.

    Raises RuntimeError for sizes that make no sense.
    """
    x, whole = batched(input, 2, "unfold")
    return unbatched(windows.unfold(x, **_geometry(kernel_size, dilation, padding, stride)), whole)


def fold(
    input: Tensor, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """Columns (N, C * kH * kW, windows), or without the N, added up in an image (N, C, *output_size): the transpose of `unfold`.

    Raises RuntimeError for sizes that make no sense.
    """
    if input.ndim not in (2, 3):
        raise RuntimeError(
            f"Expected 2D or 3D (batch mode) tensor for input, but got input of size: {list(input.shape)}"
        )
    x = input if input.ndim == 3 else input.reshape(1, *input.shape)
    y = windows.fold(
        x, output_size=spread(output_size, 2, "output_size"), **_geometry(kernel_size, dilation, padding, stride)
    )
    return unbatched(y, input.ndim == 3)
