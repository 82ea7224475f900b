"""The standard's manipulation functions, data types, and PyTorch's names for them."""

from __future__ import annotations

from polygrad.core import as_dtype, case, composite, general, linear


@general(
    x=(lambda g: g, lambda t: t), dtypes="any", promote=(), node="ToCopy", cases=[case((3, 4), dtype="complex128")]
)
def cast(xp, x, /, *, dtype):
    """x in another data type."""
    return xp.raw.astype(x, dtype, copy=False)


@composite(library=True, dtypes="any", cases=[case((3, 4), "complex128")])
def astype(xp, x, dtype, /, *, copy=True, device=None):
    """x in another data type; complex to real is a TypeError (take `real` first)."""
    wanted = as_dtype(dtype)
    if x.dtype is wanted and device is None:
        return xp.clone(x) if copy else x
    if x.dtype.is_complex and not wanted.is_complex:
        raise TypeError(f"astype: {x.dtype} to {wanted} would drop the imaginary part; use real(x) or abs(x)")
    x = xp.cast(x, dtype=wanted)
    return x if device is None else xp.to_device(x, device=device)


@general(x=(lambda g: g, lambda t: t), dtypes="any", promote=(), node="Clone", cases=[((3, 4),)])
def clone(xp, x, /):
    """The same value as a tensor of its own."""
    return x


@linear(x=lambda xp, g, x_shape: xp.reshape(g, x_shape), dtypes="any", node="View", cases=[case((3, 4), shape=(2, 6))])
def reshape(x, /, shape, *, copy=None):
    """The same elements in another shape; one size may be -1."""


# The engine sums a cotangent down to the operand's shape, which is all that broadcasting needs.
@linear(x=lambda g: g, dtypes="any", node="Expand", cases=[case((3, 1), shape=(2, 3, 4)), case((), shape=(2,))])
def broadcast_to(x, /, shape):
    """x repeated along new axes and axes of size one."""


def _inverse(axes):
    n = len(axes)
    axes = [a % n for a in axes]
    return tuple(axes.index(i) for i in range(n))


@linear(
    x=lambda xp, g, axes: xp.permute_dims(g, _inverse(axes)),
    dtypes="any",
    node="Permute",
    cases=[case((2, 3, 4), axes=(2, 0, 1))],
    aliases={"dims": "axes"},
)
def permute_dims(x, /, axes):
    """The axes in another order."""


@linear(x=lambda xp, g: xp.matrix_transpose(g), dtypes="any", node="Transpose", cases=[((3, 4),), ((2, 3, 4),)])
def matrix_transpose(x, /):
    """The last two axes exchanged."""


@linear(
    x=lambda xp, g, x_shape: xp.reshape(g, x_shape),
    dtypes="any",
    node="Unsqueeze",
    cases=[case((3, 4), axis=1), case((3, 4), axis=(0, -1))],
)
def expand_dims(xp, x, /, axis):
    """New axes of size one at `axis`, an int or a tuple of ints, as the result numbers them.

    Raises IndexError for a place that the result does not have, ValueError for one that is named twice.
    """
    if isinstance(axis, int):
        return xp.raw.expand_dims(x, axis=axis)
    n = len(x.shape) + len(axis)
    if any(not -n <= a < n for a in axis):
        raise IndexError(f"expand_dims: axis {axis} is out of range for a result with {n} axes")
    new = {a % n for a in axis}
    if len(new) != len(axis):
        raise ValueError(f"expand_dims: axis {axis} names a place twice")
    sizes = iter(x.shape)
    return xp.reshape(x, tuple(1 if i in new else next(sizes) for i in range(n)))


@linear(x=lambda xp, g, x_shape: xp.reshape(g, x_shape), dtypes="any", cases=[case((3, 1, 4), axis=1)])
def squeeze(x, /, axis):
    """Without the axes of size one that `axis` names."""


