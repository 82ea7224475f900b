"""What the linear algebra files share: adjoints, diagonals, and divisions that know which zeros are harmless."""

from __future__ import annotations

import warnings


def adjoint(xp, x):
    """The conjugate transpose of the last two axes."""
    return xp.matrix_transpose(xp.conj(x))


def hermitian_part(xp, x):
    """(x + x^H) / 2, which is x itself, bit for bit, for a Hermitian x."""
    return 0.5 * (x + adjoint(xp, x))


def skew_part(xp, x):
    """(x - x^H) / 2."""
    return 0.5 * (x - adjoint(xp, x))


def identity(xp, n, like):
    """The n x n identity in the data type and on the device of `like`."""
    return xp.eye(n, dtype=like.dtype, device=xp.device(like))


def on_diagonal(xp, n, like):
    """True on the diagonal of an n x n matrix."""
    return xp.eye(n, dtype=xp.real(like).dtype, device=xp.device(like)) == 1


def row(xp, x):
    """A stack of vectors as one-row matrices."""
    return xp.expand_dims(x, axis=-2)


def column(xp, x):
    """A stack of vectors as one-column matrices."""
    return xp.expand_dims(x, axis=-1)


def as_diagonal(xp, d):
    """A stack of vectors as diagonal matrices."""
    return xp.where(on_diagonal(xp, d.shape[-1], d), row(xp, d), 0)


def eps_of(xp, x):
    """The unit roundoff (twice it, as `finfo` has it) of the precision of x."""
    return float(xp.finfo(xp.real(x).dtype).eps)


def tolerance(xp, g):
    """What counts as zero beside a cotangent: the root of the unit roundoff, times one and its Frobenius norm."""
    a = xp.abs(g)
    return eps_of(xp, g) ** 0.5 * (1 + xp.sqrt(xp.sum(a * a, axis=(-2, -1), keepdims=True)))


def holds(condition):
    """A condition's truth; False where a compiler traces and there is no value to look at."""
    try:
        return bool(condition)
    except TypeError:
        return False


def over(xp, top, gap, small):
    """top / gap, and 0 where |gap| <= small."""
    tiny = xp.abs(gap) <= small
    return xp.where(tiny, 0, top / xp.where(tiny, 1, gap))


def over_if_zero(xp, top, gap, small, allowed, complaint):
    """top / gap; where |gap| <= small it is 0 if |top| <= allowed too, else NaN with a RuntimeWarning.

    A numerator that vanishes with its denominator belongs to a loss that does not depend on what is undefined there.
    """
    tiny = xp.abs(gap) <= small
    wrong = xp.logical_and(tiny, xp.abs(top) > allowed)
    if holds(xp.any(wrong)):
        warnings.warn(complaint, RuntimeWarning, stacklevel=2)
    ratio = xp.where(tiny, 0, top / xp.where(tiny, 1, gap))
    return xp.where(wrong, xp.nan, ratio)


def check_free(xp, free, allowed, complaint):
    """Raise RuntimeError where the part of a cotangent along a free choice exceeds what counts as zero."""
    if holds(xp.any(xp.abs(free) > allowed)):
        raise RuntimeError(complaint)
