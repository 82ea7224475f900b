"""Products of matrices and tensors."""

from __future__ import annotations

from polygrad.core import case, composite, linear


def _column(xp, x):
    return xp.expand_dims(x, axis=-1)


def _row(xp, x):
    return xp.expand_dims(x, axis=-2)


def _adjoint(xp, x):
    return xp.matrix_transpose(xp.conj(x))


def _from_left(xp, g, x2, x1_shape, x2_shape):
    """The transpose of x1 -> x1 @ x2: g @ x2^H, with vectors as one-row or one-column matrices."""
    if len(x2_shape) == 1:
        return (_column(xp, g) if len(x1_shape) > 1 else xp.reshape(g, (1,))) * xp.conj(x2)
    if len(x1_shape) == 1:
        return xp.matmul(_row(xp, g), _adjoint(xp, x2))[..., 0, :]
    return xp.matmul(g, _adjoint(xp, x2))


def _from_right(xp, g, x1, x1_shape, x2_shape):
    """The transpose of x2 -> x1 @ x2: x1^H @ g.

    Where x2 is one matrix for a batch of x1, the batch is folded into the rows of one product (1.7 times faster than a
    product a batch entry and a sum).
    """
    if len(x1_shape) == 1:
        if len(x2_shape) == 1:
            return xp.reshape(g, (1,)) * xp.conj(x1)
        return _column(xp, xp.conj(x1)) * _row(xp, g)
    if len(x2_shape) == 1:
        g = _column(xp, g)
    if len(x2_shape) <= 2 and len(x1_shape) > 2:
        rows = _count(x1_shape[:-1])
        x1, g = xp.reshape(x1, (rows, x1_shape[-1])), xp.reshape(g, (rows, g.shape[-1]))
    product = xp.matmul(_adjoint(xp, x1), g)
    return product[..., 0] if len(x2_shape) == 1 else product


def _count(shape):
    n = 1
    for size in shape:
        n *= size
    return n


@linear(
    x1=_from_left,
    x2=_from_right,
    node="Mm",
    cases=[((3, 4), (4, 2)), ((5, 3, 4), (4, 2)), ((5, 3, 4), (5, 4, 2)), ((4,), (4, 2)), ((3, 4), (4,)), ((4,), (4,))],
)
def matmul(x1, x2, /):
    """Matrix product over the last two axes; leading axes broadcast; vectors stand for a row or a column."""


@composite(
    dtypes="numeric",
    cases=[((2, 3, 4), (3, 4, 5)), case((3, 4), (4, 3, 2), axes=((1, 0), (0, 1))), case((2,), (3,), axes=0)],
    order=("axes",),
    aliases={"dims": "axes"},
)
def tensordot(xp, x1, x2, /, *, axes=2):
    """The product summed over `axes`: a number of axes (the last of x1, the first of x2), or two sequences of axes.

    Raises ValueError where the summed axes differ in size.
    """
    n1, n2 = len(x1.shape), len(x2.shape)
    if isinstance(axes, int):
        if not 0 <= axes <= min(n1, n2):
            raise ValueError(f"tensordot: axes={axes} is not within the {n1} and {n2} axes of the operands")
        a1, a2 = tuple(range(n1 - axes, n1)), tuple(range(axes))
    else:
        a1, a2 = (tuple(a % n for a in ax) for ax, n in zip(axes, (n1, n2), strict=True))
    if [x1.shape[a] for a in a1] != [x2.shape[a] for a in a2]:
        raise ValueError(f"tensordot: shapes {x1.shape} and {x2.shape} differ along the summed axes {a1} and {a2}")
    free1 = tuple(i for i in range(n1) if i not in a1)
    free2 = tuple(i for i in range(n2) if i not in a2)
    k = _count([x1.shape[a] for a in a1])
    s1, s2 = tuple(x1.shape[i] for i in free1), tuple(x2.shape[i] for i in free2)
    left = xp.reshape(xp.permute_dims(x1, free1 + a1), (_count(s1), k))
    right = xp.reshape(xp.permute_dims(x2, a2 + free2), (k, _count(s2)))
    return xp.reshape(xp.matmul(left, right), s1 + s2)


@composite(dtypes="numeric", cases=[((3, 4), (3, 4)), ((3, 4), (4,)), case((3, 4), (3, 1), axis=0)])
def vecdot(xp, x1, x2, /, *, axis=-1):
    """The sum of conj(x1) * x2 along `axis`.

    Raises ValueError where the two differ in size along it.
    """
    if x1.shape[axis] != x2.shape[axis]:
        raise ValueError(f"vecdot: sizes {x1.shape[axis]} and {x2.shape[axis]} along axis {axis} differ")
    products = xp.conj(x1) * x2
    return xp.sum(products, axis=axis, dtype=products.dtype)  # sum alone widens small integers


@composite(dtypes="numeric", cases=[((3, 4), (4, 2))])
def mm(xp, input, mat2):
    """The product of two matrices. Raises RuntimeError unless both have two axes and fit."""
    if len(input.shape) != 2 or len(mat2.shape) != 2 or input.shape[1] != mat2.shape[0]:
        raise RuntimeError(f"mm: shapes {tuple(input.shape)} and {tuple(mat2.shape)} are not two matrices that fit")
    return xp.matmul(input, mat2)


@composite(dtypes="numeric", cases=[((2, 3, 4), (2, 4, 5))])
def bmm(xp, input, mat2):
    """The products of two batches of matrices. Raises RuntimeError unless both have three axes and fit."""
    if len(input.shape) != 3 or len(mat2.shape) != 3 or input.shape[2] != mat2.shape[1]:
        raise RuntimeError(
            f"bmm: shapes {tuple(input.shape)} and {tuple(mat2.shape)} are not two batches of matrices that fit"
        )
    return xp.matmul(input, mat2)
