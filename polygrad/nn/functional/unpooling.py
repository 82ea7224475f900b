"""Unpooling, power-average pooling and fractional pooling, as `torch.nn.functional` has them."""

from __future__ import annotations

import math
from typing import Any

from polygrad.core import Tensor
from polygrad.nn.functional.conv import batched, spread, unbatched
from polygrad.nn.functional.pooling import avg_pool1d, avg_pool2d, avg_pool3d
from polygrad.ops import pooling
from polygrad.ops.elementwise import abs as absolute
from polygrad.ops.elementwise import floor, sign
from polygrad.ops.indexing import take_along_axis

__all__ = [
    "fractional_max_pool2d",
    "fractional_max_pool3d",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
]


# ----------------------------------------------------------------------------------------------------------- unpooling


def _unpooled_size(
    size: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...], given: Any
) -> tuple[int, ...]:
    """The size before pooling: the given one, checked, or the smallest that can be. Raises ValueError for one that cannot."""
    axes = list(zip(size, kernel, stride, padding, strict=True))
    usual = tuple((n - 1) * s + k - 2 * p for n, k, s, p in axes)
    if given is None:
        return usual
    shape = tuple(given)[-len(size) :]
    if len(shape) != len(size) or any(not u - s < g < u + s for g, u, s in zip(shape, usual, stride, strict=True)):
        raise ValueError(f"invalid output_size {tuple(given)}: expected sizes within a stride {stride} of {usual}")
    return shape


def _max_unpool(
    n: int, input: Tensor, indices: Tensor, kernel_size: Any, stride: Any, padding: Any, output_size: Any
) -> Tensor:
    x, whole = batched(input, n, "max_unpool")
    at, _ = batched(indices, n, "max_unpool")
    kernel = spread(kernel_size, n, "kernel_size")
    stride = kernel if stride is None else spread(stride, n, "stride")
    shape = _unpooled_size(x.shape[2:], kernel, stride, spread(padding, n, "padding"), output_size)
    # Where windows overlapped, one element may have won several: it is there once, and each copy has the whole gradient.
    first = pooling.max_unpool(x.detach().new_ones(x.shape), at, shape=shape)
    times = take_along_axis(_flat(first, n), _flat(at, n), axis=-1).reshape(x.shape)
    share = x.detach() / times + (x - x.detach())
    return unbatched(pooling.max_unpool(share, at, shape=shape), whole)


def _flat(x: Tensor, n: int) -> Tensor:
    return x.reshape(*x.shape[:-n], math.prod(x.shape[-n:]))


