"""What layers are built of, where a closed form saves passes over memory: affine maps, normalisation, cross-entropy, dropout."""

from __future__ import annotations

import math

from polygrad.core import bools, case, composite, discrete, general, ints, linear, pointwise
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


@composite(dtypes="numeric", cases=[((3, 2), (3, 4)), ((5, 3, 2), (5, 3, 4))])
def affine_weight(xp, g, x, /):
    """The cotangent of the weight of `affine` from that of its result: one product with the leading axes folded."""
    return xp.matmul(xp.matrix_transpose(_rows(xp, g)), xp.conj(_rows(xp, x)))


@general(
    x=(
        lambda xp, g, weight: xp.matmul(g, xp.conj(weight)),
        lambda xp, t, weight: xp.matmul(t, xp.matrix_transpose(weight)),
    ),
    weight=(lambda xp, g, x: xp.affine_weight(g, x), lambda xp, t, x: xp.matmul(x, xp.matrix_transpose(t))),
    bias=(lambda g: g, lambda t: t),
    dtypes="numeric",
    node="Addmm",
    cases=[((3, 4), (2, 4), (2,)), ((5, 3, 4), (2, 4), (2,)), ((4,), (2, 4), (2,)), case((3, 4), (2, 4), None)],
)
def affine(xp, x, weight, bias=None, /):
    """x @ weight.T + bias over the last axis."""
    y = xp.matmul(x, xp.matrix_transpose(weight))
    if bias is not None:
        y += bias
    return y


def _by_channel(xp, bias, x_shape):
    return xp.reshape(bias, (x_shape[1],) + (1,) * (len(x_shape) - 2))


@general(
    x=(lambda g: g, lambda t: t),
    bias=(
        lambda xp, g: xp.sum(g, axis=(0, *range(2, len(g.shape)))),
        lambda xp, t, x_shape: _by_channel(xp, t, x_shape),
    ),
    dtypes="numeric",
    node="Add",
    cases=[((2, 3, 4), (3,)), ((2, 3), (3,))],
)
def add_channels(xp, x, bias, /):
    """x (N, C, *) with a number added to each channel, bias (C,)."""
    return x + _by_channel(xp, bias, x.shape)


# -------------------------------------------------------------------------------------------------------- normalisation


def _constant_along(weight, x, axis):
    """True when a weight has size one in every axis that is reduced."""
    lead = len(x.shape) - len(weight.shape)
    return all(a < lead or weight.shape[a - lead] == 1 for a in axes_of(axis, len(x.shape)))


def _repeated(weight, x):
    """The axes of x along which a weight is repeated."""
    lead = len(x.shape) - len(weight.shape)
    return tuple(a for a in range(len(x.shape)) if a < lead or (weight.shape[a - lead] == 1 and x.shape[a] != 1))


_MOMENTS = ((2, 3, 4), (2, 3, 4), (1, 3, 1), (1, 3, 1), (1, 3, 1), (1, 3, 1))


def _laid_along(xp, x, vectors, along):
    """The weight and the bias as they broadcast against x; vectors along one of its axes if that is given."""
    shape = (-1,) + (1,) * (len(x.shape) - along - 1) if along is not None else None
    return [v if shape is None or v is None else xp.reshape(v, shape) for v in vectors]


@composite(dtypes="real floating", cases=[case(*_MOMENTS, axis=(0, 2), eps=1e-3)], domain=(0.5, 2.0))
def normalize_backward(xp, x, g, g_mean, g_var, mean, var, weight=None, bias=None, /, *, axis, eps, along=None):
    """The cotangents of the operands of `normalize` from those of its results, all at once; they share both sums.

    Ioffe and Szegedy, "Batch normalization" (2015), with the cotangents of the mean and the variance added; any of the three
    may be missing (None).
    """
    arrays = [x, *_laid_along(xp, x, [a for a in (weight, bias) if a is not None], along)]
    g = xp.zeros_like(x) if g is None else g
    n = count_of(x.shape, axis) or 1
    centred = x - mean
    scale = 1 / xp.sqrt(var + eps)
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
    tilt, shift = -slope * scale * scale * moment / n, -slope * total / n
    d = centred * (tilt if g_var is None else tilt + 2 / n * g_var)
    d += shift if g_mean is None else shift + g_mean / n
    d += weighted * slope
    if along is not None:
        others = tuple(a for a in range(len(x.shape)) if a != along)
        found = [xp.sum(f, axis=others) for f in found]
    return (d, *found)


