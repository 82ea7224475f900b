"""Everything that a GPU is needed for, in one command: is what runs on it right, and how fast is it?

`make gpu`, or `python benchmarks/gpu.py` in an environment with CuPy or JAX for CUDA (polygrad need not be installed there), does these
parts for each of them that finds a GPU, or those that `--parts` names:

    info         versions, memory, and which cuDNN is used
    conformance  the conformance suite
    graphs       on CuPy, of the conformance suite the convolutions, by cuDNN's graphs alone
    tests        the tests of layers and optimizers
    timing       the training steps, beside PyTorch on CUDA where that is installed

It writes benchmarks/results/gpu/<device>.json after each part, into what is there, so that a run that is cut short is not lost and
another can go on with the parts that are missing; and ends with 1 if a test failed.

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
import threading
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RESULTS = HERE / "results" / "gpu"
# What prints the name of the GPU that a library uses, or fails.
PROBES = {
    "cupy": "import cupy; print(cupy.cuda.runtime.getDeviceProperties(0)['name'].decode())",
    "jax": "import jax; d = jax.devices()[0]; assert d.platform != 'cpu', 'only the processor'; print(d.device_kind)",
    "torch": "import torch; print(torch.cuda.get_device_name())",
}
INFO = (
    "import json, sys, polygrad; b = polygrad.core.get_backend(sys.argv[1]); print(json.dumps(b.info(), default=str))"
)
BACKENDS = ("cupy", "jax")
PARTS = ("info", "conformance", "graphs", "tests", "timing")
TESTS = (
    "test_windows test_nn test_nn_layers test_losses test_optimizers test_trainings test_random test_indexing".split()
)
SUITE = ROOT / "conformance" / "polygrad_conformance" / "test_suite.py"
WORKLOADS = ("mlp", "lenet", "gpt", "resnet18")
NEEDED = {"polygrad": ("array_api_compat",), "tests": ("array_api_strict", "hypothesis", "pytest")}
PACKAGES = (
    "numpy array-api-compat cupy-cuda13x cupy-cuda12x nvidia-cudnn-cu13 nvidia-cudnn-cu12 nvidia-cudnn-frontend jax jaxlib torch"
).split()


def environment(**more: str) -> dict[str, str]:
    """The environment of what is run: it finds polygrad here, and JAX leaves memory to others."""
    paths = [str(ROOT), str(ROOT / "backends"), str(ROOT / "conformance"), os.environ.get("PYTHONPATH", "")]
    held = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", **os.environ}
    return {**held, "PYTHONPATH": os.pathsep.join(path for path in paths if path), **more}


def run(command: list[str], limit: float, **more: str) -> tuple[int, list[str]]:
    """Run Python with these arguments for `limit` seconds at most; its status, and its lines, which are printed as they come."""
    lines = []
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        timer = threading.Timer(limit, process.kill)
        timer.start()
        for line in process.stdout or ():
            print(line, end="", flush=True)
            lines.append(line.rstrip())
        status = process.wait()
        if not timer.is_alive():
            lines.append(f"cut off after {limit:g} s")
        timer.cancel()
    return status, [line for line in lines if line]


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


def info(backend: str, limit: float) -> dict[str, Any]:
    """What a backend says of itself; an error under that name where it cannot be used."""
    status, lines = run(["-c", INFO, backend], limit)
    try:
        return json.loads(lines[-1])
    except (IndexError, ValueError):
        return {"error": f"status {status}: {' | '.join(lines[-3:])}"}


def tested(arguments: list[str], jobs: int, limit: float, **more: str) -> dict[str, Any]:
    """What a run of pytest says. Warnings of a GPU's libraries are shown, and fail nothing."""
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "default", *arguments]
    if jobs > 1 and find_spec("xdist") is not None:
        command += ["-n", str(jobs), "--dist", "loadgroup"]
    status, lines = run(command, limit, **more)
    failed = [line for line in lines if re.match("FAILED|ERROR|Fatal", line)][:200]
    return {"passed": status == 0, "summary": lines[-1] if lines else "", "failed": failed}


