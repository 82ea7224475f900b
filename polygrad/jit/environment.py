"""What a function can reach: the tensors, numbers and containers behind its closure, globals, arguments and attributes.

The walk starts at a function and follows what its code can name: closure cells, the globals it reads, and of every object those
attributes whose name some code that can be reached contains. Containers are followed as a whole. Each place that was met becomes
a guard: when it holds something else in a later call, the function is captured again. So a Python number that is read by
attribute is never baked in silently. The walk ends at libraries: modules, classes and functions that are installed and do not use
polygrad. Of their objects it follows what the user's code names, of their functions what they were given in a closure (a decorator
was given the function that it decorates).
"""

from __future__ import annotations

import dis
import functools
import io
import re
import types
from collections import deque
from collections.abc import Container, Iterable, Iterator
from operator import attrgetter, getitem, is_, itemgetter
from typing import Any

from polygrad.core import DType, Tensor, backend_of
from polygrad.core.backend import loaded_modules
from polygrad.core.hooks import Gathering
from polygrad.core.nest import kind_of
from polygrad.core.tensor import Leaf
from polygrad.jit.errors import is_library, is_polygrad
from polygrad.jit.numbers import same

__all__ = ["Environment", "Place", "hooks_of"]

SCALARS = (bool, int, float, complex, str, bytes, type(None), DType, type(Ellipsis), range, slice)
SEEING_ALL = {"getattr", "setattr", "vars", "__dict__", "eval", "exec", "globals", "locals", "attrgetter"}
NOT_IMPLIED = {"__init__", "__new__", "__repr__", "__str__", "__del__", "__reduce__", "__reduce_ex__", "__getstate__"}
METHODS = types.FunctionType | staticmethod | classmethod | property | functools.partial
LOOKING_UP = {"eval", "exec", "globals", "vars"}  # finds globals by what a string says
WORDS = re.compile(r"[^\W\d]\w*")
BAGS = {
    ("types", "SimpleNamespace"),
    ("argparse", "Namespace"),
}  # the standard library's objects that hold whatever the user wants
BULK = 256  # items from which on a container of plain values is compared as a whole
FIELDS = types.GetSetDescriptorType | types.MemberDescriptorType  # what slots are in their class
HOOKS = ("hooks", "after", "post", "pre")  # keys of `Leaf.extra`
STORE_GLOBAL = dis.opmap["STORE_GLOBAL"]
MISSING = object()
contents_of = attrgetter("cell_contents")


class Place:
    """Where a value stands: a key of a dict, an item of a list, an attribute, a closure cell.

    Attributes:
        holder, key: what it stands in, and where.
        path: how the user would write it.
        value: what stood there when the function was captured.
    """

    __slots__ = ("holder", "key", "path", "value")

    def __init__(self, holder: Any, key: Any, path: str, value: Any):
        self.holder, self.key, self.path, self.value = holder, key, path, value

    def get(self) -> Any:
        """What stands there now, or MISSING."""
        holder = self.holder
        try:
            if isinstance(holder, types.CellType):
                return holder.cell_contents
            if isinstance(holder, dict | list | tuple | deque | types.MappingProxyType):
                return holder[self.key]
            return getattr(holder, self.key)
        except (KeyError, IndexError, AttributeError, ValueError):
            return MISSING

    def set(self, value: Any) -> None:
        """Put a value there; it bypasses `__setattr__` of the holder's class, as the walk bypassed `__getattr__`."""
        holder = self.holder
        if value is MISSING:
            return self._clear()
        if isinstance(holder, types.CellType):
            holder.cell_contents = value
        elif isinstance(holder, dict | list | deque):
            holder[self.key] = value
        elif isinstance(holder, type):
            setattr(holder, self.key, value)
        else:
            object.__setattr__(holder, self.key, value)

    def _clear(self) -> None:
        """Leave nothing there."""
        holder = self.holder
        if isinstance(holder, types.CellType):
            del holder.cell_contents
        elif isinstance(holder, dict):
            holder.pop(self.key, None)

    @property
    def name(self) -> tuple[int, Any]:
        """The place as a key."""
        return id(self.holder), self.key if isinstance(self.key, str | int | type(None)) else id(self.key)

    @property
    def writable(self) -> bool:
        """False in tuples and in the view of a class's attributes."""
        return not isinstance(self.holder, tuple | types.MappingProxyType)


