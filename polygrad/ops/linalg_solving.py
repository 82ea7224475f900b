"""Solving with factors, the LU factorisation, and inverses of tensors, under PyTorch's names."""

from __future__ import annotations

import math
from collections import namedtuple

from polygrad.core import case, composite, discrete, general, hermitian, separated
from polygrad.ops.linalg_parts import adjoint, identity

# --------------------------------------------------------------------------------------- determinants and Cholesky


@composite(cases=[case(hermitian((3, 3))), case(hermitian((2, 2, 2)))])
def logdet(xp, input):
    """The logarithm of the determinant; NaN where that is negative, -inf where it is 0."""
    sign, size = xp.linalg.slogdet(input)
    if xp.is_complex(input):
        return size + xp.log(sign)
    return xp.where(sign < 0, xp.nan, size)


@composite(cases=[case((3, 2), separated((3, 3))), case((3, 2), separated((2, 3, 3)), True)])
def cholesky_solve(xp, B, L, upper=False):
    """The solution of A @ X = B for A = L @ L^H (L^H @ L if `upper`), reading one triangle of L."""
    first, second = (adjoint(xp, L), L) if upper else (L, adjoint(xp, L))
    y = xp.linalg.solve_triangular(first, B, upper=False)
    return xp.linalg.solve_triangular(second, y, upper=True)


@composite(cases=[case(separated((3, 3))), case(separated((2, 2, 2)), True)])
def cholesky_inverse(xp, L, upper=False):
    """The inverse of A = L @ L^H (L^H @ L if `upper`), reading one triangle of L."""
    return xp.cholesky_solve(identity(xp, L.shape[-1], L), L, upper)


# ------------------------------------------------------------------------------------------------------------------ LU


class LU(namedtuple("LU", "P L U")):
    """A = P @ L @ U."""

    __slots__ = ()


class LUFactors(namedtuple("LUFactors", "LU pivots")):
    """L below the diagonal and U from it on, in one matrix; and with which row, counted from 1, each was exchanged."""

    __slots__ = ()


def _eliminated(xp, x, j):
    """x with its j-th column below the diagonal replaced by multipliers, and the rest reduced."""
    m, n = x.shape[-2:]
    rows = xp.reshape(xp.arange(m, device=xp.device(x)), (m, 1)) > j
    columns = xp.reshape(xp.arange(n, device=xp.device(x)), (1, n))
    pivot = x[..., j : j + 1, j : j + 1]
    factors = xp.where(rows, x[..., :, j : j + 1] / xp.where(pivot == 0, 1, pivot), 0)
    reduced = x - factors * xp.where(columns > j, x[..., j : j + 1, :], 0)
    return xp.where(xp.logical_and(rows, columns == j), factors, reduced)


def _exchanged(xp, order, j, chosen):
    """A permutation (..., m) with its elements at place j and at the places `chosen` (..., 1) exchanged."""
    places = xp.arange(order.shape[-1], dtype=order.dtype, device=xp.device(order))
    other = xp.take_along_axis(order, chosen, axis=-1)
    return xp.where(places == j, other, xp.where(places == chosen, order[..., j : j + 1], order))


def _size(xp, x):
    """What a pivot is chosen by, as LAPACK does: the absolute value, of complex numbers the sum of those of their parts."""
    return xp.abs(xp.real(x)) + xp.abs(xp.imag(x)) if xp.is_complex(x) else xp.abs(x)


@discrete(dtypes="floating", name="linalg.lu_order", cases=[case((2, 3, 3)), case((2, 3))])
def lu_order(xp, x, /):
    """The rows of each matrix in the order that partial pivoting puts them, and the exchanges that lead to it, from 1."""
    *batch, m, n = x.shape
    start = xp.arange(m, dtype=xp.int64, device=xp.device(x))
    order, exchanges = xp.broadcast_to(start, (*batch, m)), []
    for j in range(min(m, n)):
        chosen = xp.astype(xp.argmax(_size(xp, x[..., j:, j]), axis=-1, keepdims=True), xp.int64) + j
        exchanges.append(chosen)
        order = _exchanged(xp, order, j, chosen)
        step = _exchanged(xp, xp.broadcast_to(start, (*batch, m)), j, chosen)
        x = _eliminated(xp, _rows(xp, x, step), j)
    pivots = (
        xp.concat(exchanges, axis=-1) + 1 if exchanges else xp.zeros((*batch, 0), dtype=xp.int64, device=xp.device(x))
    )
    return order, xp.astype(pivots, xp.int32)


