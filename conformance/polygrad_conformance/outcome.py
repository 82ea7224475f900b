"""What a check leaves behind, and the failures that are known beforehand."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path
from typing import Any

__all__ = ["ASPECTS", "Failure", "Outcome", "known_failures"]

# What is checked of a unit. The first four are the columns of the table.
ASPECTS = {
    "value": "equal to the reference, on tensors and on raw arrays, in every data type of the category",
    "reverse": "the adjoint identity <g, J t> = <J^H g, t>, all operands together and each alone",
    "forward": "the pushes against a central difference",
    "second": "the same two for the pull and for the push themselves",
    "placement": "shape, data type, device and library of results, cotangents and tangents",
    "override": "the adapter's function against the op's own body",
    "declaration": "the declaration says what is needed to test it",
}


SHOWN = 3  # of one aspect of one unit; JSON has them all


@dataclass
class Failure:
    """One check that failed: of what aspect, in which circumstances, and what was found."""

    aspect: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.aspect}: {self.where}: {self.message}"

    def matches(self, aspect: str, pattern: str) -> bool:
        """True when an entry of a file of known failures means this one."""
        return self.aspect == aspect and fnmatchcase(self.where, pattern)


@dataclass
class Outcome:
    """Everything that was found about one unit (an op, a kink, a form ...) on one backend.

    Attributes:
        unit, group, backend: what was checked, where it stands in the table, and on which backend.
        applies: the aspects that this unit has (a comparison has no derivative).
        checked: how many checks were made of each aspect.
        failures: those that failed.
        known: the failures that the backend's file lists: (aspect, pattern of circumstances, reason).
        seconds: how long it took.
        brief: second order was asked of the first case only.
        met: which entries of `known` speak of a check that was made.
    """

    unit: str
    group: str
    backend: str
    applies: list[str] = field(default_factory=list)
    checked: dict[str, int] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    known: list[tuple[str, str, str]] = field(default_factory=list)
    seconds: float = 0.0
    brief: bool = False
    met: list[int] = field(default_factory=list)

    @contextmanager
    def check(self, aspect: str, where: str) -> Iterator[None]:
        """Count one check of an aspect; an exception inside the block is a failure of it."""
        self.checked[aspect] = self.checked.get(aspect, 0) + 1
        self.met += [
            i
            for i, (listed, pattern, _) in enumerate(self.known)
            if i not in self.met and listed == aspect and fnmatchcase(where, pattern)
        ]
        try:
            yield
        except Exception as error:
            if type(error) is AssertionError:
                self.fail(aspect, where, str(error))
            else:
                notes = "; ".join([str(error).strip()[:300], *getattr(error, "__notes__", ())])
                self.fail(aspect, where, f"{type(error).__name__}: {notes}")

    def fail(self, aspect: str, where: str, message: str) -> None:
        """Enter a failure."""
        self.failures.append(Failure(aspect, where, message))

    def passed(self, aspect: str) -> bool:
        """True when the aspect was checked and nothing was found, known or not."""
        return self.checked.get(aspect, 0) > 0 and not any(f.aspect == aspect for f in self.failures)

    @property
    def surprises(self) -> list[str]:
        """What must not be: failures that no file lists, and listed ones that passed."""
        found = []
        unlisted = [f for f in self.failures if not any(f.matches(*entry[:2]) for entry in self.known)]
        for aspect in dict.fromkeys(f.aspect for f in unlisted):
            of_it = [str(f) for f in unlisted if f.aspect == aspect]
            found += of_it[:SHOWN]
            if len(of_it) > SHOWN:
                found.append(f"{aspect}: and {len(of_it) - SHOWN} more of {self.checked.get(aspect, 0)} checks")
        found += [
            f"{aspect}: {pattern}: is listed as a known failure ({reason}) and did not fail; take it off the list"
            for i, (aspect, pattern, reason) in enumerate(self.known)
            if not any(f.matches(aspect, pattern) for f in self.failures)
            if i in self.met or not self.brief  # a brief run makes few checks, and not those of every entry
        ]
        return found

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON and for the way between processes."""
        return asdict(self)

    @classmethod
    def of(cls, data: dict[str, Any]) -> Outcome:
        """The outcome that `as_dict` described."""
        return cls(**{**data, "failures": [Failure(**f) for f in data["failures"]]})


def known_failures(
    backend: str, paths: Iterable[str] = (), module: str | None = None
) -> dict[str, list[tuple[str, str, str]]]:
    """Unit -> the failures that are expected of it on a backend, as (aspect, pattern of circumstances, reason).

    Each file has a table per aspect with a line per failure: the unit, if need be a colon and the circumstances as the
    suite prints them (* and ? match), and as value the reason::

        [value]
        "fft.fft: shapes (3, 0)*" = "the library refuses empty arrays"

    Args:
        backend: its name; `known_failures/<name>.toml` of this package is read where there is one.
        paths: further files.
        module: an adapter's import package, whose `conformance_known_failures.toml` is read where there is one.

    Raises:
        ValueError: a file that names an unknown aspect, or a failure without a reason.
    """
    texts = {}
    ours = resources.files(__package__) / "known_failures" / f"{backend}.toml"
    if ours.is_file():
        texts[ours.name] = ours.read_text(encoding="utf-8")
    if module is not None and (theirs := resources.files(module) / "conformance_known_failures.toml").is_file():
        texts[f"{module}/{theirs.name}"] = theirs.read_text(encoding="utf-8")
    for path in paths:
        texts[str(path)] = Path(path).read_text(encoding="utf-8")
    known: dict[str, list[tuple[str, str, str]]] = {}
    for origin, text in texts.items():
        for aspect, lines in tomllib.loads(text).items():
            if aspect not in ASPECTS or not isinstance(lines, dict):
                raise ValueError(f"{origin}: [{aspect}] is no aspect; known are {', '.join(ASPECTS)}")
            for entry, reason in lines.items():
                if not isinstance(reason, str) or not reason.strip():
                    raise ValueError(f"{origin}: [{aspect}] {entry!r} needs a reason")
                unit, _, pattern = entry.partition(": ")
                known.setdefault(unit, []).append((aspect, pattern or "*", reason))
    return known
