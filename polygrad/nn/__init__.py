"""Neural networks: PyTorch's `torch.nn` over any backend."""

from polygrad.nn import functional, init
from polygrad.nn.activation import (
    ELU,
    Hardtanh,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from polygrad.nn.container import ModuleDict, ModuleList, ParameterDict, ParameterList, Sequential
from polygrad.nn.conv import Conv1d, Conv2d, Conv3d
from polygrad.nn.dropout import Dropout
from polygrad.nn.linear import Identity, Linear
from polygrad.nn.loss import CrossEntropyLoss, L1Loss, MSELoss, NLLLoss
from polygrad.nn.module import Module
from polygrad.nn.norm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from polygrad.nn.parameter import Buffer, Parameter
from polygrad.nn.pooling import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveAvgPool3d,
    AvgPool1d,
    AvgPool2d,
    AvgPool3d,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
)
from polygrad.nn.shape import Flatten, Unflatten

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "Buffer",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "CrossEntropyLoss",
    "Dropout",
    "ELU",
    "Flatten",
    "Hardtanh",
    "Identity",
    "L1Loss",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "Module",
    "ModuleDict",
    "ModuleList",
    "NLLLoss",
    "Parameter",
    "ParameterDict",
    "ParameterList",
    "ReLU",
    "ReLU6",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "Unflatten",
    "functional",
    "init",
]
