"""Convolution and padding, as `torch.nn.functional` has them."""

from __future__ import annotations

from typing import Any

from polygrad.core import Tensor
from polygrad.ops import windows
from polygrad.ops.layers import add_channels

__all__ = ["conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "pad"]


def spread(value: Any, n: int, name: str) -> tuple[int, ...]:
    """One int for each of n axes, from one int or n of them. Raises RuntimeError for anything else."""
    if isinstance(value, int):
        return (value,) * n
    values = tuple(value)
    if len(values) == 1:
        return values * n
    if len(values) != n:
        raise RuntimeError(f"expected {name} to be a single integer or a list of {n} values, but got {values}")
    return values


def batched(input: Tensor, n: int, name: str) -> tuple[Tensor, bool]:
    """The input with a batch axis, and whether it had one."""
    if input.ndim not in (n + 1, n + 2):
        raise RuntimeError(
            f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {name}{n}d, but got input of size: {list(input.shape)}"
        )
    return (input, True) if input.ndim == n + 2 else (input.reshape(1, *input.shape), False)


def unbatched(y: Tensor, whole: bool) -> Tensor:
    """The result without its batch axis, where the input had none."""
    return y if whole else y.reshape(y.shape[1:])


# --------------------------------------------------------------------------------------------------------- convolution


def same_padding(kernel: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """The padding that keeps sizes; an odd element goes behind."""
    totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return tuple((total // 2, total - total // 2) for total in totals)


def _padding(padding: Any, kernel: Any, stride: Any, dilation: Any) -> tuple[tuple[int, int], ...]:
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding == "same":
        if any(s != 1 for s in stride):
            raise RuntimeError("padding='same' is not supported for strided convolutions")
        return same_padding(kernel, dilation)
    if isinstance(padding, str):
        raise RuntimeError(f"Invalid padding string {padding!r}, should be one of 'valid', 'same'")
    sizes = spread(padding, len(kernel), "padding")
    if min(sizes) < 0:
        raise RuntimeError(f"negative padding is not supported, got {sizes}")
    return tuple((p, p) for p in sizes)


def _conv(
    n: int, input: Tensor, weight: Tensor, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Tensor:
    x, whole = batched(input, n, "conv")
    if weight.ndim != n + 2:
        raise RuntimeError(
            f"expected a {n + 2}-dimensional weight for conv{n}d, but got one of size {list(weight.shape)}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise RuntimeError(
            f"Given weight of size {list(weight.shape)}, expected bias to be 1-dimensional with {weight.shape[0]} elements, "
            f"but got bias of size {list(bias.shape)} instead"
        )
    stride, dilation = spread(stride, n, "stride"), spread(dilation, n, "dilation")
    pairs = _padding(padding, weight.shape[2:], stride, dilation)
    y = windows.conv(x, weight, stride=stride, padding=pairs, dilation=dilation, groups=groups)
    if bias is not None:
        y = add_channels(y, bias)
    return unbatched(y, whole)


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution (cross-correlation) over one axis; see `conv2d`."""
    return _conv(1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution (cross-correlation) over two axes.

    Args:
        input: (N, C, H, W), or (C, H, W).
        weight: (O, C / groups, kH, kW).
        bias: (O,).
        stride, dilation: an int, or one for each axis.
        padding: an int, one for each axis, "valid" (none) or "same" (keeps the size, for stride 1).
        groups: how many separate convolutions the channels are split into.

    Raises:
        RuntimeError: sizes that do not fit.
    """
    return _conv(2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution (cross-correlation) over three axes; see `conv2d`."""
    return _conv(3, input, weight, bias, stride, padding, dilation, groups)


# ------------------------------------------------------------------------------------------------------------ transposed


def _conv_transpose(
    n: int,
    input: Tensor,
    weight: Tensor,
    bias: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Tensor:
    x, whole = batched(input, n, "conv_transpose")
    if weight.ndim != n + 2:
        raise RuntimeError(
            f"expected a {n + 2}-dimensional weight for conv_transpose{n}d, but got one of size {list(weight.shape)}"
        )
    if weight.shape[0] != x.shape[1]:
        raise RuntimeError(
            f"Given transposed=1, weight of size {list(weight.shape)}, expected input{list(x.shape)} to have "
            f"{weight.shape[0]} channels, but got {x.shape[1]} channels instead"
        )
    channels = weight.shape[1] * groups
    if bias is not None and bias.shape != (channels,):
        raise RuntimeError(
            f"Given transposed=1, weight of size {list(weight.shape)}, expected bias to be 1-dimensional with {channels} "
            f"elements, but got bias of size {list(bias.shape)} instead"
        )
    stride, dilation = spread(stride, n, "stride"), spread(dilation, n, "dilation")
    padding, extra = spread(padding, n, "padding"), spread(output_padding, n, "output_padding")
    size = []
    for o, k, s, p, d, e in zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, extra, strict=True):
        if not 0 <= e < max(s, d):
            raise RuntimeError(
                f"output padding must be smaller than either stride or dilation, but got output_padding={e}, stride={s} and "
                f"dilation={d}"
            )
        size.append((o - 1) * s - 2 * p + d * (k - 1) + e + 1)
    y = windows.conv_input(
        x,
        weight,
        shape=tuple(size),
        stride=stride,
        padding=tuple((p, p - e) for p, e in zip(padding, extra, strict=True)),
        dilation=dilation,
        groups=groups,
    )
    if bias is not None:
        y = add_channels(y, bias)
    return unbatched(y, whole)


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Transposed convolution over one axis; see `conv_transpose2d`."""
    return _conv_transpose(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The transpose of `conv2d`, as a layer of its own: an axis of n elements becomes one of (n - 1) * stride + ... elements.

    Args:
        input: (N, C, H, W), or (C, H, W).
        weight: (C, O / groups, kH, kW).
        bias: (O,).
        stride, padding, dilation: those of the convolution; an int, or one for each axis.
        output_padding: elements to add behind, where several sizes have the same convolution.
        groups: how many separate convolutions the channels are split into.

    Raises:
        RuntimeError: sizes that do not fit.
    """
    return _conv_transpose(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Transposed convolution over three axes; see `conv_transpose2d`."""
    return _conv_transpose(3, input, weight, bias, stride, padding, output_padding, groups, dilation)


# ------------------------------------------------------------------------------------------------------------- padding


def pad(input: Tensor, pad: Any, mode: str = "constant", value: float | None = None) -> Tensor:
    """The input with a border, in PyTorch's order: (left, right) of the last axis, then of the one before it, and so on.

    Args:
        pad: 2, 4, 6 ... ints; negative ones crop.
        mode: "constant" (`value`, 0 by default), "reflect" (mirrored, without the edge), "replicate" (the edge) or "circular".

    Raises:
        RuntimeError: an odd number of ints, or more pairs than axes.
        ValueError: an unknown mode; a border wider than "reflect" or "circular" can fill.
    """
    sizes = tuple(pad)
    if len(sizes) % 2:
        raise RuntimeError(f"Padding length must be divisible by 2, got {sizes}")
    if len(sizes) // 2 > input.ndim:
        raise RuntimeError(
            f"Padding length should be less than or equal to two times the input dimension but got padding length {len(sizes)} "
            f"and input of dimension {input.ndim}"
        )
    pairs = tuple(zip(sizes[-2::-2], sizes[-1::-2], strict=True))
    return windows.pad(input, pairs, mode=mode, value=0 if value is None else value)
