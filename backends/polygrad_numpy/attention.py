"""Attention on NumPy, some matrices of scores at a time, so that these stay in the cache and never lie in memory together.

Dao et al., "FlashAttention" (2022). Small scores are not shifted by their maxima: their exponentials are far from overflow,
and the division by the sums is left for the products, which are smaller.
"""

import math
from typing import Any

import numpy as np

from polygrad_numpy import onednn_matmul
from polygrad_numpy.layers import LEVEL, WORDS

__all__ = ["attention", "attention_backward"]

ROOM = 1 << 16  # scores: 256 kB of float32, two of which fit the second-level cache
SMALL = 1 << 18  # multiply-adds of one product below which NumPy's call is the faster one


def _product(x1: np.ndarray, x2: np.ndarray, out: np.ndarray) -> np.ndarray:
    """x1 @ x2 in `out`, for stacks of one shape. Products with a transposed second operand take twice the time."""
    if x1.shape[-2] * x1.shape[-1] * x2.shape[-1] < SMALL or onednn_matmul.matmul(x1, x2, out) is NotImplemented:
        np.matmul(x1, x2, out=out)
    return out


def _ordered(x: np.ndarray, lead: tuple[int, ...]) -> np.ndarray:
    """x with these leading axes, without gaps."""
    return np.ascontiguousarray(x if x.shape[:-2] == lead else np.broadcast_to(x, (*lead, *x.shape[-2:])))


class _Stack:
    """Operands with one shape of leading axes, of which parts are taken along the first."""

    def __init__(self, query: Any, key: Any, value: Any, mask: Any, scale: float, causal: bool):
        rows, columns = query.shape[-2], key.shape[-2]
        leads = [a.shape[:-2] for a in (query, key, value, mask) if a is not None]
        self.lead = leads[0] if len(set(leads)) == 1 else np.broadcast_shapes(*leads)
        self.whole = self.lead or (1,)
        self.scores = (*self.whole, rows, columns)
        self.query = _ordered(np.multiply(query, scale, order="C"), self.whole)
        self.key = _ordered(key.swapaxes(-1, -2), self.whole)
        self.mask = None if mask is None else np.broadcast_to(mask, self.scores)
        self.seen = np.tri(rows, columns, dtype=query.dtype) if causal else None
        self.step = min(self.whole[0], max(1, ROOM // max(1, math.prod(self.scores[1:]))))

    def parts(self) -> Any:
        """Slices along the first axis."""
        return (slice(i, i + self.step) for i in range(0, self.whole[0], self.step))

    def room(self, *shape: int) -> np.ndarray:
        """Memory for what is made of one part."""
        return np.empty((self.step, *self.whole[1:], *shape), self.query.dtype)

    def new(self, *shape: int) -> np.ndarray:
        """A new array with all the leading axes."""
        return np.empty((*self.whole, *shape), self.query.dtype)

    def weights(self, here: slice, room: np.ndarray, lse: Any = None) -> tuple[Any, Any]:
        """Exponentials of the scores less a shift, or less `lse`, and that shift (0.0 where no score is large).

        None for the exponentials where some row sees nothing.
        """
        query = self.query[here]
        e = _product(query, self.key[here], room[: len(query)])
        if self.mask is not None:
            e += self.mask[here]
        elif e.max() <= LEVEL and e.min() >= -LEVEL:
            np.exp(e, out=e)
            if self.seen is not None:
                e *= self.seen
            return e, 0.0
        if self.seen is not None:
            np.copyto(e, -math.inf, where=self.seen == 0)
        top = e.max(-1, keepdims=True) if lse is None else lse[here][..., None]
        if lse is None and not np.isfinite(top).all():
            return None, top
        e -= top
        return np.exp(e, out=e), top


def _attends(arrays: Any) -> bool:
    return all(type(a) is np.ndarray and a.dtype == arrays[0].dtype and a.ndim > 1 for a in arrays) and (
        arrays[0].dtype in WORDS and bool(arrays[0].size and arrays[1].size and arrays[2].size)
    )


def attention(arrays: Any, /, *, scale: float, causal: bool) -> Any:
    """The op `attention`; declines where some row sees nothing."""
    if not _attends(arrays):
        return NotImplemented
    query, _, value, mask = [*arrays, None][:4]
    stack = _Stack(*arrays[:3], mask, scale, causal)
    rows, columns = stack.scores[-2:]
    value = _ordered(value, stack.whole)
    y, lse, ones = stack.new(rows, value.shape[-1]), stack.new(rows), np.ones(columns, query.dtype)
    room = stack.room(rows, columns)
    for here in stack.parts():
        e, top = stack.weights(here, room)
        if e is None:
            return NotImplemented
        total = np.matmul(e, ones)[..., None]
        part = _product(e, value[here], y[here])
        part /= total
        np.log(total, out=total)
        total += top
        lse[here] = total[..., 0]
    return y.reshape(*stack.lead, *y.shape[-2:]), lse.reshape(*stack.lead, rows)


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
    """The function `attention_backward`."""
    arrays = [a for a in (query, key, value, mask) if a is not None]
    if not _attends([*arrays, g]) or g.shape != y.shape:
        return NotImplemented
    stack = _Stack(query, key, value, mask, scale, causal)
    lead, rows, columns = stack.whole, *stack.scores[-2:]
    inner = np.einsum("...i,...i->...", g, y)
    inner -= g_lse
    inner, lse = inner.reshape(*lead, -1), lse.reshape(*lead, -1)
    g, key, turned = _ordered(g, lead), _ordered(key, lead), _ordered(value.swapaxes(-1, -2), lead)
    of_query, of_key, of_value = (stack.new(*a.shape[-2:]) for a in (query, key, value))
    of_scores = None if mask is None else stack.new(rows, columns)
    rooms = stack.room(rows, columns), stack.room(rows, columns)
    for here in stack.parts():
        weights, shift = stack.weights(here, rooms[0], lse)
        slope, less = g[here], inner[here][..., None]
        if type(shift) is float:  # the weights are still to be divided by their sums: what they multiply is instead
            share = np.exp(-lse[here])[..., None]
            slope, less = slope * share, less * share
        d = _product(slope, turned[here], rooms[1][: len(slope)] if of_scores is None else of_scores[here])
        d -= less
        d *= weights
        part = _product(d, key[here], of_query[here])
        part *= scale
        _product(d.swapaxes(-1, -2), stack.query[here], of_key[here])
        _product(weights.swapaxes(-1, -2), slope, of_value[here])
    found = (of_query, of_key, of_value, of_scores)
    return tuple([f.reshape(*stack.lead, *f.shape[-2:]) for f in found if f is not None])
