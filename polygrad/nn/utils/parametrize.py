"""Parameters that are functions of others: a module's `weight` is computed from what is trained whenever it is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from polygrad.autograd.modes import no_grad
from polygrad.core import Tensor
from polygrad.nn.container import ModuleDict, ModuleList
from polygrad.nn.module import Module
from polygrad.nn.parameter import Parameter

__all__ = ["ParametrizationList", "cached", "is_parametrized", "register_parametrization", "remove_parametrizations"]

_values: ContextVar[dict[int, Tensor] | None] = ContextVar("polygrad parametrized values", default=None)


@contextmanager
def cached() -> Iterator[None]:
    """Compute each parametrized tensor once inside the block."""
    token = _values.set({} if _values.get() is None else _values.get())
    try:
        yield
    finally:
        _values.reset(token)


class ParametrizationList(ModuleList):
    """The functions of one parametrized tensor, applied one after the other, and what they are applied to.

    The latter is `original`; or `original0`, `original1` ... where the first function takes several tensors, which are those
    that its `right_inverse` gives.
    """

    def __init__(self, modules: list[Module], original: Tensor, unsafe: bool = False):
        super().__init__(modules)
        self.unsafe = unsafe
        parts: Any = original
        with no_grad():
            for module in reversed(modules):
                if hasattr(module, "right_inverse"):
                    with suppress(NotImplementedError):  # then the value it has is what the function is applied to
                        parts = module.right_inverse(parts)
        self.is_tensor = isinstance(parts, Tensor)
        self.ntensors = 1 if self.is_tensor else len(parts)
        if not self.is_tensor and len(modules) > 1:
            raise ValueError("only the first of several parametrizations may take several tensors")
        trained = isinstance(original, Parameter)
        if self.is_tensor:
            kept = original if parts is original else _member(parts, trained, original)
            self._hold("original", kept, trained)
        else:
            for i, part in enumerate(parts):
                self._hold(f"original{i}", _member(part, trained, original), trained)
        if not unsafe:
            _check(self(), original)

    def _hold(self, name: str, value: Tensor, trained: bool) -> None:
        if trained:
            self.register_parameter(name, value)  # type: ignore[arg-type]
        else:
            self.register_buffer(name, value)

    def right_inverse(self, value: Tensor) -> None:
        """Put into the originals what gives this value. Raises RuntimeError where a function has no right inverse."""
        parts: Any = value
        with no_grad():
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(
                        f"parametrization {type(module).__name__} does not implement right_inverse, so it cannot be assigned to"
                    )
                parts = module.right_inverse(parts)
            names = ["original"] if self.is_tensor else [f"original{i}" for i in range(self.ntensors)]
            for name, part in zip(names, [parts] if self.is_tensor else parts, strict=True):
                getattr(self, name).data = part.detach()

    def forward(self) -> Tensor:
        values = _values.get()
        if values is not None and id(self) in values:
            return values[id(self)]
        modules = list(self)
        if self.is_tensor:
            y = modules[0](self.original)
        else:
            y = modules[0](*[getattr(self, f"original{i}") for i in range(self.ntensors)])
        for module in modules[1:]:
            y = module(y)
        if values is not None:
            values[id(self)] = y
        return y


def _member(part: Tensor, trained: bool, original: Tensor) -> Tensor:
    return Parameter(part.detach(), requires_grad=original.requires_grad) if trained else part.detach()


def _check(y: Any, original: Tensor) -> None:
    if not isinstance(y, Tensor):
        raise ValueError(f"A parametrization must return a tensor. Got {type(y).__name__}.")
    if y.dtype is not original.dtype or y.shape != original.shape:
        raise ValueError(
            "Registering a parametrization may not change the dtype or shape of the tensor, unless `unsafe` flag is enabled: "
            f"{original.dtype} {original.shape} became {y.dtype} {y.shape}"
        )


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """True where a module has a parametrized tensor (of that name)."""
    lists = module.__dict__.get("_parametrized", {})
    return bool(lists) if tensor_name is None else tensor_name in lists


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Make a parameter or buffer of a module the value of `parametrization` at what is trained; returns the module.

    Reading the attribute calls the functions; assigning to it calls their `right_inverse`. The originals are in the
    `state_dict` under `parametrizations.<tensor_name>.`.

    Args:
        tensor_name: the parameter or buffer; a parametrized one gets one function more, which changes its value.
        parametrization: a module from tensors to a tensor; its `right_inverse`, if any, gives the originals at first.
        unsafe: let it change the dtype or shape.

    Raises:
        ValueError: no such parameter or buffer; another dtype or shape.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        functions = module._parametrized[tensor_name]
        before = functions()
        if not (unsafe or functions.unsafe):
            _check(parametrization(before), before)
        functions.append(parametrization)
        return module
    original = module._parameters.get(tensor_name)
    held: Any = module._buffers.get(tensor_name) if original is None else original
    if held is None:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element with name '{tensor_name}'"
        )
    functions = ParametrizationList([parametrization], held, unsafe)
    functions.train(module.training)
    delattr(module, tensor_name)
    if not is_parametrized(module):
        module.__dict__["_parametrized"] = {}
        module.parametrizations = ModuleDict()
    module.parametrizations[tensor_name] = functions
    module._parametrized[tensor_name] = functions
    return module


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Make a parametrized tensor an ordinary one again, with its value or its original one; returns the module.

    Raises ValueError for a tensor that is not parametrized, or that has no single original to go back to.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    functions = module._parametrized[tensor_name]
    if functions.is_tensor:
        held = functions.original
        if leave_parametrized:
            held.data = functions().detach()
    elif leave_parametrized:
        held = _member(functions(), isinstance(functions.original0, Parameter), functions.original0)
    else:
        raise ValueError("Cannot leave unparametrized a tensor that is parametrized in terms of a sequence of tensors.")
    del module._parametrized[tensor_name]
    del module.parametrizations[tensor_name]
    if not module._parametrized:
        del module.parametrizations
    if isinstance(held, Parameter):
        module.register_parameter(tensor_name, held)
    else:
        module.register_buffer(tensor_name, held)
    return module
