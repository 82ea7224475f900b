"""The safetensors format: named tensors in one file, without any code in it.

A file is an unsigned little-endian 64-bit length, a JSON header of that length (name -> dtype, shape, place) and the raw bytes
(https://huggingface.co/docs/safetensors, format of 2022), in which each tensor follows the one before it.
"""

from __future__ import annotations

import json
import mmap
import struct
from collections.abc import Mapping
from os import PathLike
from typing import Any

from polygrad.core import Tensor
from polygrad.io.raw import decode, encode, replaced
from polygrad.io.unpickler import Refused

__all__ = ["load_file", "load_metadata", "parse", "save_file"]

# the format's name of a type -> (polygrad's name, bytes)
TYPES = {
    "BOOL": ("bool", 1),
    "I8": ("int8", 1),
    "I16": ("int16", 2),
    "I32": ("int32", 4),
    "I64": ("int64", 8),
    "U8": ("uint8", 1),
    "U16": ("uint16", 2),
    "U32": ("uint32", 4),
    "U64": ("uint64", 8),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "F32": ("float32", 4),
    "F64": ("float64", 8),
    "C64": ("complex64", 8),
}
METADATA = "__metadata__"
# A byte of JSON can cost a hundred of Python's: room for 40,000 tensors, in 64 MiB of memory.
HEADER, MARKS = 8 * 2**20, 400_000


def load_file(path: str | PathLike[str], device: Any = None) -> dict[str, Tensor]:
    """The tensors of a file by name, on the default backend; bfloat16 as float32 where that lacks it.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not in the format, or has a data type that polygrad lacks.
    """
    data = _mapped(path)
    try:
        return parse(data, device)
    except Refused as error:
        raise Refused(f"{path}: {error}") from None


def load_metadata(path: str | PathLike[str]) -> dict[str, str]:
    """The notes of a file's writer. Raises as `load_file`."""
    return dict(_header(_mapped(path))[0].get(METADATA, {}))


def _mapped(path: str | PathLike[str]) -> memoryview:
    with open(path, "rb") as file:
        try:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except ValueError:  # an empty file
            return memoryview(file.read())


def parse(data: memoryview, device: Any = None) -> dict[str, Tensor]:
    """The tensors of a file's bytes by name, made once all entries have been checked. Raises Refused."""
    header, body = _header(data)
    entries = {name: _entry(name, entry, body) for name, entry in header.items() if name != METADATA}
    place = 0
    for name, (_, _, start, stop) in sorted(entries.items(), key=lambda item: item[1][2:]):
        if start != place:
            raise Refused(f"{name!r} begins at byte {start}, not at {place} where the tensor before it ends")
        place = stop
    if place != len(body):
        raise Refused(f"the tensors end at byte {place} of {len(body)}")
    return {name: decode(body[start:stop], kind, shape, device) for name, (kind, shape, start, stop) in entries.items()}


def _header(data: memoryview) -> tuple[dict[str, Any], memoryview]:
    length = struct.unpack("<Q", data[:8])[0] if len(data) >= 8 else 0
    header = None
    if 0 < length <= len(data) - 8:
        text = bytes(data[8 : 8 + min(length, HEADER + 1)])
        if len(text) > HEADER or sum(map(text.count, (b"{", b"[", b","))) > MARKS:
            raise Refused("its header is larger than tensors need")
        try:
            header = json.loads(text, object_pairs_hook=_unique)
        except (ValueError, RecursionError):
            header = None
    if not isinstance(header, dict):
        raise Refused("is not a safetensors file")
    return header, data[8 + length :]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name stands twice")
    return made


def _entry(name: str, entry: Any, body: memoryview) -> tuple[str, tuple[int, ...], int, int]:
    try:
        kind, shape, (start, stop) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        numbers = all(type(n) is int and n >= 0 for n in (*shape, start, stop))
    except (KeyError, TypeError, ValueError):
        numbers = False
    if not numbers:
        raise Refused(f"the entry of {name[:200]!r} is not in the safetensors format: {str(entry)[:200]}")
    if not isinstance(kind, str) or kind not in TYPES:
        raise Refused(f"{name!r} has data type {str(kind)[:50]}; readable are {', '.join(TYPES)}")
    dtype, size = TYPES[kind]
    empty = 0 in shape
    for n in shape:
        size *= n if n or not empty else 1
    if (
        len(shape) > 64
        or (empty and size > 2**40)
        or not start <= stop <= len(body)
        or stop - start != (0 if empty else size)
    ):
        raise Refused(f"{name!r} of type {kind} and shape {shape} has bytes {start} to {stop} of {len(body)}")
    return dtype, shape, start, stop


def save_file(
    tensors: Mapping[str, Tensor], path: str | PathLike[str], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors by name, for example a `state_dict`, with notes of the writer's own in `metadata`.

    A file that is there is replaced when the new one is whole and on the disk.

    Raises:
        TypeError: something that is no Tensor, or a data type that the format lacks.
    """
    kinds = {dtype: kind for kind, (dtype, _) in TYPES.items()}
    header: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    place = 0
    for name, x in tensors.items():
        if not isinstance(x, Tensor) or x.dtype.name not in kinds:
            what = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise TypeError(f"{name!r} is of type {what}; writable are Tensors of {', '.join(kinds)}")
        stop = place + x.numel() * x.dtype.itemsize
        header[name] = {"dtype": kinds[x.dtype.name], "shape": list(x.shape), "data_offsets": [place, stop]}
        place = stop
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with replaced(path) as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for x in tensors.values():
            file.write(encode(x))
