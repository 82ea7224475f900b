"""Parametrizations that come with the library: norms of weights taken apart or bounded, and orthogonal matrices."""

from __future__ import annotations

from typing import Any

from polygrad.autograd.modes import no_grad
from polygrad.core import Tensor
from polygrad.nn.functional.norm import normalize_vectors
from polygrad.nn.module import Module
from polygrad.nn.utils.parametrize import register_parametrization
from polygrad.ops.linalg import vector_norm
from polygrad.ops.products import matmul
from polygrad.ops.reductions import sum as sum_of

__all__ = ["spectral_norm", "weight_norm"]


# ---------------------------------------------------------------------------------------------------------- weight norm


def norm_except(x: Tensor, dim: int | None) -> Tensor:
    """The norms over all axes but one (over all for None), with the axes kept."""
    if dim is None or dim == -1:
        return vector_norm(x)
    others = tuple(a for a in range(x.ndim) if a != dim % x.ndim)
    return vector_norm(x, axis=others, keepdims=True) if others else vector_norm(x, axis=(), keepdims=True)


class _WeightNorm(Module):
    """g * v / |v|."""

    def __init__(self, dim: int | None = 0):
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return weight_v * (weight_g / norm_except(weight_v, self.dim))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norm_except(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Train the norm and the direction of a weight apart: g * v / |v| (Salimans and Kingma, 2016); returns the module.

    Args:
        name: the parameter; `original0` is g, `original1` is v.
        dim: a norm for each position along this axis; None for one norm.
    """
    return register_parametrization(module, name, _WeightNorm(dim), unsafe=True)


# -------------------------------------------------------------------------------------------------------- spectral norm


def power_iteration(matrix: Tensor, u: Tensor, v: Tensor, times: int, eps: float) -> tuple[Tensor, Tensor]:
    """Singular vectors of the largest singular value, after as many more steps of the power method."""
    with no_grad():
        m = matrix.detach()
        for _ in range(times):
            u = normalize_vectors(matmul(m, v), dim=0, eps=eps)
            v = normalize_vectors(matmul(m.swapaxes(0, 1), u), dim=0, eps=eps)
    return u, v


def as_matrix(weight: Tensor, dim: int) -> Tensor:
    """A weight with one axis first and the others joined."""
    moved = weight if dim == 0 else weight.permute(dim, *(a for a in range(weight.ndim) if a != dim))
    return moved.reshape(moved.shape[0], -1)


class _SpectralNorm(Module):
    """The weight over an estimate of its largest singular value, from the power method."""

    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12):
        super().__init__()
        if not -weight.ndim <= dim < weight.ndim:
            raise IndexError(
                f"Dimension out of range (expected to be in [-{weight.ndim}, {weight.ndim - 1}] but got {dim})"
            )
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.dim, self.eps, self.n_power_iterations = dim % weight.ndim, eps, n_power_iterations
        if weight.ndim > 1:
            matrix = as_matrix(weight.detach(), self.dim)
            u, v = (normalize_vectors(matrix.new_zeros((n,)).normal_(), dim=0, eps=eps) for n in matrix.shape)
            u, v = power_iteration(matrix, u, v, 15, eps)
            self.register_buffer("_u", u)
            self.register_buffer("_v", v)

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return normalize_vectors(weight, dim=0, eps=self.eps)
        matrix = as_matrix(weight, self.dim)
        if self.training:
            u, v = power_iteration(matrix, self._u, self._v, self.n_power_iterations, self.eps)
            self._u.data, self._v.data = u, v
        sigma = sum_of(self._u.detach() * matmul(matrix, self._v.detach()))
        return weight / sigma

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """Divide a weight by an estimate of its largest singular value (Miyato et al., 2018); returns the module.

    Args:
        name: the parameter; `_u` and `_v` are buffers.
        n_power_iterations: steps of the power method at each reading in training.
        eps: norms count as at least this.
        dim: the axis of the matrix's rows, by default 0, and 1 for transposed convolutions.

    Raises:
        ValueError: no such parameter; steps that are not positive.
    """
    weight: Any = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if dim is None:
        dim = 1 if type(module).__name__.startswith("ConvTranspose") else 0
    return register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, dim, eps))
