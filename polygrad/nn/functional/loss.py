"""Losses, as `torch.nn.functional` has them."""

from __future__ import annotations

import warnings

from polygrad.core import Tensor, as_dtype
from polygrad.core.tensor import has_values
from polygrad.ops.composite import log_softmax
from polygrad.ops.elementwise import abs as absolute
from polygrad.ops.elementwise import square
from polygrad.ops.indexing import take, where
from polygrad.ops.layers import hot, outside_classes, softmax_cross_entropy
from polygrad.ops.reductions import count_nonzero
from polygrad.ops.reductions import sum as sum_of
from polygrad.ops.shapes import broadcast_to

__all__ = ["cross_entropy", "l1_loss", "mse_loss", "nll_loss"]

INT64 = as_dtype("int64")


def reduction_name(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """The reduction that PyTorch's old arguments name, or `reduction`. Raises ValueError for an unknown one."""
    if size_average is not None or reduce is not None:
        average = size_average is None or size_average
        reduction = "none" if reduce is False else "mean" if average else "sum"
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return reduction


# ------------------------------------------------------------------------------------------------- classes by index


def _check_classes(input: Tensor, target: Tensor, weight: Tensor | None) -> int:
    """The axis of the classes. Raises where shapes do not fit."""
    shape, given = input.shape, target.shape
    if not shape:
        raise ValueError("Expected at least 1 dimension for the input of a classification loss, got 0")
    axis = 1 if len(shape) > 1 else 0
    if axis and given[:1] != shape[:1]:
        raise ValueError(
            f"Expected input batch_size ({shape[0]}) to match target batch_size ({given[0] if given else 'none'}): "
            f"input of shape {shape}, target of shape {given}."
        )
    expected = shape[:axis] + shape[axis + 1 :]
    if given != expected:
        raise RuntimeError(
            f"Expected target size {list(expected)}, got {list(given)} for an input of size {list(shape)}"
        )
    classes = shape[axis]
    if weight is not None and weight.shape != (classes,):
        raise RuntimeError(
            f"weight tensor should be defined either for all {classes} classes or no classes but got weight tensor of shape: "
            f"{list(weight.shape)}"
        )
    return axis


def _labels(target: Tensor, classes: int, ignore_index: int) -> Tensor:
    """The target as int64. Raises TypeError unless it has integers, IndexError for one that is no class (in eager code)."""
    dtype = target.dtype
    if dtype.category not in ("integer", "unsigned"):
        raise TypeError(f"expected a target of integers, one class for each sample, but got {dtype}")
    if dtype is not INT64:
        target = target.long()
    if has_values():  # on the array itself: a check is no op of the user's, and this one comes with every step
        outside = target._backend.arrays.any_outside_classes
        if outside(target._array, classes=classes, ignore_index=ignore_index):
            wrong = target[outside_classes(target, classes=classes, ignore_index=ignore_index)]
            raise IndexError(f"Target {wrong[0].item()} is out of bounds.")
    return target


def _weights_of(weight: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """The weight of each target's class, 0 where it is ignored."""
    ignored = target == ignore_index
    safe = where(ignored, 0, target)
    return where(ignored, 0, take(weight, safe.reshape(-1), axis=0).reshape(target.shape))


def _reduced(losses: Tensor, target: Tensor, weights: Tensor | None, ignore_index: int, reduction: str) -> Tensor:
    """The mean over what is not ignored, weighted where there are weights; the sum; or the losses themselves."""
    if reduction == "none":
        return losses
    total = sum_of(losses)
    if reduction == "sum":
        return total
    return total / (count_nonzero(target != ignore_index) if weights is None else sum_of(weights))


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log softmax(input) at the target classes.

    Args:
        input: logits, (C,), (N, C) or (N, C, *).
        target: classes as integers, (), (N,) or (N, *); or probabilities in the shape of the input.
        weight: (C,), how much each class counts.
        size_average, reduce: PyTorch's old names for `reduction`.
        ignore_index: a target that does not count.
        reduction: "mean" (over what counts, by weight), "sum" or "none".
        label_smoothing: how much of each target is spread evenly over the classes.

    Raises:
        ValueError, RuntimeError: shapes that do not fit; an unknown reduction; smoothing outside [0, 1].
        IndexError: a target that is no class.
        TypeError: a target of another dtype.
    """
    reduction = reduction_name(size_average, reduce, reduction)
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    if target.dtype.is_floating_point and target.shape == input.shape:
        return _soft_cross_entropy(input, target, weight, reduction, label_smoothing)
    axis = _check_classes(input, target, weight)
    classes = input.shape[axis]
    target = _labels(target, classes, ignore_index)
    plain = weight is None and not label_smoothing
    losses, lse = softmax_cross_entropy(
        input, target, axis=axis, ignore_index=ignore_index, reduction=reduction if plain else "none"
    )
    if plain:
        return losses
    weights = None if weight is None else _weights_of(weight, target, ignore_index)
    if weights is not None:
        losses = losses * weights
    if label_smoothing:
        if weight is None:
            spread = lse * classes - sum_of(input, axis=axis)
        else:
            w = weight.reshape(-1, *[1] * (input.ndim - axis - 1))
            spread = lse * sum_of(weight) - sum_of(input * w, axis=axis)
        spread = where(target == ignore_index, 0, spread)
        losses = losses * (1 - label_smoothing) + spread * (label_smoothing / classes)
    return _reduced(losses, target, weights, ignore_index, reduction)


def _soft_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, label_smoothing: float
) -> Tensor:
    """The cross-entropy with targets that are probabilities."""
    axis = 1 if input.ndim > 1 else 0
    classes = input.shape[axis]
    if weight is not None and weight.shape != (classes,):
        raise RuntimeError(
            f"cross_entropy: weight tensor should be defined for all {classes} classes but got weight tensor of shape: "
            f"{list(weight.shape)}"
        )
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / classes
    scores = -log_softmax(input, axis=axis) * target
    if weight is not None:
        scores = scores * weight.reshape(-1, *[1] * (input.ndim - axis - 1))
    if reduction == "none":
        return sum_of(scores, axis=axis)
    total = sum_of(scores)
    return total if reduction == "sum" else total / (input.numel() // classes)


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-input at the target classes, for an input of log-probabilities; arguments and errors are those of `cross_entropy`."""
    reduction = reduction_name(size_average, reduce, reduction)
    axis = _check_classes(input, target, weight)
    target = _labels(target, input.shape[axis], ignore_index)
    picked = hot(input._backend.tensors, target, input.shape, axis)
    losses = -sum_of(where(picked, input, 0), axis=axis)
    losses = where(target == ignore_index, 0, losses)
    weights = None if weight is None else _weights_of(weight, target, ignore_index)
    if weights is not None:
        losses = losses * weights
    return _reduced(losses, target, weights, ignore_index, reduction)


# --------------------------------------------------------------------------------------------------------- differences


def _difference(input: Tensor, target: Tensor) -> Tensor:
    if input.shape != target.shape:
        warnings.warn(
            f"Using a target size ({target.shape}) that is different to the input size ({input.shape}). This will likely lead to "
            "incorrect results due to broadcasting. Please ensure they have the same size.",
            stacklevel=3,
        )
    return input - target


def _averaged(losses: Tensor, input: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    if weight is not None:
        if weight.shape != input.shape:
            raise ValueError("Weights and input must have the same size.")
        losses = losses * weight
    if reduction == "none":
        return losses
    if reduction == "sum":
        return sum_of(losses)
    return losses.mean() if weight is None else sum_of(losses) / sum_of(broadcast_to(weight, losses.shape))


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """(input - target)**2, reduced by "mean" (weighted by `weight` of the input's shape, if given), "sum" or "none"."""
    reduction = reduction_name(size_average, reduce, reduction)
    return _averaged(square(_difference(input, target)), input, weight, reduction)


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """|input - target|, reduced by "mean" (weighted by `weight` of the input's shape, if given), "sum" or "none"."""
    reduction = reduction_name(size_average, reduce, reduction)
    return _averaged(absolute(_difference(input, target)), input, weight, reduction)
