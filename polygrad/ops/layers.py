"""What layers are built of, where a closed form saves passes over memory: affine maps, normalisation, cross-entropy, dropout."""

from __future__ import annotations

import math

from polygrad.core import bools, case, general, ints, linear
from polygrad.ops.reductions import axes_of, count_of, restore


@linear(
    x1=lambda xp, g, x2, x1_shape, axis, keepdims: restore(xp, g, x1_shape, axis, keepdims) * xp.conj(x2),
    x2=lambda xp, g, x1, x2_shape, axis, keepdims: restore(xp, g, x2_shape, axis, keepdims) * xp.conj(x1),
    dtypes="floating",
    cases=[((3, 4), (3, 4)), case((2, 3, 4), (2, 3, 4), axis=(0, 2)), case((3, 4), (3, 4), axis=-1, keepdims=True)],
)
def sum_product(xp, x1, x2, /, *, axis=None, keepdims=False):
    """The sum of x1 * x2 over `axis` (all axes by default); both have the same shape."""
    return xp.sum(x1 * x2, axis=axis, keepdims=keepdims)


# ---------------------------------------------------------------------------------------------------------- affine maps


def _rows(xp, x):
    """x as a matrix: all axes but the last folded into rows."""
    return xp.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1])) if len(x.shape) != 2 else x


def _adjoint(xp, x):
    return xp.matrix_transpose(xp.conj(x))


@general(
    x=(
        lambda xp, g, weight: xp.matmul(g, xp.conj(weight)),
        lambda xp, t, weight: xp.matmul(t, xp.matrix_transpose(weight)),
    ),
    weight=(
        lambda xp, g, x: xp.matmul(xp.matrix_transpose(_rows(xp, g)), xp.conj(_rows(xp, x))),
        lambda xp, t, x: xp.matmul(x, xp.matrix_transpose(t)),
    ),
    bias=(lambda g: g, lambda t: t),
    dtypes="numeric",
    node="Addmm",
    cases=[((3, 4), (2, 4), (2,)), ((5, 3, 4), (2, 4), (2,)), ((4,), (2, 4), (2,)), case((3, 4), (2, 4), None)],
)
def affine(xp, x, weight, bias=None, /):
    """x @ weight.T + bias over the last axis; the weight gradient is one product with the leading axes folded."""
    y = xp.matmul(x, xp.matrix_transpose(weight))
    if bias is not None:
        y += bias
    return y


# -------------------------------------------------------------------------------------------------------- normalisation


def _constant_along(weight, x, axis):
    """True when a weight has size one in every axis that is reduced."""
    lead = len(x.shape) - len(weight.shape)
    return all(a < lead or weight.shape[a - lead] == 1 for a in axes_of(axis, len(x.shape)))


def _repeated(weight, x):
    """The axes of x along which a weight is repeated."""
    lead = len(x.shape) - len(weight.shape)
    return tuple(a for a in range(len(x.shape)) if a < lead or (weight.shape[a - lead] == 1 and x.shape[a] != 1))


def _normalize_pull(xp, g, arrays, y1, y2, axis, eps):
    """The cotangents of all operands at once; they share the centred x and both sums.

    Ioffe and Szegedy, "Batch normalization" (2015), with the cotangents of the mean and the variance added.
    """
    x, mean, n = arrays[0], y1, count_of(arrays[0].shape, axis) or 1
    g, g_mean, g_var = g
    centred = x - mean
    scale = 1 / xp.sqrt(y2 + eps)
    found = []
    if len(arrays) == 1 or _constant_along(arrays[1], x, axis):
        total = xp.sum(g, axis=axis, keepdims=True)
        moment = xp.sum_product(g, centred, axis=axis, keepdims=True)
        if len(arrays) > 1:
            found = [moment * scale, total][: len(arrays) - 1]
            slope = scale * arrays[1]
        else:
            slope = scale
        weighted = g
    else:
        repeated = _repeated(arrays[1], x)
        found = [xp.sum_product(g, centred * scale, axis=repeated, keepdims=True), g][: len(arrays) - 1]
        weighted, slope = g * arrays[1], scale
        total = xp.sum(weighted, axis=axis, keepdims=True)
        moment = xp.sum_product(weighted, centred, axis=axis, keepdims=True)
    # dx = slope * (g - total / n - centred * scale**2 * moment / n) + mean's and variance's share, in few full passes
    d = centred * (2 / n * g_var - slope * scale * scale * moment / n)
    d += g_mean / n - slope * total / n
    d += weighted * slope
    return [d, *found]


