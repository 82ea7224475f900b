"""Convolution, pooling, patches and padding by PyTorch's kernels, called below its autograd.

What they do not do (complex transposes, some paddings) or refuse is declined: the op's body does it, or says what is wrong.
"""

from collections.abc import Callable
from typing import Any

import torch

__all__ = [
    "avg_pool",
    "avg_unpool",
    "conv",
    "conv_input",
    "conv_weight",
    "fold",
    "max_pool",
    "max_unpool",
    "pad_constant",
    "unfold",
]

aten = torch.ops.aten


def _or_decline(function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except (RuntimeError, IndexError, ValueError):
        return NotImplemented


def _symmetric(padding: Any) -> list[int] | None:
    """One number an axis for paddings that are the same on both sides and crop nothing, else None."""
    return [lo for lo, _ in padding] if all(lo == hi >= 0 for lo, hi in padding) else None


def _outside(padding: Any) -> list[int]:
    """Pairs in the order of torch's constant_pad_nd: the last axis first."""
    return [n for pair in reversed(padding) for n in pair]


# --------------------------------------------------------------------------------------------------------- convolution


def conv(x: torch.Tensor, w: torch.Tensor, /, *, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """The op `conv`, by aten.convolution; declines empty arrays."""
    if not x.ndim - 2 == len(stride) == len(padding) == len(dilation):  # torch would repeat the one number it gets
        return NotImplemented
    if not x.numel() or not w.numel():
        return NotImplemented
    inside = _symmetric(padding)
    if inside is None:
        x, inside = aten.constant_pad_nd(x, _outside(padding)), [0] * len(padding)
    return _or_decline(aten.convolution, x, w, None, stride, inside, dilation, False, [0] * len(inside), groups)


def _backward(z: Any, x: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: int, mask: Any) -> Any:
    if not (z.numel() and x.numel() and w.numel()):
        return NotImplemented  # a kernel without channels would come back with the wrong shape
    nothing = [0] * len(padding)
    return _or_decline(
        aten.convolution_backward, z, x, w, None, stride, padding, dilation, False, nothing, groups, mask
    )


def conv_input(
    z: torch.Tensor, w: torch.Tensor, /, *, shape: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Any:
    """The op `conv_input`, by aten.convolution_backward; declines complex numbers and empty arrays."""
    if z.is_complex() or not z.numel() or not _gives(shape, w.shape[2:], z.shape[2:], stride, padding, dilation):
        return NotImplemented
    inside, crop = _symmetric(padding), None
    if inside is None:
        shape = [n + lo + hi for n, (lo, hi) in zip(shape, padding, strict=True)]
        inside, crop = [0] * len(padding), [-n for n in _outside(padding)]
    x = z.new_empty((z.shape[0], w.shape[1] * groups, *shape))
    made = _backward(z, x, w, stride, inside, dilation, groups, [True, False, False])
    if made is NotImplemented:
        return made
    return made[0] if crop is None else aten.constant_pad_nd(made[0], crop)


def conv_weight(
    x: torch.Tensor, z: torch.Tensor, /, *, shape: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Any:
    """The op `conv_weight`, by aten.convolution_backward; declines complex numbers and empty arrays."""
    if z.is_complex() or not z.numel() or not _gives(x.shape[2:], shape, z.shape[2:], stride, padding, dilation):
        return NotImplemented
    inside = _symmetric(padding)
    if inside is None:
        x, inside = aten.constant_pad_nd(x, _outside(padding)), [0] * len(padding)
    w = z.new_empty((z.shape[1], x.shape[1] // groups, *shape))
    made = _backward(z, x, w, stride, inside, dilation, groups, [False, True, False])
    return made if made is NotImplemented else made[1]


def _gives(size: Any, kernel: Any, out: Any, stride: Any, padding: Any, dilation: Any) -> bool:
    """Whether windows of this geometry are as many as `out`, which the backward kernels do not always ask."""
    axes = zip(size, kernel, out, stride, padding, dilation, strict=True)
    return all(
        n + lo + hi > d * (k - 1) and (n + lo + hi - d * (k - 1) - 1) // s + 1 == o for n, k, o, s, (lo, hi), d in axes
    )


# ------------------------------------------------------------------------------------------------- patches and padding


def unfold(x: torch.Tensor, /, *, kernel_size: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """The op `unfold`, by aten.im2col over two axes."""
    inside = _symmetric(padding)
    if x.ndim != 4 or inside is None or not (x.is_floating_point() or x.is_complex()):
        return NotImplemented
    return _or_decline(aten.im2col, x, kernel_size, dilation, inside, stride)


def fold(x: torch.Tensor, /, *, output_size: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """The op `fold`, by aten.col2im over two axes."""
    inside = _symmetric(padding)
    if len(output_size) != 2 or x.ndim != 3 or inside is None or not (x.is_floating_point() or x.is_complex()):
        return NotImplemented
    return _or_decline(aten.col2im, x, output_size, kernel_size, dilation, inside, stride)


def pad_constant(x: torch.Tensor, /, *, padding: Any, value: Any = 0) -> Any:
    """The op `pad_constant`, by aten.constant_pad_nd."""
    return _or_decline(aten.constant_pad_nd, x, _outside(padding), value)


# ------------------------------------------------------------------------------------------------------------- pooling


def _planar(x: torch.Tensor, *sizes: Any) -> tuple[Any, ...]:
    """One spatial axis as the second of two, and its sizes with those of an axis of one place before them."""
    if x.ndim != 3:
        return (x, *sizes)
    return (x.unsqueeze(2), *[[fill, *size] for size, fill in zip(sizes, (1, 1, 0, 1), strict=False)])


def max_pool(x: torch.Tensor, /, *, kernel_size: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """The op `max_pool`, by aten.max_pool2d_with_indices and its 3-d sister, for symmetric padding."""
    inside = _symmetric(padding)
    if inside is None or not x.is_floating_point():
        return NotImplemented
    x, *geometry = _planar(x, kernel_size, stride, inside, dilation)
    made = _or_decline(aten.max_pool3d_with_indices if x.ndim == 5 else aten.max_pool2d_with_indices, x, *geometry)
    if made is NotImplemented:
        return made
    return tuple(part.squeeze(2) if len(kernel_size) == 1 else part for part in made)


def max_unpool(x: torch.Tensor, indices: torch.Tensor, /, *, shape: Any) -> Any:
    """The op `max_unpool`, by scatter_add."""
    if x.shape != indices.shape:
        return NotImplemented
    planes = x.new_zeros((*x.shape[:2], torch.Size(shape).numel()))
    return planes.scatter_add_(2, indices.flatten(2), x.flatten(2)).reshape(*x.shape[:2], *shape)


def avg_pool(
    x: torch.Tensor, /, *, kernel_size: Any, stride: Any, padding: Any, count_include_pad: Any, divisor_override: Any
) -> Any:
    """The op `avg_pool`, by aten.avg_pool2d and avg_pool3d, for symmetric padding of at most half a window."""
    inside = _symmetric(padding)
    if inside is None or not x.is_floating_point():
        return NotImplemented
    x, *geometry = _planar(x, kernel_size, stride, inside)
    pool = aten.avg_pool3d if x.ndim == 5 else aten.avg_pool2d
    y = _or_decline(pool, x, *geometry, False, count_include_pad, divisor_override)
    return y.squeeze(2) if y is not NotImplemented and len(kernel_size) == 1 else y


def avg_unpool(
    z: torch.Tensor,
    /,
    *,
    shape: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    count_include_pad: Any,
    divisor_override: Any,
) -> Any:
    """The op `avg_unpool`, by the backward kernels of `avg_pool`'s."""
    inside = _symmetric(padding)
    if inside is None or not z.is_floating_point():
        return NotImplemented
    x = z.new_empty((*z.shape[:2], *shape))
    x, *geometry = _planar(x, kernel_size, stride, inside)
    pool = aten.avg_pool3d_backward if x.ndim == 5 else aten.avg_pool2d_backward
    z = z.unsqueeze(2) if len(shape) == 1 else z
    y = _or_decline(pool, z, x, *geometry, False, count_include_pad, divisor_override)
    return y.squeeze(2) if y is not NotImplemented and len(shape) == 1 else y
