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


def _accelerate(outputs: Any, p: Any, v: Any, g: Any, t: Any, numbers: Any, options: Any) -> bool:
    """`polygrad.optim.SGD`'s update with momentum, in place; t is scratch memory. False for options that it does not have."""
    if options["dampening"] or options["weight_decay"] or options["nesterov"]:
        return False
    new_p, new_v = outputs
    np.multiply(v, options["momentum"], out=new_v)
    new_v += g
    np.multiply(new_v, numbers[0], out=t)
    np.subtract(p, t, out=new_p)
    return True


def _adam(outputs: Any, p: Any, m: Any, v: Any, g: Any, t: Any, numbers: Any, options: Any) -> bool:
    """`polygrad.optim.Adam`'s update, in place; t is scratch memory. False for options that it does not have."""
    alpha, root, shrink = numbers
    if shrink is None and options["weight_decay"]:
        return False
    new_p, new_m, new_v = outputs
    np.subtract(g, m, out=t)
    t *= 1 - options["beta1"]
    np.add(m, t, out=new_m)
    np.multiply(g, g, out=t)
    t *= 1 - options["beta2"]
    np.multiply(v, options["beta2"], out=new_v)
    new_v += t
    np.sqrt(new_v, out=t)
    t /= root
    t += options["eps"]
    np.divide(new_m, t, out=t)
    t *= alpha
    np.subtract(p if shrink is None else np.multiply(p, shrink, out=new_p), t, out=new_p)
    return True


IN_PLACE = {"accelerate": _accelerate, "plain": _adam}


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
    if not all(a.flags.c_contiguous for a in arrays[: len(reusable)]):
        return NotImplemented
    inputs = [np.ascontiguousarray(a).reshape(-1) for a in arrays]
    results = [np.empty_like(first) if i is None else arrays[i] for i in reusable]
    outputs = [r.reshape(-1) for r in results]

    in_place = IN_PLACE.get(rule) if first.dtype.kind == "f" and not (options or {}).get("maximize") else None

    def run(start: int, stop: int) -> None:
        scratch = None if in_place is None else np.empty(min(PART, stop - start), first.dtype)
        for i in range(start, stop, PART):
            here = slice(i, min(i + PART, stop))
            if in_place is not None and scratch is not None:
                targets = [output[here] for output in outputs]
                parts = [a[here] for a in inputs]
                if in_place(targets, *parts, scratch[: parts[0].size], numbers, options):
                    continue
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
