"""Python numbers whose value may differ from call to call: learning rates, step counts, arguments.

While a function is captured, such a number is a `TracedNumber`. Arithmetic on it is written down on a `Tape`, which each later
call replays on the numbers of that call, in Python, so that results are those of eager code to the last bit. What meets a tensor
becomes an argument of the compiled program. What is asked for its value (a comparison, an index, `math.sqrt`) is a guard: a
call for which the answer is another captures the function again.
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Callable
from typing import Any

__all__ = ["Tape", "TracedNumber", "cos"]

EXACT = 2**53  # integers up to here are exact in float64, which is how numbers reach the program


class Tape:
    """The arithmetic on a call's numbers.

    Attributes:
        inputs: how many numbers a call brings.
        used: the nodes whose values the program takes as arguments.
    """

    def __init__(self) -> None:
        self.inputs = 0
        self.types: list[type] = []
        self.steps: list[tuple[Callable[..., Any], tuple[int, ...]]] = []
        self.values: list[Any] = []
        self.guards: dict[int, Any] = {}
        self.used: list[int] = []
        self._known: dict[Any, int] = {}

    def input(self, value: float) -> TracedNumber:
        """A number that each call brings; all inputs come before any arithmetic."""
        assert not self.steps
        self.inputs += 1
        self.types.append(type(value))
        self.values.append(value)
        return TracedNumber(self, len(self.values) - 1)

    def _node(self, operand: Any) -> int:
        if isinstance(operand, TracedNumber):
            return operand.index
        return self._step((type(operand), repr(operand)), lambda: operand, ())

    def _step(self, key: Any, function: Callable[..., Any], operands: tuple[int, ...]) -> int:
        index = self._known.get(key)
        if index is None:
            self.values.append(function(*[self.values[i] for i in operands]))
            self.steps.append((function, operands))
            self._known[key] = index = len(self.values) - 1
        return index

    def apply(self, function: Callable[..., Any], *operands: Any) -> Any:
        """The result of Python arithmetic; the answer of a comparison is a plain bool, and a guard."""
        nodes = tuple([self._node(x) for x in operands])
        index = self._step((function, nodes), function, nodes)
        value = self.values[index]
        if type(value) in (int, float):
            return TracedNumber(self, index)
        self.guards[index] = value
        return value

    def specialise(self, number: TracedNumber) -> Any:
        """The number's value; a call in which it is another does not use this capture."""
        value = self.values[number.index]
        self.guards[number.index] = value
        return value

    def argument(self, number: TracedNumber) -> int | None:
        """The place of a number among the program's arguments; None if it must be a constant of the program."""
        value = self.values[number.index]
        if type(value) is int and not -EXACT <= value <= EXACT:
            self.specialise(number)
            return None
        if number.index not in self.used:
            self.used.append(number.index)
        return self.used.index(number.index)

    def replay(self, given: list[Any]) -> list[Any] | None:
        """The values of all nodes for a call's numbers, or None where a guard fails."""
        if list(map(type, given)) != self.types:
            return None
        values = list(given)
        try:
            for function, operands in self.steps:
                values.append(function(*[values[i] for i in operands]))
        except (ArithmeticError, ValueError):  # eager code will raise it again, where it belongs
            return None
        for index, expected in self.guards.items():
            if not same(values[index], expected):
                return None
        return values


def same(a: Any, b: Any) -> bool:
    """Equality of Python values that tells 1 from True and 1.0, and takes nan for nan."""
    return type(a) is type(b) and (a == b or (a != a and b != b))


def _unary(function: Callable[..., Any]) -> Any:
    def method(self: TracedNumber) -> Any:
        return self.tape.apply(function, self)

    return method


def _binary(function: Callable[..., Any]) -> Any:
    def method(self: TracedNumber, other: Any) -> Any:
        return self.tape.apply(function, self, other) if isinstance(other, NUMBERS) else NotImplemented

    return method


def _reflected(function: Callable[..., Any]) -> Any:
    def method(self: TracedNumber, other: Any) -> Any:
        return self.tape.apply(function, other, self) if isinstance(other, NUMBERS) else NotImplemented

    return method


def _value(convert: Callable[..., Any]) -> Any:
    def method(self: TracedNumber, *args: Any) -> Any:
        return convert(self.tape.specialise(self), *args)

    return method


class TracedNumber:
    """A Python number of a call; arithmetic on it is replayed in later calls."""

    __slots__ = ("tape", "index")

    def __init__(self, tape: Tape, index: int):
        self.tape, self.index = tape, index

    def __repr__(self) -> str:
        return repr(self.tape.values[self.index])

    def __format__(self, spec: str) -> str:
        return format(self.tape.values[self.index], spec)

    @property
    def kind(self) -> type:
        """int or float."""
        return type(self.tape.values[self.index])

    __add__, __radd__ = _binary(operator.add), _reflected(operator.add)
    __sub__, __rsub__ = _binary(operator.sub), _reflected(operator.sub)
    __mul__, __rmul__ = _binary(operator.mul), _reflected(operator.mul)
    __truediv__, __rtruediv__ = _binary(operator.truediv), _reflected(operator.truediv)
    __floordiv__, __rfloordiv__ = _binary(operator.floordiv), _reflected(operator.floordiv)
    __mod__, __rmod__ = _binary(operator.mod), _reflected(operator.mod)
    __pow__, __rpow__ = _binary(operator.pow), _reflected(operator.pow)
    __lt__, __le__, __gt__, __ge__ = (
        _binary(operator.lt),
        _binary(operator.le),
        _binary(operator.gt),
        _binary(operator.ge),
    )
    __eq__, __ne__ = _binary(operator.eq), _binary(operator.ne)
    __neg__, __pos__, __abs__ = _unary(operator.neg), _unary(operator.pos), _unary(abs)
    __floor__, __ceil__, __trunc__ = _unary(math.floor), _unary(math.ceil), _unary(math.trunc)
    __bool__ = _unary(bool)
    __float__, __int__, __index__, __complex__ = _value(float), _value(int), _value(operator.index), _value(complex)
    __hash__ = _value(hash)

    def __round__(self, digits: int | None = None) -> Any:
        return self.tape.apply(round, self) if digits is None else self.tape.apply(round, self, digits)

    def item(self) -> Any:
        """The value as a plain number, on which the capture then depends."""
        return self.tape.specialise(self)

    def __reduce__(self) -> Any:
        return _plain, (self.item(),)

    def __deepcopy__(self, memo: Any) -> TracedNumber:
        return self


def cos(x: Any) -> Any:
    """`math.cos`, which is written down for a number that differs from call to call."""
    return x.tape.apply(math.cos, x) if type(x) is TracedNumber else math.cos(x)


def _plain(value: Any) -> Any:
    return value


NUMBERS = (int, float, complex, TracedNumber)
numbers.Number.register(TracedNumber)
