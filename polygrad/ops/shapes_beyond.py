"""Cutting, joining and turning tensors, windows and views of them, under PyTorch's names."""

from __future__ import annotations

import math

from polygrad.core import case, composite, linear


def _at(d, index):
    return (slice(None),) * d + (index,)


def _within(n, start, stop, step=1):
    """A slice that ends within an axis of size n, as the standard has it."""
    return slice(*slice(start, stop, step).indices(n))


# ------------------------------------------------------------------------------------------------------------- cutting


@composite(
    dtypes="any",
    cases=[case((5, 4), 2), case((3, 5), [1, 4], 1)],
)
def tensor_split(xp, input, indices_or_sections, dim=0):
    """So many pieces of nearly equal size along an axis (the first are larger), or the pieces between the given places.

    Raises RuntimeError for fewer than one piece.
    """
    d = dim % len(input.shape)
    n, places = input.shape[d], indices_or_sections
    if hasattr(places, "tolist"):
        places = places.tolist()
    if isinstance(places, int):
        if places < 1:
            raise RuntimeError(f"number of sections must be larger than 0, got {places}")
        size, larger = divmod(n, places)
        places = [i * size + min(i, larger) for i in range(1, places)]
    starts, stops = [0, *places], [*places, n]
    return tuple(input[(*_at(d, _within(n, a, b)), ...)] for a, b in zip(starts, stops, strict=True))


def _split_along(xp, name, input, indices_or_sections, dim, least):
    if len(input.shape) < least:
        raise RuntimeError(f"{name} requires a tensor with at least {least} dimensions, but got {len(input.shape)}")
    n = input.shape[dim]
    if isinstance(indices_or_sections, int) and (indices_or_sections < 1 or n % indices_or_sections):
        raise RuntimeError(f"{name}: the size {n} of axis {dim} is not divisible by {indices_or_sections}")
    return xp.tensor_split(input, indices_or_sections, dim)


@composite(dtypes="any", cases=[case((3, 4), 2), case((5,), [2])])
def hsplit(xp, input, indices_or_sections):
    """Equal pieces, or the pieces between the given places, along the second axis (the first of a vector).

    Raises RuntimeError where the axis does not divide evenly.
    """
    return _split_along(xp, "hsplit", input, indices_or_sections, 0 if len(input.shape) == 1 else 1, 1)


@composite(dtypes="any", cases=[case((4, 3), 2)])
def vsplit(xp, input, indices_or_sections):
    """Equal pieces, or the pieces between the given places, along the first axis. Raises RuntimeError as `hsplit`."""
    return _split_along(xp, "vsplit", input, indices_or_sections, 0, 2)


@composite(dtypes="any", cases=[case((2, 3, 4), 2)])
def dsplit(xp, input, indices_or_sections):
    """Equal pieces, or the pieces between the given places, along the third axis. Raises RuntimeError as `hsplit`."""
    return _split_along(xp, "dsplit", input, indices_or_sections, 2, 3)


# ------------------------------------------------------------------------------------------------------------- joining


@composite(dtypes="any", cases=[case([(2, 3), (2, 1)]), case([(3,), (2,)])])
def hstack(xp, tensors):
    """Tensors joined along the second axis (vectors along their only one)."""
    tensors = [xp.atleast_nd(t, ndim=1) for t in tensors]
    return xp.concat(tensors, axis=0 if len(tensors[0].shape) == 1 else 1)


@composite(dtypes="any", cases=[case([(2, 3), (1, 3)]), case([(3,), (3,)])])
def vstack(xp, tensors):
    """Tensors joined along the first axis, vectors as rows."""
    return xp.concat([xp.atleast_nd(t, ndim=2) for t in tensors], axis=0)


@composite(dtypes="any", cases=[case([(2, 3), (2, 3)]), case([(3,), (3,)])])
def dstack(xp, tensors):
    """Tensors joined along the third axis, matrices as slices of it."""
    return xp.concat([xp.atleast_3d(t) for t in tensors], axis=2)


@composite(dtypes="any", cases=[case([(3,), (3, 2)]), case([(), ()])])
def column_stack(xp, tensors):
    """Tensors joined along the second axis, vectors as columns."""
    return xp.hstack([t if len(t.shape) > 1 else xp.reshape(t, (-1, 1)) for t in tensors])