def _rows(xp, x, order):
    """The rows of each matrix in another order."""
    if len(x.shape) == 2:
        return xp.take(x, order, axis=0)
    return xp.take_along_axis(x, xp.broadcast_to(xp.expand_dims(order, axis=-1), x.shape), axis=-2)


def _triangles(xp, y):
    """L with ones on its diagonal, and U, of a square factorisation."""
    return xp.tril(y, k=-1) + identity(xp, y.shape[-1], y), xp.triu(y)


def _lu_pull(xp, g, y):
    lower, upper = _triangles(xp, y)
    inner = xp.tril(xp.matmul(adjoint(xp, lower), xp.tril(g, k=-1)), k=-1)
    inner = inner + xp.triu(xp.matmul(xp.triu(g), adjoint(xp, upper)))
    left = xp.linalg.solve_triangular(adjoint(xp, lower), inner, upper=True, unitriangular=True)
    return xp.linalg.solve_triangular(adjoint(xp, upper), left, upper=False, left=False)


def _lu_push(xp, t, y):
    lower, upper = _triangles(xp, y)
    inner = xp.linalg.solve_triangular(lower, t, upper=False, unitriangular=True)
    inner = xp.linalg.solve_triangular(upper, inner, upper=True, left=False)
    return xp.matmul(lower, xp.tril(inner, k=-1)) + xp.matmul(xp.triu(inner), upper)


@general(
    x=(_lu_pull, _lu_push),
    name="linalg.lu_unpivoted",
    cases=[case(separated((2, 3, 3))), case((1, 1))],
)
def lu_unpivoted(xp, x, /):
    """L (without its ones) and U of square matrices in one matrix, by elimination in the given order of rows."""
    for j in range(x.shape[-1] - 1):
        x = _eliminated(xp, x, j)
    return x


def _factored(xp, A, pivot):
    """L and U in one matrix, the order of rows, and the exchanges."""
    m, n = A.shape[-2:]
    k = min(m, n)
    if pivot:
        order, pivots = xp.linalg.lu_order(A)
        A = _rows(xp, A, order)
    else:
        order = xp.arange(m, dtype=xp.int64, device=xp.device(A))
        pivots = xp.broadcast_to(xp.astype(order[:k] + 1, xp.int32), (*A.shape[:-2], k))
    y = xp.linalg.lu_unpivoted(A[..., :k, :k])
    if n > k:
        right = xp.linalg.solve_triangular(y, A[..., :, k:], upper=False, unitriangular=True)
        return xp.concat([y, right], axis=-1), order, pivots
    if m > k:
        below = xp.linalg.solve_triangular(y, A[..., k:, :], upper=True, left=False)
        return xp.concat([y, below], axis=-2), order, pivots
    return y, order, pivots


@composite(
    name="linalg.lu_factor",
    cases=[case(separated((3, 3))), case(separated((2, 4, 3))), case(separated((2, 4)))],
)
def lu_factor(xp, A, *, pivot=True):
    """L and U of A = P @ L @ U in one matrix, and the row exchanges (int32, from 1) that P stands for: a named tuple.

    The factors are computed row by row in array operations, for matrices of modest size.
    """
    y, _, pivots = _factored(xp, A, pivot)
    return LUFactors(y, pivots)


@composite(name="linalg.lu", cases=[case(separated((3, 3))), case(separated((4, 3))), case(separated((2, 2, 3)))])
def lu(xp, A, *, pivot=True):
    """A = P @ L @ U with a permutation, a unit lower and an upper triangular matrix (a named tuple); P is empty unless `pivot`."""
    m, n = A.shape[-2:]
    k = min(m, n)
    y, order, _ = _factored(xp, A, pivot)
    lower = xp.tril(y[..., :, :k], k=-1) + xp.eye(m, k, dtype=A.dtype, device=xp.device(A))
    if not pivot:
        return LU(xp.zeros((0,), dtype=A.dtype, device=xp.device(A)), lower, xp.triu(y[..., :k, :]))
    rows = xp.reshape(xp.arange(m, dtype=xp.int64, device=xp.device(A)), (m, 1))
    permutation = xp.astype(xp.expand_dims(order, axis=-2) == rows, A.dtype)
    return LU(permutation, lower, xp.triu(y[..., :k, :]))


