"""Distances, as `torch.nn.functional` has them."""

from __future__ import annotations

from polygrad.core import Tensor
from polygrad.ops.elementwise import maximum
from polygrad.ops.indexing import take
from polygrad.ops.linalg import vector_norm
from polygrad.ops.reductions import sum as sum_of

__all__ = ["cosine_similarity", "pairwise_distance", "pdist"]


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between x1 and x2 along `dim`; norms count as at least eps."""
    lengths = [maximum(vector_norm(x, axis=dim, keepdims=True), eps) for x in (x1, x2)]
    return sum_of((x1 / lengths[0]) * (x2 / lengths[1]), axis=dim)


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The norm of order p of x1 - x2 + eps along the last axis."""
    return vector_norm(x1 - x2 + eps, ord=p, axis=-1, keepdims=keepdim)


def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The norms of order p of the differences of all pairs of rows of a matrix (N, M): (N * (N - 1) / 2,).

    Raises RuntimeError unless there are two axes.
    """
    if input.ndim != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.ndim}D")
    n = input.shape[0]
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
    if not pairs:
        return sum_of(input[:0], axis=-1)
    first, second = (
        take(input, input._backend.tensors.asarray(list(rows), dtype="int64", device=input.device), axis=0)
        for rows in zip(*pairs, strict=True)
    )
    return vector_norm(first - second, ord=p, axis=-1)
