"""What the method files share: PyTorch's spellings of axes and sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polygrad.core.dtype import DType

__all__ = ["Described", "axes", "sizes"]


class Described:
    """What every method file may ask of the tensor."""

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def shape(self) -> tuple[int, ...]:
            """Sizes of the axes."""

        @property
        def ndim(self) -> int:
            """Number of axes."""

        @property
        def dtype(self) -> DType:
            """The data type."""

        @property
        def device(self) -> Any:
            """Where the values are, in the library's terms."""


def axes(dim: Any) -> Any:
    """The axes that PyTorch's `dim` names, which may be a list."""
    return tuple(dim) if isinstance(dim, list) else dim


def sizes(size: tuple[Any, ...]) -> tuple[int, ...]:
    """The sizes of `f(2, 3)` and of `f((2, 3))`."""
    return tuple(size[0]) if len(size) == 1 and isinstance(size[0], tuple | list) else size
