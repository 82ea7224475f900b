"""Rprop: resilient backpropagation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from polygrad.core import Tensor
from polygrad.ops.creation import full_like
from polygrad.optim.optimizer import Optimizer, check_options, fill_zeros

__all__ = ["Rprop", "rprop"]


def rprop(xp, p, g, last, delta, /, *, down, up, least, most):
    """(p, last, delta) after a step; `last` is the gradient of the step before, zero where its sign had changed."""
    same = g * last
    delta = xp.clip(xp.where(same > 0, delta * up, xp.where(same < 0, delta * down, delta)), least, most)
    g = xp.where(same < 0, 0.0, g)
    return p - xp.sign(g) * delta, g, delta


class Rprop(Optimizer):
    """Rprop (Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning", 1993), without backtracking.

    Each element has a step size of its own, which grows while its gradient keeps its sign and shrinks when it turns.

    Args:
        params: parameters or parameter groups.
        lr: step size at the start.
        etas: factors by which it shrinks and grows.
        step_sizes: the least and the greatest step size.
        maximize: go uphill.
        capturable, foreach, differentiable: how PyTorch runs the loop; no effect.

    Raises:
        ValueError: a negative rate; etas that are not 0 < down < 1 < up.
    """

    elementwise = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ):
        check_options(lr=lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        options = {"lr": lr, "etas": tuple(etas), "step_sizes": tuple(step_sizes), "maximize": maximize}
        super().__init__(params, options)

    def update(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """One parameter's step; the last gradient and the step sizes are kept as "prev" and "step_size"."""
        state["step"] += 1
        (down, up), (least, most) = group["etas"], group["step_sizes"]
        options = {"down": down, "up": up, "least": least, "most": most, "maximize": group["maximize"]}
        self.apply(rprop, p, state, ["prev", "step_size"], **options)

    def start(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """A last gradient of zero, and step sizes of lr."""
        state.setdefault("step", 0)
        fill_zeros(state, p, ["prev"])
        if "step_size" not in state:
            lr = group["lr"].item() if isinstance(group["lr"], Tensor) else group["lr"]
            state["step_size"] = full_like(p.detach(), complex(lr, lr) if p.dtype.is_complex else lr)
