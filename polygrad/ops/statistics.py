"""Order statistics, running extremes, covariances and numerical calculus, under PyTorch's and NumPy's names."""

from __future__ import annotations

import math

from polygrad.core import case, composite, discrete, general
from polygrad.core.methods.reductions import ValuesAndIndices
from polygrad.ops.elementwise import as_complex
from polygrad.ops.linalg_parts import adjoint, column, row
from polygrad.ops.reductions import _cut, _mean_of_extremes, _share
from polygrad.ops.sorting import _picked

# ---------------------------------------------------------------------------------------------------- order statistics


@general(x=(_share, _mean_of_extremes), dtypes="real", cases=[((5,),), ((3, 4),)])
def middle(xp, x, /, *, axis=None, keepdims=False):
    """The median of all elements, the lower one of an even number; equal elements share the gradient evenly."""
    flat = xp.sort(xp.reshape(x, (-1,)))
    y = flat[(flat.shape[0] - 1) // 2]
    return xp.where(xp.any(xp.isnan(x)), xp.nan, y) if xp.isdtype(x.dtype, "real floating") else y


def _nan_last(xp, x):
    return xp.where(xp.isnan(x), math.inf, x) if xp.isdtype(x.dtype, "real floating") else x


@discrete(dtypes="real", cases=[case((3, 4), axis=1), case((3, 5), axis=0, omit=True)])
def median_places(xp, x, /, *, axis, omit=False):
    """Where the lower median along `axis` stands, as a kept axis of size one; the first NaN, or none of them with `omit`."""
    order = xp.argsort(_nan_last(xp, x), axis=axis, stable=True)
    n = x.shape[axis]
    at = xp.full_like(order[_cut(len(x.shape), axis % len(x.shape), slice(0, 1))], (n - 1) // 2)
    if not xp.isdtype(x.dtype, "real floating"):
        return xp.take_along_axis(order, at, axis=axis)
    missing = xp.isnan(x)
    count = n - xp.count_nonzero(missing, axis=axis, keepdims=True)
    if omit:
        return xp.take_along_axis(order, xp.astype(xp.maximum(count - 1, 0) // 2, order.dtype), axis=axis)
    first = xp.argmax(xp.astype(missing, xp.uint8), axis=axis, keepdims=True)
    return xp.where(count == n, xp.take_along_axis(order, at, axis=axis), first)


@composite(dtypes="real floating", cases=[((3, 4),), case((3, 4), 1), case((3, 5), 0, True)])
def median(xp, input, dim=None, keepdim=False):
    """The median, the lower one of an even number: of all elements, or along `dim` with its indices (a named tuple).

    Of all elements, equal ones share the gradient; along an axis the one at the index has it. NaN where there is a NaN.
    """
    if dim is None:
        return xp.middle(input)
    return ValuesAndIndices(*_picked(xp, input, xp.median_places(input, axis=dim), dim, keepdim))


@composite(dtypes="real floating", cases=[case((3, 4), 1), case((3, 5), 0, True), ((4,),)])
def nanmedian(xp, input, dim=None, keepdim=False):
    """The median of the elements that are not NaN, along `dim` with its indices (a named tuple); NaN where there are none."""
    if dim is None:
        flat = xp.reshape(input, (-1,))
        return _picked(xp, flat, xp.median_places(flat, axis=0, omit=True), 0, False)[0]
    return ValuesAndIndices(*_picked(xp, input, xp.median_places(input, axis=dim, omit=True), dim, keepdim))


ROUNDINGS = ("linear", "lower", "higher", "midpoint", "nearest")


@composite(
    dtypes="real floating",
    cases=[
        case((3, 4), 0.3),
        case((3, 5), 0.71, 1),
        case((3, 5), 0.5, 0, True),
        case((6,), 0.3, interpolation="midpoint"),
    ],
)
def quantile(xp, input, q, dim=None, keepdim=False, *, interpolation="linear"):
    """The q-quantile of all elements or along `dim`, between neighbours in order; NaN where there is a NaN.

    `q` is a number or a tensor with at most one axis, which comes first in the result.

    Raises:
        RuntimeError: a number outside [0, 1], or an `interpolation` that is none of linear, lower, higher, midpoint, nearest.
    """
    if interpolation not in ROUNDINGS:
        raise RuntimeError(f"quantile: interpolation must be one of {', '.join(ROUNDINGS)}, got {interpolation!r}")
    if isinstance(q, int | float):
        if not 0 <= q <= 1:
            raise RuntimeError(f"quantile: q must be in [0, 1], got {q}")
        q = xp.full((), q, dtype=input.dtype, device=xp.device(input))
    x, d = (xp.reshape(input, (-1,)), 0) if dim is None else (input, dim % len(input.shape))
    n, shape = x.shape[d], input.shape
    ordered = xp.sort(x, axis=d)
    place = xp.reshape(q, (-1,)) * (n - 1)
    lower = xp.floor(place) if interpolation != "nearest" else xp.round(place)
    lower, upper = (xp.astype(p, xp.int64) for p in (lower, xp.ceil(place)))
    weight = {"linear": place - xp.floor(place), "higher": xp.ones_like(place), "midpoint": xp.full_like(place, 0.5)}
    a, b = (xp.moveaxis(xp.take(ordered, at, axis=d), d, 0) for at in (lower, upper))
    if interpolation in weight:
        w = xp.reshape(weight[interpolation], (-1,) + (1,) * (len(a.shape) - 1))
        a = a + w * (b - a)
    y = xp.where(xp.any(xp.isnan(x), axis=d), xp.nan, a)
    if keepdim:
        kept = (1,) * len(shape) if dim is None else tuple(1 if i == d else s for i, s in enumerate(shape))
        y = xp.reshape(y, (-1, *kept))
    return y if q.shape else y[0, ...]


# ---------------------------------------------------------------------------------------------------- running extremes


@discrete(dtypes="real", cases=[case((3, 5), axis=1), case((5,), axis=0, largest=False)])
def running_extreme(xp, x, /, *, axis, largest=True):
    """The indices of the largest (or smallest) elements so far along `axis`: the last of equal ones, the first NaN for good."""
    a, n = axis % len(x.shape), len(x.shape)
    places = xp.reshape(xp.arange(x.shape[a], device=xp.device(x)), (-1,) + (1,) * (n - a - 1))
    indices = xp.broadcast_to(places, x.shape)
    floating = xp.isdtype(x.dtype, "real floating")
    s = 1
    while s < x.shape[a]:
        late, early = _cut(n, a, slice(s, None)), _cut(n, a, slice(None, -s))
        new, old = x[late], x[early]
        better = new >= old if largest else new <= old
        if floating:
            better = xp.logical_and(xp.logical_or(better, xp.isnan(new)), xp.logical_not(xp.isnan(old)))
        head = _cut(n, a, slice(0, s))
        x = xp.concat([x[head], xp.where(better, new, old)], axis=a)
        indices = xp.concat([indices[head], xp.where(better, indices[late], indices[early])], axis=a)
        s *= 2
    return indices


@composite(dtypes="real floating", cases=[case((3, 5), 1), case((5,), 0)])
def cummax(xp, input, dim):
    """The largest element so far along `dim`, and its index, the last of equal ones (a named tuple)."""
    indices = xp.running_extreme(input, axis=dim)
    return ValuesAndIndices(xp.take_along_axis(input, indices, axis=dim), indices)


@composite(dtypes="real floating", cases=[case((3, 5), 1), case((5,), 0)])
def cummin(xp, input, dim):
    """The smallest element so far along `dim`, and its index, the last of equal ones (a named tuple)."""
    indices = xp.running_extreme(input, axis=dim, largest=False)
    return ValuesAndIndices(xp.take_along_axis(input, indices, axis=dim), indices)


@composite(dtypes="real floating", cases=[case((3, 5), 1), case((4,), 0)])
def logcumsumexp(xp, input, dim):
    """The logarithm of the running sum of exponentials along `dim`, without overflow."""
    n = len(input.shape)
    a, s = dim % n, 1
    while s < input.shape[a]:
        late, early, head = (_cut(n, a, slice(*cut)) for cut in ((s, None), (None, -s), (0, s)))
        input = xp.concat([input[head], xp.logaddexp(input[late], input[early])], axis=a)
        s *= 2
    return input


# ------------------------------------------------------------------------------------------------------ missing values


@composite(dtypes="real floating", cases=[((3, 4),), case((3, 4), posinf=1.0)])
def nan_to_num(xp, input, nan=0.0, posinf=None, neginf=None):
    """x with NaN and the infinities replaced by finite numbers, the largest ones by default; their gradient is 0."""
    if not xp.isdtype(input.dtype, ("real floating", "complex floating")):
        return input
    if xp.is_complex(input):
        re, im = (as_complex(xp, xp.nan_to_num(part, nan, posinf, neginf)) for part in (xp.real(input), xp.imag(input)))
        return re + 1j * im
    limits = xp.finfo(input.dtype)
    high = float(limits.max) if posinf is None else posinf
    low = float(limits.min) if neginf is None else neginf
    y = xp.where(xp.isnan(input), nan, input)
    return xp.where(y == math.inf, high, xp.where(y == -math.inf, low, y))


@composite(dtypes="numeric", cases=[((3, 4),), case((3, 4), 0, True)])
def nansum(xp, x, axis=None, keepdims=False, *, dtype=None):
    """The sum of the elements that are not NaN."""
    inexact = xp.isdtype(x.dtype, ("real floating", "complex floating"))
    kept = xp.where(xp.isnan(x), 0, x) if inexact else x
    return xp.sum(kept, axis=axis, keepdims=keepdims, dtype=dtype)


@composite(cases=[((3, 4),), case((3, 4), 0, True)])
def nanmean(xp, x, axis=None, keepdims=False, *, dtype=None):
    """The mean of the elements that are not NaN; NaN where there are none."""
    x = x if dtype is None else xp.astype(x, dtype)
    there = xp.logical_not(xp.isnan(x))
    count = xp.sum(xp.astype(there, x.dtype), axis=axis, keepdims=keepdims)
    return xp.sum(xp.where(there, x, 0), axis=axis, keepdims=keepdims) / count


def _present_extreme(xp, x, axis, keepdims, reduce, worst):
    """The extreme of the elements that are not NaN, of which `worst` takes the place; NaN where there are none."""
    if not xp.isdtype(x.dtype, "real floating"):
        return reduce(x, axis=axis, keepdims=keepdims)
    missing = xp.isnan(x)
    y = reduce(xp.where(missing, worst, x), axis=axis, keepdims=keepdims)
    return xp.where(xp.all(missing, axis=axis, keepdims=keepdims), xp.nan, y)


@composite(dtypes="real", cases=[((3, 4),), case((3, 4), 0, True)])
def nanmax(xp, x, axis=None, keepdims=False):
    """The largest of the elements that are not NaN; NaN where there are none. Equal elements share the gradient evenly."""
    return _present_extreme(xp, x, axis, keepdims, xp.max, -math.inf)


@composite(dtypes="real", cases=[((3, 4),), case((3, 4), 0, True)])
def nanmin(xp, x, axis=None, keepdims=False):
    """The smallest of the elements that are not NaN; NaN where there are none. Equal elements share the gradient evenly."""
    return _present_extreme(xp, x, axis, keepdims, xp.min, math.inf)


# ------------------------------------------------------------------------------------------------------- covariance


@composite(cases=[((3, 5),), ((5,),), case((2, 4), correction=0)])
def cov(xp, input, *, correction=1, fweights=None, aweights=None):
    """The covariance matrix of variables in rows, observed in columns (a number for one variable).

    Args:
        correction: what is taken off the number of observations in the denominator.
        fweights: how often each observation occurs.
        aweights: how much each observation weighs.
    """
    x = xp.reshape(input, (1, -1)) if len(input.shape) < 2 else input
    weights = [xp.astype(w, xp.real(x).dtype) for w in (fweights, aweights) if w is not None]
    if not weights:
        centred = x - xp.mean(x, axis=1, keepdims=True)
        y = xp.matmul(centred, adjoint(xp, centred)) / max(x.shape[1] - correction, 0)
    else:
        w = weights[0] if len(weights) == 1 else weights[0] * weights[1]
        total = xp.sum(w)
        taken = xp.sum(w * weights[-1]) / total if aweights is not None else 1
        centred = x - column(xp, xp.sum(x * w, axis=1) / total)
        y = xp.matmul(centred * w, adjoint(xp, centred)) / (total - correction * taken)
    return y[0, 0] if len(input.shape) < 2 else y


@composite(cases=[((3, 5),)])
def corrcoef(xp, input):
    """The correlation coefficients of variables in rows, observed in columns (1 for one variable)."""
    c = xp.cov(input)
    if not c.shape:
        return c / c
    d = xp.sqrt(xp.real(xp.linalg.diagonal(c)))
    r = c / (column(xp, d) * row(xp, d))
    return r if xp.is_complex(r) else xp.where(xp.isnan(r), r, xp.clip(r, -1, 1))


# ------------------------------------------------------------------------------------------------ numerical calculus


@composite(
    dtypes="real floating",
    domain={"x_points": (-1.0, 1.0)},
    cases=[case((4,), (1,), (1,))],
)
def interp(xp, x, x_points, f_points, left=None, right=None):
    """Values at x of the piecewise linear function through points in ascending order; constant beyond them, or `left`, `right`."""
    n = x_points.shape[0]
    if n == 1:
        y = xp.broadcast_to(f_points, x.shape) if x.shape else f_points[0]
    else:
        i = xp.reshape(xp.searchsorted(x_points, x, side="right"), (-1,))
        i = xp.clip(i, 1, n - 1)
        x0, x1, y0, y1 = (
            xp.reshape(xp.take(points, at, axis=0), x.shape) for points in (x_points, f_points) for at in (i - 1, i)
        )
        y = y0 + (x - x0) * ((y1 - y0) / (x1 - x0))
    y = xp.where(x < x_points[0], f_points[0] if left is None else left, y)
    return xp.where(x > x_points[n - 1], f_points[n - 1] if right is None else right, y)


def _slopes(xp, f, h, a, edge_order):
    """The derivative along an axis of values with the steps h between them: a number, or a vector."""
    n = len(f.shape)

    def part(start, stop):
        return f[_cut(n, a, slice(start, stop))]

    if isinstance(h, int | float):
        before = after = h
        first = last = (h, h)
    else:
        along = (-1,) + (1,) * (n - a - 1)
        before, after = xp.reshape(h[:-1], along), xp.reshape(h[1:], along)
        first, last = (h[0], h[1 % h.shape[0]]), (h[-1], h[-2 % h.shape[0]])
    inner = (
        part(2, None) * (before / (after * (before + after)))
        + part(1, -1) * ((after - before) / (before * after))
        - part(None, -2) * (after / (before * (before + after)))
    )
    ends = []
    for sign, (p, q, r), steps in ((1, (0, 1, 2), first), (-1, (-1, -2, -3), last)):
        f0, f1 = (part(k, k + 1 or None) for k in (p, q))
        if edge_order == 1:
            ends.append(sign * (f1 - f0) / steps[0])
        else:
            h1, h2 = steps
            f2 = part(r, r + 1 or None)
            ends.append(
                sign
                * (
                    f1 * ((h1 + h2) / (h1 * h2))
                    - f0 * ((2 * h1 + h2) / (h1 * (h1 + h2)))
                    - f2 * (h1 / (h2 * (h1 + h2)))
                )
            )
    return xp.concat([ends[0], inner, ends[1]], axis=a)


@composite(name="gradient", cases=[case((5,)), case((3, 4), dim=1, spacing=0.5), case((4,), edge_order=2)])
def gradient(xp, input, *, spacing=1, dim=None, edge_order=1):
    """Estimates of the derivative of sampled values along each axis (or those in `dim`), as a tuple of tensors.

    Args:
        spacing: the step, one step an axis, or one tensor of coordinates an axis.
        edge_order: 1 or 2, the order of the one-sided differences at the ends.

    Raises:
        RuntimeError: an axis with fewer than edge_order + 1 samples, or not one spacing for each axis.
    """
    n = len(input.shape)
    axes = range(n) if dim is None else [d % n for d in ((dim,) if isinstance(dim, int) else dim)]
    steps = list(spacing) if isinstance(spacing, list | tuple) else [spacing] * len(axes)
    if len(steps) != len(axes) or edge_order not in (1, 2) or any(input.shape[a] <= edge_order for a in axes):
        raise RuntimeError(
            f"gradient: axes {list(axes)} of shape {tuple(input.shape)}, {len(steps)} spacings and edge_order {edge_order} do not fit"
        )
    steps = [h if isinstance(h, int | float) else h[1:] - h[:-1] for h in steps]
    return tuple(_slopes(xp, input, h, a, edge_order) for a, h in zip(axes, steps, strict=True))
