"""CUDA devices of the backend in use, under the names of `torch.cuda`, for programs that ask before they place tensors."""

from __future__ import annotations

from typing import Any

from polygrad.core import get_backend
from polygrad.core.device import device_named
from polygrad.ops.creation import zeros
from polygrad.random import manual_seed

__all__ = ["device_count", "is_available", "manual_seed", "manual_seed_all", "synchronize"]

manual_seed_all = manual_seed  # one seed gives the same numbers on every device


def device_count() -> int:
    """How many CUDA devices the backend in use lists."""
    return sum(device_named("cuda", [d]) is not None for d in get_backend().devices())


def is_available() -> bool:
    """True when the backend in use lists a CUDA device."""
    return device_count() > 0


def synchronize(device: Any = None) -> None:
    """Wait until a CUDA device (the backend's default one unless named) has finished what it was given.

    Raises:
        RuntimeError: the backend in use has no such device.
    """
    backend = get_backend()
    where = backend.place("cuda" if device is None else device)
    backend.synchronize(zeros(1, device=where)._array)
