"""What a tensor answers to: operators, and PyTorch's methods, each one line into the function of the same meaning.

The core does not know the ops; it knows their names. `functions` is the table that declarations fill, and the only way by
which a method reaches an op. Functions follow the standard and methods follow PyTorch where the two disagree
(`pg.max(x, axis=0)` gives values, `x.max(dim=0)` values and indices).
"""

from __future__ import annotations

import numbers
from opcode import opmap
from sys import _getframe, getrefcount
from types import FrameType
from typing import TYPE_CHECKING, Any

from polygrad.core.backend import Registered, backend_of
from polygrad.core.methods.spelling import Described

if TYPE_CHECKING:
    from collections.abc import Iterator

    from polygrad.core.tensor import Tensor

__all__ = ["OPERANDS", "Operators", "functions", "is_operand"]

functions: Any = Registered("polygrad.functions")

# Operand types that an operator takes without a closer look; the Tensor classes join when they are defined.
OPERANDS: set[type] = {float, int, bool, complex}


def is_operand(value: Any) -> bool:
    """True for what an op takes beside a Tensor: a number, a Tensor, a raw array of any library."""
    return isinstance(value, Operators | numbers.Number) or backend_of(value) is not None


def _operate(function: Any, x1: Any, x2: Any, other: Any) -> Any:
    """Apply a binary op for an operator, or leave it to the other operand's class."""
    return function(x1, x2) if is_operand(other) else NotImplemented


class _Probe:
    """Counts the references that the interpreter itself holds while it assigns to an index."""

    def __setitem__(self, key: list[int], value: Any, /) -> None:
        key.append(getrefcount(self))


def _references_to_a_temporary() -> int:
    """What `getrefcount` says in `__setitem__` of an object without a name; 0 where a name makes no difference to it."""
    named: list[int] = []
    temporary: list[int] = []
    probe = _Probe()
    probe[named] = None
    _Probe()[temporary] = None
    return temporary[0] if temporary[0] < named[0] else 0


TEMPORARY = _references_to_a_temporary()
STORES = {opmap[name] for name in ("STORE_SUBSCR", "STORE_SLICE") if name in opmap}


def _assigned(frame: FrameType) -> bool:
    """True where a frame stands at `x[...] = value`, and not at a call of the method, which holds one reference less."""
    return frame.f_code.co_code[frame.f_lasti] in STORES


