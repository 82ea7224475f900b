"""Matrix products by oneDNN, so that its threads and those of a BLAS do not fight for the processors.

Two matrices go to its sgemm, which needs no primitive and is a tenth to a quarter faster than that on the products of a small
GPT; narrow results and stacks go to the primitive.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from polygrad_numpy.blas import address
from polygrad_numpy.memory import ones
from polygrad_numpy.onednn import Failure, Library, loaded
from polygrad_numpy.onednn_primitives import Descriptor, Primitive, dense, described, primitive, taken

__all__ = ["affine", "matmul", "product", "sums_of_columns"]

SRC, WEIGHTS, BIAS, DST, TRAINING = 1, 33, 41, 17, 64
LINEAR, EXP, CLIP = 0x26, 0x2A, 0x2E
LARGE = 80.0  # an exponent that is still finite in float32
FEW = 1 << 20  # multiply-adds below which NumPy is faster, on one thread: 128 x 256 x 10 took it 25 us and oneDNN 38
NARROW = 64  # up to so many columns of the result the primitive is up to twice as fast as sgemm
MANY = 1 << 17  # elements of a matrix from which on the sums of its columns are faster by sgemm
LONG = 256  # terms of a sum from which on an affine map is faster by sgemm than by its primitive: 128 x 784 x 256 takes 448 us, not 523
WORD = 4  # bytes


def _make(lib: Library, a: Any, b: Any, c: Any, scale: float, exp: bool) -> Primitive:
    mine, then = [described(lib, d) for d in (a, b, c)], None
    if scale != 1 or exp:
        then, steps = lib.make("primitive_attr_create"), lib.make("post_ops_create")
        for step in [(LINEAR, scale, 0.0)] * (scale != 1) + [(CLIP, -LARGE, LARGE), (EXP, 0.0, 0.0)] * exp:
            lib.functions["post_ops_append_eltwise"](steps, *step)
        lib.functions["primitive_attr_set_post_ops"](then, steps)
    description = lib.make("matmul_primitive_desc_create", lib.engine, mine[0], mine[1], None, mine[2], then)
    return Primitive(lib, description, [(SRC, a, None), (WEIGHTS, b, None)], [(DST, c, None)])


def _described(x: np.ndarray) -> Descriptor:
    return x.shape, tuple([s // WORD for s in x.strides])


@lru_cache(maxsize=1024)
def _is_plain(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether the last two axes are a plain matrix or its transpose, which no other axis crosses."""
    rows, columns, (down, across) = *shape[-2:], strides[-2:]
    plain = (across == WORD and down >= columns * WORD) or (down == WORD and across >= rows * WORD)
    return (
        plain
        and not any(s % WORD for s in strides)
        and (len(shape) == 2 or min(strides[:-2]) >= min(rows, columns) * WORD)
    )


def _matrix(x: np.ndarray) -> tuple[np.ndarray, bytes, int]:
    """x, or a copy in order, as a BLAS takes it: whether it is transposed, and how many elements its lines are apart."""
    (rows, columns), (down, across) = x.shape, x.strides
    if (across == WORD or columns == 1) and (rows == 1 or (down >= columns * WORD and down % WORD == 0)):
        return x, b"N", columns if rows == 1 else down // WORD
    if (down == WORD or rows == 1) and (columns == 1 or (across >= rows * WORD and across % WORD == 0)):
        return x, b"T", rows if columns == 1 else across // WORD
    return np.ascontiguousarray(x), b"N", columns


def _sgemm(lib: Library, x1: np.ndarray, x2: np.ndarray, y: np.ndarray, add: float = 0.0) -> None:
    """Write x1 @ x2 + add * y to y."""
    (x1, turned1, apart1), (x2, turned2, apart2) = _matrix(x1), _matrix(x2)
    (rows, inner), columns = x1.shape, x2.shape[1]
    status = lib.sgemm(
        turned1, turned2, rows, columns, inner, 1.0, address(x1), apart1, address(x2), apart2, add, address(y), columns
    )
    if status:
        raise RuntimeError(f"oneDNN: a product gave status {status}")


