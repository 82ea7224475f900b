"""What the hooks share that compute a weight before each call of its module."""

from __future__ import annotations

from typing import Any

from polygrad.nn.module import Module
from polygrad.nn.parameter import Parameter

__all__ = ["WeightHook", "removed", "unused"]


class WeightHook:
    """Computes the weight before each call of the module, from what is kept under `<name>_...`.

    Attributes:
        name: the weight.
        kind: what it is called in messages.
        endings: of the names of what is kept.
    """

    kind: str
    endings: tuple[str, ...]

    def __init__(self, name: str):
        self.name = name

    def weight(self, module: Module, training: bool) -> Any:
        """The weight; in training, what is kept may change."""
        raise NotImplementedError

    def __call__(self, module: Module, args: Any) -> None:
        setattr(module, self.name, self.weight(module, module.training))


def _place(module: Module, kind: type[WeightHook], name: str) -> int | None:
    for key, (hook, _) in module._forward_pre_hooks.items():
        if isinstance(hook, kind) and hook.name == name:
            return key
    return None


def unused(module: Module, kind: type[WeightHook], name: str) -> None:
    """Raise RuntimeError where a weight has such a hook."""
    if _place(module, kind, name) is not None:
        raise RuntimeError(f"Cannot register two {kind.kind} hooks on the same parameter {name}")


def removed(module: Module, kind: type[WeightHook], name: str) -> Module:
    """The module with an ordinary parameter in place of a computed weight. Raises ValueError where there is no such hook."""
    key = _place(module, kind, name)
    if key is None:
        raise ValueError(f"{kind.kind} of '{name}' not found in {module}")
    hook: Any = module._forward_pre_hooks.pop(key)[0]
    value = hook.weight(module, False).detach()
    for ending in ("", *kind.endings):
        delattr(module, name + ending)
    setattr(module, name, Parameter(value))
    return module
