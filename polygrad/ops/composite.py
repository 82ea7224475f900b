"""Beyond the standard: what networks are built of, each with its closed-form derivative, and plain functions of ops."""

from __future__ import annotations

import math

from polygrad.core import case, composite, general, ints, pointwise
from polygrad.ops.reductions import restore

INEXACT = ("real floating", "complex floating")


@composite(dtypes="real", cases=[((3, 4), (3, 4))])
def relu_backward(xp, g, y, /):
    """g where the result y of relu is positive, 0 elsewhere."""
    return xp.where(y > 0, g, 0)


@pointwise(x=lambda xp, g, y: xp.relu_backward(g, y), dtypes="real")
def relu(xp, x, /):
    """max(x, 0); the derivative at 0 is 0."""
    return xp.maximum(x, 0)


@pointwise(x=lambda y: y * (1 - y))
def sigmoid(xp, x, /):
    """1 / (1 + exp(-x)) without overflow."""
    if xp.is_complex(x):
        return 1 / (1 + xp.exp(-x))
    e = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, 1 / (1 + e), e / (1 + e))


@pointwise(x=lambda x, y: -0.5 * y / x, domain=(0.3, 3.0))
def rsqrt(xp, x, /):
    """1 / sqrt(x)."""
    return 1 / xp.sqrt(x)


def _along(xp, values, axis):
    return xp.sum(values, axis=axis, keepdims=True)


ALONG = [case((3, 4), axis=-1), case((2, 3, 4), axis=1)]


@composite(dtypes="real floating", cases=[case((3, 4), (3, 4), axis=-1), case((2, 3, 4), (2, 3, 4), axis=1)])
def softmax_backward(xp, g, y, /, *, axis):
    """What softmax with result y does to cotangents and tangents g alike: y * (g - sum(g * y))."""
    return y * (g - xp.sum_product(g, y, axis=axis, keepdims=True))


@general(
    x=(
        lambda xp, g, y, axis: xp.softmax_backward(g, y, axis=axis),
        lambda xp, t, y, axis: xp.softmax_backward(t, y, axis=axis),
    ),
    dtypes="real floating",
    cases=ALONG,
)
def softmax(xp, x, /, axis):
    """exp(x) over its sum along `axis`."""
    e = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
    return e / _along(xp, e, axis)


@general(
    x=(
        lambda xp, g, y, axis: g - xp.exp(y) * _along(xp, g, axis),
        lambda xp, t, y, axis: t - _along(xp, xp.exp(y) * t, axis),
    ),
    dtypes="real floating",
    cases=ALONG,
)
def log_softmax(xp, x, /, axis):
    """x minus the logarithm of the sum of exponentials along `axis`."""
    z = x - xp.max(x, axis=axis, keepdims=True)
    return z - xp.log(_along(xp, xp.exp(z), axis))


def _shares(xp, x, y, x_shape, axis, keepdims):
    """exp(x - y): how much each element weighs; equal infinities share evenly."""
    y = restore(xp, y, x_shape, axis, keepdims)
    at = x == y
    n = xp.sum(xp.astype(at, x.dtype), axis=axis, keepdims=True)
    infinite = xp.isinf(y)
    gap = xp.where(infinite, 0, x - xp.where(infinite, 0, y))
    return xp.where(infinite, xp.where(at, 1 / xp.maximum(n, 1), 0), xp.exp(gap))


@general(
    x=(
        lambda xp, g, x, y, x_shape, axis, keepdims: (
            restore(xp, g, x_shape, axis, keepdims) * _shares(xp, x, y, x_shape, axis, keepdims)
        ),
        lambda xp, t, x, y, x_shape, axis, keepdims: xp.sum(
            t * _shares(xp, x, y, x_shape, axis, keepdims), axis=axis, keepdims=keepdims
        ),
    ),
    dtypes="real floating",
    cases=[((3, 4),), case((3, 4), axis=0), case((2, 3, 4), axis=(0, 2), keepdims=True)],
)
def logsumexp(xp, x, /, *, axis=None, keepdims=False):
    """log(sum(exp(x))) over `axis` without overflow."""
    m = xp.max(x, axis=axis, keepdims=True)
    m = xp.where(xp.isfinite(m), m, 0)
    s = xp.log(xp.sum(xp.exp(x - m), axis=axis, keepdims=keepdims))
    return s + xp.reshape(m, s.shape)


@composite(dtypes="any", cases=[((3, 4), (3, 4)), ((3, 1), (4,))])
def isclose(xp, x1, x2, /, rtol=1e-05, atol=1e-08, equal_nan=False):
    """True where |x1 - x2| <= atol + rtol * |x2|, or both are the same infinity (or NaN, if `equal_nan`)."""
    x1, x2 = (x if xp.isdtype(x.dtype, INEXACT) else xp.astype(x, xp.float64) for x in (x1, x2))
    finite = xp.logical_and(xp.isfinite(x1), xp.isfinite(x2))
    gap = xp.where(finite, xp.abs(xp.where(finite, x1, 0) - xp.where(finite, x2, 0)), 0)
    close = xp.where(finite, gap <= atol + rtol * xp.abs(xp.where(finite, x2, 0)), x1 == x2)
    return xp.logical_or(close, xp.logical_and(xp.isnan(x1), xp.isnan(x2))) if equal_nan else close


@composite(dtypes="any", cases=[((3, 4), (3, 4))])
def allclose(xp, x1, x2, /, rtol=1e-05, atol=1e-08, equal_nan=False):
    """True when all elements are close, as `isclose` has it."""
    return bool(xp.all(xp.isclose(x1, x2, rtol=rtol, atol=atol, equal_nan=equal_nan)))


@composite(dtypes="integer", cases=[(ints((5,), 0, 4),), case(ints((2, 3), 0, 4), num_classes=5)])
def one_hot(xp, tensor, num_classes=-1):
    """Ones at the classes that an integer tensor names along a new last axis, zeros elsewhere (int64).

    Raises RuntimeError for a class that is negative or not below `num_classes` (the largest class plus one by default).
    """
    if math.prod(tensor.shape):
        low, high = int(xp.min(tensor)), int(xp.max(tensor))
        if low < 0:
            raise RuntimeError(f"one_hot: class values must be non-negative, got {low}")
        if num_classes != -1 and high >= num_classes:
            raise RuntimeError(f"one_hot: class value {high} is not below num_classes = {num_classes}")
        num_classes = high + 1 if num_classes == -1 else num_classes
    classes = xp.arange(num_classes, dtype=tensor.dtype, device=xp.device(tensor))
    return xp.astype(xp.expand_dims(tensor, axis=-1) == classes, xp.int64)
