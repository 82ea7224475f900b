"""Handles of cuDNN: one for each thread and device, set to the stream that is current."""

import threading
from collections.abc import Callable
from typing import Any

from polygrad_cupy.runtime import current

__all__ = ["Handles"]


class Handles:
    """Gives this thread's handle for the current device, set to the current stream.

    Args:
        create: makes a handle for the current device.
        set_stream: `set_stream(handle, stream)` sets a handle to the stream at this address.
    """

    def __init__(self, create: Callable[[], Any], set_stream: Callable[[Any, int], None]):
        self.create, self.set_stream = create, set_stream
        self.local = threading.local()
        self.idle: dict[int, list[_Handle]] = {}

    def __call__(self) -> Any:
        """The handle."""
        runtime = current()
        device, stream = runtime.device(), runtime.stream()
        held = getattr(self.local, "held", None)
        if held is None:
            self.local.held = held = _Held(self)
        found = held.handle(device)
        if found.stream != stream:
            self.set_stream(found.pointer, stream)
            found.stream = stream
        return found.pointer


class _Handle:
    """A handle, and the stream that it was last set to."""

    def __init__(self, pointer: Any):
        self.pointer = pointer
        self.stream: int | None = None


class _Held:
    """A thread's handles, one for each device. When the thread ends others may take them: a new one costs milliseconds."""

    def __init__(self, owner: Handles):
        self.owner = owner
        self.handles: dict[int, _Handle] = {}

    def handle(self, device: int) -> _Handle:
        found = self.handles.get(device)
        if found is None:
            try:
                found = self.owner.idle.get(device, []).pop()
            except IndexError:
                found = _Handle(self.owner.create())
            self.handles[device] = found
        return found

    def __del__(self) -> None:
        for device, handle in self.handles.items():
            self.owner.idle.setdefault(device, []).append(handle)
