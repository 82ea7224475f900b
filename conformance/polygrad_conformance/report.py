"""The table for people (terminal, Markdown, HTML) and the findings for machines (JSON)."""

from __future__ import annotations

import html
import json
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from polygrad.core.backend import declared
from polygrad_conformance.outcome import Outcome

__all__ = ["Results", "as_html", "as_json", "markdown", "terminal", "write"]

COLUMNS = {"value": "value", "reverse": "reverse", "forward": "forward", "second": "second order"}
STANDARD = "Array API v2025.12"


@dataclass
class Row:
    """One line of the table: how many units of a group pass an aspect on each backend, of how many."""

    group: str
    aspect: str
    counts: dict[str, tuple[int, int]]

    @property
    def cells(self) -> list[str]:
        """The counts as they are shown."""
        return [f"{passed}/{total}" if total else "-" for passed, total in self.counts.values()]


class Results:
    """Everything that was found, on all backends."""

    def __init__(self, outcomes: list[Outcome]):
        self.outcomes = outcomes
        self.backends = list(dict.fromkeys(o.backend for o in outcomes))

    @classmethod
    def of(cls, data: Iterable[dict[str, Any]]) -> Results:
        """Results from what `Outcome.as_dict` gave, sorted so that the order of processes does not show."""
        outcomes = [Outcome.of(d) for d in data]
        order = {o.backend: i for i, o in reversed(list(enumerate(outcomes)))}
        return cls(sorted(outcomes, key=lambda o: order[o.backend]))

    @property
    def surprises(self) -> list[str]:
        """One line for everything that must not be."""
        return [f"{o.backend}: {o.unit}: {s}" for o in self.outcomes for s in o.surprises]

    @property
    def known(self) -> list[str]:
        """One line for each failure that was expected."""
        return [f"{o.backend}: {o.unit}: {aspect}: {why}" for o in self.outcomes for aspect, _, why in o.known]

    def rows(self) -> list[Row]:
        """The lines of the table: the standard's differentiable names, then every group."""
        rows = self.standard_rows()
        for group in dict.fromkeys(o.group for o in self.outcomes):
            for aspect in COLUMNS:
                counts = {b: self._count(b, aspect, lambda o, g=group: o.group == g) for b in self.backends}
                if any(total for _, total in counts.values()):
                    rows.append(Row(group, aspect, counts))
        return rows

    def _count(self, backend: str, aspect: str, belongs: Any) -> tuple[int, int]:
        found = [o for o in self.outcomes if o.backend == backend and belongs(o) and aspect in o.applies]
        return sum(o.passed(aspect) for o in found), len(found)

    def standard_rows(self) -> list[Row]:
        """How many of the standard's differentiable names pass; a name that is missing counts as failed."""
        names = standard_names()
        rows = []
        for aspect in ("reverse", "forward", "second"):
            counts = {}
            for b in self.backends:
                by_unit = {o.unit: o for o in self.outcomes if o.backend == b}
                passed = sum(n in by_unit and by_unit[n].passed(aspect) for n in names)
                counts[b] = (passed, len(names))
            rows.append(Row(STANDARD, aspect, counts))
        return rows if any(passed for row in rows for passed, _ in row.counts.values()) else []


def standard_names() -> list[str]:
    """The units that check the standard's functions with a meaningful derivative, aliases under the name of their op."""
    text = (resources.files(__package__) / "standard.toml").read_text(encoding="utf-8")
    names = " ".join(chapter.get("differentiable", "") for chapter in tomllib.loads(text).values()).split()
    return [declared.aliases.get(n, n) for n in names]


def terminal(results: Results) -> str:
    """The table and what must not be, for a terminal."""
    rows = results.rows()
    lines = [["", "", *results.backends]]
    for i, row in enumerate(rows):
        again = i > 0 and rows[i - 1].group == row.group
        lines.append(["" if again else row.group, COLUMNS[row.aspect], *row.cells])
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    text = [
        "  ".join(
            [
                *(c.ljust(w) for c, w in zip(line[:2], widths, strict=False)),
                *(c.rjust(w) for c, w in zip(line[2:], widths[2:], strict=True)),
            ]
        ).rstrip()
        for line in lines
    ]
    checks = {b: sum(sum(o.checked.values()) for o in results.outcomes if o.backend == b) for b in results.backends}
    seconds = {b: sum(o.seconds for o in results.outcomes if o.backend == b) for b in results.backends}
    text.append("")
    text += [f"{b}: {checks[b]} checks in {seconds[b]:.1f} s" for b in results.backends]
    text += [f"known: {line}" for line in results.known]
    text += [f"FAILED {line}" for line in results.surprises]
    return "\n".join(text)


def markdown(results: Results) -> str:
    """The table as Markdown."""
    lines = [f"| | | {' | '.join(results.backends)} |", f"| --- | --- |{' ---: |' * len(results.backends)}"]
    previous = ""
    for row in results.rows():
        lines.append(
            f"| {'' if row.group == previous else row.group} | {COLUMNS[row.aspect]} | {' | '.join(row.cells)} |"
        )
        previous = row.group
    for title, found in (("Known failures", results.known), ("Failures", results.surprises)):
        if found:
            lines += ["", f"{title}:", "", *(f"- {line}" for line in found)]
    return "\n".join(lines) + "\n"


def as_json(results: Results) -> str:
    """Everything that was found, and the table, as JSON."""
    table = [{"group": r.group, "aspect": r.aspect, "counts": r.counts} for r in results.rows()]
    return json.dumps({"table": table, "outcomes": [o.as_dict() for o in results.outcomes]}, indent=1) + "\n"


STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#222;background:#fff}
table{border-collapse:collapse;width:100%}th,td{padding:.25rem .6rem;text-align:left;border-bottom:1px solid #ddd}
td.n{text-align:right;font-variant-numeric:tabular-nums}td.all{background:#e3f4e3}td.some{background:#fbe9c9}td.no{background:#f8d7d7}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#161616}th,td{border-color:#444}
td.all{background:#173d17}td.some{background:#4a3a10}td.no{background:#4d1b1b}}"""


def as_html(results: Results) -> str:
    """The table as one page that needs nothing else."""
    head = "".join(f"<th>{html.escape(b)}</th>" for b in results.backends)
    body, previous = [], ""
    for row in results.rows():
        cells = "".join(
            f'<td class="n {_shade(*count)}">{cell}</td>'
            for cell, count in zip(row.cells, row.counts.values(), strict=True)
        )
        group = "" if row.group == previous else html.escape(row.group)
        body.append(f"<tr><th>{group}</th><td>{COLUMNS[row.aspect]}</td>{cells}</tr>")
        previous = row.group
    lists = "".join(
        f"<h2>{title}</h2><ul>{''.join(f'<li>{html.escape(line)}</li>' for line in found)}</ul>"
        for title, found in (("Known failures", results.known), ("Failures", results.surprises))
        if found
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>polygrad conformance</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style><h1>polygrad conformance</h1>'
        f"<table><thead><tr><th></th><th></th>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>{lists}</html>\n"
    )


def _shade(passed: int, total: int) -> str:
    return "" if not total else "all" if passed == total else "some" if passed else "no"


def write(results: Results, json_path: str | None, markdown_path: str | None, html_path: str | None) -> None:
    """Write the files that were asked for."""
    for path, make in ((json_path, as_json), (markdown_path, markdown), (html_path, as_html)):
        if path:
            Path(path).write_text(make(results), encoding="utf-8")
