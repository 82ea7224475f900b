"""The command: `python -m polygrad_conformance --backend NAME` checks backends and prints a table."""

from __future__ import annotations

import argparse
import sys
from fnmatch import fnmatch

from polygrad.core import BackendNotAvailable
from polygrad_conformance.report import Results, terminal, write
from polygrad_conformance.suite import run, subject, units

__all__ = ["main"]


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="python -m polygrad_conformance", description=__doc__)
    made.add_argument(
        "--backend",
        action="append",
        metavar="NAME",
        help="an entry-point name, an Array API module, or a module that has a `backend`; may be repeated (default: numpy)",
    )
    made.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="PATTERN",
        help="only units of this name; * and ? match; may be repeated",
    )
    made.add_argument(
        "--known-failures",
        action="append",
        default=[],
        metavar="FILE",
        help="TOML file of expected failures; may be repeated",
    )
    made.add_argument(
        "--brief",
        action="append",
        default=[],
        metavar="NAME",
        help="of this backend, second order in the first case of each op only, and the first case alone of each composite; "
        "may be repeated",
    )
    made.add_argument("--json", metavar="FILE", help="write everything that was found as JSON")
    made.add_argument("--markdown", metavar="FILE", help="write the table as Markdown")
    made.add_argument("--html", metavar="FILE", help="write the table as one HTML page")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns 0 if all is as expected, 1 if not, 2 if it could not run."""
    options = parser().parse_args(arguments)
    try:
        files = tuple(options.known_failures)
        subjects = [subject(name, files, name in options.brief) for name in options.backend or ["numpy"]]
        wanted = [u for u in units() if not options.only or any(fnmatch(u.name, p) for p in options.only)]
        if not wanted:
            raise ValueError(f"no unit is called {' or '.join(options.only)}")
    except (BackendNotAvailable, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    results = Results([run(unit, tested) for tested in subjects for unit in wanted])
    print(terminal(results))
    write(results, options.json, options.markdown, options.html)
    return 1 if results.surprises else 0


if __name__ == "__main__":
    sys.exit(main())