def conformance(backend: str, jobs: int, limit: float, *more: str, **variables: str) -> dict[str, Any]:
    """What the conformance suite says of a backend."""
    try:
        version("polygrad-array-api")
        plugin = []
    except PackageNotFoundError:
        plugin = ["-p", "polygrad_conformance.plugin"]
    return tested([*plugin, str(SUITE), "--pg-backend", backend, *more], jobs, limit, **variables)


def layers(backend: str, jobs: int, limit: float) -> dict[str, Any]:
    """What the tests of layers and optimizers say on a backend."""
    files = [str(ROOT / "tests" / f"{name}.py") for name in TESTS]
    return tested(files, jobs, limit, POLYGRAD_TEST_BACKENDS=backend)


def timed(names: list[str], rounds: int, limit: float) -> list[dict[str, Any]]:
    """The records of every workload for these frameworks; the first is the base of the ratios."""
    records: list[dict[str, Any]] = []
    for workload in WORKLOADS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "records.json")
            only = ["--only", ",".join(names), "--rounds", str(rounds), "--json", str(path)]
            run([str(HERE / f"{workload}.py"), *only], limit)
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


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description="Test polygrad on a GPU, and time it")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"some of {','.join(PARTS)} (default: all)")
    parser.add_argument("--backends", default=",".join(BACKENDS), help="some of %(default)s (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of timing (default 3)")
    parser.add_argument(
        "--jobs", type=int, default=min(8, os.cpu_count() or 1), help="processes of tests (%(default)s)"
    )
    parser.add_argument("--limit", type=float, default=3600, help="seconds for each part at most (%(default)g)")
    parser.add_argument("--output", type=Path, help="write this file instead")
    args = parser.parse_args(argv)
    args.parts, args.backends = args.parts.split(","), args.backends.split(",")
    if wrong := [part for part in args.parts if part not in PARTS]:
        parser.error(f"no such part: {', '.join(wrong)}")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    testing = {"conformance", "graphs", "tests"} & {*args.parts}
    needed = [*NEEDED["polygrad"], *(NEEDED["tests"] if testing else ())]
    if missing := [name for name in needed if find_spec(name) is None]:
        print(f"These packages are missing: {', '.join(missing).replace('_', '-')}. Nothing was run.")
        return 2
    here = probe()
    backends = [name for name in args.backends if name in here]
    if not backends:
        print(f"None of {', '.join(args.backends)} finds a GPU here, so nothing was run and nothing was written.")
        return 2
    device = here[backends[0]]
    print(f"{device}: {', '.join(backends)}")
    path = args.output or RESULTS / f"{re.sub(r'[^A-Za-z0-9]+', '-', device).strip('-').lower()}.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"info": {}, "tests": {}, "records": []}
    found |= {
        "about": f"{date.today()}, {device}, Python {sys.version.split()[0]}",
        "device": device,
        "date": str(date.today()),
        "versions": versions(),
    }

    def write() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found, indent=1) + "\n")
        print(f"written: {path}", flush=True)

    passed = True
    for name in backends:
        for part in args.parts:
            if part == "timing" or part == "graphs" and name != "cupy":
                continue
            print(f"--- {part} on {name}", flush=True)
            if part == "info":
                found["info"][name] = info(name, args.limit)
            else:
                if part == "conformance":
                    result = conformance(name, args.jobs, args.limit)
                elif part == "graphs":
                    result = conformance(name, args.jobs, args.limit, "-k", "conv", POLYGRAD_CUDNN_LIB="off")
                else:
                    result = layers(name, args.jobs, args.limit)
                found["tests"].setdefault(name, {})[part] = result
                passed &= result["passed"]
            write()
    if "timing" in args.parts and args.rounds:
        names = [*(["torch cuda"] if "torch" in here else []), *(f"polygrad {name}" for name in backends)]
        found["records"] = timed(names, args.rounds, args.limit)
        write()
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
