"""Modules without initial values, for those who fill them at once."""

from __future__ import annotations

import inspect
from typing import Any

from polygrad.nn import init
from polygrad.nn.module import Module

__all__ = ["skip_init"]


def skip_init(module_cls: type[Module], *args: Any, **kwargs: Any) -> Any:
    """`module_cls(*args, **kwargs)`, but what `nn.init` would fill keeps the values of `empty`; no random number is drawn.

    Raises:
        RuntimeError: a class that is no Module, or does not take a `device`.
    """
    if not (isinstance(module_cls, type) and issubclass(module_cls, Module)):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    with init.left_out():
        return module_cls(*args, **kwargs)
