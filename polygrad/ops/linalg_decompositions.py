"""Matrix decompositions.

A decomposition leaves something open: signs or phases of vectors, and the basis within a repeated eigenvalue or singular
value. Where a loss does not depend on it the derivative is finite, also at repeated values: the quotient 0 / 0 of the
formula counts as 0 there. Where a loss depends on the basis within a repeated value its derivative does not exist: NaN with a
RuntimeWarning. Where it depends on a phase it is ill-defined everywhere: RuntimeError, as in PyTorch. (Under a compiler there
are no values to look at, and both give NaN.)

A function of a matrix such as V f(L) V^H is smooth at repeated eigenvalues, but its derivative there is not a function of the
cotangents of L and V alone; the result is right for perturbations that keep the eigenvalues equal or split them along V.
"""

from __future__ import annotations

import warnings
from collections import namedtuple

from polygrad.core import case, composite, general, hermitian, separated
from polygrad.ops.elementwise import as_complex
from polygrad.ops.linalg_parts import (
    adjoint,
    as_diagonal,
    check_free,
    column,
    eps_of,
    hermitian_part,
    holds,
    identity,
    on_diagonal,
    over,
    over_if_zero,
    row,
    skew_part,
    tolerance,
)


class EighResult(namedtuple("EighResult", "eigenvalues eigenvectors")):
    """Eigenvalues in ascending order, and the eigenvectors as columns."""

    __slots__ = ()


class EigResult(namedtuple("EigResult", "eigenvalues eigenvectors")):
    """Complex eigenvalues in no particular order, and the eigenvectors as columns of norm one."""

    __slots__ = ()


class SVDResult(namedtuple("SVDResult", "U S Vh")):
    """x = U @ diag(S) @ Vh, the singular values in descending order."""

    __slots__ = ()


class QRResult(namedtuple("QRResult", "Q R")):
    """x = Q @ R with orthonormal columns in Q and an upper triangular R."""

    __slots__ = ()


REPEATED = (
    "linalg.{}: the loss depends on the basis chosen within a repeated {} (or one that is zero), "
    "so its derivative does not exist there; it is NaN"
)
PHASE = (
    "linalg.{}: the {} are determined up to a factor e^(i phi) only, and the loss depends on it, so it is ill-defined; "
    "use a function that does not, such as the absolute value or V V^H"
)


# ------------------------------------------------------------------------------------------------------ cholesky


def _half_triangle(xp, x):
    """The lower triangle with half the diagonal."""
    return xp.where(on_diagonal(xp, x.shape[-1], x), 0.5 * x, xp.tril(x))


def _between_inverses(xp, low, x):
    """L^-1 x L^-H."""
    x = xp.linalg.solve_triangular(low, x, upper=False)
    return adjoint(xp, xp.linalg.solve_triangular(low, adjoint(xp, x), upper=False))


def _cholesky_pull(xp, g, y, upper):
    low, g = (adjoint(xp, y), adjoint(xp, g)) if upper else (y, g)
    up = adjoint(xp, low)
    inner = _half_triangle(xp, xp.matmul(up, g))
    inner = xp.linalg.solve_triangular(up, inner, upper=True)
    inner = adjoint(xp, xp.linalg.solve_triangular(up, adjoint(xp, inner), upper=True))
    return hermitian_part(xp, inner)


def _cholesky_push(xp, t, y, upper):
    low = adjoint(xp, y) if upper else y
    moved = xp.matmul(low, _half_triangle(xp, _between_inverses(xp, low, hermitian_part(xp, t))))
    return adjoint(xp, moved) if upper else moved


@general(
    x=(_cholesky_pull, _cholesky_push),
    name="linalg.cholesky",
    cases=[
        case(hermitian((3, 3))),
        case(hermitian((3, 3)), upper=True),
        case(hermitian((2, 4, 4))),
        case(hermitian((0, 3, 3))),
    ],
)
def cholesky(xp, x, /, *, upper=False):
    """The lower triangular L with positive diagonal and L @ L^H = x, or L^H if `upper`, for a Hermitian positive definite x.

    Reads (x + x^H) / 2, so both triangles share the gradient. Raises the library's error (or gives NaN) where x is not
    positive definite. Derivative: Murray, Differentiation of the Cholesky decomposition, 2016.
    """
    return xp.raw.linalg.cholesky(hermitian_part(xp, x), upper=upper)