@linear(
    x=lambda xp, g, axis: xp.flip(g, axis=axis),
    dtypes="any",
    cases=[((3, 4),), case((3, 4), axis=0)],
    aliases={"dims": "axis"},
)
def flip(x, /, *, axis=None):
    """The order of the elements along `axis` reversed (all axes by default)."""


def _negative(shift):
    return tuple(-s for s in shift) if isinstance(shift, tuple | list) else -shift


@linear(
    x=lambda xp, g, shift, axis: xp.roll(g, _negative(shift), axis=axis),
    dtypes="any",
    cases=[case((3, 4), shift=2), case((3, 4), shift=(1, -1), axis=(0, 1))],
    aliases={"shifts": "shift", "dims": "axis"},
)
def roll(x, /, shift, *, axis=None):
    """Elements shifted along `axis`, those that leave entering at the other end (flattened by default)."""


@linear(
    x=lambda xp, g, k: xp.tril(g, k=k),
    dtypes="any",
    cases=[((4, 4),), case((2, 3, 4), k=1)],
    order=("k",),
    aliases={"diagonal": "k"},
)
def tril(x, /, *, k=0):
    """The lower triangle of the last two axes, up to the k-th diagonal; zeros elsewhere."""


@linear(
    x=lambda xp, g, k: xp.triu(g, k=k),
    dtypes="any",
    cases=[((4, 4),), case((2, 3, 4), k=-1)],
    order=("k",),
    aliases={"diagonal": "k"},
)
def triu(x, /, *, k=0):
    """The upper triangle of the last two axes, from the k-th diagonal; zeros elsewhere."""


def _pieces(xp, g, arrays_shape, axis):
    """A cotangent cut where `concat` joined."""
    if axis is None:
        flat, start, out = g, 0, []
        for shape in arrays_shape:
            n = 1
            for size in shape:
                n *= size
            out.append(xp.reshape(flat[start : start + n], shape))
            start += n
        return out
    a, start, out = axis % len(g.shape), 0, []
    for shape in arrays_shape:
        key = (slice(None),) * a + (slice(start, start + shape[a]),) + (slice(None),) * (len(g.shape) - a - 1)
        out.append(g[key])
        start += shape[a]
    return out


@linear(
    arrays=_pieces,
    dtypes="any",
    node="Cat",
    cases=[case((2, 3), (4, 3)), case((2, 3), (2, 1), axis=-1), case((2, 3), (4,), axis=None)],
)
def concat(arrays, /, *, axis=0):
    """Arrays joined along an axis that they have (flattened first if `axis` is None)."""


@linear(
    arrays=lambda xp, g, axis: list(xp.unstack(g, axis=axis)),
    dtypes="any",
    cases=[case((2, 3), (2, 3)), case((2, 3), (2, 3), axis=-1)],
)
def stack(arrays, /, *, axis=0):
    """Arrays of one shape joined along a new axis."""


@general(
    x=(lambda xp, g, axis: xp.stack(list(g), axis=axis), lambda xp, t, axis: xp.unstack(t, axis=axis)),
    dtypes="any",
    node="Unbind",
    cases=[((3, 4),), case((3, 4), axis=1)],
)
def unstack(x, /, *, axis=0):
    """The slices along an axis, as a tuple."""


def _regather(xp, g, repeats, x_shape, axis):
    """A cotangent of `repeat` summed over the copies of each element."""
    flat = axis is None
    n = 1
    for size in x_shape if flat else (x_shape[axis],):
        n *= size
    places = xp.arange(n, device=xp.device(g))
    index = xp.repeat(places, repeats)
    shape = (n,) if flat else x_shape
    key = (index,) if flat else (slice(None),) * (axis % len(x_shape)) + (index,)
    zeros = xp.zeros(shape, dtype=g.dtype, device=xp.device(g))
    return xp.reshape(xp.at_add(zeros, g, key=key), x_shape)


@linear(x=_regather, dtypes="any", cases=[case((3, 4), 2, axis=1), case((3, 4), 3)])
def repeat(x, repeats, /, *, axis=None):
    """Each element repeated along `axis` (flattened by default), `repeats` times or so many times each."""


