"""Indexing: reading and writing with every form of key, and the accumulating scatter that transposes a read."""

from __future__ import annotations

import math
from typing import Any

from polygrad.core import (
    Tensor,
    ascending,
    backend_of,
    bools,
    case,
    composite,
    discrete,
    general,
    ints,
    linear,
    method,
    new_tensor,
    overwrite,
    pointwise,
)
from polygrad.core.inplace import check_writable, count_write, is_unshared, recording


@pointwise(
    x1=lambda xp, g, condition: xp.where(condition, g, 0),
    x2=lambda xp, g, condition: xp.where(condition, 0, g),
    dtypes="any",
    cases=[case(bools((3, 4)), (3, 4), (3, 4)), case(bools((3, 1)), (3, 4), (4,))],
)
def where(condition, x1, x2, /):
    """x1 where the condition holds, x2 elsewhere."""


# ----------------------------------------------------------------------------------------------------------- keys


def _is_array(k: Any) -> bool:
    return hasattr(k, "dtype")


def _as_tuple(key: Any) -> tuple[Any, ...]:
    return key if isinstance(key, tuple) else (key,)


def _is_basic(key: Any) -> bool:
    """True when a key has only ints, slices, Ellipsis and None, so that it names no element twice."""
    return not any(_is_array(k) for k in _as_tuple(key))


def _is_mask(key: Any) -> bool:
    """True when every array in a key is boolean, so that it names no element twice."""
    return all(str(k.dtype).endswith(("bool", "bool_")) for k in _as_tuple(key) if _is_array(k))


def _is_plain(key: Any) -> bool:
    """True for the keys that every library takes: no array at all, or nothing but one mask."""
    parts = _as_tuple(key)
    return _is_basic(parts) or (len(parts) == 1 and _is_mask(parts))


def _expanded(key: tuple[Any, ...], ndim: int) -> list[Any]:
    """A key with its Ellipsis and missing trailing axes written out as full slices."""
    used = 0
    for k in key:
        if k is not None and k is not Ellipsis:
            used += len(k.shape) if _is_masking(k) else 1
    full = [slice(None)] * (ndim - used)
    if not any(k is Ellipsis for k in key):
        return [*key, *full]
    i = next(j for j, k in enumerate(key) if k is Ellipsis)
    return [*key[:i], *full, *key[i + 1 :]]


def _forward(full: list[Any], shape: tuple[int, ...]) -> tuple[tuple[Any, ...], tuple[int, ...]]:
    """A key of ints and slices with every slice of a negative step the other way round, and the axes of the result to flip then."""
    forward, turned, axis = [], [], 0
    for i, k in enumerate(full):
        if isinstance(k, slice) and k.step is not None and k.step < 0:
            places = range(*k.indices(shape[i]))
            k = slice(places[-1], places[0] + 1, -k.step) if len(places) else slice(0, 0)
            turned.append(axis)
        forward.append(k)
        axis += not isinstance(k, int)
    return tuple(forward), tuple(turned)


@linear(
    x=lambda xp, g, x_shape, key: _placed(xp, g, x_shape, key),
    dtypes="any",
    promote=(),
    node="Index",
    cases=[
        case((3, 4), key=1),
        case((3, 4), key=(slice(None, None, 2), None, -1)),
        case((5,), key=slice(None, None, -2)),
        case((3, 4, 2), key=(Ellipsis, 1)),
        case((3, 4), key=ints((4,), -3, 3)),
        case((3, 4), key=(slice(1, None), ints((2, 2), 0, 4))),
        case((3, 4), key=(ints((5,), 0, 3), ints((5,), 0, 4))),
        case((3, 4), key=bools((3, 4))),
    ],
)
def getitem(xp, x, /, *, key):
    """x[key] for every form of key; negative steps work on every library."""
    parts = _as_tuple(key)
    if not _is_basic(parts):
        return x[parts[0]] if _is_plain(parts) else _read(xp, x, parts)
    full = _expanded(parts, len(x.shape))
    if any(k is None for k in full):
        y = xp.getitem(x, key=tuple(k for k in full if k is not None))
        return xp.reshape(y, _with_new_axes(y.shape, full))
    forward, turned = _forward(full, x.shape)
    return xp.flip(x[forward], axis=turned) if turned else x[forward]


