"""Functions that work element by element, run on parts of their arrays that stay in the cache, by two threads on large ones."""

import os
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from polygrad_numpy.blas import Vector, address, axpby_of

__all__ = ["blockwise"]

PART = 1 << 15  # elements
MANY = 1 << 19  # from so many on, a second thread is worth its start
THREADS = min(2, int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))


Axpby = Callable[[float, Vector, float, Vector], None]


def _descend(axpby: Axpby, p: Vector, g: Vector, t: Vector, numbers: Any, options: Any) -> None:
    """`polygrad.optim.SGD`'s update without momentum."""
    rate = numbers[0]
    axpby(-rate, g, 1 - rate * options["weight_decay"], p)


def _accelerate(axpby: Axpby, p: Vector, v: Vector, g: Vector, t: Vector, numbers: Any, options: Any) -> None:
    """`polygrad.optim.SGD`'s update with momentum."""
    rate, momentum, decay, share = numbers[0], options["momentum"], options["weight_decay"], 1 - options["dampening"]
    axpby(share, g, momentum, v)
    if decay:
        axpby(share * decay, p, 1, v)
    if options["nesterov"]:
        axpby(-rate, g, 1 - rate * decay, p)
        axpby(-rate * momentum, v, 1, p)
    else:
        axpby(-rate, v, 1, p)


def _adam(axpby: Axpby, p: Vector, m: Vector, v: Vector, g: Vector, t: Vector, numbers: Any, options: Any) -> None:
    """`polygrad.optim.Adam`'s update without decay or with AdamW's."""
    (alpha, root, shrink), scratch = numbers, t[0]
    np.multiply(g[0], g[0], out=scratch)
    axpby(1 - options["beta2"], t, options["beta2"], v)
    axpby(1 - options["beta1"], g, options["beta1"], m)
    np.sqrt(v[0], out=scratch)
    scratch += options["eps"] * root
    np.divide(m[0], scratch, out=scratch)
    axpby(-alpha * root, t, 1 if shrink is None else shrink, p)


IN_PLACE: dict[str, Callable[..., None]] = {"descend": _descend, "accelerate": _accelerate, "plain": _adam}


def _in_place(rule: str, dtype: Any, numbers: Any, options: Any) -> Callable[..., None] | None:
    """The function that updates in place by this rule; None for rules and options that it does not have."""
    if dtype.kind != "f" or options is None or options["maximize"]:
        return None
    if rule == "plain" and numbers[2] is None and options["weight_decay"]:
        return None
    return IN_PLACE.get(rule)


def blockwise(
    function: Callable[..., Any],
    arrays: list[Any],
    reusable: list[int | None],
    rule: str = "",
    numbers: Any = (),
    options: Any = None,
) -> Any:
    """The results of an element-by-element function of arrays of one shape; see `polygrad.core.Backend`.

    NumPy's functions let other threads run, and blocks are disjoint, so two threads do two blocks at a time.
    """
    first = arrays[0]
    for a in arrays:
        if type(a) is not np.ndarray or a.dtype != first.dtype or a.shape != first.shape:
            return NotImplemented
        if not a.flags.c_contiguous and a is not arrays[-1]:
            return NotImplemented
    update = _in_place(rule, first.dtype, numbers, options)
    new = np.empty_like if update is None else np.copy
    results = [new(arrays[k]) if i is None else arrays[i] for k, i in enumerate(reusable)]
    inputs = [*arrays[:-1], np.ascontiguousarray(arrays[-1])]
    if update is None:
        _share(partial(_compute, function, results, inputs), first.size)
    else:
        vectors = [*results, *inputs[len(results) :]]
        if first.size <= PART:
            _update_whole(update, vectors, numbers, options)
        else:
            _share(partial(_update, update, vectors, numbers, options), first.size)
    return tuple(results)


def _compute(function: Any, outputs: list[np.ndarray], inputs: list[np.ndarray], start: int, stop: int) -> None:
    """Write the function's results on the elements from start to stop."""
    outputs, inputs = ([a.reshape(-1) for a in arrays] for arrays in (outputs, inputs))
    for i in range(start, stop, PART):
        here = slice(i, min(i + PART, stop))
        for output, value in zip(outputs, function(*[a[here] for a in inputs]), strict=True):
            output[here] = value


def _update_whole(update: Any, arrays: list[np.ndarray], numbers: Any, options: Any) -> None:
    """Update arrays of one part in place."""
    scratch = np.empty_like(arrays[0])
    update(axpby_of(scratch.dtype), *[(a, address(a)) for a in (*arrays, scratch)], numbers, options)


def _update(update: Any, vectors: list[np.ndarray], numbers: Any, options: Any, start: int, stop: int) -> None:
    """Update the elements from start to stop in place."""
    vectors = [a.reshape(-1) for a in vectors]
    axpby, width = axpby_of(vectors[0].dtype), vectors[0].itemsize
    scratch = np.empty(min(PART, stop - start), vectors[0].dtype)
    places = [address(a) for a in (*vectors, scratch)]
    for i in range(start, stop, PART):
        end = min(i + PART, stop)
        parts = [(a[i:end], place + i * width) for a, place in zip(vectors, places[:-1], strict=True)]
        update(axpby, *parts, (scratch[: end - i], places[-1]), numbers, options)


def _share(run: Callable[[int, int], None], size: int) -> None:
    """run(0, size), in two parts by two threads if that is many elements."""
    if size < MANY or THREADS < 2:
        run(0, size)
        return
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
