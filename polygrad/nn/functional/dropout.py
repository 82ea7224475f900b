"""Dropout, as `torch.nn.functional` has it."""

from __future__ import annotations

from polygrad.core import Tensor, overwrite
from polygrad.ops.layers import masked_scale
from polygrad.random import dropout_mask

__all__ = ["dropout"]


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """In training, zeros with probability p and the other elements over 1 - p, in the mean the input; else the input.

    The mask is the same on every backend; p counts in steps of 2**-16. Raises ValueError for a `p` outside [0, 1].
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    if not training or p == 0:
        return input
    mask, keep = dropout_mask(input, p)
    y = masked_scale(input, mask, scale=1 / keep if keep else 0.0)
    return overwrite(input, y) if inplace else y
