"""What goes wrong while a function is captured, told with the line of the user's program."""

from __future__ import annotations

import linecache
import sys
from typing import Any

__all__ = ["TraceError", "WAY_OUT", "is_polygrad", "user_line"]

WAY_OUT = (
    "Inside polygrad.jit a tensor has no value until the compiled program runs. Choose between values with polygrad.where, between "
    "computations with polygrad.cond, repeat with polygrad.while_loop; or return the tensor and look at it outside."
)


class TraceError(RuntimeError):
    """A function does something that a compiled program cannot do. Every tensor is as it was before the call."""


def is_polygrad(module: str) -> bool:
    """True for modules of polygrad and its adapters."""
    return module.partition(".")[0] == "polygrad" or module.startswith("polygrad_")


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
