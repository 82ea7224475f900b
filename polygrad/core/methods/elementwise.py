"""Methods that work element by element, as PyTorch names them."""

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
    """Methods that work element by element, as PyTorch names them."""

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

    def round(self, *, decimals: int = 0) -> Tensor:
        """`polygrad.round` of this tensor."""
        return functions.round(self, decimals=decimals)

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

    def exp2(self) -> Tensor:
        """`polygrad.exp2` of this tensor."""
        return functions.exp2(self)

    def erfc(self) -> Tensor:
        """`polygrad.erfc` of this tensor."""
        return functions.erfc(self)

    def erfinv(self) -> Tensor:
        """`polygrad.erfinv` of this tensor."""
        return functions.erfinv(self)

    def lgamma(self) -> Tensor:
        """`polygrad.lgamma` of this tensor."""
        return functions.lgamma(self)

    def digamma(self) -> Tensor:
        """`polygrad.digamma` of this tensor."""
        return functions.digamma(self)

    def sinc(self) -> Tensor:
        """`polygrad.sinc` of this tensor."""
        return functions.sinc(self)

    def i0(self) -> Tensor:
        """`polygrad.special.i0` of this tensor."""
        return functions.special.i0(self)

    def arcsinh(self) -> Tensor:
        """`polygrad.asinh` of this tensor."""
        return functions.asinh(self)

    def arccosh(self) -> Tensor:
        """`polygrad.acosh` of this tensor."""
        return functions.acosh(self)

    def arctanh(self) -> Tensor:
        """`polygrad.atanh` of this tensor."""
        return functions.atanh(self)

    def frac(self) -> Tensor:
        """`polygrad.frac` of this tensor."""
        return functions.frac(self)

    def fix(self) -> Tensor:
        """`polygrad.trunc` of this tensor."""
        return functions.trunc(self)

    def deg2rad(self) -> Tensor:
        """`polygrad.deg2rad` of this tensor."""
        return functions.deg2rad(self)

    def rad2deg(self) -> Tensor:
        """`polygrad.rad2deg` of this tensor."""
        return functions.rad2deg(self)

    def sgn(self) -> Tensor:
        """`polygrad.sign` of this tensor."""
        return functions.sign(self)

    def signbit(self) -> Tensor:
        """`polygrad.signbit` of this tensor."""
        return functions.signbit(self)

    def isposinf(self) -> Tensor:
        """`polygrad.isposinf` of this tensor."""
        return functions.isposinf(self)

    def isneginf(self) -> Tensor:
        """`polygrad.isneginf` of this tensor."""
        return functions.isneginf(self)

    def isreal(self) -> Tensor:
        """`polygrad.isreal` of this tensor."""
        return functions.isreal(self)

    def conj_physical(self) -> Tensor:
        """`polygrad.conj` of this tensor."""
        return functions.conj(self)

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

    def div(self, other: Any, *, rounding_mode: str | None = None) -> Tensor:
        """`polygrad.div` of this tensor and `other`."""
        return functions.div(self, other, rounding_mode=rounding_mode)

    def divide(self, other: Any, *, rounding_mode: str | None = None) -> Tensor:
        """`polygrad.div` of this tensor and `other`."""
        return functions.div(self, other, rounding_mode=rounding_mode)

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

    def fmod(self, other: Any) -> Tensor:
        """`polygrad.fmod` of this tensor and `other`."""
        return functions.fmod(self, other)

    def fmax(self, other: Any) -> Tensor:
        """`polygrad.fmax` of this tensor and `other`."""
        return functions.fmax(self, other)

    def fmin(self, other: Any) -> Tensor:
        """`polygrad.fmin` of this tensor and `other`."""
        return functions.fmin(self, other)

    def float_power(self, other: Any) -> Tensor:
        """`polygrad.float_power` of this tensor and `other`."""
        return functions.float_power(self, other)

    def logaddexp2(self, other: Any) -> Tensor:
        """`polygrad.logaddexp2` of this tensor and `other`."""
        return functions.logaddexp2(self, other)

    def nextafter(self, other: Any) -> Tensor:
        """`polygrad.nextafter` of this tensor and `other`."""
        return functions.nextafter(self, other)

    def xlogy(self, other: Any) -> Tensor:
        """`polygrad.xlogy` of this tensor and `other`."""
        return functions.xlogy(self, other)

    def ldexp(self, other: Any) -> Tensor:
        """`polygrad.ldexp` of this tensor and `other`."""
        return functions.ldexp(self, other)

    def not_equal(self, other: Any) -> Tensor:
        """`polygrad.not_equal` of this tensor and `other`."""
        return functions.not_equal(self, other)

    def less(self, other: Any) -> Tensor:
        """`polygrad.less` of this tensor and `other`."""
        return functions.less(self, other)

    def less_equal(self, other: Any) -> Tensor:
        """`polygrad.less_equal` of this tensor and `other`."""
        return functions.less_equal(self, other)

    def greater(self, other: Any) -> Tensor:
        """`polygrad.greater` of this tensor and `other`."""
        return functions.greater(self, other)

    def greater_equal(self, other: Any) -> Tensor:
        """`polygrad.greater_equal` of this tensor and `other`."""
        return functions.greater_equal(self, other)

    def bitwise_left_shift(self, other: Any) -> Tensor:
        """`polygrad.bitwise_left_shift` of this tensor and `other`."""
        return functions.bitwise_left_shift(self, other)

    def bitwise_right_shift(self, other: Any) -> Tensor:
        """`polygrad.bitwise_right_shift` of this tensor and `other`."""
        return functions.bitwise_right_shift(self, other)

    def heaviside(self, values: Any) -> Tensor:
        """`polygrad.heaviside` of this tensor and `values`."""
        return functions.heaviside(self, values)

    def add(self, other: Any, *, alpha: Any = 1) -> Tensor:
        """This tensor plus `alpha` times `other`."""
        return functions.add(self, other if alpha == 1 else functions.multiply(other, alpha))

    def sub(self, other: Any, *, alpha: Any = 1) -> Tensor:
        """This tensor minus `alpha` times `other`."""
        return functions.subtract(self, other if alpha == 1 else functions.multiply(other, alpha))

    def subtract(self, other: Any, *, alpha: Any = 1) -> Tensor:
        """This tensor minus `alpha` times `other`."""
        return self.sub(other, alpha=alpha)

    def addcmul(self, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Tensor:
        """`self + value * tensor1 * tensor2`."""
        return functions.addcmul(self, tensor1, tensor2, value=value)

    def addcdiv(self, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Tensor:
        """`self + value * tensor1 / tensor2`."""
        return functions.addcdiv(self, tensor1, tensor2, value=value)

    def logit(self, eps: float | None = None) -> Tensor:
        """`polygrad.logit` of this tensor."""
        return functions.logit(self, eps)

    def polygamma(self, n: int) -> Tensor:
        """The n-th derivative of `digamma`."""
        return functions.polygamma(n, self)

    def mvlgamma(self, p: int) -> Tensor:
        """The logarithm of the multivariate gamma function of dimension `p`."""
        return functions.special.multigammaln(self, p)

    def frexp(self) -> Any:
        """Mantissas and exponents of 2 (a named tuple)."""
        return functions.frexp(self)

    def nan_to_num(self, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Tensor:
        """With NaN and the infinities replaced by finite numbers, the largest ones by default."""
        return functions.nan_to_num(self, nan, posinf, neginf)

    def clamp_min(self, min: Any) -> Tensor:
        """The elements, not less than `min`."""
        return functions.clamp_min(self, min)

    def clamp_max(self, max: Any) -> Tensor:
        """The elements, not more than `max`."""
        return functions.clamp_max(self, max)

    def clamp(self, min: Any = None, max: Any = None) -> Tensor:
        """The elements limited to [min, max]."""
        return functions.clip(self, min, max)

    def clip(self, min: Any = None, max: Any = None) -> Tensor:
        """The elements limited to [min, max]."""
        return functions.clip(self, min, max)

    def lerp(self, end: Any, weight: Any) -> Tensor:
        """`self + weight * (end - self)`."""
        return functions.add(self, functions.multiply(weight, functions.subtract(end, self)))

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
