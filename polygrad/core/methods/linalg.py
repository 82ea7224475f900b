"""Methods that multiply matrices, factor and invert them, as PyTorch names them."""

from __future__ import annotations

from collections import namedtuple
from typing import TYPE_CHECKING, Any

from polygrad.core.methods.operators import functions
from polygrad.core.methods.spelling import Described

if TYPE_CHECKING:
    from polygrad.core.tensor import Tensor

__all__ = ["LinalgMethods"]


class SVD(namedtuple("SVD", "U S V")):
    """Singular vectors in columns, and singular values."""

    __slots__ = ()


class LinalgMethods(Described):
    """Methods that multiply matrices, factor and invert them, as PyTorch names them."""

    __slots__ = ()

    def matmul(self, other: Any) -> Tensor:
        """`polygrad.matmul` of this tensor and `other`."""
        return functions.matmul(self, other)

    def mm(self, other: Any) -> Tensor:
        """`polygrad.matmul` of this tensor and `other`."""
        return functions.matmul(self, other)

    def bmm(self, other: Any) -> Tensor:
        """`polygrad.matmul` of this tensor and `other`."""
        return functions.matmul(self, other)

    def mv(self, other: Any) -> Tensor:
        """`polygrad.matmul` of this tensor and `other`."""
        return functions.matmul(self, other)

    def outer(self, other: Any) -> Tensor:
        """`polygrad.linalg.outer` of this tensor and `other`."""
        return functions.linalg.outer(self, other)

    def dot(self, other: Any) -> Tensor:
        """The sum of products of two vectors, without conjugation."""
        return functions.sum(functions.multiply(self, other))

    def addmm(self, mat1: Any, mat2: Any, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
        """`beta * self + alpha * (mat1 @ mat2)`."""
        return functions.add(functions.multiply(self, beta), functions.multiply(functions.matmul(mat1, mat2), alpha))

    def inner(self, other: Any) -> Tensor:
        """The sums of products over the last axes."""
        return functions.inner(self, other)

    def vdot(self, other: Any) -> Tensor:
        """The sum of products of two vectors, this one conjugated."""
        return functions.vdot(self, other)

    def ger(self, vec2: Any) -> Tensor:
        """The products of all elements of two vectors."""
        return functions.linalg.outer(self, vec2)

    def kron(self, other: Any) -> Tensor:
        """The Kronecker product."""
        return functions.kron(self, other)

    def cross(self, other: Any, dim: int | None = None) -> Tensor:
        """The cross product along `dim`, the first axis of size three by default."""
        if dim is None:
            dim = next((i for i, n in enumerate(self.shape) if n == 3), -1)
        return functions.linalg.cross(self, other, axis=dim)

    def addmv(self, mat: Any, vec: Any, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
        """`beta * self + alpha * (mat @ vec)`."""
        return functions.addmv(self, mat, vec, beta=beta, alpha=alpha)

    def addr(self, vec1: Any, vec2: Any, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
        """`beta * self + alpha *` the products of all elements of two vectors."""
        return functions.addr(self, vec1, vec2, beta=beta, alpha=alpha)

    def addbmm(self, batch1: Any, batch2: Any, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
        """`beta * self + alpha *` the sum of `batch1 @ batch2` over the batch."""
        return functions.addbmm(self, batch1, batch2, beta=beta, alpha=alpha)

    def baddbmm(self, batch1: Any, batch2: Any, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
        """`beta * self + alpha * (batch1 @ batch2)`, matrix by matrix."""
        return functions.baddbmm(self, batch1, batch2, beta=beta, alpha=alpha)

    def det(self) -> Tensor:
        """The determinant of each matrix."""
        return functions.linalg.det(self)

    def logdet(self) -> Tensor:
        """The logarithm of the determinant of each matrix, NaN where that is negative."""
        return functions.logdet(self)

    def slogdet(self) -> Any:
        """Sign and logarithm of the absolute value of the determinant (a named tuple)."""
        return functions.linalg.slogdet(self)

    def inverse(self) -> Tensor:
        """The inverse of each matrix."""
        return functions.linalg.inv(self)

    def pinverse(self, rcond: float = 1e-15) -> Tensor:
        """The pseudo-inverse, singular values up to `rcond` times the largest counting as zero."""
        return functions.linalg.pinv(self, rtol=rcond)

    def matrix_power(self, n: int) -> Tensor:
        """Each matrix to an integer power."""
        return functions.linalg.matrix_power(self, n)

    def matrix_exp(self) -> Tensor:
        """The exponential of each matrix."""
        return functions.linalg.matrix_exp(self)

    def cholesky(self, upper: bool = False) -> Tensor:
        """The Cholesky factor of each Hermitian positive definite matrix."""
        return functions.linalg.cholesky(self, upper=upper)

    def cholesky_solve(self, input2: Any, upper: bool = False) -> Tensor:
        """The solution of A @ X = self by the Cholesky factor `input2` of A."""
        return functions.cholesky_solve(self, input2, upper)

    def cholesky_inverse(self, upper: bool = False) -> Tensor:
        """The inverse of the matrix of which this is the Cholesky factor."""
        return functions.cholesky_inverse(self, upper)

    def qr(self, some: bool = True) -> Any:
        """An orthogonal and an upper triangular factor, reduced if `some` (a named tuple)."""
        return functions.linalg.qr(self, mode="reduced" if some else "complete")

    def svd(self, some: bool = True) -> Any:
        """U, S and V with self = U @ diag(S) @ V^H, reduced if `some` (a named tuple)."""
        u, s, vh = functions.linalg.svd(self, full_matrices=not some)
        return SVD(u, s, functions.conj(functions.matrix_transpose(vh)))
