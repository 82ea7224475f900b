"""The safetensors format: named tensors in one file, without any code in it.

A file is an unsigned little-endian 64-bit length, a JSON header of that length (name -> dtype, shape, place) and the raw bytes
(https://huggingface.co/docs/safetensors, format of 2022).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from polygrad.core import Tensor
from polygrad.ops.creation import tensor, zeros

__all__ = ["load_file", "save_file"]

# the format's name of a type -> (polygrad's name, the struct module's letter)
TYPES = {
    "BOOL": ("bool", "?"),
    "I8": ("int8", "b"),
    "I16": ("int16", "h"),
    "I32": ("int32", "i"),
    "I64": ("int64", "q"),
    "U8": ("uint8", "B"),
    "U16": ("uint16", "H"),
    "U32": ("uint32", "I"),
    "U64": ("uint64", "Q"),
    "F32": ("float32", "f"),
    "F64": ("float64", "d"),
}
METADATA = "__metadata__"


def load_file(path: str | PathLike[str], device: Any = None) -> dict[str, Tensor]:
    """The tensors of a file by name, on the default backend.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not in the format, or has a data type other than bool, integers, float32 and float64.
    """
    data = Path(path).read_bytes()
    header, body = _header(path, data)
    return {name: _tensor(path, name, entry, body, device) for name, entry in header.items() if name != METADATA}


def _header(path: Any, data: bytes) -> tuple[dict[str, Any], memoryview]:
    length = struct.unpack("<Q", data[:8])[0] if len(data) >= 8 else 0
    try:
        header = json.loads(data[8 : 8 + length]) if 0 < length <= len(data) - 8 else None
    except ValueError:
        header = None
    if not isinstance(header, dict):
        raise ValueError(f"{path} is not a safetensors file")
    return header, memoryview(data)[8 + length :]


def _tensor(path: Any, name: str, entry: Any, body: memoryview, device: Any) -> Tensor:
    try:
        kind, shape, (start, stop) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: the entry of {name!r} is not in the safetensors format: {entry!r}") from error
    if kind not in TYPES:
        raise ValueError(f"{path}: {name!r} has data type {kind}; readable are {', '.join(TYPES)}")
    dtype, letter = TYPES[kind]
    size = struct.calcsize(letter)
    for n in shape:
        size *= n
    if not 0 <= start <= stop <= len(body) or stop - start != size:
        raise ValueError(
            f"{path}: {name!r} of type {kind} and shape {shape} has bytes {start} to {stop} of {len(body)}"
        )
    if not size:
        return zeros(shape, dtype=dtype, device=device)
    values: Any = body[start:stop]
    return tensor(values.cast(letter), dtype=dtype, device=device).reshape(shape)


def save_file(
    tensors: Mapping[str, Tensor], path: str | PathLike[str], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors by name, for example a `state_dict`, with notes of the writer's own in `metadata`.

    Raises:
        TypeError: something that is no Tensor, or a data type that the format or this writer lacks.
    """
    kinds = {dtype: kind for kind, (dtype, _) in TYPES.items()}
    header: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    parts: list[bytes] = []
    place = 0
    for name, x in tensors.items():
        if not isinstance(x, Tensor) or x.dtype.name not in kinds:
            what = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise TypeError(f"{name!r} is of type {what}; writable are Tensors of {', '.join(kinds)}")
        part = x.detach().numpy().tobytes()
        header[name] = {
            "dtype": kinds[x.dtype.name],
            "shape": list(x.shape),
            "data_offsets": [place, place + len(part)],
        }
        parts.append(part)
        place += len(part)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(b"".join([struct.pack("<Q", len(text)), text, *parts]))
