"""Capture a function in one compiled program: `jit`, and control flow that depends on values."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from polygrad.core.later import later

if TYPE_CHECKING:
    from polygrad.jit.control import cond, while_loop
    from polygrad.jit.errors import TraceError
    from polygrad.jit.function import Jitted, Stats

__all__ = ["Jitted", "Stats", "TraceError", "cond", "jit", "while_loop"]

_LATER = {"cond": "control", "while_loop": "control", "TraceError": "errors", "Jitted": "function", "Stats": "function"}
__getattr__, __dir__ = later(globals(), _LATER)


def jit(
    function: Callable[..., Any] | None = None,
    *,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
    donate_argnums: int | Sequence[int] = (),
    donate: bool = True,
) -> Any:
    """A function that does what `function` does, in one compiled program where the backend has a compiler.

    The first call with arguments of some form runs the function once on stand-ins and learns which tensors it reads from
    outside, which it gives another value, and what it puts into attributes and dicts; parameters, buffers, gradients, the
    optimizer's state and the random generator need not be passed. Each call then runs one program on what the boxes hold, and
    puts the new values into them. Another shape, dtype, constant or structure makes another program; another learning rate, step
    count or number among the arguments does not. Works on methods, on Modules and as a decorator, with or without options.

    Where the backend has no compiler the function runs as it is. With the environment variable POLYGRAD_JIT_STRICT=1 it then
    raises the errors that a compiler would.

    Python code runs when a program is made, not in each call: what it prints, draws from Python's `random` or reads from a clock, a
    file or the environment stays as it was. Results do not carry the graph that was recorded inside: `backward` belongs inside the
    function. Hooks that were registered outside run as in eager code; whoever registers one later makes another program. What is
    seen of a change between calls, and what is refused, is told in docs/jit.md.

    A gradient that is there after a call costs memory and time: where nobody looks at it, let `zero_grad()` be the function's last
    line instead of its first. Copies and pickles of a compiled function make programs of their own.

    Args:
        function: takes and returns nests of tensors (lists, tuples, dicts, dataclasses); numbers and arrays among the arguments
            may differ in each call, everything else is a constant. Arrays come in as tensors.
        static_argnums, static_argnames: arguments, by position or name, that are constants although they are numbers.
        donate_argnums: positions of tensors whose memory may be used for results; do not use those tensors again.
        donate: let the program write new values over the old ones of the boxes that get them. An array that somebody else
            holds as well is copied first.

    Raises (when called):
        TraceError: the function needs the value of a tensor, or does what cannot be done again in later calls. Every tensor and
            container is as it was before the call.

    An object with a method `prepare_jit` that the function reaches is asked before it is captured: it makes what it would make
    in its first use, and returns the places, as (dict, key), of Python numbers that change from call to call.
    """
    options = {
        "static_argnums": static_argnums,
        "static_argnames": static_argnames,
        "donate_argnums": donate_argnums,
        "donate": donate,
    }
    jitted = __getattr__("Jitted")
    return partial(jitted, **options) if function is None else jitted(function, **options)