def _normalize_pull(xp, g, arrays, y1, y2, axis, eps, along):
    x, *rest = arrays
    return xp.normalize_backward(x, *g, y1, y2, *rest, axis=axis, eps=eps, along=along)


def _normalize_push(xp, t, arrays, y1, y2, axis, eps, along):
    x, mean, n = arrays[0], y1, count_of(arrays[0].shape, axis) or 1
    arrays, t = [x, *_laid_along(xp, x, arrays[1:], along)], [t[0], *_laid_along(xp, x, t[1:], along)]
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
    materialize=False,
    cases=[
        case((4, 3, 5), axis=(0, 2), eps=1e-3),
        case((4, 3, 5), (1, 3, 1), (1, 3, 1), axis=(0, 2), eps=1e-3),
        case((4, 6), (6,), (6,), axis=-1, eps=1e-3),
        case((4, 2, 6), (6,), axis=-1, eps=1e-3),
        case((4, 3, 2, 2), (3,), (3,), axis=(0, 2, 3), eps=1e-3, along=1),
        case((2, 3, 4), (3,), (3,), axis=2, eps=1e-3, along=1),
    ],
)
def normalize(xp, arrays, /, *, axis, eps, along=None):
    """(y, mean, var): y = (x - mean) / sqrt(var + eps) * weight + bias, with the moments of x over `axis`.

    `arrays` is [x], [x, weight] or [x, weight, bias]; weight and bias broadcast against x, or are vectors along the axis `along`.
    The mean and the variance (which divides by n) keep their axes, of size one.
    """
    x = arrays[0]
    arrays = [x, *_laid_along(xp, x, arrays[1:], along)]
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


@discrete(dtypes="real floating", cases=[((3,), (1, 3, 1), (), ())])
def moving_average(xp, old, new, keep, share, /):
    """keep * old + share * new, with `new` in the shape of `old`."""
    return old * keep + xp.reshape(new, old.shape) * share


# ------------------------------------------------------------------------------------------------------------ attention


def _scores(xp, arrays, scale, causal):
    """query @ key^T * scale + mask, with -inf above the diagonal if `causal`."""
    query, key = arrays[0], arrays[1]
    scores = xp.matmul(query * scale, xp.matrix_transpose(key))
    if len(arrays) > 3:
        scores = scores + arrays[3]
    if causal:
        rows, columns = scores.shape[-2:]
        row = xp.expand_dims(xp.arange(rows, device=xp.device(scores)), axis=1)
        scores = xp.where(row >= xp.arange(columns, device=xp.device(scores)), scores, -math.inf)
    return scores


_ATTENDED = ((2, 4, 3), (2, 4), (2, 4, 3), (2, 4), (2, 4, 3), (2, 4, 3), (2, 4, 3))


@composite(dtypes="real floating", cases=[case(*_ATTENDED, scale=1.5, causal=True)])
def attention_backward(xp, g, g_lse, y, lse, query, key, value, mask=None, /, *, scale, causal):
    """The cotangents of the operands of `attention` from those of its results, all at once.

    They share the weights, which are computed again (Dao et al., "FlashAttention", 2022).
    """
    arrays = [a for a in (query, key, value, mask) if a is not None]
    weights = xp.exp(_scores(xp, arrays, scale, causal) - xp.expand_dims(lse, axis=-1))
    inner = xp.sum_product(g, y, axis=-1, keepdims=True) - xp.expand_dims(g_lse, axis=-1)
    d = weights * (xp.matmul(g, xp.matrix_transpose(value)) - inner)
    found = (
        xp.matmul(d, key) * scale,
        xp.matmul(xp.matrix_transpose(d), query) * scale,
        xp.matmul(xp.matrix_transpose(weights), g),
        d,
    )
    return found[: len(arrays)]