def max_unpool1d(
    input: Tensor, indices: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Tensor:
    """The elements that `max_pool1d` gave, at the places they came from, with zeros elsewhere; see `max_unpool2d`."""
    return _max_unpool(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Tensor, indices: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Tensor:
    """The elements that `max_pool2d` gave, at the places they came from, with zeros elsewhere.

    Args:
        input: (N, C, H, W), or (C, H, W).
        indices: of the same shape, as `max_pool2d(return_indices=True)` gives them.
        kernel_size, stride, padding: those of the pooling.
        output_size: the size before pooling, where several have the same result; the smallest by default.

    Raises:
        ValueError: an output size that pooling would not bring to the input's.
    """
    return _max_unpool(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Tensor, indices: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Tensor:
    """The elements that `max_pool3d` gave, at the places they came from, with zeros elsewhere; see `max_unpool2d`."""
    return _max_unpool(3, input, indices, kernel_size, stride, padding, output_size)


# ------------------------------------------------------------------------------------------------------- power average


def _lp_pool(n: int, input: Tensor, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool) -> Tensor:
    kernel = spread(kernel_size, n, "kernel_size")
    mean = (avg_pool1d, avg_pool2d, avg_pool3d)[n - 1](input**norm_type, kernel, stride, 0, ceil_mode)
    return (sign(mean) * absolute(mean) * math.prod(kernel)) ** (1.0 / norm_type)


def lp_pool1d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """(sum x**p)**(1 / p) of each window along one axis; see `lp_pool2d`."""
    return _lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """(sum x**p)**(1 / p) of each window over two axes: the sum for p = 1, the largest as p grows.

    Args:
        input: (N, C, H, W), or (C, H, W).
        norm_type: p.
        kernel_size: an int, or one for each axis.
        stride: the kernel size by default.
        ceil_mode: let a last window stick out.
    """
    return _lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """(sum x**p)**(1 / p) of each window over three axes; see `lp_pool2d`."""
    return _lp_pool(3, input, norm_type, kernel_size, stride, ceil_mode)


# ---------------------------------------------------------------------------------------------------------- fractional


def _starts(sample: Tensor, size: int, out: int, kernel: int) -> Tensor:
    """Where the windows along one axis start, for samples (N, C): (N, C, out) (Graham, 2014, with PyTorch's sequence)."""
    xp = sample._backend.tensors
    alpha = (size - kernel) / (out - 1) if out > 1 else 0.0
    u = sample.unsqueeze(-1)
    steps = xp.arange(out - 1, dtype=sample.dtype, device=sample.device)
    inner = (floor((steps + u) * alpha) - floor(u * alpha)).to("int64")
    last = xp.full((*sample.shape, 1), size - kernel, dtype="int64", device=sample.device)
    return xp.concat([inner, last], axis=-1)


def _fractional(
    n: int, input: Tensor, kernel_size: Any, output_size: Any, output_ratio: Any, return_indices: bool, samples: Any
) -> Any:
    x, whole = batched(input, n, "fractional_max_pool")
    size, kernel = x.shape[2:], spread(kernel_size, n, "kernel_size")
    if (output_size is None) == (output_ratio is None):
        raise ValueError("fractional_max_pool requires specifying either an output_size or an output_ratio")
    if output_size is None:
        ratios = (output_ratio,) * n if isinstance(output_ratio, int | float) else tuple(output_ratio)
        output_size = tuple(int(s * r) for s, r in zip(size, ratios, strict=True))
    out = spread(output_size, n, "output_size")
    if any(o < 1 or o + k - 1 > s for o, k, s in zip(out, kernel, size, strict=True)):
        raise RuntimeError(
            f"fractional_max_pool: output {out} and kernel {kernel} are too large for an input of {size}"
        )
    xp = x._backend.tensors
    if samples is None:
        samples = xp.rand(*x.shape[:2], n, dtype=x.dtype, device=x.device)
    order = (1, 0) if n == 2 else range(n)  # of two samples the first is the width's, of three the depth's
    places: Any = 0
    for axis, (s, o, k, sample) in enumerate(zip(size, out, kernel, order, strict=True)):
        starts = _starts(samples[..., sample], s, o, k)
        grid = starts.unsqueeze(-1) + xp.arange(k, dtype="int64", device=x.device)
        shape = [1] * (2 * n)
        shape[axis], shape[n + axis] = o, k
        places = places + grid.reshape(*x.shape[:2], *shape) * math.prod(size[axis + 1 :])
    count, taps = math.prod(out), math.prod(kernel)
    places = places.reshape(*x.shape[:2], count, taps)
    columns = take_along_axis(_flat(x.detach(), n), places.reshape(*x.shape[:2], count * taps), axis=-1)
    first = columns.reshape(places.shape).argmax(dim=-1).unsqueeze(-1)
    indices = take_along_axis(places, first, axis=-1).reshape(*x.shape[:2], count)
    values = unbatched(take_along_axis(_flat(x, n), indices, axis=-1).reshape(*x.shape[:2], *out), whole)
    return (values, unbatched(indices.reshape(*x.shape[:2], *out), whole)) if return_indices else values


def fractional_max_pool2d(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """The largest element of each of `output_size` windows over two axes, which start at random places (Graham, 2014).

    Args:
        input: (N, C, H, W), or (C, H, W).
        kernel_size: an int, or one for each axis.
        output_size: an int, or one for each axis; or
        output_ratio: a part of the input's size instead, or one for each axis.
        return_indices: give each element's flat position in its plane too.
        _random_samples: (N, C, 2) numbers of [0, 1) that say where windows start; drawn by default.

    Raises:
        ValueError: neither or both of size and ratio.
        RuntimeError: a result that is too large.
    """
    return _fractional(2, input, kernel_size, output_size, output_ratio, return_indices, _random_samples)


def fractional_max_pool3d(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """The largest element of each of `output_size` windows over three axes; see `fractional_max_pool2d`."""
    return _fractional(3, input, kernel_size, output_size, output_ratio, return_indices, _random_samples)
