"""NAdam: Adam with Nesterov momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from polygrad.core import Tensor
from polygrad.optim.optimizer import Optimizer, check_options, fill_zeros

__all__ = ["NAdam", "nadam"]


def nadam(xp, p, g, m, v, of_g, of_m, correction, shrink, /, *, beta1, beta2, eps, weight_decay):
    """(p, m, v) after a step.

    of_g and of_m are the step sizes for the gradient and the momentum, correction = 1 - beta2^t; shrink is the factor of p for
    decoupled decay, or None.
    """
    if shrink is not None:
        p = p * shrink
    elif weight_decay:
        g = g + weight_decay * p
    m = m + (1 - beta1) * (g - m)
    v = beta2 * v + (1 - beta2) * (g * g)
    return p - (of_g * g + of_m * m) / (xp.sqrt(v / correction) + eps), m, v


class NAdam(Optimizer):
    """NAdam (Dozat, "Incorporating Nesterov momentum into Adam", 2016).

    mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2);  m, v as in Adam;
    p <- p - lr (mu_{t+1} m / (1 - mu_1 ... mu_{t+1}) + (1 - mu_t) g / (1 - mu_1 ... mu_t)) / (sqrt(v / (1 - beta2^t)) + eps).

    Args:
        params: parameters or parameter groups.
        lr: learning rate.
        betas: decay of the averages of the gradient and of its square.
        eps: added to the root for stability.
        weight_decay: coefficient of the L2 penalty.
        momentum_decay: how the momentum warms up.
        decoupled_weight_decay: decay as AdamW.
        maximize: go uphill.
        foreach, capturable, differentiable: how PyTorch runs the loop; no effect.

    Raises:
        ValueError: a negative rate, eps or decay; betas outside [0, 1).
    """

    elementwise = True

    numbers = frozenset({"step", "mu_product"})

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ):
        check_options(lr=lr, eps=eps, betas=betas, weight_decay=weight_decay, momentum_decay=momentum_decay)
        options = {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        decays = {"momentum_decay": momentum_decay, "decoupled_weight_decay": decoupled_weight_decay}
        super().__init__(params, {**options, **decays})

    def update(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """One parameter's step; m, v and the product are kept as "exp_avg", "exp_avg_sq" and "mu_product"."""
        state["step"] += 1
        t, lr, (beta1, beta2), decay = state["step"], group["lr"], group["betas"], group["weight_decay"]
        mu = beta1 * (1.0 - 0.5 * (0.96 ** (t * group["momentum_decay"])))
        mu_next = beta1 * (1.0 - 0.5 * (0.96 ** ((t + 1) * group["momentum_decay"])))
        state["mu_product"] = product = state["mu_product"] * mu
        self.apply(
            nadam,
            p,
            state,
            ["exp_avg", "exp_avg_sq"],
            lr * (1.0 - mu) / (1.0 - product),
            lr * mu_next / (1.0 - product * mu_next),
            1 - beta2**t,
            1 - lr * decay if decay and group["decoupled_weight_decay"] else None,
            beta1=beta1,
            beta2=beta2,
            eps=group["eps"],
            weight_decay=decay,
            maximize=group["maximize"],
        )

    def start(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Averages of zero."""
        state.setdefault("step", 0)
        state.setdefault("mu_product", 1.0)
        fill_zeros(state, p, ["exp_avg", "exp_avg_sq"])
