"""What `import polygrad` costs beside NumPy: processor seconds and resident memory of a new process, the least of several.

Every process imports NumPy first. polygrad reads its backend when the first tensor is made, so its figure has that in it.
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

def memory():
    status = open("/proc/self/status").read()
    return int(status[status.index("VmRSS:") :].split()[1]) / 1024

start = process_time()
import numpy
numpys, before = process_time() - start, memory()
{statement}
spent, after = process_time() - start, memory()
print(spent * 1e3, after, (spent - numpys) * 1e3, after - before)
"""
STATEMENTS = {
    "numpy": "",
    "polygrad": "import polygrad; polygrad.zeros(1)",
    "autograd": "import autograd",
    "jax": "import jax",
    "torch": "import torch",
}


def cost(statement: str, cache: str) -> tuple[float, ...]:
    """Milliseconds and MB of one process that imports NumPy and runs the statement, and what of them came after NumPy.

    The interpreter's own memory is in the second. NumPy's BLAS has one thread: another would wait actively, and be counted.
    """
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | {
        "PYTHONPYCACHEPREFIX": cache,
        "OPENBLAS_NUM_THREADS": "1",
    }
    command = [sys.executable, "-c", PROGRAM.format(statement=statement)]
    answer = subprocess.run(command, capture_output=True, text=True, env=environment)
    if answer.returncode:
        raise ImportError(answer.stderr.strip().splitlines()[-1])
    return tuple(map(float, answer.stdout.split()))


def main() -> None:
    """Print a line of JSON for each module, run in turn."""
    parser = argparse.ArgumentParser(description="import: time and memory beside the peers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="also write the records to this file")
    args = parser.parse_args()
    found: dict[str, list[tuple[float, ...]]] = {}
    errors: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as cache:  # the first round compiles
        for _ in range(args.rounds):
            for module, statement in STATEMENTS.items():
                if module not in errors:
                    try:
                        found.setdefault(module, []).append(cost(statement, cache))
                    except ImportError as error:
                        errors[module] = str(error)
    least = {module: [min(of_one) for of_one in zip(*costs, strict=True)] for module, costs in found.items() if costs}
    records = []
    for module in STATEMENTS:
        record = {"workload": "import", "framework": module}
        if module in errors:
            record["error"] = errors[module]
        else:
            time, memory, beyond, more = least[module]
            record |= {
                "ms": round(time, 1),
                "ratio": round(time / least["numpy"][0], 3),
                "peak_rss_mb": round(memory, 1),
            }
            record |= {"beyond_numpy_ms": round(beyond, 1), "beyond_numpy_mb": round(more, 1)}
        records.append(record)
        print(json.dumps(record), flush=True)
    if args.json:
        save(args.json, records, "1")


if __name__ == "__main__":
    main()
