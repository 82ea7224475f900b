"""What the standard lets a program ask a namespace about itself."""

from __future__ import annotations

from typing import Any

from polygrad.core import Backend, creation
from polygrad.core.dtype import DTYPES, DType, default_for
from polygrad.ops.creation import isdtype

STANDARD = tuple(name for name in DTYPES if name not in ("float16", "bfloat16"))


class Info:
    """The inspection functions of one backend's namespace."""

    __slots__ = ("_backend",)

    def __init__(self, backend: Backend):
        self._backend = backend

    def __repr__(self) -> str:
        return f"<info on backend {self._backend.name!r}>"

    def _library(self) -> Any:
        """The library's own inspection functions, or None where it has none."""
        ask = getattr(self._backend.xp, "__array_namespace_info__", None)
        return None if ask is None else ask()

    def capabilities(self) -> dict[str, Any]:
        """The library's capabilities: boolean indexing, data-dependent shapes, and the largest number of dimensions."""
        library = self._library()
        found = {} if library is None else dict(library.capabilities())
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": None, **found}

    def default_device(self) -> Any:
        """The device of tensors that are made without naming one."""
        library = self._library()
        return None if library is None else library.default_device()

    def default_dtypes(self, *, device: Any = None) -> dict[str, DType]:
        """The data types of tensors that are made without naming one, on any device."""
        return {
            "real floating": default_for("floating"),
            "complex floating": default_for("complex"),
            "integral": default_for("integer"),
            "indexing": default_for("integer"),
        }

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, DType]:
        """The standard's data types that a device of the library has, of one kind, several, or all.

        Raises ValueError for an unknown kind.
        """
        library = self._library()
        names = STANDARD if library is None else library.dtypes(device=device)
        found = {name: DTYPES[name] for name in STANDARD if name in names}
        if kind is None:
            return found
        return {name: d for name, d in found.items() if isdtype.on(self._backend, d, kind)}

    def devices(self) -> tuple[Any, ...]:
        """The library's devices."""
        return tuple(self._backend.devices())


@creation
def __array_namespace_info__(backend):
    """The inspection functions of the namespace."""
    return Info(backend)
