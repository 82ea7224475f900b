"""Dropout, as `torch.nn.functional` has it."""

from __future__ import annotations

import math

from polygrad.core import Tensor, overwrite
from polygrad.ops.indexing import where
from polygrad.ops.layers import masked_scale
from polygrad.random import dropout_mask

__all__ = ["alpha_dropout", "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout"]


def _check(p: float) -> None:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def _dropped(input: Tensor, like: Tensor, p: float, inplace: bool) -> Tensor:
    """The input with one draw for each element of `like`, which broadcasts."""
    mask, keep = dropout_mask(like, p)
    y = masked_scale(input, mask, scale=1 / keep if keep else 0.0)
    return overwrite(input, y) if inplace else y


def _channels(input: Tensor, axes: int) -> Tensor:
    """One element for each channel: the first of each map of `axes` axes."""
    return input.detach()[(..., *[slice(0, 1)] * axes)]


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """In training, zeros with probability p and the other elements over 1 - p, in the mean the input; else the input.

    The mask is the same on every backend; p counts in steps of 2**-16. Raises ValueError for a `p` outside [0, 1].
    """
    _check(p)
    if not training or p == 0:
        return input
    return _dropped(input, input, p, inplace)


def _dropout_maps(axes: int, input: Tensor, p: float, training: bool, inplace: bool) -> Tensor:
    _check(p)
    if input.ndim not in (axes + 1, axes + 2):
        raise RuntimeError(
            f"dropout{axes}d: Expected {axes + 1}D or {axes + 2}D input, but received a {input.ndim}D input."
        )
    if not training or p == 0:
        return input
    return _dropped(input, _channels(input, axes), p, inplace)


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout` of whole channels of (N, C, L) or (C, L) (Tompson et al., 2014)."""
    return _dropout_maps(1, input, p, training, inplace)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout` of whole channels of (N, C, H, W) (Tompson et al., 2014); three axes count as (N, C, L), as in PyTorch."""
    return _dropout_maps(1 if input.ndim == 3 else 2, input, p, training, inplace)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout` of whole channels of (N, C, D, H, W) or (C, D, H, W) (Tompson et al., 2014)."""
    return _dropout_maps(3, input, p, training, inplace)


LEAST = -1.7580993408473766  # what selu gives at minus infinity


def _alpha_dropped(input: Tensor, like: Tensor, p: float, inplace: bool) -> Tensor:
    """Klambauer et al., "Self-normalizing neural networks" (2017), section 3.3: mean 0 and variance 1 are kept."""
    mask, keep = dropout_mask(like, p)
    scale = 1 / math.sqrt(keep * (1 + (1 - keep) * LEAST**2)) if keep else 0.0
    y = where(mask, input, LEAST) * scale - scale * LEAST * (1 - keep)
    return overwrite(input, y) if inplace else y


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """In training, selu's least value with probability p, then an affine map that keeps mean 0 and variance 1."""
    _check(p)
    if not training or p == 0:
        return input
    return _alpha_dropped(input, input, p, inplace)


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """`alpha_dropout` of whole channels of (N, C, *)."""
    _check(p)
    if not training or p == 0:
        return input
    return _alpha_dropped(input, _channels(input, input.ndim - 2), p, inplace)