def _placed(xp, t, x_shape, key):
    return xp.at_add(xp.zeros(x_shape, dtype=t.dtype, device=xp.device(t)), t, key=key)


@general(
    x=(lambda g: g, lambda t: t),
    value=(lambda xp, g, key: xp.getitem(g, key=key), _placed),
    dtypes="numeric",
    node="IndexPut",
    cases=[
        case((3, 4), (2, 4), key=(slice(0, 2),)),
        case((3, 4), (3,), key=(slice(None), -1)),
        case((5,), (3,), key=slice(None, None, -2)),
        case((3, 4), (5, 4), key=ints((5,), 0, 3)),
        case((3, 4), (5,), key=(ints((5,), 0, 3), ints((5,), 0, 4))),
        case((3, 4), (), key=bools((3, 4))),
    ],
)
def at_add(xp, x, value, /, *, key):
    """A copy of x with x[key] += value, adding as often as the key names an element."""
    if _is_plain(key):
        return xp.at_set(x, xp.getitem(x, key=key) + value, key=key)
    return x + _scatter(xp, x, value, _as_tuple(key))


def _kept(xp, g, x_shape, key):
    """The cotangent of a value that was put at a key's places: zero for elements that a later one overwrote."""
    d = xp.getitem(g, key=key)
    if _is_basic(key) or _is_mask(key):
        return d
    order = xp.reshape(xp.arange(math.prod(d.shape), device=xp.device(d)), d.shape)
    last = xp.at_set(xp.zeros(x_shape, dtype=order.dtype, device=xp.device(d)), order, key=key)
    return xp.where(xp.getitem(last, key=key) == order, d, 0)


@general(
    x=(
        lambda xp, g, key: xp.at_set(g, 0, key=key),
        lambda xp, t, key: xp.at_set(t, 0, key=key),
    ),
    value=(
        lambda xp, g, x_shape, key: _kept(xp, g, x_shape, key),
        lambda xp, t, x_shape, key: xp.at_set(xp.zeros(x_shape, dtype=t.dtype, device=xp.device(t)), t, key=key),
    ),
    dtypes="any",
    node="CopySlices",
    cases=[
        case((3, 4), (4,), key=1),
        case((3, 4), (3, 2), key=(slice(None), slice(None, None, -2))),
        case((3, 4), (4,), key=ints((1,), -3, 3)),
        case((3, 4), (), key=bools((3, 4))),
    ],
)
def at_set(xp, x, value, /, *, key):
    """A copy of x with x[key] = value; of values for one place the last stays, and it alone has a gradient."""
    if _is_plain(key):
        try:
            return _assign(xp, xp.asarray(x, copy=True), value, key)
        except TypeError:  # the library's arrays are immutable
            pass
    return _place(xp, x, value, _as_tuple(key))


def _with_new_axes(shape, full):
    """The shape of a read with a size of one wherever its key has None."""
    sizes = iter(shape)
    return tuple(1 if k is None else next(sizes) for k in full if not isinstance(k, int))


def _assign(xp, y, value, key):
    """y[key] = value with negative steps turned into a flip of the value."""
    if not _is_basic(key):
        y[key] = value
        return y
    full = _expanded(_as_tuple(key), len(y.shape))
    if any(k is None for k in full):
        bare = [k for k in full if k is not None]
        if hasattr(value, "shape"):
            shape = xp.getitem(y, key=tuple(bare)).shape
            value = xp.reshape(xp.broadcast_to(value, _with_new_axes(shape, full)), shape)
        full = bare
    forward, turned = _forward(full, y.shape)
    if turned and hasattr(value, "shape"):
        value = xp.flip(xp.broadcast_to(value, y[forward].shape), axis=turned)
    y[forward[0] if len(forward) == 1 else forward] = value
    return y


def _flat_places(xp, shape, key, like):
    """For each element that a key with arrays names, its place in the flattened array; and how many places there are."""
    n = math.prod(shape)
    numbers = xp.reshape(xp.arange(n, device=xp.device(like)), shape)
    return n, xp.getitem(numbers, key=key) if _is_plain(key) else _read(xp, numbers, key)


