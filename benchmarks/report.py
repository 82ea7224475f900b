"""Write docs/performance.md and its picture from the records in benchmarks/results.

`python benchmarks/report.py` reads what the scripts beside it wrote with `--json benchmarks/results/<name>.json`.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

HERE = Path(__file__).parent
PAGE, PICTURE = HERE.parent / "docs" / "performance.md", HERE.parent / "docs" / "performance.svg"
ORDER = (
    "op_overhead",
    "mlp",
    "lenet",
    "gpt",
    "resnet18",
    "convolutions",
    "optimizers",
    "thread_pools",
    "jit_vs_jax",
    "examples_jit",
    "importing",
)
PLAIN = {
    "workload",
    "framework",
    "ratio",
    "processor",
    "processor_ratio",
    "waited",
    "peak_rss_mb",
    "error",
    "ms",
    "us",
    "ns",
}
BARS = {"polygrad": "#4c78a8", "polygrad + oneDNN": "#f58518"}
INTRODUCTION = """# Performance

Written by `python benchmarks/report.py` from `benchmarks/results`. Every figure is of a whole step (or op) in a process of its own. The
frameworks ran in turn, each sample is judged by how long its process stood in the run queue, and the figure is the median of the quiet
ones (`benchmarks/quiet.py`). It was all measured on a shared two-core machine, often busy with other work: times are long and vary, and
the ratios to the first framework of a table, in brackets, are what to read. A `*` marks processor time, which stands for time where the
process spent more than 5 % of it waiting for a processor. Peak memory is the process' largest resident set, the framework itself included.

