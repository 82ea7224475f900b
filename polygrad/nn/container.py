"""Containers: modules and parameters in a row or under names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from operator import index
from typing import Any, Self

from polygrad.core import Tensor
from polygrad.nn.module import Module
from polygrad.nn.parameter import Parameter

__all__ = ["ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"]


def _place(i: Any, n: int) -> int:
    """A position of a list of n as a non-negative int. Raises IndexError for one outside."""
    i = index(i)
    if not -n <= i < n:
        raise IndexError(f"index {i} is out of range")
    return i % n


class _ModuleRow(Module):
    """Modules in a row, named by their positions unless names were given."""

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._modules.values()))

    def __contains__(self, module: object) -> bool:
        return any(m is module for m in self._modules.values())

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            made = type(self)()
            made._modules = dict(list(self._modules.items())[i])
            return made._renumbered() if isinstance(self, ModuleList) else made
        return list(self._modules.values())[_place(i, len(self))]

    def __setitem__(self, i: Any, module: Module) -> None:
        self.add_module(list(self._modules)[_place(i, len(self))], module)

    def __delitem__(self, i: Any) -> None:
        names = list(self._modules)
        for name in names[i] if isinstance(i, slice) else [names[_place(i, len(self))]]:
            del self._modules[name]
        self._renumbered()

    def _renumbered(self) -> Self:
        """With the positions as names again."""
        self._modules = {str(i): m for i, m in enumerate(self._modules.values())}
        return self

    def append(self, module: Module) -> Self:
        """Put a module at the end; returns the container."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Put modules at the end; returns the container. Raises TypeError unless they come in an iterable."""
        if not isinstance(modules, Iterable):
            raise TypeError(
                f"{type(self).__name__}.extend should be called with an iterable, but got {type(modules).__name__}"
            )
        for module in list(modules):
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Self:
        """Put a module before the one at `index`; returns the container. Raises TypeError for anything but a Module."""
        if not isinstance(module, Module):
            raise TypeError(f"module should be of type: {Module}")
        modules = list(self._modules.values())
        modules.insert(index, module)
        self._modules = {str(i): m for i, m in enumerate(modules)}
        return self

    def pop(self, key: Any) -> Module:
        """Take the module at a position out and return it."""
        module = self[key]
        del self[key]
        return module


class Sequential(_ModuleRow):
    """Modules applied one after the other.

    Args:
        args: the modules, or one dictionary of names and modules.
    """

    def __init__(self, *args: Any):
        super().__init__()
        if len(args) == 1 and isinstance(args[0], Mapping):
            named: Iterable[tuple[str, Module]] = args[0].items()
        else:
            named = ((str(i), module) for i, module in enumerate(args))
        for name, module in named:
            self.add_module(name, module)

    def forward(self, input: Any) -> Any:
        for module in self._modules.values():
            input = module(input)  # type: ignore[misc]
        return input

    def __add__(self, other: Sequential) -> Sequential:
        if not isinstance(other, Sequential):
            raise ValueError(
                f"add operator supports only objects of Sequential class, but {type(other).__name__} is given."
            )
        return Sequential(*self, *other)


class ModuleList(_ModuleRow):
    """A list of modules. It is no function: a `forward` goes over it.

    Args:
        modules: the modules.
    """

    def __init__(self, modules: Iterable[Module] | None = None):
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList(chain(self, other))

    def __repr__(self) -> str:
        if not len(self):
            return f"{self._get_name()}()"
        runs: list[list[Any]] = []  # [first, last, text]
        for i, module in enumerate(self):
            text = repr(module)
            if runs and runs[-1][2] == text:
                runs[-1][1] = i
            else:
                runs.append([i, i, text])
        lines = [f"({a}): {text}" if a == b else f"({a}-{b}): {b - a + 1} x {text}" for a, b, text in runs]
        return f"{self._get_name()}(\n  " + "\n  ".join(line.replace("\n", "\n  ") for line in lines) + "\n)"


