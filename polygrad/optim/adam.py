"""Adam, and AdamW, which decays weights apart from the gradient."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from polygrad.core import Tensor
from polygrad.optim.optimizer import Optimizer, check_options, fill_zeros

__all__ = ["Adam", "AdamW", "adam"]


def adam(xp, p, g, m, v, v_max, alpha, root, shrink, /, *, beta1, beta2, eps, weight_decay):
    """(p, m, v[, v_max]) after a step.

    alpha = lr / (1 - beta1^t), root = sqrt(1 - beta2^t); v_max is None unless AMSGrad is asked for, and shrink is the factor
    of p for decoupled decay, or None.
    """
    if shrink is not None:
        p = p * shrink
    elif weight_decay:
        g = g + weight_decay * p
    m = m + (1 - beta1) * (g - m)
    v = beta2 * v + (1 - beta2) * (g * g)
    if v_max is None:
        return p - alpha * (m / (xp.sqrt(v) / root + eps)), m, v
    v_max = xp.maximum(v_max, v)
    return p - alpha * (m / (xp.sqrt(v_max) / root + eps)), m, v, v_max


def plain(xp, p, g, m, v, *numbers, **options):
    """`adam` without the maximum of AMSGrad."""
    return adam(xp, p, g, m, v, None, *numbers, **options)


class Adam(Optimizer):
    """Adam (Kingma and Ba, "Adam: a method for stochastic optimization", 2015).

    m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;
    p <- p - lr * m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps).

    Args:
        params: parameters or parameter groups.
        lr: learning rate.
        betas: decay of the averages of the gradient and of its square.
        eps: added to the root for stability.
        weight_decay: coefficient of the L2 penalty.
        amsgrad: divide by the largest v so far (Reddi, Kale and Kumar, 2018).
        maximize: go uphill.
        decoupled_weight_decay: decay as AdamW.
        foreach, capturable, differentiable, fused: how PyTorch runs the loop; no effect.

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
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ):
        check_options(lr=lr, eps=eps, betas=betas, weight_decay=weight_decay)
        options = {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad}
        super().__init__(params, {**options, "maximize": maximize, "decoupled_weight_decay": decoupled_weight_decay})

    def update(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """One parameter's step; the averages are kept as "exp_avg", "exp_avg_sq" and "max_exp_avg_sq"."""
        state["step"] += 1
        t, lr, (beta1, beta2), decay = state["step"], group["lr"], group["betas"], group["weight_decay"]
        self.apply(
            adam if group["amsgrad"] else plain,
            p,
            state,
            _parts(group),
            lr / (1 - beta1**t),
            (1 - beta2**t) ** 0.5,
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
        fill_zeros(state, p, _parts(group))


def _parts(group: dict[str, Any]) -> list[str]:
    return ["exp_avg", "exp_avg_sq", *(["max_exp_avg_sq"] if group["amsgrad"] else [])]


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019).

    p <- (1 - lr * weight_decay) p, then Adam's step on the bare gradient. Arguments as of `Adam`.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True)
