"""NumPy's own OpenBLAS, called by ctypes: how many threads it uses, and an update in one pass that NumPy has no function for."""

import ctypes
import os
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

__all__ = ["address", "axpby_of", "set_threads"]

STYLES = (("scipy_", "64_"), ("", "64_"), ("", ""))  # how NumPy's wheels and others name the functions
INDEX, POINTER = ctypes.c_int64, ctypes.c_void_p
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
    found = _library()
    if found is None or found[2] != "64_" or dtype not in LETTERS:
        return None
    letter, number = LETTERS[dtype]
    function = getattr(found[0], f"{found[1]}cblas_{letter}axpby{found[2]}", None)
    if function is not None:
        function.argtypes, function.restype = (INDEX, number, POINTER, INDEX, number, POINTER, INDEX), None
    return function
