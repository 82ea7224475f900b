"""Spectral normalisation by a hook, under the names of older checkpoints: `weight_orig`, `weight_u` and `weight_v`."""

from __future__ import annotations

from typing import Any

from polygrad.nn.functional.norm import normalize_vectors
from polygrad.nn.module import Module
from polygrad.nn.utils.parametrizations import as_matrix, power_iteration
from polygrad.nn.utils.weight_hooks import WeightHook, removed, unused
from polygrad.ops.products import matmul
from polygrad.ops.reductions import sum as sum_of

__all__ = ["remove_spectral_norm", "spectral_norm"]


class _Hook(WeightHook):
    """The weight over an estimate of its largest singular value, from the power method."""

    kind, endings = "spectral_norm", ("_orig", "_u", "_v")

    def __init__(self, name: str, times: int, dim: int, eps: float):
        super().__init__(name)
        self.times, self.dim, self.eps = times, dim, eps

    def weight(self, module: Module, training: bool) -> Any:
        weight, u, v = (getattr(module, self.name + end) for end in ("_orig", "_u", "_v"))
        matrix = as_matrix(weight, self.dim)
        if training:
            m = matrix.detach()
            for _ in range(self.times):  # this order, v first, is that of the checkpoints
                v = normalize_vectors(matmul(m.swapaxes(0, 1), u.detach()), dim=0, eps=self.eps)
                u = normalize_vectors(matmul(m, v), dim=0, eps=self.eps)
            getattr(module, self.name + "_u").data, getattr(module, self.name + "_v").data = u, v
        return weight / sum_of(u.detach() * matmul(matrix, v.detach()))


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """Divide a weight by an estimate of its largest singular value (Miyato et al., 2018); returns the module.

    `nn.utils.parametrizations.spectral_norm` does the same under newer names.

    Args:
        name: the parameter, which becomes `<name>_orig`; `<name>_u` and `<name>_v` are buffers.
        n_power_iterations: steps of the power method before each call in training.
        eps: norms count as at least this.
        dim: the axis of the matrix's rows, by default 0, and 1 for transposed convolutions.

    Raises:
        RuntimeError: a parameter that has this already.
        ValueError: steps that are not positive.
    """
    unused(module, _Hook, name)
    if n_power_iterations <= 0:
        raise ValueError(f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}")
    if dim is None:
        dim = 1 if type(module).__name__.startswith("ConvTranspose") else 0
    weight = module.get_parameter(name)
    matrix = as_matrix(weight.detach(), dim)
    u, v = (normalize_vectors(matrix.new_zeros((n,)).normal_(), dim=0, eps=eps) for n in matrix.shape)
    u, v = power_iteration(matrix, u, v, 1, eps)
    hook = _Hook(name, n_power_iterations, dim, eps)
    delattr(module, name)
    module.register_parameter(name + "_orig", weight)
    module.register_buffer(name + "_u", u)
    module.register_buffer(name + "_v", v)
    setattr(module, name, weight.detach())
    module.register_forward_pre_hook(hook)
    return module


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Make the weight an ordinary parameter again, with its value. Raises ValueError where there is nothing to remove."""
    return removed(module, _Hook, name)
