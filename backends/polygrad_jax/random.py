"""JAX: a draw is one XLA program, and draws of similar size share it."""

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax

from polygrad.core import get_backend
from polygrad.core.backend import declared

__all__ = [
    "advance",
    "draw_bits",
    "draw_exponential",
    "draw_integers",
    "draw_mask",
    "draw_multinomial",
    "draw_normal",
    "draw_permutation",
    "draw_uniform",
]


@cache
def _program(name: str) -> Callable[..., Any]:
    """The op's body, compiled. Sizes and types make another program; bounds and counts are arguments of the same."""
    op = declared.op(name)
    sizes = {"shape", "dtype", "mean", "std", "n", "samples", "replacement", "" if name == "advance" else "blocks"}
    return jax.jit(partial(op.body, get_backend("jax").arrays), static_argnames=[p for p in op.defaults if p in sizes])


def _compiled(name: str) -> Callable[..., Any]:
    def draw(state: jax.Array, /, *operands: jax.Array, **parameters: Any) -> Any:
        if isinstance(state, jax.core.Tracer):  # part of somebody else's program
            return NotImplemented
        return _program(name)(state, *operands, **parameters)

    return _named(draw, name)


def _named(draw: Callable[..., Any], name: str) -> Callable[..., Any]:
    draw.__name__ = draw.__qualname__ = name
    draw.__doc__ = f"The body of `{name}`, compiled."
    return draw


advance = _compiled("advance")
draw_bits = _compiled("draw_bits")
draw_multinomial = _compiled("draw_multinomial")
draw_permutation = _compiled("draw_permutation")


SIZES = (256, 2048, 16384)


def _rounded(n: int) -> int:
    """A size from `SIZES`, or of four in an octave: a program compiles in 0.3 s, and long draws begin as short ones."""
    if n <= SIZES[-1]:
        return next(size for size in SIZES if n <= size)
    step = 1 << (n.bit_length() - 3)
    return -(-n // step) * step


@partial(jax.jit, static_argnames="shape")
def _cut(drawn: jax.Array, *, shape: tuple[int, ...]) -> jax.Array:
    return drawn[: math.prod(shape)].reshape(shape)


@partial(jax.jit, static_argnames="shape")
def _cut_scaled(drawn: jax.Array, scale: float, *, shape: tuple[int, ...]) -> jax.Array:
    return (drawn[: math.prod(shape)] * scale).reshape(shape)


def _shared(name: str, scale: str = "") -> Callable[..., Any]:
    """The op's body in a program for all draws of about that size; a scale is multiplied on last, as the body does."""

    def draw(state: jax.Array, /, *, shape: tuple[int, ...], **parameters: Any) -> Any:
        if isinstance(state, jax.core.Tracer):
            return NotImplemented
        factor = 1.0 if parameters.get("mean") else parameters.pop(scale, 1.0)
        drawn = _program(name)(state, shape=(_rounded(math.prod(shape)),), **parameters)
        return _cut(drawn, shape=shape) if factor == 1 else _cut_scaled(drawn, factor, shape=shape)

    return _named(draw, name)


draw_exponential = _shared("draw_exponential", scale="scale")
draw_integers = _shared("draw_integers")
draw_mask = _shared("draw_mask")
draw_normal = _shared("draw_normal", scale="std")
draw_uniform = _shared("draw_uniform")
