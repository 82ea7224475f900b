"""Functions of the standard that some libraries lack, in the others that it has: their derivatives are the ops' own.

A backend uses one only where its library's namespace has no function of that name, under `xp.raw` too.
"""

from __future__ import annotations

import math

from polygrad.core import polyfill
from polygrad.ops.elementwise import as_arrays
from polygrad.ops.linalg_parts import adjoint, column, eps_of, identity, row

# -------------------------------------------------------------------------------------------------- element by element


def _is_negative(xp, x):
    """True where x is negative or minus zero."""
    return xp.logical_or(x < 0, xp.logical_and(x == 0, xp.divide(1, x) < 0))


@polyfill("signbit")
def signbit(xp, x, /):
    """True where the sign bit of x is set, except that of a NaN."""
    return _is_negative(xp, x)


@polyfill("copysign")
def copysign(xp, x1, x2, /):
    """|x1| with the sign of x2, positive for NaN."""
    x1, x2 = as_arrays(xp, x1, x2)
    size = xp.abs(x1)
    return xp.where(_is_negative(xp, x2), -size, size)


@polyfill("hypot")
def hypot(xp, x1, x2, /):
    """sqrt(x1**2 + x2**2) without overflow; infinite where either is infinite."""
    a, b = (xp.abs(x) for x in as_arrays(xp, x1, x2))
    large = xp.maximum(a, b)
    scale = xp.where(xp.logical_or(large == 0, xp.isinf(large)), 1, large)
    ratio = xp.minimum(a, b) / scale
    y = large * xp.sqrt(1 + ratio * ratio)
    return xp.where(xp.logical_or(xp.isinf(a), xp.isinf(b)), math.inf, y)


# ------------------------------------------------------------------------------------------------ shapes and searching


@polyfill("broadcast_shapes")
def broadcast_shapes(xp, *shapes):
    """The shape that arrays of these shapes broadcast to. Raises ValueError where they do not."""
    rank = max((len(s) for s in shapes), default=0)
    found = []
    for sizes in zip(*((1,) * (rank - len(s)) + tuple(s) for s in shapes), strict=True):
        distinct = set(sizes) - {1}
        if len(distinct) > 1:
            raise ValueError(f"shapes {', '.join(map(str, shapes))} cannot be broadcast together")
        found.append(distinct.pop() if distinct else 1)
    return tuple(found)


@polyfill("nonzero")
def nonzero(xp, x, /):
    """The positions of the elements that are not zero: sorts them to the front and counts them."""
    there = xp.reshape(x != 0, (-1,))
    flat = xp.argsort(xp.astype(xp.logical_not(there), xp.int32), stable=True)
    flat = flat[: int(xp.sum(xp.astype(there, xp.int64)))]
    found, rest = [], math.prod(x.shape)
    for size in x.shape:
        rest //= max(size, 1)
        found.append(xp.remainder(xp.floor_divide(flat, max(rest, 1)), max(size, 1)))
    return tuple(found)


@polyfill("take_along_axis")
def take_along_axis(xp, x, indices, /, *, axis=-1):
    """Elements of x picked along `axis`: what the flattened x has at their places."""
    a, rank = axis % len(x.shape), len(x.shape)
    shape = broadcast_shapes(xp, *((*s[:a], 1, *s[a + 1 :]) for s in (x.shape, indices.shape)))
    n, shape = x.shape[a], (*shape[:a], indices.shape[a], *shape[a + 1 :])
    flat, stride = xp.where(indices < 0, indices + n, indices) * math.prod(x.shape[a + 1 :]), 1
    for i in reversed(range(rank)):
        if i != a and x.shape[i] != 1:
            steps = xp.arange(x.shape[i], dtype=indices.dtype, device=xp.device(x)) * stride
            flat = flat + xp.reshape(steps, (-1,) + (1,) * (rank - i - 1))
        stride *= x.shape[i]
    flat = xp.reshape(xp.broadcast_to(flat, shape), (-1,))
    return xp.reshape(xp.take(xp.reshape(x, (-1,)), flat, axis=0), shape)


# ------------------------------------------------------------------------------------------------------ linear algebra


@polyfill("linalg.diagonal")
def diagonal(xp, x, /, *, offset=0):
    """The `offset`-th diagonal of each matrix: every (columns + 1)-th element of its rows in one line."""
    rows, columns = x.shape[-2:]
    length = max(0, min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns))
    start = offset if offset >= 0 else -offset * columns
    flat = xp.reshape(x, (*x.shape[:-2], rows * columns))
    places = xp.arange(length, device=xp.device(x)) * (columns + 1) + start
    return xp.take(flat, places, axis=len(flat.shape) - 1)


@polyfill("linalg.svdvals")
def svdvals(xp, x, /):
    """The singular values in descending order."""
    return xp.raw.linalg.svd(x, full_matrices=False)[1]


@polyfill("linalg.eigvalsh")
def eigvalsh(xp, x, /):
    """The eigenvalues of Hermitian matrices in ascending order."""
    return xp.raw.linalg.eigh(x)[0]


@polyfill("linalg.vector_norm")
def vector_norm(xp, x, /, *, axis=None, keepdims=False, ord=2):
    """The norm (sum |x|^p)^(1/p) over `axis`, for p = `ord`."""
    size = xp.abs(x)
    if ord == 0:
        return xp.sum(xp.astype(size != 0, size.dtype), axis=axis, keepdims=keepdims)
    if abs(ord) == math.inf:
        return (xp.max if ord > 0 else xp.min)(size, axis=axis, keepdims=keepdims)
    if ord == 1:
        return xp.sum(size, axis=axis, keepdims=keepdims)
    if ord == 2:
        return xp.sqrt(xp.sum(size * size, axis=axis, keepdims=keepdims))
    return xp.sum(size**ord, axis=axis, keepdims=keepdims) ** (1 / ord)


