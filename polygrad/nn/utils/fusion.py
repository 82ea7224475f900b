"""Batch normalisation in evaluation folded into the layer before it."""

from __future__ import annotations

import copy
from typing import Any

from polygrad.core import Tensor
from polygrad.nn.parameter import Parameter
from polygrad.ops.composite import rsqrt

__all__ = ["fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights"]


def _fused(
    weight: Tensor, bias: Tensor | None, bn: tuple[Any, Any, float, Any, Any], shape: list[int]
) -> tuple[Parameter, Parameter]:
    mean, var, eps, scale, shift = bn
    weight = weight.detach()
    factor = rsqrt(var + eps) if scale is None else scale.detach() * rsqrt(var + eps)
    start = -mean if bias is None else bias.detach() - mean
    start = start * factor
    new_bias = start if shift is None else start + shift.detach()
    return Parameter(weight * factor.reshape(shape).to(weight.dtype)), Parameter(new_bias.to(weight.dtype))


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of a convolution that does what convolution and batch normalisation do one after the other."""
    shape = [1, -1] if transpose else [-1, 1]
    shape += [1] * (conv_w.ndim - 2)
    return _fused(conv_w, conv_b, (bn_rm, bn_rv, bn_eps, bn_w, bn_b), shape)


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """A copy of a convolution that does what it and the batch normalisation behind it do in evaluation.

    Raises RuntimeError unless both are in evaluation and the latter has running moments.
    """
    made = _copied(conv, bn)
    made.weight, made.bias = fuse_conv_bn_weights(
        made.weight, made.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, transpose
    )
    return made


def fuse_linear_bn_weights(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of a linear layer that does what it and a batch normalisation do one after the other."""
    return _fused(linear_w, linear_b, (bn_rm, bn_rv, bn_eps, bn_w, bn_b), [-1, 1])


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """A copy of a linear layer that does what it and the batch normalisation behind it do in evaluation.

    Raises RuntimeError unless both are in evaluation and the latter has running moments.
    """
    made = _copied(linear, bn)
    made.weight, made.bias = fuse_linear_bn_weights(
        made.weight, made.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    return made


def _copied(layer: Any, bn: Any) -> Any:
    if layer.training or bn.training:
        raise RuntimeError("Fusion only for eval!")
    if bn.running_mean is None or bn.running_var is None:
        raise RuntimeError("Only support bn.running_mean/var is not None")
    return copy.deepcopy(layer)
