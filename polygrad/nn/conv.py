"""Convolutional layers."""

from __future__ import annotations

import math
from typing import Any

from polygrad.core import Tensor
from polygrad.nn import functional as F
from polygrad.nn import init
from polygrad.nn.functional.conv import same_padding, spread
from polygrad.nn.module import Module
from polygrad.nn.parameter import Parameter
from polygrad.ops.creation import empty

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]


class _Conv(Module):
    """What the convolutions over `axes` axes share."""

    axes: int
    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        n = self.axes
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups:
            raise ValueError("out_channels must be divisible by groups")
        if padding_mode not in ("zeros", "reflect", "replicate", "circular"):
            raise ValueError(
                f"padding_mode must be one of zeros, reflect, replicate and circular, but got padding_mode={padding_mode!r}"
            )
        self.in_channels, self.out_channels, self.groups, self.padding_mode = (
            in_channels,
            out_channels,
            groups,
            padding_mode,
        )
        self.kernel_size = spread(kernel_size, n, "kernel_size")
        self.stride, self.dilation = spread(stride, n, "stride"), spread(dilation, n, "dilation")
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(f"Invalid padding string {padding!r}, should be one of 'same', 'valid'")
            if padding == "same" and any(s != 1 for s in self.stride):
                raise ValueError("padding='same' is not supported for strided convolutions")
            self.padding: Any = padding
        else:
            self.padding = spread(padding, n, "padding")
        self.weight = Parameter(empty(self._shape(), device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _shape(self) -> tuple[int, ...]:
        return (self.out_channels, self.in_channels // self.groups, *self.kernel_size)

    def reset_parameters(self) -> None:
        """Draw the parameters again."""
        if self.weight.numel():
            init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None and (fan_in := init.fans(self.weight)[0]):
            bound = 1 / math.sqrt(fan_in)
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        function = (F.conv1d, F.conv2d, F.conv3d)[self.axes - 1]
        padding = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._border(), mode=self.padding_mode), 0
        return function(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def _border(self) -> tuple[int, ...]:
        """The padding in the order of `F.pad`."""
        if self.padding == "same":
            pairs = same_padding(self.kernel_size, self.dilation)
        else:
            pairs = tuple((p, p) for p in ((0,) * self.axes if self.padding == "valid" else self.padding))
        return tuple(p for pair in reversed(pairs) for p in pair)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0,) * self.axes:
            text += f", padding={self.padding}"
        if self.dilation != (1,) * self.axes:
            text += f", dilation={self.dilation}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


class Conv1d(_Conv):
    """Convolution over the last axis of (N, C, L) or (C, L); arguments and errors as of `Conv2d`."""

    axes = 1


class Conv2d(_Conv):
    """Convolution (cross-correlation) over the last two axes of (N, C, H, W) or (C, H, W).

    The weight (out_channels, in_channels / groups, *kernel_size) and the bias start uniform in [-1, 1) / sqrt(fan_in).

    Args:
        in_channels, out_channels: sizes of the channel axis; both divisible by `groups`.
        kernel_size, stride, dilation: an int, or one for each axis.
        padding: an int, one for each axis, "valid" (none) or "same" (keeps the size, for stride 1).
        groups: how many separate convolutions the channels are split into.
        bias: add one.
        padding_mode: "zeros", "reflect", "replicate" or "circular".
        device, dtype: of the parameters.

    Raises:
        ValueError: channels that `groups` does not divide, unknown padding.
    """

    axes = 2


class Conv3d(_Conv):
    """Convolution over the last three axes of (N, C, D, H, W) or (C, D, H, W); arguments and errors as of `Conv2d`."""

    axes = 3


class _ConvTranspose(_Conv):
    """What the transposed convolutions over `axes` axes share."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ):
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        if isinstance(padding, str):
            raise TypeError(f"{type(self).__name__}: expected padding in ints, got {padding!r}")
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, "zeros", device, dtype
        )
        self.output_padding = spread(output_padding, self.axes, "output_padding")

    def _shape(self) -> tuple[int, ...]:
        return (self.in_channels, self.out_channels // self.groups, *self.kernel_size)

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        function = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[self.axes - 1]
        extra = self.output_padding if output_size is None else self._extra(input, tuple(output_size))
        return function(input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation)

    def _extra(self, input: Tensor, output_size: tuple[int, ...]) -> tuple[int, ...]:
        """The output padding that gives this size. Raises ValueError where none does."""
        wanted = output_size[-self.axes :]
        axes = zip(
            input.shape[-self.axes :], self.kernel_size, self.stride, self.padding, self.dilation, wanted, strict=True
        )
        extra = tuple([w - ((n - 1) * s - 2 * p + d * (k - 1) + 1) for n, k, s, p, d, w in axes])
        if any(not 0 <= e < s for e, s in zip(extra, self.stride, strict=True)):
            raise ValueError(
                f"requested an output size of {wanted}, but an input of {tuple(input.shape[-self.axes :])} gives it minus "
                f"{extra}, which must be from 0 to the stride {self.stride}, exclusive"
            )
        return extra

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0,) * self.axes:
            text += f", padding={self.padding}"
        if self.dilation != (1,) * self.axes:
            text += f", dilation={self.dilation}"
        if self.output_padding != (0,) * self.axes:
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        return text + (", bias=False" if self.bias is None else "")


class ConvTranspose1d(_ConvTranspose):
    """Transposed convolution over the last axis of (N, C, L) or (C, L); arguments and errors as of `ConvTranspose2d`."""

    axes = 1


class ConvTranspose2d(_ConvTranspose):
    """The transpose of a convolution over the last two axes of (N, C, H, W) or (C, H, W), as a layer of its own.

    The weight (in_channels, out_channels / groups, *kernel_size) and the bias start uniform in [-1, 1) / sqrt(fan_in), where
    fan_in counts out_channels, as in PyTorch. `forward` takes an output size too, in place of `output_padding`.

    Args:
        in_channels, out_channels: sizes of the channel axis; both divisible by `groups`.
        kernel_size, stride, padding, dilation: those of the convolution; an int, or one for each axis.
        output_padding: elements to add behind, where several sizes have the same convolution.
        groups: how many separate convolutions the channels are split into.
        bias: add one.
        padding_mode: "zeros".
        device, dtype: of the parameters.

    Raises:
        ValueError: channels that `groups` does not divide; another padding mode.
    """

    axes = 2


class ConvTranspose3d(_ConvTranspose):
    """Transposed convolution over the last three axes; arguments and errors as of `ConvTranspose2d`."""

    axes = 3
