"""Examples of an op, declared with it: documentation, and the conformance suite's data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Case", "ascending", "bools", "case", "hermitian", "ints", "separated"]


class ints:
    """Data for a case: an operand of integers in [low, high)."""

    def __init__(self, shape: tuple[int, ...], low: int, high: int):
        self.shape, self.low, self.high = shape, low, high

    def __repr__(self) -> str:
        return f"ints({self.shape}, {self.low}, {self.high})"


class bools:
    """Data for a case: an operand of booleans."""

    def __init__(self, shape: tuple[int, ...]):
        self.shape = shape

    def __repr__(self) -> str:
        return f"bools({self.shape})"


class separated:
    """Data for a case: matrices of full rank with well separated singular values and eigenvalues."""

    def __init__(self, shape: tuple[int, ...]):
        self.shape = shape

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.shape})"

    def fill(self, xp: Any, values: Any) -> Any:
        """Such matrices from random numbers in [-1, 1): 0.3 of them, and 2, 3, 4 ... on the diagonal."""
        rows, columns = self.shape[-2:]
        steps = xp.astype(xp.reshape(xp.arange(2, rows + 2), (rows, 1)), values.dtype)
        return 0.3 * values + xp.eye(rows, columns, dtype=values.dtype) * steps


class hermitian(separated):
    """Data for a case: Hermitian (symmetric if real), positive definite matrices with well separated eigenvalues."""

    def fill(self, xp: Any, values: Any) -> Any:
        """Such matrices from random numbers in [-1, 1)."""
        a = super().fill(xp, values)
        return 0.5 * (a + xp.matrix_transpose(xp.conj(a)))


class ascending(separated):
    """Data for a case: an operand sorted along its last axis."""

    def fill(self, xp: Any, values: Any) -> Any:
        """Random numbers in [-1, 1) in order."""
        return xp.sort(values, axis=-1) if self.shape else values


class Case:
    """One example of an op.

    Attributes:
        operands: per operand a shape, or `ints`, `bools`, `separated`, `hermitian`, `ascending`, a number, None.
        params: parameters by name.
        invariant: `invariant(xp, y)` gives the part of the results that the op defines uniquely (a decomposition leaves
            signs, phases and rotations open); it is compared and differentiated in place of `y`. None for all of it.
    """

    def __init__(
        self, operands: tuple[Any, ...], params: dict[str, Any], invariant: Callable[[Any, Any], Any] | None = None
    ):
        self.operands, self.params, self.invariant = operands, params, invariant

    def __repr__(self) -> str:
        return ", ".join([*map(repr, self.operands), *(f"{k}={v!r}" for k, v in self.params.items())])


def case(*operands: Any, invariant: Callable[[Any, Any], Any] | None = None, **params: Any) -> Case:
    """An entry of `cases=`: operand shapes, parameters, and what of the results is unique if not all."""
    return Case(operands, params, invariant)
