"""NumPy as the standard has it: its own namespace, in which from NumPy 2.1 on only a few functions differ.

Older releases are wrapped by `array_api_compat.numpy`, which loads all of NumPy (120 ms and 17 MB on top of its import).
"""

from typing import Any

import numpy as np

from polygrad.core.backend import Namespace

__all__ = ["xp"]


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """x in another data type; NumPy's own function refuses its scalars, which are what it makes of 0-d results."""
    return x.astype(dtype, copy=copy)


def count_nonzero(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    """How many elements are not zero; NumPy's own gives an `int` for all of them."""
    return np.asarray(np.count_nonzero(x, axis=axis, keepdims=keepdims))


def sort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """x in order along `axis`."""
    y = np.sort(x, axis=axis, stable=stable)
    return np.flip(y, axis=axis) if descending else y


def argsort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """The indices that sort x along `axis`; equal elements keep their order in descending order too."""
    if not descending:
        return np.argsort(x, axis=axis, stable=stable)
    backwards = np.argsort(np.flip(x, axis=axis), axis=axis, stable=stable)
    return np.flip(x.shape[axis] - 1 - backwards, axis=axis)


def take_along_axis(x: Any, indices: Any, /, *, axis: int = -1) -> Any:
    """The elements of x that `indices` name along `axis`."""
    return np.take_along_axis(x, indices, axis)


def unique_values(x: Any, /) -> Any:
    """The distinct elements in order; since 2.3 NumPy's own leaves them in that of a hash table."""
    return np.unique(x, equal_nan=False)


def pinv(x: Any, /, *, rtol: Any = None) -> Any:
    """The pseudoinverse; without `rtol`, singular values below max(M, N) eps times the largest count as zero."""
    return np.linalg.pinv(x, rtol=rtol)


def _public(module: Any) -> dict[str, Any]:
    """What is in a module, without what it would load when asked (the tests, f2py and masked arrays of NumPy)."""
    return {name: value for name, value in vars(module).items() if not name.startswith("_")}


def _standard() -> Any:
    xp = Namespace(np.__name__)
    vars(xp).update(_public(np), fft=np.fft, linalg=Namespace(np.linalg.__name__))
    xp.__array_namespace_info__ = np.__array_namespace_info__
    for function in (astype, count_nonzero, sort, argsort, take_along_axis, unique_values):
        setattr(xp, function.__name__, function)
    vars(xp.linalg).update(_public(np.linalg), pinv=pinv)
    return xp


if hasattr(np, "cumulative_sum"):
    xp = _standard()
else:
    import array_api_compat.numpy as xp
