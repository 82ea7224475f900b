"""What `import polygrad` costs beside NumPy: processor seconds and resident memory of a new process, the least of several.

polygrad reads its backend when the first tensor is made, so its figure is of NumPy, of polygrad and of one tensor.
`python benchmarks/importing.py` compares NumPy (the base of the ratios), polygrad, HIPS autograd, JAX and PyTorch.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile

from peers import save

PROGRAM = """
from time import process_time
start = process_time()
{statement}
spent = process_time() - start
status = open("/proc/self/status").read()
print(spent, int(status[status.index("VmRSS:") :].split()[1]) / 1024)
"""
STATEMENTS = {
    "numpy": "import numpy",
    "polygrad": "import numpy, polygrad; polygrad.zeros(1)",
    "autograd": "import autograd",
    "jax": "import jax",
    "torch": "import torch",
}


def cost(statement: str, cache: str) -> tuple[float, float]:
    """Milliseconds and MB of one process that runs the statement; the interpreter's own memory is in it."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | {
        "PYTHONPYCACHEPREFIX": cache
    }
    command = [sys.executable, "-c", PROGRAM.format(statement=statement)]
    answer = subprocess.run(command, capture_output=True, text=True, env=environment)
    if answer.returncode:
        raise ImportError(answer.stderr.strip().splitlines()[-1])
    spent, memory = answer.stdout.split()
    return float(spent) * 1e3, float(memory)


def main() -> None:
    """Print a line of JSON for each module, run in turn."""
    parser = argparse.ArgumentParser(description="import: time and memory beside the peers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="also write the records to this file")
    args = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {}
    errors: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as cache:  # the first round compiles
        for _ in range(args.rounds):
            for module, statement in STATEMENTS.items():
                if module not in errors:
                    try:
                        found.setdefault(module, []).append(cost(statement, cache))
                    except ImportError as error:
                        errors[module] = str(error)
    least = {m: (min(t for t, _ in f), min(r for _, r in f)) for m, f in found.items() if f}
    records = []
    for module in STATEMENTS:
        record = {"workload": "import", "framework": module}
        if module in errors:
            record["error"] = errors[module]
        else:
            time, memory = least[module]
            record |= {"ms": round(time, 1), "ratio": round(time / least["numpy"][0], 3)}
            record |= {"peak_rss_mb": round(memory, 1), "beyond_numpy_ms": round(time - least["numpy"][0], 1)}
            record["beyond_numpy_mb"] = round(memory - least["numpy"][1], 1)
        records.append(record)
        print(json.dumps(record), flush=True)
    if args.json:
        save(args.json, records, "1")


if __name__ == "__main__":
    main()
