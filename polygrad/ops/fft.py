"""Discrete Fourier transforms.

The transpose of a transform is another transform with the normalisation exchanged, cut or padded to the operand's lengths.
Where one half of a Hermitian spectrum stands for the whole, the bins that stand for two weigh twice as much.
"""

from __future__ import annotations

from polygrad.core import case, composite, creation, linear, new_tensor
from polygrad.core.dtype import default_for
from polygrad.ops.elementwise import as_complex
from polygrad.ops.reductions import axes_of

EXCHANGED = {"backward": "forward", "ortho": "ortho", "forward": "backward"}


def _exchanged(norm):
    """The normalisation of the transpose. Raises ValueError for a name that is none."""
    if norm not in EXCHANGED:
        raise ValueError(f'fft: norm must be "backward", "ortho" or "forward", got {norm!r}')
    return EXCHANGED[norm]


def _fitted(xp, g, x_shape, axes):
    """g cut, or padded with zeros, to the operand's lengths along `axes`."""
    for axis in axes:
        a, n = axis % len(x_shape), x_shape[axis]
        front = (slice(None),) * a
        if g.shape[a] > n:
            g = g[(*front, slice(0, n), ...)]
        elif g.shape[a] < n:
            shape = (*g.shape[:a], n - g.shape[a], *g.shape[a + 1 :])
            g = xp.concat([g, xp.zeros(shape, dtype=g.dtype, device=xp.device(g))], axis=a)
    return g


