"""Two-dimensional Fourier transforms, under PyTorch's names: the n-dimensional ones of the last two axes."""

from __future__ import annotations

from polygrad.core import case, composite
from polygrad.ops.fft import _exchanged

CASES = [case((3, 4)), case((2, 3, 4), s=(4, 3), dim=(0, 2), norm="ortho")]


@composite(name="fft.fft2", cases=CASES)
def fft2(xp, input, s=None, dim=(-2, -1), norm="backward"):
    """The transform over two axes, cut or padded with zeros to the sizes `s`."""
    return xp.fft.fftn(input, s=s, axes=dim, norm=norm or "backward")


@composite(name="fft.ifft2", cases=CASES)
def ifft2(xp, input, s=None, dim=(-2, -1), norm="backward"):
    """The inverse of `fft2`."""
    return xp.fft.ifftn(input, s=s, axes=dim, norm=norm or "backward")


@composite(name="fft.rfft2", dtypes="real floating", cases=CASES)
def rfft2(xp, input, s=None, dim=(-2, -1), norm="backward"):
    """The transform of real input over two axes, of the last of which half stands for the whole."""
    return xp.fft.rfftn(input, s=s, axes=dim, norm=norm or "backward")


@composite(name="fft.irfft2", cases=CASES)
def irfft2(xp, input, s=None, dim=(-2, -1), norm="backward"):
    """The inverse of `rfft2`; the last size is even unless `s` says otherwise."""
    return xp.fft.irfftn(input, s=s, axes=dim, norm=norm or "backward")


@composite(name="fft.hfft2", cases=CASES)
def hfft2(xp, input, s=None, dim=(-2, -1), norm="backward"):
    """The real transform over two axes of a Hermitian signal, of the last of which half stands for the whole."""
    return xp.fft.irfftn(xp.conj(input), s=s, axes=dim, norm=_exchanged(norm or "backward"))


@composite(name="fft.ihfft2", dtypes="real floating", cases=CASES)
def ihfft2(xp, input, s=None, dim=(-2, -1), norm="backward"):
    """The inverse of `hfft2`."""
    return xp.conj(xp.fft.rfftn(input, s=s, axes=dim, norm=_exchanged(norm or "backward")))
