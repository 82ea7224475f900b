"""Capture a function in one compiled program: `jit`, and control flow that depends on values."""

from polygrad.jit.control import cond, while_loop
from polygrad.jit.errors import TraceError
from polygrad.jit.function import Jitted, Stats, jit

__all__ = ["Jitted", "Stats", "TraceError", "cond", "jit", "while_loop"]
