"""Losses of distances and margins, as `torch.nn.functional` has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from polygrad.core import Tensor
from polygrad.nn.functional.distance import pairwise_distance
from polygrad.nn.functional.likelihood import reduced
from polygrad.nn.functional.loss import l1_loss, reduction_name
from polygrad.ops.elementwise import abs as absolute
from polygrad.ops.elementwise import clip, logical_and, logical_not, minimum, sqrt, square
from polygrad.ops.indexing import take, take_along_axis, where
from polygrad.ops.reductions import any as any_of
from polygrad.ops.reductions import cumulative_sum
from polygrad.ops.special import log_sigmoid

__all__ = [
    "cosine_embedding_loss",
    "hinge_embedding_loss",
    "huber_loss",
    "margin_ranking_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "smooth_l1_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """d**2 / (2 beta) where |d| < beta, |d| - beta / 2 elsewhere, for d = input - target (Girshick, 2015).

    Raises ValueError for a negative beta or an unknown reduction.
    """
    reduction = reduction_name(size_average, reduce, reduction)
    if beta < 0:
        raise ValueError(f"smooth_l1_loss does not support negative values for beta, but got {beta}")
    if beta == 0:
        return l1_loss(input, target, reduction=reduction)
    d = input - target
    size = absolute(d)
    return reduced(where(size < beta, square(d) * (0.5 / beta), size - 0.5 * beta), reduction)


def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """d**2 / 2 where |d| <= delta, delta * (|d| - delta / 2) elsewhere, for d = input - target (Huber, 1964).

    Args:
        weight: factors of the losses, in the shape of the input.

    Raises:
        ValueError: a delta that is not positive; an unknown reduction; a weight of another shape.
    """
    reduction = reduction_name(None, None, reduction)
    if delta <= 0:
        raise ValueError(f"huber_loss does not support non-positive values for delta, but got {delta}")
    d = input - target
    size = absolute(d)
    losses = where(size <= delta, square(d) * 0.5, (size - 0.5 * delta) * delta)
    if weight is not None:
        if weight.shape != input.shape:
            raise ValueError("Weights and input must have the same size.")
        losses = losses * weight
    return reduced(losses, reduction)


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """x where the target is 1, max(0, margin - x) where it is -1. Raises ValueError for an unknown reduction."""
    reduction = reduction_name(size_average, reduce, reduction)
    losses = where(target != 1, clip(margin - input, 0), 0) + where(target != -1, input, 0)
    return reduced(losses, reduction)


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, margin - target * (x1 - x2)), for targets 1 where x1 should be the larger and -1 where x2 should.

    Raises ValueError for an unknown reduction.
    """
    reduction = reduction_name(size_average, reduce, reduction)
    return reduced(clip(margin - target * (input1 - input2), 0), reduction)


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """1 - cos where the target is 1, max(0, cos - margin) where it is -1, for the cosine between rows.

    Args:
        input1, input2: (N, D), or (D,).
        target: (N,), or ().

    Raises:
        ValueError: an unknown reduction.
        RuntimeError: shapes that do not fit.
    """
    reduction = reduction_name(size_average, reduce, reduction)
    if target.ndim not in (0, 1) or input1.ndim != target.ndim + 1 or input2.ndim != target.ndim + 1:
        raise RuntimeError(
            f"{target.ndim}D target tensor expects {target.ndim + 1}D input tensors, but found inputs with sizes "
            f"{list(input1.shape)} and {list(input2.shape)}."
        )
    squares = [square(x).sum(dim=-1) + 1e-12 for x in (input1, input2)]
    cosine = (input1 * input2).sum(dim=-1) / sqrt(squares[0] * squares[1])
    losses = where(target == 1, 1 - cosine, 0) + where(target == -1, clip(cosine - margin, 0), 0)
    return reduced(losses, reduction)


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), with the distance of order p (Balntas et al., 2016).

    Args:
        swap: take the distance of positive and negative where it is the smaller one.

    Raises:
        ValueError: a margin that is not positive; an unknown reduction.
    """
    reduction = reduction_name(size_average, reduce, reduction)

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return pairwise_distance(a, b, p, eps)

    return triplet_margin_with_distance_loss(
        anchor, positive, negative, distance_function=distance, margin=margin, swap=swap, reduction=reduction
    )


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """`triplet_margin_loss` with any distance; by default that of `pairwise_distance`.

    Raises ValueError for a margin that is not positive, or an unknown reduction.
    """
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    reduction = reduction_name(None, None, reduction)
    distance: Callable[..., Any] = pairwise_distance if distance_function is None else distance_function
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = minimum(far, distance(positive, negative))
    return reduced(clip(near - far + margin, 0), reduction)


def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """log(1 + exp(-target * x)) for targets of 1 and -1. Raises ValueError for an unknown reduction."""
    reduction = reduction_name(size_average, reduce, reduction)
    return reduced(-log_sigmoid(target * input), reduction)


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The mean over the last axis of -(target * log(sigmoid(x)) + (1 - target) * log(sigmoid(-x))), times `weight`.

    Raises ValueError for an unknown reduction.
    """
    reduction = reduction_name(size_average, reduce, reduction)
    losses = -(target * log_sigmoid(input) + (1 - target) * log_sigmoid(-input))
    losses = losses if weight is None else losses * weight
    return reduced(losses.mean(dim=-1), reduction)


