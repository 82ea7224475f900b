"""What a function can reach: the tensors, numbers and containers behind its closure, globals, arguments and attributes.

The walk starts at a function and follows what its code can name: closure cells, the globals it reads, and of every object those
attributes whose name some code that can be reached contains. Containers are followed as a whole. Each place that was met becomes
a guard: when it holds something else in a later call, the function is captured again. So a Python number that is read by
attribute is never baked in silently.
"""

from __future__ import annotations

import functools
import io
import sys
import types
from collections import deque
from collections.abc import Container, Iterable, Iterator
from operator import is_, itemgetter
from typing import Any

from polygrad.core import DType, Tensor, backend_of
from polygrad.core.backend import loaded_modules
from polygrad.core.nest import kind_of
from polygrad.core.tensor import Leaf
from polygrad.jit.errors import is_polygrad
from polygrad.jit.numbers import same

__all__ = ["Environment", "Place"]

SCALARS = (bool, int, float, complex, str, bytes, type(None), DType, type(Ellipsis), range, slice)
SEEING_ALL = {"getattr", "setattr", "vars", "__dict__", "eval", "exec", "globals", "locals", "attrgetter"}
NOT_IMPLIED = {"__init__", "__new__", "__repr__", "__str__", "__del__", "__reduce__", "__reduce_ex__", "__getstate__"}
METHODS = types.FunctionType | staticmethod | classmethod | property | functools.partial
FIELDS = types.GetSetDescriptorType | types.MemberDescriptorType  # what slots are in their class
MISSING = object()


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
        if isinstance(holder, types.CellType):
            holder.cell_contents = value
        elif isinstance(holder, dict | list | deque):
            holder[self.key] = value
        elif isinstance(holder, type):
            setattr(holder, self.key, value)
        else:
            object.__setattr__(holder, self.key, value)

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
            self._todo += [(hook, f"a hook of {path}") for hook in node.extra.get("hooks", {}).values()]
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
                    continue
        if root in sys.stdlib_module_names and module != "__main__":
            return
        names = self._code(f.__code__, ours=is_polygrad(module))
        for i, value in enumerate(f.__defaults__ or ()):
            self._meet(f.__defaults__, i, f"{path}'s default", value)
        for name, value in (f.__kwdefaults__ or {}).items():
            self._meet(f.__kwdefaults__, name, f"{path}'s {name}", value)
        if is_polygrad(module):
            return
        for name in names:
            if name in f.__globals__:
                self._meet(f.__globals__, name, name, f.__globals__[name])

    def _code(self, code: types.CodeType, ours: bool) -> set[str]:
        """Enter the names that a code object contains; returns those that may be globals."""
        names, known = set(code.co_names), self.our_names if ours else self.names
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                names |= self._code(constant, ours)
            elif isinstance(constant, str) and constant.isidentifier():
                known.add(constant)
        known |= names
        self.everything |= not ours and not names.isdisjoint(SEEING_ALL)
        return names

    def _mapping(self, mapping: Any, path: str) -> None:
        if isinstance(mapping, dict):
            self.containers.append((mapping, dict(mapping), path))
        for key, value in list(mapping.items()):
            if isinstance(key, Tensor):
                self._todo.append((key, f"a key of {path}"))
            self._meet(mapping, key, f"{path}[{key!r}]" if isinstance(key, str | int) else f"{path}[...]", value)

    def _sequence(self, sequence: Any, path: str) -> None:
        if not isinstance(sequence, tuple):
            self.containers.append((sequence, list(sequence), path))
        for i, value in enumerate(sequence):
            self._meet(sequence, i, f"{path}[{i}]", value)

    def _module(self, module: types.ModuleType, path: str) -> None:
        root = module.__name__.partition(".")[0]
        if root in self.foreign or is_polygrad(root):
            return
        if root in sys.stdlib_module_names and module.__name__ != "__main__":
            return
        self._attributes(module.__dict__, path, self.names)

    def _attributes(self, held: Any, path: str, names: set[str]) -> None:
        for name in [n for n in held if n in names]:
            if isinstance(name, str):
                self._meet(held, name, f"{path}.{name}", held[name])

    def _class(self, kind: type, path: str) -> None:
        module = kind.__module__
        root = module.partition(".")[0]
        if module.startswith("polygrad.core") or root in self.foreign or root in sys.stdlib_module_names - {"__main__"}:
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
        if isinstance(value, Iterator) and not isinstance(value, io.IOBase) and not hasattr(value, "__dict__"):
            self.iterators.append(path)
            return
        self._todo.append((kind, kind.__name__))
        if isinstance(wrapped := getattr(value, "__wrapped__", None), types.FunctionType):  # a cache around a function
            self._todo.append((wrapped, path))
        prepare = getattr(kind, "prepare_jit", None)
        if prepare is not None and id(value) not in self._asked:
            self._asked.add(id(value))
            self._alive.append(value)
            self.prepared += prepare(value)
        held, names = getattr(value, "__dict__", None), self._names_for(kind)
        if isinstance(held, dict):
            self.objects.append((held, dict(held), path))
            self._attributes(held, path, set(held) if self.everything else names)
        for owner in kind.__mro__:
            slots = vars(owner).get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                found = (
                    getattr(value, name, MISSING) if isinstance(name, str) and not name.startswith("__") else MISSING
                )
                if found is not MISSING and (self.everything or name in names):
                    self._meet(value, name, f"{path}.{name}", found)

    # ------------------------------------------------------------------------------------------------ guards

    def guards(self, free: set[tuple[int, Any]]) -> Guards:
        """What must hold for a capture to be used again; places in `free` may hold anything."""
        return Guards(self, free)


class Guards:
    """The places of an environment and what they must hold, read in as few steps as their kinds allow: each call does it.

    Items of tuples are left out, since whoever holds the tuple is looked at.
    """

    def __init__(self, environment: Environment, free: set[tuple[int, Any]]):
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
        self.single = [(g[0].holder, g[0].key) for g in single]
        self.attributes = [(place.holder, place.key) for g in attributes for place in g]
        self.several = [(itemgetter(*[place.key for place in g]), g[0].holder) for g in several]
        self.containers = [container for container, _, _ in environment.containers]
        self.sizes = [len(before) for _, before, _ in environment.containers]
        self.paths = [path for _, _, path in environment.containers]
        self.sets = [(held, before, path) for held, before, path in environment.containers if isinstance(held, set)]

    def broken(self) -> Place | str | None:
        """The first place that holds something else than it did (or the path of a container that grew), or None."""
        try:
            now = [cell.cell_contents for cell in self.cells]
            now += [holder[key] for holder, key in self.single]
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
        if sizes != self.sizes:
            return next(path for path, a, b in zip(self.paths, sizes, self.sizes, strict=True) if a != b)
        for container, before, path in self.sets:
            if container != before:
                return path
        return None