# ---------------------------------------------------------------------------------------------------------- eigh


def _gaps(xp, values):
    """values_j - values_i, and the size below which a gap counts as none."""
    small = 8 * eps_of(xp, values) * row(xp, xp.sum(xp.abs(values), axis=-1, keepdims=True))
    return row(xp, values) - column(xp, values), small


def _eigh_pull(xp, g, y):
    values, vectors = y
    n = skew_part(xp, xp.matmul(adjoint(xp, vectors), g[1]))
    gap, small = _gaps(xp, values)
    allowed = tolerance(xp, g[1])
    if xp.is_complex(n):
        check_free(xp, xp.linalg.diagonal(n), allowed[..., 0], PHASE.format("eigh", "eigenvectors"))
    inner = over_if_zero(xp, n, gap, small, allowed, REPEATED.format("eigh", "eigenvalue"))
    inner = inner + as_diagonal(xp, g[0])
    return xp.matmul(vectors, xp.matmul(inner, adjoint(xp, vectors)))


def _eigh_push(xp, t, y):
    values, vectors = y
    m = xp.matmul(adjoint(xp, vectors), xp.matmul(hermitian_part(xp, t), vectors))
    gap, small = _gaps(xp, values)
    return xp.real(xp.linalg.diagonal(m)), xp.matmul(vectors, over(xp, m, gap, small))


def _weights(xp, n, like):
    """1, 2, 3 ... in the real type of `like`."""
    return xp.astype(xp.arange(1, n + 1, device=xp.device(like)), xp.real(like).dtype)


def _unphased_eigh(xp, y):
    """The eigenvalues and V diag(1, 2 ...) V^H."""
    values, v = y
    return values, xp.matmul(v * _weights(xp, v.shape[-1], v), adjoint(xp, v))


@general(
    x=(_eigh_pull, _eigh_push),
    name="linalg.eigh",
    cases=[
        case(hermitian((4, 4)), invariant=_unphased_eigh),
        case(hermitian((2, 3, 3)), invariant=_unphased_eigh),
        case(hermitian((1, 1)), invariant=_unphased_eigh),
    ],
)
def eigh(xp, x, /):
    """Eigenvalues (ascending) and orthonormal eigenvectors (columns) of a Hermitian x: a named tuple.

    Reads (x + x^H) / 2, so both triangles share the gradient.
    """
    return EighResult(*xp.raw.linalg.eigh(hermitian_part(xp, x)))


def _between(xp, left, d, right):
    """left @ diag(d) @ right^H."""
    return xp.matmul(left * row(xp, d), adjoint(xp, right))


def _eigvalsh_pull(xp, g, x):
    v = xp.linalg.eigh(x)[1]
    return _between(xp, v, g, v)


def _eigvalsh_push(xp, t, x):
    v = xp.linalg.eigh(x)[1]
    return xp.real(xp.sum(xp.conj(v) * xp.matmul(hermitian_part(xp, t), v), axis=-2))


@general(
    x=(_eigvalsh_pull, _eigvalsh_push),
    name="linalg.eigvalsh",
    cases=[case(hermitian((4, 4))), case(hermitian((2, 3, 3)))],
)
def eigvalsh(xp, x, /):
    """Eigenvalues of a Hermitian x in ascending order. Reads (x + x^H) / 2, so both triangles share the gradient."""
    return xp.raw.linalg.eigvalsh(hermitian_part(xp, x))


# ----------------------------------------------------------------------------------------------------------- eig


