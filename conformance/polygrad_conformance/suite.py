"""What there is to check: the units, and how one is run on a backend."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Any

from polygrad.core import Backend, BackendNotAvailable, get_backend, use_backend
from polygrad.core.backend import GROUP, declared, resolve
from polygrad_conformance.forms import FORMS, MORE_FORMS, OPERATORS, examine_form, examine_operator
from polygrad_conformance.kinks import KINKS, examine_kink
from polygrad_conformance.ops import examine
from polygrad_conformance.outcome import Outcome, known_failures
from polygrad_conformance.runs import CURVES, DRAWS, examine_curve, examine_draw

__all__ = ["Subject", "Unit", "load", "run", "subject", "units"]


@dataclass(frozen=True)
class Unit:
    """One thing to check.

    Attributes:
        name: unique, and what a file of known failures calls it; an op's is the op's.
        group: the heading under which it is counted.
        check: `check(backend, outcome)` does it.
    """

    name: str
    group: str
    check: Callable[[Backend, Outcome], None]

    def __str__(self) -> str:
        return self.name


def units() -> list[Unit]:
    """Everything there is to check: all declared ops, then forms, operators, kinks, random bits and training."""
    found = [Unit(op.name, _group(op), partial(examine, op)) for op in declared.ops.values()]
    found += [Unit(form.label, "object forms", partial(examine_form, form)) for form in FORMS]
    found += [Unit(form.label, "more forms", partial(examine_form, form)) for form in MORE_FORMS]
    found += [Unit(f"operator {name}", "operators", partial(examine_operator, name)) for name in OPERATORS]
    tensors = get_backend().tensors
    there = [kink for kink in KINKS if resolve(tensors, kink.function) is not None]
    found += [Unit(f"kink {kink.label}", "kinks", partial(examine_kink, kink)) for kink in there]
    found += [Unit(f"bits of {name}", "same bits", partial(examine_draw, name)) for name in DRAWS]
    found += [Unit(f"training {name}", "same training curves", partial(examine_curve, name)) for name in CURVES]
    return found


def _group(op: Any) -> str:
    return op.call.__module__.rpartition(".")[2].replace("_", " ")


# ------------------------------------------------------------------------------------------------------------ backends


@dataclass(frozen=True)
class Subject:
    """A backend that is tested, the failures that are expected of it, and whether the brief checks suffice."""

    backend: Backend
    known: dict[str, list[tuple[str, str, str]]]
    brief: bool = False


def load(name: str) -> tuple[Backend, str | None]:
    """The backend of that name, and the import package of its adapter (None without one).

    The name is an entry point of the group `polygrad.backends`, that of a package `polygrad_<name>`, a module that has a
    `backend` (`package.module`, or `package.module:attribute`), or a module that is an Array API namespace.

    Raises:
        BackendNotAvailable: there is no such thing here.
    """
    for entry in metadata.entry_points(group=GROUP):
        if entry.name == name:
            return get_backend(name), entry.module.partition(".")[0]
    if name.isidentifier() and find_spec(package := f"polygrad_{name}") is not None:
        return get_backend(name), package
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute or "backend", None)
    except ImportError:
        found = None
    if isinstance(found, Backend):
        return found.ready(), module.partition(".")[0]
    if attribute:
        raise BackendNotAvailable(f"{name!r} names no polygrad backend")
    return get_backend(name), None


@cache
def subject(name: str, files: tuple[str, ...] = (), brief: bool = False) -> Subject:
    """The backend of that name (see `load`) with its known failures, those of further files included.

    `brief` asks for second order in the first case of each op only, and of a composite, which has no rule of its own and whose
    parts are ops, for the first case in one precision.

    Raises:
        BackendNotAvailable: there is no such backend here.
        ValueError: a file of known failures names a unit that does not exist, or is malformed.
    """
    backend, module = load(name)
    known = known_failures(backend.name, files, module)
    missing = sorted(set(known) - {unit.name for unit in units()})
    if missing:
        raise ValueError(f"the known failures of {backend.name!r} name no unit of the suite: {', '.join(missing)}")
    return Subject(backend, known, brief)


# A compiler keeps a program for each op and shape, on JAX 30 MB a unit: without this a process grew to 4.4 GB.
KEPT = 40
_runs: dict[str, int] = {}


def run(unit: Unit, tested: Subject) -> Outcome:
    """Run one unit on a backend."""
    backend = tested.backend
    outcome = Outcome(unit.name, unit.group, backend.name, known=tested.known.get(unit.name, []), brief=tested.brief)
    start = time.perf_counter()
    with use_backend(backend), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # kinks and edges divide by zero on purpose
        try:
            unit.check(backend, outcome)
        except Exception as error:
            outcome.fail("declaration", "the check itself", f"{type(error).__name__}: {error}")
    _runs[backend.name] = _runs.get(backend.name, 0) + 1
    if backend.compiler is not None and _runs[backend.name] % KEPT == 0:
        backend.compiler.forget()
    outcome.seconds = round(time.perf_counter() - start, 4)
    return outcome
