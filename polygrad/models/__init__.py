"""Models under the names of torchvision and the public checkpoints."""

from polygrad.models.bert import Bert, bert
from polygrad.models.efficientnet_lite import (
    EfficientNetLite,
    efficientnet_lite0,
    efficientnet_lite1,
    efficientnet_lite2,
    efficientnet_lite3,
    efficientnet_lite4,
)
from polygrad.models.gpt2 import GPT2, gpt2
from polygrad.models.resnet import BasicBlock, Bottleneck, ResNet, resnet18, resnet34, resnet50, resnet101, resnet152

__all__ = [
    "BasicBlock",
    "Bert",
    "Bottleneck",
    "EfficientNetLite",
    "GPT2",
    "ResNet",
    "bert",
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "efficientnet_lite3",
    "efficientnet_lite4",
    "gpt2",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
]
