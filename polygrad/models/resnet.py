"""Residual networks (He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2015), as torchvision builds them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any

from polygrad import nn
from polygrad.core import Tensor
from polygrad.models.weights import read_weights

__all__ = ["BasicBlock", "Bottleneck", "ResNet", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]

Layer = Callable[..., nn.Module]


class _Conv2d(nn.Conv2d):
    """A convolution whose weights start as in He et al., "Delving deep into rectifiers" (2015), scaled by the outputs."""

    def reset_parameters(self) -> None:
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")

    def _get_name(self) -> str:
        return "Conv2d"


def _conv3x3(in_planes: int, out_planes: int, stride: int = 1, groups: int = 1, dilation: int = 1) -> nn.Conv2d:
    return _Conv2d(
        in_planes, out_planes, 3, stride=stride, padding=dilation, groups=groups, bias=False, dilation=dilation
    )


def _conv1x1(in_planes: int, out_planes: int, stride: int = 1) -> nn.Conv2d:
    return _Conv2d(in_planes, out_planes, 1, stride=stride, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: (N, inplanes, H, W) to (N, planes, H / stride, W / stride).

    Raises:
        ValueError: groups or a width other than those of the plain network.
        NotImplementedError: dilation.
    """

    expansion = 1

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: Layer | None = None,
    ):
        super().__init__()
        if groups != 1 or base_width != 64:
            raise ValueError("BasicBlock only supports groups=1 and base_width=64")
        if dilation > 1:
            raise NotImplementedError("Dilation > 1 not supported in BasicBlock")
        norm = norm_layer or nn.BatchNorm2d
        self.conv1 = _conv3x3(inplanes, planes, stride)
        self.bn1 = norm(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _conv3x3(planes, planes)
        self.bn2 = norm(planes)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)


class Bottleneck(nn.Module):
    """A 3x3 convolution between two of 1x1, and a shortcut: (N, inplanes, H, W) to (N, 4 planes, H / stride, W / stride).

    The stride is that of the 3x3 convolution ("ResNet V1.5").
    """

    expansion = 4

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: Layer | None = None,
    ):
        super().__init__()
        norm = norm_layer or nn.BatchNorm2d
        width = int(planes * (base_width / 64.0)) * groups
        self.conv1 = _conv1x1(inplanes, width)
        self.bn1 = norm(width)
        self.conv2 = _conv3x3(width, width, stride, groups, dilation)
        self.bn2 = norm(width)
        self.conv3 = _conv1x1(width, planes * self.expansion)
        self.bn3 = norm(planes * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)


