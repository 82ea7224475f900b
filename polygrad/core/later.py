"""Names of a package, and fast paths of ops, that are fetched from their modules when somebody first asks for them.

Layers, optimizers, files, gradient checks and the like take longer to load than all that a program needs which only
computes. A package says where such names are by `__getattr__, __dir__ = later(globals(), {...})`. Type checkers read the
same names from imports under `if TYPE_CHECKING:`; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = ["Later", "either", "later"]


def either(first: Callable[..., Any], second: Callable[..., Any] | None) -> Callable[..., Any]:
    """A fast path that does what `first` does, and where that declines, what `second` does."""
    if second is None:
        return first

    def chosen(*operands: Any, **params: Any) -> Any:
        result = first(*operands, **params)
        return second(*operands, **params) if result is NotImplemented else result

    chosen.__name__, chosen.__doc__ = first.__name__, first.__doc__
    return chosen


class Later:
    """The fast path of an op that a program may never use, loaded when it is first called.

    Args:
        name: the function's.
        modules: where it is; of two modules the second's is for what the first's declines.
    """

    __slots__ = ("name", "modules", "found")

    def __init__(self, name: str, modules: list[str]):
        self.name, self.modules = name, modules
        self.found: Callable[..., Any] | None = None

    def fetch(self) -> Callable[..., Any]:
        """The function."""
        functions = [getattr(import_module(module), self.name) for module in self.modules]
        return either(*functions) if len(functions) > 1 else functions[0]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        function = self.found
        if function is None:
            self.found = function = self.fetch()
        return function(*args, **kwargs)


def later(space: dict[str, Any], names: dict[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and the `__dir__` of a package that has some names on request.

    Args:
        space: the package's globals, where a name stands once it has been fetched.
        names: for each name the module below the package that has it, "module:name" where it has another name there. The
            package's own modules among these are names too, so none may have the name of something in it: whoever imports
            the module would put it in that thing's place.
    """
    package = space["__name__"]
    names = {**names, **{module: module for module in names.values() if module.isidentifier()}}

    def fetch(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        place, _, there = names[name].partition(":")
        module = import_module(f"{package}.{place}")
        space[name] = found = module if name == place else getattr(module, there or name)
        return found

    return fetch, lambda: sorted({*space, *names})