# --------------------------------------------------------------------------------------------------- margins of classes


def _rows(input: Tensor, target: Tensor, axes: int) -> tuple[Tensor, Tensor]:
    """The input as (N, C) and the target with a batch axis too. Raises RuntimeError where shapes do not fit."""
    if input.ndim not in (1, 2) or target.shape != input.shape[: input.ndim - 2 + axes]:
        raise RuntimeError(f"inconsistent target size: {target.shape} for an input of shape {input.shape}")
    whole = input.ndim == 2
    return (input, target) if whole else (input.reshape(1, -1), target.reshape(1, *target.shape))


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """sum over i != y of max(0, margin - x[y] + x[i])**p / C, for the target class y, times weight[y].

    Args:
        input: (N, C), or (C,).
        target: (N,), or (), classes.
        p: 1 or 2.
        weight: (C,).

    Raises:
        ValueError: another p; an unknown reduction.
        RuntimeError: shapes that do not fit.
    """
    reduction = reduction_name(size_average, reduce, reduction)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    x, y = _rows(input, target, 1)
    at = y.reshape(-1, 1)
    gaps = clip(margin - take_along_axis(x, at, axis=1) + x, 0)
    gaps = gaps if p == 1 else square(gaps)
    classes = x._backend.tensors.arange(x.shape[1], dtype=at.dtype, device=x.device)
    gaps = where(at == classes, 0, gaps)
    if weight is not None:
        gaps = gaps * take(weight, y, axis=0).reshape(-1, 1)
    losses = gaps.sum(dim=1) / x.shape[1]
    return reduced(losses.reshape(target.shape), reduction)


def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """sum over targets j and other classes i of max(0, 1 - x[j] + x[i]) / C.

    Args:
        input: (N, C), or (C,).
        target: of the same shape; classes, until the first -1.

    Raises:
        ValueError: an unknown reduction.
        RuntimeError: shapes that do not fit.
    """
    reduction = reduction_name(size_average, reduce, reduction)
    x, y = _rows(input, target, 2)
    named = cumulative_sum((y < 0).long(), axis=1) == 0
    y = where(named, y, 0)
    classes = x._backend.tensors.arange(x.shape[1], dtype=y.dtype, device=x.device)
    wanted = any_of(logical_and(y.unsqueeze(-1) == classes, named.unsqueeze(-1)), axis=1)
    gaps = clip(1 - take_along_axis(x, y, axis=1).unsqueeze(-1) + x.unsqueeze(1), 0)
    counts = logical_and(named.unsqueeze(-1), logical_not(wanted).unsqueeze(1))
    losses = where(counts, gaps, 0).sum(dim=(1, 2)) / x.shape[1]
    return reduced(losses.reshape(input.shape[:-1]), reduction)
