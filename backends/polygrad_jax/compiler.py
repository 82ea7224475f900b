"""JAX's compiler: one XLA executable for a captured function."""

from collections.abc import Callable, Sequence
from operator import is_
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.extend.core import jaxpr_as_fun

__all__ = ["XLA", "device"]


class Program:
    """A traced function: JAX's own trace, and what of its arguments the results depend on."""

    def __init__(self, inner: Any, numbers: int, arrays: list[Any]):
        self.numbers = numbers
        self.shapes = [(array.shape, array.dtype) for array in arrays]
        vector = [np.zeros(numbers)] if numbers else []
        self.closed = inner.trace(vector, arrays).jaxpr
        self.arguments = vector, [_described(array) for array in arrays]  # held arrays could not be overwritten
        jaxpr = self.closed.jaxpr
        read = {id(v) for eqn in jaxpr.eqns for v in eqn.invars} | {id(v) for v in jaxpr.outvars}
        self.used = [id(v) in read for v in jaxpr.invars[1 if numbers else 0 :]]
        self.kinds = [(tuple(a.shape), a.dtype) for a in self.closed.out_avals]
        self.compiled: Any = None

    def compile(
        self, numbers: bool, donated: list[int], spare: Sequence[int] = ()
    ) -> Callable[[list[float], list[Any], list[Any]], list[Any]]:
        """The executable; see `polygrad.core.backend.Program`."""
        given = set(donated)
        kept = [i for i, used in enumerate(self.used) if used and i not in given]
        order = {i: k for k, i in enumerate(donated)}, {i: k for k, i in enumerate(kept)}

        def run(vector: list[Any], lent: list[Any], held: list[Any]) -> list[Any]:
            arrays = [
                lent[order[0][i]] if i in order[0] else held[order[1][i]] if i in order[1] else lax.full(*shape_of(i))
                for i in range(len(self.shapes))
            ]
            # An argument that no result depends on has no bearing on what is computed, nor has a number.
            return inner(vector if numbers else [np.zeros(self.numbers)] if self.numbers else [], arrays)

        def shape_of(i: int) -> tuple[Any, Any, Any]:
            shape, dtype = self.shapes[i]
            return shape, np.zeros((), dtype)[()], dtype

        inner = self._again()
        vector, arrays = self.arguments
        blanks = [jax.ShapeDtypeStruct(*self.kinds[i]) for i in spare]
        examples = [*(arrays[i] for i in donated), *blanks], [arrays[i] for i in kept]
        # XLA gives each donated buffer to the first result of its shape: that is why what is rebound comes first.
        lowered = jax.jit(run, donate_argnums=1, keep_unused=True).lower(vector if numbers else [], *examples)
        self.compiled = compiled = lowered.compile()
        place = _Numbers(self.numbers)

        def call(numbers: list[float], lent: list[Any], held: list[Any]) -> list[Any]:
            if blanks:
                for i, blank in enumerate(blanks, len(donated)):
                    if lent[i] is None:
                        lent[i] = jax.device_put(np.empty(blank.shape, blank.dtype))
            if not numbers:
                return compiled([], lent, held)
            known, placed, _ = place.last
            return compiled(placed if all(map(is_, numbers, known)) else place(numbers), lent, held)

        return call

    def _again(self) -> Callable[..., Any]:
        """The traced function as part of another: its equations, without running Python again."""
        flat = jaxpr_as_fun(self.closed)
        return lambda vector, arrays: flat(*vector, *arrays)

    def text(self) -> Any:
        """The jaxpr."""
        return self.closed

    def lowered(self) -> str:
        """XLA's optimised HLO."""
        return self.compiled.as_text()

    def cost(self) -> dict[str, float]:
        """XLA's estimate."""
        found = self.compiled.cost_analysis()
        return dict(found[0] if isinstance(found, list) else found)


class _Numbers:
    """Hands a call's numbers to a program. A transfer takes longer than a call: it is made once they stay as they are."""

    def __init__(self, capacity: int):
        self.capacity, self.seen = capacity, b""
        self.last: tuple[list[Any], list[Any], bytes] = [None], [], b""  # numbers, where they were put, their bits

    def __call__(self, numbers: list[float]) -> list[Any]:
        """The argument for numbers that are not the very objects of `last`."""
        padded = np.zeros(self.capacity)  # not to be written again: JAX may read it where it is
        padded[: len(numbers)] = numbers
        _, placed, bits = self.last
        if bits != (now := padded.tobytes()):
            if self.seen != now:
                self.seen = now
                return [padded]
            placed = [jax.device_put(padded)]
        self.last = numbers, placed, now
        return placed


def _described(array: Any) -> Any:
    """The shape and type of an array, and its place if it was put there on purpose."""
    where = array.sharding if isinstance(array, jax.Array) and array.committed else None
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=where)


class XLA:
    """What `polygrad.jit` needs of JAX."""

    errors = (
        jax.errors.ConcretizationTypeError,
        jax.errors.TracerArrayConversionError,
        jax.errors.TracerIntegerConversionError,
        jax.errors.NonConcreteBooleanIndexError,
        jax.errors.UnexpectedTracerError,
    )

    def is_traced(self, array: Any) -> bool:
        """True for a tracer."""
        return isinstance(array, jax.core.Tracer)

    def forget(self) -> None:
        """Drop all compiled programs, those of eager code too: XLA keeps each for ever."""
        jax.clear_caches()

    def trace(self, function: Callable[..., list[Any]], numbers: int, arrays: list[Any]) -> Program:
        """Trace a function; see `polygrad.core.backend.Compiler`."""

        def pure(vector: list[Any], arrays: list[Any]) -> list[Any]:
            return function(lambda i: lax.index_in_dim(vector[0], i, keepdims=False), arrays)

        return Program(jax.jit(pure), numbers, arrays)

    def cond(self, pred: Any, true: Callable[[], list[Any]], false: Callable[[], list[Any]]) -> list[Any]:
        """`lax.cond` of functions that find their operands by themselves."""
        return lax.cond(pred, true, false)

    def while_loop(
        self, cond: Callable[[list[Any]], Any], body: Callable[[list[Any]], list[Any]], carried: list[Any]
    ) -> list[Any]:
        """`lax.while_loop`."""
        return lax.while_loop(cond, body, carried)


def device(array: Any) -> Any:
    """Where an array is; None for a tracer, so that what is made beside it is placed by the compiler."""
    return None if isinstance(array, jax.core.Tracer) else array.device
