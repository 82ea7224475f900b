"""Sequences of different lengths in one batch: padded to a common length, or packed without padding."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Self

from polygrad.core import Tensor
from polygrad.ops.creation import tensor
from polygrad.ops.indexing import take, where
from polygrad.ops.shapes import stack
from polygrad.ops.sorting import argsort
from polygrad.ops.windows import pad_constant

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]


class PackedSequence(NamedTuple):
    """Sequences sorted by falling length, their elements in a row step by step; made by `pack_padded_sequence`.

    Attributes:
        data: (total, *), first the first elements of all sequences, then the second elements of those that have one, ...
        batch_sizes: how many sequences have an element at each step, on the host.
        sorted_indices: the order in which the sequences were taken from the batch, or None.
        unsorted_indices: its inverse, or None.
    """

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """The same with `data.to(...)`."""
        return self._replace(data=self.data.to(*args, **kwargs))

    @property
    def is_cuda(self) -> bool:
        """True where the data is on a CUDA device."""
        return "cuda" in str(self.data.device).lower()


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes another one; None for None."""
    return None if permutation is None else argsort(permutation)


def _rows(x: Tensor, places: list[int]) -> Tensor:
    """Rows of x by position."""
    return take(x, x._backend.tensors.asarray(places, dtype="int64", device=x.device), axis=0)


def packed_places(sizes: list[int]) -> list[int]:
    """Where each element of packed data is in the rows of a padded batch (T * N)."""
    widest = sizes[0] if sizes else 0
    return [t * widest + n for t, size in enumerate(sizes) for n in range(size)]


def padded_places(sizes: list[int]) -> list[int]:
    """Where each row of a padded batch (T * N) is in packed data; 0 for padding."""
    widest = sizes[0] if sizes else 0
    starts = [sum(sizes[:t]) for t in range(len(sizes))]
    return [starts[t] + n if n < size else 0 for t, size in enumerate(sizes) for n in range(widest)]


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Take the padding out of a batch.

    Args:
        input: (T, N, *), or (N, T, *) if `batch_first`.
        lengths: the length of each sequence, ints or a tensor.
        batch_first: the axis N comes first.
        enforce_sorted: the lengths fall already; otherwise the sequences are sorted.

    Raises:
        RuntimeError: lengths that do not fit, that are not positive, or that do not fall where they should.
    """
    x = input.swapaxes(0, 1) if batch_first else input
    given = lengths.reshape(-1).tolist() if isinstance(lengths, Tensor) else [int(n) for n in lengths]
    if len(given) != x.shape[1]:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(given)} (batch_size={x.shape[1]})"
        )
    if min(given, default=0) <= 0:
        raise RuntimeError("Length of all samples has to be greater than 0, but found an element that is <= 0")
    if max(given) > x.shape[0]:
        raise RuntimeError(
            f"Expected lengths of at most {x.shape[0]}, the size of the padded batch, but got {max(given)}"
        )
    order = sorted(range(len(given)), key=lambda i: -given[i])
    indices = inverse = None
    if enforce_sorted:
        if sorted(given, reverse=True) != given:
            raise RuntimeError(
                "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
                "`enforce_sorted=False` to pack_padded_sequence to sidestep this requirement."
            )
    else:
        indices = x._backend.tensors.asarray(order, dtype="int64", device=x.device)
        inverse = invert_permutation(indices)
        x = take(x, indices, axis=1)
        given = [given[i] for i in order]
    sizes = [sum(n > t for n in given) for t in range(given[0])]
    data = _rows(x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]), packed_places(sizes))
    return PackedSequence(data, tensor(sizes), indices, inverse)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """The padded batch that a packed one stands for, (T, N, *), and the lengths (N,).

    Args:
        batch_first: give (N, T, *).
        padding_value: what is behind the end of a sequence.
        total_length: T, at least the longest length, which it is by default.

    Raises:
        ValueError: a smaller T.
    """
    data, batch_sizes, _, unsorted = sequence
    sizes = batch_sizes.tolist()
    steps, count = len(sizes), sizes[0]
    if total_length is not None and total_length < steps:
        raise ValueError(
            f"Expected total_length to be at least the length of the longest sequence in input, but got "
            f"total_length={total_length} and max sequence length being {steps}"
        )
    xp = data._backend.tensors
    x = _rows(data, padded_places(sizes)).reshape(steps, count, *data.shape[1:])
    inside = xp.asarray([[n < size for n in range(count)] for size in sizes], device=data.device)
    x = where(inside.reshape(steps, count, *[1] * (data.ndim - 1)), x, padding_value)
    if total_length is not None and total_length > steps:
        border = ((0, total_length - steps),) + ((0, 0),) * (x.ndim - 1)
        x = pad_constant(x, padding=border, value=padding_value)
    lengths = tensor([sum(size > n for size in sizes) for n in range(count)])
    if unsorted is not None:
        x = take(x, unsorted, axis=1)
        lengths = take(lengths, tensor(unsorted.tolist()), axis=0)
    return (x.swapaxes(0, 1) if batch_first else x), lengths


def pad_sequence(
    sequences: Iterable[Tensor], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Sequences (L, *) of different lengths as one batch (T, N, *).

    Args:
        batch_first: give (N, T, *).
        padding_value: what the short ones are filled with.
        padding_side: "right", behind the end, or "left".

    Raises:
        ValueError: another side.
        RuntimeError: no sequences, or elements of different shapes.
    """
    if padding_side not in ("right", "left"):
        raise ValueError(f"padding_side should be either 'right' or 'left', but got {padding_side!r}")
    given = list(sequences)
    if not given:
        raise RuntimeError("received an empty list of sequences")
    if len({x.shape[1:] for x in given}) > 1:
        raise RuntimeError(f"expected sequences of elements of one shape, got {[x.shape for x in given]}")
    longest = max(x.shape[0] for x in given)

    def padded(x: Tensor) -> Tensor:
        missing = longest - x.shape[0]
        pair = (0, missing) if padding_side == "right" else (missing, 0)
        return pad_constant(x, padding=(pair, *[(0, 0)] * (x.ndim - 1)), value=padding_value)

    return stack([padded(x) for x in given], axis=0 if batch_first else 1)


def unpad_sequence(padded_sequences: Tensor, lengths: Any, batch_first: bool = False) -> list[Tensor]:
    """The sequences of a batch (T, N, *), or (N, T, *) if `batch_first`, each without its padding."""
    x = padded_sequences if batch_first else padded_sequences.swapaxes(0, 1)
    given = lengths.tolist() if isinstance(lengths, Tensor) else list(lengths)
    return [x[i, :n] for i, n in enumerate(given)]


def pack_sequence(sequences: Iterable[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Sequences (L, *) of different lengths as a packed batch; arguments and errors as of `pack_padded_sequence`."""
    given = list(sequences)
    return pack_padded_sequence(pad_sequence(given), [x.shape[0] for x in given], enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences of a packed batch."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
