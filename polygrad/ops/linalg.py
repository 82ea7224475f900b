"""Linear algebra: solving, determinants, norms, products and diagonals."""

from __future__ import annotations

from collections import namedtuple

from polygrad.core import alias, case, composite, discrete, general, linear, separated
from polygrad.ops.linalg_parts import (
    adjoint,
    column,
    eps_of,
    identity,
    on_diagonal,
    row,
)
from polygrad.ops.products import matmul, tensordot, vecdot
from polygrad.ops.reductions import restore
from polygrad.ops.shapes import matrix_transpose

alias("linalg.matmul", matmul)
alias("linalg.tensordot", tensordot)
alias("linalg.vecdot", vecdot)
alias("linalg.matrix_transpose", matrix_transpose)


# --------------------------------------------------------------------------------------------------------- solving


@general(
    x=(
        lambda xp, g, y: -xp.matmul(adjoint(xp, y), xp.matmul(g, adjoint(xp, y))),
        lambda xp, t, y: -xp.matmul(y, xp.matmul(t, y)),
    ),
    name="linalg.inv",
    cases=[case(separated((3, 3))), case(separated((2, 4, 4))), case(separated((0, 2, 2)))],
)
def inv(x, /):
    """The inverse of each matrix. The library's error (or infinities) where one is singular."""


def _as_columns(xp, x, x2_shape):
    """A right side or solution with its vectors as one-column matrices (the standard: a vector is what has one axis)."""
    return column(xp, x) if len(x2_shape) == 1 else x


def _solve_adjoint(xp, g, x1, x2_shape):
    """x1^-H g, with vectors as columns."""
    return xp.linalg.solve(adjoint(xp, x1), _as_columns(xp, g, x2_shape))


def _solve_pull_matrix(xp, g, x1, y, x2_shape):
    back = _solve_adjoint(xp, g, x1, x2_shape)
    return -xp.matmul(back, adjoint(xp, _as_columns(xp, y, x2_shape)))


def _solve_pull_right(xp, g, x1, x2_shape):
    back = _solve_adjoint(xp, g, x1, x2_shape)
    return back[..., 0] if len(x2_shape) == 1 else back


def _solve_push_matrix(xp, t, x1, y, x2_shape):
    moved = -xp.linalg.solve(x1, xp.matmul(t, _as_columns(xp, y, x2_shape)))
    return moved[..., 0] if len(x2_shape) == 1 else moved


@general(
    x1=(_solve_pull_matrix, _solve_push_matrix),
    x2=(_solve_pull_right, lambda xp, t, x1: xp.linalg.solve(x1, t)),
    name="linalg.solve",
    cases=[
        case(separated((3, 3)), (3,)),
        case(separated((3, 3)), (3, 2)),
        case(separated((2, 3, 3)), (3, 2)),
        case(separated((2, 3, 3)), (3,)),
        case(separated((3, 3)), (2, 3, 4)),
    ],
)
def solve(x1, x2, /):
    """The solution of x1 @ y = x2, where an x2 with one axis is a vector and any other a stack of matrices.

    The library's error (or infinities) where x1 is singular.
    """


def _triangle(xp, x, upper, unitriangular):
    """The triangle that is read, as it counts for derivatives: without a diagonal that is taken for ones."""
    if upper:
        return xp.triu(x, k=1 if unitriangular else 0)
    return xp.tril(x, k=-1 if unitriangular else 0)


def _across(xp, g, x1, upper, left, unitriangular):
    """The solution with x1^H in place of x1."""
    return xp.linalg.solve_triangular(adjoint(xp, x1), g, upper=not upper, left=left, unitriangular=unitriangular)


def _triangular_pull(xp, g, x1, y, upper, left, unitriangular):
    back = _across(xp, g, x1, upper, left, unitriangular)
    full = xp.matmul(back, adjoint(xp, y)) if left else xp.matmul(adjoint(xp, y), back)
    return -_triangle(xp, full, upper, unitriangular)


def _triangular_push(xp, t, x1, y, upper, left, unitriangular):
    t = _triangle(xp, t, upper, unitriangular)
    moved = xp.matmul(t, y) if left else xp.matmul(y, t)
    return -xp.linalg.solve_triangular(x1, moved, upper=upper, left=left, unitriangular=unitriangular)


