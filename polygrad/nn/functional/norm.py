"""Normalisation, as `torch.nn.functional` has it."""

from __future__ import annotations

import math
from typing import Any

from polygrad.core import Tensor, overwrite
from polygrad.ops.composite import rsqrt
from polygrad.ops.creation import finfo, ones_like
from polygrad.ops.elementwise import maximum, sqrt, square
from polygrad.ops.layers import moving_average, normalize
from polygrad.ops.linalg import vector_norm
from polygrad.ops.windows import pad_constant

__all__ = [
    "batch_norm",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "local_response_norm",
    "normalize_vectors",
    "rms_norm",
]


def _check(name: str, x: Tensor | None, channels: int) -> None:
    if x is not None and x.shape != (channels,):
        raise RuntimeError(f"{name} should contain {channels} elements not {x.numel()}")


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: Any = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias for each channel (Ioffe and Szegedy, 2015).

    In training, the moments are those of the batch, and the running ones (if given) are changed in place to
    (1 - momentum) * running + momentum * batch, with the variance that divides by n - 1; else the running moments are used.

    Args:
        input: (N, C, *).
        running_mean, running_var, weight, bias: (C,) each, or None.

    Raises:
        RuntimeError: other shapes; no running moments outside training.
        ValueError: training on one value per channel. Nothing has changed then.
    """
    if input.ndim < 2:
        raise RuntimeError(f"batch_norm expects an input of at least 2 axes, got shape {input.shape}")
    channels = input.shape[1]
    members = (("running_mean", running_mean), ("running_var", running_var), ("weight", weight), ("bias", bias))
    for name, x in members:
        _check(name, x, channels)
    if not training:
        shape = (channels,) + (1,) * (input.ndim - 2)
        if running_mean is None or running_var is None:
            raise RuntimeError("Expected running_mean and running_var to be defined when training=False")
        scale = 1 / sqrt(running_var + eps)
        scale = scale if weight is None else scale * weight
        y = (input - running_mean.reshape(shape)) * scale.reshape(shape)
        return y if bias is None else y + bias.reshape(shape)
    n = input.numel() // channels if channels else 0
    if n == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.shape}")
    y, mean, var = _normalized(input, (0, *range(2, input.ndim)), weight, bias, eps, 1)
    _follow(running_mean, mean, momentum)
    _follow(running_var, var, momentum, n / (n - 1))
    return y


def _follow(running: Tensor | None, moment: Tensor, momentum: Any, factor: float = 1.0) -> None:
    """Move a running moment, if there is one, towards a batch's, times a factor."""
    if running is not None:
        overwrite(running, moving_average(running, moment, 1 - momentum, momentum * factor))


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias for each channel of each sample (Ulyanov et al., 2016).

    With `use_input_stats` the moments are the sample's own, and running ones (if given) follow their means over the batch.

    Args:
        input: (N, C, *).
        running_mean, running_var, weight, bias: (C,) each, or None.

    Raises:
        RuntimeError: other shapes; no running moments where they are needed.
        ValueError: one value per channel and sample. Nothing has changed then.
    """
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise RuntimeError("Expected running_mean and running_var to be defined when use_input_stats=False")
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    if input.ndim < 3:
        raise RuntimeError(f"instance_norm expects an input of at least 3 axes, got shape {input.shape}")
    channels = input.shape[1]
    for name, x in (("running_mean", running_mean), ("running_var", running_var), ("weight", weight), ("bias", bias)):
        _check(name, x, channels)
    n = math.prod(input.shape[2:])
    if n == 1:
        raise ValueError(f"Expected more than 1 spatial element when training, got input size {input.shape}")
    y, mean, var = _normalized(input, tuple(range(2, input.ndim)), weight, bias, eps, 1)
    _follow(running_mean, mean.detach().mean(dim=0), momentum)
    _follow(running_var, var.detach().mean(dim=0), momentum, n / (n - 1))
    return y


def _normalized(
    x: Tensor, axis: Any, weight: Tensor | None, bias: Tensor | None, eps: float, along: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """x with mean 0 and variance 1 over `axis`, times weight plus bias, vectors `along` an axis if given; and the moments."""
    operands = [x]
    if weight is not None or bias is not None:
        operands.append(ones_like(bias) if weight is None else weight)
        if bias is not None:
            operands.append(bias)
    return normalize(operands, axis=axis, eps=eps, along=along)


def _trailing(name: str, input: Tensor, normalized_shape: Any, *members: Tensor | None) -> tuple[int, ...]:
    """The shape that is normalised, checked. Raises RuntimeError where sizes do not fit."""
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape:
        raise RuntimeError("Expected normalized_shape to be at least 1-dimensional, but got normalized_shape = []")
    if input.shape[-len(shape) :] != shape:
        raise RuntimeError(
            f"Given normalized_shape={list(shape)}, expected input with shape [*, {', '.join(map(str, shape))}], but got input "
            f"of size {list(input.shape)}"
        )
    for member in members:
        if member is not None and member.shape != shape:
            raise RuntimeError(
                f"{name}: expected weight and bias to be of same shape as normalized_shape, but got {list(member.shape)} and "
                f"normalized_shape = {list(shape)}"
            )
    return shape


def layer_norm(
    input: Tensor, normalized_shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axes (Ba et al., 2016).

    Args:
        input: (*, *normalized_shape).
        normalized_shape: an int or several; the sizes of the last axes.
        weight, bias: (*normalized_shape), or None.

    Raises:
        RuntimeError: sizes that do not fit.
    """
    shape = _trailing("layer_norm", input, normalized_shape, weight, bias)
    return _normalized(input, tuple(range(-len(shape), 0)), weight, bias, eps)[0]


