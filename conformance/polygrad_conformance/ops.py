"""The checks of one op: walks its declaration, names none."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import Any

from polygrad.core import Backend, as_dtype, bools, ints, new_tensor, separated
from polygrad.core.backend import resolve
from polygrad.core.cases import Case
from polygrad.core.declaration import ALIASES
from polygrad.core.dtype import CATEGORIES, DTYPES
from polygrad_conformance.calculus import Derivatives
from polygrad_conformance.outcome import Outcome
from polygrad_conformance.samples import Sample, as_host, cases_of, close, domain_of, host, inexact, tensors_in

__all__ = ["examine", "plain"]

PRECISE, SHORT = ("float64", "complex128"), ("float32", "complex64")
EXACT = ("int64", "int32", "bool")
TOLERANCE = {"float32": 2e-5, "complex64": 2e-5, "float64": 1e-10, "complex128": 1e-10}


@cache
def plain(backend: Backend) -> Backend:
    """A backend of the same library without any override: every op is its body or the library's function."""
    twin = Backend(f"{backend.name} without overrides", backend.xp, to_numpy=backend.to_numpy, devices=backend.devices)
    return twin.ready()


@cache
def _lacks(backend: Backend, name: str) -> bool:
    try:
        backend.native(name)
    except TypeError:
        return True
    return False


def _there(case: Case, backend: Backend) -> Case:
    """The case with single precision wherever it names a type of double precision that the library lacks."""

    def name(value: Any) -> Any:
        short = dict(zip(PRECISE, SHORT, strict=True)).get(value) if isinstance(value, str) else None
        return short if short and _lacks(backend, value) else value

    params = {key: name(value) for key, value in case.params.items()}
    return Case(tuple(map(name, case.operands)), params, case.invariant)


def _precision(op: Any, case: Case, dtype: str, backend: Backend) -> tuple[str, bool]:
    """The type to test in, and whether that is double precision.

    Single precision has to do where the library lacks the type of an operand or of a result.
    """
    gone = [name for name in PRECISE if _lacks(backend, name)]
    if not gone or dtype not in PRECISE:
        return dtype, True
    made = []
    with suppress(Exception):  # the check that follows says why
        made = [as_dtype(y.dtype).name for y in _results(op, Sample.of(op, case, dtype), plain(host()), None)]
    if not {dtype, *made}.intersection((*gone, *SHORT)):
        return dtype, True
    return SHORT[PRECISE.index(dtype)], False


def accepted(op: Any, names: tuple[str, ...]) -> list[str]:
    """Those of some data types that are in the op's category."""
    return [name for name in names if DTYPES[name] in CATEGORIES[op.dtypes]]


@cache
def _records(op: Any) -> bool:
    """True for a composite whose result has a history (its declaration does not say)."""
    reference = plain(host())
    for case in cases_of(op)[:1]:
        sample = Sample.of(op, case, (accepted(op, PRECISE) or ["int64"])[0])
        f = sample.function(reference)
        leaves = [new_tensor(reference.asarray(a), reference).requires_grad_() for a in sample.active]
        return any(getattr(y, "_node", None) is not None for y in f(leaves))
    return False


def differentiable(op: Any) -> bool:
    """True when some derivative flows through the op."""
    return _records(op) if op.kind == "composite" else op.differentiable


def examine(op: Any, backend: Backend, outcome: Outcome) -> None:
    """Check an op on a backend: values, derivatives to second order, placement, and overrides, over all its cases."""
    cases = [_there(case, backend) for case in cases_of(op)]
    with outcome.check("declaration", "cases"):
        assert cases, "declare at least one case, so that there is something to test"
    if not cases:
        return
    try:
        derivatives = differentiable(op)
    except Exception:
        derivatives = False  # the value check will say why it cannot run
    if outcome.brief and op.kind == "composite":  # its parts are examined on their own
        outcome.applies = ["value", "reverse", "forward"] if derivatives else ["value"]
        dtype = (accepted(op, PRECISE) or accepted(op, EXACT))[0]
        _examine_case(op, cases[0], dtype, backend, outcome, derivatives, order=1)
        return
    outcome.applies = ["value", "reverse", "forward", "second"] if derivatives else ["value"]
    for case in cases:
        for dtype in accepted(op, PRECISE):
            order = 1 if outcome.brief and case is not cases[0] else 2
            _examine_case(op, case, dtype, backend, outcome, derivatives, order)
    for dtype in accepted(op, SHORT):
        _short(op, cases[0], dtype, backend, outcome, derivatives)
    for dtype in accepted(op, EXACT):
        if _runs_on_the_host(op, cases[0], dtype):
            with outcome.check("value", f"case {cases[0]!r}, {dtype}"):
                _same_values(op, cases[0], dtype, backend, None)
    for case in derived_cases(op, cases):
        _edge(op, case, backend, outcome, derivatives)
    if derivatives:
        _mixed(op, cases[0], backend, outcome)
        _elsewhere(op, cases, backend, outcome)
    if (
        op.name in backend.fast and op.body is not None
    ):  # without one, the check of the value compares it with the host's
        _override(op, cases, backend, outcome)


