"""The standard's reductions and running sums."""

from __future__ import annotations

from polygrad.core import case, composite, discrete, general, linear


def axes_of(axis, ndim):
    """The reduced axes as a tuple of non-negative ints."""
    if axis is None:
        return tuple(range(ndim))
    return tuple(a % ndim if ndim else a for a in (axis if isinstance(axis, tuple | list) else (axis,)))


def restore(xp, g, x_shape, axis, keepdims):
    """A reduced array with its axes back, of size one, ready to broadcast against the operand."""
    if keepdims:
        return g
    axes = axes_of(axis, len(x_shape))
    return xp.reshape(g, tuple(1 if i in axes else n for i, n in enumerate(x_shape)))


def count_of(x_shape, axis):
    """How many elements are reduced into one."""
    n = 1
    for a in axes_of(axis, len(x_shape)):
        n *= x_shape[a]
    return n


def _spread(xp, g, x_shape, axis, keepdims):
    return xp.broadcast_to(restore(xp, g, x_shape, axis, keepdims), x_shape)


REDUCTIONS = [((3, 4),), case((3, 4), axis=0), case((2, 3, 4), axis=(0, 2)), case((3, 4), axis=-1, keepdims=True)]


@linear(x=_spread, cases=REDUCTIONS)
def sum(x, /, *, axis=None, dtype=None, keepdims=False):
    """The sum over `axis` (all axes by default); small integers are summed in int64."""


@linear(
    x=lambda xp, g, x_shape, axis, keepdims: _spread(xp, g, x_shape, axis, keepdims) / count_of(x_shape, axis),
    dtypes="floating",
    cases=REDUCTIONS,
)
def mean(x, /, *, axis=None, keepdims=False):
    """The mean over `axis` (all axes by default)."""


def _others(xp, x, axis):
    """For each element the product of all others along the reduced axes, without dividing (so zeros do no harm)."""
    shape, axes = x.shape, axes_of(axis, len(x.shape))
    kept = tuple(i for i in range(len(shape)) if i not in axes)
    order = kept + axes
    flat = xp.reshape(xp.permute_dims(x, order), tuple(shape[i] for i in kept) + (count_of(shape, axis),))
    before = xp.cumulative_prod(flat, axis=-1, include_initial=True)[..., :-1]
    after = xp.flip(xp.cumulative_prod(xp.flip(flat, axis=-1), axis=-1, include_initial=True), axis=-1)[..., 1:]
    inverse = tuple(order.index(i) for i in range(len(order)))
    return xp.permute_dims(xp.reshape(before * after, tuple(shape[i] for i in order)), inverse)


@general(
    x=(
        lambda xp, g, x, x_shape, axis, keepdims: (
            restore(xp, g, x_shape, axis, keepdims) * xp.conj(_others(xp, x, axis))
        ),
        lambda xp, t, x, axis, keepdims: xp.sum(t * _others(xp, x, axis), axis=axis, keepdims=keepdims),
    ),
    dtypes="numeric",
    cases=REDUCTIONS,
)
def prod(x, /, *, axis=None, dtype=None, keepdims=False):
    """The product over `axis` (all axes by default), with exact derivatives where factors are zero."""


def _share(xp, g, x, y, x_shape, axis, keepdims):
    """g split evenly among the elements that equal the extreme value."""
    at = x == restore(xp, y, x_shape, axis, keepdims)
    n = xp.sum(xp.astype(at, g.dtype), axis=axis, keepdims=True)
    g = restore(xp, g, x_shape, axis, keepdims)
    return xp.where(at, g / xp.maximum(n, 1), 0)


def _mean_of_extremes(xp, t, x, y, x_shape, axis, keepdims):
    at = x == restore(xp, y, x_shape, axis, keepdims)
    n = xp.sum(xp.astype(at, t.dtype), axis=axis, keepdims=keepdims)
    return xp.sum(xp.where(at, t, 0), axis=axis, keepdims=keepdims) / xp.maximum(n, 1)