# ------------------------------------------------------------------------------------------------------------- turning


@composite(dtypes="any", cases=[((2, 3),)])
def ravel(xp, input):
    """All elements in one axis."""
    return xp.reshape(input, (-1,))


@composite(dtypes="any", cases=[((2, 3),)])
def fliplr(xp, input):
    """The second axis reversed."""
    return xp.flip(input, axis=1)


@composite(dtypes="any", cases=[((2, 3),)])
def flipud(xp, input):
    """The first axis reversed."""
    return xp.flip(input, axis=0)


@composite(dtypes="any", cases=[((2, 3),), case((2, 3, 2), -1, dims=(1, 2)), case((2, 3), 2)])
def rot90(xp, input, k=1, dims=(0, 1)):
    """Turned k times by 90 degrees in the plane of two axes, from the first to the second."""
    a, b = (d % len(input.shape) for d in dims)
    if a == b:
        raise RuntimeError(f"expected two different rotation dims, got {tuple(dims)}")
    k = k % 4
    if k == 2:
        return xp.flip(input, axis=(a, b))
    if k == 0:
        return xp.clone(input)
    return xp.swapaxes(xp.flip(input, axis=b if k == 1 else a), a, b)


# --------------------------------------------------------------------------------------------------- windows and views


@linear(
    input=lambda xp, g, input_shape, dimension, size, step: _windows_pull(xp, g, input_shape, dimension, size, step),
    dtypes="any",
    cases=[case((7,), 0, 3, 2), case((3, 6, 2), 1, 2, 1)],
)
def sliding_windows(xp, input, /, dimension, size, step):
    """Windows of `size` elements, `step` apart, of an axis: their number in its place, their elements as a new last axis.

    This is PyTorch's Tensor.unfold. Raises RuntimeError for a window longer than the axis, or a step below 1.
    """
    n = len(input.shape)
    d = dimension % max(n, 1)
    length = input.shape[d] if n else 1
    if not 0 <= size <= length or step < 1:
        raise RuntimeError(f"unfold: windows of {size} with step {step} do not fit an axis of size {length}")
    if not n:
        return xp.reshape(input, (1,))[:size]
    starts = xp.arange(0, length - size + 1, step, device=xp.device(input))
    places = xp.expand_dims(starts, axis=1) + xp.arange(size, device=xp.device(input))
    windows = xp.take(input, xp.reshape(places, (-1,)), axis=d)
    windows = xp.reshape(windows, (*input.shape[:d], *places.shape, *input.shape[d + 1 :]))
    return xp.moveaxis(windows, d + 1, -1)


def _windows_pull(xp, g, shape, dimension, size, step):
    """Each window's cotangent added where its elements came from."""
    if not shape:
        return xp.reshape(xp.sum(g), ())
    d = dimension % len(shape)
    total = xp.zeros(shape, dtype=g.dtype, device=xp.device(g))
    for i in range(size):
        stop = i + step * (g.shape[d] - 1) + 1
        total = xp.at_add(total, g[..., i], key=_at(d, slice(i, stop, step)))
    return total


@composite(
    dtypes="any",
    cases=[case((3, 4), size=(2, 2), stride=(1, 2)), case((6,), size=(3, 2), stride=(1, 1), storage_offset=2)],
)
def as_strided(xp, input, size, stride, storage_offset=0):
    """The elements that a view of this size and these strides of the flattened input names, as a tensor of its own.

    The strides are those of a contiguous input; elements named twice share their gradient's sum. Raises RuntimeError
    where the view leaves the input.
    """
    size, stride = tuple(size), tuple(stride)
    flat = xp.reshape(input, (-1,))
    if len(size) != len(stride):
        raise RuntimeError(f"mismatch in length of strides {stride} and shape {size}")
    last = storage_offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if math.prod(size) and not 0 <= storage_offset <= last < flat.shape[0]:
        raise RuntimeError(
            f"as_strided: size {size}, stride {stride} and offset {storage_offset} exceed {flat.shape[0]} elements"
        )
    places = xp.full((), storage_offset, dtype=xp.int64, device=xp.device(input))
    for n, s in zip(size, stride, strict=True):
        places = xp.expand_dims(places, axis=-1) + xp.arange(n, dtype=xp.int64, device=xp.device(input)) * s
    return xp.reshape(xp.take(flat, xp.reshape(places, (-1,)), axis=0), size)


