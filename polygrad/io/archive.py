"""PyTorch's two file formats: what is in them, and the tensors made of it.

A file is mapped, not read; first everything in it is checked, its checksums too, then the tensors are made. A file that is refused
costs little more memory than its own size, and what a file asks for in pickles, names and shapes is never trusted.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

from polygrad.core import Tensor
from polygrad.core.dtype import DTYPES
from polygrad.io.names import LEGACY_MAGIC, STORAGES
from polygrad.io.raw import decode
from polygrad.io.unpickler import Name, Refused, Spec, Storage, Unpickler
from polygrad.nn.parameter import Parameter
from polygrad.ops.creation import tensor

__all__ = ["read_legacy", "read_zip"]

SPARE = 40 * 2**20  # what the values of a pickle may cost beyond the size of the file
ENTRIES = 50_000


class Entry(NamedTuple):
    """A file inside of a zip archive."""

    name: str
    start: int
    size: int
    checksum: int


# ---------------------------------------------------------------------------------------------------------- zip archives


def _directory(data: memoryview) -> tuple[int, int, int]:
    """Where the list of a zip archive's files begins and ends, and how many there are."""
    for at in range(len(data) - 22, max(-1, len(data) - 22 - 65536), -1):
        if data[at] == 0x50 and bytes(data[at : at + 4]) == b"PK\x05\x06":
            break
    else:
        raise Refused("the zip archive is cut off: it has no directory at its end")
    count, size, start = struct.unpack("<HII", data[at + 10 : at + 20])
    if (
        at >= 20 and bytes(data[at - 20 : at - 16]) == b"PK\x06\x07"
    ):  # the fields of zip64 stand in a record of their own
        (where,) = struct.unpack("<Q", data[at - 12 : at - 4])
        if where > len(data) - 56 or bytes(data[where : where + 4]) != b"PK\x06\x06":
            raise Refused("the zip archive is broken: its directory is not where it says")
        count, size, start = struct.unpack("<QQQ", data[where + 32 : where + 56])
    if start + size > at or count * 46 > size or count > ENTRIES:
        raise Refused(f"the zip archive is broken: {count} files in a directory of {size} bytes")
    return start, start + size, count


def _entries(data: memoryview) -> dict[str, Entry]:
    """The files of an archive by name, checked: stored as they are, inside of the archive, apart from each other."""
    place, end, count = _directory(data)
    found: dict[str, Entry] = {}
    for _ in range(count):
        if bytes(data[place : place + 4]) != b"PK\x01\x02" or place + 46 > end:
            raise Refused("the zip archive is broken: its directory has an entry that is none")
        flags, method = struct.unpack("<HH", data[place + 8 : place + 12])
        checksum, packed, size, *lengths = struct.unpack("<IIIHHH", data[place + 16 : place + 34])
        (header,) = struct.unpack("<I", data[place + 42 : place + 46])
        middle = place + 46 + lengths[0]
        name = bytes(data[place + 46 : middle]).decode("utf-8", "replace")
        size, packed, header = _wide(bytes(data[middle : middle + lengths[1]]), size, packed, header)
        place = middle + lengths[1] + lengths[2]
        if name.endswith("constants.pkl") or "/code/" in f"/{name}":
            raise Refused(
                "it is a TorchScript archive, which holds a program; save the state_dict of the model instead"
            )
        if flags & 1 or method or packed != size:
            raise Refused(f"{name[:200]!r} in the archive is packed or encrypted; PyTorch stores its files as they are")
        if name in found or name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or ":" in name:
            raise Refused(f"the archive has a file named {name[:200]!r} twice, or outside of itself")
        if place > end or header + 30 > len(data) or bytes(data[header : header + 4]) != b"PK\x03\x04":
            raise Refused(f"the zip archive is broken at {name[:200]!r}")
        start = header + 30 + sum(struct.unpack("<HH", data[header + 26 : header + 30]))
        if start + size > len(data):
            raise Refused(f"{name[:200]!r} in the archive has {size} bytes, more than the file")
        found[name] = Entry(name, start, size, checksum)
    last = 0
    for entry in sorted(found.values(), key=lambda e: (e.start, e.size)):
        if entry.start < last:
            raise Refused(f"{entry.name[:200]!r} in the archive overlaps another file")
        last = entry.start + entry.size
    return found