def _read(xp, x, key):
    """x[key] where the key has arrays, by gathering: not every library takes arrays beside other indices."""
    full = [k for part in _expanded(key, len(x.shape)) for k in (xp.nonzero(part) if _is_masking(part) else (part,))]
    arrays = [i for i, k in enumerate(full) if _is_array(k)]
    if len(arrays) == 1 and not any(isinstance(k, int) for k in full):
        return _read_along(xp, x, full, arrays[0])
    chosen = [i for i, k in enumerate(full) if _is_array(k) or isinstance(k, int)]
    others = [i for i in range(len(full)) if i not in chosen]
    together = chosen == list(range(chosen[0], chosen[-1] + 1))  # else the arrays' axes come first
    block = xp.broadcast_shapes(*[full[i].shape for i in arrays])
    before = chosen[0] if together else 0
    rank = len(others) + len(block)
    after = rank - before - len(block)
    sizes = [1] * rank
    sizes[before : before + len(block)] = block
    place = dict(zip(others, [*range(before), *range(before + len(block), rank)], strict=True))
    flat: Any = 0
    axis = 0
    for i, k in enumerate(full):
        if k is None:
            continue
        n = x.shape[axis]
        if _is_array(k):
            index = xp.reshape(_in_range(xp, k, n, axis), (*k.shape, *(1,) * after))
        elif isinstance(k, int):
            index = k % n
        else:
            at = range(*k.indices(n))
            sizes[place[i]] = len(at)
            index = xp.arange(at.start, at.stop, at.step, device=xp.device(x))
            index = xp.reshape(index, (len(at), *(1,) * (rank - place[i] - 1)))
        flat = flat * n + index
        axis += 1
    flat = xp.reshape(xp.broadcast_to(flat, tuple(sizes)), (-1,))
    return xp.reshape(xp.take(xp.reshape(x, (-1,)), flat, axis=0), tuple(sizes))


def _is_masking(k: Any) -> bool:
    return _is_array(k) and _is_mask(k)


def _read_along(xp, x, full, at):
    """x[full] for a key with one array of integers, at place `at`, and no int."""
    rest = tuple(slice(None) if _is_array(k) else k for k in full)
    axis = sum(k is not None for k in full[:at])
    index = _in_range(xp, full[at], x.shape[axis], axis)
    x = x if all(k == slice(None) for k in rest) else xp.getitem(x, key=rest)
    taken = xp.take(x, xp.reshape(index, (-1,)), axis=at)
    return xp.reshape(taken, (*x.shape[:at], *index.shape, *x.shape[at + 1 :]))


def _in_range(xp, index, n, axis):
    """Indices of an axis of size n without negative ones. Raises IndexError for those outside it."""
    if math.prod(index.shape) and bool(xp.any(xp.logical_or(index < -n, index >= n))):
        raise IndexError(f"an index is out of bounds for dimension {axis} with size {n}")
    return xp.where(index < 0, index + n, index)


def segment_add(xp, values, places, n):
    """The sum of the rows of `values` (k, ...) that have the same place, as (n, ...), in standard functions only.

    Sorts by place, sums neighbours of one place by doubling (log2 k steps, exact as a tree of additions) and gathers.
    """
    k = places.shape[0]
    tail = values.shape[1:]
    if k == 0 or n == 0:
        return xp.zeros((n, *tail), dtype=values.dtype, device=xp.device(values))
    order = xp.argsort(places, stable=True)
    places = xp.take(places, order, axis=0)
    sums = xp.take(values, order, axis=0)
    s = 1
    while s < k:
        same = xp.reshape(places[:-s] == places[s:], (k - s,) + (1,) * len(tail))
        sums = xp.concat([sums[:-s, ...] + xp.where(same, sums[s:, ...], 0), sums[-s:, ...]], axis=0)
        s *= 2
    targets = xp.arange(n, dtype=places.dtype, device=xp.device(values))
    first = xp.searchsorted(places, targets)
    first = xp.minimum(first, xp.full_like(first, k - 1))
    hit = xp.reshape(xp.take(places, first, axis=0) == targets, (n,) + (1,) * len(tail))
    return xp.where(hit, xp.take(sums, first, axis=0), 0)


