"""Weight normalisation by a hook, under the names of older checkpoints: `weight_g` and `weight_v`."""

from __future__ import annotations

from typing import Any

from polygrad.nn.module import Module
from polygrad.nn.parameter import Parameter
from polygrad.nn.utils.parametrizations import norm_except

__all__ = ["remove_weight_norm", "weight_norm"]


class _Hook:
    """Computes the weight before each call of the module."""

    def __init__(self, name: str, dim: int | None):
        self.name, self.dim = name, dim

    def weight(self, module: Module) -> Any:
        g, v = getattr(module, self.name + "_g"), getattr(module, self.name + "_v")
        return v * (g / norm_except(v, self.dim))

    def __call__(self, module: Module, args: Any) -> None:
        setattr(module, self.name, self.weight(module))


def _hook_of(module: Module, name: str) -> tuple[int, _Hook] | None:
    for key, (hook, _) in module._forward_pre_hooks.items():
        if isinstance(hook, _Hook) and hook.name == name:
            return key, hook
    return None


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Train the norm `<name>_g` and the direction `<name>_v` of a weight apart (Salimans and Kingma, 2016); returns the module.

    `nn.utils.parametrizations.weight_norm` does the same under newer names.

    Args:
        name: the parameter.
        dim: a norm for each position along this axis; None for one norm.

    Raises:
        RuntimeError: a parameter that has this already.
    """
    if _hook_of(module, name) is not None:
        raise RuntimeError(f"Cannot register two weight_norm hooks on the same parameter {name}")
    weight = module.get_parameter(name)
    hook = _Hook(name, dim)
    delattr(module, name)
    module.register_parameter(name + "_g", Parameter(norm_except(weight.detach(), dim)))
    module.register_parameter(name + "_v", Parameter(weight.detach()))
    setattr(module, name, hook.weight(module))
    module.register_forward_pre_hook(hook)
    return module


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Make the weight an ordinary parameter again, with its value. Raises ValueError where there is nothing to remove."""
    found = _hook_of(module, name)
    if found is None:
        raise ValueError(f"weight_norm of '{name}' not found in {module}")
    key, hook = found
    value = hook.weight(module).detach()
    delattr(module, name)
    del module._parameters[name + "_g"], module._parameters[name + "_v"], module._forward_pre_hooks[key]
    setattr(module, name, Parameter(value))
    return module