def _attention_pull(xp, g, arrays, y0, y1, scale, causal):
    return xp.attention_backward(*g, y0, y1, *arrays, scale=scale, causal=causal)


def _attention_push(xp, t, arrays, y0, y1, scale, causal):
    query, key, value = arrays[:3]
    weights = xp.exp(_scores(xp, arrays, scale, causal) - xp.expand_dims(y1, axis=-1))
    slope = xp.matmul(t[0], xp.matrix_transpose(key)) + xp.matmul(query, xp.matrix_transpose(t[1]))
    slope = slope * scale
    if len(arrays) > 3:
        slope = slope + t[3]
    slope = weights * slope
    mean = xp.sum(slope, axis=-1, keepdims=True)
    t_y = xp.matmul(slope, value) - mean * y0 + xp.matmul(weights, t[2])
    return t_y, xp.squeeze(mean, axis=-1)


@general(
    arrays=(_attention_pull, _attention_push),
    dtypes="real floating",
    node="ScaledDotProductAttention",
    cases=[
        case((2, 3, 4), (2, 5, 4), (2, 5, 3), scale=0.5, causal=False),
        case((2, 4, 3), (2, 4, 3), (2, 4, 3), scale=1.5, causal=True),
        case((2, 2, 3, 4), (2, 2, 5, 4), (2, 2, 5, 4), (3, 5), scale=0.5, causal=False),
    ],
)
def attention(xp, arrays, /, *, scale, causal):
    """(y, lse): y = softmax(query @ key^T * scale + mask) @ value, and the logarithm of the softmax's sums.

    `arrays` is [query (*, L, E), key (*, S, E), value (*, S, V)] and maybe a mask that is added to the scores (*, L, S);
    y is (*, L, V), lse is (*, L). With `causal`, row i sees the columns 0 ... i. A row that sees nothing gives zeros (and an
    lse of inf). Vaswani et al., "Attention is all you need" (2017).
    """
    scores = _scores(xp, arrays, scale, causal)
    top = xp.max(scores, axis=-1, keepdims=True)
    top = xp.where(top == -math.inf, 0.0, top)
    e = xp.exp(scores - top)
    total = xp.sum(e, axis=-1, keepdims=True)
    empty = total == 0
    y = xp.matmul(e, arrays[2]) / xp.where(empty, 1.0, total)
    return y, xp.squeeze(xp.where(empty, math.inf, xp.log(xp.where(empty, 1.0, total)) + top), axis=-1)


# ------------------------------------------------------------------------------------------------------------ embedding


def _but(xp, rows, indices, padding_idx):
    """Rows, with zeros where the index is the padding's."""
    if padding_idx is None:
        return rows
    return xp.where(xp.expand_dims(indices == padding_idx, axis=-1), 0, rows)


@general(
    weight=(
        lambda xp, g, indices, weight_shape, padding_idx: xp.embedding_sum(
            _but(xp, g, indices, padding_idx), indices, rows=weight_shape[0]
        ),
        lambda xp, t, indices, padding_idx: _but(xp, xp.embedding(t, indices), indices, padding_idx),
    ),
    node="Embedding",
    cases=[((5, 3), ints((4,), 0, 5)), ((5, 3), ints((2, 4), 0, 5))],
)
def embedding(xp, weight, indices, /, *, padding_idx=None):
    """The rows of a matrix (rows, D) that integers (*) name: (*, D). The row `padding_idx` has no gradient."""
    flat = xp.reshape(indices, (math.prod(indices.shape),))
    return xp.reshape(xp.take(weight, flat, axis=0), (*indices.shape, weight.shape[1]))


