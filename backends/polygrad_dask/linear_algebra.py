"""NumPy's functions of matrices on Dask's arrays: lazily, each matrix whole in one chunk, stacks of them in many."""

from collections.abc import Callable
from typing import Any

import array_api_compat.dask.array as compat
import dask.array as da
import numpy as np

from polygrad.core.backend import Namespace

__all__ = ["xp"]


def _applied(function: Callable[..., Any], signature: str, kinds: str, *arrays: da.Array, **sizes: int) -> Any:
    """The results of a function of matrices, with a letter for the data type of each: same, real, complex, integer."""
    dtype = np.result_type(*arrays)
    types = {"s": dtype, "r": np.zeros((), dtype).real.dtype, "c": np.result_type(dtype, np.complex64), "i": np.int64}
    dtypes = [types[kind] for kind in kinds]

    def typed(*blocks: np.ndarray) -> Any:
        found = function(*blocks)
        if len(kinds) == 1:
            return np.asarray(found, dtype=dtypes[0])
        return tuple(np.asarray(y, dtype=t) for y, t in zip(found, dtypes, strict=True))

    if any(0 in x.shape for x in arrays):  # nothing to wait for, and more than apply_gufunc takes
        found = typed(*(x.compute() for x in arrays))
        return da.asarray(found) if len(kinds) == 1 else tuple(map(da.asarray, found))
    types_of = dtypes[0] if len(kinds) == 1 else dtypes
    return da.apply_gufunc(typed, signature, *arrays, output_dtypes=types_of, output_sizes=sizes, allow_rechunk=True)


def _square(name: str, signature: str, kinds: str) -> Callable[..., Any]:
    function = getattr(np.linalg, name)

    def apply(x: da.Array, /) -> Any:
        return _applied(function, signature, kinds, x)

    apply.__name__ = name
    return apply


def solve(x1: da.Array, x2: da.Array, /) -> da.Array:
    """The solution of x1 @ y = x2, where an x2 with one axis is a vector."""
    y = _applied(np.linalg.solve, "(n,n),(n,k)->(n,k)", "s", x1, x2[:, None] if x2.ndim == 1 else x2)
    return y[..., 0] if x2.ndim == 1 else y


def cholesky(x: da.Array, /, *, upper: bool = False) -> da.Array:
    """The triangular factor."""
    return _applied(lambda a: np.linalg.cholesky(a, upper=upper), "(n,n)->(n,n)", "s", x)


def svd(x: da.Array, /, *, full_matrices: bool = True) -> tuple[da.Array, da.Array, da.Array]:
    """The singular value decomposition."""
    k = min(x.shape[-2:])
    signature = "(m,n)->(m,m),(k),(n,n)" if full_matrices else "(m,n)->(m,k),(k),(k,n)"
    return _applied(lambda a: np.linalg.svd(a, full_matrices=full_matrices), signature, "srs", x, k=k)


def svdvals(x: da.Array, /) -> da.Array:
    """The singular values in descending order."""
    return _applied(np.linalg.svdvals, "(m,n)->(k)", "r", x, k=min(x.shape[-2:]))


def qr(x: da.Array, /, *, mode: str = "reduced") -> tuple[da.Array, da.Array]:
    """The QR decomposition."""
    signature = "(m,n)->(m,m),(m,n)" if mode == "complete" else "(m,n)->(m,k),(k,n)"
    return _applied(lambda a: np.linalg.qr(a, mode=mode), signature, "ss", x, k=min(x.shape[-2:]))


def pinv(x: da.Array, /, *, rtol: Any = None) -> da.Array:
    """The Moore-Penrose pseudoinverse."""
    rtol = None if rtol is None else np.asarray(rtol)
    return _applied(lambda a: np.linalg.pinv(a, rtol=rtol), "(m,n)->(n,m)", "s", x)


def matrix_rank(x: da.Array, /, *, rtol: Any = None) -> da.Array:
    """How many singular values count as more than zero."""
    rtol = None if rtol is None else np.asarray(rtol)
    return _applied(lambda a: np.linalg.matrix_rank(a, rtol=rtol), "(m,n)->()", "i", x)


xp: Any = Namespace("dask.array.linalg")
xp.vector_norm = compat.linalg.vector_norm
for _name, _signature, _kinds in (
    ("inv", "(n,n)->(n,n)", "s"),
    ("det", "(n,n)->()", "s"),
    ("slogdet", "(n,n)->(),()", "sr"),
    ("eigh", "(n,n)->(n),(n,n)", "rs"),
    ("eigvalsh", "(n,n)->(n)", "r"),
    ("eig", "(n,n)->(n),(n,n)", "cc"),
):
    setattr(xp, _name, _square(_name, _signature, _kinds))
for _function in (solve, cholesky, svd, svdvals, qr, pinv, matrix_rank):
    setattr(xp, _function.__name__, _function)