@composite(
    name="linalg.lu_solve",
    dtypes="floating",
    cases=[
        case(separated((3, 3)), None, (3, 2)),
        case(separated((2, 3, 3)), None, (2, 2, 3), left=False, adjoint=True),
    ],
)
def lu_solve(xp, LU, pivots, B, *, left=True, adjoint=False):
    """The solution of A @ X = B (X @ A = B unless `left`; A^H in A's place if `adjoint`) by the results of `lu_factor`.

    Pivots of None stand for no exchange of rows.
    """
    if not left:  # X @ A = B is A^H @ X^H = B^H
        flipped = xp.linalg.lu_solve(LU, pivots, xp.matrix_transpose(xp.conj(B)), adjoint=not adjoint)
        return xp.matrix_transpose(xp.conj(flipped))
    n = LU.shape[-1]
    order = xp.broadcast_to(xp.arange(n, dtype=xp.int64, device=xp.device(LU)), (*LU.shape[:-2], n))
    for j in range(n if pivots is not None else 0):
        order = _exchanged(xp, order, j, xp.astype(pivots[..., j : j + 1], xp.int64) - 1)
    batch = xp.broadcast_shapes(LU.shape[:-2], B.shape[:-2])
    B = xp.broadcast_to(B, (*batch, *B.shape[-2:]))
    order = xp.broadcast_to(order, (*batch, n))
    solve = xp.linalg.solve_triangular
    if not adjoint:
        y = solve(LU, _rows(xp, B, order), upper=False, unitriangular=True)
        return solve(LU, y, upper=True)
    turned = xp.matrix_transpose(xp.conj(LU))
    y = solve(turned, solve(turned, B, upper=False), upper=True, unitriangular=True)
    return _rows(xp, y, xp.argsort(order, axis=-1))


# ------------------------------------------------------------------------------------------------ tensors as matrices


@composite(name="linalg.tensorinv", cases=[case((2, 2, 4)), case((4, 2, 2), 1)])
def tensorinv(xp, A, ind=2):
    """The inverse of A as a map from its last axes to its first `ind` ones.

    Raises RuntimeError where the products of both groups of sizes differ.
    """
    front, back = tuple(A.shape[:ind]), tuple(A.shape[ind:])
    n = math.prod(front)
    if ind < 1 or n != math.prod(back):
        raise RuntimeError(f"tensorinv: shape {tuple(A.shape)} does not split at {ind} into two groups of one product")
    return xp.reshape(xp.linalg.inv(xp.reshape(A, (n, n))), back + front)


@composite(
    name="linalg.tensorsolve",
    cases=[case((2, 2, 4), (2, 2)), case((4, 2, 2), (4,)), case((2, 4, 2), (2, 2), dims=(1,))],
)
def tensorsolve(xp, A, B, dims=None):
    """The X with tensordot(A, X, axes=X.ndim) = B, after the axes `dims` of A are moved to its end.

    Raises RuntimeError where A is no square map onto tensors like B.
    """
    if dims is not None:
        A = xp.moveaxis(A, tuple(dims), tuple(range(-len(dims), 0)))
    shape, n = tuple(A.shape[len(B.shape) :]), math.prod(B.shape)
    if tuple(A.shape[: len(B.shape)]) != tuple(B.shape) or math.prod(shape) != n:
        raise RuntimeError(
            f"tensorsolve: A of shape {tuple(A.shape)} is no square map onto tensors of shape {tuple(B.shape)}"
        )
    return xp.reshape(xp.linalg.solve(xp.reshape(A, (n, n)), xp.reshape(B, (n,))), shape)


@composite(dtypes="numeric", cases=[((2, 3), (3, 4), (4, 2))])
def chain_matmul(xp, *matrices):
    """The product of several matrices in the order that takes the fewest multiplications."""
    return xp.linalg.multi_dot(list(matrices)) if len(matrices) > 1 else matrices[0]
