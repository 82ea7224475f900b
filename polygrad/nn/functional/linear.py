"""Affine maps, as `torch.nn.functional` has them."""

from __future__ import annotations

from polygrad.core import Tensor
from polygrad.ops.layers import affine

__all__ = ["bilinear", "linear"]


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input @ weight.T + bias.

    Args:
        input: (*, in_features).
        weight: (out_features, in_features), or (in_features,) for a result without the last axis.
        bias: (out_features,), or () for such a result.

    Raises:
        RuntimeError: sizes that do not fit.
    """
    shape, features = input.shape, weight.shape
    if not shape or shape[-1] != features[-1]:
        rows = input.numel() // input.shape[-1] if input.ndim and input.shape[-1] else 1
        given = f"{rows}x{input.shape[-1]}" if input.ndim else "a scalar"
        expected = "x".join(map(str, weight.shape[::-1]))
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({given} and {expected}): an input of shape {input.shape} does not end "
            f"in the {weight.shape[-1]} features of a weight of shape {weight.shape}"
        )
    if len(features) == 1:
        y = affine(input, weight.reshape(1, -1), None if bias is None else bias.reshape(1))
        return y.reshape(y.shape[:-1])
    if bias is not None and bias.shape not in (features[:1], (1,), ()):
        raise RuntimeError(f"a bias of shape {bias.shape} does not fit a weight of shape {weight.shape}")
    return affine(input, weight, bias)


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x1 @ weight[k] @ x2 + bias[k] for each k.

    Args:
        input1, input2: (*, in1_features) and (*, in2_features).
        weight: (out_features, in1_features, in2_features).
        bias: (out_features,).

    Raises:
        RuntimeError: sizes that do not fit.
    """
    outputs, first, second = weight.shape
    if input1.shape[:-1] != input2.shape[:-1] or (input1.shape[-1], input2.shape[-1]) != (first, second):
        raise RuntimeError(
            f"bilinear: inputs of shape {input1.shape} and {input2.shape} do not fit a weight of shape {weight.shape}"
        )
    rows = linear(input2, weight.reshape(outputs * first, second)).reshape(*input2.shape[:-1], outputs, first)
    y = (rows * input1.unsqueeze(-2)).sum(dim=-1)
    return y if bias is None else y + bias
