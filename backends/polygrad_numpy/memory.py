"""glibc's allocator, asked to keep what one step frees for the next, which would else fault every page in again.

A step of a small GPT had 2000 to 8000 faults, and has none; it took 6 % less time in one comparison and no less in another. The
memory is the process's: at most KEPT bytes at the top of the heap stay there.
An environment that sets one of glibc's own variables (MALLOC_TRIM_THRESHOLD_ ...) is left alone.
"""

import ctypes
import math
import os
import sys
from functools import lru_cache
from typing import Any

import numpy as np

from polygrad_numpy.blas import address

__all__ = ["aligned", "beside", "keep_freed", "ones"]

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # numbers of mallopt's parameters in malloc.h
KEPT = 256 << 20
LARGEST = 32 << 20  # arrays up to this size come from the heap (glibc allows no more)
LINE = 64  # bytes of a line of the cache, and of a register of AVX-512
VARIABLES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES")


def keep_freed() -> bool:
    """Ask for it, where the C library is glibc and nobody asked for anything else; whether it was done."""
    if not sys.platform.startswith("linux") or any(name in os.environ for name in VARIABLES):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(TRIM_THRESHOLD, KEPT) and mallopt(MMAP_THRESHOLD, LARGEST))


def aligned(dtype: Any, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    """New arrays in one memory, each at the start of a line of the cache, and not all as far into a page.

    glibc's arrays start 16 bytes into a line, and those made one after another 16 bytes further into a page each. There a
    product of two arrays of 128 kB takes 14 us, as each of its loads waits for a store that looks alike, and here it takes 6.
    """
    sizes = [math.prod(shape) * dtype.itemsize for shape in shapes]
    steps = [(size // LINE + 2 + 5 * i) * LINE for i, size in enumerate(sizes)]
    memory = np.empty(sum(steps) + LINE, np.uint8)
    place, found = -address(memory) % LINE, []
    for shape, size, step in zip(shapes, sizes, steps, strict=True):
        found.append(memory[place : place + size].view(dtype).reshape(shape))
        place += step
    return found


@lru_cache(maxsize=64)
def _order(sizes: tuple[int, ...], strides: tuple[int, ...], step: int) -> tuple[list[int], list[int]] | None:
    """The sizes by falling strides, and the places of the axes among them; None if there are gaps between items of `step`."""
    order = sorted(range(len(sizes)), key=lambda i: -strides[i])
    ordered, places = [sizes[i] for i in order], [order.index(i) for i in range(len(order))]
    for i in reversed(order):
        if strides[i] != step:
            return None
        step *= sizes[i]
    return ordered, places


def beside(*arrays: np.ndarray) -> list[np.ndarray]:
    """New arrays laid out as these are; beside each other, where these are the slices of one array, so that `stack` finds it."""
    first = arrays[0]
    if all(a.shape == first.shape and a.strides == first.strides for a in arrays):
        places = [address(a) for a in arrays]
        step = places[1] - places[0]
        if step > 0 and all(p == places[0] + i * step for i, p in enumerate(places)):
            order = _order((len(arrays), *first.shape), (step, *first.strides), first.itemsize)
            if order is not None:
                return list(np.empty(order[0], first.dtype).transpose(order[1]))
    return [np.empty_like(a) for a in arrays]


@lru_cache(maxsize=16)
def ones(count: int, dtype: Any) -> np.ndarray:
    """A vector of ones, which nobody may write into: products with it are sums, and outer products with it repeat a vector."""
    return np.ones(count, dtype)
