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

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "CrossMapLRN2d",
    "GroupNorm",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "LayerNorm",
    "LocalResponseNorm",
    "RMSNorm",
    "SyncBatchNorm",
]


class _Affine(Module):
    """What has a weight, ones at first, and a bias, zeros at first; either may be None."""

    weight: Parameter | None
    bias: Parameter | None

    def _hold(self, shape: int | tuple[int, ...], device: Any, dtype: Any, **present: bool) -> None:
        for name, wanted in present.items():
            p = Parameter(empty(shape, device=device, dtype=dtype)) if wanted else None
            self.register_parameter(name, p)

    def reset_parameters(self) -> None:
        """Start the parameters again."""
        weight, bias = self.weight, getattr(self, "bias", None)
        if weight is not None:
            init.ones_(weight)
        if bias is not None:
            init.zeros_(bias)


class _BatchNorm(_Affine):
    """What the batch normalisations of inputs of `ranks` axes share."""

    ranks: tuple[int, ...]
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
        self._hold(num_features, device, dtype, weight=affine, bias=affine and bias)
        tracked, made = track_running_stats, {"device": device, "dtype": dtype}
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
        super().reset_parameters()

    def _check(self, input: Tensor) -> None:
        if input.ndim not in self.ranks:
            expected = " or ".join(f"{n}D" for n in self.ranks)
            raise ValueError(f"expected {expected} input (got {input.ndim}D input)")

    def forward(self, input: Tensor) -> Tensor:
        self._check(input)
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


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation of (N, C, *) as PyTorch spells it for several processes; here there is one, whose batch is all there is.

    Args:
        process_group: kept, without effect; the others as of `BatchNorm2d`.

    Raises:
        ValueError: an input of fewer than two axes, or without channels.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self.process_group = process_group

    def _check(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"expected at least 2D input (got {input.ndim}D input)")
        if input.shape[1] == 0:
            raise ValueError("SyncBatchNorm number of input channels should be non-zero")

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """The module with a SyncBatchNorm, of the same parameters and buffers, in place of each batch normalisation in it."""
        if isinstance(module, _BatchNorm) and not isinstance(module, _InstanceNorm):
            m, affine = module, module.weight is not None
            options = (m.num_features, m.eps, m.momentum, affine, m.track_running_stats, process_group)
            made = cls(*options, bias=m.bias is not None)
            for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
                setattr(made, name, getattr(m, name))
            made.training = m.training
            return made
        for name, child in module.named_children():
            module.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return module


class _InstanceNorm(_BatchNorm):
    """What the instance normalisations of inputs of `ranks` axes share."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        self._check(input)
        whole = input.ndim == self.ranks[1]
        x = input if whole else input.reshape(1, *input.shape)
        if x.shape[1] != self.num_features and self.affine:
            raise ValueError(
                f"expected input's size at dim=1 to match num_features ({self.num_features}), but got: {x.shape[1]}."
            )
        own = self.training or not self.track_running_stats
        y = F.instance_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, own, self.momentum or 0.0, self.eps
        )
        return y if whole else y.reshape(input.shape)


class InstanceNorm1d(_InstanceNorm):
    """Normalises each channel of each sample of (N, C, L) or (C, L); arguments as of `InstanceNorm2d`."""

    ranks = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Normalises each channel of each sample of (N, C, H, W) or (C, H, W) over its plane (Ulyanov et al., 2016).

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: the share of the batch in the running moments.
        affine: multiply by a weight (ones at first) and add a bias (zeros at first).
        track_running_stats: keep running moments in training and use them in evaluation.
        device, dtype: of the parameters and moments.
        bias: have the bias of `affine`.
    """

    ranks = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Normalises each channel of each sample of (N, C, D, H, W) or (C, D, H, W); arguments as of `InstanceNorm2d`."""

    ranks = (4, 5)


class LayerNorm(_Affine):
    """Normalises over the last axes (Ba et al., 2016).

    Args:
        normalized_shape: an int or several; the sizes of the last axes.
        eps: added to the variance.
        elementwise_affine: multiply by a weight (ones at first) and add a bias (zeros at first).
        bias: have the bias of `elementwise_affine`.
        device, dtype: of the parameters.
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        affine = elementwise_affine
        self._hold(self.normalized_shape, device, dtype, weight=affine, bias=affine and bias)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"


class RMSNorm(_Affine):
    """Divides by the root of the mean square over the last axes (Zhang and Sennrich, 2019).

    Args:
        normalized_shape: an int or several; the sizes of the last axes.
        eps: added to the mean square; by default the distance from 1 to the next number of the input's dtype.
        elementwise_affine: multiply by a weight (ones at first).
        device, dtype: of the weight.
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self._hold(self.normalized_shape, device, dtype, weight=elementwise_affine)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(_Affine):
    """Normalises each group of channels of each sample of (N, C, *) (Wu and He, 2018).

    Args:
        num_groups: how many groups the channels are split into.
        num_channels: C.
        eps: added to the variance.
        affine: multiply by a weight (ones at first) and add a bias (zeros at first), one for each channel.
        device, dtype: of the parameters.
        bias: have the bias of `affine`.

    Raises:
        ValueError: channels that `num_groups` does not divide.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ):
        super().__init__()
        if num_channels % num_groups:
            raise ValueError(f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self._hold(num_channels, device, dtype, weight=affine, bias=affine and bias)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, bias={self.bias is not None}"


class LocalResponseNorm(Module):
    """x / (k + alpha * mean(x**2))**beta, with the mean over `size` neighbouring channels (Krizhevsky et al., 2012)."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0):
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input: Tensor) -> Tensor:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class CrossMapLRN2d(LocalResponseNorm):
    """x / (k + alpha / size * sum(x**2))**beta, over the (size - 1) // 2 channels on either side of each of (N, C, H, W).

    For an odd size this is `LocalResponseNorm`. PyTorch's class never takes the first channel out of the sum again, and gives a
    gradient that is not that of its result; this one does neither.

    Raises:
        ValueError: an input that has not four axes.
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim != 4:
            raise ValueError(f"CrossMapLRN2d: Expected input to be 4D, got {input.ndim}D instead.")
        width = self.size - 1 + self.size % 2
        return F.local_response_norm(input, width, self.alpha * width / self.size, self.beta, self.k)