class Environment:
    """What a function reached when it was walked.

    Places whose name is in `varying` are met, but not looked into: the function puts a new container there in each call.

    Attributes:
        places: every place whose value was looked at.
        tensors: id -> (tensor, path).
        arrays: id -> the place of a raw array.
        containers: (container, copy of it, path) for dicts, lists and sets that were followed as a whole.
        bulk: (container, list of its values, path) for large ones of plain values, which are compared as a whole.
        objects: the same for the attributes of objects.
        prepared: numbers that their owner names as changing from call to call (see `prepare_jit` in `polygrad.jit.jit`).
        iterators: paths of iterators that the code can name.
    """

    def __init__(self, roots: Iterable[tuple[Any, str]], varying: Container[Any] = ()):
        self.roots, self.varying = list(roots), varying
        self.foreign = {part for name in loaded_modules() for part in name.split(".")} | {"array_api_compat"}
        self.names: set[str] = set()  # in the user's code
        self.our_names: set[str] = set()  # in polygrad's classes, which look at objects of these classes only
        self.everything = False
        self.prepared: list[tuple[Any, str]] = []
        self._asked: set[int] = set()
        self._alive: list[Any] = []
        before = None
        while before != (before := self._extent()):
            self._walk()

    def _extent(self) -> tuple[int, ...]:
        return len(self.names), len(self.our_names), self.everything, len(self.prepared)

    def _walk(self) -> None:
        self.places: list[Place] = []
        self.tensors: dict[int, tuple[Tensor, str]] = {}
        self.arrays: dict[int, Place] = {}
        self.containers: list[tuple[Any, Any, str]] = []
        self.bulk: list[tuple[Any, list[Any], str]] = []
        self.objects: list[tuple[dict[str, Any], dict[str, Any], str]] = []
        self.iterators: list[str] = []
        self._seen: set[int] = set()
        self._todo: deque[tuple[Any, str]] = deque(self.roots)
        while self._todo:
            self._visit(*self._todo.popleft())

    def _meet(self, holder: Any, key: Any, path: str, value: Any) -> None:
        place = Place(holder, key, path, value)
        self.places.append(place)
        if backend_of(value) is not None if not isinstance(value, (*SCALARS, Tensor)) else False:
            self.arrays.setdefault(id(value), place)
        elif not (place.name in self.varying and kind_of(value) is not None):
            self._todo.append((value, path))

    def _visit(self, value: Any, path: str) -> None:
        if isinstance(value, SCALARS) or id(value) in self._seen:
            return
        self._seen.add(id(value))
        if isinstance(value, Tensor):
            self._tensor(value, path)
        elif isinstance(value, types.FunctionType):
            self._function(value, path)
        elif isinstance(value, types.MethodType):
            self._todo += [(value.__func__, path), (value.__self__, path.rpartition(".")[0] or path)]
        elif isinstance(value, functools.partial):
            self._todo += [(value.func, path), (value.args, f"{path}.args"), (value.keywords, f"{path}.keywords")]
        elif isinstance(value, staticmethod | classmethod):
            self._todo.append((value.__func__, path))
        elif isinstance(value, property):
            self._todo += [(f, path) for f in (value.fget, value.fset) if f is not None]
        elif isinstance(value, dict | types.MappingProxyType):
            self._mapping(value, path)
        elif isinstance(value, list | tuple | deque):
            self._sequence(value, path)
        elif isinstance(value, set | frozenset):
            self._todo += [(v, path) for v in value]
            self.containers.append((value, set(value), path))
        elif isinstance(value, type):
            self._class(value, path)
        elif isinstance(value, types.ModuleType):
            self._module(value, path)
        else:
            self._instance(value, path)

    # ------------------------------------------------------------------------------------------------ kinds of values

    def _tensor(self, x: Tensor, path: str) -> None:
        self.tensors[id(x)] = x, path
        node = x._node
        if type(node) is Leaf and node.extra:
            for kind in HOOKS:
                for hook in node.extra.get(kind, {}).values():
                    self._todo.append((hook.shared.fn if isinstance(hook, Gathering) else hook, f"a hook of {path}"))
        if x._extra and isinstance(x._extra.get("grad"), Tensor):
            self._todo.append((x._extra["grad"], f"{path}.grad"))

    def _function(self, f: types.FunctionType, path: str) -> None:
        module = f.__module__ or ""
        root = module.partition(".")[0]
        if module.startswith(("polygrad.core", "polygrad.ops")) or root in self.foreign:
            return
        if f.__closure__:
            for name, cell in zip(f.__code__.co_freevars, f.__closure__, strict=True):
                try:
                    self._meet(cell, None, name, cell.cell_contents)
                except ValueError:  # the cell is still empty
                    self.places.append(Place(cell, None, name, MISSING))
        if is_library(module):
            return
        if f.__defaults__ and not is_polygrad(module):
            self.places.append(Place(f, "__defaults__", f"the defaults of {path}", f.__defaults__))
        names = self._code(f.__code__, ours=is_polygrad(module))
        for i, value in enumerate(f.__defaults__ or ()):
            self._meet(f.__defaults__, i, f"{path}'s default", value)
        for name, value in (f.__kwdefaults__ or {}).items():
            self._meet(f.__kwdefaults__, name, f"{path}'s {name}", value)
        if is_polygrad(module):
            return
        if not names.isdisjoint(LOOKING_UP):
            names |= self.names
        for name in names:
            if name in f.__globals__:
                self._meet(f.__globals__, name, name, f.__globals__[name])
        for name in stored_globals(f.__code__):
            if name not in f.__globals__:
                self.places.append(Place(f.__globals__, name, name, MISSING))

    def _code(self, code: types.CodeType, ours: bool) -> set[str]:
        """Enter the names that a code object contains; returns those that may be globals."""
        names, known = set(code.co_names), self.our_names if ours else self.names
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                names |= self._code(constant, ours)
            elif isinstance(constant, str) and not names.isdisjoint(LOOKING_UP):
                known.update(WORDS.findall(constant))
            elif isinstance(constant, str) and constant.isidentifier():
                known.add(constant)
        known |= names
        self.everything |= not ours and not names.isdisjoint(SEEING_ALL)
        return names

    def _mapping(self, mapping: Any, path: str) -> None:
        if "__builtins__" in mapping:  # the globals of a module, of runpy or of exec
            if not is_library(mapping.get("__name__", "")):
                self._attributes(mapping, path, self.names, "{}[{!r}]")
            return
        if isinstance(mapping, dict):
            self.containers.append((mapping, dict(mapping), path))
        if self._in_bulk(mapping, mapping.values(), path):
            return
        for key, value in list(mapping.items()):
            if isinstance(key, Tensor):
                self._todo.append((key, f"a key of {path}"))
            self._meet(mapping, key, f"{path}[{key!r}]" if isinstance(key, str | int) else f"{path}[...]", value)

    def _sequence(self, sequence: Any, path: str) -> None:
        if not isinstance(sequence, tuple):
            self.containers.append((sequence, list(sequence), path))
        if self._in_bulk(sequence, sequence, path):
            return
        for i, value in enumerate(sequence):
            self._meet(sequence, i, f"{path}[{i}]", value)

    def _in_bulk(self, container: Any, values: Any, path: str) -> bool:
        """True for a large container of plain values, which needs no places of its own."""
        if len(values) < BULK or not all(issubclass(t, SCALARS) for t in set(map(type, values))):
            return False
        if not isinstance(container, tuple):
            self.bulk.append((container, list(values), path))
        return True

    def _module(self, module: types.ModuleType, path: str) -> None:
        name = module.__dict__.get("__name__", "")
        if not (name.partition(".")[0] in self.foreign or is_polygrad(name) or is_library(name)):
            self._attributes(module.__dict__, path, self.names)

    def _attributes(self, held: Any, path: str, names: Iterable[str], form: str = "{}.{}") -> None:
        for name in [n for n in held if n in names]:
            if isinstance(name, str):
                self._meet(held, name, form.format(path, name), held[name])

    def _class(self, kind: type, path: str) -> None:
        module = kind.__module__
        if module.startswith("polygrad.core") or module.partition(".")[0] in self.foreign or is_library(module):
            return
        if is_polygrad(module):
            for value in vars(kind).values():
                if isinstance(value, types.FunctionType):
                    self._code(value.__code__, ours=True)
        else:
            names = self._names_for(kind)
            for name, value in list(vars(kind).items()):
                implied = name.startswith("__") and name.endswith("__") and name not in NOT_IMPLIED
                if (name not in names and not implied) or isinstance(value, FIELDS):
                    continue
                if isinstance(value, METHODS):
                    self._todo.append((value, f"{path}.{name}"))
                elif not implied:
                    self._meet(vars(kind), name, f"{path}.{name}", value)
        self._todo += [(base, base.__name__) for base in kind.__bases__ if base is not object]

    def _names_for(self, kind: type) -> set[str]:
        """The names of attributes by which code may look at an object of a class."""
        ours = any(is_polygrad(base.__module__) for base in kind.__mro__)
        return self.names | self.our_names if ours else self.names

    def _instance(self, value: Any, path: str) -> None:
        kind = type(value)
        if kind.__module__.startswith("polygrad.jit") and hasattr(value, "__wrapped__"):
            self._todo.append((value.__wrapped__, path))
            return
        if kind.__module__.startswith("polygrad.core") or kind.__module__.partition(".")[0] in self.foreign:
            return
        held, names = getattr(value, "__dict__", None), self._names_for(kind)
        if isinstance(value, Iterator) and not isinstance(value, io.IOBase) and held is None:
            self.iterators.append(path)
            return
        self._todo.append((kind, kind.__name__))
        if isinstance(held, dict) and isinstance(
            held.get("__wrapped__"), types.FunctionType
        ):  # a cache around a function
            self._todo.append((held["__wrapped__"], path))
        prepare = getattr(kind, "prepare_jit", None)
        if prepare is not None and id(value) not in self._asked:
            self._asked.add(id(value))
            self._alive.append(value)
            self.prepared += prepare(value)
        everything = self.everything and ((kind.__module__, kind.__name__) in BAGS or not is_library(kind.__module__))
        if isinstance(held, dict):
            self.objects.append((held, dict(held), path))
            self._attributes(held, path, held if everything else names)
        for owner in kind.__mro__:
            slots = vars(owner).get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                found = (
                    getattr(value, name, MISSING) if isinstance(name, str) and not name.startswith("__") else MISSING
                )
                if found is not MISSING and (everything or name in names):
                    self._meet(value, name, f"{path}.{name}", found)

    # ------------------------------------------------------------------------------------------------ guards

    def guards(self, free: set[tuple[int, Any]], added: set[tuple[int, Any]]) -> Guards:
        """What must hold for a capture to be used again; places in `free` may hold anything, those in `added` come and go."""
        return Guards(self, free, added)