def rms_norm(input: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    """x / sqrt(mean(x**2) + eps) * weight over the last axes (Zhang and Sennrich, 2019).

    Args:
        input: (*, *normalized_shape).
        weight: (*normalized_shape), or None.
        eps: by default the distance from 1 to the next number of the input's dtype.

    Raises:
        RuntimeError: sizes that do not fit.
    """
    shape = _trailing("rms_norm", input, normalized_shape, weight)
    eps = float(finfo(input.dtype).eps) if eps is None else eps
    y = input * rsqrt(square(input).mean(dim=tuple(range(-len(shape), 0)), keepdim=True) + eps)
    return y if weight is None else y * weight


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """(x - mean) / sqrt(var + eps) over each group of channels of each sample, times weight plus bias (Wu and He, 2018).

    Args:
        input: (N, C, *).
        num_groups: how many groups the channels are split into.
        weight, bias: (C,), or None.

    Raises:
        RuntimeError: sizes that do not fit.
    """
    if input.ndim < 2:
        raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received {input.ndim}")
    count, channels = input.shape[:2]
    if num_groups < 1 or channels % num_groups:
        raise RuntimeError(
            f"Expected number of channels in input to be divisible by num_groups, but got input of shape {list(input.shape)} "
            f"and num_groups={num_groups}"
        )
    for name, x in (("weight", weight), ("bias", bias)):
        _check(name, x, channels)
    grouped = input.reshape(count, num_groups, math.prod(input.shape[1:]) // num_groups)
    y = _normalized(grouped, (-1,), None, None, eps)[0].reshape(input.shape)
    shape = (channels,) + (1,) * (input.ndim - 2)
    y = y if weight is None else y * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """x / (k + alpha * mean(x**2))**beta, with the mean over `size` neighbouring channels (Krizhevsky et al., 2012).

    Raises ValueError for an input of fewer than three axes (N, C, *).
    """
    if input.ndim < 3:
        raise ValueError(f"Expected 3D or higher dimensionality input (got {input.ndim} dimensions)")
    border = ((size // 2, (size - 1) // 2),) + ((0, 0),) * (input.ndim - 2)
    squares = pad_constant(square(input), padding=border)
    channels = input.shape[1]
    total = sum((squares[:, shift : shift + channels] for shift in range(1, size)), squares[:, :channels])
    return input / (total * (alpha / size) + k) ** beta


def normalize_vectors(input: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12) -> Tensor:
    """x over its norm of order p along `dim`, or over eps where the norm is smaller."""
    return input / maximum(vector_norm(input, ord=p, axis=dim, keepdims=True), eps)
