"""`jit`: a function whose calls are compiled programs."""

from __future__ import annotations

import inspect
import os
import sys
import threading
import types
import warnings
import weakref
from collections.abc import Callable, Sequence
from functools import partial, update_wrapper
from typing import Any, NamedTuple

from polygrad.core import Backend, Tensor, get_backend, get_default_dtype
from polygrad.core.backend import Program
from polygrad.core.tensor import current_mode
from polygrad.jit.capture import Again, Capture
from polygrad.jit.environment import Environment, Place
from polygrad.jit.errors import TraceError
from polygrad.jit.nest import constants, flatten, signature
from polygrad.jit.plan import MISS, Plan, Stale
from polygrad.jit.shortcut import recording, shortcut
from polygrad.jit.slots import LOCK
from polygrad.jit.strict import refuse_iterators, strictly

__all__ = ["Jitted", "Stats"]

EAGER: list[Plan] = []  # stands for the plans of calls that run the function as it is
MANY, MOST = 8, 64  # programs for arguments of one form: how many are worth a warning, and how many are kept
TRIES = 6


class Stats(NamedTuple):
    """What a compiled function has done so far.

    Attributes:
        traces: how often it was run on stand-ins.
        compilations: how many programs were compiled.
        cache_hits: calls that were served by a program compiled before.
        eager_calls: calls that ran the function as it is, because the backend has no compiler or something else captures.
    """

    traces: int = 0
    compilations: int = 0
    cache_hits: int = 0
    eager_calls: int = 0


