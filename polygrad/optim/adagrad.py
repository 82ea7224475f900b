"""Adagrad."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from polygrad.core import Tensor
from polygrad.ops.creation import full_like
from polygrad.optim.optimizer import Optimizer, check_options

__all__ = ["Adagrad", "adagrad"]


def adagrad(xp, p, g, s, alpha, /, *, eps, weight_decay):
    """(p, s) after a step of size alpha."""
    if weight_decay:
        g = g + weight_decay * p
    s = s + g * g
    return p - alpha * (g / (xp.sqrt(s) + eps)), s


class Adagrad(Optimizer):
    """Adagrad (Duchi, Hazan and Singer, "Adaptive subgradient methods", 2011).

    s <- s + g^2;  p <- p - lr / (1 + (t - 1) lr_decay) * g / (sqrt(s) + eps).

    Args:
        params: parameters or parameter groups.
        lr: learning rate.
        lr_decay: how fast it falls.
        weight_decay: coefficient of the L2 penalty.
        initial_accumulator_value: s at the start.
        eps: added to the root for stability.
        maximize: go uphill.
        foreach, differentiable, fused: how PyTorch runs the loop; no effect.

    Raises:
        ValueError: a negative option.
    """

    elementwise = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        check_options(
            lr=lr,
            lr_decay=lr_decay,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            eps=eps,
        )
        options = {"lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, {**options, "initial_accumulator_value": initial_accumulator_value})
        for group in self.param_groups:
            for p in group["params"]:
                self.start(p, self.state[p], group)

    def update(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """One parameter's step; the sum of squares is kept as "sum"."""
        state["step"] += 1
        alpha = group["lr"] / (1 + (state["step"] - 1) * group["lr_decay"])
        options = {name: group[name] for name in ("eps", "weight_decay", "maximize")}
        self.apply(adagrad, p, state, ["sum"], alpha, **options)

    def start(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """The sum of squares as it is asked for."""
        state.setdefault("step", 0)
        if "sum" not in state:
            value = group["initial_accumulator_value"]
            state["sum"] = full_like(p.detach(), complex(value, value) if p.dtype.is_complex else value)
