"""One process for each framework, run in turn, round after round, so that all see the same machine.

A workload script calls `compare(workload, builders, argv)`: `builders[name](**options)` returns a function that does one
synchronous step. The first name is what the others are compared with. A line of JSON is printed for each framework, then a
table.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from typing import Any

__all__ = ["compare", "save"]

RATIOS = ("ratio", "processor", "processor_ratio")
THREADS = os.environ.get("BENCH_THREADS", "2")
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, THREADS)


def compare(
    workload: str,
    builders: dict[str, Callable[..., Callable[[], Any]]],
    variants: list[dict[str, Any]],
    per: int = 1,
    unit: str = "ms",
    shared: bool = False,
    asked: dict[str, Callable[..., Callable[[], Any]]] | None = None,
) -> list[dict[str, Any]]:
    """Time every builder on every variant; returns and prints the records.

    Args:
        workload: its name in the output.
        builders: framework name -> function of the variant's options that returns one step.
        variants: the options of each table row.
        per: how many operations a step holds; the figures are divided by it.
        unit: "ms", "us" or "ns".
        asked: builders that run only if the command line names them.
        shared: let one process of a framework serve all variants: many variants take less time, and their memory is not told.
    """
    parser = argparse.ArgumentParser(description=f"{workload}: time a step beside the peers")
    parser.add_argument("--only", help="comma-separated frameworks; the first is the base of the ratios")
    parser.add_argument("--rounds", type=int, default=3, help="quiet rounds wanted for each framework")
    parser.add_argument("--most-rounds", type=int, default=10, help="rounds at most, where the machine is busy")
    parser.add_argument("--budget", type=float, default=0.5, help="seconds of samples a round")
    parser.add_argument("--least", type=int, default=6, help="samples a round at least")
    parser.add_argument("--json", help="also write the records to this file")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        _work({**builders, **(asked or {})}[args.worker], variants, args.budget, args.least)
        return []
    names = args.only.split(",") if args.only else list(builders)
    scale = {"ms": 1e3, "us": 1e6, "ns": 1e9}[unit] / per
    records = []
    workers = _workers(names, args) if shared else {}
    for index, variant in enumerate(variants):
        here = workers if shared else _workers(names, args)
        times = _rounds(names, index, args, here)
        if not shared:
            _close(here)
        first = times.get(names[0], {})
        for name in names:
            found = times[name]
            record = {"workload": workload, **variant, "framework": name, **found}
            if shared:
                record.pop("peak_rss_mb", None)
            if "seconds" in found:
                record[unit] = round(record.pop("seconds") * scale, 3)
                record["processor"] = round(found["processor"] * scale, 3)
                for key, of in (("ratio", "seconds"), ("processor_ratio", "processor")):
                    record[key] = round(found[of] / first[of], 3) if of in first else None
            records.append(record)
            print(json.dumps(record), flush=True)
    _close(workers)
    _table(records, unit)
    if args.json:
        save(args.json, records)
    return records


def save(path: str, records: list[dict[str, Any]], threads: str = THREADS, **more: Any) -> None:
    """Write the records (and more) to a file, with what must be known to read them."""
    with open("/proc/cpuinfo") as file:
        model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "")
    found = []
    for name in ("numpy", "torch", "jax", "autograd"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    about = (
        f"{date.today()}, {os.cpu_count()} processors ({model or platform.machine()}), {threads} thread(s) each, "
        f"Python {platform.python_version()}, {', '.join(found)}"
    )
    with open(path, "w") as file:
        json.dump({"about": about, "records": records, **more}, file, indent=1)
        file.write("\n")


def _workers(names: list[str], args: argparse.Namespace) -> dict[str, Any]:
    """One process for each framework, waiting for the number of a variant."""
    workers = {}
    for name in names:
        command = [
            sys.executable,
            sys.argv[0],
            "--worker",
            name,
            "--budget",
            str(args.budget),
            "--least",
            str(args.least),
        ]
        workers[name] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return workers


def _close(workers: dict[str, Any]) -> None:
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()


def _rounds(
    names: list[str], variant: int, args: argparse.Namespace, workers: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    samples: dict[str, list[tuple[float, ...]]] = {name: [] for name in names}
    errors: dict[str, str] = {}
    for number in range(args.most_rounds):
        waiting = [n for n in names if n not in errors and _quiet(samples[n]) < args.rounds]
        if not waiting:
            break
        if number >= args.rounds:
            time.sleep(0.5)
        for name in waiting:
            worker = workers[name]
            try:
                worker.stdin.write(f"{variant}\n")
                worker.stdin.flush()
            except BrokenPipeError:
                pass
            line = worker.stdout.readline()
            answer = json.loads(line) if line else {"error": "the process died"}
            if "error" in answer:
                errors[name] = answer["error"]
            else:
                samples[name].append((answer["waited"], answer["seconds"], answer["processor"], answer["rss"]))
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        if name in errors:
            found[name] = {"error": errors[name]}
            continue
        kept = sorted(samples[name])[: args.rounds]
        middle = sorted(kept, key=lambda s: s[1])[len(kept) // 2]
        found[name] = {
            "seconds": middle[1],
            "processor": sorted(s[2] for s in kept)[len(kept) // 2],
            "waited": round(max(s[0] for s in kept), 3),
            "peak_rss_mb": round(max(s[3] for s in samples[name])),
        }
    return found


def _quiet(samples: list[tuple[float, ...]]) -> int:
    return sum(sample[0] < 0.05 for sample in samples)


def _work(builder: Callable[..., Callable[[], Any]], variants: list[dict[str, Any]], budget: float, least: int) -> None:
    """Serve one framework: a sample for each line read, on a pipe that the framework's own prints cannot reach."""
    from quiet import measure, peak_rss_mb

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    step, current = None, None
    for line in sys.stdin:
        try:
            if step is None or int(line) != current:
                step, current = builder(**variants[int(line)]), int(line)
            seconds, waited, processor = measure(step, budget, least)
            answer = {"seconds": seconds, "waited": waited, "processor": processor, "rss": peak_rss_mb()}
        except Exception as error:  # a peer that is missing or fails is a row of the table, not the end of the run
            answer, step = {"error": f"{type(error).__name__}: {str(error)[:160]}"}, None
        print(json.dumps(answer), file=answers, flush=True)


def _table(records: list[dict[str, Any]], unit: str) -> None:
    keys = [
        k for k in records[0] if k not in ("workload", "framework", unit, "waited", "peak_rss_mb", "error", *RATIOS)
    ]
    columns = [*keys, "framework", unit, "ratio", "processor_ratio", "waited", "peak_rss_mb"]
    rows = [[str(r.get(c, r.get("error", "") if c == unit else "")) for c in columns] for r in records]
    widths = [max(len(row[i]) for row in [columns, *rows]) for i in range(len(columns))]
    for row in [columns, *rows]:
        print("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip())
