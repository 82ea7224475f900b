"""Averages of a model's weights: stochastic weight averaging and exponential moving averages."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

from polygrad import nn
from polygrad.autograd import no_grad
from polygrad.core import Tensor
from polygrad.core.methods import functions
from polygrad.ops.creation import tensor
from polygrad.optim.optimizer import Optimizer
from polygrad.optim.schedule import LRScheduler, Rate, for_each_group

__all__ = [
    "SWALR",
    "AveragedModel",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]

Average = Callable[[Tensor, Tensor, Any], Tensor]
Averages = Callable[[list[Tensor], list[Tensor], Any], None]


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """The exponential moving average: a <- decay * a + (1 - decay) * p. Raises ValueError for a decay outside [0, 1]."""
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")

    def average(averaged: Tensor, current: Tensor, count: Any) -> Tensor:
        return decay * averaged + (1 - decay) * current

    return average


def get_swa_avg_fn() -> Average:
    """The mean of all: a <- a + (p - a) / (n + 1) (Izmailov et al., "Averaging weights leads to wider optima", 2018)."""

    def average(averaged: Tensor, current: Tensor, count: Any) -> Tensor:
        return averaged + (current - averaged) / (count + 1)

    return average


def _of_all(average: Average) -> Averages:
    def update(averaged: list[Tensor], current: list[Tensor], count: Any) -> None:
        with no_grad():
            for a, p in zip(averaged, current, strict=True):
                functions.overwrite(a, functions.astype(average(a.detach(), p.detach(), count), a.dtype))

    return update


def get_ema_multi_avg_fn(decay: float = 0.999) -> Averages:
    """`get_ema_avg_fn` for lists of tensors."""
    return _of_all(get_ema_avg_fn(decay))


def get_swa_multi_avg_fn() -> Averages:
    """`get_swa_avg_fn` for lists of tensors."""
    return _of_all(get_swa_avg_fn())


class AveragedModel(nn.Module):
    """A copy of a model whose parameters are averages of that model's; buffers are its last ones unless `use_buffers`.

    Args:
        model: the model that is trained.
        device: where the copy is kept.
        avg_fn: (average, parameter, how many went before) to the new average; the mean of all by default.
        multi_avg_fn: the same for lists, in place.
        use_buffers: average buffers too.

    Raises:
        ValueError: both functions are given.
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: nn.Module,
        device: Any = None,
        avg_fn: Average | None = None,
        multi_avg_fn: Averages | None = None,
        use_buffers: bool = False,
    ):
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise ValueError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device=device)
        self.register_buffer("n_averaged", tensor(0, device=device))
        self._average = multi_avg_fn or _of_all(avg_fn or get_swa_avg_fn())
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def update_parameters(self, model: nn.Module) -> None:
        """Take the parameters that a model has now into the averages."""
        mine: list[Tensor] = list(self.module.parameters())
        theirs: list[Tensor] = list(model.parameters())
        buffers = list(zip(self.module.buffers(), model.buffers(), strict=True))
        with no_grad():
            if self.use_buffers:
                mine, theirs = [*mine, *(a for a, _ in buffers)], [*theirs, *(b for _, b in buffers)]
            theirs = [p.detach().to(a._backend, device=a.device) for a, p in zip(mine, theirs, strict=True)]
            count = self.n_averaged
            if count._backend.is_traced(count._array):  # inside of `jit` both are computed, and one is chosen
                self._average(mine, theirs, count.detach())
                for a, p in zip(mine, theirs, strict=True):
                    functions.overwrite(a, functions.where(count == 0, p, a.detach()))
            elif int(count) == 0:
                for a, p in zip(mine, theirs, strict=True):
                    functions.overwrite(a, p)
            else:
                self._average(mine, theirs, int(count))
            for a, b in () if self.use_buffers else buffers:
                functions.overwrite(a, b.detach().to(a._backend, device=a.device))
            self.n_averaged += 1


def update_bn(loader: Iterable[Any], model: nn.Module, device: Any = None) -> None:
    """Give the batch norms of a model, say of averaged weights, the mean and variance of all batches.

    Args:
        loader: batches, or tuples whose first element is one.
        model: is run on each.
        device: where the batches are put.
    """
    norms = [m for m in model.modules() if hasattr(m, "reset_running_stats") and hasattr(m, "momentum")]
    if not norms:
        return
    before, training = [m.momentum for m in norms], model.training
    model.train()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    with no_grad():
        for batch in loader:
            x = batch[0] if isinstance(batch, list | tuple) else batch
            model(x if device is None else x.to(device=device))
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
    model.train(training)


class SWALR(LRScheduler):
    """The rate goes to `swa_lr` in `anneal_epochs` epochs and stays there.

    Args:
        optimizer: whose rates it changes.
        swa_lr: the last rate, or a list of those of each group.
        anneal_epochs: how long it takes.
        anneal_strategy: "cos" or "linear".
        last_epoch: see `LRScheduler`.

    Raises:
        ValueError: an unknown strategy, or no count of epochs.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | list[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ):
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        for group, rate in zip(optimizer.param_groups, for_each_group("swa_lr", optimizer, swa_lr), strict=True):
            group["swa_lr"] = rate
        self._anneal_strategy, self.anneal_epochs = anneal_strategy, anneal_epochs
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Rate]:
        """The next rate between the first one, which is computed from the present one, and the last."""
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = (self._share(s / max(1, self.anneal_epochs)) for s in (step - 1, step))
        rates = []
        for group in self.optimizer.param_groups:
            last = group["swa_lr"]
            first = last if before == 1 else (group["lr"] - before * last) / (1 - before)
            rates.append(last * now + first * (1 - now))
        return rates

    def _share(self, t: float) -> float:
        t = max(0, min(1, t))
        return t if self._anneal_strategy == "linear" else (1 - math.cos(math.pi * t)) / 2