@composite(dtypes="any", cases=[case((3, 4), (4,), 0, 1)])
def select_scatter(xp, input, src, dim, index):
    """The input with `src` in place of one slice along an axis."""
    return xp.at_set(input, src, key=_at(dim % len(input.shape), index))


@composite(dtypes="any", cases=[case((3, 4), (3, 2), 1, 1, 4, 2)])
def slice_scatter(xp, input, src, dim=0, start=None, end=None, step=1):
    """The input with `src` in place of the slice from `start` to `end` along an axis."""
    d = dim % len(input.shape)
    return xp.at_set(input, src, key=_at(d, _within(input.shape[d], start, end, step)))


@composite(dtypes="any", cases=[case((3, 4), (3,)), case((2, 3, 4), (2, 2), -1, 1, 2)])
def diagonal_scatter(xp, input, src, offset=0, dim1=0, dim2=1):
    """The input with `src` in place of the `offset`-th diagonal of the axes `dim1` and `dim2`."""
    x = xp.moveaxis(input, (dim1, dim2), (-2, -1))
    steps = xp.arange(src.shape[-1], device=xp.device(input))
    rows, columns = (steps - offset, steps) if offset < 0 else (steps, steps + offset)
    return xp.moveaxis(xp.at_set(x, src, key=(..., rows, columns)), (-2, -1), (dim1, dim2))


@composite(dtypes="numeric", cases=[case((2, 3, 4), 3, 1)])
def sum_to_size(xp, input, *size):
    """The input summed over the axes that broadcasting from `size` would repeat. Raises RuntimeError where it would not."""
    size = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size
    extra = len(input.shape) - len(size)
    if extra < 0 or any(n not in (1, m) for n, m in zip(size, input.shape[extra:], strict=True)):
        raise RuntimeError(f"size {size} is not expandable to size {tuple(input.shape)}")
    axes = tuple(i for i, m in enumerate(input.shape) if i < extra or (size[i - extra] == 1 and m != 1))
    return xp.reshape(xp.sum(input, axis=axes, dtype=input.dtype) if axes else input, size)


# -------------------------------------------------------------------------------------------------------- combinations


@composite(dtypes="numeric", name="linalg.vander", cases=[case((4,)), case((2, 3), N=2)])
def powers(xp, x, *, N=None):
    """The powers 0 ... N - 1 (as many as there are elements by default) of each element, along a new last axis."""
    n = x.shape[-1] if N is None else N
    y = xp.stack([xp.ones_like(x), *[x] * (n - 1)], axis=-1) if n else xp.expand_dims(x, axis=-1)[..., :0]
    return xp.astype(xp.cumulative_prod(y, axis=-1), x.dtype, copy=False)


@composite(dtypes="numeric", cases=[((4,),), case((3,), 2, True)])
def vander(xp, x, N=None, increasing=False):
    """The powers of each element of a vector in a row of N columns, falling unless `increasing`."""
    y = xp.linalg.vander(x, N=N)
    return y if increasing else xp.flip(y, axis=-1)


def _rows_of(n, r, repeated):
    """The r-element subsets of 0 ... n - 1 in order, as a list of tuples."""
    rows: list[tuple[int, ...]] = [()]
    for _ in range(r):
        rows = [(*row, i) for row in rows for i in range((row[-1] + (not repeated)) if row else 0, n)]
    return rows


@composite(dtypes="any", cases=[((4,),), case((3,), 2, True), case((4,), 3)])
def combinations(xp, input, r=2, with_replacement=False):
    """The r-element combinations of a vector's elements, one a row, in order."""
    rows = _rows_of(input.shape[0], r, with_replacement)
    places = xp.asarray([i for row in rows for i in row], dtype=xp.int64, device=xp.device(input))
    return xp.reshape(xp.take(input, places, axis=0), (len(rows), r))


@composite(dtypes="any", cases=[((2,), (3,)), ((3,),)])
def cartesian_prod(xp, *tensors):
    """All combinations of one element of each vector, one a row (the vector itself if there is one)."""
    if len(tensors) == 1:
        return tensors[0]
    return xp.stack([xp.reshape(grid, (-1,)) for grid in xp.meshgrid(*tensors, indexing="ij")], axis=1)
