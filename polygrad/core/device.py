"""Devices by name: what "cpu" and "cuda:1" mean on a library whose devices are objects of its own."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["Device", "device_named"]

KINDS = {"gpu": "cuda"}  # another name -> the one PyTorch uses


class Device(str):
    """A device by its name, PyTorch's `torch.device`: wherever a device is asked for, a string such as "cuda:1" will do.

    Args:
        type: "cpu", "cuda", …, or all of it, as in "cuda:1".
        index: which of them; None for the current one.

    Raises:
        ValueError: an index that is no number, or one given twice.
    """

    __slots__ = ()

    def __new__(cls, type: str, index: int | None = None) -> Device:
        kind, colon, number = str(type).partition(":")
        if not kind or (colon and not number.isdigit()) or (colon and index is not None):
            raise ValueError(f"a device is named as in 'cpu', 'cuda' or 'cuda:1', got {type!r} and index {index!r}")
        return super().__new__(cls, type if index is None else f"{kind}:{index}")

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type={self.type!r}{index})"

    @property
    def type(self) -> str:
        """The kind of device, such as "cpu"."""
        return str(self).partition(":")[0]

    @property  # hides the method that finds a substring
    def index(self) -> int | None:  # type: ignore[override]
        """Which device of its kind, or None."""
        number = str(self).partition(":")[2]
        return int(number) if number else None


def device_named(name: str, devices: list[Any]) -> Any:
    """The device that a name stands for, of those that a library lists, or None.

    A library's own spelling counts first; else the kind ("cpu", "cuda", "gpu", "tpu") and the number must occur in it.
    """
    for d in devices:
        if str(d) == name:
            return d
    kind, _, number = str(name).lower().partition(":")
    for d in devices:
        words = {KINDS.get(w, w) for w in re.findall(r"[a-z]+|\d+", str(d).lower())}
        if KINDS.get(kind, kind) in words and (not number or number in words):
            return d
    return None
