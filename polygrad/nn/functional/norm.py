"""Normalisation, as `torch.nn.functional` has it."""

from __future__ import annotations

from typing import Any

from polygrad.autograd.modes import no_grad
from polygrad.core import Tensor
from polygrad.ops.elementwise import sqrt
from polygrad.ops.layers import normalize

__all__ = ["batch_norm"]


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
    shape = (channels,) + (1,) * (input.ndim - 2)
    if not training:
        if running_mean is None or running_var is None:
            raise RuntimeError("Expected running_mean and running_var to be defined when training=False")
        scale = 1 / sqrt(running_var + eps)
        scale = scale if weight is None else scale * weight
        y = (input - running_mean.reshape(shape)) * scale.reshape(shape)
        return y if bias is None else y + bias.reshape(shape)
    n = input.numel() // channels if channels else 0
    if n == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.shape}")
    operands = [input]
    if weight is not None or bias is not None:
        scale = input.new_ones(shape) if weight is None else weight.reshape(shape)
        operands += [scale] if bias is None else [scale, bias.reshape(shape)]
    y, mean, var = normalize(operands, axis=(0, *range(2, input.ndim)), eps=eps)
    with no_grad():
        if running_mean is not None:
            running_mean.mul_(1 - momentum).add_(mean.detach().reshape(channels) * momentum)
        if running_var is not None:
            running_var.mul_(1 - momentum).add_(var.detach().reshape(channels) * (momentum * (n / (n - 1))))
    return y
