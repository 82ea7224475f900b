"""Methods about data type, device and backend, as PyTorch names them."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any

from polygrad.core.dtype import as_dtype
from polygrad.core.methods.operators import functions
from polygrad.core.methods.spelling import Described, sizes

if TYPE_CHECKING:
    from polygrad.core.tensor import Tensor

__all__ = ["PlaceMethods"]


class PlaceMethods(Described):
    """Methods about data type, device and backend, as PyTorch names them."""

    __slots__ = ()

    def to(self, *args: Any, dtype: Any = None, device: Any = None, copy: builtins.bool = False) -> Tensor:
        """The tensor in another dtype, on another device, or on another backend (by its name), differentiably."""
        return functions.to(self, *args, dtype=dtype, device=device, copy=copy)

    def to_device(self, device: Any, /, *, stream: Any = None) -> Tensor:
        """The tensor on another device of its backend."""
        return functions.to(self, device=device)

    def type_as(self, other: Tensor) -> Tensor:
        """The tensor in the dtype of `other`."""
        return functions.astype(self, other.dtype)

    def type(self, dtype: Any) -> Tensor:
        """The tensor in `dtype`."""
        return functions.astype(self, dtype)

    def float(self) -> Tensor:
        """The tensor in float32."""
        return functions.astype(self, as_dtype("float32"))

    def double(self) -> Tensor:
        """The tensor in float64."""
        return functions.astype(self, as_dtype("float64"))

    def half(self) -> Tensor:
        """The tensor in float16."""
        return functions.astype(self, as_dtype("float16"))

    def bfloat16(self) -> Tensor:
        """The tensor in bfloat16."""
        return functions.astype(self, as_dtype("bfloat16"))

    def long(self) -> Tensor:
        """The tensor in int64."""
        return functions.astype(self, as_dtype("int64"))

    def int(self) -> Tensor:
        """The tensor in int32."""
        return functions.astype(self, as_dtype("int32"))

    def short(self) -> Tensor:
        """The tensor in int16."""
        return functions.astype(self, as_dtype("int16"))

    def char(self) -> Tensor:
        """The tensor in int8."""
        return functions.astype(self, as_dtype("int8"))

    def byte(self) -> Tensor:
        """The tensor in uint8."""
        return functions.astype(self, as_dtype("uint8"))

    def bool(self) -> Tensor:
        """The tensor in bool."""
        return functions.astype(self, as_dtype("bool"))

    def cfloat(self) -> Tensor:
        """The tensor in complex64."""
        return functions.astype(self, as_dtype("complex64"))

    def cdouble(self) -> Tensor:
        """The tensor in complex128."""
        return functions.astype(self, as_dtype("complex128"))

    def cpu(self) -> Tensor:
        """The tensor on the host's device of its backend (itself where there is only that)."""
        return functions.to_host(self)

    def cuda(self, device: Any = None) -> Tensor:
        """The tensor on a CUDA device of its backend (the first unless named); RuntimeError where there is none."""
        return functions.to(self, device="cuda" if device is None else device)

    def clone(self) -> Tensor:
        """A tensor of the same value whose gradient flows back to this one."""
        return functions.clone(self)

    def contiguous(self) -> Tensor:
        """This tensor: memory layout is the backend's business."""
        return self  # type: ignore[return-value]

    def is_contiguous(self) -> builtins.bool:
        """True: memory layout is the backend's business."""
        return True

    def is_floating_point(self) -> builtins.bool:
        """True for real floating-point dtypes."""
        return self.dtype.is_floating_point

    def is_complex(self) -> builtins.bool:
        """True for complex dtypes."""
        return self.dtype.is_complex

    def new_zeros(
        self, *size: Any, dtype: Any = None, device: Any = None, requires_grad: builtins.bool = False
    ) -> Tensor:
        """Zeros of this backend, and of this dtype and device unless given."""
        return functions.new_full(self, sizes(size), 0, dtype, device, requires_grad)

    def new_ones(
        self, *size: Any, dtype: Any = None, device: Any = None, requires_grad: builtins.bool = False
    ) -> Tensor:
        """Ones of this backend, and of this dtype and device unless given."""
        return functions.new_full(self, sizes(size), 1, dtype, device, requires_grad)

    def new_empty(
        self, *size: Any, dtype: Any = None, device: Any = None, requires_grad: builtins.bool = False
    ) -> Tensor:
        """A tensor of any values (zeros) of this backend, and of this dtype and device unless given."""
        return functions.new_full(self, sizes(size), 0, dtype, device, requires_grad)

    def new_full(
        self, size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: builtins.bool = False
    ) -> Tensor:
        """A constant of this backend, and of this dtype and device unless given."""
        return functions.new_full(self, tuple(size), fill_value, dtype, device, requires_grad)

    def new_tensor(
        self, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: builtins.bool = False
    ) -> Tensor:
        """`data` on this backend, in this dtype and on this device unless given."""
        return functions.new_tensor_like(self, data, dtype, device, requires_grad)

    def get_device(self) -> builtins.int:
        """The number of the accelerator that the tensor is on, -1 on the host."""
        name = str(self.device).lower()
        number = "".join(c if c.isdigit() else " " for c in name).split()
        return -1 if "cpu" in name else builtins.int(number[-1]) if number else 0

    def is_signed(self) -> builtins.bool:
        """True for dtypes that have negative numbers."""
        return self.dtype.is_signed

    def is_nonzero(self) -> builtins.bool:
        """True when the one element is not zero. Raises RuntimeError for other numbers of elements."""
        return builtins.bool(self)

    def bernoulli(self, p: Any = None, *, generator: Any = None) -> Tensor:
        """Ones with the probabilities in this tensor (or all with probability `p`), else zeros."""
        return functions.bernoulli(self, p, generator=generator)

    def multinomial(
        self, num_samples: builtins.int, replacement: builtins.bool = False, *, generator: Any = None
    ) -> Tensor:
        """Indices drawn by the weights in each row."""
        return functions.multinomial(self, num_samples, replacement, generator=generator)
