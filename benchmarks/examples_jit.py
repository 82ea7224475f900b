"""The training examples on JAX with and without `--jit`.

`python benchmarks/examples_jit.py --fashion DIR --text FILE --json benchmarks/results/examples_jit.json` trains digits, fashion and gpt
for some steps, each in a process of its own, with and without a compiled step in turn. The time of a step is what passes between two
of the example's own reports of progress (the batch included); the figure is the median of the third of the steps in which the
process waited least for a processor, the first five left out. The first step is given by itself: it traces and compiles.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from peers import save
from quiet import peak_rss_mb, waited

EXAMPLES = Path(__file__).parents[1] / "examples"
STEPS = {"digits": 60, "fashion": 45, "gpt": 30}
SETTLED = 5  # steps after which nothing is compiled any more
FORMS = {"without --jit": [], "with --jit": ["--jit"]}


class Trained(Exception):
    """Ends an example when its training is over."""


def train(example: str, options: list[str]) -> dict[str, Any]:
    """Run one example's training in this process; the times of its steps."""
    os.environ["POLYGRAD_BACKEND"] = "jax"
    sys.path.insert(0, str(EXAMPLES))
    import resumable
    from tqdm import tqdm

    marks: list[tuple[float, float, float]] = []

    class Marking(tqdm):
        """A bar that remembers when each step was reported."""

        def __init__(self, *args: Any, **kwargs: Any):
            super().__init__(*args, **{**kwargs, "disable": True})
            marks.append((time.perf_counter(), time.process_time(), waited()))

        def update(self, n: float | None = 1) -> bool | None:
            marks.append((time.perf_counter(), time.process_time(), waited()))
            if len(marks) > STEPS[example]:
                raise Trained
            return super().update(n)

    module = __import__(example)
    resumable.tqdm = Marking
    if hasattr(module, "tqdm"):
        module.tqdm = Marking
    with tempfile.TemporaryDirectory() as folder:
        sys.argv = [example, *options, "--output", f"{folder}/picture.png"]
        if example != "digits":
            sys.argv += ["--checkpoint", f"{folder}/checkpoint.pt", "--every", "1000000"]
        with suppress(Trained):
            module.main()
    steps = [tuple(b - a for a, b in zip(*pair, strict=True)) for pair in zip(marks, marks[1:], strict=False)]
    return {"steps": steps, "rss": peak_rss_mb()}


def figures(steps: list[list[float]]) -> dict[str, float]:
    """The time, the processor time and the share of waiting of a step."""
    kept = sorted(steps[SETTLED:], key=lambda s: s[2] / s[0])
    kept = kept[: max(3, len(kept) // 3)]
    return {
        "ms": round(1e3 * statistics.median(s[0] for s in kept), 3),
        "processor": round(1e3 * statistics.median(s[1] for s in kept), 3),
        "waited": round(max(s[2] / s[0] for s in kept), 3),
    }


def main() -> None:
    """Run the examples in turn, and write the records."""
    parser = argparse.ArgumentParser(description="The training examples on JAX with and without --jit")
    parser.add_argument(
        "--fashion", help="folder of the data of examples/fashion.py; without it the example is left out"
    )
    parser.add_argument("--text", nargs="+", help="the text of examples/gpt.py; without it the example is left out")
    parser.add_argument("--rounds", type=int, default=2, help="processes of each form (default 2)")
    parser.add_argument("--json", help="also write the records to this file")
    parser.add_argument("--worker", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        found = train(args.worker[0], args.worker[1:])
        print(json.dumps(found))
        return
    options: dict[str, list[str]] = {"digits": []}
    if args.fashion:
        options["fashion"] = ["--data", args.fashion]
    if args.text:
        options["gpt"] = ["--text", *args.text]
    records: list[dict[str, Any]] = []
    for example, given in options.items():
        runs: dict[str, list[dict[str, Any]]] = {form: [] for form in FORMS}
        for _ in range(args.rounds):
            for form, flags in FORMS.items():
                command = [
                    sys.executable,
                    __file__,
                    "--worker",
                    example,
                    "--steps",
                    str(STEPS[example]),
                    *given,
                    *flags,
                ]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                runs[form].append(json.loads(done.stdout.splitlines()[-1]))
        records += recorded(example, runs)
    for record in records:
        print(json.dumps(record), flush=True)
    if args.json:
        save(args.json, records)


def recorded(example: str, runs: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The records of one example: each step, and the first."""
    found = []
    for what in ("each step", "first step"):
        base: dict[str, float] = {}
        for form, made in runs.items():
            if what == "each step":
                taken = figures([step for run in made for step in run["steps"]])
            else:
                wall, processor, queued = min(run["steps"][0] for run in made)
                taken = {
                    "ms": round(1e3 * wall),
                    "processor": round(1e3 * processor),
                    "waited": round(queued / wall, 3),
                }
            base = base or taken
            ratios = {"ratio": round(taken["ms"] / base["ms"], 3)}
            ratios["processor_ratio"] = round(taken["processor"] / base["processor"], 3)
            record = {"workload": "examples on JAX", "example": example, "part": what, "framework": form}
            found.append({**record, **taken, **ratios, "peak_rss_mb": round(max(run["rss"] for run in made))})
    return found


if __name__ == "__main__":
    main()