def _eig_pull(xp, g, y):
    values, v = y
    n = xp.matmul(adjoint(xp, v), g[1])
    d = xp.linalg.diagonal(n)
    allowed = tolerance(xp, g[1])
    check_free(xp, xp.imag(d), allowed[..., 0], PHASE.format("eig", "eigenvectors"))
    n = n - xp.matmul(adjoint(xp, v), v) * row(xp, xp.real(d))  # the columns keep their norm
    n = xp.where(on_diagonal(xp, v.shape[-1], v), 0, n)
    gap, small = _gaps(xp, values)
    inner = over_if_zero(xp, n, xp.conj(gap), small, allowed, REPEATED.format("eig", "eigenvalue"))
    inner = inner + as_diagonal(xp, g[0])
    return xp.linalg.solve(adjoint(xp, v), xp.matmul(inner, adjoint(xp, v)))


def _eig_push(xp, t, y):
    values, v = y
    m = xp.linalg.solve(v, xp.matmul(xp.astype(t, v.dtype), v))
    gap, small = _gaps(xp, values)
    moved = xp.matmul(v, over(xp, m, gap, small))
    along = xp.real(xp.sum(xp.conj(v) * moved, axis=-2))
    return xp.linalg.diagonal(m), moved - v * row(xp, along)


def _ranked(xp, values):
    """The permutation, as a matrix of ones, that orders complex numbers by their real and then imaginary part."""
    key = xp.real(values) + 1e-3 * xp.imag(values)
    order = xp.argsort(key, axis=-1)
    places = xp.arange(values.shape[-1], device=xp.device(values))
    return xp.astype(column(xp, order) == places, values.dtype)


def _unphased_eig(xp, y):
    """The eigenvalues in order, V diag(eigenvalues) V^-1, and the absolute values of the eigenvectors."""
    values, v = y
    order = _ranked(xp, values)
    sorted_values = xp.sum(order * row(xp, values), axis=-1)
    squares = xp.real(xp.conj(v) * v)
    again = xp.matmul(v * row(xp, values * values), xp.linalg.inv(v))
    return sorted_values, again, xp.matmul(squares, xp.real(xp.matrix_transpose(order)))


@general(
    x=(_eig_pull, _eig_push),
    name="linalg.eig",
    cases=[
        case(separated((4, 4)), invariant=_unphased_eig),
        case(separated((2, 3, 3)), invariant=_unphased_eig),
        case((4, 4), invariant=_unphased_eig),
    ],
)
def eig(xp, x, /):
    """Complex eigenvalues and eigenvectors (columns of norm one) of a square x, in no particular order: a named tuple.

    The derivative is NaN or large where x cannot (or hardly) be diagonalised.
    """
    values, vectors = xp.raw.linalg.eig(x)
    return EigResult(as_complex(xp, values), as_complex(xp, vectors))


# The library's eigvals may order the eigenvalues otherwise than its eig, whose vectors the derivative needs.
@composite(
    name="linalg.eigvals",
    cases=[
        case(separated((4, 4)), invariant=lambda xp, y: xp.sum(_ranked(xp, y) * row(xp, y), axis=-1)),
        case((2, 3, 3), invariant=lambda xp, y: xp.sum(_ranked(xp, y) * row(xp, y), axis=-1)),
    ],
)
def eigvals(xp, x, /):
    """Complex eigenvalues of a square x, in no particular order."""
    return xp.linalg.eig(x)[0]


# ----------------------------------------------------------------------------------------------------------- svd


def _narrow(x, k):
    """The first k columns and the others."""
    return x[..., :, :k], x[..., :, k:]


def _sums(xp, s):
    return row(xp, s) + column(xp, s), 8 * eps_of(xp, s) * row(xp, xp.sum(s, axis=-1, keepdims=True))


SVD_REPEATED = REPEATED.format("svd", "singular value")
SVD_BASIS = (
    "linalg.svd: with full_matrices the vectors beyond the rank are an arbitrary basis of a complement, and the loss "
    "depends on which, so it is ill-defined"
)


