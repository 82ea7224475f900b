"""Softmax, gelu and relu by oneDNN, on arrays that are large enough for its threads."""

from typing import Any

import numpy as np

from polygrad_numpy.onednn import Library
from polygrad_numpy.onednn_primitives import Descriptor, Primitive, dense, described, primitive, taken
from polygrad_numpy.parts import flat

__all__ = [
    "gelu_exact",
    "gelu_exact_backward",
    "gelu_tanh",
    "gelu_tanh_backward",
    "relu",
    "relu_backward",
    "softmax",
    "softmax_backward",
]

TRAINING, ACCURATE = 64, 0x30000
RELU, EXP, GELU_TANH, GELU_ERF, ADD, MULTIPLY, SUBTRACT = 0x20, 0x2A, 0x2B, 0x31, 0x1FFF0, 0x1FFF1, 0x1FFF5
SRC, SECOND, DST, D_SRC, D_DST = 1, 2, 17, 129, 145
MANY = 1 << 15  # elements; below this a NumPy call is faster
SUMMED = 1 << 17  # elements of a sum of two arrays that take 90 us, and NumPy 129; of four times as many 470, and 1100


def _pointwise(lib: Library, kind: int, size: int, back: bool) -> Primitive:
    vector = dense((size,))
    x = described(lib, vector)
    forward = lib.make("eltwise_forward_primitive_desc_create", lib.engine, TRAINING, kind, x, x, 0.0, 0.0, None)
    if not back:
        return Primitive(lib, forward, [(SRC, vector, None)], [(DST, vector, None)])
    backward = lib.make("eltwise_backward_primitive_desc_create", lib.engine, kind, x, x, x, 0.0, 0.0, forward, None)
    return Primitive(lib, backward, [(D_DST, vector, None), (SRC, vector, None)], [(D_SRC, vector, None)])


def _run(kind: int, *arrays: Any) -> Any:
    if not taken(*arrays) or arrays[0].size < MANY:
        return NotImplemented
    y = np.empty_like(arrays[0])
    vectors = flat(*arrays, y)
    if vectors is None:
        return NotImplemented
    run = primitive(
        ("pointwise", kind, y.size, len(arrays)), lambda lib: _pointwise(lib, kind, y.size, len(arrays) > 1)
    )
    if run is None:
        return NotImplemented
    run(*vectors)
    return y


def relu(x: Any, /) -> Any:
    """The op `relu`."""
    return _run(RELU, x) if x.size >= 8 * MANY else NotImplemented  # half as many take 149 us, and NumPy 95


def relu_backward(g: Any, y: Any, /) -> Any:
    """The function `relu_backward`."""
    return _run(RELU, g, y) if y.size >= 2 * MANY else NotImplemented  # half as many take 133 us, and NumPy 107


def _binary(lib: Library, kind: int, whole: Descriptor, other: Descriptor, then: Any = None) -> Primitive:
    """An operation of an array and another that may be of size one along some axes, and what is done to its result."""
    a, b = described(lib, whole), described(lib, other)
    made = lib.make("binary_primitive_desc_create", lib.engine, kind, a, b, a, then)
    return Primitive(lib, made, [(SRC, whole, None), (SECOND, other, None)], [(DST, whole, None)])


def add(x1: Any, x2: Any) -> Any:
    """The sum of two arrays laid out alike, worth its call from SUMMED elements on; declines others."""
    if not taken(x1, x2) or x2.shape != x1.shape:
        return NotImplemented
    y, vector = np.empty_like(x1), dense((x1.size,))
    vectors = flat(x1, x2, y)
    run = None if vectors is None else primitive(("add", vector), lambda lib: _binary(lib, ADD, vector, vector))
    if vectors is None or run is None:
        return NotImplemented
    run(*vectors)
    return y


def gelu_tanh(x: Any, /) -> Any:
    """The op `gelu_tanh`."""
    return _run(GELU_TANH, x)