class Operators(Described):
    """Python's operators on tensors."""

    __slots__ = ()
    _loses_writes = True  # what is written into it is gone with it

    def __add__(self, other: Any, /) -> Tensor:
        return functions.add(self, other) if type(other) in OPERANDS else _operate(functions.add, self, other, other)

    def __radd__(self, other: Any, /) -> Tensor:
        return functions.add(other, self) if type(other) in OPERANDS else _operate(functions.add, other, self, other)

    def __iadd__(self, other: Any, /) -> Tensor:
        return functions.inplace("add", self, other) if is_operand(other) else NotImplemented

    def __sub__(self, other: Any, /) -> Tensor:
        return (
            functions.subtract(self, other)
            if type(other) in OPERANDS
            else _operate(functions.subtract, self, other, other)
        )

    def __rsub__(self, other: Any, /) -> Tensor:
        return (
            functions.subtract(other, self)
            if type(other) in OPERANDS
            else _operate(functions.subtract, other, self, other)
        )

    def __isub__(self, other: Any, /) -> Tensor:
        return functions.inplace("subtract", self, other) if is_operand(other) else NotImplemented

    def __mul__(self, other: Any, /) -> Tensor:
        return (
            functions.multiply(self, other)
            if type(other) in OPERANDS
            else _operate(functions.multiply, self, other, other)
        )

    def __rmul__(self, other: Any, /) -> Tensor:
        return (
            functions.multiply(other, self)
            if type(other) in OPERANDS
            else _operate(functions.multiply, other, self, other)
        )

    def __imul__(self, other: Any, /) -> Tensor:
        return functions.inplace("multiply", self, other) if is_operand(other) else NotImplemented

    def __truediv__(self, other: Any, /) -> Tensor:
        return (
            functions.divide(self, other) if type(other) in OPERANDS else _operate(functions.divide, self, other, other)
        )

    def __rtruediv__(self, other: Any, /) -> Tensor:
        return (
            functions.divide(other, self) if type(other) in OPERANDS else _operate(functions.divide, other, self, other)
        )

    def __itruediv__(self, other: Any, /) -> Tensor:
        return functions.inplace("divide", self, other) if is_operand(other) else NotImplemented

    def __floordiv__(self, other: Any, /) -> Tensor:
        return (
            functions.floor_divide(self, other)
            if type(other) in OPERANDS
            else _operate(functions.floor_divide, self, other, other)
        )

    def __rfloordiv__(self, other: Any, /) -> Tensor:
        return (
            functions.floor_divide(other, self)
            if type(other) in OPERANDS
            else _operate(functions.floor_divide, other, self, other)
        )

    def __ifloordiv__(self, other: Any, /) -> Tensor:
        return functions.inplace("floor_divide", self, other) if is_operand(other) else NotImplemented

    def __mod__(self, other: Any, /) -> Tensor:
        return (
            functions.remainder(self, other)
            if type(other) in OPERANDS
            else _operate(functions.remainder, self, other, other)
        )

    def __rmod__(self, other: Any, /) -> Tensor:
        return (
            functions.remainder(other, self)
            if type(other) in OPERANDS
            else _operate(functions.remainder, other, self, other)
        )

    def __imod__(self, other: Any, /) -> Tensor:
        return functions.inplace("remainder", self, other) if is_operand(other) else NotImplemented

    def __pow__(self, other: Any, /) -> Tensor:
        return functions.pow(self, other) if type(other) in OPERANDS else _operate(functions.pow, self, other, other)

    def __rpow__(self, other: Any, /) -> Tensor:
        return functions.pow(other, self) if type(other) in OPERANDS else _operate(functions.pow, other, self, other)

    def __ipow__(self, other: Any, /) -> Tensor:
        return functions.inplace("pow", self, other) if is_operand(other) else NotImplemented

    def __matmul__(self, other: Any, /) -> Tensor:
        return NotImplemented if isinstance(other, numbers.Number) else _operate(functions.matmul, self, other, other)

    def __rmatmul__(self, other: Any, /) -> Tensor:
        return NotImplemented if isinstance(other, numbers.Number) else _operate(functions.matmul, other, self, other)

    def __imatmul__(self, other: Any, /) -> Tensor:
        return functions.inplace("matmul", self, other) if is_operand(other) else NotImplemented

    def __and__(self, other: Any, /) -> Tensor:
        return (
            functions.bitwise_and(self, other)
            if type(other) in OPERANDS
            else _operate(functions.bitwise_and, self, other, other)
        )

    def __rand__(self, other: Any, /) -> Tensor:
        return (
            functions.bitwise_and(other, self)
            if type(other) in OPERANDS
            else _operate(functions.bitwise_and, other, self, other)
        )

    def __iand__(self, other: Any, /) -> Tensor:
        return functions.inplace("bitwise_and", self, other) if is_operand(other) else NotImplemented

    def __or__(self, other: Any, /) -> Tensor:
        return (
            functions.bitwise_or(self, other)
            if type(other) in OPERANDS
            else _operate(functions.bitwise_or, self, other, other)
        )

    def __ror__(self, other: Any, /) -> Tensor:
        return (
            functions.bitwise_or(other, self)
            if type(other) in OPERANDS
            else _operate(functions.bitwise_or, other, self, other)
        )

    def __ior__(self, other: Any, /) -> Tensor:
        return functions.inplace("bitwise_or", self, other) if is_operand(other) else NotImplemented

    def __xor__(self, other: Any, /) -> Tensor:
        return (
            functions.bitwise_xor(self, other)
            if type(other) in OPERANDS
            else _operate(functions.bitwise_xor, self, other, other)
        )

    def __rxor__(self, other: Any, /) -> Tensor:
        return (
            functions.bitwise_xor(other, self)
            if type(other) in OPERANDS
            else _operate(functions.bitwise_xor, other, self, other)
        )

    def __ixor__(self, other: Any, /) -> Tensor:
        return functions.inplace("bitwise_xor", self, other) if is_operand(other) else NotImplemented

    def __lshift__(self, other: Any, /) -> Tensor:
        return (
            functions.bitwise_left_shift(self, other)
            if type(other) in OPERANDS
            else _operate(functions.bitwise_left_shift, self, other, other)
        )

    def __rlshift__(self, other: Any, /) -> Tensor:
        return (
            functions.bitwise_left_shift(other, self)
            if type(other) in OPERANDS
            else _operate(functions.bitwise_left_shift, other, self, other)
        )

    def __ilshift__(self, other: Any, /) -> Tensor:
        return functions.inplace("bitwise_left_shift", self, other) if is_operand(other) else NotImplemented

    def __rshift__(self, other: Any, /) -> Tensor:
        return (
            functions.bitwise_right_shift(self, other)
            if type(other) in OPERANDS
            else _operate(functions.bitwise_right_shift, self, other, other)
        )

    def __rrshift__(self, other: Any, /) -> Tensor:
        return (
            functions.bitwise_right_shift(other, self)
            if type(other) in OPERANDS
            else _operate(functions.bitwise_right_shift, other, self, other)
        )

    def __irshift__(self, other: Any, /) -> Tensor:
        return functions.inplace("bitwise_right_shift", self, other) if is_operand(other) else NotImplemented

    def __eq__(self, other: Any, /) -> Any:
        return functions.equal(self, other) if is_operand(other) else NotImplemented

    def __ne__(self, other: Any, /) -> Any:
        return functions.not_equal(self, other) if is_operand(other) else NotImplemented

    def __lt__(self, other: Any, /) -> Any:
        return functions.less(self, other) if is_operand(other) else NotImplemented

    def __le__(self, other: Any, /) -> Any:
        return functions.less_equal(self, other) if is_operand(other) else NotImplemented

    def __gt__(self, other: Any, /) -> Any:
        return functions.greater(self, other) if is_operand(other) else NotImplemented

    def __ge__(self, other: Any, /) -> Any:
        return functions.greater_equal(self, other) if is_operand(other) else NotImplemented

    __hash__ = object.__hash__

    def __neg__(self) -> Tensor:
        return functions.negative(self)

    def __pos__(self) -> Tensor:
        return functions.positive(self)

    def __abs__(self) -> Tensor:
        return functions.abs(self)

    def __invert__(self) -> Tensor:
        return functions.bitwise_invert(self)

    def __getitem__(self, key: Any, /) -> Tensor:
        return functions.index(self, key)

    def __setitem__(self, key: Any, value: Any, /) -> None:
        if self._loses_writes and getrefcount(self) == TEMPORARY and _assigned(_getframe(1)):
            raise RuntimeError(
                "this would write into a temporary tensor that nothing refers to, because indexing gives a value and not a "
                "view: write x[i, j] = value with one index in place of x[i][j] = value, or give the tensor a name first"
            )
        functions.assign_index(self, key, value)

    def __iter__(self) -> Iterator[Tensor]:
        if not self.shape:
            raise TypeError("iteration over a 0-d tensor")
        return iter(functions.unstack(self))

    def __contains__(self, value: Any) -> bool:
        return bool(functions.any(functions.equal(self, value)))