def _weighted(xp, g, axis, n, inner):
    """Half a spectrum of a signal of length n, the bins that stand for two times `inner`."""
    bins = xp.arange(n // 2 + 1, device=xp.device(g))
    single = xp.logical_or(bins == 0, 2 * bins == n)
    weights = inner + (1 - inner) * xp.astype(single, xp.real(g).dtype)
    a = axis % len(g.shape)
    return g * xp.reshape(weights, (-1,) + (1,) * (len(g.shape) - a - 1))


def _axes(ndim, s, axes):
    """The transformed axes: all, or the last as many as there are sizes."""
    if axes is not None:
        return axes_of(tuple(axes), ndim)
    return tuple(range(ndim)) if s is None else tuple(range(ndim - len(s), ndim))


def _transformed(xp, name, x, along, lengths, *, real=False, **options):
    """The library's transform, whose result has these lengths along `along`; an empty batch, which some refuse, stays one."""
    batch = [n for i, n in enumerate(x.shape) if i not in axes_of(along, len(x.shape))]
    if 0 not in batch:
        return getattr(xp.raw.fft, name)(x, **options)
    shape = list(x.shape)
    for axis, n in zip(along, lengths, strict=True):
        shape[axis] = n
    empty = xp.zeros(tuple(shape), dtype=x.dtype, device=xp.device(x))
    return xp.real(empty) if real else as_complex(xp, empty)


def _length(x, n, axis):
    """How much of an axis is transformed."""
    return x.shape[axis] if n is None else n


# ---------------------------------------------------------------------------------------------------- along one axis


@linear(
    x=lambda xp, g, x_shape, axis, norm: _fitted(
        xp, xp.fft.ifft(g, axis=axis, norm=_exchanged(norm)), x_shape, (axis,)
    ),
    dtypes="floating",
    name="fft.fft",
    cases=[case((6,)), case((3, 5), n=3, axis=0, norm="ortho"), case((3, 5), n=7), case((2, 4), n=3, norm="forward")],
    order=("n", "axis", "norm"),
)
def fft(xp, x, /, *, n=None, axis=-1, norm="backward"):
    """The discrete Fourier transform along `axis`, of x cut or padded to length `n`."""
    x = as_complex(xp, x)
    return _transformed(xp, "fft", x, (axis,), (_length(x, n, axis),), n=n, axis=axis, norm=norm)


@linear(
    x=lambda xp, g, x_shape, axis, norm: _fitted(xp, xp.fft.fft(g, axis=axis, norm=_exchanged(norm)), x_shape, (axis,)),
    dtypes="floating",
    name="fft.ifft",
    cases=[case((6,)), case((3, 5), n=3, axis=0, norm="ortho"), case((3, 5), n=7), case((2, 4), n=3, norm="forward")],
    order=("n", "axis", "norm"),
)
def ifft(xp, x, /, *, n=None, axis=-1, norm="backward"):
    """The inverse of `fft`."""
    x = as_complex(xp, x)
    return _transformed(xp, "ifft", x, (axis,), (_length(x, n, axis),), n=n, axis=axis, norm=norm)


def _rfft_pull(xp, g, x_shape, n, axis, norm):
    n = x_shape[axis] if n is None else n
    real = xp.fft.irfft(_weighted(xp, g, axis, n, 0.5), n=n, axis=axis, norm=_exchanged(norm))
    return _fitted(xp, real, x_shape, (axis,))


@linear(
    x=_rfft_pull,
    dtypes="real floating",
    name="fft.rfft",
    cases=[
        case((6,)),
        case((5,)),
        case((3, 5), n=4),
        case((3, 5), n=7, axis=0, norm="ortho"),
        case((2, 1), norm="forward"),
    ],
    order=("n", "axis", "norm"),
)
def rfft(xp, x, /, *, n=None, axis=-1, norm="backward"):
    """The first n // 2 + 1 bins of the Fourier transform of a real x; the others are their conjugates."""
    bins = _length(x, n, axis) // 2 + 1
    return _transformed(xp, "rfft", x, (axis,), (bins,), n=n, axis=axis, norm=norm)


def _irfft_pull(xp, g, x_shape, axis, norm):
    full = xp.fft.rfft(g, axis=axis, norm=_exchanged(norm))
    return _fitted(xp, _weighted(xp, full, axis, g.shape[axis], 2), x_shape, (axis,))


@linear(
    x=_irfft_pull,
    dtypes="floating",
    name="fft.irfft",
    cases=[
        case((4,)),
        case((4,), n=7),
        case((3, 5), n=4),
        case((3, 5), n=3, axis=0, norm="ortho"),
        case((2, 3), norm="forward"),
    ],
    order=("n", "axis", "norm"),
)
def irfft(xp, x, /, *, n=None, axis=-1, norm="backward"):
    """The inverse of `rfft`: a real signal of length `n` (by default twice the bins less two)."""
    x = as_complex(xp, x)
    length = 2 * (x.shape[axis] - 1) if n is None else n
    return _transformed(xp, "irfft", x, (axis,), (length,), real=True, n=n, axis=axis, norm=norm)


@composite(
    name="fft.hfft",
    dtypes="complex",
    cases=[case((4,)), case((3, 4), n=5), case((3, 4), axis=0, norm="ortho"), case((4,), norm="forward")],
    order=("n", "axis", "norm"),
)
def hfft(xp, x, /, *, n=None, axis=-1, norm="backward"):
    """The real Fourier transform of a Hermitian signal, of which x is the first half."""
    return xp.fft.irfft(xp.conj(x), n=n, axis=axis, norm=_exchanged(norm))


@composite(
    name="fft.ihfft",
    dtypes="real floating",
    cases=[case((4,)), case((3, 5)), case((3, 4), axis=0, norm="ortho"), case((4,), n=7, norm="forward")],
    order=("n", "axis", "norm"),
)
def ihfft(xp, x, /, *, n=None, axis=-1, norm="backward"):
    """The inverse of `hfft`: the first n // 2 + 1 elements of a Hermitian signal."""
    return xp.conj(xp.fft.rfft(x, n=n, axis=axis, norm=_exchanged(norm)))


# -------------------------------------------------------------------------------------------------- along several axes


def _lengths(x, s, axes):
    return [x.shape[a] for a in axes] if s is None else list(s)


def _fftn_pull(xp, g, x_shape, s, axes, norm):
    axes = _axes(len(x_shape), s, axes)
    return _fitted(xp, xp.fft.ifftn(g, axes=axes, norm=_exchanged(norm)), x_shape, axes)


def _ifftn_pull(xp, g, x_shape, s, axes, norm):
    axes = _axes(len(x_shape), s, axes)
    return _fitted(xp, xp.fft.fftn(g, axes=axes, norm=_exchanged(norm)), x_shape, axes)


SEVERAL = [
    case((3, 4)),
    case((2, 3, 4), axes=(0, 2), norm="ortho"),
    case((3, 4), s=(2, 5), axes=(0, 1), norm="forward"),
]


@linear(
    x=_fftn_pull,
    dtypes="floating",
    name="fft.fftn",
    cases=SEVERAL,
    order=("s", "axes", "norm"),
    aliases={"dim": "axes"},
)
def fftn(xp, x, /, *, s=None, axes=None, norm="backward"):
    """The Fourier transform along several axes (all by default), of x cut or padded to the sizes `s`."""
    axes = _axes(len(x.shape), s, axes)
    x = as_complex(xp, x)
    return _transformed(xp, "fftn", x, axes, _lengths(x, s, axes), s=s, axes=axes, norm=norm)


@linear(
    x=_ifftn_pull,
    dtypes="floating",
    name="fft.ifftn",
    cases=SEVERAL,
    order=("s", "axes", "norm"),
    aliases={"dim": "axes"},
)
def ifftn(xp, x, /, *, s=None, axes=None, norm="backward"):
    """The inverse of `fftn`."""
    axes = _axes(len(x.shape), s, axes)
    x = as_complex(xp, x)
    return _transformed(xp, "ifftn", x, axes, _lengths(x, s, axes), s=s, axes=axes, norm=norm)


def _rfftn_pull(xp, g, x_shape, s, axes, norm):
    axes = _axes(len(x_shape), s, axes)
    s = tuple(x_shape[a] for a in axes) if s is None else tuple(s)
    real = xp.fft.irfftn(_weighted(xp, g, axes[-1], s[-1], 0.5), s=s, axes=axes, norm=_exchanged(norm))
    return _fitted(xp, real, x_shape, axes)


@linear(
    x=_rfftn_pull,
    dtypes="real floating",
    name="fft.rfftn",
    cases=[*SEVERAL, case((4, 3), s=(5, 4), axes=(1, 0))],
    order=("s", "axes", "norm"),
    aliases={"dim": "axes"},
)
def rfftn(xp, x, /, *, s=None, axes=None, norm="backward"):
    """The Fourier transform of a real x along several axes, half of it along the last of them."""
    axes = _axes(len(x.shape), s, axes)
    lengths = _lengths(x, s, axes)
    lengths[-1] = lengths[-1] // 2 + 1
    return _transformed(xp, "rfftn", x, axes, lengths, s=s, axes=axes, norm=norm)


def _irfftn_pull(xp, g, x_shape, s, axes, norm):
    axes = _axes(len(x_shape), s, axes)
    full = xp.fft.rfftn(g, axes=axes, norm=_exchanged(norm))
    return _fitted(xp, _weighted(xp, full, axes[-1], g.shape[axes[-1]], 2), x_shape, axes)


@linear(
    x=_irfftn_pull,
    dtypes="floating",
    name="fft.irfftn",
    cases=[*SEVERAL, case((4, 3), s=(5, 4), axes=(1, 0))],
    order=("s", "axes", "norm"),
    aliases={"dim": "axes"},
)
def irfftn(xp, x, /, *, s=None, axes=None, norm="backward"):
    """The inverse of `rfftn`: a real signal of the sizes `s`."""
    axes = _axes(len(x.shape), s, axes)
    x = as_complex(xp, x)
    lengths = _lengths(x, s, axes)
    lengths[-1] = 2 * (lengths[-1] - 1) if s is None else lengths[-1]
    return _transformed(xp, "irfftn", x, axes, lengths, real=True, s=s, axes=axes, norm=norm)


# --------------------------------------------------------------------------------------------- order and frequencies


@composite(
    name="fft.fftshift",
    cases=[case((4,)), case((3, 5)), case((3, 4), axes=1), case((3, 4), axes=(0,))],
    order=("axes",),
    aliases={"dim": "axes"},
)
def fftshift(xp, x, /, *, axes=None):
    """The spectrum with the zero frequency in the middle, along `axes` (all by default)."""
    axes = axes_of(axes, len(x.shape))
    return xp.roll(x, tuple(x.shape[a] // 2 for a in axes), axis=axes)


@composite(
    name="fft.ifftshift",
    cases=[case((4,)), case((3, 5)), case((3, 4), axes=1), case((3, 4), axes=(0,))],
    order=("axes",),
    aliases={"dim": "axes"},
)
def ifftshift(xp, x, /, *, axes=None):
    """The inverse of `fftshift`."""
    axes = axes_of(axes, len(x.shape))
    return xp.roll(x, tuple(-(x.shape[a] // 2) for a in axes), axis=axes)


def _frequencies(backend, first, last, n, d, dtype, device):
    """Whole numbers of [first, last) over n * d."""
    if n < 1:
        raise ValueError(f"the number of frequencies must be positive, got {n}")
    options = {"dtype": backend.native(default_for("floating") if dtype is None else dtype)}
    if device is not None:
        options["device"] = device
    return backend.xp.arange(first, last, **options) / (n * d)


@creation(name="fft.fftfreq")
def fftfreq(backend, n, /, *, d=1.0, dtype=None, device=None):
    """The frequencies of `fft`'s bins for samples `d` apart: 0, 1, ..., -2, -1 over n * d. Raises ValueError for n < 1."""
    upper = _frequencies(backend, 0, (n + 1) // 2, n, d, dtype, device)
    lower = _frequencies(backend, -(n // 2), 0, n, d, dtype, device)
    return new_tensor(backend.arrays.concat([upper, lower]), backend)


@creation(name="fft.rfftfreq")
def rfftfreq(backend, n, /, *, d=1.0, dtype=None, device=None):
    """The frequencies of `rfft`'s bins for samples `d` apart: 0, 1, ..., n // 2 over n * d. Raises ValueError for n < 1."""
    return new_tensor(_frequencies(backend, 0, n // 2 + 1, n, d, dtype, device), backend)
