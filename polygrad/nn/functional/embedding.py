"""Rows of a matrix looked up by integers, as `torch.nn.functional` has them."""

from __future__ import annotations

from polygrad.autograd.modes import no_grad
from polygrad.core import Tensor
from polygrad.core.tensor import has_values
from polygrad.ops import layers
from polygrad.ops.elementwise import logical_and, maximum
from polygrad.ops.indexing import index_add, searchsorted, take, where
from polygrad.ops.linalg import vector_norm
from polygrad.ops.reductions import any as any_of

__all__ = ["embedding", "embedding_bag"]


def _check(input: Tensor, rows: int, sparse: bool) -> None:
    """Raises TypeError for anything but integers, IndexError for one that is no row (in eager code)."""
    if sparse:
        raise NotImplementedError("embedding: sparse gradients are not supported; leave sparse=False")
    if input.dtype.category not in ("integer", "unsigned"):
        raise TypeError(f"embedding: expected indices of an integer dtype, but got {input.dtype}")
    if has_values() and layers.any_outside_classes(input, classes=rows, ignore_index=0):  # 0 is a row anyway
        raise IndexError(f"index out of range in self: a table of {rows} rows has no such row")


def _padding(padding_idx: int | None, rows: int) -> int | None:
    """The row that has no gradient, counted from the start. Raises ValueError where there is none."""
    if padding_idx is None:
        return None
    if not -rows <= padding_idx < rows:
        raise ValueError("Padding_idx must be within num_embeddings")
    return padding_idx % rows


def renormalize(weight: Tensor, input: Tensor, max_norm: float, norm_type: float) -> None:
    """Scale the rows that are looked up down to a norm of at most `max_norm`, in place and outside any graph."""
    with no_grad():
        norms = vector_norm(weight, ord=norm_type, axis=-1, keepdims=True)
        seen = index_add(norms.new_zeros((weight.shape[0],)), 0, input.reshape(-1), norms.new_ones((input.numel(),)))
        far = logical_and(norms > max_norm, seen.reshape(-1, 1) > 0)
        weight.copy_(where(far, weight.detach() * (max_norm / (norms + 1e-7)), weight.detach()))


def _by_frequency(rows: Tensor, input: Tensor, count: int) -> Tensor:
    """The rows, with gradients over how often each row was looked up."""
    flat = input.reshape(-1)
    often = index_add(rows.new_zeros((count,)), 0, flat, rows.new_ones((flat.shape[0],)))
    share = (1 / take(often, flat, axis=0)).reshape(*input.shape, 1)
    return rows.detach() + (rows - rows.detach()) * share


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of a matrix that integers name.

    Args:
        input: integers (*).
        weight: (rows, D).
        padding_idx: a row that has no gradient.
        max_norm, norm_type: first scale rows of a larger norm of this order down, in place.
        scale_grad_by_freq: divide a row's gradient by how often it is looked up.
        sparse: sparse gradients, which are not supported.

    Returns:
        (*, D).

    Raises:
        IndexError: an integer that names no row (in eager code).
        TypeError: indices that are no integers.
        ValueError: a `padding_idx` that names no row.
    """
    _check(input, weight.shape[0], sparse)
    padding_idx = _padding(padding_idx, weight.shape[0])
    if max_norm is not None:
        renormalize(weight, input, max_norm, norm_type)
    rows = layers.embedding(weight, input, padding_idx=padding_idx)
    return _by_frequency(rows, input, weight.shape[0]) if scale_grad_by_freq else rows


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """The sum, mean or maximum of the rows that each bag of integers names.

    Args:
        input: (B, N) for bags of equal size, or (N,) for bags that start at `offsets`.
        weight: (rows, D).
        offsets: (B,), rising from 0; an empty bag gives zeros.
        max_norm, norm_type, scale_grad_by_freq, sparse: as for `embedding`.
        mode: "sum", "mean" or "max".
        per_sample_weights: factors of the rows, in the shape of the input, for "sum" only.
        include_last_offset: the last offset is the end of the last bag.
        padding_idx: a row that does not count.

    Returns:
        (B, D).

    Raises:
        ValueError: offsets with an input of two axes, or none with one; an unknown mode; weights with another mode than "sum".
        IndexError, TypeError: as for `embedding`.
    """
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            f"embedding_bag: per_sample_weights was not None, which needs mode='sum' (got {mode!r})"
        )
    if per_sample_weights is not None and per_sample_weights.shape != input.shape:
        raise ValueError(
            f"embedding_bag: expected per_sample_weights of the shape of input, {input.shape}, got {per_sample_weights.shape}"
        )
    bags, count = _bags(input, offsets, include_last_offset)
    flat = input.reshape(-1)
    rows = embedding(flat, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
    padding = _padding(padding_idx, weight.shape[0])
    counts = rows.new_ones((flat.shape[0],)) if padding is None else (flat != padding).to(rows.dtype)
    if mode == "max":
        return _largest(rows, counts, bags, count)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.reshape(-1, 1)
    rows = rows if padding is None else rows * counts.unsqueeze(-1)
    total = index_add(rows.new_zeros((count, weight.shape[1])), 0, bags, rows)
    if mode == "sum":
        return total
    return total / maximum(index_add(rows.new_zeros((count,)), 0, bags, counts), 1).unsqueeze(-1)


def _bags(input: Tensor, offsets: Tensor | None, include_last_offset: bool) -> tuple[Tensor, int]:
    """The bag of each element of the flattened input, and how many bags there are."""
    xp = input._backend.tensors
    places = xp.arange(input.numel(), dtype="int64", device=input.device)
    if input.ndim == 2:
        if offsets is not None:
            raise ValueError("if input is 2D, then offsets has to be None, as input is treated as bags of equal size")
        return places // max(input.shape[1], 1), input.shape[0]
    if input.ndim != 1:
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.ndim}")
    if offsets is None or offsets.ndim != 1:
        raise ValueError("offsets has to be a 1D Tensor")
    if has_values() and offsets.numel() and offsets[0].item() != 0:
        raise ValueError(
            "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from position 0."
        )
    starts = offsets[:-1] if include_last_offset else offsets
    return searchsorted(starts.to("int64"), places, side="right").to("int64") - 1, starts.shape[0]


def _largest(rows: Tensor, counts: Tensor, bags: Tensor, count: int) -> Tensor:
    """The largest element of each column of each bag, 0 for an empty one; the first of equal ones has the gradient."""
    member = logical_and(
        bags == rows._backend.tensors.arange(count, dtype="int64", device=rows.device).unsqueeze(-1), counts > 0
    )
    spread = where(member.unsqueeze(-1), rows.detach(), -float("inf"))  # (bags, elements, D)
    first = spread.argmax(dim=1)
    picked = rows._backend.tensors.take_along_axis(rows, first, axis=0)
    return where(any_of(member, axis=1).unsqueeze(-1), picked, 0)