@general(
    x1=(_triangular_pull, _triangular_push),
    x2=(
        _across,
        lambda xp, t, x1, upper, left, unitriangular: xp.linalg.solve_triangular(
            x1, t, upper=upper, left=left, unitriangular=unitriangular
        ),
    ),
    name="linalg.solve_triangular",
    cases=[
        case(separated((3, 3)), (3, 2), upper=True),
        case(separated((2, 3, 3)), (3, 2), upper=False),
        case(separated((3, 3)), (2, 3), upper=False, left=False),
        case(separated((3, 3)), (3, 2), upper=True, unitriangular=True),
    ],
)
def solve_triangular(xp, x1, x2, /, *, upper, left=True, unitriangular=False):
    """The solution of x1 @ y = x2 (y @ x1 = x2 unless `left`), reading only one triangle of x1.

    With `unitriangular` the diagonal is taken for ones. Both operands are stacks of matrices.
    """
    x1 = _triangle(xp, x1, upper, unitriangular)
    if unitriangular:
        x1 = x1 + identity(xp, x1.shape[-1], x1)
    if left:
        return xp.linalg.solve(x1, x2)
    return xp.matrix_transpose(xp.linalg.solve(xp.matrix_transpose(x1), xp.matrix_transpose(x2)))


def _off_range(xp, x, y):
    """The projectors on the complements of the ranges of x and of y, its pseudoinverse."""
    return identity(xp, x.shape[-2], x) - xp.matmul(x, y), identity(xp, x.shape[-1], x) - xp.matmul(y, x)


def _pinv_pull(xp, g, x, y):
    up, gh = adjoint(xp, y), adjoint(xp, g)
    rows, columns = _off_range(xp, x, y)
    return (
        xp.matmul(rows, xp.matmul(gh, xp.matmul(y, up)))
        + xp.matmul(xp.matmul(up, y), xp.matmul(gh, columns))
        - xp.matmul(up, xp.matmul(g, up))
    )


def _pinv_push(xp, t, x, y):
    up, th = adjoint(xp, y), adjoint(xp, t)
    rows, columns = _off_range(xp, x, y)
    return (
        xp.matmul(y, xp.matmul(up, xp.matmul(th, rows)))
        + xp.matmul(columns, xp.matmul(th, xp.matmul(up, y)))
        - xp.matmul(y, xp.matmul(t, y))
    )


def _plain(value):
    """The array inside a parameter that may be a tensor."""
    return getattr(value, "_array", value)


@general(
    x=(_pinv_pull, _pinv_push),
    name="linalg.pinv",
    cases=[
        case(separated((3, 3))),
        case(separated((4, 2))),
        case(separated((2, 2, 4))),
        case(separated((3, 2)), rtol=1e-3),
    ],
)
def pinv(xp, x, /, *, rtol=None):
    """The Moore-Penrose pseudoinverse; singular values up to `rtol` times the largest count as zero.

    The derivative is that along matrices of the same rank: Golub and Pereyra, 1973.
    """
    return xp.raw.linalg.pinv(x) if rtol is None else xp.raw.linalg.pinv(x, rtol=_plain(rtol))


@discrete(dtypes="floating", name="linalg.matrix_rank", cases=[case(separated((3, 4))), case(separated((2, 3, 3)))])
def matrix_rank(xp, x, /, *, rtol=None):
    """How many singular values exceed `rtol` times the largest; 0 where there are none, for which most libraries fail."""
    if 0 in x.shape[-2:]:
        return xp.zeros(x.shape[:-2], dtype=xp.int64, device=xp.device(x))
    rank = xp.raw.linalg.matrix_rank
    return rank(x) if rtol is None else rank(x, rtol=_plain(rtol))


@composite(
    name="linalg.matrix_power",
    library=True,
    cases=[case(separated((3, 3)), n) for n in (0, 1, 2, 5, -1, -3)] + [case((2, 3, 3), 3)],
)
def matrix_power(xp, x, n, /):
    """The n-th power of each square matrix; negative powers are those of the inverse. Raises ValueError for others."""
    if len(x.shape) < 2 or x.shape[-1] != x.shape[-2]:
        raise ValueError(f"matrix_power takes square matrices, got shape {tuple(x.shape)}")
    if n == 0:  # constant, but as differentiable as the other powers
        return xp.where(xp.isnan(xp.zeros_like(x)), x, identity(xp, x.shape[-1], x))
    if n < 0:
        x, n = xp.linalg.inv(x), -n
    result = None
    while n:
        if n & 1:
            result = x if result is None else xp.matmul(result, x)
        n >>= 1
        if n:
            x = xp.matmul(x, x)
    return result


