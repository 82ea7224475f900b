"""What a library is: two namespaces with the same names, and how one is chosen.

`Backend.arrays` holds functions on the library's own arrays, `Backend.tensors` the same names on Tensors, recording.
Rules receive one or the other as `xp`, so one text serves first and higher order.
"""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

from polygrad.core.device import device_named
from polygrad.core.dtype import CATEGORIES, DTYPES, DType, as_dtype, default_for
from polygrad.core.later import Later

__all__ = [
    "Backend",
    "BackendNotAvailable",
    "Compiler",
    "Namespace",
    "Program",
    "available_backends",
    "backend_of",
    "get_backend",
    "set_backend",
    "use_backend",
]

DEFAULT = "numpy"
GROUP = "polygrad.backends"

# Names of the standard that are not ops: they take no array operand, or their result carries nothing to differentiate.
# They reach rules and bodies from the library as they are.
PLAIN = (
    "arange asarray empty empty_like eye from_dlpack full full_like linspace ones ones_like zeros zeros_like "
    "can_cast finfo iinfo isdtype result_type broadcast_shapes __array_namespace_info__ fft.fftfreq fft.rfftfreq"
).split()
CONSTANTS = {"e": 2.718281828459045, "pi": 3.141592653589793, "inf": float("inf"), "nan": float("nan"), "newaxis": None}


class BackendNotAvailable(ImportError):
    """A backend was asked for whose library is not here or cannot run."""


class Program(Protocol):
    """A function as the compiler saw it.

    Attributes:
        used: per array handed to `Compiler.trace`, whether the results depend on it.
        kinds: the shape and dtype of each result.
    """

    used: list[bool]
    kinds: list[tuple[tuple[int, ...], Any]]

    def compile(
        self, numbers: bool, donated: list[int], spare: Sequence[int] = ()
    ) -> Callable[[list[float], list[Any], list[Any]], list[Any]]:
        """A function of (numbers, donated arrays, other arrays), in their order, without those that are not used.

        The memory of a donated array may be taken for a result; the array must not be looked at again. After those of the
        function's arguments come arrays like the results `spare`, for these to be written over; or None, for fresh memory.
        """

    def text(self) -> Any:
        """The library's own form of the program, for people."""

    def lowered(self) -> str:
        """The optimised program, as text."""

    def cost(self) -> dict[str, float]:
        """What the compiler expects it to cost: at least "flops"."""


class Compiler(Protocol):
    """What a library's compiler does for `polygrad.jit`; a backend hands one over as `compiler=`.

    Attributes:
        errors: what the library raises when a value is asked for that only exists when the program runs.
    """

    errors: tuple[type[Exception], ...]

    def is_traced(self, array: Any) -> bool:
        """True for a stand-in."""

    def trace(self, function: Callable[..., list[Any]], numbers: int, arrays: list[Any]) -> Program:
        """Run `function(number, stand_ins)` once, on stand-ins for the arrays; it returns the arrays that are the results.

        `number(i)` is a stand-in for the i-th of `numbers` 0-d float64 arguments.
        """

    def cond(self, pred: Any, true: Callable[[], list[Any]], false: Callable[[], list[Any]]) -> list[Any]:
        """The results of one of two functions, by the value of a 0-d boolean array."""

    def while_loop(
        self, cond: Callable[[list[Any]], Any], body: Callable[[list[Any]], list[Any]], carried: list[Any]
    ) -> list[Any]:
        """What `carried` is when `cond` is first false, `body` having made the next from the last until then."""

    def forget(self) -> None:
        """Drop all compiled programs, for the memory that they take."""


class Namespace(types.SimpleNamespace):
    """A bag of functions that passes for a module: it has a `__name__` and is hashed by identity."""

    def __init__(self, name: str):
        super().__init__(__name__=name)

    def __hash__(self) -> int:  # type: ignore[override]
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __repr__(self) -> str:
        return f"<namespace {self.__name__!r}>"


class Registered(Namespace):
    """A namespace of what is declared. A name that it lacks may belong to an op that is declared on request: then all are."""

    def __getattr__(self, name: str) -> Any:
        declared.complete()
        try:
            return vars(self)[name]
        except KeyError:
            raise AttributeError(f"{self!r} has no {name!r}", name=name, obj=self) from None


def compat() -> Any:
    """`array_api_compat`, loaded when a library's array or namespace is first looked at: it costs a tenth of polygrad's import."""
    return import_module("array_api_compat")


def resolve(space: Any, name: str, default: Any = None) -> Any:
    """The object at a dotted name below `space`, or `default`."""
    if "." not in name:
        return getattr(space, name, default)
    for part in name.split("."):
        space = getattr(space, part, None)
        if space is None:
            return default
    return space


