"""RAdam: Adam with the variance of its step rectified."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from polygrad.core import Tensor
from polygrad.optim.optimizer import Optimizer, check_options, fill_zeros

__all__ = ["RAdam", "radam"]


def radam(xp, p, g, m, v, alpha, shrink, /, *, beta1, beta2, eps, weight_decay, rectified):
    """(p, m, v) after a step of size alpha, which is divided by the root of v only if `rectified`.

    shrink is the factor of p for decoupled decay, or None.
    """
    if shrink is not None:
        p = p * shrink
    elif weight_decay:
        g = g + weight_decay * p
    m = m + (1 - beta1) * (g - m)
    v = beta2 * v + (1 - beta2) * (g * g)
    return p - alpha * (m / (xp.sqrt(v) + eps) if rectified else m), m, v


class RAdam(Optimizer):
    """RAdam (Liu et al., "On the variance of the adaptive learning rate and beyond", 2020).

    m, v as in Adam;  rho_t = rho_inf - 2 t beta2^t / (1 - beta2^t), rho_inf = 2 / (1 - beta2) - 1. The step is that of Adam times
    r_t = sqrt((rho_t - 4)(rho_t - 2) rho_inf / ((rho_inf - 4)(rho_inf - 2) rho_t)) once rho_t > 5, and lr m / (1 - beta1^t) before.

    Args:
        params: parameters or parameter groups.
        lr: learning rate.
        betas: decay of the averages of the gradient and of its square.
        eps: added to the root for stability.
        weight_decay: coefficient of the L2 penalty.
        decoupled_weight_decay: decay as AdamW.
        maximize: go uphill.
        foreach, capturable, differentiable: how PyTorch runs the loop; no effect.

    Raises:
        ValueError: a negative rate, eps or decay; betas outside [0, 1).
    """

    elementwise = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ):
        check_options(lr=lr, eps=eps, betas=betas, weight_decay=weight_decay)
        options = {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, {**options, "decoupled_weight_decay": decoupled_weight_decay})

    def update(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """One parameter's step; m and v are kept as "exp_avg" and "exp_avg_sq"."""
        state["step"] += 1
        t, lr, (beta1, beta2), decay = state["step"], group["lr"], group["betas"], group["weight_decay"]
        most = 2 / (1 - beta2) - 1
        rho = most - 2 * t * beta2**t / (1 - beta2**t)
        alpha, rectified = lr / (1 - beta1**t), bool(rho > 5.0)
        if rectified:
            r = ((rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho)) ** 0.5
            alpha = alpha * r * (1 - beta2**t) ** 0.5
        self.apply(
            radam,
            p,
            state,
            ["exp_avg", "exp_avg_sq"],
            alpha,
            1 - lr * decay if decay and group["decoupled_weight_decay"] else None,
            beta1=beta1,
            beta2=beta2,
            eps=group["eps"],
            weight_decay=decay,
            rectified=rectified,
            maximize=group["maximize"],
        )

    def start(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Averages of zero."""
        state.setdefault("step", 0)
        fill_zeros(state, p, ["exp_avg", "exp_avg_sq"])