@general(x=(_share, _mean_of_extremes), dtypes="real", cases=REDUCTIONS, order=())
def max(x, /, *, axis=None, keepdims=False):
    """The largest element over `axis`; equal ones share the gradient evenly."""


@general(x=(_share, _mean_of_extremes), dtypes="real", cases=REDUCTIONS, order=())
def min(x, /, *, axis=None, keepdims=False):
    """The smallest element over `axis`; equal ones share the gradient evenly."""


def _centred(xp, x, axis):
    return x - xp.mean(x, axis=axis, keepdims=True)


def _freedom(x_shape, axis, correction):
    return count_of(x_shape, axis) - correction


def _reciprocal(n):
    return 1 / n if n else float("inf")


@general(
    x=(
        lambda xp, g, x, x_shape, axis, correction, keepdims: (
            restore(xp, g, x_shape, axis, keepdims)
            * _centred(xp, x, axis)
            * (2 * _reciprocal(_freedom(x_shape, axis, correction)))
        ),
        lambda xp, t, x, x_shape, axis, correction, keepdims: (
            xp.sum(t * _centred(xp, x, axis), axis=axis, keepdims=keepdims)
            * (2 * _reciprocal(_freedom(x_shape, axis, correction)))
        ),
    ),
    dtypes="real floating",
    cases=[*REDUCTIONS, case((3, 4), axis=0, correction=1.0)],
    order=(),
)
def var(x, /, *, axis=None, correction=0.0, keepdims=False):
    """The variance over `axis`: squared deviations from the mean over (n - correction)."""


def _std_slope(xp, x, y, x_shape, axis, correction, keepdims):
    """d std / d x; zero where the deviation is zero (the subgradient of least norm)."""
    y = restore(xp, y, x_shape, axis, keepdims)
    d = _centred(xp, x, axis) * _reciprocal(_freedom(x_shape, axis, correction))
    return xp.where(y == 0, 0, d / xp.where(y == 0, 1, y))


@general(
    x=(
        lambda xp, g, x, y, x_shape, axis, correction, keepdims: (
            restore(xp, g, x_shape, axis, keepdims) * _std_slope(xp, x, y, x_shape, axis, correction, keepdims)
        ),
        lambda xp, t, x, y, x_shape, axis, correction, keepdims: xp.sum(
            t * _std_slope(xp, x, y, x_shape, axis, correction, keepdims), axis=axis, keepdims=keepdims
        ),
    ),
    dtypes="real floating",
    cases=[*REDUCTIONS, case((3, 4), axis=0, correction=1.0)],
    order=(),
)
def std(x, /, *, axis=None, correction=0.0, keepdims=False):
    """The standard deviation over `axis`; its derivative is zero where all elements are equal."""


def _running_axis(axis, ndim):
    return axis % ndim if axis is not None else 0


def _cut(n, axis, part):
    """The key that takes `part` along one axis."""
    return (slice(None),) * axis + (part,) + (slice(None),) * (n - axis - 1)


def _sum_from(xp, g, x_shape, axis, include_initial):
    a = _running_axis(axis, len(x_shape))
    if include_initial:
        g = g[_cut(len(x_shape), a, slice(1, None))]
    return xp.flip(xp.cumulative_sum(xp.flip(g, axis=a), axis=a), axis=a)


RUNNING = [((5,),), case((3, 4), axis=1), case((3, 4), axis=0, include_initial=True)]


@linear(x=_sum_from, node="Cumsum", cases=RUNNING)
def cumulative_sum(x, /, *, axis=None, dtype=None, include_initial=False):
    """Running sums along `axis` (which may be left out for one axis), with a leading 0 if `include_initial`."""


