"""Functions that work element by element, run on parts of their arrays that stay in the cache, by two threads on large ones."""

import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["blockwise"]

PART = 1 << 15  # elements
MANY = 1 << 19  # from so many on, a second thread is worth its start
THREADS = min(2, int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))


def blockwise(function: Callable[..., Any], arrays: list[Any], reusable: list[int | None]) -> Any:
    """The results of an element-by-element function of arrays of one shape; see `polygrad.core.Backend`.

    NumPy's functions let other threads run, and blocks are disjoint, so two threads do two blocks at a time.
    """
    first = arrays[0]
    for a in arrays:
        if type(a) is not np.ndarray or a.dtype != first.dtype or a.shape != first.shape:
            return NotImplemented
    if not all(a.flags.c_contiguous for a in arrays[: len(reusable)]):
        return NotImplemented
    inputs = [np.ascontiguousarray(a).reshape(-1) for a in arrays]
    results = [np.empty_like(first) if i is None else arrays[i] for i in reusable]
    outputs = [r.reshape(-1) for r in results]

    def run(start: int, stop: int) -> None:
        for i in range(start, stop, PART):
            here = slice(i, min(i + PART, stop))
            for output, value in zip(outputs, function(*[a[here] for a in inputs]), strict=True):
                output[here] = value

    size = first.size
    if size < MANY or THREADS < 2:
        run(0, size)
        return tuple(results)
    half = size // PART // 2 * PART
    failures: list[BaseException] = []

    def help_out() -> None:
        try:
            run(0, half)
        except BaseException as error:  # handed to the caller below
            failures.append(error)

    helper = threading.Thread(target=help_out)
    helper.start()
    try:
        run(half, size)
    finally:
        helper.join()
    if failures:
        raise failures[0]
    return tuple(results)
