"""RMSprop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from polygrad.core import Tensor
from polygrad.optim.optimizer import Optimizer, check_options, fill_zeros

__all__ = ["RMSprop", "rmsprop"]


def rmsprop(xp, p, g, v, *rest, alpha, eps, momentum, weight_decay, centered):
    """(p, v[, b][, a]) after a step, given (b, with momentum; a, if centred; lr) after v."""
    *parts, lr = rest
    if weight_decay:
        g = g + weight_decay * p
    v, spread, kept = alpha * v + (1 - alpha) * (g * g), None, []
    if centered:
        a = parts[-1] + (1 - alpha) * (g - parts[-1])
        spread, kept = v - a * a, [a]
    step = g / (xp.sqrt(v if spread is None else spread) + eps)
    if momentum:
        step = momentum * parts[0] + step
        kept = [step, *kept]
    return p - lr * step, v, *kept


class RMSprop(Optimizer):
    """RMSprop (Hinton, lecture 6e of "Neural networks for machine learning", 2012; centred as Graves, 2013).

    v <- alpha v + (1 - alpha) g^2;  b <- momentum b + g / (sqrt(v) + eps);  p <- p - lr b.

    Args:
        params: parameters or parameter groups.
        lr: learning rate.
        alpha: decay of the averages.
        eps: added to the root for stability.
        weight_decay: coefficient of the L2 penalty.
        momentum: share of the previous step that is kept.
        centered: subtract the squared average of the gradient from v.
        maximize: go uphill.
        capturable, foreach, differentiable: how PyTorch runs the loop; no effect.

    Raises:
        ValueError: a negative option.
    """

    elementwise = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ):
        check_options(lr=lr, eps=eps, momentum=momentum, weight_decay=weight_decay, alpha=alpha)
        options = {"lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered}
        super().__init__(params, {**options, "weight_decay": weight_decay, "maximize": maximize})

    def update(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """One parameter's step; the averages are kept as "square_avg", "momentum_buffer" and "grad_avg"."""
        state["step"] += 1
        options = ("alpha", "eps", "momentum", "weight_decay", "centered", "maximize")
        self.apply(rmsprop, p, state, _parts(group), group["lr"], **{name: group[name] for name in options})

    def start(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Averages of zero."""
        state.setdefault("step", 0)
        fill_zeros(state, p, _parts(group))


def _parts(group: dict[str, Any]) -> list[str]:
    momentum = ["momentum_buffer"] if group["momentum"] > 0 else []
    return ["square_avg", *momentum, *(["grad_avg"] if group["centered"] else [])]
