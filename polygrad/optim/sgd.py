"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from polygrad.core import Tensor
from polygrad.optim.optimizer import Optimizer, check_options, fill_zeros

__all__ = ["SGD"]


def descend(xp, p, g, lr, /, *, weight_decay):
    """(p,) after a step."""
    if weight_decay:
        g = g + weight_decay * p
    return (p - lr * g,)


def accelerate(xp, p, g, v, lr, /, *, momentum, dampening, weight_decay, nesterov):
    """(p, v) after a step with the velocity v."""
    if weight_decay:
        g = g + weight_decay * p
    v = momentum * v + (g if dampening == 0 else (1 - dampening) * g)
    return p - lr * (g + momentum * v if nesterov else v), v


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum after Sutskever et al. (2013) as PyTorch has it.

    g <- grad + weight_decay * p;  v <- momentum * v + (1 - dampening) * g  (v <- g in the first step);
    p <- p - lr * v, or p - lr * (g + momentum * v) with `nesterov`.

    Args:
        params: parameters or parameter groups.
        lr: learning rate.
        momentum: share of the previous velocity that is kept.
        dampening: share of the gradient that the velocity leaves out.
        weight_decay: coefficient of the L2 penalty.
        nesterov: look ahead along the velocity.
        maximize: go uphill.
        foreach, fused: how PyTorch loops over the parameters; no effect.

    Raises:
        ValueError: a negative rate, momentum or decay; `nesterov` without momentum or with dampening.
    """

    elementwise = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
    ):
        check_options(lr=lr, momentum=momentum, weight_decay=weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
            },
        )

    def update(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """One parameter's step; the velocity is kept as "momentum_buffer"."""
        momentum, lr, decay = group["momentum"], group["lr"], group["weight_decay"]
        options = {"maximize": group["maximize"], "weight_decay": decay}
        if not momentum:
            self.apply(descend, p, state, [], lr, **options)
        elif state.get("momentum_buffer") is not None:
            options["momentum"], options["dampening"] = momentum, group["dampening"]
            options["nesterov"] = group["nesterov"]
            self.apply(accelerate, p, state, ["momentum_buffer"], lr, **options)
        else:
            assert p.grad is not None
            g = -p.grad if group["maximize"] else p.grad
            v = (g + decay * p.detach() if decay else g).detach()
            state["momentum_buffer"] = v
            p -= lr * (v + momentum * v if group["nesterov"] else v)

    def start(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """A velocity of zero, where the first step's is momentum * 0 + g."""
        if group["momentum"] and not group["dampening"]:
            fill_zeros(state, p, ["momentum_buffer"])
