"""Adamax."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from polygrad.core import Tensor
from polygrad.optim.optimizer import Optimizer, check_options, fill_zeros

__all__ = ["Adamax", "adamax"]


def adamax(xp, p, g, m, u, alpha, /, *, beta1, beta2, eps, weight_decay):
    """(p, m, u) after a step; alpha = lr / (1 - beta1^t)."""
    if weight_decay:
        g = g + weight_decay * p
    m = m + (1 - beta1) * (g - m)
    u = xp.maximum(beta2 * u, xp.abs(g) + eps)
    return p - alpha * (m / u), m, u


class Adamax(Optimizer):
    """Adamax, Adam with the infinity norm (Kingma and Ba, "Adam: a method for stochastic optimization", 2015, section 7.1).

    m <- beta1 m + (1 - beta1) g;  u <- max(beta2 u, |g| + eps);  p <- p - lr / (1 - beta1^t) * m / u.

    Args:
        params: parameters or parameter groups.
        lr: learning rate.
        betas: decay of the average of the gradient and of the norm.
        eps: added to |g| for stability.
        weight_decay: coefficient of the L2 penalty.
        maximize: go uphill.
        foreach, differentiable, capturable: how PyTorch runs the loop; no effect.

    Raises:
        ValueError: a negative rate, eps or decay; betas outside [0, 1).
    """

    elementwise = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ):
        check_options(lr=lr, eps=eps, betas=betas, weight_decay=weight_decay)
        options = {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, options)

    def update(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """One parameter's step; m and u are kept as "exp_avg" and "exp_inf"."""
        state["step"] += 1
        beta1, beta2 = group["betas"]
        options = {name: group[name] for name in ("eps", "weight_decay", "maximize")}
        alpha = group["lr"] / (1 - beta1 ** state["step"])
        self.apply(adamax, p, state, ["exp_avg", "exp_inf"], alpha, beta1=beta1, beta2=beta2, **options)

    def start(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Averages of zero."""
        state.setdefault("step", 0)
        fill_zeros(state, p, ["exp_avg", "exp_inf"])
