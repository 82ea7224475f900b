"""`mlx.core.linalg` as the standard has it; products of integers; inverses of complex matrices.

Left out, so that a polyfill stands in, are functions that take real matrices only: cholesky, det, qr, slogdet.
"""

from typing import Any

import mlx.core as mx

from polygrad.core.backend import Namespace

__all__ = ["xp"]


def _is_complex(*arrays: mx.array) -> bool:
    return any(x.dtype == mx.complex64 for x in arrays)


def _embedded(x: mx.array) -> mx.array:
    """A complex matrix as a real one of twice the size: [[a, -b], [b, a]]."""
    a, b = mx.real(x), mx.imag(x)
    return mx.concatenate([mx.concatenate([a, -b], axis=-1), mx.concatenate([b, a], axis=-1)], axis=-2)


def inv(x: mx.array, /) -> mx.array:
    """The inverse of each matrix."""
    if 0 in x.shape:
        return x
    if not _is_complex(x):
        return mx.linalg.inv(x)
    n = x.shape[-1]
    both = mx.linalg.inv(_embedded(x))
    return both[..., :n, :n] + 1j * both[..., n:, :n]


def solve(x1: mx.array, x2: mx.array, /) -> mx.array:
    """The solution of x1 @ y = x2."""
    is_vector = x2.ndim == 1
    x2 = x2[..., None] if is_vector else x2
    batch = mx.broadcast_shapes(x1.shape[:-2], x2.shape[:-2])
    x1, x2 = (mx.broadcast_to(x, (*batch, *x.shape[-2:])) for x in (x1, x2))
    if 0 in x1.shape or 0 in x2.shape:
        y = mx.zeros(x2.shape, dtype=mx.result_type(x1, x2))
    elif _is_complex(x1, x2):
        n = x1.shape[-1]
        parts = mx.concatenate([mx.real(x2), mx.imag(x2)], axis=-2)
        both = mx.linalg.solve(_embedded(x1.astype(mx.complex64)), parts)
        y = both[..., :n, :] + 1j * both[..., n:, :]
    else:
        y = mx.linalg.solve(x1, x2)
    return y[..., 0] if is_vector else y


def svd(x: mx.array, /, *, full_matrices: bool = True) -> tuple[mx.array, mx.array, mx.array]:
    """The singular value decomposition."""
    rows, columns = x.shape[-2:]
    k = min(rows, columns)
    u, s, vh = mx.linalg.svd(x)
    return (u, s, vh) if full_matrices else (u[..., :, :k], s, vh[..., :k, :])


def eig(x: mx.array, /) -> tuple[mx.array, mx.array]:
    """Eigenvalues and eigenvectors; those that MLX gives of a complex matrix are none of its eigenvectors."""
    if _is_complex(x):
        raise NotImplementedError(
            "MLX's eigenvectors of complex matrices are wrong; take another backend for linalg.eig"
        )
    values, vectors = mx.linalg.eig(x)
    return values, vectors


def matmul(x1: mx.array, x2: mx.array, /) -> mx.array:
    """The product of matrices, of integers as sums of products, which MLX's own refuses."""
    if mx.isdtype(mx.result_type(x1, x2), ("real floating", "complex floating")):
        return mx.matmul(x1, x2)
    first, second = x1.ndim == 1, x2.ndim == 1
    x1, x2 = x1[None, :] if first else x1, x2[:, None] if second else x2
    y = mx.sum(x1[..., :, :, None] * x2[..., None, :, :], axis=-2).astype(mx.result_type(x1, x2))
    y = y[..., 0, :] if first else y
    return y[..., 0] if second else y


xp: Any = Namespace("mlx.core.linalg")
for _function in (inv, solve, svd, eig):
    setattr(xp, _function.__name__, _function)
xp.eigh = mx.linalg.eigh
