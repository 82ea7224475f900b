"""Pooling layers."""

from __future__ import annotations

from typing import Any

from polygrad.core import Tensor
from polygrad.nn import functional as F
from polygrad.nn.functional.conv import spread
from polygrad.nn.module import Module

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "FractionalMaxPool2d",
    "FractionalMaxPool3d",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
]


class _MaxPool(Module):
    """What the maximum poolings over `axes` axes share."""

    axes: int

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ):
        super().__init__()
        self.kernel_size, self.padding, self.dilation = kernel_size, padding, dilation
        self.stride = kernel_size if stride is None else stride
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, input: Tensor) -> Any:
        function = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[self.axes - 1]
        return function(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
            f"ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """The largest element of each window over the last axis of (N, C, L) or (C, L); arguments as of `MaxPool2d`."""

    axes = 1


class MaxPool2d(_MaxPool):
    """The largest element of each window over the last two axes of (N, C, H, W) or (C, H, W).

    Args:
        kernel_size, padding, dilation: an int, or one for each axis; padding never wins.
        stride: the kernel size by default.
        return_indices: give each element's flat position in its plane too.
        ceil_mode: let a last window stick out.
    """

    axes = 2


class MaxPool3d(_MaxPool):
    """The largest element of each window over the last three axes of (N, C, D, H, W) or (C, D, H, W); arguments as of `MaxPool2d`."""

    axes = 3


class AvgPool1d(Module):
    """The mean of each window over the last axis of (N, C, L) or (C, L).

    Args:
        kernel_size, padding: an int, or a tuple of one.
        stride: the kernel size by default.
        ceil_mode: let a last window stick out; what sticks out is not counted.
        count_include_pad: count the zeros of the padding.
    """

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ):
        super().__init__()
        one = [v if isinstance(v, tuple) else (v,) for v in (kernel_size, kernel_size if stride is None else stride)]
        self.kernel_size, self.stride = one
        self.padding = padding if isinstance(padding, tuple) else (padding,)
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _AvgPool(Module):
    """What the mean poolings over `axes` axes share."""

    axes: int

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ):
        super().__init__()
        self.kernel_size, self.padding = kernel_size, padding
        self.stride = kernel_size if stride is None else stride
        self.ceil_mode, self.count_include_pad, self.divisor_override = ceil_mode, count_include_pad, divisor_override

    def forward(self, input: Tensor) -> Tensor:
        function = F.avg_pool2d if self.axes == 2 else F.avg_pool3d
        return function(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(_AvgPool):
    """The mean of each window over the last two axes of (N, C, H, W) or (C, H, W).

    Args:
        kernel_size, padding: an int, or one for each axis.
        stride: the kernel size by default.
        ceil_mode: let a last window stick out; what sticks out is not counted.
        count_include_pad: count the zeros of the padding.
        divisor_override: divide each sum by this.
    """

    axes = 2


class AvgPool3d(_AvgPool):
    """The mean of each window over the last three axes of (N, C, D, H, W) or (C, D, H, W); arguments as of `AvgPool2d`."""

    axes = 3


class _AdaptiveAvgPool(Module):
    """What the adaptive mean poolings over `axes` axes share."""

    axes: int

    def __init__(self, output_size: Any):
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        function = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[self.axes - 1]
        return function(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """The mean of each of `output_size` bins along the last axis; arguments as of `AdaptiveAvgPool2d`."""

    axes = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """The mean of each of `output_size` bins along each of the last two axes of (N, C, H, W) or (C, H, W).

    Args:
        output_size: an int, or one for each axis; None keeps a size.
    """

    axes = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """The mean of each of `output_size` bins along the last three axes; arguments as of `AdaptiveAvgPool2d`."""

    axes = 3


class _AdaptiveMaxPool(Module):
    """What the adaptive maximum poolings over `axes` axes share."""

    axes: int

    def __init__(self, output_size: Any, return_indices: bool = False):
        super().__init__()
        self.output_size, self.return_indices = output_size, return_indices

    def forward(self, input: Tensor) -> Any:
        function = (F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d)[self.axes - 1]
        return function(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """The largest element of each of `output_size` bins along the last axis; arguments as of `AdaptiveMaxPool2d`."""

    axes = 1


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """The largest element of each of `output_size` bins along each of the last two axes of (N, C, H, W) or (C, H, W).

    Args:
        output_size: an int, or one for each axis; None keeps a size.
        return_indices: give each element's flat position in its plane too.
    """

    axes = 2


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """The largest element of each of `output_size` bins along the last three axes; arguments as of `AdaptiveMaxPool2d`."""

    axes = 3


class _MaxUnpool(Module):
    """What the unpoolings over `axes` axes share."""

    axes: int

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0):
        super().__init__()
        self.kernel_size = spread(kernel_size, self.axes, "kernel_size")
        self.stride = self.kernel_size if stride is None else spread(stride, self.axes, "stride")
        self.padding = spread(padding, self.axes, "padding")

    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        function = (F.max_unpool1d, F.max_unpool2d, F.max_unpool3d)[self.axes - 1]
        return function(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """What `MaxPool1d` gave, at the places it came from, with zeros elsewhere; arguments as of `MaxUnpool2d`."""

    axes = 1


class MaxUnpool2d(_MaxUnpool):
    """What `MaxPool2d` gave, at the places it came from, with zeros elsewhere.

    `forward` takes the elements, their indices and, where several sizes pool to theirs, the size before pooling.

    Args:
        kernel_size, stride, padding: those of the pooling.
    """

    axes = 2


class MaxUnpool3d(_MaxUnpool):
    """What `MaxPool3d` gave, at the places it came from, with zeros elsewhere; arguments as of `MaxUnpool2d`."""

    axes = 3


class _LPPool(Module):
    """What the power-average poolings over `axes` axes share."""

    axes: int

    def __init__(self, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False):
        super().__init__()
        self.norm_type, self.kernel_size, self.stride, self.ceil_mode = norm_type, kernel_size, stride, ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        function = (F.lp_pool1d, F.lp_pool2d, F.lp_pool3d)[self.axes - 1]
        return function(input, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        return f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, ceil_mode={self.ceil_mode}"


class LPPool1d(_LPPool):
    """(sum x**p)**(1 / p) of each window over the last axis; arguments as of `LPPool2d`."""

    axes = 1


class LPPool2d(_LPPool):
    """(sum x**p)**(1 / p) of each window over the last two axes of (N, C, H, W) or (C, H, W).

    Args:
        norm_type: p.
        kernel_size: an int, or one for each axis.
        stride: the kernel size by default.
        ceil_mode: let a last window stick out.
    """

    axes = 2


class LPPool3d(_LPPool):
    """(sum x**p)**(1 / p) of each window over the last three axes; arguments as of `LPPool2d`."""

    axes = 3


class _FractionalMaxPool(Module):
    """What the fractional poolings over `axes` axes share."""

    axes: int

    def __init__(
        self,
        kernel_size: Any,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ):
        super().__init__()
        if (output_size is None) == (output_ratio is None):
            raise ValueError("FractionalMaxPool requires specifying either an output size, or a pooling ratio")
        self.kernel_size = spread(kernel_size, self.axes, "kernel_size")
        self.output_size, self.output_ratio = output_size, output_ratio
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)

    def forward(self, input: Tensor) -> Any:
        function = F.fractional_max_pool2d if self.axes == 2 else F.fractional_max_pool3d
        return function(
            input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices, self._random_samples
        )


class FractionalMaxPool2d(_FractionalMaxPool):
    """The largest element of each window over the last two axes, with windows at random places (Graham, 2014).

    Args:
        kernel_size: an int, or one for each axis.
        output_size: an int, or one for each axis; or
        output_ratio: a part of the input's size instead.
        return_indices: give each element's flat position in its plane too.
        _random_samples: (N, C, 2) numbers of [0, 1) that say where windows start; drawn by default.

    Raises:
        ValueError: neither or both of size and ratio.
    """

    axes = 2


class FractionalMaxPool3d(_FractionalMaxPool):
    """The same over the last three axes; arguments and errors as of `FractionalMaxPool2d`."""

    axes = 3