def _scatter(xp, x, value, key):
    """Zeros of x's shape with `value` added at the key's places."""
    shape = x.shape
    full = _expanded(key, len(shape))
    arrays = [i for i, k in enumerate(full) if _is_array(k)]
    if len(arrays) == 1 and not _is_mask(key) and all(k == slice(None) for i, k in enumerate(full) if i != arrays[0]):
        axis, index = arrays[0], full[arrays[0]]
        m = len(index.shape)
        value = xp.broadcast_to(value, (*shape[:axis], *index.shape, *shape[axis + 1 :]))
        rows = xp.permute_dims(value, (*range(axis, axis + m), *range(axis), *range(axis + m, len(value.shape))))
        rows = xp.reshape(rows, (math.prod(index.shape), *shape[:axis], *shape[axis + 1 :]))
        flat = xp.reshape(index, (-1,))
        out = segment_add(xp, rows, xp.where(flat < 0, flat + shape[axis], flat), shape[axis])
        return xp.permute_dims(out, (*range(1, axis + 1), 0, *range(axis + 1, len(shape))))
    n, places = _flat_places(xp, shape, key, x)
    value = xp.broadcast_to(value, places.shape)
    return xp.reshape(segment_add(xp, xp.reshape(value, (-1,)), xp.reshape(places, (-1,)), n), shape)


def _place(xp, y, value, key):
    """y with y[key] = value for any key, by gathering (the last of equal places wins): nothing is written into."""
    n, places = _flat_places(xp, y.shape, key, y)
    value = xp.asarray(value, dtype=y.dtype, device=xp.device(y)) if not hasattr(value, "dtype") else value
    value = xp.reshape(xp.broadcast_to(value, places.shape), (-1,))
    places = xp.reshape(places, (-1,))
    k = places.shape[0]
    if k == 0:
        return y
    order = xp.argsort(places, stable=True)
    places, value = xp.take(places, order, axis=0), xp.take(value, order, axis=0)
    targets = xp.arange(n, dtype=places.dtype, device=xp.device(y))
    last = xp.searchsorted(places, targets, side="right") - 1
    last = xp.maximum(last, xp.zeros_like(last))
    hit = xp.take(places, last, axis=0) == targets
    return xp.reshape(xp.where(hit, xp.take(value, last, axis=0), xp.reshape(y, (-1,))), y.shape)


# ------------------------------------------------------------------------------------------------ tensor[key]


def _plain_key(key: Any, x: Tensor) -> Any:
    """A key with tensors, lists and foreign arrays turned into the library's arrays, and integers into ints."""
    if isinstance(key, tuple):
        return tuple(_plain_key(k, x) for k in key)
    if key is None or key is Ellipsis or isinstance(key, int) and not isinstance(key, bool):
        return key
    if isinstance(key, slice):
        return slice(*(None if k is None else k.__index__() for k in (key.start, key.stop, key.step)))
    if isinstance(key, Tensor):
        if key._backend is not x._backend:
            raise RuntimeError(f"index on backend {key.backend!r} for a tensor on {x.backend!r}; convert it with .to()")
        category = key.dtype.category
        if category == "floating" or category == "complex":
            raise IndexError(f"tensors used as indices must be integer or bool tensors, got {key.dtype}")
        return int(key) if key.ndim == 0 and category != "bool" else key._array
    if isinstance(key, list | bool) or backend_of(key) is not None:
        array = x._backend.asarray(key, dtype=None if key != [] else "int64") if isinstance(key, list) else key
        return _plain_key(new_tensor(x._backend.asarray(array), x._backend), x)
    if hasattr(key, "__index__"):
        return key.__index__()
    raise IndexError(
        f"only ints, slices, Ellipsis, None, and integer or boolean tensors, arrays and lists are indices, got {type(key).__name__}"
    )