@linear(
    g=lambda xp, g, indices: xp.embedding(g, indices),
    node="EmbeddingDenseBackward",
    dtypes="floating",
    cases=[case((4, 3), ints((4,), 0, 5), rows=5), case((2, 4, 3), ints((2, 4), 0, 5), rows=5)],
)
def embedding_sum(xp, g, indices, /, *, rows):
    """The transpose of `embedding`: zeros (rows, D) with the rows of g (*, D) added where the integers (*) say."""
    columns = g.shape[-1]
    total = xp.zeros((rows, columns), dtype=g.dtype, device=xp.device(g))
    places = xp.reshape(indices, (math.prod(indices.shape),))
    return xp.at_add(total, xp.reshape(g, (places.shape[0], columns)), key=(places,))


# -------------------------------------------------------------------------------------------------------- cross-entropy


def hot(xp, target, x_shape, axis):
    """True at the class that each target names."""
    a = axis % len(x_shape)
    classes = xp.arange(x_shape[a], dtype=target.dtype, device=xp.device(target))
    classes = xp.reshape(classes, (x_shape[a],) + (1,) * (len(x_shape) - a - 1))
    return xp.expand_dims(target, axis=a) == classes


def _weights(xp, x, lse, axis):
    return xp.exp(x - xp.expand_dims(lse, axis=axis))


def _share(xp, target, g, ignore_index, reduction):
    """The cotangent of each loss from that of the reduced ones."""
    if reduction == "mean":
        count = xp.astype(xp.count_nonzero(target != ignore_index), g.dtype)
        g = g / xp.maximum(count, 1)  # where nothing counts, nothing has a share
    return xp.where(target == ignore_index, 0, g)


def _reduced(xp, losses, target, ignore_index, reduction):
    """Losses, 0 for ignored targets, as they are, as their sum, or as their mean over what is not ignored."""
    if reduction == "none":
        return losses
    total = xp.sum(losses)
    if reduction == "sum":
        return total
    return total / xp.astype(xp.count_nonzero(target != ignore_index), total.dtype)


@composite(
    dtypes="real floating",
    cases=[
        case((5,), (5,), (5, 4), ints((5,), 0, 4), (5,), axis=1, ignore_index=2, reduction="none"),
        case((), (5,), (5, 4), ints((5,), 0, 4), (5,), axis=1, ignore_index=-100, reduction="mean"),
    ],
)
def softmax_cross_entropy_backward(xp, g, g_lse, x, target, lse, /, *, axis, ignore_index, reduction):
    """The cotangent of x from those of both results of `softmax_cross_entropy`; either may be missing (None)."""
    weights = _weights(xp, x, lse, axis)
    if g is None:
        return weights * xp.expand_dims(g_lse, axis=axis)
    loss = xp.expand_dims(_share(xp, target, g, ignore_index, reduction), axis=axis)
    slope = loss if g_lse is None else loss + xp.expand_dims(g_lse, axis=axis)
    return weights * slope - xp.where(hot(xp, target, x.shape, axis), loss, 0)


def _entropy_pull(xp, g, x, target, y1, axis, ignore_index, reduction):
    return xp.softmax_cross_entropy_backward(
        *g, x, target, y1, axis=axis, ignore_index=ignore_index, reduction=reduction
    )


def _entropy_push(xp, t, x, target, x_shape, y1, axis, ignore_index, reduction):
    mean = xp.sum(_weights(xp, x, y1, axis) * t, axis=axis)
    picked = xp.sum(xp.where(hot(xp, target, x_shape, axis), t, 0), axis=axis)
    losses = xp.where(target == ignore_index, 0, mean - picked)
    return _reduced(xp, losses, target, ignore_index, reduction), mean