@composite(dtypes="any", cases=[case((3, 4), [2, 1]), case((3,), [2, 2]), case((2, 1, 3), [2])])
def tile(xp, x, repetitions, /):
    """x repeated as a whole along each axis; missing axes count as size one."""
    n = max(len(x.shape), len(repetitions))
    shape = (1,) * (n - len(x.shape)) + tuple(x.shape)
    times = (1,) * (n - len(repetitions)) + tuple(repetitions)
    split = tuple(k for size in shape for k in (1, size))
    spread = tuple(k for r, size in zip(times, shape, strict=True) for k in (r, size))
    return xp.reshape(
        xp.broadcast_to(xp.reshape(x, split), spread), tuple(r * size for r, size in zip(times, shape, strict=True))
    )


@composite(library=True, dtypes="any", cases=[case((2, 3, 4), 0, -1), case((2, 3, 4), [0, 1], [2, 0])])
def moveaxis(xp, x, source, destination, /):
    """Axes moved to other positions, the others keeping their order."""
    n = len(x.shape)
    source, destination = ((a,) if isinstance(a, int) else tuple(a) for a in (source, destination))
    for a in (*source, *destination):
        if not -n <= a < n:
            raise IndexError(f"moveaxis: axis {a} is out of range for {n} axes")
    source, destination = ([a % n for a in s] for s in (source, destination))
    if len(set(source)) != len(source) or len(set(destination)) != len(destination) or len(source) != len(destination):
        raise ValueError(
            f"moveaxis: source {source} and destination {destination} must each name distinct axes, equally many"
        )
    order = [a for a in range(n) if a not in source]
    for d, s in sorted(zip(destination, source, strict=True)):
        order.insert(d, s)
    return xp.permute_dims(x, tuple(order))


@composite(dtypes="any", cases=[case((2, 3, 4), 0, -1)])
def swapaxes(xp, x, axis1, axis2, /):
    """Two axes exchanged."""
    n = len(x.shape)
    order = list(range(n))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return xp.permute_dims(x, tuple(order))


@composite(dtypes="any", cases=[((3, 1), (4,)), ((), (2, 3), (1, 3))])
def broadcast_arrays(xp, *arrays):
    """The arrays broadcast against each other, as a tuple."""
    shape = xp.broadcast_shapes(*[a.shape for a in arrays])
    return tuple(xp.broadcast_to(a, shape) for a in arrays)