def _counts(xp, x, s, rtol):
    """True for the singular values s of x that exceed `rtol` (the larger size times the unit roundoff) of the largest."""
    if rtol is None:
        rtol = max(x.shape[-2:]) * eps_of(xp, s)
    return s > xp.max(s, axis=-1, keepdims=True) * rtol


@polyfill("linalg.matrix_rank")
def matrix_rank(xp, x, /, *, rtol=None):
    """How many singular values count as more than zero."""
    return xp.sum(xp.astype(_counts(xp, x, svdvals(xp, x), rtol), xp.int64), axis=-1)


@polyfill("linalg.pinv")
def pinv(xp, x, /, *, rtol=None):
    """The Moore-Penrose pseudoinverse, by singular values."""
    if 0 in x.shape:
        return xp.zeros((*x.shape[:-2], x.shape[-1], x.shape[-2]), dtype=x.dtype, device=xp.device(x))
    u, s, vh = xp.raw.linalg.svd(x, full_matrices=False)
    there = _counts(xp, x, s, rtol)
    inverse = xp.where(there, 1 / xp.where(there, s, 1), 0)
    return xp.matmul(adjoint(xp, vh) * row(xp, inverse), adjoint(xp, u))


@polyfill("linalg.cross")
def cross(xp, x1, x2, /, *, axis=-1):
    """The cross product of vectors of three elements along `axis`."""
    ahead, behind = ((xp.roll(x1, -i, axis=axis), xp.roll(x2, i - 3, axis=axis)) for i in (1, 2))
    return ahead[0] * ahead[1] - behind[0] * behind[1]


def _pivots(xp, x):
    """The pivots of elimination with the largest element of each column on top (n, ...), and the sign of the exchanges."""
    n = x.shape[-1]
    found, sign = [], xp.ones(x.shape[:-2], dtype=x.dtype, device=xp.device(x))
    if 0 in x.shape:
        return xp.ones((n, *sign.shape), dtype=x.dtype, device=xp.device(x)), sign
    for _ in range(n):
        best = xp.argmax(xp.abs(x[..., :, 0]), axis=-1, keepdims=True)
        on_top = xp.expand_dims(xp.arange(x.shape[-2], device=xp.device(x)) == best, axis=-1)
        top = xp.sum(xp.where(on_top, x, 0), axis=-2, keepdims=True)
        sign = xp.where(best[..., 0] == 0, sign, -sign)
        pivot = top[..., 0, 0]
        found.append(pivot)
        below = xp.where(on_top, x[..., :1, :], x)[..., 1:, :]
        factor = below[..., :1] / xp.where(pivot == 0, 1, pivot)[..., None, None]
        x = below[..., 1:] - factor * top[..., 1:]
    return xp.stack(found), sign


@polyfill("linalg.det")
def det(xp, x, /):
    """The determinant, by elimination."""
    pivots, sign = _pivots(xp, x)
    return sign * xp.prod(pivots, axis=0)


@polyfill("linalg.slogdet")
def slogdet(xp, x, /):
    """The sign of the determinant and the logarithm of its absolute value, by elimination."""
    pivots, sign = _pivots(xp, x)
    size = xp.abs(pivots)
    phases = xp.where(size == 0, pivots, pivots / xp.where(size == 0, 1, size))
    return sign * xp.prod(phases, axis=0), xp.sum(xp.log(size), axis=0)


@polyfill("linalg.cholesky")
def cholesky(xp, x, /, *, upper=False):
    """The triangular factor of Hermitian matrices, column by column; NaN where one is not positive definite."""
    n, columns = x.shape[-1], []
    for j in range(n):
        c = x[..., 0] / xp.expand_dims(xp.sqrt(xp.real(x[..., 0, 0])), axis=-1)
        above = xp.zeros((*x.shape[:-2], j), dtype=x.dtype, device=xp.device(x))
        columns.append(xp.concat([above, c], axis=-1))
        x = x[..., 1:, 1:] - column(xp, c[..., 1:]) * row(xp, xp.conj(c[..., 1:]))
    low = xp.stack(columns, axis=-1) if n else x
    return adjoint(xp, low) if upper else low


@polyfill("linalg.qr")
def qr(xp, x, /, *, mode="reduced"):
    """The QR decomposition, by Householder's reflections."""
    m, n = x.shape[-2:]
    k = min(m, n)
    q = xp.broadcast_to(identity(xp, m, x), (*x.shape[:-2], m, m))
    places = xp.arange(m, device=xp.device(x))
    for j in range(k):
        v = xp.where(places >= j, x[..., :, j], 0)
        top, size = v[..., j : j + 1], xp.sqrt(xp.sum(xp.real(xp.conj(v) * v), axis=-1, keepdims=True))
        length = xp.abs(top)
        turn = xp.where(length == 0, 1, top / xp.where(length == 0, 1, length)) * size
        v = v + xp.where(places == j, turn, 0)
        square = xp.sum(xp.real(xp.conj(v) * v), axis=-1, keepdims=True)
        v = xp.where(square == 0, 0, v / xp.sqrt(xp.where(square == 0, 1, square)))
        x = x - 2 * column(xp, v) * xp.matmul(row(xp, xp.conj(v)), x)
        q = q - 2 * xp.matmul(q, column(xp, v)) * row(xp, xp.conj(v))
    k = m if mode == "complete" else k
    return q[..., :, :k], xp.triu(x[..., :k, :])
