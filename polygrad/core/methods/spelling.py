"""What the method files share: PyTorch's spellings of axes and sizes."""

from __future__ import annotations

from typing import Any

__all__ = ["axes", "sizes"]


def axes(dim: Any) -> Any:
    """The axes that PyTorch's `dim` names, which may be a list."""
    return tuple(dim) if isinstance(dim, list) else dim


def sizes(size: tuple[Any, ...]) -> tuple[int, ...]:
    """The sizes of `f(2, 3)` and of `f((2, 3))`."""
    return tuple(size[0]) if len(size) == 1 and isinstance(size[0], tuple | list) else size