@composite(dtypes="any", cases=[((3,), (4,)), case((2,), (3,), (4,), indexing="ij"), ((3,),)])
def meshgrid(xp, *arrays, indexing="xy"):
    """Coordinate arrays of a grid from one-axis arrays, as a tuple.

    Raises ValueError for an indexing other than "xy" and "ij".
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f'meshgrid: indexing must be "xy" or "ij", got {indexing!r}')
    n = len(arrays)
    swap = indexing == "xy" and n > 1
    place = [1, 0, *range(2, n)] if swap else list(range(n))
    sizes = [1] * n
    for a, p in zip(arrays, place, strict=True):
        sizes[p] = a.shape[0] if a.shape else 1
    shape = tuple(sizes)
    return tuple(
        xp.broadcast_to(xp.reshape(a, tuple(shape[i] if i == p else 1 for i in range(n))), shape)
        for a, p in zip(arrays, place, strict=True)
    )


# ------------------------------------------------------------------------------------------------ PyTorch's names


@composite(dtypes="any", cases=[((2, 3, 4),), case((2, 3, 4), start_dim=1), ((),)])
def flatten(xp, input, start_dim=0, end_dim=-1):
    """The axes from `start_dim` to `end_dim` joined into one."""
    n = len(input.shape)
    if n == 0:
        return xp.reshape(input, (1,))
    first, last = start_dim % n, end_dim % n
    if first > last:
        raise RuntimeError(f"flatten() has invalid args: start_dim {start_dim} cannot come after end_dim {end_dim}")
    joined = 1
    for size in input.shape[first : last + 1]:
        joined *= size
    return xp.reshape(input, (*input.shape[:first], joined, *input.shape[last + 1 :]))


@composite(dtypes="any", cases=[case((6, 4), dim=0, sizes=(2, -1))])
def unflatten(xp, input, dim, sizes):
    """One axis split into several; one of `sizes` may be -1."""
    d = dim % len(input.shape)
    return xp.reshape(input, _unflat(input.shape, d, tuple(sizes)))


def _unflat(shape, d, sizes):
    known = 1
    for s in sizes:
        known *= s if s != -1 else 1
    full = tuple(shape[d] // known if s == -1 else s for s in sizes)
    total = 1
    for s in full:
        total *= s
    if total != shape[d]:
        raise RuntimeError(f"unflatten: sizes {sizes} don't multiply up to the size {shape[d]} of axis {d}")
    return (*shape[:d], *full, *shape[d + 1 :])


@composite(dtypes="any", cases=[((3, 1, 4, 1),), case((3, 1, 4, 1), dim=1)])
def squeeze_ones(xp, x, dim=None):
    """Without the axes of size one; with `dim`, without those of them that it names."""
    n = len(x.shape)
    named = range(n) if dim is None else [d % n for d in ((dim,) if isinstance(dim, int) else dim)] if n else ()
    return xp.reshape(x, tuple(size for i, size in enumerate(x.shape) if size != 1 or i not in named))


@composite(dtypes="any", cases=[case((3, 1), sizes=(2, -1, 4))])
def expand(xp, x, sizes):
    """x broadcast to `sizes`, where -1 keeps a size."""
    extra = len(sizes) - len(x.shape)
    if extra < 0:
        raise RuntimeError(f"expand: {len(sizes)} sizes {tuple(sizes)} are fewer than the tensor's {len(x.shape)} axes")
    return xp.broadcast_to(x, tuple(x.shape[i - extra] if s == -1 else s for i, s in enumerate(sizes)))


@composite(
    dtypes="any", cases=[case((5, 4), split_size_or_sections=2), case((3, 5), split_size_or_sections=[1, 4], dim=1)]
)
def split(xp, tensor, split_size_or_sections, dim=0):
    """Pieces of the given size (the last may be smaller), or of the given sizes, along an axis."""
    d = dim % len(tensor.shape)
    n, sizes = tensor.shape[d], split_size_or_sections
    if isinstance(sizes, int):
        sizes = [min(sizes, n - i) for i in range(0, n, sizes)] or [0]
    if sum(sizes) != n:
        raise RuntimeError(f"split: sizes {list(sizes)} must add up to the axis' size {n}")
    out, start = [], 0
    for size in sizes:
        out.append(tensor[(slice(None),) * d + (slice(start, start + size), ...)])
        start += size
    return tuple(out)


@composite(dtypes="any", cases=[case((5, 4), chunks=2), case((3, 5), chunks=3, dim=1)])
def chunk(xp, input, chunks, dim=0):
    """At most `chunks` pieces of equal size (the last may be smaller) along an axis."""
    n = input.shape[dim]
    return xp.split(input, max(1, -(-n // chunks)), dim)


@composite(dtypes="any", cases=[case((3, 5), dim=1, start=1, length=2)])
def narrow(xp, input, dim, start, length):
    """The slice of `length` from `start` along an axis."""
    d = dim % len(input.shape)
    n = input.shape[d]
    start = start + n if start < 0 else start
    if not 0 <= start <= start + length <= n:
        raise RuntimeError(f"narrow: start {start} and length {length} exceed the size {n} of axis {dim}")
    return input[(slice(None),) * d + (slice(start, start + length), ...)]


@composite(dtypes="any", cases=[case((3, 4), dim=1, index=-1)])
def select(xp, input, dim, index):
    """One slice along an axis, which goes."""
    return input[(slice(None),) * (dim % len(input.shape)) + (index, ...)]
