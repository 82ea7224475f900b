"""Attention by oneDNN: products that read heads where they lie, and exponentials taken where the scores are made.

Dao et al., "FlashAttention" (2022): the scores lie in memory some matrices at a time, and backward makes them again.
"""

import math
from functools import lru_cache
from typing import Any

import numpy as np

from polygrad_numpy.attention import KEPT, keep, kept_by
from polygrad_numpy.memory import beside
from polygrad_numpy.onednn_matmul import product
from polygrad_numpy.onednn_pointwise import along_last, scale_by
from polygrad_numpy.onednn_primitives import taken

__all__ = ["attention", "attention_backward"]

FEW = 1 << 15  # scores below which NumPy is as fast
ROOM = 1 << 18  # scores: 1 MB, so that two arrays of them fit the second-level cache
# Scores are not shifted by their maxima where no sum of their exponentials comes near the ends of float32's range: a shift
# changes no significant digit of the quotients.
LEAST, MOST = 1e-12, 1e12


def _attends(query: np.ndarray, key: np.ndarray, value: np.ndarray) -> bool:
    return (
        taken(query, key, value)
        and 3 <= query.ndim <= 5
        and query.shape[:-2] == key.shape[:-2] == value.shape[:-2]
        and math.prod(query.shape[:-1]) * key.shape[-2] >= FEW
    )


def _parts(query: np.ndarray, key: np.ndarray) -> list[slice]:
    """Slices of the first axis with scores for the room, or with one matrix or stack of matrices."""
    count = len(query)
    step = min(count, max(1, ROOM * count // (math.prod(query.shape[:-1]) * key.shape[-2])))
    return [slice(i, min(i + step, count)) for i in range(0, count, step)]


def _room(part: slice, query: np.ndarray, key: np.ndarray) -> np.ndarray:
    return np.empty((part.stop - part.start, *query.shape[1:-1], key.shape[-2]), np.float32)


@lru_cache(maxsize=16)
def _seen(rows: int, columns: int) -> np.ndarray:
    return np.tri(rows, columns, dtype=np.float32)


def _weights(query: np.ndarray, key: np.ndarray, scale: float, causal: bool, out: np.ndarray) -> bool:
    """Write the exponentials of the scores to `out`, zeros where nothing is seen."""
    rows, columns = out.shape[-2:]
    return product(query, key.swapaxes(-1, -2), out, scale, exp=True) and (
        not causal or scale_by(out, _seen(rows, columns), out.size // (rows * columns), rows * columns)
    )


def _divide(e: np.ndarray, total: np.ndarray) -> bool:
    """Divide the rows by their sums."""
    return scale_by(e, 1 / total, total.size, e.shape[-1])


def attention(arrays: Any, /, *, scale: float, causal: bool) -> Any:
    """The op `attention` without a mask, laid out as the query is; declines leading axes that broadcast, and large scores."""
    if len(arrays) != 3 or not _attends(*arrays):
        return NotImplemented
    query, key, value = arrays
    columns, parts = key.shape[-2], _parts(query, key)
    y = np.empty_like(query, shape=(*query.shape[:-1], value.shape[-1]))
    lse, ones = np.empty(query.shape[:-1], np.float32), np.ones(columns, np.float32)
    kept = lse.size * columns <= KEPT
    whole = _room(slice(0, len(query)) if kept else parts[0], query, key)
    for here in parts:
        e = whole[here] if kept else whole[: here.stop - here.start]
        if not _weights(query[here], key[here], scale, causal, e):
            return NotImplemented
        total = np.matmul(e.reshape(-1, columns), ones).reshape(e.shape[:-1])  # twice as fast as matrix by matrix
        if not (
            total.min() >= LEAST and total.max() <= MOST and _divide(e, total) and product(e, value[here], y[here])
        ):
            return NotImplemented
        np.log(total, out=lse[here])
    if kept:
        keep(whole, lse, query, key, (scale, causal))
    return y, lse


def attention_backward(
    g: Any,
    g_lse: Any,
    y: Any,
    lse: Any,
    query: Any,
    key: Any,
    value: Any,
    mask: Any = None,
    /,
    *,
    scale: Any,
    causal: Any,
) -> Any:
    """The function `attention_backward` where there is no mask."""
    if mask is not None or not _attends(query, key, value) or not taken(g, lse) or g.shape != y.shape:
        return NotImplemented
    if not (lse.min() >= math.log(LEAST) and lse.max() <= math.log(MOST)):
        return NotImplemented
    parts, total = _parts(query, key), np.exp(lse)
    found = kept_by(lse, query, key, (scale, causal))
    of_query, of_key, of_value = beside(query, key, value)
    whole = [_room(parts[0], query, key) for _ in range(2)]
    also = bool(np.any(g_lse))
    for here in parts:
        weights, d = (room[: here.stop - here.start] for room in whole)
        slope = g[here]
        if found is not None:
            weights = found[here]
        elif not (_weights(query[here], key[here], scale, causal, weights) and _divide(weights, total[here])):
            return NotImplemented
        if not product(slope, value[here].swapaxes(-1, -2), d):
            return NotImplemented
        if along_last(-1, weights, d, out=d) is NotImplemented:
            return NotImplemented
        if also:
            d += weights * g_lse[here][..., None]
        if not (
            product(d, key[here], of_query[here], scale)
            and product(d.swapaxes(-1, -2), query[here], of_key[here], scale)
            and product(weights.swapaxes(-1, -2), slope, of_value[here])
        ):
            return NotImplemented
    return of_query, of_key, of_value
