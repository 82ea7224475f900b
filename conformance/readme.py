"""Runs the suite on the standard's differentiable names and the object forms, and writes the table into README.md.

    python conformance/readme.py numpy jax torch array_api_strict mlx dask

measures these backends (JAX and Dask take a quarter of an hour each) and rewrites the lines that the README has for them;
other lines stay as they are.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from polygrad_conformance.report import COLUMNS, standard_names
from polygrad_conformance.suite import run, subject, units

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- conformance: begin -->", "<!-- conformance: end -->"
FORMS = "object forms"
HEAD = ["backend", *(COLUMNS[a] for a in ("reverse", "forward", "second")), FORMS]


def measure(backend: str) -> list[str]:
    """What a backend passes, as a line of the table: of the names in each mode, and of the object forms in all."""
    names = standard_names()
    tested = subject(backend)
    outcomes = {u.name: run(u, tested) for u in units() if u.name in set(names) or u.group == FORMS}
    for outcome in outcomes.values():
        for surprise in outcome.surprises:
            print(f"{backend}: {outcome.unit}: {surprise}", file=sys.stderr)
    line = [f"`{backend}`"]
    for aspect in ("reverse", "forward", "second"):
        line.append(f"{sum(n in outcomes and outcomes[n].passed(aspect) for n in names)}/{len(names)}")
    forms = [o for o in outcomes.values() if o.group == FORMS]
    return [*line, f"{sum(not o.failures for o in forms)}/{len(forms)}"]


def lines_of(text: str) -> dict[str, list[str]]:
    """Backend -> its line of the table, from the section between the markers.

    Raises ValueError for a text without that section, or one that is no such table.
    """
    section = re.search(f"{re.escape(BEGIN)}\n(.*?){re.escape(END)}", text, re.DOTALL)
    if section is None:
        raise ValueError(f"there is no section between {BEGIN} and {END}")
    rows = [[cell.strip() for cell in row.strip("| ").split("|")] for row in section[1].splitlines() if row]
    if rows and (rows[0] != HEAD or any(len(row) != len(HEAD) for row in rows)):
        raise ValueError(f"the section is no table of {', '.join(HEAD)}")
    return {row[0]: row for row in rows[2:]}


def render(lines: dict[str, list[str]]) -> str:
    """The section between the markers, with them."""
    table = [HEAD, ["---", *["---:"] * (len(HEAD) - 1)], *lines.values()]
    return "\n".join([BEGIN, *(f"| {' | '.join(row)} |" for row in table), END])


def replace(text: str, lines: dict[str, list[str]]) -> str:
    """The text with these lines in its table, in place of those of the same backends."""
    merged = {**lines_of(text), **lines}
    start, end = text.index(BEGIN), text.index(END) + len(END)
    return text[:start] + render(merged) + text[end:]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backends", nargs="+", metavar="BACKEND")
    for backend in parser.parse_args().backends:
        line = measure(backend)
        README.write_text(replace(README.read_text(encoding="utf-8"), {line[0]: line}), encoding="utf-8")
        print(*line)


if __name__ == "__main__":
    main()