# ---------------------------------------------------------------------------------------------------- determinants


def _without(xp, s, excluded):
    """The products of all s but those that the boolean `excluded` (..., k) names."""
    return xp.prod(xp.where(excluded, 1, s), axis=-1)


def _rotations(xp, x):
    """U, S, V^H and the determinant of U V^H."""
    u, s, vh = xp.linalg.svd(x)
    return u, s, vh, xp.linalg.det(u) * xp.linalg.det(vh)


def _cofactor_map(xp, g, x):
    """The derivative of the matrix of cofactors in direction g; in the bases of the SVD it is made of products of all s but two.

    The map is its own transpose up to conjugation.
    """
    u, s, vh, phase = _rotations(xp, x)
    n = s.shape[-1]
    on = on_diagonal(xp, n, s)
    pairs = xp.logical_or(xp.expand_dims(on, axis=-2), xp.expand_dims(on, axis=-3))
    p = _without(xp, xp.expand_dims(row(xp, s), axis=-3), pairs)
    t = xp.matmul(adjoint(xp, u), xp.matmul(g, adjoint(xp, vh)))
    diagonal = xp.matmul(xp.where(on, 0, p), column(xp, xp.linalg.diagonal(t)))
    middle = xp.where(on, diagonal, -p * xp.matrix_transpose(t))
    phase = column(xp, column(xp, phase))
    return phase * xp.matmul(xp.conj(u), xp.matmul(middle, xp.conj(vh)))


def _cofactor_pull(xp, g, x):
    return xp.conj(_cofactor_map(xp, xp.conj(g), x))


@general(
    x=(_cofactor_pull, _cofactor_map),
    name="linalg.cofactors",
    cases=[case(separated((3, 3))), case((2, 4, 4)), case((1, 1)), case((2, 2))],
)
def cofactors(xp, x, /):
    """The matrix of cofactors, which is det(x) x^-T where x is invertible, and finite and exact where it is not.

    By the SVD x = U S V^H: det(U V^H) conj(U) P conj(V)^H, where P is diagonal and holds the products of all singular values
    but one.
    """
    u, s, vh, phase = _rotations(xp, x)
    p = _without(xp, row(xp, s), on_diagonal(xp, s.shape[-1], s))
    return column(xp, column(xp, phase)) * xp.matmul(xp.conj(u) * row(xp, p), xp.conj(vh))


def _matrix(xp, g):
    """One number a matrix, ready to broadcast against matrices."""
    return column(xp, column(xp, g))


@general(
    x=(
        lambda xp, g, x: _matrix(xp, g) * xp.conj(xp.linalg.cofactors(x)),
        lambda xp, t, x: xp.sum(t * xp.linalg.cofactors(x), axis=(-2, -1)),
    ),
    name="linalg.det",
    cases=[case(separated((3, 3))), case((2, 4, 4)), case((1, 1)), case((0, 0)), case((2, 0, 0))],
)
def det(x, /):
    """The determinant; its derivative is exact at singular matrices too."""


class SlogdetResult(namedtuple("SlogdetResult", "sign logabsdet")):
    """det = sign * exp(logabsdet)."""

    __slots__ = ()


def _inverse_or_nan(xp, x, sign):
    """The inverse, and NaN in place of that of a singular matrix."""
    singular = _matrix(xp, sign == 0)
    inverse = xp.linalg.inv(xp.where(singular, identity(xp, x.shape[-1], x), x))
    return xp.where(singular, xp.nan, inverse)


def _slogdet_pull(xp, g, x, y0):
    weight = g[1]
    if xp.is_complex(y0):
        turn = g[0] * xp.conj(y0)
        weight = weight + 0.5 * (turn - xp.conj(turn))
    return _matrix(xp, weight) * adjoint(xp, _inverse_or_nan(xp, x, y0))


def _slogdet_push(xp, t, x, y0):
    relative = xp.sum(xp.matrix_transpose(_inverse_or_nan(xp, x, y0)) * t, axis=(-2, -1))
    if not xp.is_complex(y0):
        return xp.zeros_like(relative), relative
    return 0.5 * y0 * (relative - xp.conj(relative)), xp.real(relative)


