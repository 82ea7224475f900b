"""NumPy's own OpenBLAS, called by ctypes: how many threads it uses, and what NumPy has no function for.

That is updates in one pass, a product that is added to what is there, and a transposition of 0.4 to 0.9 ns an element
(NumPy's copy: 1 to 4, 7 for 32 columns of 50176 rows).
"""

import ctypes
import os
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

__all__ = ["add_outer", "address", "axpby_by_threads_of", "axpby_of", "multiply_add", "set_threads", "transpose"]

STYLES = (("scipy_", "64_"), ("", "64_"), ("", ""))  # how NumPy's wheels and others name the functions
INDEX, POINTER, NUMBER = ctypes.c_int64, ctypes.c_void_p, object()
ROW_MAJOR, PLAIN, TRANSPOSED = 101, 111, 112  # CBLAS's numbers
LETTERS = {np.dtype(np.float32): ("s", ctypes.c_float), np.dtype(np.float64): ("d", ctypes.c_double)}

_from_buffer, _address_of = ctypes.c_char.from_buffer, ctypes.addressof


@cache
def _library() -> tuple[Any, str, str] | None:
    """The library beside NumPy's files and how it names its functions; None where NumPy came without one."""
    root = os.path.dirname(np.__file__)
    for folder in (os.path.join(os.path.dirname(root), "numpy.libs"), os.path.join(root, ".dylibs")):
        for file in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            if "openblas" not in file:
                continue
            try:
                blas = ctypes.CDLL(os.path.join(folder, file))
            except OSError:
                continue
            for prefix, suffix in STYLES:
                if hasattr(blas, f"{prefix}openblas_set_num_threads{suffix}"):
                    return blas, prefix, suffix
    return None


def set_threads(count: int) -> None:
    """Let OpenBLAS use so many threads, where NumPy brought it."""
    if (found := _library()) is not None:
        blas, prefix, suffix = found
        getattr(blas, f"{prefix}openblas_set_num_threads{suffix}")(count)


def address(x: np.ndarray) -> int:
    """The address of an array's first element (the buffer tells it 4 times faster, where it has no gaps and is writable)."""
    try:
        return _address_of(_from_buffer(x))
    except (TypeError, ValueError, BufferError):
        return x.__array_interface__["data"][0]


@cache
def axpby_of(dtype: Any) -> Callable[..., None] | None:
    """OpenBLAS's `axpby(n, a, x, 1, b, y, 1)` for a real data type: y <- a * x + b * y, n elements at two addresses, in one pass.

    It runs on one thread (OpenBLAS's axpy would start more). None where NumPy came without it.
    """
    return _function("axpby", dtype, INDEX, NUMBER, POINTER, INDEX, NUMBER, POINTER, INDEX)


@cache
def axpby_by_threads_of(dtype: Any) -> Callable[..., None] | None:
    """`axpby_of`, but on OpenBLAS's threads where y is not scaled: 200,000 elements take 36 us instead of 73 after a product."""
    axpby, axpy = axpby_of(dtype), _function("axpy", dtype, INDEX, NUMBER, POINTER, INDEX, POINTER, INDEX)
    if axpby is None or axpy is None:
        return axpby

    def shared(n: int, a: float, x: int, incx: int, b: float, y: int, incy: int) -> None:
        if b == 1:
            axpy(n, a, x, incx, y, incy)
        else:
            axpby(n, a, x, incx, b, y, incy)

    return shared


def add_outer(y: np.ndarray, column: np.ndarray, row: np.ndarray, scale: float = 1.0) -> bool:
    """y += scale * column * row in one pass, for a matrix and vectors of one real data type without gaps; False where it cannot.

    A bias (a column of ones) is so added to 1024 rows of 512 in 52 us, where NumPy's sum takes 190.
    """
    ger = _ger_of(y.dtype)
    if ger is None:
        return False
    rows, columns = y.shape
    ger(ROW_MAJOR, rows, columns, scale, address(column), 1, address(row), 1, address(y), columns)
    return True


@cache
def _ger_of(dtype: Any) -> Callable[..., None] | None:
    return _function("ger", dtype, ctypes.c_int, INDEX, INDEX, NUMBER, *[POINTER, INDEX] * 3)


def _function(name: str, dtype: Any, *arguments: Any) -> Callable[..., None] | None:
    """A function of OpenBLAS for a data type (which is that of arguments declared as NUMBER), or None."""
    found = _library()
    if found is None or found[2] != "64_" or dtype not in LETTERS:
        return None
    letter, number = LETTERS[dtype]
    function = getattr(found[0], f"{found[1]}cblas_{letter}{name}{found[2]}", None)
    if function is not None:
        function.argtypes = [number if a is NUMBER else a for a in arguments]
        function.restype = None
    return function


@cache
def _gemm(dtype: Any) -> Callable[..., None] | None:
    matrix = (POINTER, INDEX)
    return _function("gemm", dtype, *[ctypes.c_int] * 3, *[INDEX] * 3, NUMBER, *matrix, *matrix, NUMBER, *matrix)


@cache
def _omatcopy(dtype: Any) -> Callable[..., None] | None:
    return _function("omatcopy", dtype, *[ctypes.c_int] * 2, INDEX, INDEX, NUMBER, *[POINTER, INDEX] * 2)


def _operand(x: np.ndarray) -> tuple[int, int] | None:
    """How BLAS reads the elements of a matrix: plain or transposed, and the distance of its rows; None for other memory."""
    (rows, columns), (down, along), size = x.shape, x.strides, x.itemsize
    if along == size and down >= columns * size and down % size == 0:
        return PLAIN, down // size
    if down == size and along >= rows * size and along % size == 0:
        return TRANSPOSED, along // size
    return None


def multiply_add(a: np.ndarray, b: np.ndarray, y: np.ndarray, add: bool) -> None:
    """Write a @ b to y, or add it: matrices of one data type, the rows of y without gaps between their elements."""
    gemm = _gemm(y.dtype)
    first, second, third = (_operand(x) for x in (a, b, y))
    if gemm is None or first is None or second is None or third is None or third[0] != PLAIN:
        if add:
            y += np.matmul(a, b)
        else:
            np.matmul(a, b, out=y)
        return
    sizes = y.shape[0], y.shape[1], a.shape[1]
    operands = address(a), first[1], address(b), second[1]
    gemm(ROW_MAJOR, first[0], second[0], *sizes, 1.0, *operands, float(add), address(y), third[1])


def transpose(x: np.ndarray, y: np.ndarray) -> None:
    """Write the transpose of a matrix x to y; both are C-contiguous and of one data type."""
    omatcopy, (rows, columns) = _omatcopy(x.dtype), x.shape
    if omatcopy is None:
        np.copyto(y, x.T)
        return
    omatcopy(ROW_MAJOR, TRANSPOSED, rows, columns, 1.0, address(x), columns, address(y), rows)
