"""Muon: momentum, orthogonalised."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from polygrad.core import Tensor
from polygrad.optim.optimizer import Optimizer, fill_zeros

__all__ = ["Muon", "muon", "orthogonalized"]


def orthogonalized(xp, x, coefficients, eps, steps):
    """Roughly U V^T of the singular value decomposition of a matrix, by a quintic Newton-Schulz iteration.

    The singular values end between about 0.7 and 1.2. PyTorch iterates in bfloat16; here it is done in the matrix's own type.
    """
    a, b, c = coefficients
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = xp.matrix_transpose(x)
    x = x / xp.maximum(xp.sqrt(xp.sum(x * x)), eps)
    for _ in range(steps):
        gram = xp.matmul(x, xp.matrix_transpose(x))
        x = a * x + xp.matmul(b * gram + c * xp.matmul(gram, gram), x)
    return xp.matrix_transpose(x) if tall else x


def muon(xp, p, g, m, lr, shrink, /, *, momentum, nesterov, coefficients, eps, steps):
    """(p, m) after a step of size lr along the orthogonalised momentum; shrink is the factor of p for weight decay."""
    m = m + (1 - momentum) * (g - m)
    u = g + momentum * (m - g) if nesterov else m
    return p * shrink - lr * orthogonalized(xp, u, coefficients, eps, steps), m


class Muon(Optimizer):
    """Muon (Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024), for matrices.

    Biases, embeddings and other parameters should be given to another optimizer, such as AdamW.

    Args:
        params: matrices or parameter groups of them.
        lr: learning rate.
        weight_decay: factor of decoupled decay.
        momentum: decay of the average of the gradient.
        nesterov: look ahead along the momentum.
        ns_coefficients: of the Newton-Schulz iteration.
        eps: the least norm of a gradient.
        ns_steps: iterations.
        adjust_lr_fn: how lr depends on the shape (a, b): "original" (or None), sqrt(max(1, a / b)), or "match_rms_adamw",
            0.2 sqrt(max(a, b)) (Liu et al., "Muon is scalable for LLM training", 2025).

    Raises:
        ValueError: an option out of its range; a parameter that is no real matrix.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ):
        for name, value in [("Learning rate", lr), ("momentum", momentum), ("weight decay", weight_decay)]:
            if not 0.0 <= value:
                raise ValueError(f"{name} should be >= 0 but is: {value}")
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        if ns_steps >= 100:
            raise ValueError("Number of steps must be less than 100 for computational efficiency")
        if len(ns_coefficients) != 3:
            raise ValueError("Coefficients must be a tuple of exactly 3 values")
        options = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov}
        iteration = {"ns_coefficients": tuple(ns_coefficients), "eps": eps, "ns_steps": ns_steps}
        super().__init__(params, {**options, **iteration, "adjust_lr_fn": adjust_lr_fn})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add matrices with options of their own. Raises ValueError for parameters that are no real matrices."""
        super().add_param_group(param_group)
        for p in self.param_groups[-1]["params"]:
            if len(p.shape) != 2 or p.dtype.is_complex:
                self.param_groups.pop()
                raise ValueError(
                    f"Muon only supports 2D parameters whereas we found a parameter with size: {p.shape} of {p.dtype}"
                )

    def update(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """One parameter's step; the average of the gradient is kept as "momentum_buffer"."""
        a, b = p.shape
        scale = max(1, a / b) ** 0.5 if group["adjust_lr_fn"] != "match_rms_adamw" else 0.2 * max(a, b) ** 0.5
        self.apply(
            muon,
            p,
            state,
            ["momentum_buffer"],
            group["lr"] * scale,
            1 - group["lr"] * group["weight_decay"],
            momentum=group["momentum"],
            nesterov=group["nesterov"],
            coefficients=group["ns_coefficients"],
            eps=group["eps"],
            steps=group["ns_steps"],
        )

    def start(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """An average of zero."""
        fill_zeros(state, p, ["momentum_buffer"])
