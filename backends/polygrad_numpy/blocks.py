"""Functions that work element by element, run on parts of their arrays that stay in the cache, by two threads on large ones."""

import os
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from polygrad_numpy import onednn_update
from polygrad_numpy.blas import address, axpby_by_threads_of, axpby_of

__all__ = ["blockwise"]

PART = 1 << 15  # elements of a function that makes arrays on its way
ROOM = 1 << 19  # bytes of each array in one part of an update in place: four of them fit a second-level cache of 2 MB
LARGE = 1 << 16  # elements from which on oneDNN is worth its call
SHARED = 1 << 15  # elements from which on OpenBLAS's threads are faster than one, until two of Python's do more
MANY = 1 << 19  # from so many on, a second thread is worth its start
THREADS = min(2, int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))


# Updates in place of `size` elements: of arrays whose first elements lie at `places`, the parameter first, the gradient last.


def _descend(axpby: Any, size: int, arrays: Any, places: list[int], numbers: Any, options: Any) -> None:
    """`polygrad.optim.SGD`'s update without momentum."""
    (p, g), rate = places, numbers[0]
    axpby(size, -rate, g, 1, 1 - rate * options["weight_decay"], p, 1)


def _accelerate(axpby: Any, size: int, arrays: Any, places: list[int], numbers: Any, options: Any) -> None:
    """`polygrad.optim.SGD`'s update with momentum."""
    (p, v, g), rate, momentum, decay = places, numbers[0], options["momentum"], options["weight_decay"]
    share = 1 - options["dampening"]
    axpby(size, share, g, 1, momentum, v, 1)
    if decay:
        axpby(size, share * decay, p, 1, 1, v, 1)
    if options["nesterov"]:
        axpby(size, -rate, g, 1, 1 - rate * decay, p, 1)
        axpby(size, -rate * momentum, v, 1, 1, p, 1)
    else:
        axpby(size, -rate, v, 1, 1, p, 1)


def _adam(axpby: Any, size: int, arrays: list[np.ndarray], places: list[int], numbers: Any, options: Any) -> None:
    """`polygrad.optim.Adam`'s update without decay or with AdamW's."""
    (alpha, root, shrink), (p, m, v, g) = numbers, places
    scratch = np.multiply(arrays[3], arrays[3])
    t = address(scratch)
    axpby(size, 1 - options["beta2"], t, 1, options["beta2"], v, 1)
    axpby(size, 1 - options["beta1"], g, 1, options["beta1"], m, 1)
    np.sqrt(arrays[2], out=scratch)
    scratch += options["eps"] * root
    np.divide(arrays[1], scratch, out=scratch)
    axpby(size, -alpha * root, t, 1, 1 if shrink is None else shrink, p, 1)


IN_PLACE: dict[str, Callable[..., None]] = {"descend": _descend, "accelerate": _accelerate, "plain": _adam}


def _in_place(rule: str, numbers: Any, options: Any) -> Callable[..., None] | None:
    """The function that updates in place by this rule; None for rules and options that it does not have."""
    if rule not in IN_PLACE or options.get("maximize"):
        return None
    return None if rule == "plain" and numbers[2] is None and options["weight_decay"] else IN_PLACE[rule]


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
    size, shape, dtype = first.size, first.shape, first.dtype
    for a in arrays:
        if type(a) is not np.ndarray or a.dtype is not dtype or a.shape != shape:
            return NotImplemented
        if not a.flags.c_contiguous:
            if a is not arrays[-1]:
                return NotImplemented
            arrays = [*arrays[:-1], np.ascontiguousarray(a)]
    axpby = axpby_of(dtype)
    update = None if axpby is None else _in_place(rule, numbers, options)
    if update is None:
        results = [np.empty_like(first) if i is None else arrays[i] for i in reusable]
        _share(partial(_compute, function, results, arrays), size)
        return tuple(results)
    if SHARED <= size < MANY:
        axpby = axpby_by_threads_of(dtype)
    results = [np.copy(arrays[k]) if i is None else arrays[i] for k, i in enumerate(reusable)]
    vectors = [*results, *arrays[len(results) :]]
    places = [address(a) for a in vectors]
    if size >= LARGE and rule != "plain" and onednn_update.is_used(dtype):
        part = onednn_update.PART
        for i in range(0, size, part):
            here = [place + i * first.itemsize for place in places]
            update(onednn_update.axpby, min(part, size - i), vectors, here, numbers, options)
    elif size <= ROOM // first.itemsize:
        update(axpby, size, vectors, places, numbers, options)
    else:
        _share(partial(_update, partial(update, axpby), vectors, places, numbers, options), size)
    return tuple(results)


def _compute(function: Any, outputs: list[np.ndarray], inputs: list[np.ndarray], start: int, stop: int) -> None:
    """Write the function's results on the elements from start to stop."""
    outputs, inputs = ([a.reshape(-1) for a in arrays] for arrays in (outputs, inputs))
    for i in range(start, stop, PART):
        here = slice(i, min(i + PART, stop))
        for output, value in zip(outputs, function(*[a[here] for a in inputs]), strict=True):
            output[here] = value


def _update(
    update: Any, vectors: list[np.ndarray], places: list[int], numbers: Any, options: Any, start: int, stop: int
) -> None:
    """Update the elements from start to stop in place, part by part."""
    vectors, width = [a.reshape(-1) for a in vectors], vectors[0].itemsize
    part = ROOM // width
    for i in range(start, stop, part):
        end = min(i + part, stop)
        update(end - i, [a[i:end] for a in vectors], [place + i * width for place in places], numbers, options)


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
