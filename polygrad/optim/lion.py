"""Lion: the sign of momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from polygrad.core import Tensor
from polygrad.optim.optimizer import Optimizer, check_options, fill_zeros

__all__ = ["Lion", "lion"]


def lion(xp, p, g, m, lr, shrink, /, *, beta1, beta2):
    """(p, m) after a step of size lr; shrink is the factor of p for weight decay."""
    c = beta1 * m + (1 - beta1) * g
    return p * shrink - lr * xp.sign(c), beta2 * m + (1 - beta2) * g


class Lion(Optimizer):
    """Lion (Chen et al., "Symbolic discovery of optimization algorithms", 2023).

    c = beta1 m + (1 - beta1) g;  p <- p - lr (sign(c) + weight_decay p);  m <- beta2 m + (1 - beta2) g.

    Args:
        params: parameters or parameter groups.
        lr: learning rate; the paper takes a third to a tenth of AdamW's.
        betas: weights of the momentum in the step, and in its own update.
        weight_decay: factor of decoupled decay.
        maximize: go uphill.

    Raises:
        ValueError: a negative rate or decay; betas outside [0, 1).
    """

    elementwise = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ):
        check_options(lr=lr, betas=betas, weight_decay=weight_decay)
        super().__init__(params, {"lr": lr, "betas": tuple(betas), "weight_decay": weight_decay, "maximize": maximize})

    def update(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """One parameter's step; the momentum is kept as "exp_avg"."""
        lr, (beta1, beta2) = group["lr"], group["betas"]
        shrink = 1 - lr * group["weight_decay"]
        options = {"beta1": beta1, "beta2": beta2, "maximize": group["maximize"]}
        self.apply(lion, p, state, ["exp_avg"], lr, shrink, **options)

    def start(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """A momentum of zero."""
        fill_zeros(state, p, ["exp_avg"])