def _out_of_range(xp, g, u, k, s, small, allowed):
    """What a cotangent of orthonormal columns u gives outside the span of the first k, over the singular values."""
    (u1, u2), (g1, g2) = _narrow(u, k), _narrow(g, k)
    out = g1 - xp.matmul(u1, xp.matmul(adjoint(xp, u1), g1))
    if u2.shape[-1]:
        check_free(xp, skew_part(xp, xp.matmul(adjoint(xp, u2), g2)), allowed, SVD_BASIS)
        out = out - xp.matmul(u2, xp.matmul(adjoint(xp, g2), u1))
    return over_if_zero(xp, out, row(xp, s), small, allowed, SVD_REPEATED)


# The formula's 1 / (sj^2 - si^2) is split into 1 / (sj - si) and 1 / (sj + si): the first belongs to turning u and v
# together, which is free where sj = si; the second to turning one against the other, and is regular there.
def _svd_pull(xp, g, y):
    u, s, vh = y
    k, v, gv = s.shape[-1], adjoint(xp, vh), adjoint(xp, g[2])
    (u1, _), (v1, _) = _narrow(u, k), _narrow(v, k)
    a = skew_part(xp, xp.matmul(adjoint(xp, u1), g[0][..., :, :k]))
    b = skew_part(xp, xp.matmul(adjoint(xp, v1), gv[..., :, :k]))
    (gap, small), (total, _) = _gaps(xp, s), _sums(xp, s)
    allowed = tolerance(xp, g[0]) + tolerance(xp, gv)
    if xp.is_complex(u):
        check_free(xp, xp.linalg.diagonal(a + b), allowed[..., 0], PHASE.format("svd", "singular vectors"))
    inner = over_if_zero(xp, a + b, gap, small, allowed, SVD_REPEATED)
    inner = inner + over_if_zero(xp, a - b, total, small, allowed, SVD_REPEATED) + as_diagonal(xp, g[1])
    left = xp.matmul(u1, inner)
    if u.shape[-2] > k:
        left = left + _out_of_range(xp, g[0], u, k, s, small, allowed)
    pulled = xp.matmul(left, adjoint(xp, v1))
    if v.shape[-2] > k:
        pulled = pulled + xp.matmul(u1, adjoint(xp, _out_of_range(xp, gv, v, k, s, small, allowed)))
    return pulled


def _moved(xp, u, turn, out, k, s, small):
    """The tangent of orthonormal columns u: a turn within the first k, and `out` over s outside their span."""
    u1, u2 = _narrow(u, k)
    moved = xp.matmul(u1, turn)
    if u.shape[-2] == k:
        return moved
    out = over(xp, out - xp.matmul(u1, xp.matmul(adjoint(xp, u1), out)), row(xp, s), small)
    moved = moved + out
    if u2.shape[-1]:
        moved = xp.concat([moved, -xp.matmul(u1, adjoint(xp, xp.matmul(adjoint(xp, u2), out)))], axis=-1)
    return moved


def _svd_push(xp, t, y):
    u, s, vh = y
    k, v = s.shape[-1], adjoint(xp, vh)
    (u1, _), (v1, _) = _narrow(u, k), _narrow(v, k)
    tv = xp.matmul(t, v1)
    m = xp.matmul(adjoint(xp, u1), tv)
    (gap, small), (total, _) = _gaps(xp, s), _sums(xp, s)
    together = over(xp, hermitian_part(xp, m), gap, small)
    against = over(xp, skew_part(xp, m), total, small)
    du = _moved(xp, u, together + against, tv, k, s, small)
    dv = _moved(xp, v, together - against, xp.matmul(adjoint(xp, t), u1), k, s, small)
    return du, xp.real(xp.linalg.diagonal(m)), adjoint(xp, dv)


def _unphased_svd(xp, y):
    """The singular values, U diag(1, 2 ...) V^H, and the projectors on the complements of the ranges."""
    u, s, vh = y
    k = s.shape[-1]
    (u1, u2), (v1, v2) = _narrow(u, k), _narrow(adjoint(xp, vh), k)
    product = xp.matmul(u1 * _weights(xp, k, u), adjoint(xp, v1))
    return (s, product, *[xp.matmul(w, adjoint(xp, w)) for w in (u2, v2) if w.shape[-1]])


