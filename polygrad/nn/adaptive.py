"""Adaptive softmax: frequent classes first, rare ones in clusters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from polygrad.core import Tensor
from polygrad.core.tensor import has_values
from polygrad.nn import functional as F
from polygrad.nn.container import ModuleList, Sequential
from polygrad.nn.linear import Linear
from polygrad.nn.module import Module
from polygrad.ops.elementwise import clip, logical_and, logical_or
from polygrad.ops.indexing import take_along_axis, where
from polygrad.ops.reductions import any as any_of
from polygrad.ops.shapes import concat

__all__ = ["AdaptiveLogSoftmaxWithLoss"]


class ASMoutput(NamedTuple):
    """What `AdaptiveLogSoftmaxWithLoss` gives: the targets' log-probabilities (N,), and minus their mean."""

    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """A softmax over many classes, sorted by falling frequency (Grave et al., 2016).

    The head has the classes below the first cutoff and one entry for each cluster of rarer ones, whose layers are narrower. A
    cluster that no target is in is left out (in eager code). `forward` takes (N, in_features) and targets (N,), or without the N.

    Args:
        in_features, n_classes: sizes of input and result.
        cutoffs: where clusters start, rising, below n_classes.
        div_value: how many times narrower each cluster is than the one before.
        head_bias: have a bias in the head.
        device, dtype: of the parameters.

    Raises:
        ValueError: cutoffs that do not rise, or are outside 1 ... n_classes - 1.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        given = list(cutoffs)
        if not given:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        if given != sorted(set(given)) or given[0] <= 0 or given[-1] > n_classes - 1:
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, where each value is "
                "between 1 and n_classes-1"
            )
        self.in_features, self.n_classes, self.cutoffs = in_features, n_classes, [*given, n_classes]
        self.div_value, self.head_bias = div_value, head_bias
        self.shortlist_size, self.n_clusters = given[0], len(given)
        self.head_size = self.shortlist_size + self.n_clusters
        made = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, head_bias, **made)
        self.tail = ModuleList()
        for i in range(self.n_clusters):
            width = int(in_features // div_value ** (i + 1))
            size = self.cutoffs[i + 1] - self.cutoffs[i]
            first, second = Linear(in_features, width, False, **made), Linear(width, size, False, **made)
            self.tail.append(Sequential(first, second))

    def reset_parameters(self) -> None:
        """Draw the parameters again."""
        for layer in self.modules():
            if isinstance(layer, Linear):
                layer.reset_parameters()

    def forward(self, input: Tensor, target: Tensor) -> ASMoutput:
        if target.ndim not in (0, 1) or input.ndim != target.ndim + 1 or input.shape[:-1] != target.shape:
            raise RuntimeError(
                f"Input and target should have the same size in the batch dimension: {input.shape}, {target.shape}"
            )
        x, y = (input, target) if target.ndim else (input.unsqueeze(0), target.unsqueeze(0))
        if has_values() and any_of(logical_or(y < 0, y >= self.n_classes)):
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in a wider range were found."
            )
        head = F.log_softmax(self.head(x), 1)
        output = _picked(head, y, 0, self.shortlist_size, 0.0)
        for i, (low, high) in enumerate(zip(self.cutoffs, self.cutoffs[1:], strict=False)):
            if not has_values() or any_of(logical_and(y >= low, y < high)):
                cluster = F.log_softmax(self.tail[i](x), 1) + head[:, self.shortlist_size + i].unsqueeze(1)
                output = _picked(cluster, y, low, high, output)
        output = output if target.ndim else output[0]
        return ASMoutput(output, -output.mean())

    def log_prob(self, input: Tensor) -> Tensor:
        """The log-probabilities of all classes: (N, n_classes)."""
        head = F.log_softmax(self.head(input), 1)
        parts = [head[:, : self.shortlist_size]]
        for i, layer in enumerate(self.tail):
            parts.append(F.log_softmax(layer(input), 1) + head[:, self.shortlist_size + i].unsqueeze(1))
        return concat(parts, axis=1)

    def predict(self, input: Tensor) -> Tensor:
        """The most probable class of each row: (N,)."""
        return self.log_prob(input).argmax(dim=1)


def _picked(rows: Tensor, y: Tensor, low: int, high: int, other: Any) -> Tensor:
    """The entry of each row that its target names, counted from `low`; `other` where the target is elsewhere."""
    at = clip(y.long() - low, 0, high - low - 1).unsqueeze(1)
    found = take_along_axis(rows, at, axis=1).squeeze(1)
    return where(logical_and(y >= low, y < high), found, other)
