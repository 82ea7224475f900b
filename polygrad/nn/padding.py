"""Layers that give the input a border; the sizes are (left, right) of the last axis, then of the one before it, and so on."""

from __future__ import annotations

from typing import Any

from polygrad.core import Tensor
from polygrad.nn import functional as F
from polygrad.nn.functional.conv import spread
from polygrad.nn.module import Module

__all__ = [
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
]


class _Pad(Module):
    """What the layers share that put a border around `axes` axes."""

    axes: int
    mode: str

    def __init__(self, padding: Any):
        super().__init__()
        self.padding = spread(padding, 2 * self.axes, "padding")

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    """What the layers share that put a constant border around `axes` axes."""

    def __init__(self, padding: Any, value: float):
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """The input with a constant border around the last axis; `padding` is an int, or 2 ints."""

    axes = 1


class ConstantPad2d(_ConstantPad):
    """The input with a constant border around the last two axes; `padding` is an int, or 4 ints."""

    axes = 2


class ConstantPad3d(_ConstantPad):
    """The input with a constant border around the last three axes; `padding` is an int, or 6 ints."""

    axes = 3


class ZeroPad1d(_ConstantPad):
    """The input with a border of zeros around the last axis; `padding` is an int, or 2 ints."""

    axes = 1

    def __init__(self, padding: Any):
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad2d(_ConstantPad):
    """The input with a border of zeros around the last two axes; `padding` is an int, or 4 ints."""

    axes = 2

    def __init__(self, padding: Any):
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad3d(_ConstantPad):
    """The input with a border of zeros around the last three axes; `padding` is an int, or 6 ints."""

    axes = 3

    def __init__(self, padding: Any):
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ReflectionPad1d(_Pad):
    """The input with its mirror image, without the edge, as a border around the last axis; `padding` is an int, or 2 ints."""

    axes = 1
    mode = "reflect"


class ReflectionPad2d(_Pad):
    """The input with its mirror image, without the edge, as a border around the last two axes; `padding` is an int, or 4 ints."""

    axes = 2
    mode = "reflect"


class ReflectionPad3d(_Pad):
    """The input with its mirror image, without the edge, as a border around the last three axes; `padding` is an int, or 6 ints."""

    axes = 3
    mode = "reflect"


class ReplicationPad1d(_Pad):
    """The input with its edge repeated as a border around the last axis; `padding` is an int, or 2 ints."""

    axes = 1
    mode = "replicate"


class ReplicationPad2d(_Pad):
    """The input with its edge repeated as a border around the last two axes; `padding` is an int, or 4 ints."""

    axes = 2
    mode = "replicate"


class ReplicationPad3d(_Pad):
    """The input with its edge repeated as a border around the last three axes; `padding` is an int, or 6 ints."""

    axes = 3
    mode = "replicate"


class CircularPad1d(_Pad):
    """The input with its other side as a border around the last axis; `padding` is an int, or 2 ints."""

    axes = 1
    mode = "circular"


class CircularPad2d(_Pad):
    """The input with its other side as a border around the last two axes; `padding` is an int, or 4 ints."""

    axes = 2
    mode = "circular"


class CircularPad3d(_Pad):
    """The input with its other side as a border around the last three axes; `padding` is an int, or 6 ints."""

    axes = 3
    mode = "circular"