def assign(space: Namespace, name: str, value: Any) -> None:
    """Put `value` at a dotted name below `space`, making the sub-namespace where it is new."""
    head, _, tail = name.rpartition(".")
    if head:
        space = vars(space).setdefault(head, type(space)(f"{space.__name__}.{head}"))
    setattr(space, tail, value)


class Declared:
    """Everything that was declared, by dotted name, and the backends that must hear of a new name.

    Attributes:
        here: the ops so far.
        rest: modules that declare more, and are imported when somebody asks for something that is not here, or for all.
    """

    def __init__(self) -> None:
        self.here: dict[str, Any] = {}
        self.rest: tuple[str, ...] = ()
        self.creation: dict[str, Callable[..., Any]] = {}
        self.aliases: dict[str, str] = {}
        self.polyfills: dict[str, Callable[..., Any]] = {}
        self.live: list[Backend] = []
        self.public: Any = None
        self._ambient: list[Callable[[Backend], Any]] = []

    @property
    def ops(self) -> dict[str, Any]:
        """All ops."""
        self.complete()
        return self.here

    def op(self, name: str) -> Any:
        """The op of that name; KeyError if there is none."""
        return self.here.get(name) or self.ops[name]

    def complete(self) -> None:
        """Import the rest; threads that do so at a time wait for each other at each module, as all that import."""
        if self.rest:
            for module in self.rest:
                import_module(module)
            self.rest = ()
            for backend in self.live:
                backend.check()

    @property
    def ambient(self) -> list[Callable[[Backend], Any]]:
        """Functions that give the tensor which code uses without naming it, such as the state of the current generator."""
        self.complete()
        return self._ambient

    def add_ambient(self, function: Callable[[Backend], Any]) -> None:
        """Enter such a function."""
        self._ambient.append(function)

    def add_op(self, op: Any) -> None:
        """Enter an op under its name; TypeError if there is one."""
        if op.name in self.here:
            raise TypeError(f"op {op.name!r} is declared twice")
        self.here[op.name] = op
        for backend in self.live:
            backend.install(op)

    def add_alias(self, name: str, of: str) -> None:
        """Enter a second name of an op."""
        self.aliases[name] = of
        for backend in self.live:
            backend.install_alias(name, of)

    def add_creation(self, name: str, function: Callable[..., Any]) -> None:
        """Enter a creation function; its first argument is the backend."""
        self.creation[name] = function
        for backend in self.live:
            assign(backend.tensors, name, partial(function, backend))


declared = Declared()


class _TypesOf(dict):
    """Library dtype -> DType, filled as types are met, each also into the categories that ops test operands against."""

    def __init__(self, accepts: dict[str, set[Any]]):
        super().__init__()
        self.accepts = accepts

    def __missing__(self, key: Any) -> DType:
        self[key] = found = as_dtype(key)
        for category, members in CATEGORIES.items():
            if found in members:
                self.accepts[category].add(key)
        return found


