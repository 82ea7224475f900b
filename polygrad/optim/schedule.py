"""What schedules of the learning rate share: the base class, and how the rates of an optimizer are read and put."""

from __future__ import annotations

from typing import Any

from polygrad.core import Tensor
from polygrad.optim.optimizer import Optimizer

__all__ = ["LRScheduler", "Rate", "for_each_group", "put_rate", "rates_of"]

Rate = float | Any


def rates_of(optimizer: Optimizer, key: str = "lr") -> list[Rate]:
    """What the groups of an optimizer have under a key, as values of their own."""
    return [g[key].detach() if isinstance(g[key], Tensor) else g[key] for g in optimizer.param_groups]


def put_rate(group: dict[str, Any], value: Rate) -> None:
    """Give a group a learning rate; a rate that is a tensor is filled."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(value.item() if isinstance(value, Tensor) else value)
    else:
        group["lr"] = value


def for_each_group(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """An option of each group: a list of as many as there are groups, or one value for all. Raises ValueError otherwise."""
    groups = len(optimizer.param_groups)
    if not isinstance(value, list | tuple):
        return [value] * groups
    if len(value) != groups:
        raise ValueError(
            f"{name} must have the same length as optimizer.param_groups. {name} has {len(value)} values, param_groups has {groups}."
        )
    return list(value)


class LRScheduler:
    """Base class: a subclass defines `get_lr()`, the next rates of the groups, and `_get_closed_form_lr()` if there is a formula.

    Args:
        optimizer: whose rates it changes.
        last_epoch: how many steps were taken; -1 starts the schedule, others go on with one whose first rates the groups have
            as "initial_lr".

    Raises:
        TypeError: `optimizer` is none.
        KeyError: a schedule is to go on, and a group has no "initial_lr".
    """

    optimizer: Optimizer
    last_epoch: int
    _initial = False
    _left_out: tuple[str, ...] = ("optimizer",)

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        self.optimizer = optimizer
        for i, (group, rate) in enumerate(zip(optimizer.param_groups, rates_of(optimizer), strict=True)):
            if last_epoch == -1:
                group.setdefault("initial_lr", rate)
            elif "initial_lr" not in group:
                raise KeyError(f"param 'initial_lr' is not specified in param_groups[{i}] when resuming an optimizer")
        self.base_lrs = rates_of(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        self._begin()

    def _begin(self) -> None:
        self._step_count = 0
        self._initial = True
        self.step()
        del self._initial

    def get_last_lr(self) -> list[Rate]:
        """The rates of the groups after the last step."""
        return self._last_lr

    def get_lr(self) -> list[Rate]:
        """The rates of the groups at `last_epoch`, from those they have now."""
        raise NotImplementedError(f"{type(self).__name__} does not define get_lr()")

    def step(self, epoch: int | None = None) -> None:
        """Give the groups the rates of the next step, or of the one given."""
        self._step_count += 1
        self._go(epoch)

    def _go(self, epoch: int | None) -> None:
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        formula = None if epoch is None else getattr(self, "_get_closed_form_lr", None)
        rates = self.get_lr() if formula is None else formula()
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            put_rate(group, rate)
        self._last_lr = rates_of(self.optimizer)

    def _times(self, factor: float) -> list[Rate]:
        return [rate * factor for rate in rates_of(self.optimizer)]

    def state_dict(self) -> dict[str, Any]:
        """Where the schedule stands: all attributes but the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key not in self._left_out}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go to where a `state_dict` says that a schedule stood. The rates are the optimizer's, and restored with it."""
        self.__dict__.update(state_dict)
