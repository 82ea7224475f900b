"""What goes wrong while a function is captured, told with the line of the user's program."""

from __future__ import annotations

import linecache
import sys
from typing import Any

__all__ = ["TraceError", "WAY_OUT", "user_line"]

WAY_OUT = (
    "Inside polygrad.jit a tensor has no value until the compiled program runs. Choose between values with polygrad.where, between "
    "computations with polygrad.cond, repeat with polygrad.while_loop; or return the tensor and look at it outside."
)


class TraceError(RuntimeError):
    """A function does something that a compiled program cannot do. Every tensor is as it was before the call."""


def is_ours(module: str) -> bool:
    """True for modules of polygrad and its adapters, and of the standard library."""
    root = module.partition(".")[0]
    return root == "polygrad" or root.startswith("polygrad_") or root in sys.stdlib_module_names


def user_line() -> str:
    """Where the user's program stands: file, line, function and source of the innermost frame that is not ours."""
    frame: Any = sys._getframe(1)
    while frame is not None and is_ours(frame.f_globals.get("__name__", "")) and frame.f_back is not None:
        if frame.f_globals.get("__name__") == "__main__":
            break
        frame = frame.f_back
    code = frame.f_code
    source = linecache.getline(code.co_filename, frame.f_lineno).strip()
    return f"{code.co_filename}:{frame.f_lineno} in {code.co_name}" + (f": `{source}`" if source else "")
