"""Adafactor: second moments of matrices by their rows and columns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from polygrad.core import Tensor
from polygrad.optim.optimizer import Optimizer, check_options, fill_zeros

__all__ = ["Adafactor", "adafactor", "adafactor_vector"]


def adafactor(xp, p, g, rows, columns, rho, forget, shrink, /, *, eps1, eps2, d):
    """(p, rows, columns) after a step for an array of two axes or more.

    rho is the relative step size, forget = t^beta2_decay the weight of the newest square, and shrink the factor of p for weight
    decay, or None.
    """
    size = _rms(xp, p)
    square = g * g
    rows = rows + forget * (xp.mean(square, axis=-1, keepdims=True) - rows)
    columns = columns + forget * (xp.mean(square, axis=-2, keepdims=True) - columns)
    v = rows * columns / xp.maximum(xp.mean(rows, axis=-2, keepdims=True), eps1)
    return _step(xp, p, g, v, rho * xp.maximum(size, eps2), shrink, eps1, d), rows, columns


def adafactor_vector(xp, p, g, v, rho, forget, shrink, /, *, eps1, eps2, d):
    """(p, v) after a step for a vector, whose squares are kept as they are; arguments as of `adafactor`."""
    size = _rms(xp, p)
    v = v + forget * (g * g - v)
    return _step(xp, p, g, v, rho * xp.maximum(size, eps2), shrink, eps1, d), v


def _step(xp, p, g, v, alpha, shrink, eps1, d):
    u = g / xp.sqrt(xp.maximum(v, eps1 * eps1))
    u = u / xp.maximum(_rms(xp, u) / d, 1.0)
    return (p if shrink is None else p * shrink) - alpha * u


def _rms(xp, x):
    return xp.sqrt(xp.mean(x * x))


class Adafactor(Optimizer):
    """Adafactor (Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear memory cost", 2018).

    As in PyTorch, the relative step size is min(lr, 1 / sqrt(t)), and squares enter with weight t^beta2_decay.

    Args:
        params: parameters or parameter groups.
        lr: bound of the relative step size.
        beta2_decay: power of t; not positive.
        eps: the least second moment's root (None: the type's eps) and the least size of a parameter.
        d: updates of a greater root mean square are scaled down to it.
        weight_decay: factor of decoupled decay.
        foreach: how PyTorch runs the loop; no effect.
        maximize: go uphill.

    Raises:
        ValueError: an option out of its range.
        RuntimeError: a complex parameter.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ):
        check_options(lr=lr, weight_decay=weight_decay)
        for name, wrong, value in [
            ("beta2_decay should be <= 0", not beta2_decay <= 0, beta2_decay),
            ("epsilon1 should be >= 0", eps[0] is not None and not eps[0] >= 0, eps[0]),
            ("epsilon2 should be >= 0", not eps[1] >= 0, eps[1]),
            ("Clipping threshold d should be >= 1", not d >= 1, d),
        ]:
            if wrong:
                raise ValueError(f"{name} but is: {value}")
        options = {"lr": lr, "beta2_decay": beta2_decay, "eps": tuple(eps), "d": d}
        super().__init__(params, {**options, "weight_decay": weight_decay, "maximize": maximize})

    def update(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """One parameter's step; second moments are kept as "row_var" and "col_var", or as "variance"."""
        state["step"] += 1
        t, lr, decay, (eps1, eps2) = state["step"], group["lr"], group["weight_decay"], group["eps"]
        relative = 1 / t**0.5
        matrix = len(p.shape) > 1
        self.apply(
            adafactor if matrix else adafactor_vector,
            p,
            state,
            ["row_var", "col_var"] if matrix else ["variance"],
            lr if lr <= relative else relative,
            t ** group["beta2_decay"],
            1 - lr * decay if decay else None,
            eps1=p._backend.tensors.finfo(p.dtype).eps if eps1 is None else eps1,
            eps2=eps2,
            d=group["d"],
            maximize=group["maximize"],
        )

    def start(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Second moments of zero."""
        if p.dtype.is_complex:
            raise RuntimeError("Adafactor does not support complex parameters")
        state.setdefault("step", 0)
        shape = p.shape
        parts = {"row_var": (*shape[:-1], 1), "col_var": (*shape[:-2], 1, *shape[-1:])}
        for name, size in parts.items() if len(shape) > 1 else ():
            if name not in state:
                state[name] = p._backend.tensors.zeros(size, dtype=p.dtype, device=p.device)
        if len(shape) <= 1:
            fill_zeros(state, p, ["variance"])
