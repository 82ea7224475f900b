"""Batch normalisation by cuDNN: images normalised by channel, with a weight and a bias.

cuDNN keeps a channel's numbers in float32 for arrays of 16 bits, and in the dtype of the images otherwise.
"""

import ctypes
import math
from typing import Any

from polygrad_cupy import cudnn
from polygrad_cupy.cudnn import Library
from polygrad_cupy.cudnn_descriptors import (
    Layout,
    Work,
    as_plane,
    channels_last,
    dense,
    new,
    ordered,
    plan,
    scalar,
    taken,
    tensor,
)
from polygrad_cupy.kernels import add_line
from polygrad_cupy.runtime import current

__all__ = ["normalize", "normalize_backward"]

LARGEST = 880801  # images in a batch; with more cuDNN fails (PyTorch's limit)


class _Plan(Work):
    """Batch normalisation of one shape: the descriptors of the images and of a channel's numbers."""

    def __init__(self, lib: Library, x: Layout, small: Layout):
        super().__init__(lib)
        self.x, self.small = tensor(lib, as_plane(x)), tensor(lib, small)
        self.one, self.nothing = scalar(1, x.dtype), scalar(0, x.dtype)

    def forward(self, x: Any, y: Any, weight: Any, bias: Any, mean: Any, var: Any, eps: float) -> bool:
        """Put the normalised x into y and the moments into mean and var, which are zeros; var divides by n - 1.

        They are the running moments of the API, which with a factor of one are those of this x. False where it cannot be done.
        """
        return self.call(
            "BatchNormalizationForwardTraining",
            *(cudnn.BATCHNORM_SPATIAL, ctypes.byref(self.one), ctypes.byref(self.nothing)),
            *(self.x.pointer, x.data.ptr, self.x.pointer, y.data.ptr, self.small.pointer),
            *(weight.data.ptr, bias.data.ptr, 1.0, mean.data.ptr, var.data.ptr, eps, None, None),
        )

    def backward(
        self, x: Any, g: Any, d: Any, weight: Any, of_weight: Any, of_bias: Any, kept: Any, eps: float
    ) -> bool:
        """Put the cotangents of x, weight and bias into d, of_weight and of_bias; kept: mean, 1 / sqrt(var + eps), or None.

        False where it cannot be done.
        """
        one, nothing = ctypes.byref(self.one), ctypes.byref(self.nothing)
        return self.call(
            "BatchNormalizationBackward",
            *(cudnn.BATCHNORM_SPATIAL, one, nothing, one, nothing),
            *(self.x.pointer, x.data.ptr, self.x.pointer, g.data.ptr, self.x.pointer, d.data.ptr, self.small.pointer),
            *(weight.data.ptr, of_weight.data.ptr, of_bias.data.ptr, eps),
            *((None, None) if kept is None else (kept[0].data.ptr, kept[1].data.ptr)),
        )


def _by_channel(x: Any, weight: Any, bias: Any, axis: Any, along: int | None) -> bool:
    """Whether these are images and a number for each channel, normalised over all other axes."""
    if weight is None or bias is None or not taken(x, weight, bias) or not 3 <= x.ndim <= 5:
        return False
    axes = tuple(sorted({a % x.ndim for a in (axis if isinstance(axis, tuple) else (axis,))}))
    shape = (x.shape[1], *[1] * (x.ndim - 2))
    shapes = (shape, (1, *shape)) if along is None else (shape[:1],) if along == 1 else ()
    return (
        axes == (0, *range(2, x.ndim))
        and weight.shape == bias.shape
        and tuple(weight.shape) in shapes
        and x.shape[0] <= LARGEST
        and x.size > x.shape[1]  # one element a channel has no variance that divides by n - 1
    )


def _layouts(x: Any) -> tuple[bool, ...]:
    """Whether to normalise with channels last: not only so, since not every cuDNN has the kernels."""
    return (True, False) if channels_last(x) else (False,)


def _plan(x: Any, last: bool) -> Any:
    layout = dense(x.shape, x.dtype.name, last)
    inner = "float64" if layout.dtype == "float64" else "float32"
    small = dense((1, x.shape[1], *[1] * (max(x.ndim, 4) - 2)), inner)
    return plan(("batch_norm", layout), lambda lib: _Plan(lib, layout, small)), inner


def _number(array: Any, dtype: str) -> Any:
    """A channel's numbers, C-contiguous, in the dtype that cuDNN keeps them in."""
    return current().contiguous(array if array.dtype.name == dtype else array.astype(dtype))


def normalize(arrays: Any, /, *, axis: Any, eps: float, along: int | None = None) -> Any:
    """The op `normalize` with weight and bias, by channel; the result's memory is channels-last if that of x is."""
    if len(arrays) != 3 or not _by_channel(*arrays, axis, along):
        return NotImplemented
    x, weight, bias = arrays
    for last in _layouts(x):
        run, inner = _plan(x, last)
        if run is None:
            continue
        y, shape = new(x.shape, x.dtype, last), (1, x.shape[1], *[1] * (x.ndim - 2))
        mean, var = (current().zeros(shape, inner) for _ in range(2))
        if run.forward(ordered(x, last), y, _number(weight, inner), _number(bias, inner), mean, var, eps):
            n = x.size // x.shape[1]
            var *= (n - 1) / n
            return y, mean.astype(x.dtype, copy=False), var.astype(x.dtype, copy=False)
    return NotImplemented


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
    """The function `normalize_backward`, by channel. The cotangents of the moments are added in one more pass over x."""
    given = [a for a in (g_mean, g_var) if a is not None]
    if (
        g is None
        or not _by_channel(x, weight, bias, axis, along)
        or not taken(x, g, mean, var, *given)
        or g.shape != x.shape
    ):
        return NotImplemented
    for last in _layouts(x):
        run, inner = _plan(x, last)
        if run is None:
            continue
        d = new(x.shape, x.dtype, last)
        of_weight, of_bias = (current().empty(weight.shape, inner) for _ in range(2))
        kept = None  # what 16 bits keep of the moments is too little: cuDNN computes them again
        if inner == x.dtype.name:
            kept = _number(mean, inner), (_number(var, inner) + eps) ** -0.5
        if run.backward(ordered(x, last), ordered(g, last), d, _number(weight, inner), of_weight, of_bias, kept, eps):
            if given:
                n = math.prod(x.shape) // x.shape[1]
                slope = mean * 0 if g_var is None else g_var * (2 / n)
                shift = -mean * slope if g_mean is None else g_mean / n - mean * slope
                add_line(x, slope, shift, d)
            return d, of_weight.astype(weight.dtype, copy=False), of_bias.astype(bias.dtype, copy=False)
    return NotImplemented
