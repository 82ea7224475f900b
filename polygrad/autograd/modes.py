"""Grad modes: whether ops are recorded, per thread and per async task; each is a context manager and a decorator."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from functools import wraps
from typing import Any

from polygrad.core.tensor import current_mode, using_mode

__all__ = [
    "enable_grad",
    "inference_mode",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "no_grad",
    "set_grad_enabled",
]


class _GradMode(using_mode):
    """A mode change that also decorates functions, generators and coroutines, whose code then runs in the mode."""

    __slots__ = ()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        changes = self.changes

        @wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with using_mode(**changes):
                return function(*args, **kwargs)

        @wraps(function)
        def steps(*args: Any, **kwargs: Any) -> Any:
            return (yield from _in_mode(function(*args, **kwargs), changes))

        @wraps(function)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            with using_mode(**changes):
                return await function(*args, **kwargs)

        if inspect.isgeneratorfunction(function):
            return steps
        return awaited if inspect.iscoroutinefunction(function) else wrapped


def _in_mode(generator: Generator[Any, Any, Any], changes: dict[str, Any]) -> Generator[Any, Any, Any]:
    """A generator whose own code runs in a mode, and the code between its steps does not."""
    resume, value = generator.send, None
    while True:
        try:
            with using_mode(**changes):
                made = resume(value)
        except StopIteration as stop:
            return stop.value
        try:
            value = yield made
            resume = generator.send
        except GeneratorExit:
            with using_mode(**changes):
                generator.close()
            raise
        except BaseException as error:
            resume, value = generator.throw, error


class no_grad(_GradMode):
    """Record nothing: `with no_grad():` or `@no_grad()`. Results do not require grad."""

    __slots__ = ()

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        made = object.__new__(cls)
        if function is None:
            return made
        made.__init__()  # type: ignore[misc]
        return made(function)

    def __init__(self, function: Callable[..., Any] | None = None):
        super().__init__(grad=False)


class enable_grad(no_grad):
    """Record again, inside `no_grad`."""

    __slots__ = ()

    def __init__(self, function: Callable[..., Any] | None = None):
        using_mode.__init__(self, grad=True)


class set_grad_enabled(_GradMode):
    """Record or not, from here on in this thread or task; as a context manager, until the block ends."""

    __slots__ = ()

    def __init__(self, mode: bool):
        super().__init__(grad=bool(mode))
        self.__enter__()

    def __enter__(self) -> set_grad_enabled:
        if not self.tokens:
            super().__enter__()
        return self

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        self.__exit__()
        return super().__call__(function)


class inference_mode(_GradMode):
    """Record nothing, as in `no_grad`, and let what is made here refuse to be tracked later; a clone() of it does not refuse.

    `inference_mode(False)` leaves an inference mode around it. Unlike PyTorch's, tensors made here may be kept for backward: no
    value ever changes under a graph.
    """

    __slots__ = ()

    def __new__(cls, mode: Any = True) -> Any:
        made = object.__new__(cls)
        if isinstance(mode, bool):
            return made
        made.__init__()  # type: ignore[misc]
        return made(mode)

    def __init__(self, mode: bool = True):
        super().__init__(**({"grad": False, "inference": True} if mode else {"inference": False, "grad": True}))


def is_grad_enabled() -> bool:
    """True outside of `no_grad`."""
    mode = current_mode()
    return mode is None or mode.enabled


def is_inference_mode_enabled() -> bool:
    """True inside `inference_mode`."""
    mode = current_mode()
    return mode is not None and mode.inference
