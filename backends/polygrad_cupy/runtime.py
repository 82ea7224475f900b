"""What cuDNN's calls and the kernels need of the library whose arrays they work on, and nothing of it is imported here."""

from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["Runtime", "current", "use"]


class Runtime(Protocol):
    """A library of arrays on CUDA devices."""

    def takes(self, *arrays: Any) -> bool:
        """Whether all are arrays of one dtype on the current device, with elements."""

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """A new C-contiguous array."""

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """A new C-contiguous array of zeros."""

    def like(self, array: Any) -> Any:
        """A new array of this shape and dtype, with its axes in the same order in memory."""

    def contiguous(self, array: Any) -> Any:
        """The array, or a copy of it, C-contiguous."""

    def memory(self, size: int) -> Any:
        """Bytes of the library's memory pool; the address is its attribute `ptr`. MemoryError where there are not so many."""

    def device(self) -> int:
        """The number of the current device."""

    def stream(self) -> int:
        """The address of the current stream."""

    def elementwise(self, inputs: str, outputs: str, body: str, name: str) -> Callable[..., Any]:
        """A kernel that runs this C++ for each element; the arguments are those of CuPy's ElementwiseKernel."""

    def reduction(self, inputs: str, output: str, body: str, number: str, name: str) -> Callable[..., Any]:
        """A kernel that adds up this C++ expression, in the C++ type `number`, over `axis`, with `keepdims`."""


_current: list[Runtime] = []


def use(runtime: Runtime) -> None:
    """Work on the arrays of this library from now on."""
    _current[:] = [runtime]


def current() -> Runtime:
    """The library that was handed to `use`."""
    return _current[0]