class ModuleDict(Module):
    """Modules under names.

    Args:
        modules: a dictionary, or pairs, of names and modules.
    """

    def __init__(self, modules: Any = None):
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key: str) -> Any:
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._modules))

    def __contains__(self, key: object) -> bool:
        return key in self._modules

    def clear(self) -> None:
        """Take all modules out."""
        self._modules.clear()

    def pop(self, key: str) -> Any:
        """Take the module of that name out and return it."""
        return self._modules.pop(key)

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._modules.keys()

    def values(self) -> Iterable[Any]:
        """The modules."""
        return self._modules.values()

    def items(self) -> Iterable[tuple[str, Any]]:
        """The names and modules."""
        return self._modules.items()

    def update(self, modules: Any) -> None:
        """Take over the names and modules of a dictionary, or of pairs. Raises TypeError for anything else."""
        if not isinstance(modules, Iterable):
            raise TypeError(
                f"ModuleDict.update should be called with an iterable of key/value pairs, but got {type(modules).__name__}"
            )
        for name, module in modules.items() if isinstance(modules, Mapping | ModuleDict) else modules:
            self.add_module(name, module)


def _as_parameter(value: Any) -> Any:
    """A tensor as a Parameter of its value; anything else as it is."""
    return Parameter(value) if isinstance(value, Tensor) and not isinstance(value, Parameter) else value


def _shown(name: str, value: Any) -> str:
    if not isinstance(value, Tensor):
        return f"({name}): Object of type: {type(value).__name__}"
    kind = "Parameter" if isinstance(value, Parameter) else "Tensor"
    size = "x".join(map(str, value.shape))
    return f"  ({name}): {kind} containing: [{value.dtype} of size {size}]"


class ParameterList(Module):
    """A list of parameters; tensors that are put in become parameters.

    Args:
        values: parameters, tensors, or anything else, which is only kept.
    """

    def __init__(self, values: Iterable[Any] | None = None):
        super().__init__()
        self._size = 0
        if values is not None:
            self.extend(values)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Any]:
        return iter([getattr(self, str(i)) for i in range(self._size)])

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return ParameterList(getattr(self, str(j)) for j in range(*i.indices(self._size)))
        return getattr(self, str(_place(i, self._size)))

    def __setitem__(self, i: Any, value: Any) -> None:
        setattr(self, str(_place(i, self._size)), _as_parameter(value))

    def append(self, value: Any) -> Self:
        """Put a value at the end; returns the list."""
        self._size += 1
        self[self._size - 1] = value
        return self

    def extend(self, values: Iterable[Any]) -> Self:
        """Put values at the end; returns the list. Raises TypeError unless they come in an iterable."""
        if isinstance(values, Tensor) or not isinstance(values, Iterable):
            raise TypeError(f"ParameterList.extend should be called with an iterable, but got {type(values).__name__}")
        for value in list(values):
            self.append(value)
        return self

    def extra_repr(self) -> str:
        return "\n".join(_shown(str(i), value) for i, value in enumerate(self))


class ParameterDict(Module):
    """Parameters under names; tensors that are put in become parameters.

    Args:
        parameters: a dictionary, or pairs, of names and values.
    """

    def __init__(self, parameters: Any = None):
        super().__init__()
        self._keys: dict[str, None] = {}
        if parameters is not None:
            self.update(parameters)

    def __getitem__(self, key: str) -> Any:
        if key not in self._keys:
            raise KeyError(key)
        return getattr(self, key)

    def __setitem__(self, key: str, value: Any) -> None:
        if key not in self._keys and hasattr(self, key):
            raise KeyError(f"attribute {key!r} already exists")
        setattr(self, key, _as_parameter(value))
        self._keys[key] = None

    def __delitem__(self, key: str) -> None:
        del self._keys[key]
        delattr(self, key)

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._keys))

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._keys.keys()

    def values(self) -> Iterable[Any]:
        """The values."""
        return [self[key] for key in self._keys]

    def items(self) -> Iterable[tuple[str, Any]]:
        """The names and values."""
        return [(key, self[key]) for key in self._keys]

    def get(self, key: str, default: Any = None) -> Any:
        """The value of that name, or `default`."""
        return self[key] if key in self._keys else default

    def pop(self, key: str) -> Any:
        """Take the value of that name out and return it."""
        value = self[key]
        del self[key]
        return value

    def clear(self) -> None:
        """Take all values out."""
        for key in list(self._keys):
            del self[key]

    def update(self, parameters: Any) -> None:
        """Take over the names and values of a dictionary, or of pairs. Raises TypeError for anything else."""
        if not isinstance(parameters, Iterable):
            raise TypeError(
                f"ParameterDict.update should be called with an iterable of key/value pairs, but got {type(parameters).__name__}"
            )
        for name, value in parameters.items() if isinstance(parameters, Mapping | ParameterDict) else parameters:
            self[name] = value

    def extra_repr(self) -> str:
        return "\n".join(_shown(name, value) for name, value in self.items())
