"""Methods that work element by element or pick elements, as PyTorch names them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polygrad.core.methods.operators import functions
from polygrad.core.methods.spelling import Described

if TYPE_CHECKING:
    from polygrad.core.tensor import Tensor

__all__ = ["ElementwiseMethods"]


class NoImaginaryPart(RuntimeError, AttributeError):
    """PyTorch's error for `imag` of a real tensor; an AttributeError too, so that hasattr() answers."""


class ElementwiseMethods(Described):
    """Methods that work element by element or pick elements, as PyTorch names them."""

    __slots__ = ()

    def exp(self) -> Tensor:
        """`polygrad.exp` of this tensor."""
        return functions.exp(self)

    def expm1(self) -> Tensor:
        """`polygrad.expm1` of this tensor."""
        return functions.expm1(self)

    def log(self) -> Tensor:
        """`polygrad.log` of this tensor."""
        return functions.log(self)

    def log1p(self) -> Tensor:
        """`polygrad.log1p` of this tensor."""
        return functions.log1p(self)

    def log2(self) -> Tensor:
        """`polygrad.log2` of this tensor."""
        return functions.log2(self)

    def log10(self) -> Tensor:
        """`polygrad.log10` of this tensor."""
        return functions.log10(self)

    def sqrt(self) -> Tensor:
        """`polygrad.sqrt` of this tensor."""
        return functions.sqrt(self)

    def square(self) -> Tensor:
        """`polygrad.square` of this tensor."""
        return functions.square(self)

    def sin(self) -> Tensor:
        """`polygrad.sin` of this tensor."""
        return functions.sin(self)

    def cos(self) -> Tensor:
        """`polygrad.cos` of this tensor."""
        return functions.cos(self)

    def tan(self) -> Tensor:
        """`polygrad.tan` of this tensor."""
        return functions.tan(self)

    def asin(self) -> Tensor:
        """`polygrad.asin` of this tensor."""
        return functions.asin(self)

    def acos(self) -> Tensor:
        """`polygrad.acos` of this tensor."""
        return functions.acos(self)

    def atan(self) -> Tensor:
        """`polygrad.atan` of this tensor."""
        return functions.atan(self)

    def sinh(self) -> Tensor:
        """`polygrad.sinh` of this tensor."""
        return functions.sinh(self)

    def cosh(self) -> Tensor:
        """`polygrad.cosh` of this tensor."""
        return functions.cosh(self)

    def tanh(self) -> Tensor:
        """`polygrad.tanh` of this tensor."""
        return functions.tanh(self)

    def asinh(self) -> Tensor:
        """`polygrad.asinh` of this tensor."""
        return functions.asinh(self)

    def acosh(self) -> Tensor:
        """`polygrad.acosh` of this tensor."""
        return functions.acosh(self)

    def atanh(self) -> Tensor:
        """`polygrad.atanh` of this tensor."""
        return functions.atanh(self)

    def floor(self) -> Tensor:
        """`polygrad.floor` of this tensor."""
        return functions.floor(self)

    def ceil(self) -> Tensor:
        """`polygrad.ceil` of this tensor."""
        return functions.ceil(self)

    def round(self) -> Tensor:
        """`polygrad.round` of this tensor."""
        return functions.round(self)

    def trunc(self) -> Tensor:
        """`polygrad.trunc` of this tensor."""
        return functions.trunc(self)

    def sign(self) -> Tensor:
        """`polygrad.sign` of this tensor."""
        return functions.sign(self)

    def conj(self) -> Tensor:
        """`polygrad.conj` of this tensor."""
        return functions.conj(self)

    def reciprocal(self) -> Tensor:
        """`polygrad.reciprocal` of this tensor."""
        return functions.reciprocal(self)

    def isnan(self) -> Tensor:
        """`polygrad.isnan` of this tensor."""
        return functions.isnan(self)

    def isinf(self) -> Tensor:
        """`polygrad.isinf` of this tensor."""
        return functions.isinf(self)

    def isfinite(self) -> Tensor:
        """`polygrad.isfinite` of this tensor."""
        return functions.isfinite(self)

    def abs(self) -> Tensor:
        """`polygrad.abs` of this tensor."""
        return functions.abs(self)

    def absolute(self) -> Tensor:
        """`polygrad.abs` of this tensor."""
        return functions.abs(self)

    def neg(self) -> Tensor:
        """`polygrad.negative` of this tensor."""
        return functions.negative(self)

    def negative(self) -> Tensor:
        """`polygrad.negative` of this tensor."""
        return functions.negative(self)

    def positive(self) -> Tensor:
        """`polygrad.positive` of this tensor."""
        return functions.positive(self)

    def rsqrt(self) -> Tensor:
        """`polygrad.rsqrt` of this tensor."""
        return functions.rsqrt(self)

    def sigmoid(self) -> Tensor:
        """`polygrad.sigmoid` of this tensor."""
        return functions.sigmoid(self)

    def relu(self) -> Tensor:
        """`polygrad.relu` of this tensor."""
        return functions.relu(self)

    def erf(self) -> Tensor:
        """`polygrad.erf` of this tensor."""
        return functions.erf(self)

    def arcsin(self) -> Tensor:
        """`polygrad.asin` of this tensor."""
        return functions.asin(self)

    def arccos(self) -> Tensor:
        """`polygrad.acos` of this tensor."""
        return functions.acos(self)

    def arctan(self) -> Tensor:
        """`polygrad.atan` of this tensor."""
        return functions.atan(self)

    def logical_not(self) -> Tensor:
        """`polygrad.logical_not` of this tensor."""
        return functions.logical_not(self)

    def bitwise_not(self) -> Tensor:
        """`polygrad.bitwise_invert` of this tensor."""
        return functions.bitwise_invert(self)

    def angle(self) -> Tensor:
        """`polygrad.angle` of this tensor."""
        return functions.angle(self)

    def softmax(self, dim: int) -> Tensor:
        """`polygrad.softmax` along `dim`."""
        return functions.softmax(self, axis=dim)

    def log_softmax(self, dim: int) -> Tensor:
        """`polygrad.log_softmax` along `dim`."""
        return functions.log_softmax(self, axis=dim)

    def pow(self, other: Any) -> Tensor:
        """`polygrad.pow` of this tensor and `other`."""
        return functions.pow(self, other)

    def multiply(self, other: Any) -> Tensor:
        """`polygrad.multiply` of this tensor and `other`."""
        return functions.multiply(self, other)

    def mul(self, other: Any) -> Tensor:
        """`polygrad.multiply` of this tensor and `other`."""
        return functions.multiply(self, other)

    def div(self, other: Any) -> Tensor:
        """`polygrad.divide` of this tensor and `other`."""
        return functions.divide(self, other)

    def true_divide(self, other: Any) -> Tensor:
        """`polygrad.divide` of this tensor and `other`."""
        return functions.divide(self, other)

    def remainder(self, other: Any) -> Tensor:
        """`polygrad.remainder` of this tensor and `other`."""
        return functions.remainder(self, other)

    def floor_divide(self, other: Any) -> Tensor:
        """`polygrad.floor_divide` of this tensor and `other`."""
        return functions.floor_divide(self, other)

    def maximum(self, other: Any) -> Tensor:
        """`polygrad.maximum` of this tensor and `other`."""
        return functions.maximum(self, other)

    def minimum(self, other: Any) -> Tensor:
        """`polygrad.minimum` of this tensor and `other`."""
        return functions.minimum(self, other)

    def atan2(self, other: Any) -> Tensor:
        """`polygrad.atan2` of this tensor and `other`."""
        return functions.atan2(self, other)

    def arctan2(self, other: Any) -> Tensor:
        """`polygrad.atan2` of this tensor and `other`."""
        return functions.atan2(self, other)

    def hypot(self, other: Any) -> Tensor:
        """`polygrad.hypot` of this tensor and `other`."""
        return functions.hypot(self, other)

    def logaddexp(self, other: Any) -> Tensor:
        """`polygrad.logaddexp` of this tensor and `other`."""
        return functions.logaddexp(self, other)

    def copysign(self, other: Any) -> Tensor:
        """`polygrad.copysign` of this tensor and `other`."""
        return functions.copysign(self, other)

    def eq(self, other: Any) -> Tensor:
        """`polygrad.equal` of this tensor and `other`."""
        return functions.equal(self, other)

    def ne(self, other: Any) -> Tensor:
        """`polygrad.not_equal` of this tensor and `other`."""
        return functions.not_equal(self, other)

    def lt(self, other: Any) -> Tensor:
        """`polygrad.less` of this tensor and `other`."""
        return functions.less(self, other)

    def le(self, other: Any) -> Tensor:
        """`polygrad.less_equal` of this tensor and `other`."""
        return functions.less_equal(self, other)

    def gt(self, other: Any) -> Tensor:
        """`polygrad.greater` of this tensor and `other`."""
        return functions.greater(self, other)

    def ge(self, other: Any) -> Tensor:
        """`polygrad.greater_equal` of this tensor and `other`."""
        return functions.greater_equal(self, other)

    def logical_and(self, other: Any) -> Tensor:
        """`polygrad.logical_and` of this tensor and `other`."""
        return functions.logical_and(self, other)

    def logical_or(self, other: Any) -> Tensor:
        """`polygrad.logical_or` of this tensor and `other`."""
        return functions.logical_or(self, other)

    def logical_xor(self, other: Any) -> Tensor:
        """`polygrad.logical_xor` of this tensor and `other`."""
        return functions.logical_xor(self, other)

    def bitwise_and(self, other: Any) -> Tensor:
        """`polygrad.bitwise_and` of this tensor and `other`."""
        return functions.bitwise_and(self, other)

    def bitwise_or(self, other: Any) -> Tensor:
        """`polygrad.bitwise_or` of this tensor and `other`."""
        return functions.bitwise_or(self, other)

    def bitwise_xor(self, other: Any) -> Tensor:
        """`polygrad.bitwise_xor` of this tensor and `other`."""
        return functions.bitwise_xor(self, other)

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

    def add(self, other: Any, *, alpha: Any = 1) -> Tensor:
        """This tensor plus `alpha` times `other`."""
        return functions.add(self, other if alpha == 1 else functions.multiply(other, alpha))

    def sub(self, other: Any, *, alpha: Any = 1) -> Tensor:
        """This tensor minus `alpha` times `other`."""
        return functions.subtract(self, other if alpha == 1 else functions.multiply(other, alpha))

    def clamp(self, min: Any = None, max: Any = None) -> Tensor:
        """The elements limited to [min, max]."""
        return functions.clip(self, min, max)

    def clip(self, min: Any = None, max: Any = None) -> Tensor:
        """The elements limited to [min, max]."""
        return functions.clip(self, min, max)

    def lerp(self, end: Any, weight: Any) -> Tensor:
        """`self + weight * (end - self)`."""
        return functions.add(self, functions.multiply(weight, functions.subtract(end, self)))

    def addmm(self, mat1: Any, mat2: Any, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
        """`beta * self + alpha * (mat1 @ mat2)`."""
        return functions.add(functions.multiply(self, beta), functions.multiply(functions.matmul(mat1, mat2), alpha))

    def where(self, condition: Any, other: Any) -> Tensor:
        """This tensor where `condition` holds, else `other`."""
        return functions.where(condition, self, other)

    def masked_fill(self, mask: Any, value: Any) -> Tensor:
        """With `value` where `mask` is true."""
        return functions.where(mask, value, self)

    def masked_select(self, mask: Any) -> Tensor:
        """The elements where `mask` is true, in one axis."""
        return functions.index(functions.broadcast_to(self, functions.broadcast_shapes(self.shape, mask.shape)), mask)

    def gather(self, dim: int, index: Any) -> Tensor:
        """Elements picked along `dim` by `index`."""
        return functions.take_along_axis(self, index, axis=dim)

    def index_select(self, dim: int, index: Any) -> Tensor:
        """Slices picked along `dim`."""
        return functions.take(self, index, axis=dim)

    def take_along_dim(self, indices: Any, dim: int) -> Tensor:
        """Elements picked along `dim` by `indices`."""
        return functions.take_along_axis(self, indices, axis=dim)

    def take(self, index: Any) -> Tensor:
        """Elements picked from the flattened tensor."""
        return functions.index(functions.reshape(self, (-1,)), index)

    def nonzero(self) -> Tensor:
        """Positions of the elements that are not zero, one a row."""
        return functions.stack(functions.nonzero(self), axis=1)

    def allclose(self, other: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
        """True when all elements agree within `atol + rtol * abs(other)`."""
        return bool(functions.all(functions.isclose(self, other, rtol=rtol, atol=atol, equal_nan=equal_nan)))

    def isclose(self, other: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
        """True where elements agree within `atol + rtol * abs(other)`."""
        return functions.isclose(self, other, rtol=rtol, atol=atol, equal_nan=equal_nan)

    def equal(self, other: Any) -> bool:
        """True when shape and all elements are the same."""
        return self.shape == other.shape and bool(functions.all(functions.equal(self, other)))

    @property
    def real(self) -> Tensor:
        """The real part."""
        return functions.real(self) if self.dtype.is_complex else self  # type: ignore[return-value]

    @property
    def imag(self) -> Tensor:
        """The imaginary part. Raises RuntimeError for real tensors."""
        if not self.dtype.is_complex:
            raise NoImaginaryPart("imag is not implemented for tensors with non-complex dtypes.")
        return functions.imag(self)
