"""Linear algebra beyond the standard, under PyTorch's names."""

from __future__ import annotations

from collections import namedtuple

from polygrad.core import case, composite, general, separated
from polygrad.ops.linalg_parts import adjoint, column, identity, row
from polygrad.ops.reductions import axes_of


@composite(name="linalg.norm", cases=[case((3, 4)), case((3, 4), dim=1), case((3, 4), 1), case((3, 4), None, 0, True)])
def norm(xp, A, ord=None, dim=None, keepdim=False):
    """PyTorch's `linalg.norm`: a matrix norm where `ord` is given and there are two axes, else a vector norm."""
    axes = None if dim is None else axes_of(dim, len(A.shape))
    matrix = ord is not None and len(range(len(A.shape)) if axes is None else axes) == 2
    if not matrix:
        return xp.linalg.vector_norm(A, axis=axes, keepdims=keepdim, ord=2 if ord is None else ord)
    if axes is None or axes == (len(A.shape) - 2, len(A.shape) - 1):
        return xp.linalg.matrix_norm(A, keepdims=keepdim, ord=ord)
    y = xp.linalg.matrix_norm(xp.moveaxis(A, axes, (-2, -1)), ord=ord)
    return xp.expand_dims(y, axis=tuple(sorted(axes))) if keepdim else y


@composite(name="linalg.cond", cases=[case(separated((3, 3))), case(separated((3, 3)), 1), case(separated((2, 4)), -2)])
def cond(xp, A, p=None):
    """The condition number of each matrix in the norm `p`; None is the ratio of the extreme singular values."""
    if p in (None, 2, -2):
        s = xp.linalg.svdvals(A)
        return s[..., 0] / s[..., -1] if p != -2 else s[..., -1] / s[..., 0]
    return xp.linalg.matrix_norm(A, ord=p) * xp.linalg.matrix_norm(xp.linalg.inv(A), ord=p)


class LstsqResult(namedtuple("LstsqResult", "solution residuals rank singular_values")):
    """The solution; the summed squares of what is left over, where there are more rows than columns; rank; singular values."""

    __slots__ = ()


@composite(
    name="linalg.lstsq",
    cases=[
        case(separated((4, 2)), (4, 3)),
        case(separated((2, 4)), (2, 3)),
        case(separated((3, 3)), (3,)),
        case(separated((2, 4, 3)), (2, 4, 2)),
    ],
)
def lstsq(xp, A, B, rcond=None):
    """The solution of least norm of min |A @ X - B|, for matrices of any shape and rank: a named tuple.

    Singular values up to `rcond` times the largest count as zero. The derivative is that along matrices of the same rank.
    """
    vector = len(B.shape) == 1
    columns = column(xp, B) if vector else B
    solution = xp.matmul(xp.linalg.pinv(A, rtol=rcond), columns)
    rest = xp.abs(xp.matmul(A, solution) - columns)
    residuals = xp.sum(rest * rest, axis=-2) if A.shape[-2] > A.shape[-1] else rest[..., :0, 0]
    rank = xp.linalg.matrix_rank(A, rtol=rcond)
    return LstsqResult(solution[..., 0] if vector else solution, residuals, rank, xp.linalg.svdvals(A))


# --------------------------------------------------------------------------------------------- the exponential

# Higham, The scaling and squaring method for the matrix exponential revisited, 2005: the Pade approximant of degree 13, and
# the 1-norm up to which it is exact to double rounding.
PADE = (
    *(64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0, 129060195264000.0),
    *(10559470521600.0, 670442572800.0, 33522128640.0, 1323241920.0, 40840800.0, 960960.0, 16380.0, 182.0, 1.0),
)
THETA = 5.371920351148152
MOST = 64  # squarings under a compiler, where the norm has no value to look at: enough up to a norm of 1e20


def _pade(xp, a):
    one = identity(xp, a.shape[-1], a)
    a2 = xp.matmul(a, a)
    a4 = xp.matmul(a2, a2)
    a6 = xp.matmul(a2, a4)
    b = PADE
    high = xp.matmul(a6, b[13] * a6 + b[11] * a4 + b[9] * a2)
    odd = xp.matmul(a, high + b[7] * a6 + b[5] * a4 + b[3] * a2 + b[1] * one)
    even = xp.matmul(a6, b[12] * a6 + b[10] * a4 + b[8] * a2) + b[6] * a6 + b[4] * a4 + b[2] * a2 + b[0] * one
    return xp.linalg.solve(even - odd, even + odd)


def _frechet(xp, x, direction):
    """The derivative of the exponential at x in a direction: the corner of the exponential of [[x, direction], [0, x]]."""
    n = x.shape[-1]
    top, bottom = xp.concat([x, direction], axis=-1), xp.concat([xp.zeros_like(x), x], axis=-1)
    return xp.linalg.matrix_exp(xp.concat([top, bottom], axis=-2))[..., :n, n:]


