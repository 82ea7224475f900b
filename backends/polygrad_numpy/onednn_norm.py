"""Batch and layer normalisation by oneDNN."""

from typing import Any

import numpy as np

from polygrad_numpy.onednn import Library
from polygrad_numpy.onednn_primitives import (
    Primitive,
    channels_last,
    dense,
    described,
    images,
    new_images,
    primitive,
    taken,
)

__all__ = ["normalize", "normalize_backward"]

TRAINING, BACKWARD = 64, 128
SCALED_AND_SHIFTED = 2 | 4
SRC, DST, MEAN, VARIANCE, SCALE, SHIFT = 1, 17, 49, 50, 51, 52
D_SRC, D_DST, D_SCALE, D_SHIFT = 129, 145, 255, 256
FEW = 1 << 10


def _kind(x: Any, weight: Any, bias: Any, axis: Any, along: int | None) -> str | None:
    """ "batch" for images normalised by channel, "layer" for the last axis, None for anything else."""
    if not taken(x, weight, bias) or x.size < FEW or weight.shape != bias.shape:
        return None
    axis = tuple([a % x.ndim for a in (axis if isinstance(axis, tuple) else (axis,))])
    if axis == (x.ndim - 1,) and along is None and 2 <= x.ndim <= 5 and weight.shape == x.shape[-1:]:
        return "layer"
    if axis == (0, *range(2, x.ndim)) and 3 <= x.ndim <= 5 and weight.size == x.shape[1]:
        if along is None:
            return "batch" if weight.ndim >= x.ndim - 1 and weight.shape[1 - x.ndim] == x.shape[1] else None
        return "batch" if along == weight.ndim == 1 else None
    return None


def _make(lib: Library, kind: str, shape: tuple[int, ...], eps: float, back: bool) -> Primitive:
    channels = shape[1] if kind == "batch" else shape[-1]
    whole = images(shape) if kind == "batch" else dense(shape)
    few = dense((channels,))
    moments = few if kind == "batch" else dense(shape[:-1])
    x = described(lib, whole)
    of_moments = () if kind == "batch" else (described(lib, moments),)
    name = f"{kind}_normalization"
    forward = lib.make(
        f"{name}_forward_primitive_desc_create", lib.engine, TRAINING, x, x, *of_moments, eps, SCALED_AND_SHIFTED, None
    )
    if not back:
        inputs = [(SRC, whole, None), (SCALE, few, None), (SHIFT, few, None)]
        return Primitive(lib, forward, inputs, [(DST, whole, None), (MEAN, moments, None), (VARIANCE, moments, None)])
    backward = lib.make(
        f"{name}_backward_primitive_desc_create",
        lib.engine,
        BACKWARD,
        *(x, x, x),
        *of_moments,
        eps,
        SCALED_AND_SHIFTED,
        forward,
        None,
    )
    inputs = [
        (SRC, whole, None),
        (MEAN, moments, None),
        (VARIANCE, moments, None),
        (D_DST, whole, None),
        (SCALE, few, None),
    ]
    if kind == "layer":
        inputs.append((SHIFT, few, None))
    return Primitive(lib, backward, inputs, [(D_SRC, whole, None), (D_SCALE, few, None), (D_SHIFT, few, None)])


def _laid_out(kind: str, x: np.ndarray) -> np.ndarray:
    return channels_last(x) if kind == "batch" else np.ascontiguousarray(x)


def _new(kind: str, shape: tuple[int, ...]) -> np.ndarray:
    return new_images(shape) if kind == "batch" else np.empty(shape, np.float32)


def _moments(kind: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    return (1, shape[1], *[1] * (len(shape) - 2)) if kind == "batch" else (*shape[:-1], 1)


def normalize(arrays: Any, /, *, axis: Any, eps: float, along: int | None = None) -> Any:
    """The op `normalize` with weight and bias, for batches of images and for the last axis."""
    kind = _kind(*arrays, axis, along) if len(arrays) == 3 else None
    if kind is None:
        return NotImplemented
    x, weight, bias = arrays
    run = primitive((kind, x.shape, eps), lambda lib: _make(lib, kind, x.shape, eps, False))
    if run is None:
        return NotImplemented
    y, mean, var = _new(kind, x.shape), *(np.empty(_moments(kind, x.shape), np.float32) for _ in range(2))
    run(_laid_out(kind, x), np.ascontiguousarray(weight), np.ascontiguousarray(bias), y, mean, var)
    return y, mean, var


def normalize_backward(
    x: Any,
    g: Any,
    g_mean: Any,
    g_var: Any,
    mean: Any,
    var: Any,
    weight: Any = None,
    bias: Any = None,
    /,
    *,
    axis: Any,
    eps: Any,
    along: int | None = None,
) -> Any:
    """The function `normalize_backward`; declines where the moments have cotangents of their own."""
    kind = None if weight is None or bias is None else _kind(x, weight, bias, axis, along)
    if kind is None or g is None or g_mean is not None or g_var is not None:
        return NotImplemented
    if not taken(g, mean, var) or g.shape != x.shape:
        return NotImplemented
    run = primitive((kind, x.shape, eps, "backward"), lambda lib: _make(lib, kind, x.shape, eps, True))
    if run is None:
        return NotImplemented
    d, of_weight, of_bias = _new(kind, x.shape), np.empty(weight.shape, np.float32), np.empty(bias.shape, np.float32)
    small = [np.ascontiguousarray(a) for a in (mean, var, weight, bias)]
    inputs = [_laid_out(kind, x), small[0], small[1], _laid_out(kind, g), *small[2 : 3 + (kind == "layer")]]
    run(*inputs, d, of_weight, of_bias)
    return d, of_weight, of_bias
