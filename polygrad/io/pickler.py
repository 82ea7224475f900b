"""A writer of PyTorch's zip format, which PyTorch reads with `weights_only=True`, and polygrad too."""

from __future__ import annotations

import io
import struct
import zipfile
from collections import Counter, OrderedDict
from typing import Any, BinaryIO

from polygrad.core import DType, Tensor
from polygrad.io.names import storage_name
from polygrad.io.raw import encode
from polygrad.nn.parameter import Parameter

__all__ = ["write_zip"]

EPOCH = (1980, 1, 1, 0, 0, 0)  # equal contents make equal files


class Pickler:
    """Writes a nest as a pickle of protocol 2, with tensors as PyTorch describes them.

    Attributes:
        storages: the tensors whose elements belong to the pickle, in the order of their keys "0", "1", ...
    """

    def __init__(self) -> None:
        self.out = io.BytesIO()
        self.storages: list[Tensor] = []
        self._keys: dict[int, int] = {}
        self._memo: dict[int, int] = {}
        self._alive: list[Any] = []

    def dump(self, value: Any) -> bytes:
        """The pickle of a nest. Raises TypeError for what is not data, with its place in the nest."""
        self.out.write(b"\x80\x02")
        self._save(value, "the value")
        self.out.write(b".")
        return self.out.getvalue()

    def _save(self, value: Any, path: str) -> None:
        kind, write = type(value), self.out.write
        if value is None or kind is bool:
            write({None: b"N", True: b"\x88", False: b"\x89"}[value])
        elif kind is int:
            self._integer(value)
        elif kind is float:
            write(b"G" + struct.pack(">d", value))
        elif kind is complex:
            self._call("__builtin__", "complex", (value.real, value.imag), path)
        elif kind is str:
            self._text(value)
        elif kind is bytes:
            self._call("_codecs", "encode", (value.decode("latin1"), "latin1"), path)
        elif isinstance(value, DType):
            module, _ = storage_name("float32")
            write(f"c{module}\n{value.name}\n".encode())
        elif isinstance(value, Tensor):
            self._once(value, path)
        elif kind in (list, tuple, set, dict, OrderedDict, Counter):
            self._container(value, path)
        else:
            raise TypeError(
                f"{path} is a {kind.__module__}.{kind.__name__}, which is no data; save tensors, numbers, text and plain "
                "containers, such as a state_dict()"
            )

    def _integer(self, value: int) -> None:
        if -(2**31) <= value < 2**31:
            self.out.write(b"J" + struct.pack("<i", value))
            return
        size = value.bit_length() // 8 + 1
        if size > 64:
            raise TypeError(f"an integer of {size} bytes is too long to be saved")
        self.out.write(b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True))

    def _text(self, value: str) -> None:
        data = value.encode("utf-8", "surrogatepass")
        self.out.write(b"X" + struct.pack("<I", len(data)) + data)

    def _call(self, module: str, name: str, arguments: tuple[Any, ...], path: str) -> None:
        self.out.write(f"c{module}\n{name}\n".encode())
        self._save(arguments, path)
        self.out.write(b"R")

    def _container(self, value: Any, path: str) -> None:
        write = self.out.write
        if isinstance(value, dict):
            if isinstance(value, Counter):
                write(b"ccollections\nCounter\n}(")
            elif isinstance(value, OrderedDict):
                write(b"ccollections\nOrderedDict\n)R(")
            else:
                write(b"}(")
            for key, item in value.items():
                self._save(key, f"a key of {path}")
                self._save(item, f"{path}[{key!r}]")
            write(b"u\x85R" if isinstance(value, Counter) else b"u")
            return
        kind = type(value).__name__
        write({"list": b"](", "tuple": b"(", "set": b"c__builtin__\nset\n]("}[kind])
        for i, item in enumerate(value):
            self._save(item, f"{path}[{i}]")
        write({"list": b"e", "tuple": b"t", "set": b"e\x85R"}[kind])

    # ----------------------------------------------------------------------------------------------------------- tensors

    def _once(self, x: Tensor, path: str) -> None:
        """A tensor the first time, later a reference to it, so that parameters that are tied stay so."""
        if id(x) in self._memo:
            self.out.write(b"j" + struct.pack("<I", self._memo[id(x)]))
            return
        self._tensor(x, path)
        self._memo[id(x)] = len(self._memo)
        self._alive.append(x)
        self.out.write(b"r" + struct.pack("<I", self._memo[id(x)]))

    def _tensor(self, x: Tensor, path: str) -> None:
        grad, module = x.requires_grad, "._utils"
        root = storage_name("float32")[0]
        if isinstance(x, Parameter):
            self.out.write(f"c{root}{module}\n_rebuild_parameter\n(".encode())
            self._tensor(x.detach(), path)
            self._save(grad, path)
            self.out.write(b"ccollections\nOrderedDict\n)RtR")
            return
        key = self._keys.get(id(x._array))
        if key is None:
            key = self._keys[id(x._array)] = len(self.storages)
            self.storages.append(x.detach())
        try:
            place, name = storage_name(x.dtype.name)
        except ValueError:
            raise TypeError(f"{path} is of {x.dtype}, which the format lacks") from None
        count = x.numel()
        strides, step = [], 1
        for n in reversed(x.shape):
            strides.append(step)
            step *= n
        self.out.write(f"c{root}{module}\n_rebuild_tensor_v2\n((".encode())
        self._text("storage")
        self.out.write(f"c{place}\n{name}\n".encode())
        for text in (str(key), "cpu"):
            self._text(text)
        self._integer(count)
        self.out.write(b"tQ")
        for part in (0, tuple(x.shape), tuple(reversed(strides)), grad):
            self._save(part, path)
        self.out.write(b"ccollections\nOrderedDict\n)RtR")


def write_zip(value: Any, file: BinaryIO) -> None:
    """Write a nest of tensors and plain values in PyTorch's zip format. Raises TypeError before anything is written."""
    pickler = Pickler()
    pickled = pickler.dump(value)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:

        def put(name: str, data: bytes) -> None:
            archive.writestr(zipfile.ZipInfo(f"archive/{name}", EPOCH), data)

        put("data.pkl", pickled)
        put("byteorder", b"little")
        for i, x in enumerate(pickler.storages):
            put(f"data/{i}", encode(x))
        put("version", b"3\n")
