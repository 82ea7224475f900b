"""Methods that put a new value into the box, as PyTorch names them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from polygrad.core.methods.elementwise import ElementwiseMethods
from polygrad.core.methods.indexing import IndexingMethods
from polygrad.core.methods.linalg import LinalgMethods
from polygrad.core.methods.operators import functions
from polygrad.core.methods.reductions import ReductionMethods
from polygrad.core.methods.shape import ShapeMethods
from polygrad.core.methods.spelling import Described, sizes

if TYPE_CHECKING:
    from polygrad.core.tensor import Tensor

__all__ = ["InPlaceMethods"]

P = ParamSpec("P")


def in_place(
    method: Callable[Concatenate[Any, P], Any], reshapes: bool = False
) -> Callable[Concatenate[Any, P], Tensor]:
    """The method that puts what another one gives into the box, and returns the box; with its parameters.

    The result is broadcast to the tensor's shape and cast to its dtype, unless it `reshapes`.
    """

    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        value = method(self, *args, **kwargs)
        return functions.rebind(self, value) if reshapes else functions.overwrite(self, value)

    call.__name__, call.__qualname__ = f"{method.__name__}_", f"InPlaceMethods.{method.__name__}_"
    call.__doc__ = f"In-place `{method.__name__}`."
    call.__wrapped__ = method  # type: ignore[attr-defined]  # whose signature it has
    return call


class InPlaceMethods(Described):
    """Methods that put a new value into the box, as PyTorch names them."""

    __slots__ = ()

    def add_(self, other: Any, *, alpha: Any = 1) -> Tensor:
        """In-place `add` of `alpha * other`."""
        return functions.inplace("add", self, other if alpha == 1 else functions.multiply(other, alpha))

    def sub_(self, other: Any, *, alpha: Any = 1) -> Tensor:
        """In-place `subtract` of `alpha * other`."""
        return functions.inplace("subtract", self, other if alpha == 1 else functions.multiply(other, alpha))

    def mul_(self, other: Any) -> Tensor:
        """In-place `multiply`."""
        return functions.inplace("multiply", self, other)

    abs_ = in_place(ElementwiseMethods.abs)
    absolute_ = in_place(ElementwiseMethods.absolute)
    acos_ = in_place(ElementwiseMethods.acos)
    acosh_ = in_place(ElementwiseMethods.acosh)
    addcdiv_ = in_place(ElementwiseMethods.addcdiv)
    addcmul_ = in_place(ElementwiseMethods.addcmul)
    arccos_ = in_place(ElementwiseMethods.arccos)
    arccosh_ = in_place(ElementwiseMethods.arccosh)
    arcsin_ = in_place(ElementwiseMethods.arcsin)
    arcsinh_ = in_place(ElementwiseMethods.arcsinh)
    arctan_ = in_place(ElementwiseMethods.arctan)
    arctan2_ = in_place(ElementwiseMethods.arctan2)
    arctanh_ = in_place(ElementwiseMethods.arctanh)
    asin_ = in_place(ElementwiseMethods.asin)
    asinh_ = in_place(ElementwiseMethods.asinh)
    atan_ = in_place(ElementwiseMethods.atan)
    atan2_ = in_place(ElementwiseMethods.atan2)
    atanh_ = in_place(ElementwiseMethods.atanh)
    bitwise_and_ = in_place(ElementwiseMethods.bitwise_and)
    bitwise_left_shift_ = in_place(ElementwiseMethods.bitwise_left_shift)
    bitwise_not_ = in_place(ElementwiseMethods.bitwise_not)
    bitwise_or_ = in_place(ElementwiseMethods.bitwise_or)
    bitwise_right_shift_ = in_place(ElementwiseMethods.bitwise_right_shift)
    bitwise_xor_ = in_place(ElementwiseMethods.bitwise_xor)
    ceil_ = in_place(ElementwiseMethods.ceil)
    clamp_ = in_place(ElementwiseMethods.clamp)
    clamp_max_ = in_place(ElementwiseMethods.clamp_max)
    clamp_min_ = in_place(ElementwiseMethods.clamp_min)
    clip_ = in_place(ElementwiseMethods.clip)
    copysign_ = in_place(ElementwiseMethods.copysign)
    cos_ = in_place(ElementwiseMethods.cos)
    cosh_ = in_place(ElementwiseMethods.cosh)
    deg2rad_ = in_place(ElementwiseMethods.deg2rad)
    digamma_ = in_place(ElementwiseMethods.digamma)
    div_ = in_place(ElementwiseMethods.div)
    divide_ = in_place(ElementwiseMethods.divide)
    eq_ = in_place(ElementwiseMethods.eq)
    erf_ = in_place(ElementwiseMethods.erf)
    erfc_ = in_place(ElementwiseMethods.erfc)
    erfinv_ = in_place(ElementwiseMethods.erfinv)
    exp_ = in_place(ElementwiseMethods.exp)
    exp2_ = in_place(ElementwiseMethods.exp2)
    expm1_ = in_place(ElementwiseMethods.expm1)
    fix_ = in_place(ElementwiseMethods.fix)
    float_power_ = in_place(ElementwiseMethods.float_power)
    floor_ = in_place(ElementwiseMethods.floor)
    floor_divide_ = in_place(ElementwiseMethods.floor_divide)
    fmod_ = in_place(ElementwiseMethods.fmod)
    frac_ = in_place(ElementwiseMethods.frac)
    ge_ = in_place(ElementwiseMethods.ge)
    greater_ = in_place(ElementwiseMethods.greater)
    greater_equal_ = in_place(ElementwiseMethods.greater_equal)
    gt_ = in_place(ElementwiseMethods.gt)
    heaviside_ = in_place(ElementwiseMethods.heaviside)
    hypot_ = in_place(ElementwiseMethods.hypot)
    i0_ = in_place(ElementwiseMethods.i0)
    ldexp_ = in_place(ElementwiseMethods.ldexp)
    le_ = in_place(ElementwiseMethods.le)
    lerp_ = in_place(ElementwiseMethods.lerp)
    less_ = in_place(ElementwiseMethods.less)
    less_equal_ = in_place(ElementwiseMethods.less_equal)
    lgamma_ = in_place(ElementwiseMethods.lgamma)
    log_ = in_place(ElementwiseMethods.log)
    log10_ = in_place(ElementwiseMethods.log10)
    log1p_ = in_place(ElementwiseMethods.log1p)
    log2_ = in_place(ElementwiseMethods.log2)
    logical_and_ = in_place(ElementwiseMethods.logical_and)
    logical_not_ = in_place(ElementwiseMethods.logical_not)
    logical_or_ = in_place(ElementwiseMethods.logical_or)
    logical_xor_ = in_place(ElementwiseMethods.logical_xor)
    logit_ = in_place(ElementwiseMethods.logit)
    lt_ = in_place(ElementwiseMethods.lt)
    multiply_ = in_place(ElementwiseMethods.multiply)
    mvlgamma_ = in_place(ElementwiseMethods.mvlgamma)
    nan_to_num_ = in_place(ElementwiseMethods.nan_to_num)
    ne_ = in_place(ElementwiseMethods.ne)
    neg_ = in_place(ElementwiseMethods.neg)
    negative_ = in_place(ElementwiseMethods.negative)
    nextafter_ = in_place(ElementwiseMethods.nextafter)
    not_equal_ = in_place(ElementwiseMethods.not_equal)
    polygamma_ = in_place(ElementwiseMethods.polygamma)
    pow_ = in_place(ElementwiseMethods.pow)
    rad2deg_ = in_place(ElementwiseMethods.rad2deg)
    reciprocal_ = in_place(ElementwiseMethods.reciprocal)
    relu_ = in_place(ElementwiseMethods.relu)
    remainder_ = in_place(ElementwiseMethods.remainder)
    round_ = in_place(ElementwiseMethods.round)
    rsqrt_ = in_place(ElementwiseMethods.rsqrt)
    sgn_ = in_place(ElementwiseMethods.sgn)
    sigmoid_ = in_place(ElementwiseMethods.sigmoid)
    sign_ = in_place(ElementwiseMethods.sign)
    sin_ = in_place(ElementwiseMethods.sin)
    sinc_ = in_place(ElementwiseMethods.sinc)
    sinh_ = in_place(ElementwiseMethods.sinh)
    sqrt_ = in_place(ElementwiseMethods.sqrt)
    square_ = in_place(ElementwiseMethods.square)
    subtract_ = in_place(ElementwiseMethods.subtract)
    tan_ = in_place(ElementwiseMethods.tan)
    tanh_ = in_place(ElementwiseMethods.tanh)
    true_divide_ = in_place(ElementwiseMethods.true_divide)
    trunc_ = in_place(ElementwiseMethods.trunc)
    xlogy_ = in_place(ElementwiseMethods.xlogy)
    addbmm_ = in_place(LinalgMethods.addbmm)
    addmm_ = in_place(LinalgMethods.addmm)
    addmv_ = in_place(LinalgMethods.addmv)
    addr_ = in_place(LinalgMethods.addr)
    baddbmm_ = in_place(LinalgMethods.baddbmm)
    index_add_ = in_place(IndexingMethods.index_add)
    index_copy_ = in_place(IndexingMethods.index_copy)
    index_fill_ = in_place(IndexingMethods.index_fill)
    index_put_ = in_place(IndexingMethods.index_put)
    index_reduce_ = in_place(IndexingMethods.index_reduce)
    masked_fill_ = in_place(IndexingMethods.masked_fill)
    masked_scatter_ = in_place(IndexingMethods.masked_scatter)
    put_ = in_place(IndexingMethods.put)
    scatter_ = in_place(IndexingMethods.scatter)
    scatter_add_ = in_place(IndexingMethods.scatter_add)
    scatter_reduce_ = in_place(IndexingMethods.scatter_reduce)
    cumprod_ = in_place(ReductionMethods.cumprod)
    cumsum_ = in_place(ReductionMethods.cumsum)
    renorm_ = in_place(ReductionMethods.renorm)
    tril_ = in_place(ShapeMethods.tril)
    triu_ = in_place(ShapeMethods.triu)

    squeeze_ = in_place(ShapeMethods.squeeze, reshapes=True)
    swapaxes_ = in_place(ShapeMethods.swapaxes, reshapes=True)
    swapdims_ = in_place(ShapeMethods.swapdims, reshapes=True)
    t_ = in_place(ShapeMethods.t, reshapes=True)
    transpose_ = in_place(ShapeMethods.transpose, reshapes=True)
    unsqueeze_ = in_place(ShapeMethods.unsqueeze, reshapes=True)

    def zero_(self) -> Tensor:
        """Fill with zeros."""
        return self.fill_(0)

    def fill_(self, value: Any) -> Tensor:
        """Fill with one value."""
        return functions.refill(self, value)

    def copy_(self, source: Any) -> Tensor:
        """Take the values of `source`, broadcast and cast."""
        return functions.refill(self, source)

    def normal_(self, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Tensor:
        """Fill with normal random numbers."""
        return functions.overwrite(self, functions.random_normal(self, mean, std, generator))

    def uniform_(self, low: float = 0.0, high: float = 1.0, *, generator: Any = None) -> Tensor:
        """Fill with uniform random numbers of [low, high)."""
        return functions.overwrite(self, functions.random_uniform(self, low, high, generator))

    def bernoulli_(self, p: Any = 0.5, *, generator: Any = None) -> Tensor:
        """Fill with ones of probability `p` (a number or a tensor), else zeros."""
        chance = functions.broadcast_to(p, self.shape) if isinstance(p, Described) else p
        return functions.overwrite(self, functions.random_bernoulli(self, chance, generator))

    def exponential_(self, lambd: float = 1.0, *, generator: Any = None) -> Tensor:
        """Fill with exponentially distributed random numbers of mean 1 / lambd."""
        return functions.overwrite(self, functions.random_exponential(self, 1 / lambd, generator))

    def random_(self, low: int = 0, high: int | None = None, *, generator: Any = None) -> Tensor:
        """Fill with random integers of [low, high), or of [0, low) if only that is given, or as many as the dtype holds."""
        return functions.overwrite(self, functions.random_integers(self, low, high, generator))

    def fill_diagonal_(self, fill_value: Any, wrap: bool = False) -> Tensor:
        """Fill the main diagonal; of a tall matrix again below it, after a gap of one row, if `wrap`."""
        return functions.overwrite(self, functions.filled_diagonal(self, fill_value, wrap))

    def resize_(self, *size: Any) -> Tensor:
        """Take another size: the first elements stay, further ones are zero."""
        return functions.rebind(self, functions.resized(self, sizes(size)))
