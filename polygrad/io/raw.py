"""Tensors from bytes, and bytes of tensors: little-endian, rows last, as all the formats have it."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from polygrad.core import Tensor
from polygrad.core.dtype import DTYPES
from polygrad.ops.creation import tensor, zeros
from polygrad.ops.indexing import where

__all__ = ["decode", "encode", "replaced"]

LETTERS: dict[str, Any] = {
    "bool": "?",
    "int8": "b",
    "int16": "h",
    "int32": "i",
    "int64": "q",
    "uint8": "B",
    "uint16": "H",
    "uint32": "I",
    "uint64": "Q",
    "float32": "f",
    "float64": "d",
}
if sys.byteorder != "little":
    raise ImportError("polygrad.io reads and writes little-endian numbers; this machine is big-endian")


def decode(data: memoryview, name: str, shape: tuple[int, ...], device: Any = None) -> Tensor:
    """A tensor of the default backend from the bytes of its elements; the caller has checked that they are as many as it takes.

    bfloat16 becomes float32 where the backend has no such type.
    """
    if not data:
        return zeros(shape, dtype="float32" if name == "bfloat16" else name, device=device)
    if name in LETTERS:
        return tensor(data.cast(LETTERS[name]), dtype=name, device=device).reshape(shape)
    if name in ("complex64", "complex128"):
        parts = tensor(data.cast("f" if name == "complex64" else "d"), device=device).reshape((*shape, 2))
        return (parts[..., 0] + parts[..., 1] * 1j).to(DTYPES[name])
    wide = bytearray(2 * len(data))
    if name == "bfloat16":  # the upper half of a float32
        wide[2::4], wide[3::4] = data[0::2], data[1::2]
        x = tensor(memoryview(wide).cast("f"), device=device).reshape(shape)
        try:
            return x.to(DTYPES[name])
        except (TypeError, ValueError, AttributeError, RuntimeError):
            return x
    wide[0::4], wide[1::4] = data[0::2], data[1::2]
    bits = tensor(memoryview(wide).cast("i"), dtype="int32", device=device).reshape(shape)
    fraction, exponent = (bits % 1024).to(DTYPES["float32"]), bits // 1024 % 32
    powers = tensor([0.0, *(2.0 ** (e - 25) for e in range(1, 31)), math.inf], dtype="float32", device=device)
    normal = where(exponent == 31, where(fraction > 0, math.nan, math.inf), (fraction + 1024) * powers[exponent])
    size = where(exponent == 0, fraction * 2.0**-24, normal)
    return where(bits >= 32768, -size, size).to(DTYPES[name])


def encode(x: Tensor) -> bytes:
    """The bytes of a tensor's elements."""
    if x.dtype.name == "bfloat16":
        wide = x.detach().float().numpy().tobytes()
        half = bytearray(len(wide) // 2)
        half[0::2], half[1::2] = wide[2::4], wide[3::4]
        return bytes(half)
    return x.detach().numpy().tobytes()


@contextmanager
def replaced(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` at the end of the `with` block, whole or not at all.

    It is written beside it, brought to the disk (fsync) and renamed, so a crash at any moment leaves either the old file or the new.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(beside, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Bring a rename to the disk, where folders can be opened for that (not on Windows)."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:  # a file system without it
        pass
    finally:
        os.close(handle)
