"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from polygrad.core import Tensor
from polygrad.ops.creation import zeros_like
from polygrad.optim.optimizer import Optimizer

__all__ = ["SGD"]


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
        if lr < 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if momentum < 0.0:
            raise ValueError(f"Invalid momentum value: {momentum}")
        if weight_decay < 0.0:
            raise ValueError(f"Invalid weight_decay value: {weight_decay}")
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
        momentum, lr = group["momentum"], group["lr"]
        assert p.grad is not None
        g = -p.grad if group["maximize"] else p.grad
        if group["weight_decay"]:
            g = g + group["weight_decay"] * p.detach()
        if momentum:
            v = state.get("momentum_buffer")
            if v is None:
                v = g.detach()
            else:
                v *= momentum
                v += g if group["dampening"] == 0 else (1 - group["dampening"]) * g
            state["momentum_buffer"] = v
            g = g + momentum * v if group["nesterov"] else v
        p -= lr * g

    def start(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """A velocity of zero, where the first step's is momentum * 0 + g."""
        if group["momentum"] and not group["dampening"]:
            state.setdefault("momentum_buffer", zeros_like(p.detach()))
