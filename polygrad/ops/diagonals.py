"""Diagonals and ranks of tensors, under PyTorch's and array-api-extra's names."""

from __future__ import annotations

import math

from polygrad.core import case, composite


@composite(dtypes="any", cases=[((3,),), case((2, 3), offset=1), case((3,), offset=-2)])
def create_diagonal(xp, x, /, *, offset=0):
    """Square matrices with the last axis of x on the `offset`-th diagonal."""
    n = x.shape[-1] + abs(offset)
    return xp.linalg.from_diagonal(x, shape=(n, n), offset=offset)


@composite(dtypes="any", cases=[((3,),), case((3, 4), 1), case((3,), -1)])
def diag(xp, input, diagonal=0):
    """The matrix with a vector on a diagonal, or a diagonal of a matrix. Raises RuntimeError for other ranks."""
    if len(input.shape) not in (1, 2):
        raise RuntimeError(f"diag: expected a vector or a matrix, got {len(input.shape)} axes")
    if len(input.shape) == 1:
        return xp.create_diagonal(input, offset=diagonal)
    return xp.linalg.diagonal(input, offset=diagonal)


@composite(dtypes="any", cases=[((2, 3),), case((2, 3), 1, 0, 2), case((3,), -1, 1, 0)])
def diag_embed(xp, input, offset=0, dim1=-2, dim2=-1):
    """Tensors with the last axis of the input on the `offset`-th diagonal of the new axes `dim1` and `dim2`.

    Raises RuntimeError where the two axes are one.
    """
    n = len(input.shape) + 1
    d1, d2 = dim1 % n, dim2 % n
    if d1 == d2:
        raise RuntimeError(f"diag_embed: diagonal dimensions cannot be identical {dim1}, {dim2}")
    return xp.moveaxis(xp.create_diagonal(input, offset=offset), (-2, -1), (d1, d2))


@composite(dtypes="any", cases=[((2, 3),), case((2, 3), 1)])
def diagflat(xp, input, offset=0):
    """The matrix with all elements of the input on a diagonal."""
    return xp.create_diagonal(xp.reshape(input, (-1,)), offset=offset)


@composite(dtypes="any", cases=[((3, 4),), case((2, 3, 4), 1, 0, 2)])
def diagonal(xp, input, offset=0, dim1=0, dim2=1):
    """The `offset`-th diagonal of the axes `dim1` and `dim2`, as the last axis."""
    return xp.linalg.diagonal(xp.moveaxis(input, (dim1, dim2), (-2, -1)), offset=offset)


@composite(dtypes="any", cases=[((2, 3), (1, 2)), ((3,), (2, 2), ())])
def block_diag(xp, *tensors):
    """The matrix with the given matrices along its diagonal; vectors are rows, numbers are 1 x 1."""
    blocks = [xp.atleast_nd(t, ndim=2) for t in tensors]
    width, start, rows = sum(b.shape[1] for b in blocks), 0, []
    for b in blocks:
        m, n = b.shape
        sides = [xp.zeros((m, k), dtype=b.dtype, device=xp.device(b)) for k in (start, width - start - n)]
        rows.append(xp.concat([sides[0], b, sides[1]], axis=1))
        start += n
    return xp.concat(rows, axis=0)


@composite(dtypes="any", cases=[case((3,), ndim=3), case((2, 3), ndim=1), case((), ndim=1)])
def atleast_nd(xp, x, /, *, ndim):
    """x with axes of size one in front until it has at least `ndim` axes."""
    missing = ndim - len(x.shape)
    return xp.reshape(x, (1,) * missing + tuple(x.shape)) if missing > 0 else x


def _each(tensors, change):
    """A function of one tensor, or of each of several (given one by one or as a list), as a tuple then."""
    if len(tensors) == 1 and isinstance(tensors[0], list | tuple):
        tensors = tensors[0]
        return tuple(change(t) for t in tensors)
    return change(tensors[0]) if len(tensors) == 1 else tuple(change(t) for t in tensors)


@composite(dtypes="any", cases=[((),), ((2, 3),)])
def atleast_1d(xp, *tensors):
    """Numbers as vectors of one element; several tensors give a tuple."""
    return _each(tensors, lambda x: xp.atleast_nd(x, ndim=1))


@composite(dtypes="any", cases=[((3,),), ((2, 3), ())])
def atleast_2d(xp, *tensors):
    """Vectors as matrices of one row; several tensors give a tuple."""
    return _each(tensors, lambda x: xp.atleast_nd(x, ndim=2))


@composite(dtypes="any", cases=[((3,),), ((2, 3), ())])
def atleast_3d(xp, *tensors):
    """Matrices with a last axis of size one, vectors between two of them; several tensors give a tuple."""

    def change(x):
        if len(x.shape) == 2:
            return xp.expand_dims(x, axis=2)
        return xp.reshape(x, (1, math.prod(x.shape), 1)) if len(x.shape) < 2 else x

    return _each(tensors, change)