@general(
    x=(_slogdet_pull, _slogdet_push),
    name="linalg.slogdet",
    cases=[case(separated((3, 3))), case((2, 4, 4)), case((1, 1)), case((0, 0))],
)
def slogdet(xp, x, /):
    """The sign (a phase for complex x) of the determinant and the logarithm of its absolute value: a named tuple.

    At a singular matrix the sign is 0, the logarithm -inf and the derivative NaN.
    """
    return SlogdetResult(*xp.raw.linalg.slogdet(x))


# ----------------------------------------------------------------------------------------------------------- norms


def _norm_slope(xp, x, y, x_shape, axis, keepdims, ord):
    """The gradient of the norm at x: the subgradient of least norm at kinks, zero at x = 0."""
    y = restore(xp, y, x_shape, axis, keepdims)
    if ord == 0:
        return xp.zeros_like(x)
    if ord == 2:
        return xp.where(y == 0, 0, x / xp.where(y == 0, 1, y))
    if ord == 1:
        return xp.sign(x)
    size = xp.abs(x)
    if abs(ord) == float("inf"):
        at = size == y
        count = xp.sum(xp.astype(at, y.dtype), axis=axis, keepdims=True)
        return xp.where(at, xp.sign(x) / xp.maximum(count, 1), 0)
    zero = xp.logical_or(size == 0, y == 0)
    ratio = xp.where(zero, 1, size) / xp.where(zero, 1, y)
    return xp.where(zero, 0, xp.sign(x) * xp.pow(ratio, ord - 1))


def _norm_pull(xp, g, x, y, x_shape, axis, keepdims, ord):
    return restore(xp, g, x_shape, axis, keepdims) * _norm_slope(xp, x, y, x_shape, axis, keepdims, ord)


def _norm_push(xp, t, x, y, x_shape, axis, keepdims, ord):
    slope = _norm_slope(xp, x, y, x_shape, axis, keepdims, ord)
    return xp.sum(xp.real(xp.conj(slope) * t), axis=axis, keepdims=keepdims)


@general(
    x=(_norm_pull, _norm_push),
    name="linalg.vector_norm",
    cases=[
        ((5,),),
        case((3, 4), axis=1),
        case((2, 3, 4), axis=(0, 2), keepdims=True, ord=1),
        *(case((3, 4), ord=p) for p in (0, 0.5, 3, -1, -2.5)),
        *(case((3, 4), axis=0, ord=p) for p in (float("inf"), -float("inf"))),
    ],
    order=("ord", "axis", "keepdims"),
)
def vector_norm(xp, x, /, *, axis=None, keepdims=False, ord=2):
    """The norm (sum |x|^p)^(1/p) over `axis`, for p = `ord`: any number; 0 counts what is not zero, inf and -inf are extremes.

    At x = 0 the derivative is 0, for every order; tied extremes share the gradient evenly.
    """
    return xp.raw.linalg.vector_norm(x, axis=axis, keepdims=keepdims, ord=ord)


def _singular_norm(xp, x, ord):
    s = xp.linalg.svdvals(x)
    if ord == "nuc":  # a singular value that is zero to rounding has no direction: the subgradient of least norm
        small = 8 * eps_of(xp, s) * xp.sum(s, axis=-1, keepdims=True)
        return xp.sum(xp.where(s > small, s, 0), axis=-1)
    return xp.abs(xp.max(s, axis=-1) if ord == 2 else xp.min(s, axis=-1))


@composite(
    name="linalg.matrix_norm",
    library=True,
    cases=[
        case((3, 4)),
        case((2, 3, 4), keepdims=True),
        *(case(separated((3, 4)), ord=p) for p in ("fro", "nuc", 1, -1, 2, -2, float("inf"), -float("inf"))),
    ],
    order=("ord",),
)
def matrix_norm(xp, x, /, *, keepdims=False, ord="fro"):
    """A norm of each matrix: "fro", "nuc", 1, -1, 2, -2, inf or -inf. Raises ValueError for any other `ord`.

    Ties share the gradient evenly; at the zero matrix it is zero.
    """
    if ord == "fro":
        return xp.linalg.vector_norm(x, axis=(-2, -1), keepdims=keepdims)
    if ord in ("nuc", 2, -2):
        y = _singular_norm(xp, x, ord)
    elif ord in (1, -1, float("inf"), -float("inf")):
        sums = xp.sum(xp.abs(x), axis=-2 if abs(ord) == 1 else -1)
        y = xp.max(sums, axis=-1) if ord > 0 else xp.min(sums, axis=-1)
    else:
        raise ValueError(f'matrix_norm: ord must be "fro", "nuc", 1, -1, 2, -2, inf or -inf, got {ord!r}')
    return _matrix(xp, y) if keepdims else y


