"""Matrix products by oneDNN, so that its threads and those of a BLAS do not fight for the processors."""

from typing import Any

import numpy as np

from polygrad_numpy.onednn import Library
from polygrad_numpy.onednn_primitives import Primitive, dense, described, primitive, taken

__all__ = ["matmul"]

SRC, WEIGHTS, DST = 1, 33, 17
FEW = 32**3  # multiply-adds below which NumPy's call is faster


def _make(lib: Library, a: Any, b: Any, c: Any) -> Primitive:
    mine = [described(lib, d) for d in (a, b, c)]
    description = lib.make("matmul_primitive_desc_create", lib.engine, mine[0], mine[1], None, mine[2], None)
    return Primitive(lib, description, [(SRC, a, None), (WEIGHTS, b, None)], [(DST, c, None)])


def _operand(x: np.ndarray) -> tuple[np.ndarray, Any]:
    """x, or a copy in order, and its descriptor: its last two axes must be a plain matrix or its transpose."""
    strides = tuple([s // x.itemsize for s in x.strides])
    rows, columns = x.shape[-2:]
    plain = (strides[-1] == 1 and strides[-2] >= columns) or (strides[-2] == 1 and strides[-1] >= rows)
    if not plain or (x.ndim > 2 and min(strides[:-2]) < min(rows, columns)):
        x = np.ascontiguousarray(x)
        strides = dense(x.shape)[1]
    return x, (x.shape, strides)


def matmul(x1: Any, x2: Any, /, out: Any = None) -> Any:
    """The op `matmul` for two matrices, stacks of as many, or a stack and one matrix; declines small ones.

    `out` is an array without gaps for the product of two stacks.
    """
    if not taken(x1, x2) or x1.ndim < 2 or x2.ndim < 2 or x1.shape[-1] != x2.shape[-2]:
        return NotImplemented
    if x1.size * x2.shape[-1] < FEW:
        return NotImplemented
    if x1.ndim > 2 and x2.ndim == 2:
        if not x1.flags.c_contiguous:
            return NotImplemented
        y = matmul(x1.reshape(-1, x1.shape[-1]), x2)
        return y if y is NotImplemented else y.reshape(*x1.shape[:-1], x2.shape[-1])
    if x1.shape[:-2] != x2.shape[:-2] or x1.ndim > 5:
        return NotImplemented
    (x1, a), (x2, b) = _operand(x1), _operand(x2)
    shape = (*x1.shape[:-1], x2.shape[-1])
    run = primitive(("matmul", a, b), lambda lib: _make(lib, a, b, dense(shape)))
    if run is None:
        return NotImplemented
    y = np.empty(shape, np.float32) if out is None else out
    run(x1, x2, y)
    return y
