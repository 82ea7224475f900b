"""Parametrizations that come with the library: norms of weights taken apart or bounded, and orthogonal matrices."""

from __future__ import annotations

from collections.abc import Callable

from polygrad.autograd.modes import no_grad
from polygrad.core import Tensor
from polygrad.nn.functional.norm import normalize_vectors
from polygrad.nn.init import orthonormal
from polygrad.nn.module import Module
from polygrad.nn.utils.parametrize import register_parametrization
from polygrad.ops.elementwise import abs as absolute
from polygrad.ops.elementwise import conj, sqrt, square, trunc
from polygrad.ops.indexing import where
from polygrad.ops.linalg import diagonal, solve, vector_norm
from polygrad.ops.linalg_beyond import householder_product, matrix_exp
from polygrad.ops.linalg_parts import identity
from polygrad.ops.products import matmul
from polygrad.ops.reductions import max as max_of
from polygrad.ops.reductions import sum as sum_of
from polygrad.ops.shapes import concat, stack, tril
from polygrad.ops.windows import pad_constant

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


def _weight_of(module: Module, name: str) -> Tensor:
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    return weight


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
    weight = _weight_of(module, name)
    if dim is None:
        dim = 1 if type(module).__name__.startswith("ConvTranspose") else 0
    return register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, dim, eps))


# ---------------------------------------------------------------------------------------------------- orthogonal matrices


def _skew(x: Tensor) -> Tensor:
    """The triangle of a tall matrix on and below the diagonal, in a square one, minus its adjoint."""
    missing = x.shape[-2] - x.shape[-1]
    low = pad_constant(tril(x), padding=((0, 0),) * (x.ndim - 1) + ((0, missing),))
    return low - conj(low).mT


def _matrix_exp(x: Tensor) -> Tensor:
    return matrix_exp(_skew(x))[..., : x.shape[-1]]


def _cayley(x: Tensor) -> Tensor:
    """(1 - A/2)^-1 (1 + A/2) for the skew matrix A."""
    half = _skew(x) / 2
    one = identity(x._backend.tensors, x.shape[-2], x)
    return solve(one - half, one + half)[..., : x.shape[-1]]


def _householder(x: Tensor) -> Tensor:
    """The product of the reflections along the columns below the diagonal, times the signs on the diagonal."""
    below = tril(x, k=-1)
    tau = 2 / (1 + square(below).sum(dim=-2))
    return householder_product(below, tau) * trunc(diagonal(x.detach())).unsqueeze(-2)


def _reflected(x: Tensor) -> Tensor:
    """What `_householder` takes to the factor Q of x = QR, for a positive diagonal of R."""
    rows, columns = x.shape[-2:]
    place = x._backend.tensors.arange(rows, device=x.device)
    found, rest = [], x
    for i in range(columns):
        below = where(place > i, rest[..., i], 0)
        alpha = rest[..., i, i].unsqueeze(-1)
        size = sqrt(alpha**2 + square(below).sum(dim=-1, keepdim=True))
        scale = where(alpha < 0, alpha - size, alpha + size)  # no digits cancel
        v = where(place == i, 1, below / where(scale == 0, 1, scale))
        found.append(where(place == i, where(alpha < 0, 1, -1), v))
        tau = 2 / square(v).sum(dim=-1, keepdim=True)
        rest = rest - (tau * v).unsqueeze(-1) * sum_of(v.unsqueeze(-1) * rest, axis=-2, keepdims=True)
    return stack(found, axis=-1)


MAPS: dict[str, Callable[[Tensor], Tensor]] = {
    "matrix_exp": _matrix_exp,
    "cayley": _cayley,
    "householder": _householder,
}


class _Orthogonal(Module):
    """An orthogonal matrix, made of a matrix of the same shape."""

    def __init__(self, weight: Tensor, orthogonal_map: str, *, use_trivialization: bool = True):
        super().__init__()
        if weight.dtype.is_complex and orthogonal_map == "householder":
            raise ValueError("The householder parametrization does not support complex tensors.")
        self.shape, self.orthogonal_map, self.use_trivialization = weight.shape, orthogonal_map, use_trivialization
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Tensor) -> Tensor:
        wide = X.shape[-2] < X.shape[-1]
        q = MAPS[self.orthogonal_map](X.mT if wide else X)
        if self.use_trivialization and self.base is not None:
            q = matmul(self.base, q)
        return q.mT if wide else q

    def right_inverse(self, Q: Tensor) -> Tensor:
        if Q.shape != self.shape:
            raise ValueError(
                f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of shape {Q.shape}."
            )
        wide = Q.shape[-2] < Q.shape[-1]
        q = (Q.mT if wide else Q).detach()
        if self.use_trivialization:
            self.base = _completed(q)
            xp = q._backend.tensors
            signs = xp.zeros_like(q) - xp.eye(*q.shape[-2:], dtype=q.dtype, device=q.device)
        elif self.orthogonal_map == "householder":
            signs = _reflected(q)
        else:
            raise NotImplementedError(
                "It is not possible to assign to the matrix exponential or the Cayley parametrizations when "
                "use_trivialization=False."
            )
        return signs.mT if wide else signs


def _completed(q: Tensor) -> Tensor:
    """A square orthogonal matrix that begins with the columns of q, if they are orthonormal, or with their factor Q."""
    rows, columns = q.shape[-2:]
    if rows != columns:
        drawn = absolute(q).new_zeros((*q.shape[:-1], rows - columns)).normal_()  # real ones do for complex numbers too
        return orthonormal(concat([q, drawn.to(q.dtype)], axis=-1))
    xp = q._backend.tensors
    one = identity(xp, columns, q)
    bound = 10 * rows * float(xp.finfo(q.dtype).eps)
    error = absolute(matmul(conj(q).mT, q) - one) - 1e-5 * absolute(one)
    return q.clone() if bool(max_of(error) <= bound) else orthonormal(q)


def orthogonal(
    module: Module, name: str = "weight", orthogonal_map: str | None = None, *, use_trivialization: bool = True
) -> Module:
    """Make a weight orthogonal (unitary): its columns are orthonormal, or its rows where they are fewer; returns the module.

    Args:
        name: the parameter, a matrix or a stack of them.
        orthogonal_map: "matrix_exp" or "cayley" of a skew matrix, or "householder", a product of reflections. By default the first for
            square and complex matrices, and the last for others.
        use_trivialization: multiply a square orthogonal matrix, the buffer `base`, which gives the weight at first (Lezcano-Casado,
            "Trivializations for gradient-based optimization on manifolds", 2019).

    Raises:
        ValueError: no such parameter, a vector, another map, or reflections for complex numbers.
        NotImplementedError: an assignment to the weight without `base`, but for reflections.
    """
    weight = _weight_of(module, name)
    if weight.ndim < 2:
        raise ValueError(f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions.")
    if orthogonal_map is None:
        square_or_complex = weight.shape[-2] == weight.shape[-1] or weight.dtype.is_complex
        orthogonal_map = "matrix_exp" if square_or_complex else "householder"
    if orthogonal_map not in MAPS:
        raise ValueError(
            f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}'
        )
    made = _Orthogonal(weight, orthogonal_map, use_trivialization=use_trivialization)
    return register_parametrization(module, name, made, unsafe=True)
