"""Attention on NumPy, some matrices of scores at a time, so that these stay in the cache.

Unless they are few, they never lie in memory together:
Dao et al., "FlashAttention" (2022). Small scores are not shifted by their maxima: their exponentials are far from overflow,
and the division by the sums is left for the products, which are smaller. Heads are read where they lie in memory, and results
are laid out as the operands are, so that what splits and joins heads copies nothing. Only second operands of products are
turned, as such a product takes twice the time; what must be copied so is multiplied by the scale on the way.
"""

import math
import weakref
from functools import partial
from typing import Any

import numpy as np

from polygrad_numpy import onednn_matmul
from polygrad_numpy.layers import LEVEL, WORDS
from polygrad_numpy.memory import aligned, beside

__all__ = ["attention", "attention_backward"]

ROOM = 1 << 16  # scores: 256 kB of float32, two of which fit the second-level cache
SMALL = 1 << 18  # multiply-adds of one product below which NumPy's call is the faster one
KEPT = 1 << 20  # scores: so few (4 MB) are kept for backward, which else takes a fifth of its time to make them again

# id of an array `lse` -> (references to it, the query and the key; how the weights were made; the weights). The array is
# read-only, so that nobody can change it in place and leave the weights behind.
_kept: dict[int, tuple[Any, Any, np.ndarray]] = {}


def keep(weights: np.ndarray, lse: np.ndarray, query: np.ndarray, key: np.ndarray, how: Any) -> None:
    """Keep the weights that were made of a query and a key as long as there is this `lse`."""
    lse.flags.writeable = False
    mine = (weakref.ref(lse, partial(_drop, id(lse))), weakref.ref(query), weakref.ref(key))
    _kept[id(lse)] = mine, how, weights


def _drop(name: int, _: Any) -> None:
    _kept.pop(name, None)


def kept_by(lse: np.ndarray, query: np.ndarray, key: np.ndarray, how: Any) -> Any:
    """The weights that were kept with these, or None."""
    mine, made, weights = _kept.get(id(lse), ((), None, None))
    same = made == how and all(r() is a for r, a in zip(mine, (lse, query, key), strict=True))
    return weights if same else None


def _product(x1: np.ndarray, x2: np.ndarray, out: np.ndarray) -> np.ndarray:
    """x1 @ x2 in `out`, for stacks of one shape."""
    if x1.shape[-2] * x1.shape[-1] * x2.shape[-1] < SMALL or onednn_matmul.matmul(x1, x2, out) is NotImplemented:
        np.matmul(x1, x2, out=out)
    return out


def _lined(x: np.ndarray, lead: tuple[int, ...]) -> np.ndarray:
    """x with these leading axes, its rows without gaps and beside no other's elements, as a BLAS takes them."""
    width, down = x.itemsize, x.strides[-2]
    if x.shape[:-2] != lead:
        x = np.broadcast_to(x, (*lead, *x.shape[-2:]))
    elif x.strides[-1] == width and down >= width * x.shape[-1] and down % width == 0:
        return x
    return np.ascontiguousarray(x)