class Backend:
    """A library of arrays: its namespace, its fast paths, and the two namespaces made of them.

    Args:
        name: what `POLYGRAD_BACKEND` and `set_backend` call it.
        xp: the library's Array API namespace.
        to_numpy: raw array -> host array of the default backend; needed where DLPack and the buffer protocol are not enough.
        owned: `owned(array, count)` tells whether nobody else can see this buffer, so that an in-place form may reuse it
            (`count` is how many references the caller holds). Without it every in-place form makes a new array.
        blockwise: `blockwise(function, arrays, reusable)` gives the results (a tuple) of a function that works element by element
            on arrays of one shape, part by part, the i-th written into arrays[j] where j is the i-th of `reusable` (None for a
            new array); NotImplemented for arrays that it does not take. Optimizers use it, and add the name of their rule, its
            numbers and its options, for a library that does the same in its own way.
        pointwise: `pointwise(op, body)` gives what stands for the body of a pointwise op: a function with equal results that is
            done sooner, or the body.
        without_axes: `without_axes(array)` gives a new array that has no axes in the form with which the library computes fastest.
        devices: callable that lists the library's devices; the standard's info function by default.
        compiler: what `polygrad.jit` needs of the library's compiler (a `Compiler`); None where there is none.
        device: raw array -> its device, where the standard's attribute does not answer.
        synchronize: waits until a raw array is computed; needed by timers only.
        info: callable giving a dict for `show_config` (versions, threads, providers).
        fast: overrides by op name, with the op's own signature, on raw arrays. One may return NotImplemented to decline a
            case, unless it has an attribute `never_declines`, which saves a call. A dot in an op's name is written as two
            underscores (`linalg__inv`). A `Later` is fetched when it is called.

    Raises:
        TypeError: an override for an op that does not exist. It is raised when the backend is first used; of an adapter that
            is an installed package, when all ops are declared.
    """

    def __init__(
        self,
        name: str,
        xp: Any,
        *,
        to_numpy: Callable[[Any], Any] | None = None,
        owned: Callable[[Any, int], bool] | None = None,
        blockwise: Callable[..., Any] | None = None,
        pointwise: Callable[[Any, Callable[..., Any]], Callable[..., Any]] | None = None,
        without_axes: Callable[[Any], Any] | None = None,
        devices: Callable[[], list[Any]] | None = None,
        compiler: Compiler | None = None,
        device: Callable[[Any], Any] | None = None,
        synchronize: Callable[[Any], Any] | None = None,
        info: Callable[[], dict[str, Any]] | None = None,
        **fast: Callable[..., Any],
    ):
        self.name = name
        self.xp = xp
        self.fast = {key.replace("__", "."): function for key, function in fast.items()}
        self.owned = owned
        self.blockwise = blockwise
        self.pointwise = pointwise
        self.without_axes = without_axes
        self.compiler = compiler
        self.device = device or compat().device
        self.synchronize = synchronize or (lambda array: array)
        self.info = info or (lambda: {})
        self._to_numpy = to_numpy
        self._devices = devices
        self.accepts: dict[str, set[Any]] = {category: set() for category in CATEGORIES}
        self.dtypes: dict[Any, DType] = _TypesOf(self.accepts)
        self._native: dict[DType, Any] = {}
        self.arrays = Registered(f"{name}.arrays")
        self.tensors = Registered(f"polygrad.{name}")
        self._ready = False

    def __repr__(self) -> str:
        return f"<polygrad backend {self.name!r}>"

    def __reduce__(self):
        return get_backend, (self.name,)

    def ready(self) -> Backend:
        """Fill both namespaces, once; returns the backend."""
        if self._ready:
            return self
        if not declared.rest or _adapter(self.name) is None:
            self.check()
        # For bodies that refine the library's function of the same name: those functions, and what stands in for them.
        self.arrays.raw = Registered(self.xp.__name__)
        for name in PLAIN:
            if (function := self.fast.get(name) or self.offered(name)) is not None:
                assign(self.arrays, name, function)
        for space in (self.arrays, self.tensors):
            for name, value in CONSTANTS.items():
                setattr(space, name, value)
        for name in DTYPES:
            setattr(self.tensors, name, DTYPES[name])
            if hasattr(self.xp, name):
                setattr(self.arrays, name, getattr(self.xp, name))
        self.arrays.device = self.device
        self.arrays.is_complex = lambda x: self.dtypes[x.dtype].is_complex
        self.tensors.is_complex = lambda x: x.dtype.is_complex
        self.tensors.device = _device_of
        for op in declared.here.values():
            self.install(op)
        for name, of in declared.aliases.items():
            self.install_alias(name, of)
        for name, function in declared.creation.items():
            assign(self.tensors, name, partial(function, self))
        declared.live.append(self)
        self._ready = True
        return self

    def check(self) -> None:
        """TypeError if there is an override for an op that does not exist."""
        unknown = sorted(set(self.fast) - set(declared.ops) - set(PLAIN))
        if unknown:
            raise TypeError(f"backend {self.name!r} overrides {', '.join(unknown)}, which no op declares")

    def install(self, op: Any) -> None:
        """Put one op into both namespaces."""
        assign(self.tensors, op.name, op.call)
        if (function := self.offered(op.name)) is not None:
            assign(self.arrays.raw, op.name, function)
        assign(self.arrays, op.name, self.implementation(op))

    def install_alias(self, name: str, of: str) -> None:
        """Put the op called `of` into both namespaces under another name too."""
        for space in (self.tensors, self.arrays):
            assign(space, name, resolve(space, of))

    def offered(self, name: str) -> Callable[..., Any] | None:
        """The library's function of that name; where it lacks one, the polyfill, or None."""
        function = resolve(self.xp, name)
        if function is None and (body := declared.polyfills.get(name)) is not None:
            return partial(body, self.arrays)
        return function

    def implementation(self, op: Any) -> Callable[..., Any]:
        """The function on raw arrays that stands for `op` here: override, body, library function or polyfill."""
        reference = self.reference(op)
        if self.pointwise is not None and op.kind == "pointwise" and op.body is not None:
            reference = self.pointwise(op, reference)
        fast = self.fast.get(op.name)
        if fast is None:
            return reference
        if not isinstance(fast, types.FunctionType | Later) or hasattr(fast, "never_declines"):
            return fast  # a library's own function (a ufunc, a builtin) never does

        def overridden(*operands: Any, **parameters: Any) -> Any:
            result = fast(*operands, **parameters)
            return reference(*operands, **parameters) if result is NotImplemented else result

        return overridden

    def reference(self, op: Any) -> Callable[..., Any]:
        """What `op` is without the adapter: its body, or the library's function, or a polyfill."""
        body = op.body
        if body is None or getattr(op, "is_library", False):
            function = resolve(self.xp, op.name) if body else self.offered(op.name)
            if function is not None:
                return function
        if body is not None:
            return partial(body, self.arrays)

        def missing(*operands: Any, **parameters: Any) -> Any:
            raise NotImplementedError(f"{self.xp.__name__} has no {op.name} and polygrad has no replacement for it")

        return missing

    def native(self, dtype: Any) -> Any:
        """The library's own object for a dtype; TypeError where the library lacks it."""
        dtype = as_dtype(dtype)
        try:
            return self._native[dtype]
        except KeyError:
            pass
        found = getattr(self.xp, dtype.name, None)
        if found is None:
            raise TypeError(f"backend {self.name!r} has no {dtype.name}; use another dtype or another backend")
        self._native[dtype] = found
        return found

    def devices(self) -> list[Any]:
        """The library's devices."""
        if self._devices is not None:
            return list(self._devices())
        return list(self.xp.__array_namespace_info__().devices())

    def place(self, device: Any) -> Any:
        """The library's device that a string such as "cpu" or "cuda:1" names; anything else as it is.

        Raises:
            RuntimeError: the library lists no such device.
        """
        if not isinstance(device, str):
            return device
        found = device_named(device, self.devices())
        if found is None:
            there = ", ".join(str(d) for d in self.devices())
            raise RuntimeError(f"backend {self.name!r} has no device {str(device)!r}; it has {there}")
        return found

    def to_numpy(self, array: Any) -> Any:
        """The array's values as a host array of the default backend (no copy where memory can be shared)."""
        if self._to_numpy is not None:
            return self._to_numpy(array)
        return get_backend(DEFAULT).to_numpy(array)

    def asarray(self, value: Any, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Any:
        """A raw array of this library from a scalar, nested lists, or any library's array; `dtype` is a DType or None."""
        native = None if dtype is None else self.native(dtype)
        where = {} if device is None else {"device": device}
        source = None if isinstance(value, bool | int | float | complex | list | tuple) else backend_of(value)
        if source is not None and source is not self:
            value, copy = source.to_numpy(value), True
        if source is self and native is not None and value.dtype != native:
            made, copy = self.arrays.astype(self.xp.asarray(value, **where), native), True
        else:
            if copy is not None:
                where["copy"] = copy
            made = self.xp.asarray(value, dtype=native, **where)
        return made if self.without_axes is None or made.shape or copy is False else self.without_axes(made)

    def scalar(self, value: Any, like: Any) -> Any:
        """A 0-d array of `like`'s dtype and device."""
        return self.xp.asarray(value, dtype=like.dtype, device=self.device(like))

    def is_traced(self, array: Any) -> bool:
        """True for a stand-in of the library's compiler, which has a shape and a dtype but no value."""
        return self.compiler is not None and self.compiler.is_traced(array)


def _device_of(x: Any) -> Any:
    return x.device


# ---------------------------------------------------------------------------------------------------------- selection

_loaded: dict[str, Backend] = {}
_by_type: dict[type, Backend | None] = dict.fromkeys((bool, int, float, complex, str, list, tuple, dict, type(None)))
_context: ContextVar[Backend | None] = ContextVar("polygrad backend", default=None)
_process: list[Backend] = []  # the one set by set_backend or POLYGRAD_BACKEND, once known


def _entry_points() -> dict[str, Any]:
    metadata = import_module("importlib.metadata")  # only here: it costs as much as all of polygrad's own import
    return {e.name: e for e in metadata.entry_points(group=GROUP)}


def get_backend(name: str | Backend | None = None) -> Backend:
    """The backend of that name, loaded on first use; without a name, the current default.

    The default is, in this order: `use_backend` in this context, `set_backend`, the environment variable
    `POLYGRAD_BACKEND`, numpy.

    Raises:
        BackendNotAvailable: no such backend, or its library is missing; the message says how to install it and which are here.
    """
    if name is None:
        current = _context.get()
        if current is not None:
            return current
        if not _process:
            asked = os.environ.get("POLYGRAD_BACKEND", "").strip()
            _process.append(
                _load(asked or DEFAULT, "the environment variable POLYGRAD_BACKEND" if asked else "the default")
            )
        return _process[0]
    return name.ready() if isinstance(name, Backend) else _load(name, "the argument")


def _load(name: str, origin: str) -> Backend:
    if name in _loaded:
        return _loaded[name]
    known = _adapter(name) is not None
    try:
        if known:
            backend = import_module(_adapter(name) or "").backend
        else:
            entry = _entry_points().get(name)
            known = entry is not None
            backend = entry.load() if entry else _wrap(name)
    except (ImportError, RuntimeError) as error:
        raise BackendNotAvailable(_explain(name, origin, known, error)) from error
    _loaded[name] = backend
    return backend.ready()


def _adapter(name: str) -> str | None:
    """The package `polygrad_<name>` where it is installed: adapters of that name are found without reading entry points."""
    package = f"polygrad_{name}"
    return package if name.isidentifier() and find_spec(package) is not None else None


def _wrap(name: str) -> Backend:
    """A Backend around any module that is an Array API namespace, with no adapter at all."""
    try:
        xp = import_module(f"array_api_compat.{name}")
    except ImportError:
        xp = import_module(name)
    if not all(hasattr(xp, attribute) for attribute in ("asarray", "zeros", "astype", "matmul")):
        raise ImportError(
            f"module {xp.__name__!r} is not an Array API namespace (it has no asarray, zeros, astype or matmul)"
        )
    return Backend(name, xp)


def _explain(name: str, origin: str, known: bool, error: BaseException) -> str:
    cure = (
        f'install it with: pip install "polygrad-array-api[{name}]"'
        if known
        else "it is neither a backend that an installed package provides nor the name of an importable Array API module"
    )
    here = ", ".join(sorted(n for n, problem in available_backends().items() if problem is None)) or "none"
    return f"backend {name!r} (from {origin}) cannot be used: {error}; {cure}. Usable here: {here}."


def available_backends() -> dict[str, str | None]:
    """The installed adapters by name: None where the library can be imported, else what is missing."""
    found: dict[str, str | None] = {}
    for name, entry in _entry_points().items():
        if name in _loaded:
            found[name] = None
            continue
        try:
            _loaded[name] = entry.load()
            found[name] = None
            _loaded[name].ready()
        except (ImportError, RuntimeError) as error:
            found[name] = str(error)
    return found


def set_backend(name: str | Backend) -> None:
    """Make this backend the default for new tensors, in the whole process. Tensors that exist stay where they are."""
    backend = get_backend(name)
    _process[:] = [backend]


@contextmanager
def use_backend(name: str | Backend) -> Iterator[Backend]:
    """Make this backend the default for new tensors inside a `with` block, in this thread or task only."""
    backend = get_backend(name)
    token = _context.set(backend)
    try:
        yield backend
    finally:
        _context.reset(token)


def backend_of(array: Any) -> Backend | None:
    """The backend whose library this raw array belongs to, or None if it is no array. Cached by type."""
    kind = type(array)
    try:
        return _by_type[kind]
    except KeyError:
        pass
    backend = None
    # An array that knows its namespace need not be wrapped, which for some libraries loads all of the library.
    speaks = hasattr(kind, "__array_namespace__")
    is_array = speaks or compat().is_array_api_obj(array)
    if is_array and not hasattr(kind, "_backend"):
        space = array.__array_namespace__() if speaks else compat().array_namespace(array)
        name = space.__name__.removeprefix("array_api_compat.")
        for candidate in (*_loaded.values(),):
            if candidate.xp is space or candidate.xp.__name__.removeprefix("array_api_compat.") == name:
                backend = candidate
                break
        else:
            root = name.partition(".")[0]
            backend = get_backend(root if _adapter(root) is not None or root in _entry_points() else name)
    if backend is not None or not is_array:
        _by_type[kind] = backend
    return backend


def namespace_of(backend: Backend) -> Any:
    """What `Tensor.__array_namespace__` gives: the polygrad module for the current default backend, else its namespace."""
    if declared.public is not None and backend is get_backend():
        return declared.public
    return backend.tensors


def default_dtype(category: str, backend: Backend) -> Any:
    """The library dtype in which a kind of Python scalar or list is stored by default."""
    return backend.native(default_for(category))


def loaded_modules() -> list[str]:
    """The array libraries that are in memory (for `show_config` and tests)."""
    return [b.xp.__name__ for b in _loaded.values() if b.xp.__name__ in sys.modules]