# ------------------------------------------------------------------------------------------------------------ values


def _results(op: Any, sample: Sample, backend: Backend, device: Any) -> list[Any]:
    """What the op gives on constant tensors."""
    from_host = [new_tensor(backend.asarray(a, device=device), backend) for a in sample.active]
    return sample.function(backend, device)(from_host)


def _host_value(y: Any) -> Any:
    return as_host(y) if hasattr(y, "_array") else host().xp.asarray(y)


def _same_values(op: Any, case: Case, dtype: Any, backend: Backend, device: Any) -> None:
    """Assert that tensors, raw arrays, and (where there is one) an independent function agree with the reference."""
    sample = Sample.of(op, case, dtype)
    wanted = [_host_value(y) for y in _results(op, sample, plain(host()), None)]
    got = _results(op, sample, backend, device)
    hosted = [_host_value(y) for y in got]
    assert len(hosted) == len(wanted), f"gives {len(hosted)} results, the reference {len(wanted)}"
    for g, w in zip(hosted, wanted, strict=True):
        close(g, w, TOLERANCE.get(str(w.dtype), 0.0))
    if not inexact(sample.active[0] if sample.active else None):
        return  # raw arrays are in their common data type already when they meet an op, numbers included
    function = resolve(backend.arrays, op.name)
    by_hand = [
        backend.to_numpy(y) if hasattr(y, "dtype") else y for y in tensors_in(sample.raw(function, backend, device))
    ]
    for r, g in zip(by_hand, hosted, strict=True):
        close(host().xp.asarray(r), g, TOLERANCE.get(str(g.dtype), 0.0))
    if (other := independent(op, case)) is not None:
        for o, w in zip(tensors_in(sample.raw(other, host())), wanted, strict=True):
            w = w if inexact(w) else host().xp.astype(w, host().xp.asarray(o).dtype)
            close(host().xp.astype(host().xp.asarray(o), w.dtype), w, TOLERANCE.get(str(w.dtype), 0.0))


@cache
def _libraries() -> list[Any]:
    """Namespaces of functions of the host's arrays that know nothing of our bodies."""
    found = [host().xp]
    for name in ("scipy.linalg", "scipy.fft", "scipy.special"):
        with suppress(ImportError):
            found.append(import_module(name))
    return found


def independent(op: Any, case: Case) -> Callable[..., Any] | None:
    """A function of the same name that knows nothing of the op's body, if its parameters are called the same."""
    if op.body is None:
        return None
    named = {p.name for p in op.signature.parameters.values() if p.kind is not p.POSITIONAL_ONLY} - ALIASES.keys()
    head, _, tail = op.name.rpartition(".")
    for space in _libraries():
        function = resolve(space, tail if space.__name__ == f"scipy.{head or 'special'}" else op.name)
        if callable(function) and _fits(function, named | set(case.params), len(case.operands)):
            return function
    return None


