"""Plans that are made once for a case and a device, and kept, but not for ever."""

import threading
from collections.abc import Callable, Hashable
from typing import Any

from polygrad_cupy.runtime import current

__all__ = ["Failure", "Plans"]


class Failure(Exception):
    """The library does not do this case."""


class Plans:
    """At most `most` plans; the oldest goes for a new one, so that a program that makes new shapes for ever fills no memory."""

    def __init__(self, most: int):
        self.most = most
        self.lock = threading.Lock()
        self.made: dict[Hashable, Any] = {}

    def find(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What `make()` gave for this key on the current device; None where it raised Failure, and it is not asked again."""
        whole = (current().device(), key)
        try:
            return self.made[whole]
        except KeyError:
            pass
        try:
            made = make()
        except Failure:
            made = None
        with self.lock:
            while len(self.made) >= self.most:
                del self.made[next(iter(self.made))]
            self.made[whole] = made
        return made
