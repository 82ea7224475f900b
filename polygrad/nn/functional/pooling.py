"""Pooling, as `torch.nn.functional` has it."""

from __future__ import annotations

from typing import Any

from polygrad.core import Tensor
from polygrad.nn.functional.conv import batched, spread, unbatched
from polygrad.ops import pooling

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
]


def _window(
    size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[tuple[int, int], ...], tuple[int, ...]]:
    """Kernel, stride, (before, after) padding and dilation of a pooling; with `ceil_mode`, a last window may stick out."""
    n = len(size)
    kernel, dilation = spread(kernel, n, "kernel_size"), spread(dilation, n, "dilation")
    stride = kernel if stride is None or stride == () else spread(stride, n, "stride")
    pairs = []
    for s, k, t, p, d in zip(size, kernel, stride, spread(padding, n, "padding"), dilation, strict=True):
        reach = d * (k - 1) + 1
        if p < 0:
            raise RuntimeError(f"pad must be non-negative, but got pad: {p}")
        if p > reach // 2:
            raise RuntimeError(
                f"pad should be at most half of effective kernel size, but got pad={p}, kernel_size={k} and dilation={d}"
            )
        after = p
        if ceil_mode and t > 0:
            last = -(-(s + 2 * p - reach) // t)
            if last * t >= s + p:  # the last window must start inside the input or the padding before it
                last -= 1
            after = max(p, last * t + reach - s - p)
        pairs.append((p, after))
    return kernel, stride, tuple(pairs), dilation


def _max_pool(
    n: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    x, whole = batched(input, n, "max_pool")
    kernel, stride, pairs, dilation = _window(x.shape[2:], kernel_size, stride, padding, dilation, ceil_mode)
    values, indices = pooling.max_pool(x, kernel_size=kernel, stride=stride, padding=pairs, dilation=dilation)
    values = unbatched(values, whole)
    return (values, unbatched(indices, whole)) if return_indices else values


def max_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window along one axis; see `max_pool2d`."""
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window over two axes; the first of equal elements has the gradient.

    Args:
        input: (N, C, H, W), or (C, H, W).
        kernel_size, padding, dilation: an int, or one for each axis; padding never wins.
        stride: the kernel size by default.
        ceil_mode: let a last window stick out.
        return_indices: give each element's flat position in its plane too.

    Raises:
        RuntimeError: sizes that do not fit.
    """
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window over three axes; see `max_pool2d`."""
    return _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def _avg_pool(
    n: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    x, whole = batched(input, n, "avg_pool")
    if divisor_override == 0:
        raise RuntimeError("divisor must be not zero")
    kernel, stride, pairs, _ = _window(x.shape[2:], kernel_size, stride, padding, 1, ceil_mode)
    y = pooling.avg_pool(
        x,
        kernel_size=kernel,
        stride=stride,
        padding=pairs,
        count_include_pad=count_include_pad,
        divisor_override=divisor_override,
    )
    return unbatched(y, whole)


def avg_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window along one axis; see `avg_pool2d`."""
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window over two axes.

    Args:
        input: (N, C, H, W), or (C, H, W).
        kernel_size, padding: an int, or one for each axis.
        stride: the kernel size by default.
        ceil_mode: let a last window stick out; what sticks out is not counted.
        count_include_pad: count the zeros of the padding.
        divisor_override: divide each sum by this.

    Raises:
        RuntimeError: sizes that do not fit.
    """
    return _avg_pool(2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window over three axes; see `avg_pool2d`."""
    return _avg_pool(3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def _bins(output_size: Any, size: tuple[int, ...]) -> tuple[int, ...]:
    """How many bins along each axis; None keeps the size."""
    n = len(size)
    counts = (output_size,) * n if output_size is None or isinstance(output_size, int) else tuple(output_size)
    counts = counts * n if len(counts) == 1 else counts
    if len(counts) != n:
        raise RuntimeError(f"expected output_size to be an int, None or a list of {n} of them, but got {output_size}")
    return tuple(s if count is None else count for count, s in zip(counts, size, strict=True))


def _adaptive(n: int, input: Tensor, output_size: Any) -> Tensor:
    x, whole = batched(input, n, "adaptive_avg_pool")
    return unbatched(pooling.adaptive_avg_pool(x, output_size=_bins(output_size, x.shape[2:])), whole)


def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """The mean of each of `output_size` bins along one axis."""
    return _adaptive(1, input, output_size)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """The mean of each of `output_size` bins: an int, or one for each of two axes; None keeps the size."""
    return _adaptive(2, input, output_size)


def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """The mean of each of `output_size` bins: an int, or one for each of three axes; None keeps the size."""
    return _adaptive(3, input, output_size)


def _adaptive_max(n: int, input: Tensor, output_size: Any, return_indices: bool) -> Any:
    x, whole = batched(input, n, "adaptive_max_pool")
    values, indices = pooling.adaptive_max_pool(x, output_size=_bins(output_size, x.shape[2:]))
    values = unbatched(values, whole)
    return (values, unbatched(indices, whole)) if return_indices else values


def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The largest element of each of `output_size` bins along one axis (and its position)."""
    return _adaptive_max(1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The largest element of each of `output_size` bins over two axes (and its flat position in the plane)."""
    return _adaptive_max(2, input, output_size, return_indices)


def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The largest element of each of `output_size` bins over three axes (and its flat position)."""
    return _adaptive_max(3, input, output_size, return_indices)
