"""`polygrad` on the command line: what runs here, and the conformance suite."""

from __future__ import annotations

import argparse
import json
from importlib import import_module

from polygrad.config import config, show_config

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit status (0 done, 1 failures found, 2 wrong usage)."""
    parser = argparse.ArgumentParser(prog="polygrad", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    info = commands.add_parser("info", help="print versions, backends, devices and fast paths")
    info.add_argument("--json", action="store_true", help="as JSON, for machines")
    commands.add_parser("backends", help="print the installed adapters and whether each can run")
    conformance = commands.add_parser("conformance", help="run the conformance suite on backends")
    conformance.add_argument("backend", nargs="+", help="names, such as numpy or jax")
    args = parser.parse_args(argv)
    if args.command == "conformance":
        suite = import_module("polygrad_conformance.__main__")
        return int(suite.main([word for name in args.backend for word in ("--backend", name)]))
    if args.command == "info":
        if args.json:
            print(json.dumps(config(), indent=2, default=str))
        else:
            show_config()
        return 0
    for name, facts in config()["backends"].items():
        print(f"{name}: {'usable' if facts['usable'] else facts['reason']}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
