"""Shared libraries that make an adapter faster, looked for once, at run time."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable
from typing import Any

__all__ = ["Search"]


class Search:
    """A shared library that is looked for when it is first asked for, and what came of it.

    Args:
        variable: the environment variable that names its file, or "off" for none.
        load: opens the file at a path; it raises OSError, AttributeError or `refusal` where it cannot be used.
        candidates: the paths to try where the variable is not set, best first.
        advice: how to install it, for `reason`.
        instead: who does the work without it, for the warning that the file in the variable cannot be used.
        refusal: what `load` raises besides.

    Attributes:
        found: what `load` gave, or None.
        reason: why there is none.
        tried: whether it has been looked for.
        lock: held while it is looked for.
    """

    def __init__(
        self,
        variable: str,
        load: Callable[[str], Any],
        candidates: Callable[[], list[str]],
        advice: str,
        instead: str,
        refusal: type[Exception] = OSError,
    ):
        self.variable, self.load, self.candidates = variable, load, candidates
        self.advice, self.instead, self.refusal = advice, instead, refusal
        self.lock = threading.Lock()
        self.tried = False
        self.found: Any = None
        self.reason = "not looked for yet"

    def once(self, then: Callable[[], None] | None = None) -> Any:
        """What was found, looked for at the first call, after which `then` runs if there is something."""
        if not self.tried:
            with self.lock:
                if not self.tried:
                    self.found = self._look()
                    self.tried = True
                    if self.found is not None and then is not None:
                        then()
        return self.found

    def _look(self) -> Any:
        asked = os.environ.get(self.variable)
        if asked == "off":
            self.reason = f"off by {self.variable}"
            return None
        problems = []
        for path in [asked] if asked else self.candidates():
            try:
                return self.load(path)
            except (OSError, AttributeError, self.refusal) as error:
                problems.append((path, str(error)))
        self.reason = f"not found; {self.advice}"
        if asked:
            self.reason = f"{asked} cannot be used: {problems[0][1]}"
            warnings.warn(f"{self.variable}: {self.reason}; {self.instead}", RuntimeWarning, stacklevel=5)
        elif (there := next((p for p, _ in problems if os.path.exists(p)), None)) is not None:
            self.reason = f"{there} cannot be used: {dict(problems)[there]}"
        return None