class Jitted:
    """A function whose calls are compiled programs; what `jit` returns. See there."""

    def __init__(
        self,
        function: Callable[..., Any],
        static_argnums: int | Sequence[int] = (),
        static_argnames: str | Sequence[str] = (),
        donate_argnums: int | Sequence[int] = (),
        donate: bool = True,
    ):
        if not callable(function):
            raise TypeError(f"jit expects a function, got {type(function).__name__}")
        self.__wrapped__ = function
        update_wrapper(self, function, updated=())
        self._options = static_argnums, static_argnames, donate_argnums, donate
        numbers = _numbers(static_argnums)
        names = {static_argnames} if isinstance(static_argnames, str) else set(static_argnames)
        self._static_numbers, self._static_names = _both(function, numbers, names)
        self._donated, self._donate = _numbers(donate_argnums), donate
        self._plans: dict[Any, list[Plan]] = {}
        self._varying: set[tuple[int, Any]] = set()
        self._holders: list[Any] = []
        self._counts = [0, 0, 0, 0]
        self._reason = "nothing"
        self._making = threading.RLock()
        self._instance: Callable[[], Any] | None = None
        self._methods: dict[int, tuple[Any, Jitted]] = {}
        self._short: Callable[[tuple[Any, ...]], Any] | None = None

    def __reduce_ex__(self, protocol: Any) -> Any:
        """By name where it stands in a module under its name, else the function and the options; programs are made anew."""
        found: Any = sys.modules.get(getattr(self, "__module__", ""))
        name = getattr(self, "__qualname__", "")
        for part in name.split("."):
            found = getattr(found, part, None)
        return name if found is self else (Jitted, (self._function(), *self._options))

    def __repr__(self) -> str:
        return f"<polygrad.jit of {self.__wrapped__!r}>"

    def __get__(self, instance: Any, owner: type | None = None) -> Jitted:
        """The method of an instance: each instance has programs of its own, which end with it."""
        if instance is None:
            return self
        found = self._methods.get(id(instance))
        if found is None:
            bound, key = Jitted(self.__wrapped__, *self._shifted()), id(instance)
            try:
                bound._instance = weakref.ref(instance, lambda _: self._methods.pop(key, None))
            except TypeError:  # a class with slots and no __weakref__
                bound._instance = lambda: instance
            self._methods[key] = found = bound._instance, bound
        return found[1]

    def _shifted(self) -> tuple[Any, ...]:
        """The options for a method, whose positions do not count `self`."""
        static, names, donated, donate = self._options
        return [n - 1 for n in _numbers(static)], names, [n - 1 for n in _numbers(donated)], donate

    def _function(self) -> Callable[..., Any]:
        return self.__wrapped__ if self._instance is None else types.MethodType(self.__wrapped__, self._instance())

    # ---------------------------------------------------------------------------------------------------------- calls

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        short = self._short
        if short is not None and not kwargs:
            found = short(args)
            if found is not MISS:
                self._counts[2] += 1
                return found
        mode = current_mode()
        if mode is not None and not mode.simple:  # inside of another capture, or somebody watches every op
            self._counts[3] += 1
            return self._function()(*args, **kwargs)
        key, leaves = self._key(args, kwargs, mode)
        plans = self._plans.setdefault(key, [])
        stale: list[Plan] = []
        attempt = 0
        while plans is not EAGER:
            found = self._called(plans, leaves, stale)
            if found is not None:
                self._counts[2] += attempt == 0
                self._remember(args, kwargs, mode, plans)
                return found[0]
            attempt += 1
            if attempt > TRIES:
                raise TraceError(f"{self!r} does not settle: {self._reason} changes in every run")
            with self._making:  # one thread makes a program, others that need the same one wait for it
                with LOCK:
                    known = self._find(plans, leaves, stale) is not None
                if not known:
                    plans = self._capture(key, plans, leaves)
        self._counts[3] += 1
        if os.environ.get("POLYGRAD_JIT_STRICT", "0") not in ("", "0"):
            return strictly(self._function(), args, kwargs)
        return self._function()(*args, **kwargs)

    def _called(self, plans: list[Plan], leaves: list[Any], stale: list[Plan]) -> tuple[Any] | None:
        """The result of a call, in a tuple; None if no program serves it."""
        with LOCK:
            found = self._find(plans, leaves, stale)
            if found is None:
                return None
            plan, tensors, values = found
            arrays = plan.gather(tensors)
            if plan.writes:
                return self._run(plan, stale, leaves, tensors, values, *arrays)
        return self._run(plan, stale, leaves, tensors, values, *arrays)

    def _run(self, plan: Plan, stale: list[Plan], *call: Any) -> tuple[Any] | None:
        try:
            return (plan.run(*call),)
        except Stale:
            stale.append(plan)
            return None

    def _remember(self, args: tuple[Any, ...], kwargs: dict[str, Any], mode: Any, plans: list[Plan]) -> None:
        """Let the next call of this kind go to its plan without a look at the arguments' forms."""
        plan = plans[0]
        if plan.short is None and not kwargs and not self._static_numbers:
            plan.short = shortcut(plan, args, mode)
        self._short = plan.short

    def _key(self, args: tuple[Any, ...], kwargs: dict[str, Any], mode: Any) -> tuple[Any, list[Any]]:
        """What a capture depends on besides the environment, and the call's tensors, arrays and numbers."""
        leaves: list[Any] = []
        numbers, names = self._static_numbers, self._static_names
        if numbers or names:
            forms = [_constant(a) if i in numbers else flatten(a, leaves) for i, a in enumerate(args)]
            named = [_constant(a) if name in names else flatten(a, leaves) for name, a in kwargs.items()]
        else:
            forms = [flatten(a, leaves) for a in args]
            named = [flatten(a, leaves) for a in kwargs.values()]
        form = ("tuple", None, (("tuple", None, tuple(forms)), ("dict", tuple(kwargs), tuple(named))))
        signatures = [signature(x) for x in leaves]
        tensors = [x for x in leaves if isinstance(x, Tensor)]
        if len(tensors) > 1 and len(set(tensors)) < len(tensors):  # some are the same: it matters which
            signatures.append(tuple([next(i for i, y in enumerate(tensors) if y is x) for x in tensors]))
        return (form, tuple(signatures), recording(mode), get_default_dtype(), get_backend()), leaves

    def _find(
        self, plans: list[Plan], leaves: list[Any], stale: list[Plan]
    ) -> tuple[Plan, list[Any], list[Any]] | None:
        """The plan that serves a call, with the call's boxes and numbers."""
        for i, plan in enumerate(plans):
            if plan in stale:
                continue
            found = plan.match(leaves)
            if type(found) is tuple:
                if i:
                    plans.insert(0, plans.pop(i))
                return plan, found[0], found[1]
            self._reason = found.path if isinstance(found, Place) else str(found)
            if isinstance(found, Place) and found.writable and _may_vary(found):
                self._varying.add(found.name)
                self._holders.append(found.holder)
        return None

    # ---------------------------------------------------------------------------------------------------------- capture

    def _environment(self, key: Any) -> Environment:
        function = self._function()
        name = getattr(function, "__qualname__", type(function).__name__)
        return Environment([(function, name), *((value, "an argument") for value in constants(key[0]))], self._varying)

    def _capture(self, key: Any, plans: list[Plan], leaves: list[Any]) -> list[Plan]:
        """The plans of a key with a new one in front, which then serves this call; EAGER where there is no compiler."""
        plan = self._plan(key, leaves)
        if plan is None:
            self._plans[key] = EAGER
            return EAGER
        plan.compile()
        self._counts[1] += 1
        plans.insert(0, plan)
        del plans[MOST:]
        if len(plans) % MANY == 0:
            warnings.warn(
                f"{self!r} was captured {len(plans)} times for arguments of one form, the last time because of {self._reason}. "
                "Pass what changes as an argument, or keep it in a tensor",
                RuntimeWarning,
                stacklevel=4,
            )
        return plans

    def _plan(self, key: Any, leaves: list[Any]) -> Plan | None:
        """A plan whose program is not compiled yet; None where the backend has no compiler."""
        with LOCK:
            traced = self._trace(key, leaves)
            return traced and Plan(*traced, self._donate, self._donated, partial(self._again, key))

    def _trace(self, key: Any, leaves: list[Any]) -> tuple[Capture, Program] | None:
        capacity = 0
        for _ in range(TRIES):
            environment = self._environment(key)
            backend = _backend(leaves, environment)
            if backend.compiler is None:
                return None
            refuse_iterators(environment)
            capture = Capture(self._function(), key[0], leaves, environment, backend, self._varying, capacity)
            self._counts[0] += 1
            try:
                program = backend.compiler.trace(capture.run, capture.capacity, [s.array for s in capture.slots])
            except Again as again:
                capacity = max(capacity, again.args[0])
                continue
            self._holders += [place.holder for place in environment.places if place.name in self._varying]
            return capture, program
        raise TraceError(f"{self!r} does not settle: each run changes other attributes than the last")

    def _again(self, key: Any, leaves: list[Any], kind: type[Capture]) -> Capture:
        """Another capture for a call that was captured before."""
        environment = self._environment(key)
        backend = _backend(leaves, environment)
        return kind(self._function(), key[0], leaves, environment, backend, self._varying, 64)

    # ---------------------------------------------------------------------------------------------------------- to look inside

    def stats(self) -> Stats:
        """What this function has done so far."""
        return Stats(*self._counts)

    def _inspected(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Program:
        key, leaves = self._key(args, kwargs, current_mode())
        counts = list(self._counts)
        plan = self._plan(key, leaves)
        if plan is None:
            raise TraceError(f"{self!r} runs as it is: the backend has no compiler")
        plan.compile()
        self._counts = counts
        return plan.program

    def jaxpr(self, *args: Any, **kwargs: Any) -> Any:
        """The program of a call with these arguments before optimisation, in the library's own form; nothing is run."""
        return self._inspected(args, kwargs).text()

    def hlo(self, *args: Any, **kwargs: Any) -> str:
        """The compiler's optimised program of a call with these arguments, as text; nothing is run."""
        return self._inspected(args, kwargs).lowered()

    def cost_analysis(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """What the compiler expects a call with these arguments to cost, among it "flops"; nothing is run."""
        return self._inspected(args, kwargs).cost()


def _may_vary(place: Place) -> bool:
    """True where a number, a tuple of numbers or a tensor was replaced: it may be another in each call of one program."""
    value = place.value
    if isinstance(value, Tensor):
        now = place.get()
        return isinstance(now, Tensor) and now._backend is value._backend
    return type(value) in (int, float) or (type(value) is tuple and all(type(v) in (int, float) for v in value))


def _numbers(value: int | Sequence[int]) -> set[int]:
    return {value} if isinstance(value, int) else set(value)


def _both(function: Callable[..., Any], numbers: set[int], names: set[str]) -> tuple[set[int], set[str]]:
    """Static arguments by position and by name: an argument that is static in one spelling is so in the other."""
    if not numbers and not names:
        return numbers, names
    try:
        parameters = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return numbers, names
    numbers = {n + len(parameters) if n < 0 else n for n in numbers}
    return (
        numbers | {parameters.index(name) for name in names if name in parameters},
        names | {parameters[n] for n in numbers if n < len(parameters)},
    )


def _constant(value: Any) -> Any:
    try:
        hash(value)
    except TypeError:
        raise TypeError(f"a static argument must be hashable, got {type(value).__name__}: {value!r}") from None
    return "constant", type(value), value


def _backend(leaves: list[Any], environment: Environment) -> Backend:
    """The backend of the arguments; without tensors among them, the default one unless all tensors in reach are elsewhere."""
    for leaf in leaves:
        if isinstance(leaf, Tensor):
            return leaf._backend
    default = get_backend()
    homes = [tensor._backend for tensor, _ in environment.tensors.values()]
    return default if default in homes or not homes else homes[0]
