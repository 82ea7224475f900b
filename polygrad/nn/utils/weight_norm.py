"""Weight normalisation by a hook, under the names of older checkpoints: `weight_g` and `weight_v`."""

from __future__ import annotations

from typing import Any

from polygrad.nn.module import Module
from polygrad.nn.parameter import Parameter
from polygrad.nn.utils.parametrizations import norm_except
from polygrad.nn.utils.weight_hooks import WeightHook, removed, unused

__all__ = ["remove_weight_norm", "weight_norm"]


class _Hook(WeightHook):
    """g * v / |v|."""

    kind, endings = "weight_norm", ("_g", "_v")

    def __init__(self, name: str, dim: int | None):
        super().__init__(name)
        self.dim = dim

    def weight(self, module: Module, training: bool) -> Any:
        g, v = getattr(module, self.name + "_g"), getattr(module, self.name + "_v")
        return v * (g / norm_except(v, self.dim))


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Train the norm `<name>_g` and the direction `<name>_v` of a weight apart (Salimans and Kingma, 2016); returns the module.

    `nn.utils.parametrizations.weight_norm` does the same under newer names.

    Args:
        name: the parameter.
        dim: a norm for each position along this axis; None for one norm.

    Raises:
        RuntimeError: a parameter that has this already.
    """
    unused(module, _Hook, name)
    weight = module.get_parameter(name)
    hook = _Hook(name, dim)
    delattr(module, name)
    module.register_parameter(name + "_g", Parameter(norm_except(weight.detach(), dim)))
    module.register_parameter(name + "_v", Parameter(weight.detach()))
    setattr(module, name, hook.weight(module, False))
    module.register_forward_pre_hook(hook)
    return module


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Make the weight an ordinary parameter again, with its value. Raises ValueError where there is nothing to remove."""
    return removed(module, _Hook, name)