@general(
    x=(lambda xp, g, x: _frechet(xp, adjoint(xp, x), g), lambda xp, t, x: _frechet(xp, x, t)),
    name="linalg.matrix_exp",
    cases=[case((3, 3)), case((2, 2, 2)), case(separated((4, 4))), case((1, 1))],
)
def matrix_exp(xp, x, /):
    """The exponential of each square matrix, by scaling, a Pade approximant, and squaring."""
    if 0 in x.shape:
        return x
    norm = xp.max(xp.sum(xp.abs(x), axis=-2), axis=-1)
    s = xp.ceil(xp.log2(xp.where(norm > THETA, norm / THETA, 1)))
    s = xp.where(xp.isfinite(s), s, 0)
    try:
        steps = int(xp.max(s))
    except TypeError:
        steps = MOST
    s = column(xp, column(xp, s))
    result = _pade(xp, x * xp.pow(xp.full_like(s, 0.5), s))
    for i in range(steps):
        result = xp.where(s > i, xp.matmul(result, result), result)
    return result


# ---------------------------------------------------------------------------------------------------- reflections


@composite(
    name="linalg.householder_product",
    cases=[case((4, 3), (3,)), case((3, 3), (2,)), case((2, 4, 2), (2, 2))],
)
def householder_product(xp, input, tau):
    """The first columns of the product of the reflections 1 - tau v v^H, for v the columns below the diagonal, and 1 on it.

    By the compact form 1 - V T V^H (Schreiber and Van Loan, 1989), whose triangle T solves (1 + tau S) T = tau, S being V^H V above
    the diagonal.

    Args:
        input: (*, m, n) with m >= n.
        tau: (*, k) with k <= n, one factor for each reflection.

    Raises:
        RuntimeError: other shapes.
    """
    (m, n), k = input.shape[-2:], tau.shape[-1]
    if m < n or n < k:
        raise RuntimeError(f"householder_product: expected m >= n >= k, got {input.shape} and {tau.shape}")
    one = xp.eye(m, n, dtype=input.dtype, device=xp.device(input))
    v = xp.tril(input, k=-1)[..., :k] + one[:, :k]
    factors, turned = column(xp, tau), adjoint(xp, v)
    above = identity(xp, k, input) + factors * xp.triu(xp.matmul(turned, v), k=1)
    inner = xp.linalg.solve_triangular(above, factors * turned, upper=True, unitriangular=True)
    return one - xp.matmul(v, inner[..., :n])


# ---------------------------------------------------------------------------------------------------- products


def _best_order(sizes):
    """The last split of each chain of matrices, by the fewest multiplications (Cormen et al., section 14.2)."""
    n = len(sizes) - 1
    cost = {(i, i): 0 for i in range(n)}
    split = {}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            choices = ((cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j))
            cost[i, j], split[i, j] = min(choices)
    return split


def _multiplied(xp, matrices, split, i, j):
    if i == j:
        return matrices[i]
    k = split[i, j]
    return xp.matmul(_multiplied(xp, matrices, split, i, k), _multiplied(xp, matrices, split, k + 1, j))


def multi_dot_shapes(shapes):
    """The row and column counts along a chain. Raises ValueError where the shapes do not fit or are too few."""
    if len(shapes) < 2:
        raise ValueError(f"multi_dot takes at least two tensors, got {len(shapes)}")
    if any(len(s) != 2 for s in shapes) or any(a[1] != b[0] for a, b in zip(shapes, shapes[1:], strict=False)):
        raise ValueError(f"multi_dot: shapes {', '.join(map(str, shapes))} do not fit together")
    return [shapes[0][0], *(s[1] for s in shapes)]


@composite(
    name="linalg.multi_dot",
    cases=[case([(2, 3), (3, 4)]), case([(2, 5), (5, 3), (3, 4)]), case([(3,), (3, 4), (4, 2), (2,)])],
)
def multi_dot(xp, tensors):
    """The product of several matrices in the order that takes the fewest multiplications.

    The first may be a vector (a row) and so may the last (a column). Raises ValueError where shapes do not fit.
    """
    matrices = list(tensors)
    first, last = len(matrices[0].shape) == 1, len(matrices[-1].shape) == 1
    if first:
        matrices[0] = row(xp, matrices[0])
    if last:
        matrices[-1] = column(xp, matrices[-1])
    split = _best_order(multi_dot_shapes([tuple(m.shape) for m in matrices]))
    y = _multiplied(xp, matrices, split, 0, len(matrices) - 1)
    y = y[0, ...] if first else y
    return y[..., 0] if last else y


@composite(dtypes="numeric", cases=[case((2, 3), (4, 2)), case((3,), (2, 2)), case((2, 1, 2), (3, 2))])
def kron(xp, input, other):
    """The Kronecker product: other, scaled by each element of input."""
    n = max(len(input.shape), len(other.shape))
    a = (1,) * (n - len(input.shape)) + tuple(input.shape)
    b = (1,) * (n - len(other.shape)) + tuple(other.shape)
    left = xp.reshape(input, tuple(k for size in a for k in (size, 1)))
    right = xp.reshape(other, tuple(k for size in b for k in (1, size)))
    return xp.reshape(left * right, tuple(p * q for p, q in zip(a, b, strict=True)))
