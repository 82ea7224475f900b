"""Runs the official array-api-tests on the polygrad namespace, on one backend after the other.

    git clone --recurse-submodules https://github.com/data-apis/array-api-tests
    python conformance/array_api_tests/run.py array-api-tests --backend numpy --backend jax

`<backend>-skips.txt` beside this file lists the tests that may fail, each with its reason; a failure of any other test, and
an entry that names no test, makes the run fail. Every listed test fails on the library itself in the same way:
`--library MODULE` runs the suite on that module without polygrad, with the same list, and says which entries passed there.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
SEPARATOR = "  # "


def entries(text: str) -> dict[str, str]:
    """Test -> reason, from the lines of a list.

    Raises ValueError for a line without a reason.
    """
    found = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        test, separator, reason = line.rpartition(SEPARATOR)
        if not separator or not reason.strip():
            raise ValueError(f"no reason is given: {line}")
        found[test.strip()] = reason.strip()
    return found


def run(source: Path, backend: str, module: str, examples: int, more: list[str]) -> int:
    """Run the suite in `source` on a module; returns pytest's exit status."""
    listed = HERE / f"{backend}-skips.txt"
    known = entries(listed.read_text(encoding="utf-8")) if listed.is_file() else {}
    environment = {
        **os.environ,
        "POLYGRAD_BACKEND": backend,
        "ARRAY_API_TESTS_MODULE": module,
        "ARRAY_API_TESTS_VERSION": "2025.12",
        "JAX_ENABLE_X64": "1",  # polygrad sets it; the library by itself must too
    }
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "xfails.txt"
        plain.write_text("".join(f"{test}\n" for test in known), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", "--tb=short"]
        command += ["--disable-deadline", "--derandomize", f"--max-examples={examples}", f"--xfails-file={plain}"]
        print(f"array-api-tests on {module}, backend {backend}, {len(known)} known failures", flush=True)
        return subprocess.run([*command, *(more or ["array_api_tests"])], cwd=source, env=environment).returncode


def main() -> int:
    """Run the command; returns 0 if no test failed that is not listed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="a copy of data-apis/array-api-tests with its submodule")
    parser.add_argument("--backend", action="append", metavar="NAME", help="may be repeated (default: numpy)")
    parser.add_argument("--library", dest="module", metavar="MODULE", help="test this module instead of polygrad")
    parser.add_argument(
        "--examples", type=int, default=20, metavar="N", help="hypothesis examples a test (default: 20)"
    )
    parser.add_argument(
        "tests", nargs="*", metavar="TEST", help="tests in the copy, as pytest names them (default: all)"
    )
    options = parser.parse_intermixed_args()
    stubs = options.source / "array-api" / "src" / "array_api_stubs"
    if not stubs.is_dir():
        parser.error(f"{stubs} is missing: clone array-api-tests with --recurse-submodules")
    found = [
        run(options.source, backend, options.module or "polygrad", options.examples, options.tests)
        for backend in options.backend or ["numpy"]
    ]
    return max(found)


if __name__ == "__main__":
    sys.exit(main())
