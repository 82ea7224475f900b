"""Normalisation layers."""

from __future__ import annotations

from typing import Any

from polygrad.autograd.modes import no_grad
from polygrad.core import Tensor
from polygrad.nn import functional as F
from polygrad.nn import init
from polygrad.nn.module import Module
from polygrad.nn.parameter import Parameter
from polygrad.ops.creation import empty, ones, zeros

__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d"]


class _BatchNorm(Module):
    """What the batch normalisations of inputs of `ranks` axes share."""

    ranks: tuple[int, ...]
    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None
    _may_be_missing = ("num_batches_tracked",)  # checkpoints of PyTorch before 0.4.1 lack it

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ):
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        made = {"device": device, "dtype": dtype}
        self.register_parameter("weight", Parameter(empty(num_features, **made)) if affine else None)
        self.register_parameter("bias", Parameter(empty(num_features, **made)) if affine and bias else None)
        tracked = track_running_stats
        self.register_buffer("running_mean", zeros(num_features, **made) if tracked else None)
        self.register_buffer("running_var", ones(num_features, **made) if tracked else None)
        self.register_buffer("num_batches_tracked", zeros((), dtype="int64", device=device) if tracked else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget the running moments."""
        if self.track_running_stats:
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Forget the running moments and start the parameters again."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in self.ranks:
            expected = " or ".join(f"{n}D" for n in self.ranks)
            raise ValueError(f"expected {expected} input (got {input.ndim}D input)")
        updates = self.training and self.track_running_stats
        count = self.num_batches_tracked
        momentum: Any = 0.0 if self.momentum is None else self.momentum
        if updates and self.momentum is None and count is not None and self.running_mean is not None:
            momentum = 1 / (count + 1).to(self.running_mean.dtype)
        use_batch = self.training or self.running_mean is None
        given = self.running_mean if not self.training or updates else None
        given_var = self.running_var if not self.training or updates else None
        y = F.batch_norm(input, given, given_var, self.weight, self.bias, use_batch, momentum, self.eps)
        if updates and count is not None:
            with no_grad():
                count.add_(1)
        return y

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """Normalises each channel of (N, C) or (N, C, L) over all other axes; arguments as of `BatchNorm2d`."""

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Normalises each channel of (N, C, H, W) over all other axes (Ioffe and Szegedy, 2015).

    In training, by the moments of the batch, which also change the running ones; in evaluation, by the running ones.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: the share of the batch in the running moments; None for the mean of all batches.
        affine: multiply by a weight (ones at first) and add a bias (zeros at first).
        track_running_stats: keep running moments; without, those of the batch are always used.
        device, dtype: of the parameters and moments.
        bias: have the bias of `affine`.
    """

    ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """Normalises each channel of (N, C, D, H, W) over all other axes; arguments as of `BatchNorm2d`."""

    ranks = (5,)
