"""Losses that are negative log-likelihoods, as `torch.nn.functional` has them."""

from __future__ import annotations

import math
import warnings
from typing import Any

from polygrad.core import Tensor
from polygrad.core.tensor import has_values
from polygrad.nn.functional.linear import linear
from polygrad.nn.functional.loss import cross_entropy, reduction_name
from polygrad.ops.elementwise import clip, exp, log, logical_or, square
from polygrad.ops.indexing import where
from polygrad.ops.layers import binary_entropy
from polygrad.ops.reductions import any as any_of
from polygrad.ops.special import log_sigmoid, xlogy

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "gaussian_nll_loss",
    "kl_div",
    "linear_cross_entropy",
    "poisson_nll_loss",
]


def reduced(losses: Tensor, reduction: str) -> Tensor:
    """The mean, the sum, or the losses themselves."""
    return losses.mean() if reduction == "mean" else losses.sum() if reduction == "sum" else losses


def _same_size(input: Tensor, target: Tensor) -> None:
    if input.shape != target.shape:
        raise ValueError(
            f"Target size ({target.shape}) must be the same as input size ({input.shape}): one target for each element"
        )


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-(target * log(x) + (1 - target) * log(1 - x)) of probabilities x, with logarithms of at least -100.

    Args:
        input: probabilities.
        target: of the same shape, numbers of [0, 1].
        weight: factors of the losses, which broadcast.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: shapes that differ; an unknown reduction.
        RuntimeError: an input outside [0, 1] (in eager code).
    """
    reduction = reduction_name(size_average, reduce, reduction)
    _same_size(input, target)
    if has_values() and any_of(logical_or(input < 0, input > 1)):
        raise RuntimeError("all elements of input should be between 0 and 1")
    losses = binary_entropy(input, target)
    return reduced(losses if weight is None else losses * weight, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """-(target * log(sigmoid(x)) + (1 - target) * log(1 - sigmoid(x))), without overflow.

    Args:
        input: logits.
        target: of the same shape, numbers of [0, 1].
        weight: factors of the losses, which broadcast.
        reduction: "mean", "sum" or "none".
        pos_weight: factors of the first summand, which broadcast.

    Raises:
        ValueError: shapes that differ; an unknown reduction.
    """
    reduction = reduction_name(size_average, reduce, reduction)
    _same_size(input, target)
    factor = 1.0 if pos_weight is None else (pos_weight - 1) * target + 1
    losses = (1 - target) * input - log_sigmoid(input) * factor
    return reduced(losses if weight is None else losses * weight, reduction)


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """target * (log(target) - input), the Kullback-Leibler divergence of log-probabilities from a distribution.

    Args:
        input: log-probabilities.
        target: probabilities, or their logarithms if `log_target`.
        reduction: "batchmean" (over the first axis, the divergence itself), "mean" (over all elements), "sum" or "none".

    Raises:
        ValueError: an unknown reduction.
    """
    if reduction == "mean":
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size. 'batchmean' divides only by the "
            "batch size, and aligns with the KL div math definition.",
            stacklevel=2,
        )
    whole = reduction == "batchmean"
    reduction = reduction_name(size_average, reduce, "sum" if whole else reduction)
    losses = exp(target) * (target - input) if log_target else xlogy(target, target) - target * input
    total = reduced(losses, reduction)
    return total / input.shape[0] if whole and input.ndim else total


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """exp(x) - target * x for a Poisson distribution of mean exp(x), or x - target * log(x + eps) for one of mean x.

    Args:
        log_input: the input is the logarithm of the mean.
        full: add Stirling's approximation of log(target!) where the target is above 1.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: an unknown reduction.
    """
    reduction = reduction_name(size_average, reduce, reduction)
    losses = exp(input) - target * input if log_input else input - target * log(input + eps)
    if full:
        large = target > 1
        t = where(large, target, 1.0)
        losses = losses + where(large, t * log(t) - t + log(t * (2 * math.pi)) * 0.5, 0)
    return reduced(losses, reduction)


def gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """(log(var) + (input - target)**2 / var) / 2 for a normal distribution of that mean and variance.

    Args:
        var: in the shape of the input, or without its last axis, or with one axis of size one; or a number. It counts as at
            least `eps`, which its gradient does not see.
        full: add the constant log(2 pi) / 2.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: a negative variance (in eager code) or one of another shape; an unknown reduction.
    """
    reduction = reduction_name(None, None, reduction)
    if not isinstance(var, Tensor):
        var = input.detach() * 0 + var
    if has_values() and any_of(var < 0):
        raise ValueError("var has negative entry/entries")
    if var.shape != input.shape:
        if var.shape == input.shape[:-1]:
            var = var.unsqueeze(-1)
        elif var.ndim != input.ndim or [v for x, v in zip(input.shape, var.shape, strict=True) if x != v] != [1]:
            raise ValueError(f"var is of incorrect size: {var.shape} for an input of shape {input.shape}")
    var = var + (clip(var, eps) - var).detach()
    losses = (log(var) + square(input - target) / var) * 0.5
    return reduced(losses + 0.5 * math.log(2 * math.pi) if full else losses, reduction)


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """`cross_entropy` of the logits `linear(input, linear_weight, linear_bias)`.

    Args:
        input: (N, features) or (features,).
        linear_weight: (C, *, features), with a bias (C, *); the axes between are those that `cross_entropy` allows.
        target, weight, reduction, ignore_index, label_smoothing: those of `cross_entropy`.
    """
    features, outputs = linear_weight.shape[-1], linear_weight.shape[:-1]
    bias = None if linear_bias is None else linear_bias.reshape(-1)
    logits = linear(input, linear_weight.reshape(-1, features), bias).reshape(*input.shape[:-1], *outputs)
    ignored = -100 if ignore_index is None else ignore_index
    return cross_entropy(
        logits, target, weight, ignore_index=ignored, reduction=reduction, label_smoothing=label_smoothing
    )