class _Stack:
    """Operands with one shape of leading axes, of which parts are taken along the first."""

    def __init__(self, query: Any, key: Any, value: Any, mask: Any, scale: float, causal: bool):
        rows, columns = query.shape[-2], key.shape[-2]
        leads = [a.shape[:-2] for a in (query, key, value, mask) if a is not None]
        self.lead = leads[0] if len(set(leads)) == 1 else np.broadcast_shapes(*leads)
        self.whole = self.lead or (1,)
        self.scores = (*self.whole, rows, columns)
        self.query, self.key, self.value = (_lined(a, self.whole) for a in (query, key, value))
        self.mask = None if mask is None else np.broadcast_to(mask, self.scores)
        self.scale = scale
        self.seen = np.tri(rows, columns, dtype=query.dtype) if causal else None
        self.step = min(self.whole[0], max(1, ROOM // max(1, math.prod(self.scores[1:]))))

    def parts(self) -> Any:
        """Slices along the first axis."""
        return (slice(i, min(i + self.step, self.whole[0])) for i in range(0, self.whole[0], self.step))

    def rooms(self, *shapes: tuple[int, int]) -> list[np.ndarray]:
        """Memory for what is made of one part: matrices of these shapes."""
        return aligned(self.query.dtype, *[(self.step, *self.whole[1:], *shape) for shape in shapes])

    def like(self, x: np.ndarray, *shape: int) -> np.ndarray:
        """A new array of matrices of this shape, laid out as x is, which has all the leading axes."""
        return np.empty_like(x, shape=(*self.whole, *shape))

    def unstacked(self, x: np.ndarray) -> np.ndarray:
        """x without the leading axis that single matrices were given."""
        return x if self.lead else x[0]

    def weights(self, here: slice, turned: np.ndarray, room: np.ndarray, lse: Any = None) -> tuple[Any, Any]:
        """Exponentials of the scores less a shift, or less `lse`, and that shift (0.0 where no score is large).

        None for the exponentials where some row sees nothing.
        """
        query, key = self.query[here], self.key[here].swapaxes(-1, -2)
        turned, e = turned[: len(query)], room[: len(query)]
        _product(query, np.multiply(key, self.scale, out=turned), e)
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
    query, key, value, mask = [*arrays, None][:4]
    stack = _Stack(query, key, value, mask, scale, causal)
    (rows, columns), width = stack.scores[-2:], value.shape[-1]
    y, ones = stack.like(stack.query, rows, width), np.ones(columns, query.dtype)
    lse = np.empty((*stack.whole, rows), query.dtype)
    turned, made, room = stack.rooms((key.shape[-1], columns), (rows, width), (rows, columns))
    whole = aligned(query.dtype, stack.scores)[0] if mask is None and math.prod(stack.scores) <= KEPT else None
    plain = True
    for here in stack.parts():
        e, top = stack.weights(here, turned, room if whole is None else whole[here])
        if e is None:
            return NotImplemented
        plain = plain and type(top) is float
        total = np.matmul(e, ones)[..., None]
        np.divide(_product(e, stack.value[here], made[: len(e)]), total, out=y[here])
        np.log(total, out=total)
        total += top
        lse[here] = total[..., 0]
    lse = stack.unstacked(lse)
    if plain and whole is not None:
        keep(whole, lse, query, key, (scale, causal, "undivided"))
    return stack.unstacked(y), lse


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
    kept = kept_by(lse, query, key, (scale, causal, "undivided"))
    inner, lse, g = inner.reshape(*lead, -1), lse.reshape(*lead, -1), _lined(g, lead)
    of_query, of_key, of_value = beside(stack.query, stack.key, stack.value)
    # The cotangent of a mask is that of the scores; else these are made with the scale, which then comes with the value.
    of_scores = None if mask is None else np.empty(stack.scores, query.dtype)
    factor = scale if mask is None else 1.0
    matrices = (rows, columns), (rows, columns), (key.shape[-1], columns), (value.shape[-1], columns), g.shape[-2:]
    room, other, turned, values, slopes = stack.rooms(*matrices)
    for here in stack.parts():
        weights, shift = stack.weights(here, turned, room, lse) if kept is None else (kept[here], 0.0)
        slope, less = g[here], inner[here][..., None] * factor
        if type(shift) is float:  # the weights are still to be divided by their sums: what they multiply is instead
            share = np.exp(-lse[here])[..., None]
            slope, less = np.multiply(slope, share, out=slopes[: len(slope)]), less * share
        value = np.multiply(stack.value[here].swapaxes(-1, -2), factor, out=values[: len(slope)])
        d = _product(slope, value, other[: len(slope)] if of_scores is None else of_scores[here])
        d -= less
        d *= weights
        _product(d, stack.key[here], of_query[here])
        _product(d.swapaxes(-1, -2), stack.query[here], of_key[here])
        _product(weights.swapaxes(-1, -2), slope, of_value[here])
    if of_scores is not None:
        of_query *= scale
        of_key *= scale
    found = (of_query, of_key, of_value, of_scores)
    return tuple([stack.unstacked(f) for f in found if f is not None])