@general(
    x=(_entropy_pull, _entropy_push),
    dtypes="real floating",
    node="NllLoss",
    materialize=False,
    cases=[
        case((5, 4), ints((5,), 0, 4), axis=1, ignore_index=2, reduction="mean"),
        case((5, 4), ints((5,), 0, 4), axis=1, ignore_index=-100, reduction="sum"),
        case((2, 4, 3), ints((2, 3), 0, 4), axis=1, ignore_index=-100, reduction="none"),
    ],
)
def softmax_cross_entropy(xp, x, target, /, *, axis, ignore_index, reduction):
    """(losses, lse): -log softmax(x) at the class that `target` names along `axis`, and log(sum(exp(x))).

    A target that is `ignore_index` has loss 0 and no gradient; any other must be a class, which is not checked. With the
    reduction "sum" or "mean" (over what is not ignored) the losses are that one number, with "none" as many as targets.
    """
    top = xp.max(x, axis=axis, keepdims=True)
    z = x - top
    lse = xp.log(xp.sum(xp.exp(z), axis=axis, keepdims=True))
    ignored = target == ignore_index
    safe = xp.expand_dims(xp.where(ignored, xp.zeros_like(target), target), axis=axis)
    losses = xp.squeeze(lse - xp.take_along_axis(z, safe, axis=axis), axis=axis)
    losses = xp.where(ignored, xp.zeros_like(losses), losses)
    return _reduced(xp, losses, target, ignore_index, reduction), xp.squeeze(lse + top, axis=axis)


# PyTorch's bounds: logarithms count as at least -100, the slope's denominator as at least 1e-12.
LEAST_LOG, LEAST_VARIANCE = -100.0, 1e-12


def _array(xp, x, other):
    """x as an array, where only the other operand may be one."""
    return x + xp.zeros_like(x + other)


def _bounded_log(xp, x):
    zero = x == 0
    return xp.where(zero, LEAST_LOG, xp.maximum(xp.log(xp.where(zero, 1, x)), LEAST_LOG))


@pointwise(
    x=lambda xp, x, target: (x - target) / xp.maximum(x * (1 - x), LEAST_VARIANCE),
    target=lambda xp, x, target: _bounded_log(xp, 1 - _array(xp, x, target)) - _bounded_log(xp, _array(xp, x, target)),
    dtypes="real floating",
    domain=(0.1, 0.9),
    node="BinaryCrossEntropy",
    cases=[((3, 4), (3, 4))],
)
def binary_entropy(xp, x, target, /):
    """-(target * log(x) + (1 - target) * log(1 - x)), at most 100 for targets of [0, 1]."""
    x = _array(xp, x, target)
    one = x == 1
    no = xp.where(one, LEAST_LOG, xp.maximum(xp.log1p(-xp.where(one, 0, x)), LEAST_LOG))
    return (target - 1) * no - target * _bounded_log(xp, x)


@discrete(dtypes="integer", cases=[case(ints((5,), -2, 4), classes=3, ignore_index=-1)])
def outside_classes(xp, target, /, *, classes, ignore_index):
    """True where a target is neither `ignore_index` nor one of the classes 0 ... classes - 1."""
    return (target != ignore_index) & ((target < 0) | (target >= classes))


@discrete(dtypes="integer", cases=[case(ints((5,), -2, 4), classes=3, ignore_index=-1)])
def any_outside_classes(xp, target, /, *, classes, ignore_index):
    """Whether `outside_classes` holds anywhere."""
    return xp.any(xp.outside_classes(target, classes=classes, ignore_index=ignore_index))


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


# ---------------------------------------------------------------------------------------------------------------- hooks


@general(
    arrays=(lambda g, on_pull: on_pull(g), lambda t: tuple(t)),
    dtypes="any",
    promote=(),
    node="BackwardHookFunction",
    cases=[case((3, 4), (2,), on_pull=list)],
)
def watched(xp, arrays, /, *, on_pull):
    """The arrays as they are; all their cotangents pass through the function `on_pull`, which takes and gives a list."""
    return tuple(arrays)