def _wide(extra: bytes, *sizes: int) -> list[int]:
    """Sizes of which those too large for 32 bits stand in the zip64 field of an entry."""
    place = 0
    while place + 4 <= len(extra):
        kind, length = struct.unpack("<HH", extra[place : place + 4])
        if kind == 1:
            wide = iter(struct.unpack(f"<{length // 8}Q", extra[place + 4 : place + 4 + length // 8 * 8]))
            return [next(wide, n) if n == 0xFFFFFFFF else n for n in sizes]
        place += 4 + length
    return list(sizes)


def _check_sums(data: memoryview, entries: dict[str, Entry]) -> None:
    for entry in entries.values():
        found = 0
        for start in range(entry.start, entry.start + entry.size, 2**20):
            found = zlib.crc32(data[start : min(start + 2**20, entry.start + entry.size)], found)
        if found != entry.checksum:
            raise Refused(f"{entry.name!r} in the archive is damaged: its checksum is wrong")


def read_zip(data: memoryview, device: Any) -> Any:
    """What a file of PyTorch's zip format holds. Raises Refused for TorchScript and all that is broken or not data."""
    entries = _entries(data)
    roots = [name.removesuffix("data.pkl") for name in entries if name == "data.pkl" or name.endswith("/data.pkl")]
    if any(name.endswith("constants.pkl") or "/code/" in f"/{name}" for name in entries):
        raise Refused(
            "the file is a TorchScript archive, which holds a program; save the state_dict of the model instead"
        )
    if len(roots) != 1:
        raise Refused("the zip archive is no file of PyTorch's: it has no data.pkl")
    root = roots[0]
    _check_sums(data, entries)
    order = entries.get(f"{root}byteorder")
    if order is not None and bytes(data[order.start : order.start + order.size]) != b"little":
        raise Refused("the file was written on a big-endian machine")
    places: dict[str, tuple[int, int]] = {}

    def find(given: Any) -> Storage:
        storage = _storage(given, 5)
        entry = entries.get(f"{root}data/{storage.key}")
        if entry is None:
            raise Refused(f"the storage {storage.key[:200]!r} is missing in the archive")
        places[storage.key] = entry.start, entry.size
        return storage

    pickled = entries[f"{root}data.pkl"]
    unpickler = Unpickler(data[pickled.start : pickled.start + pickled.size], find, len(data) - pickled.size + SPARE)
    return _made(data, unpickler.load(), places, device)


def _storage(given: Any, length: int) -> Storage:
    """The Storage of a persistent id: ("storage", class, key, device, number of elements, ...)."""
    if type(given) is not tuple or len(given) < length or given[0] != "storage":
        kind = given[0][:200] if type(given) is tuple and given and type(given[0]) is str else type(given).__name__
        raise Refused(f"the file keeps a {kind!r} outside of its pickle; only storages are read")
    _, kind, key, _, count = given[:5]
    if type(kind) is not Name or kind.text not in STORAGES or type(key) is not str:
        raise Refused("a storage of the file is not described as PyTorch does it")
    if type(count) is not int or count < 0:
        raise Refused("a storage of the file has no count of elements")
    return Storage(key, STORAGES[kind.text], count)


# --------------------------------------------------------------------------------------------------- the format before it


def read_legacy(data: memoryview, device: Any) -> Any:
    """What a file of PyTorch's format before 1.6 holds: five pickles, then the storages. Raises Refused as `read_zip`."""
    storages: dict[str, Storage] = {}

    def find(given: Any) -> Storage:
        storage = _storage(given, 6)
        if given[5] is not None:
            raise Refused("the file has views of storages, which PyTorch wrote before 0.4 only")
        known = storages.setdefault(storage.key, storage)
        if known != storage:
            raise Refused(f"the storage {storage.key[:200]!r} is described in two ways")
        return storage

    unpickler = Unpickler(data, find, len(data) + SPARE)
    if unpickler.load() != LEGACY_MAGIC or unpickler.load() != 1001:
        raise Refused("the file is no file of PyTorch's: it begins with another pickle")
    system = unpickler.load()
    if type(system) is not dict or system.get("little_endian") is not True:
        raise Refused("the file was written on a big-endian machine")
    value, keys = unpickler.load(), unpickler.load()
    if type(keys) is not list or any(type(k) is not str for k in keys) or sorted(keys) != sorted(storages):
        raise Refused("the list of the file's storages is not that of its tensors")
    places, place = {}, unpickler.place
    for key in keys:
        size = storages[key].elements * DTYPES[storages[key].dtype].itemsize
        if place + 8 + size > len(data) or struct.unpack("<Q", data[place : place + 8])[0] != storages[key].elements:
            raise Refused(f"the storage {key[:200]!r} is cut off, or of another size than its tensors say")
        places[key] = place + 8, size
        place += 8 + size
    if place != len(data):
        raise Refused(f"the file has {len(data) - place} bytes after its last storage")
    return _made(data, value, places, device)


# --------------------------------------------------------------------------------------------------------------- tensors


def _made(data: memoryview, value: Any, places: dict[str, tuple[int, int]], device: Any) -> Any:
    """A nest with its Specs turned into tensors, once all of them have been checked."""
    specs: dict[int, Spec] = {}
    _walk(value, lambda spec: specs.setdefault(id(spec), spec), set())
    needed = 0
    distinct = set()
    for spec in specs.values():
        itemsize = DTYPES[spec.storage.dtype].itemsize
        if spec.storage.elements * itemsize > places[spec.storage.key][1]:
            raise Refused(
                f"the storage {spec.storage.key[:200]!r} has {places[spec.storage.key][1]} bytes, too few for "
                f"{spec.storage.elements} elements of {spec.storage.dtype}"
            )
        form = (spec.storage, spec.offset, spec.shape, spec.strides)
        needed += 0 if form in distinct else spec.count * itemsize
        distinct.add(form)
    if needed > len(data) + SPARE:
        raise Refused(f"the tensors of the file overlap: they would take {needed} bytes, the file has {len(data)}")
    known: dict[Any, Tensor] = {}
    tensors = {key: _build(data, spec, places, device, known) for key, spec in specs.items()}
    return _replaced(value, tensors, {})


def _build(data: memoryview, spec: Spec, places: Any, device: Any, known: dict[Any, Tensor]) -> Tensor:
    form = (spec.storage, spec.offset, spec.shape, spec.strides)
    if form not in known:
        known[form] = _elements(data, spec, places[spec.storage.key][0], device)
    x = known[form].detach()
    if spec.parameter:
        return Parameter(x, requires_grad=spec.requires_grad)
    return x.requires_grad_() if spec.requires_grad else x


def _elements(data: memoryview, spec: Spec, start: int, device: Any) -> Tensor:
    itemsize, count = DTYPES[spec.storage.dtype].itemsize, spec.count
    dense, step = [], 1
    for n in reversed(spec.shape):
        dense.append(step)
        step *= n
    first = start + spec.offset * itemsize
    if count == 0 or all(n == 1 or a == b for n, a, b in zip(spec.shape, spec.strides, reversed(dense), strict=True)):
        return decode(data[first : first + count * itemsize], spec.storage.dtype, spec.shape, device)
    reach = 1 + sum((n - 1) * s for n, s in zip(spec.shape, spec.strides, strict=True))
    whole = decode(data[first : first + reach * itemsize], spec.storage.dtype, (reach,), device)
    indices = tensor(0, device=device)
    for n, s in zip(spec.shape, spec.strides, strict=True):
        indices = indices[..., None] + tensor([i * s for i in range(n)], dtype="int64", device=device)
    return whole[indices.reshape((-1,))].reshape(spec.shape)


def _walk(value: Any, visit: Callable[[Spec], Any], seen: set[int]) -> None:
    """Visit every Spec of a nest."""
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, Spec):
            visit(item)
        elif isinstance(item, Storage | Name):
            raise Refused("the file has a storage or a name where a value should be")
        elif isinstance(item, dict | list | tuple) and id(item) not in seen:
            seen.add(id(item))
            todo += item.values() if isinstance(item, dict) else item


def _replaced(value: Any, tensors: dict[int, Tensor], done: dict[int, Any]) -> Any:
    """The nest with tensors in the places of Specs; what was one object stays one."""
    if isinstance(value, Spec):
        return tensors[id(value)]
    if not isinstance(value, dict | list | tuple):
        return value
    if id(value) in done:
        return done[id(value)]
    if isinstance(value, tuple):
        done[id(value)] = made = tuple(_replaced(v, tensors, done) for v in value)
        return made
    done[id(value)] = value
    if isinstance(value, dict):
        for key, item in value.items():
            value[key] = _replaced(item, tensors, done)
    else:
        value[:] = [_replaced(item, tensors, done) for item in value]
    return value