def hooks_of(leaf: Leaf) -> list[Any] | None:
    """The hooks that wait for the gradient of a leaf, None for none."""
    extra = leaf.extra
    return (extra and [hook for kind in HOOKS for hook in extra.get(kind, {}).values()]) or None


def stored_globals(code: types.CodeType) -> set[str]:
    """The globals that a code object, or one inside of it, gives a value."""
    found = set()
    if STORE_GLOBAL in code.co_code[::2]:
        found = {str(i.argval) for i in dis.get_instructions(code) if i.opname == "STORE_GLOBAL"}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= stored_globals(constant)
    return found


class Guards:
    """The places of an environment and what they must hold, read in as few steps as their kinds allow: each call does it.

    Items of tuples are left out, since whoever holds the tuple is looked at.
    """

    def __init__(self, environment: Environment, free: set[tuple[int, Any]], added: set[tuple[int, Any]]):
        self.added = added
        held: dict[int, dict[Any, Place]] = {}
        for place in environment.places:
            if place.name not in free and not isinstance(place.holder, tuple):
                held.setdefault(id(place.holder), {})[place.name] = place
        groups = [list(found.values()) for found in held.values()]
        cells = [g for g in groups if isinstance(g[0].holder, types.CellType)]
        items = [g for g in groups if isinstance(g[0].holder, dict | list | deque | types.MappingProxyType)]
        known = {id(g) for g in [*cells, *items]}
        attributes = [g for g in groups if id(g) not in known]
        single = [g for g in items if len(g) == 1]
        several = [g for g in items if len(g) > 1]
        self.places = [place for g in [*cells, *single, *attributes, *several] for place in g]
        self.expected = [place.value for place in self.places]
        self.cells = [g[0].holder for g in cells]
        self.single = [g[0].holder for g in single], [g[0].key for g in single]
        self.attributes = [(place.holder, place.key) for g in attributes for place in g]
        self.several = [(itemgetter(*[place.key for place in g]), g[0].holder) for g in several]
        sized = [*environment.containers, *environment.objects]
        self.containers = [container for container, _, _ in sized]
        self.sizes = [len(before) for _, before, _ in sized]
        self.sets = [(held, before, path) for held, before, path in environment.containers if isinstance(held, set)]
        self.bulk = environment.bulk
        self.sized, self.objects = sized, len(environment.containers)
        self.names = environment.names | environment.our_names

    def broken(self) -> Place | str | None:
        """The first place that holds something else than it did (or the path of a container that grew), or None."""
        try:
            now = list(map(contents_of, self.cells))
            now += map(getitem, *self.single)
            if self.attributes:
                now += [getattr(holder, key) for holder, key in self.attributes]
            for read, holder in self.several:
                now += read(holder)
            unchanged = all(map(is_, now, self.expected))
        except (KeyError, IndexError, AttributeError, ValueError):
            unchanged = False
        if not unchanged:
            for place, value in zip(self.places, self.expected, strict=True):
                found = place.get()
                if found is not value and not (isinstance(value, SCALARS) and same(found, value)):
                    return place
        sizes = list(map(len, self.containers))
        if sizes != self.sizes and (path := self._resized(sizes)):
            return path
        return self._refilled() if self.sets or self.bulk else None

    def _refilled(self) -> str | None:
        """The set, or the large container of plain values, that holds other values than it did."""
        for container, before, path in self.sets:
            if container != before:
                return path
        for container, before, path in self.bulk:
            if not unchanged_in_bulk(container, before):
                return path
        return None

    def _resized(self, sizes: list[int]) -> str | None:
        """The container that grew or shrank, or the attribute that the code looks for and that was added to an object."""
        for i, (held, before, path) in enumerate(self.sized):
            if i < self.objects and sizes[i] != self.sizes[i]:
                return path
            for name in held if i >= self.objects else ():
                if name not in before and name in self.names and (id(held), name) not in self.added:
                    return f"{path}.{name}"
        self.sizes = sizes  # other attributes need not be looked at again
        return None


def unchanged_in_bulk(container: Any, before: list[Any]) -> bool:
    """True for a container that holds the plain values it held before."""
    now = list(container.values()) if isinstance(container, dict | types.MappingProxyType) else container
    if len(now) != len(before):
        return False
    return all(map(is_, now, before)) or all(map(same, now, before))
