"""What goes wrong while a function is captured, told with the line of the user's program."""

from __future__ import annotations

import functools
import linecache
import re
import sys
import types
from typing import Any

__all__ = ["TraceError", "WAY_OUT", "is_library", "is_polygrad", "user_line"]

WAY_OUT = (
    "Inside polygrad.jit a tensor has no value until the compiled program runs. Choose between values with polygrad.where, between "
    "computations with polygrad.cond, repeat with polygrad.while_loop; or return the tensor and look at it outside."
)

INSTALLED = {"site-packages", "dist-packages"}  # folders


class TraceError(RuntimeError):
    """A function does something that a compiled program cannot do. Every tensor is as it was before the call."""


def is_polygrad(module: str) -> bool:
    """True for modules of polygrad and its adapters."""
    return module.partition(".")[0] == "polygrad" or module.startswith("polygrad_")


@functools.cache
def is_library(module: str) -> bool:
    """True for modules of the standard library, and for what is installed and does not use polygrad."""
    if module == "__main__" or is_polygrad(module):
        return False
    if module.partition(".")[0] in sys.stdlib_module_names:
        return True
    found = sys.modules.get(module)
    file = None if found is None else found.__dict__.get("__file__")
    if not isinstance(file, str) or INSTALLED.isdisjoint(re.split(r"[/\\]", file)):
        return False
    return not any(is_polygrad(_home(value)) for value in list(found.__dict__.values()))


def _home(value: Any) -> str:
    """The module that a value is or comes from, where that can be told without running code of the value."""
    if isinstance(value, types.ModuleType):
        name = value.__dict__.get("__name__")
    else:
        name = getattr(value, "__module__", None) if type(value) in (type, types.FunctionType) else None
    return name if isinstance(name, str) else ""


def user_line() -> str:
    """Where the user's program stands: file, line, function and source of the innermost frame that is not ours."""
    frame: Any = sys._getframe(1)
    while frame.f_back is not None:
        module = frame.f_globals.get("__name__", "")
        if not is_polygrad(module) and (
            module == "__main__" or module.partition(".")[0] not in sys.stdlib_module_names
        ):
            break
        frame = frame.f_back
    code = frame.f_code
    source = linecache.getline(code.co_filename, frame.f_lineno).strip()
    return f"{code.co_filename}:{frame.f_lineno} in {code.co_name}" + (f": `{source}`" if source else "")
