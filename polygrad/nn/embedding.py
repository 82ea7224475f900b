"""Layers that look rows of a matrix up."""

from __future__ import annotations

from typing import Any, Self

from polygrad.autograd.modes import no_grad
from polygrad.core import Tensor
from polygrad.nn import functional as F
from polygrad.nn import init
from polygrad.nn.module import Module
from polygrad.nn.parameter import Parameter
from polygrad.ops.creation import empty

__all__ = ["Embedding", "EmbeddingBag"]


class _Table(Module):
    """What the layers share that hold a matrix of rows."""

    weight: Parameter
    padding_idx: int | None

    def _build(self, rows: int, columns: int, padding_idx: int | None, given: Any, freeze: bool, made: Any) -> None:
        if padding_idx is not None and not -rows <= padding_idx < rows:
            raise ValueError("Padding_idx must be within num_embeddings")
        self.num_embeddings, self.embedding_dim = rows, columns
        self.padding_idx = None if padding_idx is None else padding_idx % rows
        if given is None:
            self.weight = Parameter(empty((rows, columns), **made), requires_grad=not freeze)
            self.reset_parameters()
        elif tuple(given.shape) != (rows, columns):
            raise ValueError("Shape of weight does not match num_embeddings and embedding_dim")
        else:
            self.weight = Parameter(given, requires_grad=not freeze)

    def reset_parameters(self) -> None:
        """Draw the rows again; that of `padding_idx` is zeros."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx] = 0


class Embedding(_Table):
    """The rows of a matrix that integers (*) name: (*, embedding_dim). The matrix starts normal, of mean 0 and variance 1.

    Args:
        num_embeddings, embedding_dim: its shape.
        padding_idx: a row that starts as zeros and has no gradient.
        max_norm, norm_type: first scale rows of a larger norm of this order down, in place.
        scale_grad_by_freq: divide a row's gradient by how often it is looked up.
        sparse: sparse gradients, which are not supported.
        _weight: the matrix.
        _freeze: do not train it.
        device, dtype: of the matrix.

    Raises:
        ValueError: a `padding_idx` that names no row; a matrix of another shape.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Any = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        made = {"device": device, "dtype": dtype}
        self._build(num_embeddings, embedding_dim, padding_idx, _weight, _freeze, made)

    def forward(self, input: Tensor) -> Tensor:
        return F.embedding(
            input, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse
        )

    @classmethod
    def from_pretrained(cls, embeddings: Tensor, freeze: bool = True, **options: Any) -> Self:
        """An Embedding of a given matrix; the other arguments are those of the class."""
        rows, columns = embeddings.shape
        return cls(rows, columns, _weight=embeddings, _freeze=freeze, **options)

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        if self.padding_idx is not None:
            text += f", padding_idx={self.padding_idx}"
        if self.max_norm is not None:
            text += f", max_norm={self.max_norm}"
        if self.norm_type != 2:
            text += f", norm_type={self.norm_type}"
        if self.scale_grad_by_freq:
            text += f", scale_grad_by_freq={self.scale_grad_by_freq}"
        return text + (", sparse=True" if self.sparse else "")


class EmbeddingBag(_Table):
    """The sum, mean or maximum of the rows of a matrix that each bag of integers names: (B, embedding_dim).

    `forward` takes the integers, (B, N) or (N,); for the latter, the offsets (B,) at which bags start; and factors of the rows.

    Args:
        num_embeddings, embedding_dim: the shape of the matrix.
        max_norm, norm_type, scale_grad_by_freq, sparse, _weight, device, dtype: as of `Embedding`.
        mode: "sum", "mean" or "max".
        include_last_offset: the last offset is the end of the last bag.
        padding_idx: a row that does not count.

    Raises:
        ValueError: a `padding_idx` that names no row; a matrix of another shape.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: Any = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        self.mode, self.include_last_offset = mode, include_last_offset
        made = {"device": device, "dtype": dtype}
        self._build(num_embeddings, embedding_dim, padding_idx, _weight, False, made)

    def forward(self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None) -> Tensor:
        return F.embedding_bag(
            input,
            self.weight,
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            self.sparse,
            per_sample_weights,
            self.include_last_offset,
            self.padding_idx,
        )

    @classmethod
    def from_pretrained(cls, embeddings: Tensor, freeze: bool = True, **options: Any) -> Self:
        """An EmbeddingBag of a given matrix; the other arguments are those of the class."""
        rows, columns = embeddings.shape
        made = cls(rows, columns, _weight=embeddings, **options)
        made.weight.requires_grad_(not freeze)
        return made

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        if self.max_norm is not None:
            text += f", max_norm={self.max_norm}"
        if self.norm_type != 2:
            text += f", norm_type={self.norm_type}"
        if self.scale_grad_by_freq:
            text += f", scale_grad_by_freq={self.scale_grad_by_freq}"
        text += f", mode={self.mode!r}"
        return text + ("" if self.padding_idx is None else f", padding_idx={self.padding_idx}")
