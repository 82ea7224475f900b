"""`save` and `load`: nests of tensors and plain values in files."""

from __future__ import annotations

import mmap
import os
import struct
from typing import Any

from polygrad.io.archive import read_legacy, read_zip
from polygrad.io.pickler import write_zip
from polygrad.io.raw import replaced
from polygrad.io.safetensors import parse
from polygrad.io.unpickler import Refused

__all__ = ["load", "save"]


def save(obj: Any, f: Any) -> None:
    """Write a nest of tensors, numbers, text, lists, tuples, dicts and sets, for example a `state_dict`.

    The file is in PyTorch's zip format, which `torch.load` reads. A file that is there is replaced when the new one is whole and on
    the disk; a crash at any moment leaves one or the other.

    Args:
        obj: the nest.
        f: a path, or a binary file that is open for writing.

    Raises:
        TypeError: the nest holds something else, such as a function or a Module.
    """
    if isinstance(f, str | os.PathLike):
        with replaced(f) as file:
            write_zip(obj, file)
    else:
        write_zip(obj, f)


def load(f: Any, map_location: Any = None, *, weights_only: bool = True) -> Any:
    """What `save` or PyTorch's `torch.save` wrote (zip or legacy format), or the tensors of a safetensors file by name.

    Nothing in the file is executed: it may name tensors and plain containers only. Tensors come on the default backend; bfloat16
    as float32 where that lacks it.

    Args:
        f: a path, or a binary file that is open for reading.
        map_location: the device for the tensors.
        weights_only: there is no other way.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is broken, of another format (TorchScript, pickles of objects), or names something that is not data.
    """
    if not weights_only:
        raise ValueError("polygrad.load executes nothing that a file asks for, so weights_only=False is not offered")
    if callable(map_location) or isinstance(map_location, dict):
        raise ValueError("map_location is a device here")
    if isinstance(f, str | os.PathLike):
        with open(f, "rb") as file:
            return _read(mapped(file), os.fspath(f), map_location)
    return _read(mapped(f), getattr(f, "name", "the file"), map_location)


def mapped(file: Any) -> memoryview:
    """The bytes of an open file, mapped into memory; those of other file objects are read."""
    try:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError, AttributeError):  # an empty file, or none of the operating system's
        return memoryview(file.read())


def _read(data: memoryview, name: Any, device: Any) -> Any:
    start = bytes(data[:16])
    try:
        if start[:4] == b"PK\x03\x04":
            return read_zip(data, device)
        if start[:1] == b"\x80":
            return read_legacy(data, device)
        if start[8:9] == b"{":
            return parse(data, device)
    except Refused as error:
        raise Refused(f"{name}: {error}") from None
    except (struct.error, IndexError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise Refused(f"{name} is broken: {type(error).__name__}: {error}") from None
    raise Refused(f"{name} is no file of PyTorch's, of polygrad's or of safetensors")