![Time of a step, by PyTorch's](performance.svg)
"""


def load() -> dict[str, dict[str, Any]]:
    """What each script wrote: {"about": ..., "records": [...]}, in a fixed order."""
    files = {path.stem: json.loads(path.read_text()) for path in (HERE / "results").glob("*.json")}
    for found in files.values():
        for row in variants(found["records"]).values():  # what is compared is measured alike
            waited = max(record.get("waited", 0) for record in row.values())
            for record in row.values():
                record["waited"] = waited
    known = [name for name in ORDER if name in files]
    return {name: files[name] for name in [*known, *sorted(set(files) - set(known))]}


def variants(records: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """The records by variant, in words, and framework."""
    table: dict[str, dict[str, dict[str, Any]]] = {}
    for record in records:
        told = [str(v) for k, v in record.items() if k not in PLAIN and not k.startswith("beyond")]
        table.setdefault(", ".join(told) or "-", {})[record["framework"]] = record
    return table


def figure(record: dict[str, Any] | None) -> str:
    """Time and ratio of one record, for a cell of a table."""
    if record is None:
        return ""
    if "error" in record:
        return "failed" if "oneDNN" not in record["error"] else "no oneDNN"
    unit = next(u for u in ("ms", "us", "ns") if u in record)
    value = record["processor"] if busy(record) else record[unit]
    shown = f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    mark = "*" if busy(record) else ""
    return f"{shown} {unit}{mark} ({ratio(record):.2f})" if ratio(record) else f"{shown} {unit}{mark}"


def busy(record: dict[str, Any]) -> bool:
    """Whether the process stood in the run queue for so long that processor time must stand for time."""
    return record.get("waited", 0) > 0.05


def ratio(record: dict[str, Any]) -> float:
    """The ratio to the first framework, 0 where there is none."""
    return record.get("processor_ratio" if busy(record) else "ratio") or 0.0


def table(records: list[dict[str, Any]]) -> list[str]:
    """A table in Markdown: a row for each variant, a column for each framework, and a row of geometric means."""
    rows = variants(records)
    frameworks = list(dict.fromkeys(r["framework"] for r in records))
    lines = [f"| | {' | '.join(frameworks)} |", f"|{' --- |' * (len(frameworks) + 1)}"]
    for name, row in rows.items():
        lines.append(f"| {name} | {' | '.join(figure(row.get(f)) for f in frameworks)} |")
    if len(rows) > 8:
        for kind in dict.fromkeys(r.get("what") for r in records):
            means = [
                geometric([ratio(r) for r in records if r["framework"] == f and r.get("what") == kind and ratio(r)])
                for f in frameworks
            ]
            lines.append(f"| geometric mean, {kind} | {' | '.join(f'({m:.2f})' if m else '' for m in means)} |")
    memory = [max((r.get("peak_rss_mb", 0) for r in records if r["framework"] == f), default=0) for f in frameworks]
    if any(memory):
        lines.append(f"| largest memory | {' | '.join(f'{m:.0f} MB' if m else '' for m in memory)} |")
    beyond = {
        r["framework"]: f"{r['beyond_numpy_ms']:.0f} ms, {r['beyond_numpy_mb']:.1f} MB"
        for r in records
        if "beyond_numpy_ms" in r
    }
    if beyond:
        lines.append(f"| beyond NumPy | {' | '.join(beyond.get(f, '') for f in frameworks)} |")
    return lines


COSTS = {
    "first_s": ("first call (traces and compiles)", "{:.2f} s"),
    "flops": ("operations of the program", "{:.4g}"),
    "flops_lax": ("the same, every convolution left to lax", "{:.4g}"),
    "rss_mb": ("peak memory", "{:.0f} MB"),
}


def costs(details: dict[str, dict[str, Any]]) -> list[str]:
    """What `jit_vs_jax.py` measured besides time, each side in a process of its own; in brackets polygrad's over that by hand."""
    names = [name for name, found in details.items() if "first_s" in found]
    if not names:
        return []
    lines = ["", "| | " + " | ".join(f"{name} by hand | polygrad jit" for name in names) + " |"]
    lines.append(f"|{' --- |' * (2 * len(names) + 1)}")
    for key, (label, form) in COSTS.items():
        cells = []
        for name in names:
            found = details[name]
            cells += [form.format(found[f"{key} by hand"]), f"{form.format(found[key])} ({found[f'{key}_ratio']:.2f})"]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return lines


def geometric(ratios: list[float]) -> float:
    """The geometric mean, 0 of nothing."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else 0.0


def bars(files: dict[str, dict[str, Any]]) -> list[tuple[str, dict[str, float]]]:
    """(label, ratio to PyTorch of each form of polygrad) of the workloads that have PyTorch as their base."""
    found = []
    for name in ("op_overhead", "mlp", "lenet", "gpt", "resnet18", "optimizers"):
        for variant, row in variants(files.get(name, {}).get("records", [])).items():
            base = next(iter(row))
            ratios = {f: ratio(row[f]) for f in BARS if f in row and ratio(row[f])}
            if base.startswith("torch") and ratios:
                found.append((f"{name} {variant}", ratios))
    return found


def picture(rows: list[tuple[str, dict[str, float]]]) -> str:
    """Horizontal bars, one group for each workload, and a line at PyTorch's time."""
    left, width, line, top = 260, 420, 14, 34
    most = max([2.0, *(r for _, ratios in rows for r in ratios.values())])
    scale = width / most
    height = top + sum(line * len(ratios) + 8 for _, ratios in rows) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 60}" height="{height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{left + width + 60}" height="{height}" fill="white"/>',
    ]
    for i, (name, colour) in enumerate(BARS.items()):
        parts.append(f'<rect x="{left + 150 * i}" y="8" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{left + 150 * i + 15}" y="17">{escape(name)}</text>')
    y = top
    for label, ratios in rows:
        parts.append(
            f'<text x="{left - 8}" y="{y + line * len(ratios) / 2 + 4}" text-anchor="end">{escape(label)}</text>'
        )
        for name, ratio in ratios.items():
            parts.append(
                f'<rect x="{left}" y="{y}" width="{ratio * scale:.1f}" height="{line - 3}" fill="{BARS[name]}"/>'
            )
            parts.append(f'<text x="{left + ratio * scale + 4:.1f}" y="{y + line - 5}">{ratio:.2f}</text>')
            y += line
        y += 8
    parts.append(
        f'<line x1="{left + scale:.1f}" y1="{top - 6}" x2="{left + scale:.1f}" y2="{y}" stroke="black" stroke-dasharray="3 3"/>'
    )
    parts.append(f'<text x="{left + scale + 3:.1f}" y="{top - 3}">PyTorch</text></svg>')
    return "\n".join(parts) + "\n"


def main() -> None:
    """Write both files."""
    files = load()
    lines = [INTRODUCTION]
    for name, found in files.items():
        lines += [f"## {found['records'][0]['workload']}", "", f"`benchmarks/{name}.py`; {found['about']}.", ""]
        lines += [*table(found["records"]), *costs(found.get("details", {})), ""]
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text("\n".join(lines))
    PICTURE.write_text(picture(bars(files)))


if __name__ == "__main__":
    main()
