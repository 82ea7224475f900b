"""NumPy: random bits in place on uint32, and long draws in parts that stay in the cache."""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from polygrad.core import get_backend
from polygrad.core.backend import declared

__all__ = [
    "advance",
    "draw_bits",
    "draw_exponential",
    "draw_integers",
    "draw_mask",
    "draw_normal",
    "draw_uniform",
    "tabulated",
]

FEW = 192  # blocks for which Python's integers are faster: 14 us for 2 blocks, where arrays take 90 us
BLOCKS = 16384  # a part: three arrays of 64 kB
WORD, PARITY = 0xFFFFFFFF, 0x1BD11BDA
ROTATIONS = ((17, 29, 16, 24), (13, 15, 26, 6))
SHIFTS = {r: (np.asarray(r, np.uint32), np.asarray(32 - r, np.uint32)) for four in ROTATIONS for r in four}


def draw_bits(state: np.ndarray, /, *, blocks: int) -> np.ndarray:
    """Pairs of random words: a few in one of Python's integers, many in place on uint32."""
    k0, k1, counter = state.tolist()
    if blocks <= FEW:
        return _few(k0, k1, counter, blocks)
    words = np.empty((blocks, 2), np.int64)
    for start in range(0, blocks, BLOCKS):
        part = words[start : start + BLOCKS]
        _many(k0, k1, counter + start, part)
    return words


def _few(k0: int, k1: int, counter: int, blocks: int) -> np.ndarray:
    """The blocks from `counter` on, all in one integer, in lanes of 64 bits of which the lower 32 are used."""
    ones = ((1 << 64 * blocks) - 1) // 0xFFFFFFFFFFFFFFFF
    lower = ones * WORD
    keys = (k0 * ones, k1 * ones, (k0 ^ k1 ^ PARITY) * ones)
    x = int.from_bytes(np.arange(counter, counter + blocks, dtype="<i8").tobytes(), "little")
    x0, x1 = (x >> 32 & lower) + keys[0], (x & lower) + keys[1] & lower
    for step in range(1, 6):
        for r in ROTATIONS[step % 2]:
            x0 = x0 + x1
            x1 = ((x1 << r | x1 >> (32 - r)) ^ x0) & lower
        x0 = x0 + keys[step % 3]
        x1 = x1 + keys[(step + 1) % 3] + step * ones & lower
    words = (x0 & lower | x1 << 32).to_bytes(8 * blocks, "little")
    return np.frombuffer(words, "<u4").astype(np.int64).reshape(blocks, 2)


def _many(k0: int, k1: int, counter: int, words: np.ndarray) -> None:
    """Put the blocks from `counter` on into `words`."""
    x = np.arange(counter, counter + len(words), dtype=np.int64)
    keys = [np.asarray(k, np.uint32) for k in (k0, k1, k0 ^ k1 ^ PARITY)]
    x0, x1 = (x >> 32).astype(np.uint32), x.astype(np.uint32)
    x0 += keys[0]
    x1 += keys[1]
    shifted = np.empty_like(x1)
    for step in range(1, 6):
        for r in ROTATIONS[step % 2]:
            left, right = SHIFTS[r]
            np.add(x0, x1, x0)
            np.left_shift(x1, left, shifted)
            np.right_shift(x1, right, x1)
            np.bitwise_or(x1, shifted, x1)
            np.bitwise_xor(x1, x0, x1)
        x0 += keys[step % 3]
        x1 += keys[(step + 1) % 3]
        x1 += np.uint32(step)
    words[:, 0], words[:, 1] = x0, x1


def advance(state: np.ndarray, /, *, blocks: int) -> np.ndarray:
    """A copy of the state with its counter moved on."""
    moved = state.copy()
    moved[2] += blocks
    return moved


def tabulated(
    m: np.ndarray, c3: np.ndarray, c2: np.ndarray, c1: np.ndarray, c0: np.ndarray, /, *, bits: int
) -> np.ndarray:
    """A table's cubics at 32-bit numbers; a float's exponent is the octave, its next five bits the segment."""
    if bits != 32:
        return NotImplemented
    pattern = m.astype(np.float64).view(np.int64)
    segment = pattern >> 47
    segment ^= 31  # octaves are counted downward, segments upward
    np.subtract((1054 << 5) + 31, segment, out=segment)
    f = pattern
    f >>= 21
    f &= 0x3FFFFFF
    y = c3.take(segment)
    for c in (c2, c1, c0):
        y *= f
        y >>= 26
        y += c.take(segment)
    return y


@cache
def _reference(name: str) -> Callable[..., Any]:
    return get_backend("numpy").reference(declared.op(name))


def _in_parts(name: str, width: int) -> Callable[..., Any]:
    """The op's body on parts of a draw whose elements take `width` bits, or 64 if they are float64.

    It may be cut because an element depends on its place alone.
    """

    def draw(state: np.ndarray, /, *, shape: tuple[int, ...], **params: Any) -> Any:
        part = BLOCKS * 64 // (64 if params.get("dtype") == np.float64 else width)
        n = math.prod(shape)
        if n <= part:
            return NotImplemented
        body, state, drawn = _reference(name), state.copy(), []
        for start in range(0, n, part):
            drawn.append(body(state, shape=(min(part, n - start),), **params))
            state[2] += BLOCKS
        return np.concatenate(drawn).reshape(shape)

    draw.__name__ = draw.__qualname__ = name
    draw.__doc__ = f"The body of `{name}`, part by part."
    return draw


draw_exponential = _in_parts("draw_exponential", 32)
draw_integers = _in_parts("draw_integers", 64)
draw_mask = _in_parts("draw_mask", 16)
draw_normal = _in_parts("draw_normal", 32)
draw_uniform = _in_parts("draw_uniform", 32)
