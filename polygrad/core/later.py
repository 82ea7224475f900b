"""Names of a package that are fetched from their modules when somebody first asks for them.

Layers, optimizers, files, gradient checks and the like take longer to load than all that a program needs which only
computes. A package says where such names are by `__getattr__, __dir__ = later(globals(), {...})`. Type checkers read the
same names from imports under `if TYPE_CHECKING:`; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = ["later"]


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