def _normalize_push(xp, t, arrays, y1, y2, axis, eps):
    x, mean, n = arrays[0], y1, count_of(arrays[0].shape, axis) or 1
    centred = x - mean
    scale = 1 / xp.sqrt(y2 + eps)
    t_mean = xp.mean(t[0], axis=axis, keepdims=True)
    t_var = xp.sum_product(centred, t[0], axis=axis, keepdims=True) * (2 / n)
    t_y = (t[0] - t_mean) * scale - centred * (scale**3 * t_var / 2)
    if len(arrays) > 1:
        t_y = t_y * arrays[1] + centred * scale * t[1]
    if len(arrays) > 2:
        t_y = t_y + t[2]
    return t_y, t_mean, t_var


@general(
    arrays=(_normalize_pull, _normalize_push),
    dtypes="real floating",
    node="NativeBatchNorm",
    cases=[
        case((4, 3, 5), axis=(0, 2), eps=1e-3),
        case((4, 3, 5), (1, 3, 1), (1, 3, 1), axis=(0, 2), eps=1e-3),
        case((4, 6), (6,), (6,), axis=-1, eps=1e-3),
        case((4, 2, 6), (6,), axis=-1, eps=1e-3),
    ],
)
def normalize(xp, arrays, /, *, axis, eps):
    """(y, mean, var): y = (x - mean) / sqrt(var + eps) * weight + bias, with the moments of x over `axis`.

    `arrays` is [x], [x, weight] or [x, weight, bias]; weight and bias broadcast against x. The mean and the variance (which
    divides by n) keep their axes, of size one.
    """
    x = arrays[0]
    mean = xp.mean(x, axis=axis, keepdims=True)
    y = x - mean
    var = xp.sum_product(y, y, axis=axis, keepdims=True) / count_of(x.shape, axis)
    scale = 1 / xp.sqrt(var + eps)
    if len(arrays) > 1 and _constant_along(arrays[1], x, axis):
        y *= scale * arrays[1]
    else:
        y *= scale
        if len(arrays) > 1:
            y *= arrays[1]
    if len(arrays) > 2:
        y += arrays[2]
    return y, mean, var


# -------------------------------------------------------------------------------------------------------- cross-entropy


def hot(xp, target, x_shape, axis):
    """True at the class that each target names."""
    a = axis % len(x_shape)
    classes = xp.arange(x_shape[a], dtype=target.dtype, device=xp.device(target))
    classes = xp.reshape(classes, (x_shape[a],) + (1,) * (len(x_shape) - a - 1))
    return xp.expand_dims(target, axis=a) == classes


def _weights(xp, x, lse, axis):
    return xp.exp(x - xp.expand_dims(lse, axis=axis))


def _entropy_pull(xp, g, x, target, x_shape, y1, axis, ignore_index):
    loss = xp.expand_dims(xp.where(target == ignore_index, 0, g[0]), axis=axis)
    d = _weights(xp, x, y1, axis) * (loss + xp.expand_dims(g[1], axis=axis))
    return d - xp.where(hot(xp, target, x_shape, axis), loss, 0)


def _entropy_push(xp, t, x, target, x_shape, y1, axis, ignore_index):
    mean = xp.sum(_weights(xp, x, y1, axis) * t, axis=axis)
    picked = xp.sum(xp.where(hot(xp, target, x_shape, axis), t, 0), axis=axis)
    return xp.where(target == ignore_index, 0, mean - picked), mean


@general(
    x=(_entropy_pull, _entropy_push),
    dtypes="real floating",
    node="NllLoss",
    cases=[
        case((5, 4), ints((5,), 0, 4), axis=1, ignore_index=2),
        case((2, 4, 3), ints((2, 3), 0, 4), axis=1, ignore_index=-100),
    ],
)
def softmax_cross_entropy(xp, x, target, /, *, axis, ignore_index):
    """(losses, lse): -log softmax(x) at the class that `target` names along `axis`, and log(sum(exp(x))).

    A target that is `ignore_index` has loss 0 and no gradient; any other must be a class, which is not checked.
    """
    top = xp.max(x, axis=axis, keepdims=True)
    z = x - top
    lse = xp.log(xp.sum(xp.exp(z), axis=axis, keepdims=True))
    ignored = target == ignore_index
    safe = xp.expand_dims(xp.where(ignored, xp.zeros_like(target), target), axis=axis)
    losses = xp.squeeze(lse - xp.take_along_axis(z, safe, axis=axis), axis=axis)
    return xp.where(ignored, xp.zeros_like(losses), losses), xp.squeeze(lse + top, axis=axis)


# -------------------------------------------------------------------------------------------------------------- dropout


@linear(
    x=lambda xp, g, mask, scale: xp.masked_scale(g, mask, scale=scale),
    dtypes="floating",
    node="NativeDropout",
    cases=[case((3, 4), bools((3, 4)), scale=1.25)],
)
def masked_scale(xp, x, mask, /, *, scale):
    """x * scale where the mask holds, 0 elsewhere."""
    return xp.where(mask, x * scale, xp.zeros_like(x))
