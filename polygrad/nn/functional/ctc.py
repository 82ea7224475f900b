"""Connectionist temporal classification, as `torch.nn.functional` has it."""

from __future__ import annotations

import math
from typing import Any

from polygrad.core import Tensor
from polygrad.nn.functional.loss import reduction_name
from polygrad.ops.composite import logsumexp
from polygrad.ops.elementwise import clip, equal, logical_and
from polygrad.ops.indexing import take_along_axis, where
from polygrad.ops.shapes import broadcast_to, concat, stack, unstack

__all__ = ["ctc_loss"]

# The logarithm of the probability of what cannot be: finite, so that differences of two of them are numbers.
NEVER = -1e30


def _lengths(lengths: Any, count: int, like: Tensor, name: str) -> list[int]:
    """Lengths as ints, one for each sample. Raises RuntimeError for another number of them."""
    found = lengths.reshape(-1).tolist() if isinstance(lengths, Tensor) else list(lengths)
    if len(found) != count:
        raise RuntimeError(f"{name} must be of size batch_size = {count}, got {len(found)}")
    return [int(n) for n in found]


def _padded(targets: Tensor, lengths: list[int], count: int) -> Tensor:
    """Targets as (N, S) with anything behind the end, from (N, S), (S,) of one sample, or all in a row."""
    if targets.ndim == 2:
        return targets.long()
    if count == 1:
        return targets.reshape(1, -1).long()
    starts = [sum(lengths[:i]) for i in range(count)]
    longest, last = max(lengths), targets.shape[0] - 1
    places = [[min(start + s, last) for s in range(longest)] for start in starts]
    xp = targets._backend.tensors
    return targets.long()[xp.asarray(places, dtype="int64", device=targets.device)]


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """-log of the probability of all alignments of a target sequence with an input sequence (Graves et al., 2006).

    Args:
        log_probs: (T, N, C), logarithms of probabilities (as `log_softmax` gives them); or (T, C).
        targets: (N, S), classes other than the blank; or all sequences in a row, (sum(target_lengths),).
        input_lengths, target_lengths: one int for each sample; at most T and S.
        blank: the class of the blank.
        reduction: "mean" (over the batch, each loss over its target's length), "sum" or "none".
        zero_infinity: zeros in place of infinite losses, which inputs too short for their target have.

    Raises:
        ValueError: an unknown reduction.
        RuntimeError: lengths that do not fit; a blank that is no class.
    """
    reduction = reduction_name(None, None, reduction)
    whole = log_probs.ndim == 3
    x = log_probs if whole else log_probs.unsqueeze(1)
    steps, count, classes = x.shape
    if not 0 <= blank < classes:
        raise RuntimeError(f"blank must be in label range [0, {classes}), got {blank}")
    heard = _lengths(input_lengths, count, x, "input_lengths")
    said = _lengths(target_lengths, count, x, "target_lengths")
    if max(heard, default=0) > steps:
        raise RuntimeError(f"Expected input_lengths to have value at most {steps}, but got value {max(heard)}")
    y = clip(_padded(targets, said, count), 0, classes - 1)
    if max(said, default=0) > y.shape[1]:
        raise RuntimeError(
            f"Expected tensor to have size at least {max(said)} at dimension 1, but got size {y.shape[1]}"
        )
    losses = _forward_probability(x, y, heard, said, blank)
    if zero_infinity:
        losses = where(losses == math.inf, 0, losses)
    if reduction == "mean":
        shares = [1 / (max(n, 1) * count) for n in said]
        return (losses * x._backend.tensors.asarray(shares, dtype=x.dtype, device=x.device)).sum()
    return losses.sum() if reduction == "sum" else losses if whole else losses.reshape(())


def _forward_probability(x: Tensor, y: Tensor, heard: list[int], said: list[int], blank: int) -> Tensor:
    """Minus the logarithm of the forward variable at the end, for states blank, y1, blank, y2, ... blank (section 4.1)."""
    xp = x._backend.tensors
    (steps, count, _), longest = x.shape, y.shape[1]
    blanks = xp.full((count, longest + 1), blank, dtype="int64", device=x.device)
    states = xp.stack([blanks[:, :longest], y], axis=2).reshape(count, 2 * longest)
    states = concat([states, blanks[:, :1]], axis=1)
    places = broadcast_to(states.unsqueeze(0), (steps, *states.shape))
    emitted = unstack(take_along_axis(x, places, axis=2), axis=0)
    width = 2 * longest + 1
    never = xp.full((count, 2), NEVER, dtype=x.dtype, device=x.device)
    # A state may be entered from two before it where it is no blank and differs from the label there.
    jumps = logical_and(states[:, 2:] != blank, states[:, 2:] != states[:, : max(width - 2, 0)])
    ends = xp.asarray(heard, dtype="int64", device=x.device).reshape(-1, 1)
    first = emitted[0][:, :2]
    alpha = concat([first, xp.full((count, width - first.shape[1]), NEVER, dtype=x.dtype, device=x.device)], axis=1)
    for t in range(1, steps):
        ways = [alpha, concat([never[:, :1], alpha[:, :-1]], axis=1)]
        if longest:
            ways.append(concat([never, where(jumps, alpha[:, : width - 2], NEVER)], axis=1))
        entered = logsumexp(stack(ways, axis=-1), axis=-1)
        alpha = where(ends > t, entered + emitted[t], alpha)
    last = xp.asarray([[2 * n, max(2 * n - 1, 0)] for n in said], dtype="int64", device=x.device)
    final = take_along_axis(alpha, last, axis=1)
    total = where(equal(last[:, 0], 0), final[:, 0], logsumexp(final, axis=-1))
    return where(total > 0.5 * NEVER, -total, math.inf)
