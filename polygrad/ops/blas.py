"""Products of vectors and matrices, alone and with something added, under PyTorch's names."""

from __future__ import annotations

from polygrad.core import case, composite
from polygrad.ops.linalg_parts import column, row


def _expect(name, what, *tensors_and_ranks):
    """Raise RuntimeError for a tensor that has another number of axes."""
    for x, rank in tensors_and_ranks:
        if len(x.shape) != rank:
            raise RuntimeError(
                f"{name}: {what}, got shapes {', '.join(str(tuple(t.shape)) for t, _ in tensors_and_ranks)}"
            )


@composite(dtypes="numeric", cases=[((3,), (3,))])
def dot(xp, input, tensor):
    """The sum of products of two vectors, neither conjugated. Raises RuntimeError unless they are vectors of one size."""
    _expect("dot", "expected two vectors", (input, 1), (tensor, 1))
    if input.shape != tensor.shape:
        raise RuntimeError(f"dot: vectors of sizes {input.shape[0]} and {tensor.shape[0]} do not fit")
    return xp.matmul(input, tensor)


@composite(dtypes="numeric", cases=[((3,), (3,))])
def vdot(xp, input, other):
    """The sum of products of two vectors, the first conjugated. Raises RuntimeError unless they are vectors of one size."""
    return xp.dot(xp.conj(input), other)


@composite(dtypes="numeric", cases=[((3,), (2, 3)), ((2, 3), (4, 3))])
def inner(xp, input, other):
    """The sums of products over the last axes. Raises ValueError where these differ."""
    if not input.shape or not other.shape:
        return input * other
    return xp.tensordot(input, other, axes=((-1,), (-1,)))


@composite(dtypes="numeric", cases=[((2, 3), (3,))])
def mv(xp, input, vec):
    """The product of a matrix and a vector. Raises RuntimeError for other ranks."""
    _expect("mv", "expected a matrix and a vector", (input, 2), (vec, 1))
    return xp.matmul(input, vec)


def _plus(input, beta, product, alpha):
    """beta * input + alpha * product; input is left out where beta is 0, so that its NaN do not count."""
    product = product if alpha == 1 else alpha * product
    return product if beta == 0 else (input if beta == 1 else beta * input) + product


@composite(dtypes="numeric", cases=[((2, 4), (2, 3), (3, 4)), case((4,), (2, 3), (3, 4), beta=2, alpha=3)])
def addmm(xp, input, mat1, mat2, *, beta=1, alpha=1):
    """beta * input + alpha * mat1 @ mat2. Raises RuntimeError unless the two are matrices that fit."""
    return _plus(input, beta, xp.mm(mat1, mat2), alpha)


@composite(dtypes="numeric", cases=[((2,), (2, 3), (3,))])
def addmv(xp, input, mat, vec, *, beta=1, alpha=1):
    """beta * input + alpha * mat @ vec. Raises RuntimeError unless they are a matrix and a vector."""
    return _plus(input, beta, xp.mv(mat, vec), alpha)


@composite(dtypes="numeric", cases=[((2, 3), (2,), (3,))])
def addr(xp, input, vec1, vec2, *, beta=1, alpha=1):
    """beta * input + alpha * the products of all elements of two vectors. Raises RuntimeError for other ranks."""
    _expect("addr", "expected two vectors", (vec1, 1), (vec2, 1))
    return _plus(input, beta, column(xp, vec1) * row(xp, vec2), alpha)


@composite(dtypes="numeric", cases=[((2, 2, 4), (2, 2, 3), (2, 3, 4))])
def baddbmm(xp, input, batch1, batch2, *, beta=1, alpha=1):
    """beta * input + alpha * batch1 @ batch2, matrix by matrix. Raises RuntimeError unless the two are batches that fit."""
    return _plus(input, beta, xp.bmm(batch1, batch2), alpha)


@composite(dtypes="numeric", cases=[((2, 4), (3, 2, 3), (3, 3, 4))])
def addbmm(xp, input, batch1, batch2, *, beta=1, alpha=1):
    """beta * input + alpha * the sum of batch1 @ batch2 over the batch. Raises RuntimeError unless the two are batches that fit."""
    products = xp.bmm(batch1, batch2)
    return _plus(input, beta, xp.sum(products, axis=0, dtype=products.dtype), alpha)


@composite(cases=[((3, 4), (3, 4), (3, 4)), case((3, 4), (3, 4), 0.3)])
def lerp(xp, input, end, weight):
    """input + weight * (end - input)."""
    return input + weight * (end - input)


@composite(dtypes="numeric", cases=[((3, 4), (3, 4), (4,)), case((3,), (3,), (3,), value=2)])
def addcmul(xp, input, tensor1, tensor2, *, value=1):
    """input + value * tensor1 * tensor2."""
    return input + value * tensor1 * tensor2


@composite(domain=(0.5, 2.0), cases=[((3, 4), (3, 4), (4,)), case((3,), (3,), (3,), value=2)])
def addcdiv(xp, input, tensor1, tensor2, *, value=1):
    """input + value * tensor1 / tensor2."""
    return input + value * tensor1 / tensor2


@composite(
    dtypes="real floating",
    cases=[
        ((3, 2), (4, 2)),
        case((2, 3, 2), (2, 2, 2), p=1.0),
        case((3, 2), (4, 2), p=3.0),
        case((3, 2), (4, 2), p=float("inf")),
    ],
)
def cdist(xp, x1, x2, p=2.0):
    """The distances, in the p-norm, of every row of x1 from every row of x2; the derivative at distance 0 is 0."""
    return xp.linalg.vector_norm(xp.expand_dims(x1, axis=-2) - xp.expand_dims(x2, axis=-3), axis=-1, ord=p)
