"""Functions that work element by element, run on parts of their arrays that stay in the cache.

Threads are OpenBLAS's or oneDNN's. Two of Python's lose on any size: after a product, whose threads wait actively, 11.7 million
elements take SGD 15 ms instead of 7, RMSprop 42 instead of 30 (AMD EPYC, two cores).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from polygrad_numpy import onednn_update
from polygrad_numpy.blas import address, axpby_by_threads_of, axpby_of

__all__ = ["blockwise"]

PART = 1 << 15  # elements of a function that makes arrays on its way
ROOM = 1 << 20  # bytes of each array in a part of an update in place: of four, two threads' halves fit caches of 2 MB
LARGE = 1 << 16  # elements from which on oneDNN is worth its call
SHARED = 1 << 15  # elements from which on OpenBLAS's threads are faster than one


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
    """The results of an element-by-element function of arrays of one shape; see `polygrad.core.Backend`."""
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
        _compute(function, results, arrays)
        return tuple(results)
    results = [np.copy(arrays[k]) if i is None else arrays[i] for k, i in enumerate(reusable)]
    vectors = [*results, *arrays[len(results) :]]
    places = [address(a) for a in vectors]
    part = ROOM // first.itemsize
    if size >= LARGE and rule != "plain" and onednn_update.is_used(dtype):
        axpby, part = onednn_update.axpby, onednn_update.PART
    elif size >= SHARED and (rule != "plain" or size <= part):
        # Adam's parts stay with one thread, which has just made what is added: 16 ms instead of 24 for 11.7 million
        axpby = axpby_by_threads_of(dtype)
    if size <= part:
        update(axpby, size, vectors, places, numbers, options)
        return tuple(results)
    vectors = [a.reshape(-1) for a in vectors]
    for i in range(0, size, part):
        stop, here = min(i + part, size), [place + i * first.itemsize for place in places]
        update(axpby, stop - i, [a[i:stop] for a in vectors], here, numbers, options)
    return tuple(results)


def _compute(function: Any, outputs: list[np.ndarray], inputs: list[np.ndarray]) -> None:
    """Write the function's results on all elements."""
    outputs, inputs = ([a.reshape(-1) for a in arrays] for arrays in (outputs, inputs))
    for i in range(0, outputs[0].size, PART):
        here = slice(i, i + PART)
        for output, value in zip(outputs, function(*[a[here] for a in inputs]), strict=True):
            output[here] = value