def matmul(x1: Any, x2: Any, /, out: Any = None) -> Any:
    """The op `matmul` for two matrices, stacks of as many, or a stack and one matrix; declines small ones.

    `out` is an array without gaps for the product of two matrices or of two stacks.
    """
    if not taken(x1, x2) or x1.ndim < 2 or x2.ndim < 2 or x1.shape[-1] != x2.shape[-2]:
        return NotImplemented
    if x1.size * x2.shape[-1] < FEW:
        return NotImplemented
    if x2.ndim == 2 < x1.ndim:
        if not x1.flags.c_contiguous:
            return NotImplemented
        y = matmul(x1.reshape(-1, x1.shape[-1]), x2)
        return y if y is NotImplemented else y.reshape(*x1.shape[:-1], x2.shape[-1])
    if x1.shape[:-2] != x2.shape[:-2] or x1.ndim > 5:
        return NotImplemented
    if (lib := loaded()) is None:
        return NotImplemented
    shape = (*x1.shape[:-1], x2.shape[-1])
    y = np.empty(shape, np.float32) if out is None else out
    if x1.ndim == 2 and shape[1] > NARROW:
        _sgemm(lib, x1, x2, y)
        return y
    return y if product(x1, x2, y) else NotImplemented


def product(x1: np.ndarray, x2: np.ndarray, out: np.ndarray, scale: float = 1.0, exp: bool = False) -> bool:
    """Write x1 @ x2 * scale, or its exponential, to `out`, of any strides; False where there is no way.

    Stacks have one shape; exponents beyond -80 and 80 count as these. oneDNN 3.2 was seen to refuse a primitive that it had made
    itself, for a stack of (1, 2) @ (2, 1) after other shapes.
    """
    if not _is_plain(x1.shape, x1.strides):
        x1 = np.ascontiguousarray(x1)
    if not _is_plain(x2.shape, x2.strides):
        x2 = np.ascontiguousarray(x2)
    key = ("matmul", x1.shape, x1.strides, x2.shape, x2.strides, out.strides, scale, exp)
    run = primitive(key, lambda lib: _make(lib, *[_described(a) for a in (x1, x2, out)], scale, exp))
    if run is None:
        return False
    try:
        run(x1, x2, out)
    except Failure:
        return False
    return True


def _affine(lib: Library, rows: int, inner: int, columns: int) -> Primitive:
    x, w, b, y = dense((rows, inner)), dense((columns, inner)), dense((columns,)), dense((rows, columns))
    mine = [described(lib, d) for d in (x, w, b, y)]
    description = lib.make("inner_product_forward_primitive_desc_create", lib.engine, TRAINING, *mine, None)
    return Primitive(lib, description, [(SRC, x, None), (WEIGHTS, w, None), (BIAS, b, None)], [(DST, y, None)])


def affine(x: Any, weight: Any, bias: Any, /) -> Any:
    """The op `affine` with a bias, which is added where the products are still in the cache; declines small ones."""
    if not taken(x, weight, bias) or x.ndim < 2 or weight.ndim != 2 or x.shape[-1] != weight.shape[1]:
        return NotImplemented
    if x.size * weight.shape[0] < FEW or bias.shape != weight.shape[:1]:
        return NotImplemented
    if not (x.flags.c_contiguous and weight.flags.c_contiguous and bias.flags.c_contiguous):
        return NotImplemented
    columns, inner = weight.shape
    rows = x.size // inner
    y = np.empty((*x.shape[:-1], columns), np.float32)
    if inner >= LONG and (lib := loaded()) is not None:
        y[...] = bias
        _sgemm(lib, x.reshape(rows, inner), weight.T, y.reshape(rows, columns), add=1.0)
        return y
    run = primitive(("affine", rows, inner, columns), lambda lib: _affine(lib, rows, inner, columns))
    if run is None:
        return NotImplemented
    run(x, weight, bias, y)
    return y


def sums_of_columns(x: np.ndarray) -> Any:
    """The sums (columns,) of a matrix's columns, as a product with ones; declines small ones."""
    if not taken(x) or x.size < MANY or not x.flags.c_contiguous or (lib := loaded()) is None:
        return NotImplemented
    y = np.empty(x.shape[1], np.float32)
    _sgemm(lib, ones(len(x), x.dtype)[None], x, y)
    return y
