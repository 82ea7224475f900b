"""Methods about shape, as PyTorch names them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polygrad.core.methods.operators import functions
from polygrad.core.methods.spelling import Described, axes, sizes

if TYPE_CHECKING:
    from polygrad.core.tensor import Tensor

__all__ = ["ShapeMethods"]


class ShapeMethods(Described):
    """Methods about shape, as PyTorch names them."""

    __slots__ = ()

    @property
    def T(self) -> Tensor:
        """The transpose of a matrix. Raises ValueError unless there are two axes."""
        if self.ndim != 2:
            raise ValueError(f"T is for tensors of 2 axes, this one has {self.ndim}; use mT or permute")
        return functions.matrix_transpose(self)

    @property
    def mT(self) -> Tensor:
        """The transpose of the last two axes."""
        return functions.matrix_transpose(self)

    @property
    def H(self) -> Tensor:
        """The conjugate transpose of a matrix."""
        return functions.conj(self.T)

    @property
    def mH(self) -> Tensor:
        """The conjugate transpose of the last two axes."""
        return functions.conj(functions.matrix_transpose(self))

    @property
    def size(self) -> Any:
        """The number of elements, which may also be called as PyTorch's `size()` and `size(dim)`."""
        return functions.Size(self)

    @property
    def _size(self) -> int:
        count = 1
        for n in self.shape:
            count *= n
        return count

    def numel(self) -> int:
        """The number of elements."""
        return self._size

    def nelement(self) -> int:
        """The number of elements."""
        return self._size

    def dim(self) -> int:
        """The number of axes."""
        return self.ndim

    def ndimension(self) -> int:
        """The number of axes."""
        return self.ndim

    def element_size(self) -> int:
        """Bytes of one element."""
        return self.dtype.itemsize

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self._size * self.dtype.itemsize

    def is_same_size(self, other: Tensor) -> bool:
        """True when the shapes are equal."""
        return self.shape == other.shape

    def reshape(self, *shape: Any) -> Tensor:
        """The same elements in another shape; one size may be -1."""
        return functions.reshape(self, sizes(shape))

    def view(self, *shape: Any) -> Tensor:
        """The same elements in another shape; one size may be -1. With a dtype instead: RuntimeError."""
        if len(shape) == 1 and not isinstance(shape[0], int | tuple | list):
            raise RuntimeError(
                "view(dtype) reinterprets bytes, which the Array API standard cannot; use .to(dtype) to convert"
            )
        return functions.reshape(self, sizes(shape))

    def view_as(self, other: Tensor) -> Tensor:
        """The same elements in the shape of `other`."""
        return functions.reshape(self, other.shape)

    def reshape_as(self, other: Tensor) -> Tensor:
        """The same elements in the shape of `other`."""
        return functions.reshape(self, other.shape)

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """The axes from `start_dim` to `end_dim` joined into one."""
        return functions.flatten(self, start_dim, end_dim)

    def unflatten(self, dim: int, sizes: Any) -> Tensor:
        """One axis split into several."""
        return functions.unflatten(self, dim, sizes)

    def squeeze(self, dim: Any = None) -> Tensor:
        """Without the axes of size one (or those of `dim` that have size one)."""
        return functions.squeeze_ones(self, axes(dim))

    def unsqueeze(self, dim: int) -> Tensor:
        """With a new axis of size one at `dim`."""
        return functions.expand_dims(self, axis=dim)

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        """Two axes exchanged."""
        return functions.swapaxes(self, dim0, dim1)

    def swapaxes(self, axis0: int, axis1: int) -> Tensor:
        """Two axes exchanged."""
        return functions.swapaxes(self, axis0, axis1)

    def swapdims(self, dim0: int, dim1: int) -> Tensor:
        """Two axes exchanged."""
        return functions.swapaxes(self, dim0, dim1)

    def adjoint(self) -> Tensor:
        """The conjugate transpose of the last two axes."""
        return self.mH

    def t(self) -> Tensor:
        """The transpose of a tensor of at most two axes."""
        return functions.matrix_transpose(self) if self.ndim == 2 else self  # type: ignore[return-value]

    def permute(self, *dims: Any) -> Tensor:
        """The axes in another order."""
        return functions.permute_dims(self, sizes(dims))

    def movedim(self, source: Any, destination: Any) -> Tensor:
        """Axes moved to other positions."""
        return functions.moveaxis(self, source, destination)

    def moveaxis(self, source: Any, destination: Any) -> Tensor:
        """Axes moved to other positions."""
        return functions.moveaxis(self, source, destination)

    def ravel(self) -> Tensor:
        """All elements in one axis."""
        return functions.reshape(self, (-1,))

    def expand(self, *size: Any) -> Tensor:
        """Axes of size one repeated to `size`; -1 keeps a size."""
        return functions.expand(self, sizes(size))

    def expand_as(self, other: Tensor) -> Tensor:
        """Broadcast to the shape of `other`."""
        return functions.broadcast_to(self, other.shape)

    def broadcast_to(self, shape: Any) -> Tensor:
        """Broadcast to `shape`."""
        return functions.broadcast_to(self, tuple(shape))

    def repeat(self, *repeats: Any) -> Tensor:
        """The tensor tiled `repeats` times along each axis."""
        return functions.tile(self, sizes(repeats))

    def repeat_interleave(self, repeats: Any, dim: int | None = None) -> Tensor:
        """Each element repeated along an axis."""
        return functions.repeat(self, repeats, axis=dim)

    def tile(self, *dims: Any) -> Tensor:
        """The tensor tiled along each axis."""
        return functions.tile(self, sizes(dims))

    def roll(self, shifts: Any, dims: Any = None) -> Tensor:
        """Elements rolled along axes."""
        return functions.roll(self, shifts, axis=axes(dims))

    def flip(self, *dims: Any) -> Tensor:
        """Axes reversed."""
        return functions.flip(self, axis=sizes(dims))

    def fliplr(self) -> Tensor:
        """The second axis reversed."""
        return functions.fliplr(self)

    def flipud(self) -> Tensor:
        """The first axis reversed."""
        return functions.flipud(self)

    def rot90(self, k: int = 1, dims: Any = (0, 1)) -> Tensor:
        """Turned k times by 90 degrees in the plane of two axes."""
        return functions.rot90(self, k, dims)

    def unfold(self, dimension: int, size: int, step: int) -> Tensor:
        """Windows of an axis, `step` apart: their number in its place, their `size` elements as a new last axis."""
        return functions.sliding_windows(self, dimension, size, step)

    def as_strided(self, size: Any, stride: Any, storage_offset: int = 0) -> Tensor:
        """The elements that a view of this size and these strides names, as a tensor of its own."""
        return functions.as_strided(self, size, stride, storage_offset)

    def sum_to_size(self, *size: Any) -> Tensor:
        """Summed over the axes that broadcasting from `size` would repeat."""
        return functions.sum_to_size(self, *sizes(size))

    def tensor_split(self, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
        """So many nearly equal pieces along an axis, or the pieces between the given places."""
        return functions.tensor_split(self, indices_or_sections, dim)

    def hsplit(self, indices_or_sections: Any) -> tuple[Tensor, ...]:
        """`tensor_split` along the second axis (the first of a vector) into equal pieces."""
        return functions.hsplit(self, indices_or_sections)

    def vsplit(self, indices_or_sections: Any) -> tuple[Tensor, ...]:
        """`tensor_split` along the first axis into equal pieces."""
        return functions.vsplit(self, indices_or_sections)

    def dsplit(self, indices_or_sections: Any) -> tuple[Tensor, ...]:
        """`tensor_split` along the third axis into equal pieces."""
        return functions.dsplit(self, indices_or_sections)

    def split_with_sizes(self, split_sizes: Any, dim: int = 0) -> tuple[Tensor, ...]:
        """Pieces of the given sizes along an axis."""
        return functions.split(self, split_sizes, dim)

    def split(self, split_size: Any, dim: int = 0) -> tuple[Tensor, ...]:
        """Pieces of the given size (or sizes) along an axis."""
        return functions.split(self, split_size, dim)

    def chunk(self, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
        """At most `chunks` pieces of equal size along an axis."""
        return functions.chunk(self, chunks, dim)

    def unbind(self, dim: int = 0) -> tuple[Tensor, ...]:
        """The slices along an axis."""
        return functions.unstack(self, axis=dim)

    def narrow(self, dim: int, start: int, length: int) -> Tensor:
        """The slice of `length` from `start` along an axis."""
        return functions.narrow(self, dim, start, length)

    def select(self, dim: int, index: int) -> Tensor:
        """One slice along an axis, which goes."""
        return (
            functions.take(self, index, axis=dim) if not isinstance(index, int) else functions.select(self, dim, index)
        )

    def diagonal(self, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
        """A diagonal of two axes, as the last axis."""
        return functions.linalg.diagonal(functions.moveaxis(self, (dim1, dim2), (-2, -1)), offset=offset)

    def diag(self, diagonal: int = 0) -> Tensor:
        """The matrix with a vector on a diagonal, or a diagonal of a matrix."""
        return functions.diag(self, diagonal)

    def diagflat(self, offset: int = 0) -> Tensor:
        """The matrix with all elements on a diagonal."""
        return functions.diagflat(self, offset)

    def diag_embed(self, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
        """Tensors with the last axis on a diagonal of two new axes."""
        return functions.diag_embed(self, offset, dim1, dim2)

    def tril(self, diagonal: int = 0) -> Tensor:
        """The lower triangle."""
        return functions.tril(self, k=diagonal)

    def triu(self, diagonal: int = 0) -> Tensor:
        """The upper triangle."""
        return functions.triu(self, k=diagonal)