@general(
    x=(_svd_pull, _svd_push),
    name="linalg.svd",
    cases=[
        case(separated((3, 3)), invariant=_unphased_svd),
        case(separated((4, 3)), full_matrices=False, invariant=_unphased_svd),
        case(separated((2, 5)), full_matrices=False, invariant=_unphased_svd),
        case(separated((2, 5, 3)), invariant=_unphased_svd),
        case(separated((2, 4)), full_matrices=True, invariant=_unphased_svd),
    ],
    order=("full_matrices",),
)
def svd(xp, x, /, *, full_matrices=True):
    """Singular value decomposition x = U @ diag(S) @ Vh: a named tuple, S in descending order.

    For x of shape (..., m, n), k = min(m, n): S is (..., k), U is (..., m, m) and Vh (..., n, n) with `full_matrices`, else
    (..., m, k) and (..., k, n).
    """
    return SVDResult(*xp.raw.linalg.svd(x, full_matrices=full_matrices))


def _svdvals_pull(xp, g, x):
    u, _, vh = xp.linalg.svd(x, full_matrices=False)
    return xp.matmul(u * row(xp, g), vh)


def _svdvals_push(xp, t, x):
    u, _, vh = xp.linalg.svd(x, full_matrices=False)
    return xp.real(xp.sum(xp.conj(u) * xp.matmul(t, adjoint(xp, vh)), axis=-2))


@general(
    x=(_svdvals_pull, _svdvals_push),
    name="linalg.svdvals",
    cases=[case(separated((3, 3))), case(separated((2, 4, 2))), case(separated((2, 4)))],
)
def svdvals(xp, x, /):
    """Singular values in descending order."""
    return xp.raw.linalg.svdvals(x)


# ------------------------------------------------------------------------------------------------------------ qr


RANK = "linalg.qr: the matrix has not full rank (to rounding), so Q is not unique and its derivative does not exist; it is NaN"


def _invertible(xp, r):
    """R, the identity in place of one that is singular to rounding, and 1 or NaN accordingly."""
    d = xp.abs(xp.linalg.diagonal(r))
    total = xp.sum(d, axis=-1, keepdims=True)
    small = 8 * r.shape[-1] * eps_of(xp, r) * total  # what elimination leaves of an exact zero, as a rule
    singular = row(xp, xp.any(d <= small, axis=-1, keepdims=True))
    if holds(xp.any(singular)):
        warnings.warn(RANK, RuntimeWarning, stacklevel=2)
    one = identity(xp, r.shape[-1], r)
    return xp.where(singular, one, r), xp.where(singular, xp.nan, row(xp, xp.ones_like(total)))


def _times_inverse(xp, x, r, conjugate=False):
    """x @ R^-1, or x @ R^-H."""
    other = r if conjugate else adjoint(xp, r)
    return adjoint(xp, xp.linalg.solve_triangular(other, adjoint(xp, x), upper=conjugate))


def _imaginary_diagonal(xp, x):
    d = as_diagonal(xp, xp.linalg.diagonal(x))
    return 0.5 * (d - xp.conj(d))


QR_BASIS = (
    'linalg.qr: with mode="complete" the columns of Q beyond those of x are an arbitrary basis of a complement, and the loss '
    "depends on which, so it is ill-defined"
)


def _tall_pull(xp, gq, gr, q, r):
    """The cotangent of a matrix with full column rank; q may have columns beyond its range."""
    n = r.shape[-1]
    (q1, q2), (g1, g2) = _narrow(q, n), _narrow(gq, n)
    r, one = _invertible(xp, r[..., :n, :])
    inner = xp.matmul(adjoint(xp, q1), g1) - xp.matmul(gr[..., :n, :], adjoint(xp, r))
    upper = xp.triu(inner, k=1)
    middle = upper + adjoint(xp, upper) + as_diagonal(xp, xp.real(xp.linalg.diagonal(inner)))
    out = g1 - xp.matmul(q1, middle)
    if q2.shape[-1]:
        allowed = tolerance(xp, gq)
        check_free(xp, skew_part(xp, xp.matmul(adjoint(xp, q2), g2)), allowed, QR_BASIS)
        out = out - xp.matmul(q2, xp.matmul(adjoint(xp, g2), q1))
    return _times_inverse(xp, out, r, conjugate=True) * one