# --------------------------------------------------------------------------------------------- products, diagonals


def _from_the_end(axis, shape):
    """An axis counted from the end, where operands that broadcast have it in common."""
    return axis if axis < 0 else axis - len(shape)


@linear(
    x1=lambda xp, g, x2, x1_shape, axis: xp.linalg.cross(xp.conj(x2), g, axis=_from_the_end(axis, x1_shape)),
    x2=lambda xp, g, x1, x1_shape, axis: xp.linalg.cross(g, xp.conj(x1), axis=_from_the_end(axis, x1_shape)),
    name="linalg.cross",
    cases=[((3,), (3,)), ((4, 3), (4, 3)), case((3, 4), (3, 4), axis=0), ((2, 1, 3), (4, 3)), ((3,), (4, 3))],
)
def cross(xp, x1, x2, /, *, axis=-1):
    """The cross product of vectors of three elements along `axis`; the other axes broadcast.

    Raises ValueError where `axis` is not of size three.
    """
    if x1.shape[axis] != 3 or x2.shape[axis] != 3:
        raise ValueError(f"cross: axis {axis} must have size 3, got {x1.shape[axis]} and {x2.shape[axis]}")
    axis = _from_the_end(axis, x1.shape)
    if len(x1.shape) != len(x2.shape):
        shape = xp.broadcast_shapes(x1.shape, x2.shape)
        x1, x2 = xp.broadcast_to(x1, shape), xp.broadcast_to(x2, shape)
    return xp.raw.linalg.cross(x1, x2, axis=axis)


@composite(
    name="linalg.outer",
    library=True,
    cases=[((3,), (4,))],
)
def outer(xp, x1, x2, /):
    """The products of every element of one vector with every element of another. Raises ValueError for other operands."""
    if len(x1.shape) != 1 or len(x2.shape) != 1:
        raise ValueError(f"outer takes two vectors, got shapes {tuple(x1.shape)} and {tuple(x2.shape)}")
    return column(xp, x1) * row(xp, x2)


@linear(
    x=lambda xp, g, x_shape, offset: xp.linalg.from_diagonal(g, shape=tuple(x_shape[-2:]), offset=offset),
    dtypes="any",
    name="linalg.diagonal",
    cases=[
        case((3, 4)),
        case((2, 4, 3), offset=-1),
        case((3, 4), offset=2),
        case((3, 3), offset=-3),
    ],
)
def diagonal(x, /, *, offset=0):
    """The `offset`-th diagonal of each matrix: 0 is the main one, positive ones lie above it."""


@linear(
    x=lambda xp, g, offset: xp.linalg.diagonal(g, offset=offset),
    dtypes="any",
    name="linalg.from_diagonal",
    cases=[
        case((3,), shape=(3, 4)),
        case((2, 3), shape=(4, 3), offset=-1),
        case((2,), shape=(3, 4), offset=2),
    ],
)
def from_diagonal(xp, x, /, *, shape, offset=0):
    """Matrices of `shape` (the last two axes) with x on the `offset`-th diagonal and zeros elsewhere."""
    rows, columns = shape
    size = rows if offset >= 0 else columns
    missing = xp.zeros((*x.shape[:-1], size - x.shape[-1]), dtype=x.dtype, device=xp.device(x))
    x = xp.concat([x, missing], axis=-1)
    on = xp.eye(rows, columns, k=offset, dtype=xp.uint8, device=xp.device(x)) == 1
    return xp.where(on, column(xp, x) if offset >= 0 else row(xp, x), xp.zeros((), dtype=x.dtype, device=xp.device(x)))


@composite(
    dtypes="numeric",
    name="linalg.trace",
    library=True,
    cases=[case((3, 4)), case((2, 3, 3), offset=1)],
)
def trace(xp, x, /, *, offset=0, dtype=None):
    """The sum over the `offset`-th diagonal of each matrix."""
    return xp.sum(xp.linalg.diagonal(x, offset=offset), axis=-1, dtype=dtype)