def _fits(function: Any, named: set[str], operands: int) -> bool:
    """True for a function that has these parameters, or a compiled one of so many arrays and none."""
    try:
        return named <= set(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return not named and getattr(function, "nin", None) == operands


# ------------------------------------------------------------------------------------------------------- circumstances


def _examine_case(
    op: Any, case: Case, dtype: str, backend: Backend, outcome: Outcome, derivatives: bool, order: int
) -> None:
    """Double precision: value, derivatives up to `order` of all operands together, and the first of each alone."""
    dtype, precise = _precision(op, case, dtype, backend)
    where = f"case {case!r}, {dtype}"
    with outcome.check("value", where):
        _same_values(op, case, dtype, backend, None)
    sample = Sample.of(op, case, dtype)
    if not derivatives or not sample.active:
        return
    check = Derivatives(backend, outcome, precise=precise).check
    check(sample.function(backend), sample.active, where, order, reference=None if precise else sample.function(host()))
    if len(sample.active) > 1:
        for i, x in enumerate(sample.active):
            check(sample.function(backend, only=i), [x], f"{where}, operand {i} alone", order=1)


def _short(op: Any, case: Case, dtype: str, backend: Backend, outcome: Outcome, derivatives: bool) -> None:
    """Single precision: value, and that nothing on the way back becomes double."""
    where = f"case {case!r}, {dtype}"
    with outcome.check("value", where):
        _same_values(op, case, dtype, backend, None)
    sample = Sample.of(op, case, dtype)
    if derivatives and sample.active:
        devices = short_devices(backend)
        if devices and (_asks_for_double(case) or _gives_double(op, sample)):
            devices = []
        for device in (None, *devices):
            check = Derivatives(backend, outcome, device, precise=False).check
            check(sample.function(backend, device), sample.active, _on(where, device), order=1)


def _edge(op: Any, case: Case, backend: Backend, outcome: Outcome, derivatives: bool) -> None:
    """Empty, size-one, 0-d and broadcast operands, where the reference accepts them."""
    dtype = (accepted(op, PRECISE) or accepted(op, EXACT))[0]
    if not _runs_on_the_host(op, case, dtype):
        return
    dtype, precise = _precision(op, case, dtype, backend)
    where = f"shapes {case!r}, {dtype}"
    with outcome.check("value", where):
        _same_values(op, case, dtype, backend, None)
    sample = Sample.of(op, case, dtype)
    if derivatives and sample.active:
        Derivatives(backend, outcome, precise=precise).check(sample.function(backend), sample.active, where, order=1)


def _mixed(op: Any, case: Case, backend: Backend, outcome: Outcome) -> None:
    """Operands of several data types: each gets a cotangent of its own type, real ones a real one."""
    sample = Sample.of(op, case, PRECISE[0])
    if len(sample.active) < 2:
        return
    precise = not _lacks(backend, PRECISE[1])
    names = PRECISE if precise else SHORT
    for pair in [names, names[::-1]] if accepted(op, PRECISE) == [*PRECISE] else []:
        mixed = Sample.of(op, case, pair)
        where = f"case {case!r}, {' and '.join(pair)}"
        Derivatives(backend, outcome, precise=precise).check(mixed.function(backend), mixed.active, where, order=1)
    if DTYPES["float32"] in CATEGORIES[op.dtypes]:
        mixed = Sample.of(op, case, ("float32", "float64"))
        where = f"case {case!r}, float32 and float64"
        Derivatives(backend, outcome, precise=False).check(mixed.function(backend), mixed.active, where, order=1)


def _elsewhere(op: Any, cases: list[Case], backend: Backend, outcome: Outcome) -> None:
    """Everything on a device that is not the default: a constant made without naming the device shows."""
    for device in other_devices(backend):
        for case in cases:
            for dtype in accepted(op, PRECISE):
                where = _on(f"case {case!r}, {dtype}", device)
                sample = Sample.of(op, case, dtype)
                if not sample.active:
                    continue
                with outcome.check("placement", where):
                    for y in _results(op, sample, backend, device):
                        moved = "device" in getattr(op, "required", ())
                        assert moved or y.device == device, f"a result is on {y.device}"
                Derivatives(backend, outcome, device).check(sample.function(backend, device), sample.active, where)


def _override(op: Any, cases: list[Case], backend: Backend, outcome: Outcome) -> None:
    """The adapter's function against the op's own body on the same library, which stands in where it declines."""
    for case in cases:
        dtype, _ = _precision(op, case, (accepted(op, PRECISE) or accepted(op, EXACT))[0], backend)
        sample = Sample.of(op, case, dtype)
        with outcome.check("override", f"case {case!r}"):
            wanted, got = (
                [host().xp.asarray(backend.to_numpy(y)) for y in tensors_in(sample.raw(function, backend))]
                for function in (backend.reference(op), backend.implementation(op))
            )
            for g, w in zip(got, wanted, strict=True):
                close(g, w, TOLERANCE.get(str(w.dtype), 0.0))


def _asks_for_double(case: Case) -> bool:
    return any(str(value) in PRECISE for value in (*case.operands, *case.params.values()))


def _gives_double(op: Any, sample: Sample) -> bool:
    """True for an op whose result has double precision whatever its operands have, so that no short device can hold it."""
    with suppress(Exception):  # an op that does not run on the host has failed already
        return any(str(_host_value(y).dtype) in PRECISE for y in _results(op, sample, plain(host()), None))
    return False


def _on(where: str, device: Any) -> str:
    return where if device is None else f"{where}, on {device}"


@cache
def _devices(backend: Backend) -> tuple[list[Any], list[Any]]:
    """The devices beside the default one: those with double precision, those without."""
    long, short = [], []
    default = backend.arrays.device(backend.xp.zeros((), dtype=backend.native("float32")))
    for device in backend.devices():
        if device == default:
            continue
        try:
            backend.xp.zeros((), dtype=backend.native("float64"), device=device)
            backend.xp.zeros((), dtype=backend.native("int64"), device=device)
            long.append(device)
        except Exception:
            try:
                backend.xp.zeros((), dtype=backend.native("int64"), device=device)
                short.append(device)
            except Exception:
                continue
    return long[:1], short[:1]


def other_devices(backend: Backend) -> list[Any]:
    """A device that is not the default one and has double precision, if there is one."""
    return _devices(backend)[0]


def short_devices(backend: Backend) -> list[Any]:
    """A device without double precision (a double made there is an error), if there is one."""
    return _devices(backend)[1]


# --------------------------------------------------------------------------------------------------------------- edges

UNARY = [((),), ((1,),), ((0, 3),)]
SIZES = {"shape", "output_size", "key"}  # parameters that would contradict other sizes of the operands
SEVERAL = [((), (3,)), ((3, 1), (1, 4)), ((2, 1, 3), (4, 1)), ((0, 3), (1,))]


def derived_cases(op: Any, cases: list[Case]) -> Iterator[Case]:
    """Cases of unusual operands: for ops that work element by element broadcast, empty, size-one, 0-d and plain numbers.

    Others get theirs from a case without a given shape, each distinct size in turn made 0, and all made 1; not all of
    them are valid.
    """
    first = cases[0].operands
    count = sum(_shape(s) is not None for s in first)
    if op.kind == "pointwise":
        for shapes in UNARY if count == 1 else SEVERAL:
            sizes = iter(shapes * count)
            operands = tuple(s if _shape(s) is None else _shaped(s, next(sizes)) for s in first)
            yield Case(operands, cases[0].params, cases[0].invariant)
        for i in [i for i, spec in enumerate(first) if count > 1 and isinstance(spec, tuple)]:
            low, high = domain_of(op, i)
            yield Case((*first[:i], round(low + 0.6 * (high - low), 2), *first[i + 1 :]), cases[0].params)
        return
    free = [
        c for c in cases if not SIZES & c.params.keys() and any(isinstance(s, tuple | separated) for s in c.operands)
    ]
    for case in free[:2]:
        sizes = sorted({n for s in case.operands for n in _shape(s) or ()})
        for gone in sizes:
            if not any(
                isinstance(s, ints) and s.high == gone not in s.shape for s in case.operands
            ):  # the axis they index
                yield _resized(case, lambda shape, gone=gone: tuple(0 if n == gone else n for n in shape))
        yield _resized(case, lambda shape: (1,) * len(shape), high=1)


def _resized(case: Case, change: Callable[[tuple[int, ...]], tuple[int, ...]], high: int | None = None) -> Case:
    operands = tuple(s if _shape(s) is None else _shaped(s, change(_shape(s) or ()), high) for s in case.operands)
    return Case(operands, case.params, case.invariant)


def _shape(spec: Any) -> tuple[int, ...] | None:
    return spec if isinstance(spec, tuple) else spec.shape if isinstance(spec, ints | bools | separated) else None


def _shaped(spec: Any, shape: tuple[int, ...], high: int | None = None) -> Any:
    if isinstance(spec, ints):
        return ints(shape, spec.low, spec.high) if high is None else ints(shape, 0, high)
    return shape if isinstance(spec, tuple) else type(spec)(shape)


def _runs_on_the_host(op: Any, case: Case, dtype: str) -> bool:
    try:
        _results(op, Sample.of(op, case, dtype), plain(host()), None)
    except Exception:
        return False
    return True