class ResNet(nn.Module):
    """A stem, four stages of residual blocks, a mean over space and a linear layer: (N, 3, H, W) to (N, num_classes).

    Args:
        block: BasicBlock or Bottleneck.
        layers: how many blocks each stage has.
        num_classes: sizes of the result.
        zero_init_residual: start the last normalisation of each block at zero, so that blocks start as identities.
        groups, width_per_group: of the 3x3 convolutions of Bottleneck.
        replace_stride_with_dilation: for the last three stages, dilate instead of striding.
        norm_layer: makes a normalisation of so many channels; BatchNorm2d by default.

    Raises:
        ValueError: `replace_stride_with_dilation` is not of three elements.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        layers: Sequence[int],
        num_classes: int = 1000,
        zero_init_residual: bool = False,
        groups: int = 1,
        width_per_group: int = 64,
        replace_stride_with_dilation: Sequence[bool] | None = None,
        norm_layer: Layer | None = None,
    ):
        super().__init__()
        dilate = [False] * 3 if replace_stride_with_dilation is None else list(replace_stride_with_dilation)
        if len(dilate) != 3:
            raise ValueError(f"replace_stride_with_dilation should be None or a 3-element tuple, got {dilate}")
        self._norm_layer = norm_layer or nn.BatchNorm2d
        self.inplanes, self.dilation = 64, 1
        self.groups, self.base_width = groups, width_per_group
        self.conv1 = _Conv2d(3, self.inplanes, 7, stride=2, padding=3, bias=False)
        self.bn1 = self._norm_layer(self.inplanes)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = self._stage(block, 64, layers[0])
        self.layer2 = self._stage(block, 128, layers[1], 2, dilate[0])
        self.layer3 = self._stage(block, 256, layers[2], 2, dilate[1])
        self.layer4 = self._stage(block, 512, layers[3], 2, dilate[2])
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(512 * block.expansion, num_classes)
        if zero_init_residual:
            for module in self.modules():
                if isinstance(module, BasicBlock | Bottleneck):
                    nn.init.zeros_(module.bn3.weight if isinstance(module, Bottleneck) else module.bn2.weight)

    def _stage(self, block: Any, planes: int, blocks: int, stride: int = 1, dilate: bool = False) -> nn.Sequential:
        norm, dilation = self._norm_layer, self.dilation
        if dilate:
            self.dilation *= stride
            stride = 1
        downsample = None
        if stride != 1 or self.inplanes != planes * block.expansion:
            downsample = nn.Sequential(
                _conv1x1(self.inplanes, planes * block.expansion, stride), norm(planes * block.expansion)
            )
        made = [block(self.inplanes, planes, stride, downsample, self.groups, self.base_width, dilation, norm)]
        self.inplanes = planes * block.expansion
        made += [
            block(
                self.inplanes,
                planes,
                groups=self.groups,
                base_width=self.base_width,
                dilation=self.dilation,
                norm_layer=norm,
            )
            for _ in range(1, blocks)
        ]
        return nn.Sequential(*made)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


def _resnet(
    block: Any, layers: Sequence[int], weights: str | PathLike[str] | None, progress: bool, options: dict[str, Any]
) -> ResNet:
    if weights is None:
        return ResNet(block, layers, **options)
    state = read_weights(weights, progress)
    if "num_classes" not in options and "fc.bias" in state:
        options = {**options, "num_classes": state["fc.bias"].shape[0]}
    model = ResNet(block, layers, **options)
    model.load_state_dict(state)
    return model


def resnet18(*, weights: str | PathLike[str] | None = None, progress: bool = True, **options: Any) -> ResNet:
    """ResNet-18: 11,689,512 parameters for 1,000 classes.

    Args:
        weights: a file with torchvision's names, or a name on the hub (see `polygrad.models.weights.read_weights`); None for
            random weights.
        progress: show how far a download is.
        options: those of `ResNet`.

    Raises:
        ValueError, OSError, ImportError: as `read_weights`.
    """
    return _resnet(BasicBlock, (2, 2, 2, 2), weights, progress, options)


def resnet34(*, weights: str | PathLike[str] | None = None, progress: bool = True, **options: Any) -> ResNet:
    """ResNet-34: 21,797,672 parameters; arguments as of `resnet18`."""
    return _resnet(BasicBlock, (3, 4, 6, 3), weights, progress, options)


def resnet50(*, weights: str | PathLike[str] | None = None, progress: bool = True, **options: Any) -> ResNet:
    """ResNet-50: 25,557,032 parameters; arguments as of `resnet18`."""
    return _resnet(Bottleneck, (3, 4, 6, 3), weights, progress, options)


def resnet101(*, weights: str | PathLike[str] | None = None, progress: bool = True, **options: Any) -> ResNet:
    """ResNet-101: 44,549,160 parameters; arguments as of `resnet18`."""
    return _resnet(Bottleneck, (3, 4, 23, 3), weights, progress, options)


def resnet152(*, weights: str | PathLike[str] | None = None, progress: bool = True, **options: Any) -> ResNet:
    """ResNet-152: 60,192,808 parameters; arguments as of `resnet18`."""
    return _resnet(Bottleneck, (3, 8, 36, 3), weights, progress, options)