def gelu_tanh_backward(g: Any, x: Any, y: Any = None, /) -> Any:
    """The function `gelu_tanh_backward`."""
    return _run(GELU_TANH, g, x)


def gelu_exact(x: Any, /) -> Any:
    """The op `gelu_exact`."""
    return _run(GELU_ERF, x)


def gelu_exact_backward(g: Any, x: Any, y: Any = None, /) -> Any:
    """The function `gelu_exact_backward`."""
    return _run(GELU_ERF, g, x)


def scale_by(x: np.ndarray, factor: np.ndarray, rows: int, columns: int) -> bool:
    """Multiply x, as a matrix, by a factor for each row or for each column, in place; False where there is no way.

    All arrays are without gaps. It is two to three times faster than NumPy's product.
    """
    whole = dense((rows, columns))
    of = dense((rows, 1) if factor.size == rows != 1 else (1, columns))
    run = primitive(("multiply", whole, of), lambda lib: _binary(lib, MULTIPLY, whole, of))
    if run is not None:
        run(x, factor, x)
    return run is not None


def _exp_less(lib: Library, whole: Descriptor, few: Descriptor) -> Primitive:
    then, steps = lib.make("primitive_attr_create"), lib.make("post_ops_create")
    lib.functions["post_ops_append_eltwise"](steps, EXP, 0.0, 0.0)
    lib.functions["primitive_attr_set_post_ops"](then, steps)
    return _binary(lib, SUBTRACT, whole, few, then)


def exp_less(x: np.ndarray, less: np.ndarray) -> Any:
    """exp(x - less) for a matrix and a number for each row, all finite; declines small ones, and where there is no way."""
    if not taken(x, less) or x.size < MANY or not (x.flags.c_contiguous and less.flags.c_contiguous):
        return NotImplemented
    if not np.isfinite(less).all():
        return NotImplemented  # oneDNN's exponential of NaN is a number
    whole, few = dense(x.shape), dense((len(x), 1))
    run = primitive(("exp less", whole), lambda lib: _exp_less(lib, whole, few))
    if run is None:
        return NotImplemented
    y = np.empty(x.shape, np.float32)
    run(x, less, y)
    return y


def _softmax(lib: Library, shape: tuple[int, ...], back: bool) -> Primitive:
    whole = dense(shape)
    x, axis = described(lib, whole), len(shape) - 1
    forward = lib.make("softmax_forward_primitive_desc_create", lib.engine, TRAINING, ACCURATE, x, x, axis, None)
    if not back:
        return Primitive(lib, forward, [(SRC, whole, None)], [(DST, whole, None)])
    backward = lib.make("softmax_backward_primitive_desc_create", lib.engine, ACCURATE, x, x, x, axis, forward, None)
    return Primitive(lib, backward, [(DST, whole, None), (D_DST, whole, None)], [(D_SRC, whole, None)])


def along_last(axis: int, *arrays: Any, out: Any = None) -> Any:
    """The softmax of one array along the last axis, or of y and g its transpose; `out`, without gaps, may be one of them."""
    x = arrays[0]
    if not taken(*arrays) or x.size < MANY or axis not in (-1, x.ndim - 1) or any(a.shape != x.shape for a in arrays):
        return NotImplemented
    shape = (x.size // x.shape[-1], x.shape[-1])
    run = primitive(("softmax", shape, len(arrays)), lambda lib: _softmax(lib, shape, len(arrays) > 1))
    if run is None:
        return NotImplemented
    y = np.empty(x.shape, np.float32) if out is None else out
    run(*[np.ascontiguousarray(a) for a in arrays], y)
    return y


def softmax(x: Any, /, axis: int) -> Any:
    """The op `softmax` along the last axis."""
    return along_last(axis, x)


def softmax_backward(g: Any, y: Any, /, *, axis: int) -> Any:
    """The function `softmax_backward` along the last axis."""
    return along_last(axis, y, g)
