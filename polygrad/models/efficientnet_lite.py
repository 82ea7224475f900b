"""EfficientNet-Lite (Tan and Le, "EfficientNet: rethinking model scaling", 2019; without squeeze and excitation, with ReLU6)."""

from __future__ import annotations

import math
from os import PathLike
from typing import Any

from polygrad import nn
from polygrad.core import Tensor
from polygrad.models.weights import read_weights
from polygrad.nn import functional as F

__all__ = [
    "EfficientNetLite",
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "efficientnet_lite3",
    "efficientnet_lite4",
]

# repeats, kernel, stride, expansion, channels in and out of the smallest network
BLOCKS = [
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
]


class SamePadding(nn.Conv2d):
    """A convolution without bias whose result has ceil(n / stride) elements along an axis of n.

    Zeros are put around the input, one more behind than before where their number is odd, as TensorFlow does.
    """

    def __init__(self, channels: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(channels, outputs, kernel, stride=stride, groups=groups, bias=False)

    def _get_name(self) -> str:
        return "Conv2d"

    def forward(self, x: Tensor) -> Tensor:
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        wanted = [max((math.ceil(n / stride) - 1) * stride + kernel - n, 0) for n in x.shape[-2:]]
        if all(n % 2 == 0 for n in wanted):
            return F.conv2d(x, self.weight, None, self.stride, tuple(n // 2 for n in wanted), 1, self.groups)
        high, wide = ((n // 2, n - n // 2) for n in wanted)
        return F.conv2d(F.pad(x, (*wide, *high)), self.weight, None, self.stride, 0, 1, self.groups)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class Block(nn.Module):
    """An inverted residual block: widen, filter each channel, narrow (Sandler et al., "MobileNetV2", 2018).

    (N, channels, H, W) to (N, outputs, ceil(H / stride), ceil(W / stride)); the input is added where the shapes are equal.
    """

    def __init__(self, channels: int, outputs: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        wide = channels * expansion
        if expansion != 1:
            self._expand_conv = SamePadding(channels, wide, 1)
            self._bn0 = _norm(wide)
        self._depthwise_conv = SamePadding(wide, wide, kernel, stride, groups=wide)
        self._bn1 = _norm(wide)
        self._project_conv = SamePadding(wide, outputs, 1)
        self._bn2 = _norm(outputs)
        self._widens, self._adds = expansion != 1, stride == 1 and channels == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self._widens else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return y + x if self._adds else y


class EfficientNetLite(nn.Module):
    """A stem, seven stages of inverted residual blocks, a head, a mean over space and a linear layer.

    (N, 3, H, W) to (N, num_classes); images are scaled as (x / 255 - 0.498) / 0.502. Parameters have the names of the public
    PyTorch checkpoints (`_conv_stem`, `_blocks.0._depthwise_conv` ...).

    Args:
        width, depth: factors of the channels and of the repeats.
        dropout: before the linear layer.
        num_classes: sizes of the result.
    """

    def __init__(self, width: float = 1.0, depth: float = 1.0, dropout: float = 0.2, num_classes: int = 1000):
        super().__init__()
        self._conv_stem = SamePadding(3, 32, 3, 2)
        self._bn0 = _norm(32)
        blocks = []
        for i, (repeats, kernel, stride, expansion, channels, outputs) in enumerate(BLOCKS):
            ends = i in (0, len(BLOCKS) - 1)
            channels, outputs = 32 if i == 0 else _rounded(channels, width), _rounded(outputs, width)
            for j in range(repeats if ends else math.ceil(repeats * depth)):
                blocks.append(Block(outputs if j else channels, outputs, kernel, 1 if j else stride, expansion))
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = SamePadding(outputs, 1280, 1)
        self._bn1 = _norm(1280)
        self._dropout = nn.Dropout(dropout)
        self._fc = nn.Linear(1280, num_classes)

    def extract_features(self, x: Tensor) -> Tensor:
        """What the head gives: (N, 3, H, W) to (N, 1280, H / 32, W / 32), rounded up."""
        x = F.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return F.relu6(self._bn1(self._conv_head(x)))

    def forward(self, x: Tensor) -> Tensor:
        return self._fc(self._dropout(self.extract_features(x).mean(dim=(2, 3))))


def _rounded(channels: int, width: float) -> int:
    """Channels times a factor, to a multiple of 8 that is not more than a tenth below."""
    wanted = channels * width
    found = max(8, int(wanted + 4) // 8 * 8)
    return found + 8 if found < 0.9 * wanted else found


def _network(
    scale: tuple[float, float, float], weights: Any, progress: bool, options: dict[str, Any]
) -> EfficientNetLite:
    width, depth, dropout = scale
    state = None if weights is None else read_weights(weights, progress)
    if state is not None and "_fc.bias" in state:
        options = {"num_classes": state["_fc.bias"].shape[0], **options}
    model = EfficientNetLite(width, depth, **{"dropout": dropout, **options})
    if state is not None:
        model.load_state_dict(state)
    return model


def efficientnet_lite0(
    *, weights: str | PathLike[str] | None = None, progress: bool = True, **options: Any
) -> EfficientNetLite:
    """EfficientNet-Lite0, for images of 224 x 224: 4,652,008 parameters for 1,000 classes.

    Args:
        weights: a file, or a name on the hub (see `polygrad.models.weights.read_weights`); None for random weights.
        progress: show how far a download is.
        options: those of `EfficientNetLite`.
    """
    return _network((1.0, 1.0, 0.2), weights, progress, options)


def efficientnet_lite1(
    *, weights: str | PathLike[str] | None = None, progress: bool = True, **options: Any
) -> EfficientNetLite:
    """EfficientNet-Lite1, for images of 240 x 240; arguments as of `efficientnet_lite0`."""
    return _network((1.0, 1.1, 0.2), weights, progress, options)


def efficientnet_lite2(
    *, weights: str | PathLike[str] | None = None, progress: bool = True, **options: Any
) -> EfficientNetLite:
    """EfficientNet-Lite2, for images of 260 x 260; arguments as of `efficientnet_lite0`."""
    return _network((1.1, 1.2, 0.3), weights, progress, options)


def efficientnet_lite3(
    *, weights: str | PathLike[str] | None = None, progress: bool = True, **options: Any
) -> EfficientNetLite:
    """EfficientNet-Lite3, for images of 280 x 280; arguments as of `efficientnet_lite0`."""
    return _network((1.2, 1.4, 0.3), weights, progress, options)


def efficientnet_lite4(
    *, weights: str | PathLike[str] | None = None, progress: bool = True, **options: Any
) -> EfficientNetLite:
    """EfficientNet-Lite4, for images of 300 x 300; arguments as of `efficientnet_lite0`."""
    return _network((1.4, 1.8, 0.3), weights, progress, options)
