"""Everything that a GPU is needed for, in one command: is what runs on it right, and how fast is it?

`make gpu`, or `python benchmarks/gpu.py` in an environment with CuPy or JAX for CUDA, runs the conformance suite and the tests of
layers and optimizers on each of them that finds a GPU, then the training steps beside PyTorch on CUDA, where that is installed. It
writes benchmarks/results/gpu/<device>.json, with the date and the versions, and ends with 1 if a test failed.

No such file is there yet: nobody has run this on a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
# What prints the name of the GPU that a library uses, or fails.
PROBES = {
    "cupy": "import cupy; print(cupy.cuda.runtime.getDeviceProperties(0)['name'].decode())",
    "jax": "import jax; d = jax.devices()[0]; assert d.platform != 'cpu', 'only the processor'; print(d.device_kind)",
    "torch": "import torch; print(torch.cuda.get_device_name())",
}
TESTS = (
    "test_windows test_nn test_nn_layers test_losses test_optimizers test_trainings test_random test_indexing".split()
)
WORKLOADS = ("mlp", "lenet", "gpt", "resnet18")
PACKAGES = "numpy cupy-cuda13x cupy-cuda12x nvidia-cudnn-cu13 nvidia-cudnn-cu12 jax jaxlib torch".split()


def probe() -> dict[str, str]:
    """Library -> the name of its GPU, for those that find one; what the others say is printed."""
    found = {}
    for name, code in PROBES.items():
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            found[name] = done.stdout.strip().splitlines()[-1]
        else:
            print(f"{name}: no GPU ({(done.stderr.strip().splitlines() or ['no message'])[-1]})")
    return found


def tested(backend: str) -> dict[str, Any]:
    """What the conformance suite and the tests of layers and optimizers say on a backend."""
    results: dict[str, Any] = {}
    files = [str(ROOT / "tests" / f"{name}.py") for name in TESTS]
    for name, command in {
        "conformance": ["-m", "polygrad_conformance", "--backend", backend],
        "tests": ["-m", "pytest", "-q", "-p", "no:cacheprovider", *files],
    }.items():
        environment = {**os.environ, "POLYGRAD_TEST_BACKENDS": backend}
        done = subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        print(done.stdout)
        lines = done.stdout.strip().splitlines()
        failed = [line for line in lines if re.match(r"(FAILED|ERROR)|.*\bfail", line)][:200]
        results[name] = {"passed": done.returncode == 0, "summary": lines[-1] if lines else "", "failed": failed}
    return results


def timed(names: list[str], rounds: int) -> list[dict[str, Any]]:
    """The records of every workload for these frameworks; the first is the base of the ratios."""
    records: list[dict[str, Any]] = []
    for workload in WORKLOADS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "records.json")
            only = ["--only", ",".join(names), "--rounds", str(rounds), "--json", str(path)]
            subprocess.run([sys.executable, str(HERE / f"{workload}.py"), *only], cwd=HERE, check=False)
            if path.exists():
                records += json.loads(path.read_text())["records"]
    return records


def versions() -> dict[str, str]:
    """Package -> version, of those that are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Test polygrad on a GPU, and time it")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of timing (default 3; 0: tests only)")
    parser.add_argument("--no-tests", action="store_true", help="timing only")
    args = parser.parse_args()
    here = probe()
    backends = [name for name in ("cupy", "jax") if name in here]
    if not backends:
        print("Neither CuPy nor JAX finds a GPU here, so nothing was run and nothing was written.")
        return 2
    device = here[backends[0]]
    print(f"{device}: {', '.join(backends)}")
    tests = {} if args.no_tests else {name: tested(name) for name in backends}
    names = [*(["torch cuda"] if "torch" in here else []), *(f"polygrad {name}" for name in backends)]
    found = {
        "about": f"{date.today()}, {device}, Python {sys.version.split()[0]}",
        "device": device,
        "date": str(date.today()),
        "versions": versions(),
        "tests": tests,
        "records": timed(names, args.rounds) if args.rounds else [],
    }
    path = HERE / "results" / "gpu" / f"{re.sub(r'[^A-Za-z0-9]+', '-', device).strip('-').lower()}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(f"written: {path.relative_to(ROOT)}")
    return 0 if all(part["passed"] for results in tests.values() for part in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