def _check_key(key: Any, shape: tuple[int, ...]) -> None:
    """Raise IndexError for too many indices and for an int outside its axis, alike on every library."""
    keys = _as_tuple(key)
    used = sum((len(k.shape) if _is_masking(k) else 1) for k in keys if k is not None and k is not Ellipsis)
    if used > len(shape):
        raise IndexError(f"too many indices for tensor of dimension {len(shape)}: got {used}")
    if sum(k is Ellipsis for k in keys) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    axis = 0
    for k in _expanded(keys, len(shape)):
        if isinstance(k, int) and not -shape[axis] <= k < shape[axis]:
            raise IndexError(f"index {k} is out of bounds for dimension {axis} with size {shape[axis]}")
        if _is_masking(k):
            if tuple(k.shape) != shape[axis : axis + len(k.shape)]:
                raise IndexError(
                    f"the mask of shape {tuple(k.shape)} at dimension {axis} does not fit a tensor of shape {shape}"
                )
            axis += len(k.shape)
        elif k is not None:
            axis += 1


@method
def index(x: Tensor, key: Any) -> Tensor:
    """x[key] on tensors. Raises IndexError for too many indices, one out of range, or one of a wrong type."""
    key = _plain_key(key, x)
    _check_key(key, x.shape)
    return getitem(x, key=key)


@method
def assign_index(x: Tensor, key: Any, value: Any) -> None:
    """x[key] = value on tensors, recorded; the value is broadcast and cast to the dtype of x.

    Raises:
        RuntimeError: x is a leaf that requires grad, while ops are recorded.
        IndexError: as for reading.
    """
    check_writable(x)
    key = _plain_key(key, x)
    _check_key(key, x.shape)
    if not isinstance(value, Tensor):
        if backend_of(value) is None and not isinstance(value, list | tuple):
            value = new_tensor(x._backend.asarray(value, dtype=x.dtype, device=x.device), x._backend)
        else:
            value = new_tensor(x._backend.asarray(value, device=x.device), x._backend)
    if value.dtype is not x.dtype:
        if value.dtype.is_complex and not x.dtype.is_complex:
            raise TypeError(f"cannot put {value.dtype} values into a {x.dtype} tensor; take real(value) first")
        value = value.to(x.dtype)
    if is_unshared(x) and not (recording() and (x._node is not None or value._node is not None)):
        count_write(x)
        _assign(x._backend.arrays, x._array, value._array, key)
        return
    overwrite(x, at_set(x, value, key=key))


# ---------------------------------------------------------------------------------------------- take and friends


def _at(axis, ndim, index):
    return (slice(None),) * (axis % ndim if ndim else 0) + (index,)


@linear(
    x=lambda xp, g, x_shape, indices, axis: xp.at_add(
        xp.zeros(x_shape, dtype=g.dtype, device=xp.device(g)),
        g,
        key=_at(0 if axis is None else axis, len(x_shape), indices),
    ),
    dtypes="any",
    node="IndexSelect",
    cases=[case((5,), ints((3,), 0, 5)), case((3, 4), ints((6,), 0, 4), axis=1)],
)
def take(x, indices, /, *, axis=None):
    """The slices of x along `axis` that the integer array `indices` names."""


def _along(xp, indices, shape, axis):
    """The key whose read is take_along_axis: an index array for each axis, broadcast together."""
    n = len(shape)
    return tuple(
        indices
        if i == axis
        else xp.reshape(
            xp.arange(indices.shape[i], dtype=indices.dtype, device=xp.device(indices)),
            tuple(-1 if j == i else 1 for j in range(n)),
        )
        for i in range(n)
    )


def _full_along(xp, indices, shape, axis):
    """`_along` for index arrays that broadcast against the other axes of x."""
    a = axis % len(shape)
    full = tuple(n if i == a else (n if n != 1 else shape[i]) for i, n in enumerate(indices.shape))
    return _along(xp, xp.broadcast_to(indices, full), shape, a)


@linear(
    x=lambda xp, g, x_shape, indices, axis: xp.put_along_axis_add(g, indices, shape=x_shape, axis=axis),
    dtypes="any",
    node="Gather",
    cases=[case((3, 4), ints((3, 2), 0, 4)), case((3, 4), ints((5, 4), 0, 3), axis=0)],
)
def take_along_axis(x, indices, /, *, axis=-1):
    """Elements of x picked along `axis` by an integer array that matches x elsewhere."""