def _shift(xp, x, axis, s, fill):
    """x moved `s` places up its axis, the places that fall free filled (with ones or zeros)."""
    shape = tuple(s if i == axis else n for i, n in enumerate(x.shape))
    make = xp.ones if fill else xp.zeros
    return xp.concat(
        [make(shape, dtype=x.dtype, device=xp.device(x)), x[_cut(len(x.shape), axis, slice(None, -s))]], axis=axis
    )


def _unshift(xp, g, axis, s):
    shape = tuple(s if i == axis else n for i, n in enumerate(g.shape))
    return xp.concat(
        [g[_cut(len(g.shape), axis, slice(s, None))], xp.zeros(shape, dtype=g.dtype, device=xp.device(g))], axis=axis
    )


def _doublings(xp, x, axis):
    """The partial products of Hillis and Steele's scan (1986): after step k, products of up to 2**k neighbours."""
    steps, s = [x], 1
    while s < x.shape[axis]:
        steps.append(steps[-1] * _shift(xp, steps[-1], axis, s, True))
        s *= 2
    return steps


def _product_pull(xp, g, x, axis, include_initial):
    """The reverse of the scan: products only, so zeros do no harm at any order."""
    a = _running_axis(axis, len(x.shape))
    if include_initial:
        g = g[_cut(len(x.shape), a, slice(1, None))]
    steps = _doublings(xp, x, a)
    for k in range(len(steps) - 2, -1, -1):
        p, s = xp.conj(steps[k]), 2**k
        g = g * _shift(xp, p, a, s, True) + _unshift(xp, g * p, a, s)
    return g


def _product_push(xp, t, x, axis, include_initial):
    a = _running_axis(axis, len(x.shape))
    for k, p in enumerate(_doublings(xp, x, a)[:-1]):
        s = 2**k
        t = t * _shift(xp, p, a, s, True) + p * _shift(xp, t, a, s, False)
    if include_initial:
        shape = tuple(1 if i == a else n for i, n in enumerate(t.shape))
        t = xp.concat([xp.zeros(shape, dtype=t.dtype, device=xp.device(t)), t], axis=a)
    return t


@general(x=(_product_pull, _product_push), dtypes="numeric", node="Cumprod", cases=RUNNING)
def cumulative_prod(x, /, *, axis=None, dtype=None, include_initial=False):
    """Running products along `axis` (which may be left out for one axis), with a leading 1 if `include_initial`."""


@discrete(dtypes="any")
def all(x, /, *, axis=None, keepdims=False):
    """True where all elements along `axis` are true (not zero)."""


@discrete(dtypes="any")
def any(x, /, *, axis=None, keepdims=False):
    """True where any element along `axis` is true (not zero)."""


@discrete(dtypes="real", cases=[((3, 4),)])
def argmax(x, /, *, axis=None, keepdims=False):
    """The index of the largest element along `axis` (of the flattened array by default); the first of equal ones."""


@discrete(dtypes="real", cases=[((3, 4),)])
def argmin(x, /, *, axis=None, keepdims=False):
    """The index of the smallest element along `axis` (of the flattened array by default); the first of equal ones."""


@discrete(dtypes="any")
def count_nonzero(x, /, *, axis=None, keepdims=False):
    """How many elements along `axis` are not zero."""


@composite(dtypes="numeric", cases=[((3, 4),), case((3, 4), axis=0, n=2)], order=("n", "axis"))
def diff(xp, x, /, *, axis=-1, n=1, prepend=None, append=None):
    """Differences of neighbours along `axis`, taken `n` times."""
    a = axis % len(x.shape)
    parts = [p for p in (prepend, x, append) if p is not None]
    if len(parts) > 1:
        x = xp.concat(parts, axis=a)
    for _ in range(n):
        size = x.shape[a]
        some = int(size > 0)  # an empty axis stays empty; slices must not begin beyond it
        ahead, behind = slice(some, size), slice(0, size - some)
        x = x[_cut(len(x.shape), a, ahead)] - x[_cut(len(x.shape), a, behind)]
    return x