def _qr_pull(xp, g, y):
    q, r = y
    (gq, gr), m = g, q.shape[-2]
    if r.shape[-1] <= m:
        return _tall_pull(xp, gq, gr, q, r)
    (r1, r2), (gr1, gr2) = _narrow(r, m), _narrow(gr, m)
    gq = gq + xp.matmul(q, xp.matmul(r2, adjoint(xp, gr2)))
    return xp.concat([_tall_pull(xp, gq, gr1, q, r1), xp.matmul(q, gr2)], axis=-1)


def _tall_push(xp, t, q, r):
    m, n = q.shape[-2], r.shape[-1]
    q1, q2 = _narrow(q, n)
    r1, one = _invertible(xp, r[..., :n, :])
    ratio = _times_inverse(xp, t, r1) * one
    c = xp.matmul(adjoint(xp, q1), ratio)
    lower = xp.tril(c, k=-1)
    turn = lower - adjoint(xp, lower)
    if xp.is_complex(c):
        turn = turn + _imaginary_diagonal(xp, c)
    dq, dr = xp.matmul(q1, turn), xp.triu(xp.matmul(c - turn, r1))
    if m > n:
        dq = dq + ratio - xp.matmul(q1, c)
    if q2.shape[-1]:
        dq = xp.concat([dq, -xp.matmul(q1, adjoint(xp, xp.matmul(adjoint(xp, q2), ratio)))], axis=-1)
        dr = xp.concat([dr, xp.zeros_like(r[..., n:, :])], axis=-2)
    return dq, dr


def _qr_push(xp, t, y):
    q, r = y
    m = q.shape[-2]
    if r.shape[-1] <= m:
        return _tall_push(xp, t, q, r)
    (r1, r2), (t1, t2) = _narrow(r, m), _narrow(t, m)
    dq, dr1 = _tall_push(xp, t1, q, r1)
    dr2 = xp.matmul(adjoint(xp, dq), xp.matmul(q, r2)) + xp.matmul(adjoint(xp, q), t2)
    return dq, xp.concat([dr1, dr2], axis=-1)


def _unsigned_qr(xp, y):
    """Q diag(1, 2 ...) D and D R, where D makes the diagonal of R positive, and the projector on the complement."""
    q, r = y
    k = r.shape[-1] if r.shape[-1] < r.shape[-2] else r.shape[-2]
    (q1, q2), r = _narrow(q, k), r[..., :k, :]
    signs = xp.sign(xp.linalg.diagonal(r))
    parts = (q1 * row(xp, signs), xp.conj(column(xp, signs)) * r)
    return (*parts, xp.matmul(q2, adjoint(xp, q2))) if q2.shape[-1] else parts


@general(
    x=(_qr_pull, _qr_push),
    name="linalg.qr",
    cases=[
        case(separated((3, 3)), invariant=_unsigned_qr),
        case(separated((4, 3)), invariant=_unsigned_qr),
        case(separated((2, 2, 4)), invariant=_unsigned_qr),
        case(separated((4, 2)), mode="complete", invariant=_unsigned_qr),
        case(separated((2, 4)), mode="complete", invariant=_unsigned_qr),
    ],
    order=("mode",),
)
def qr(xp, x, /, *, mode="reduced"):
    """x = Q @ R with orthonormal columns in Q and an upper triangular R: a named tuple.

    For x of shape (..., m, n): Q is (..., m, k) and R (..., k, n) with k = min(m, n), or k = m for mode "complete".
    The derivative needs the first k columns of x to be independent; otherwise it is NaN, with a RuntimeWarning.
    Derivative: Walter, Lehmann and Lamour, On evaluating higher-order derivatives of the QR decomposition, 2012.
    """
    return QRResult(*xp.raw.linalg.qr(x, mode=mode))