@linear(
    x=lambda xp, g, indices, axis: xp.take_along_axis(g, indices, axis=axis),
    dtypes="numeric",
    node="ScatterAdd",
    cases=[case((3, 2), ints((3, 2), 0, 4), shape=(3, 4), axis=-1)],
)
def put_along_axis_add(xp, x, indices, /, *, shape, axis):
    """Zeros of `shape` with x added at the places that `indices` names along `axis` (the transpose of take_along_axis)."""
    zeros = xp.zeros(shape, dtype=x.dtype, device=xp.device(x))
    key = _full_along(xp, indices, shape, axis)
    full = tuple(max(n, m) for n, m in zip(indices.shape, x.shape, strict=True))
    key = tuple(xp.broadcast_to(k, full) for k in key)
    return xp.at_add(zeros, xp.broadcast_to(x, full), key=key)


@composite(dtypes="any", cases=[case((3, 4), 1, ints((2, 3), 0, 4))])
def gather(xp, input, dim, index):
    """Elements picked along `dim` by `index`, which may be shorter than the input elsewhere (PyTorch's gather)."""
    d = dim % max(len(input.shape), 1)
    if any(i != d and m != n for i, (m, n) in enumerate(zip(index.shape, input.shape, strict=True))):
        input = input[tuple(slice(None) if i == d else slice(0, n) for i, n in enumerate(index.shape))]
    return xp.take_along_axis(input, index, axis=d)


@composite(dtypes="numeric", cases=[case((3, 4), 1, ints((5,), 0, 4), (3, 5))])
def index_add(xp, x, dim, index, source):
    """x with the slices of `source` added at the places that `index` names along `dim`."""
    return xp.at_add(x, source, key=(slice(None),) * (dim % len(x.shape)) + (index,))


def _scatter_key(xp, index, src, d):
    key = _along(xp, index, index.shape, d)
    if not hasattr(src, "shape"):
        return key, src
    return key, src[tuple(slice(0, n) for n in index.shape)]


@composite(dtypes="numeric", cases=[case((3, 4), 1, ints((2, 3), 0, 4), (2, 3))])
def scatter_add(xp, x, dim, index, src):
    """x with `src` added at the places that `index` names along `dim` (PyTorch's scatter_add)."""
    key, src = _scatter_key(xp, index, src, dim % len(x.shape))
    return xp.at_add(x, src, key=key)


@composite(dtypes="any", cases=[case((3, 4), 1, ints((2, 3), 0, 4), (2, 3)), case((3, 4), 0, ints((2, 3), 0, 3), 0.5)])
def scatter(xp, x, dim, index, src):
    """x with `src` put at the places that `index` names along `dim`; the last of equal places wins."""
    key, src = _scatter_key(xp, index, src, dim % len(x.shape))
    return xp.at_set(x, src, key=key)


@discrete(dtypes="any")
def nonzero(x, /):
    """The positions of the elements that are not zero, as a tuple of index arrays, one an axis."""


@discrete(dtypes="real", cases=[case(ascending((5,)), (3,)), case(ascending((5,)), (2, 3), side="right")])
def searchsorted(x1, x2, /, *, side="left", sorter=None):
    """Where each element of x2 would be put into the sorted x1 to keep it sorted."""


@discrete(dtypes="any", cases=[case(ints((3, 4), 0, 5), ints((3,), 0, 5)), ((3, 4), (2, 2))])
def isin(xp, x1, x2, /, *, invert=False):
    """True where an element of x1 is in x2 (a NaN is in nothing)."""
    x1, x2 = (
        x if hasattr(x, "shape") else xp.asarray(x, dtype=other.dtype, device=xp.device(other))
        for x, other in ((x1, x2), (x2, x1))
    )
    n = math.prod(x2.shape)
    x2 = xp.reshape(x2, (n,))
    if n and xp.isdtype(x2.dtype, ("integral", "real floating")):
        x2 = xp.sort(x2)
        places = xp.searchsorted(x2, x1)
        found = xp.take(x2, xp.reshape(xp.minimum(places, n - 1), (math.prod(x1.shape),)), axis=0)
        found = xp.reshape(found, x1.shape) == x1
    else:
        found = xp.any(xp.expand_dims(x1, axis=-1) == x2, axis=-1)
    return xp.logical_not(found) if invert else found
