"""Adadelta."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from polygrad.core import Tensor
from polygrad.optim.optimizer import Optimizer, check_options, fill_zeros

__all__ = ["Adadelta", "adadelta"]


def adadelta(xp, p, g, v, u, lr, /, *, rho, eps, weight_decay):
    """(p, v, u) after a step; v and u average the squares of gradients and of steps."""
    if weight_decay:
        g = g + weight_decay * p
    v = rho * v + (1 - rho) * (g * g)
    step = xp.sqrt(u + eps) / xp.sqrt(v + eps) * g
    return p - lr * step, v, rho * u + (1 - rho) * (step * step)


class Adadelta(Optimizer):
    """Adadelta (Zeiler, "ADADELTA: an adaptive learning rate method", 2012).

    v <- rho v + (1 - rho) g^2;  d = sqrt(u + eps) / sqrt(v + eps) g;  u <- rho u + (1 - rho) d^2;  p <- p - lr d.

    Args:
        params: parameters or parameter groups.
        lr: factor of the step.
        rho: decay of the averages.
        eps: added below the roots for stability.
        weight_decay: coefficient of the L2 penalty.
        maximize: go uphill.
        foreach, capturable, differentiable: how PyTorch runs the loop; no effect.

    Raises:
        ValueError: a negative option; rho outside [0, 1].
    """

    elementwise = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ):
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        check_options(lr=lr, eps=eps, weight_decay=weight_decay)
        options = {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, options)

    def update(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """One parameter's step; the averages are kept as "square_avg" and "acc_delta"."""
        state["step"] += 1
        options = {name: group[name] for name in ("rho", "eps", "weight_decay", "maximize")}
        self.apply(adadelta, p, state, ["square_avg", "acc_delta"], group["lr"], **options)

    def start(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Averages of zero."""
        state.setdefault("step", 0)
        fill_zeros(state, p, ["square_avg", "acc_delta"])
