"""Dropout layers."""

from __future__ import annotations

from polygrad.core import Tensor
from polygrad.nn import functional as F
from polygrad.nn.module import Module

__all__ = ["Dropout"]


class Dropout(Module):
    """In training, zeros with probability p and the other elements over 1 - p; in evaluation, the input.

    Args:
        p: the probability of a zero.
        inplace: put the result into the input.

    Raises:
        ValueError: a `p` outside [0, 1].
    """

    def __init__(self, p: float = 0.5, inplace: bool = False):
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p, self.inplace = p, inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"
