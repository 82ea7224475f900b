"""ASGD: averaged stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from polygrad.core import Tensor
from polygrad.optim.optimizer import Optimizer, check_options, fill_zeros

__all__ = ["ASGD", "asgd"]


def asgd(xp, p, g, a, eta, shrink, mu, /, *, weight_decay):
    """(p, a) after a step of size eta; shrink = 1 - lambd eta, and a is the average, which follows p with weight mu (None: 1)."""
    if weight_decay:
        g = g + weight_decay * p
    p = p * shrink - eta * g
    return p, xp.clone(p) if mu is None else a + mu * (p - a)


class ASGD(Optimizer):
    """Averaged SGD (Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992).

    p <- (1 - lambd eta_t) p - eta_t g;  a <- a + mu_t (p - a);  eta_{t+1} = lr / (1 + lambd lr t)^alpha;
    mu_{t+1} = 1 / max(1, t - t0).

    Args:
        params: parameters or parameter groups.
        lr: learning rate.
        lambd: decay.
        alpha: power by which eta falls.
        t0: the step from which on the average is taken.
        weight_decay: coefficient of the L2 penalty.
        maximize: go uphill.
        foreach, differentiable, capturable: how PyTorch runs the loop; no effect.

    Raises:
        ValueError: a negative rate or decay.
    """

    elementwise = True

    numbers = frozenset({"step", "eta", "mu"})

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ):
        check_options(lr=lr, weight_decay=weight_decay)
        options = {"lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0}
        super().__init__(params, {**options, "weight_decay": weight_decay, "maximize": maximize})

    def update(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """One parameter's step; the average is kept as "ax", eta and mu of the next step as "eta" and "mu"."""
        state["step"] += 1
        t, lr, lambd, eta, mu = state["step"], group["lr"], group["lambd"], state["eta"], state["mu"]
        options = {"weight_decay": group["weight_decay"], "maximize": group["maximize"]}
        self.apply(asgd, p, state, ["ax"], eta, 1 - lambd * eta, None if mu == 1 else mu, **options)
        state["eta"] = lr / ((1 + lambd * lr * t) ** group["alpha"])
        state["mu"] = 1 / (t - group["t0"]) if t - group["t0"] > 1 else 1.0

    def start(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """The first step is of size lr."""
        state.setdefault("step", 0)
        lr = group["lr"]
        state.setdefault("eta", lr if isinstance(lr, Tensor) else float(lr))
        state.setdefault("mu", 1.0)
        fill_zeros(state, p, ["ax"])
