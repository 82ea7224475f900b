"""Functions that work element by element, part by part of their arrays, so that what they make on their way stays in the cache."""

from collections.abc import Callable
from typing import Any

import numpy as np

from polygrad_numpy.memory import aligned

__all__ = ["MANY", "PART", "WORDS", "body_by_parts", "by_parts", "flat", "limited"]

PART = (
    1 << 15
)  # elements: 128 kB of float32, so that an operand, a result and a temporary stay in the second-level cache
MANY = 1 << 12  # below this, the calls cost more than the memory
WORDS = {np.dtype(np.float32): np.int32, np.dtype(np.float64): np.int64}
ROOM = 1 << 17  # bytes of an array in one part of a body, which makes 6 to 60 arrays on its way
LEAST = 1 << 14  # elements below which there are no two parts, of any data type
ONE_CALL = ("limit", "relu", "round")  # by parts, bodies that make nothing on their way take up to twice as long


def flat(*arrays: np.ndarray) -> list[np.ndarray] | None:
    """The arrays as vectors in the order of their memory, or None unless all are laid out alike, without gaps."""
    first = arrays[0]
    for a in arrays:
        if a.shape != first.shape or a.strides != first.strides or a.dtype != first.dtype:
            return None
    if first.flags.c_contiguous:
        return [a.reshape(-1) for a in arrays]
    order = sorted(range(first.ndim), key=lambda i: -first.strides[i])
    turned = [a.transpose(order) for a in arrays]
    return [a.reshape(-1) for a in turned] if turned[0].flags.c_contiguous else None


def _laid_as(x: np.ndarray, like: np.ndarray) -> np.ndarray:
    """A copy of x in the order of another array's memory: the cotangent of a sum is one number, repeated by strides of 0."""
    y = np.empty_like(like, dtype=x.dtype)
    np.copyto(y, x)
    return y


def by_parts(part: Callable[..., None], x: Any, *more: Any, scratches: int = 3, least: int = MANY) -> Any:
    """What `part(*vectors, out, *scratch)` writes into `out`, part by part of arrays laid out alike."""
    if type(x) is not np.ndarray or x.size < least:
        return NotImplemented
    if any(type(a) is not np.ndarray or a.shape != x.shape for a in more):
        return NotImplemented
    y = np.empty_like(x)
    vectors = flat(x, *[a if a.strides == x.strides else _laid_as(a, x) for a in more], y)
    if vectors is None:
        return NotImplemented
    scratch = aligned(x.dtype, *[(min(PART, x.size),)] * scratches) if scratches else []
    for start in range(0, x.size, PART):
        here = [v[start : start + PART] for v in vectors]
        size = here[0].size
        part(*here, *(scratch if size == PART else [s[:size] for s in scratch]))
    return y


def limited(x: np.ndarray, part: Callable[..., None], *numbers: float) -> Callable[..., None]:
    """`part` with vectors of these numbers before what `by_parts` gives it: a minimum of two arrays takes half of one with a number."""
    vectors = [np.full(min(PART, x.size), number, x.dtype) for number in numbers]
    return lambda x, *others: part(*[v[: x.size] for v in vectors], x, *others)


def body_by_parts(op: Any, body: Callable[..., Any]) -> Callable[..., Any]:
    """The body of a pointwise op, run part by part on large arrays of one layout in float32 or float64, with numbers beside them.

    It takes 40 to 90 % of the time, with equal results.
    """
    if op.name in ONE_CALL:
        return body
    if len(op.operands) == 1 and not op.defaults:  # a call of one operand takes 0.3 us less

        def run_one(x: Any, /) -> Any:
            if type(x) is not np.ndarray or x.size < LEAST or x.dtype not in WORDS:
                return body(x)
            return _run(body, x, (x,), {})

        return run_one

    def run(*operands: Any, **parameters: Any) -> Any:
        x = operands[0]
        if type(x) is not np.ndarray:
            x = operands[-1]
        if type(x) is not np.ndarray or x.size < LEAST or x.dtype not in WORDS:
            return body(*operands, **parameters)
        return _run(body, x, operands, parameters)

    return run


def _run(body: Callable[..., Any], x: np.ndarray, operands: tuple[Any, ...], parameters: dict[str, Any]) -> Any:
    part, places = ROOM // x.itemsize, [i for i, a in enumerate(operands) if type(a) is np.ndarray and a.ndim]
    vectors = flat(*[operands[i] for i in places]) if x.size > part else None
    if vectors is None:
        return body(*operands, **parameters)
    here, y, results = list(operands), None, None
    for start in range(0, x.size, part):
        for i, v in zip(places, vectors, strict=True):
            here[i] = v[start : start + part]
        made = body(*here, **parameters)
        if y is None or results is None:
            y = np.empty_like(x, dtype=made.dtype)
            results = flat(y)
        if results is None:
            return body(*operands, **parameters)
        results[0][start : start + part] = made
    return y
