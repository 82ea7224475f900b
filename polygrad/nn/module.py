"""Module: a function with parameters, buffers and children, found by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Self

from polygrad.core import Tensor, as_dtype
from polygrad.core.hooks import RemovableHandle, add_hook
from polygrad.nn.hooks import call_hooked
from polygrad.nn.parameter import Buffer, Parameter

__all__ = ["Module"]

TABLES = ("_parameters", "_buffers", "_modules")
HOOKS = (
    *("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"),
    *("_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks"),
)


EXTRA = "_extra_state"


class LoadedKeys(NamedTuple):
    """What `load_state_dict` found: keys that the state lacks, and keys that the module lacks."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"_IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


class Module:
    """Base class of all layers and models, PyTorch's `torch.nn.Module`.

    A subclass calls `super().__init__()` first, then assigns Parameters, Buffers and other Modules to attributes, which makes
    them its members, and defines `forward`. Calling the module runs its hooks and `forward`.

    Attributes:
        training: True in training mode, False in evaluation mode; layers such as Dropout differ between the two.
    """

    training: bool
    forward: Callable[..., Any]
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _non_persistent_buffers: set[str]
    _forward_hooks: dict[int, tuple[Callable[..., Any], bool, bool]]
    _forward_pre_hooks: dict[int, tuple[Callable[..., Any], bool]]
    _backward_hooks: dict[int, Callable[..., Any]]
    _backward_pre_hooks: dict[int, Callable[..., Any]]
    _state_dict_hooks: dict[int, Callable[..., Any]]
    _state_dict_pre_hooks: dict[int, Callable[..., Any]]
    _load_state_dict_pre_hooks: dict[int, Callable[..., Any]]
    _load_state_dict_post_hooks: dict[int, Callable[..., Any]]
    _may_be_missing: tuple[str, ...] = ()  # members that a state_dict may lack

    def __init__(self) -> None:
        members = self.__dict__
        members["training"] = True
        for table in (*TABLES, *HOOKS):
            members[table] = {}
        members["_non_persistent_buffers"] = set()

    # ---------------------------------------------------------------------------------------------------- call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._forward_hooks or self._forward_pre_hooks or self._backward_hooks or self._backward_pre_hooks:
            return call_hooked(self, args, kwargs)
        return self.forward(*args, **kwargs)

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Call `hook(module, args, output)` after each `forward`; what it returns, unless None, replaces the output.

        Args:
            hook: gets `(module, args, kwargs, output)` if `with_kwargs`.
            prepend: run it before the hooks that are there.
            with_kwargs: pass the keyword arguments too.
            always_call: run it even if `forward` raises.
        """
        return add_hook(self._forward_hooks, (hook, with_kwargs, always_call), prepend)

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args)` before each `forward`; what it returns, unless None, replaces the arguments.

        Args:
            hook: gets `(module, args, kwargs)` if `with_kwargs`, and then returns None or a pair of both.
            prepend: run it before the hooks that are there.
            with_kwargs: pass the keyword arguments too.
        """
        return add_hook(self._forward_pre_hooks, (hook, with_kwargs), prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_input, grad_output)` when backward has passed the module; what it returns replaces grad_input.

        Both are tuples, with None for what has no gradient; `grad_input` stands for the positional arguments.
        """
        return add_hook(self._backward_hooks, hook, prepend)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_output)` when backward reaches the module; what it returns replaces grad_output."""
        return add_hook(self._backward_pre_hooks, hook, prepend)

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(module, prefix, keep_vars)` before `state_dict` reads the module."""
        return add_hook(self._state_dict_pre_hooks, hook)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(module, state_dict, prefix, local_metadata)` when the module is in the state, which it may change."""
        return add_hook(self._state_dict_hooks, hook)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call a hook before `load_state_dict` reads the module; it may change a copy of the state in place.

        The call is `hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)`.
        """
        return add_hook(self._load_state_dict_pre_hooks, hook)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(module, incompatible_keys)` when the module is loaded; it may change both lists in place."""
        return add_hook(self._load_state_dict_post_hooks, hook)

    # ---------------------------------------------------------------------------------------------------- members

    def __getattr__(self, name: str) -> Any:
        members = self.__dict__
        for table in TABLES:
            found = members.get(table)
            if found is not None and name in found:
                return found[name]
        parametrized = members.get("_parametrized")
        if parametrized and name in parametrized:
            return parametrized[name]()
        declared = getattr(type(self), name, None)
        if isinstance(declared, property) and declared.fget is not None:
            return declared.fget(self)  # again, to raise the property's own AttributeError instead of hiding it
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        members = self.__dict__
        if name in members.get("_parametrized", ()):
            members["_parametrized"][name].right_inverse(value)
        elif isinstance(value, Parameter):
            self._leave(name, "_parameters")
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            if "_modules" not in members:
                raise AttributeError("cannot assign module before Module.__init__() call")
            self._leave(name, "_modules")
            members["_modules"][name] = value
        elif name in members.get("_parameters", ()):
            if value is not None:
                raise TypeError(
                    f"cannot assign {type(value).__name__!r} as parameter {name!r} (nn.Parameter or None expected)"
                )
            members["_parameters"][name] = None
        elif name in members.get("_modules", ()):
            if value is not None:
                raise TypeError(
                    f"cannot assign {type(value).__name__!r} as child module {name!r} (nn.Module or None expected)"
                )
            members["_modules"][name] = None
        elif isinstance(value, Buffer):
            self._leave(name, "_buffers")
            self.register_buffer(name, value, value.persistent)
        elif name in members.get("_buffers", ()):
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(f"cannot assign {type(value).__name__!r} as buffer {name!r} (Tensor or None expected)")
            members["_buffers"][name] = value
        else:
            object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        for table in TABLES:
            if name in self.__dict__.get(table, ()):
                del self.__dict__[table][name]
                self._non_persistent_buffers.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        names = {*object.__dir__(self), *self._parameters, *self._buffers, *self._modules}
        return sorted(name for name in names if not name[:1].isdigit())

    def _leave(self, name: str, kind: str) -> None:
        """Forget what an attribute was, before it becomes a member of another kind; one of the same kind keeps its place."""
        members = self.__dict__
        for table in TABLES:
            if table != kind:
                members.get(table, {}).pop(name, None)
        members.pop(name, None)
        members.get("_non_persistent_buffers", set()).discard(name)

    def _check_name(self, kind: str, name: Any) -> None:
        if "_parameters" not in self.__dict__:
            raise AttributeError(f"cannot assign {kind} before Module.__init__() call")
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {type(name).__name__}")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain "."')
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')

    def _is_new(self, name: str, table: str) -> None:
        if hasattr(self, name) and name not in self.__dict__[table]:
            raise KeyError(f"attribute {name!r} already exists")

    def _set_persistent(self, name: str, persistent: bool) -> None:
        if persistent:
            self._non_persistent_buffers.discard(name)
        else:
            self._non_persistent_buffers.add(name)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Make `param` (or None, for a parameter that is not there) the parameter of that name.

        Raises:
            KeyError: a name that is taken, empty, or has a dot in it.
            TypeError: anything but a Parameter.
        """
        self._check_name("parameter", name)
        self._is_new(name, "_parameters")
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign {type(param).__name__!r} object to parameter {name!r} (nn.Parameter or None required)"
            )
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Make `tensor` (or None) the buffer of that name; only persistent buffers are in the `state_dict`.

        Raises:
            KeyError: a name that is taken, empty, or has a dot in it.
            TypeError: anything but a Tensor.
        """
        self._check_name("buffer", name)
        self._is_new(name, "_buffers")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign {type(tensor).__name__!r} object to buffer {name!r} (Tensor or None required)"
            )
        self._buffers[name] = tensor
        self._set_persistent(name, persistent)

    def add_module(self, name: str, module: Module | None) -> None:
        """Make `module` (or None) the child of that name.

        Raises:
            KeyError: a name that is taken, empty, or has a dot in it.
            TypeError: anything but a Module.
        """
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{type(module).__name__} is not a Module subclass")
        self._check_name("module", name)
        self._is_new(name, "_modules")
        self._modules[name] = module

    def register_module(self, name: str, module: Module | None) -> None:
        """The same as `add_module`."""
        self.add_module(name, module)

    # ---------------------------------------------------------------------------------------------------- walks

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """(dotted name, module) for this module and everything below it, each module once unless `remove_duplicate` is off."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                below = f"{prefix}.{name}" if prefix else name
                yield from module.named_modules(memo, below, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """This module and everything below it, each module once."""
        for _, module in self.named_modules():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) for the modules directly below this one, each once."""
        seen = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        """The modules directly below this one, each once."""
        for _, module in self.named_children():
            yield module

    def _named_members(
        self, table: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen = set()
        owners = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else iter([(prefix, self)])
        )
        for path, module in owners:
            for name, member in module.__dict__[table].items():
                if member is None or member in seen:
                    continue
                if remove_duplicate:
                    seen.add(member)
                yield (f"{path}.{name}" if path else name), member

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """(dotted name, parameter) for this module's parameters and, if `recurse`, those below; each once."""
        return self._named_members("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """This module's parameters and, if `recurse`, those of the modules below; each once."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """(dotted name, buffer) for this module's buffers and, if `recurse`, those below; each once."""
        return self._named_members("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """This module's buffers and, if `recurse`, those of the modules below; each once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def get_submodule(self, target: str) -> Module:
        """The module at a dotted name below this one. Raises AttributeError where there is none."""
        module = self
        for name in target.split(".") if target else ():
            found = getattr(module, name, None)
            if found is None:
                raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
            if not isinstance(found, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
            module = found
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put a module at a dotted name below this one; with `strict`, only in place of another one.

        Raises ValueError for an empty name or no Module, AttributeError where there is nothing to put it in or in place of.
        """
        path, _, name = target.rpartition(".")
        if not name or not isinstance(module, Module):
            raise ValueError(f"set_submodule needs a name and a Module, got {target!r} and {type(module).__name__}")
        parent = self.get_submodule(path)
        if strict and not isinstance(getattr(parent, name, None), Module):
            raise AttributeError(f"{parent._get_name()} has no module `{name}`")
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a dotted name. Raises AttributeError where there is none."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
        if not isinstance(found := getattr(module, name), Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return found

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a dotted name. Raises AttributeError where there is none."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
        found = module._buffers.get(name)
        if found is None:
            raise AttributeError(f"`{name}` is not a buffer")
        return found

    # ---------------------------------------------------------------------------------------------------- changes

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` on every module below, children first, then on this one; returns the module."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def train(self, mode: bool = True) -> Self:
        """Go to training mode (or evaluation mode), with everything below; returns the module."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Self:
        """Go to evaluation mode, with everything below; returns the module."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set `requires_grad` of every parameter, for example to freeze a network; returns the module."""
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or fill them with zeros."""
        for p in self.parameters():
            if set_to_none:
                p.grad = None  # without a look at it, so that a captured step does not depend on its being there
            elif p.grad is not None:
                p.grad = p.grad._backend.tensors.zeros_like(p.grad.detach())

    def _convert(self, convert: Callable[[Tensor], Tensor]) -> Self:
        """Put `convert` of its value into every parameter, gradient and buffer; nothing changes where one of them raises."""
        members = [*self.parameters(), *self.buffers()]
        plan = [(x, convert(x.detach()), None if x.grad is None else convert(x.grad.detach())) for x in members]
        for x, value, gradient in plan:
            x.grad = None
            x.data = value
            x.grad = gradient
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """All parameters and buffers in another dtype, on another device or backend, in place; returns the module.

        The arguments are those of `Tensor.to`. Only floating-point members take a new dtype.

        Raises:
            TypeError: a dtype that is not floating-point or complex.
        """
        dtype = kwargs.get("dtype")
        others: list[Any] = []
        for a in args:
            if isinstance(a, Tensor):
                dtype = a.dtype
                others += [a._backend, a.device]
            elif isinstance(a, bool) or not _spells_dtype(a):
                others.append(a)
            else:
                dtype = a
        kwargs = {k: v for k, v in kwargs.items() if k not in ("dtype", "non_blocking") and v is not None}
        others = [a for a in others if a is not None and not isinstance(a, bool)]
        wanted = None if dtype is None else as_dtype(dtype)
        if wanted is not None and wanted.category not in ("floating", "complex"):
            raise TypeError(
                f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={wanted}"
            )

        def convert(x: Tensor) -> Tensor:
            moved = x.to(*others, **kwargs) if others or kwargs else x
            return moved if wanted is None or not _inexact(x) else moved.to(wanted)

        return self._convert(convert)

    def type(self, dst_type: Any) -> Self:
        """All parameters and buffers in a dtype; returns the module."""
        return self._convert(lambda x: x.type(as_dtype(dst_type)))

    def float(self) -> Self:
        """All floating-point parameters and buffers in float32; returns the module."""
        return self._convert(lambda x: x.float() if x.is_floating_point() else x)

    def double(self) -> Self:
        """All floating-point parameters and buffers in float64; returns the module."""
        return self._convert(lambda x: x.double() if x.is_floating_point() else x)

    def half(self) -> Self:
        """All floating-point parameters and buffers in float16; returns the module."""
        return self._convert(lambda x: x.half() if x.is_floating_point() else x)

    def bfloat16(self) -> Self:
        """All floating-point parameters and buffers in bfloat16; returns the module."""
        return self._convert(lambda x: x.bfloat16() if x.is_floating_point() else x)

    def cpu(self) -> Self:
        """All parameters and buffers on the host's device of their backend; returns the module."""
        return self._convert(lambda x: x.cpu())

    def cuda(self, device: Any = None) -> Self:
        """All parameters and buffers on a CUDA device of their backend; returns the module.

        Raises:
            RuntimeError: the backend has no such device.
        """
        return self._convert(lambda x: x.cuda(device))

    def to_empty(self, *, device: Any, recurse: bool = True) -> Self:
        """All parameters and buffers on another device without their values; returns the module."""
        members = [*self.parameters(recurse), *self.buffers(recurse)]
        for x in members:
            x.data = x._backend.tensors.empty(x.shape, dtype=x.dtype, device=device)
        return self

    # ---------------------------------------------------------------------------------------------------- state

    def state_dict(
        self, *, destination: dict[str, Any] | None = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """The values of all parameters and persistent buffers by dotted name.

        The tensors are of this moment: later changes of the module do not reach them.

        Args:
            destination: put them into this dictionary.
            prefix: in front of each name.
            keep_vars: the parameters themselves instead of their values.
        """
        state = {} if destination is None else destination
        for hook in list(self._state_dict_pre_hooks.values()):
            hook(self, prefix, keep_vars)
        for table in (self._parameters, self._buffers):
            for name, member in table.items():
                if member is not None and name not in self._non_persistent_buffers:
                    state[prefix + name] = member if keep_vars else member.detach()
        if self._has_extra_state():
            state[prefix + EXTRA] = self.get_extra_state()
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=state, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook in list(self._state_dict_hooks.values()):
            if hook(self, state, prefix, {}) is not None:
                raise RuntimeError("state_dict post-hook must return None")
        return state

    def get_extra_state(self) -> Any:
        """What `state_dict` saves beside the tensors; for subclasses to define, together with `set_extra_state`."""
        raise RuntimeError("Reached a code path in Module.get_extra_state() that should never be called.")

    def set_extra_state(self, state: Any) -> None:
        """Take back what `get_extra_state` gave; for subclasses to define."""
        raise RuntimeError("Reached a code path in Module.set_extra_state() that should never be called.")

    def _has_extra_state(self) -> bool:
        return type(self).get_extra_state is not Module.get_extra_state

    def _member(self, name: str) -> Tensor:
        found = self._parameters.get(name)
        return self._buffers[name] if found is None else found  # type: ignore[return-value]

    def _state(self, prefix: str = "") -> Iterator[tuple[str, Module, str]]:
        """(dotted name, owner, its name there) for everything that is saved."""
        for name, parameter in self._parameters.items():
            if parameter is not None:
                yield prefix + name, self, name
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._non_persistent_buffers:
                yield prefix + name, self, name
        if type(self).set_extra_state is not Module.set_extra_state:
            yield prefix + EXTRA, self, EXTRA
        for name, module in self._modules.items():
            if module is not None:
                yield from module._state(f"{prefix}{name}.")

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> LoadedKeys:
        """Take the values of parameters and buffers from what `state_dict` gave; arrays of any library and lists are fine too.

        Args:
            state_dict: values by dotted name.
            strict: the names must be exactly those of this module.
            assign: take over the tensors with their dtype, device and backend, instead of the values only.

        Returns:
            The names that were missing and those that were not expected.

        Raises:
            TypeError: `state_dict` is no mapping.
            RuntimeError: names or shapes that do not match; then nothing has changed.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        state = dict(state_dict)
        missing: list[str] = []
        unexpected: list[str] = []
        problems: list[str] = []
        modules = list(self.named_modules(remove_duplicate=False))
        for path, module in modules:
            for hook in list(module._load_state_dict_pre_hooks.values()):
                hook(module, state, f"{path}." if path else "", {}, strict, missing, unexpected, problems)
        places = {name: (owner, key) for name, owner, key in self._state()}
        missing += [
            name for name, (owner, key) in places.items() if name not in state and key not in owner._may_be_missing
        ]
        unexpected += [name for name in state if name not in places]
        values = {}
        for name, (owner, key) in places.items():
            if name in state:
                try:
                    values[name] = (
                        state[name] if key == EXTRA else _value_for(owner._member(key), state[name], name, assign)
                    )
                except (TypeError, ValueError, RuntimeError) as error:
                    problems.append(str(error))
        keys = LoadedKeys(missing, unexpected)
        mending = any(module._load_state_dict_post_hooks for _, module in modules)  # such hooks may empty the two lists
        self._refuse(problems, keys, strict and (bool(problems) or not mending))
        for name, value in values.items():
            owner, key = places[name]
            owner._take(key, value, assign)
        for _, module in reversed(modules):
            for hook in list(module._load_state_dict_post_hooks.values()):
                if hook(module, keys) is not None:
                    raise TypeError(
                        "Hooks registered with register_load_state_dict_post_hook are not expected to return values"
                    )
        self._refuse([], keys, strict)
        return keys

    def _refuse(self, problems: list[str], keys: LoadedKeys, strict: bool) -> None:
        """Raise RuntimeError where there are problems, or names that a strict caller does not take."""
        found = list(problems)
        if strict and keys.unexpected_keys:
            found.insert(0, f"Unexpected key(s) in state_dict: {_quoted(keys.unexpected_keys)}. ")
        if strict and keys.missing_keys:
            found.insert(0, f"Missing key(s) in state_dict: {_quoted(keys.missing_keys)}. ")
        if found:
            listed = "\n\t".join(found)
            raise RuntimeError(f"Error(s) in loading state_dict for {type(self).__name__}:\n\t{listed}")

    def _take(self, name: str, value: Tensor, assign: bool) -> None:
        if name == EXTRA:
            self.set_extra_state(value)
        elif not assign:
            self._member(name).data = value
        elif (old := self._parameters.get(name)) is None:
            self._buffers[name] = value
        else:
            self._parameters[name] = (
                value if isinstance(value, Parameter) else Parameter(value, requires_grad=old.requires_grad)
            )

    # ---------------------------------------------------------------------------------------------------- description

    def _get_name(self) -> str:
        return ("Parametrized" if self.__dict__.get("_parametrized") else "") + type(self).__name__

    def extra_repr(self) -> str:
        """What stands in the brackets of this layer's `repr`; for subclasses to define."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({name}): {_indented(repr(module))}" for name, module in self._modules.items()]
        if not children and len(lines) <= 1:
            return f"{self._get_name()}({extra})"
        return f"{self._get_name()}(\n  " + "\n  ".join(lines + children) + "\n)"


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ")


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _inexact(x: Tensor) -> bool:
    return x.dtype.category in ("floating", "complex")


def _spells_dtype(value: Any) -> bool:
    try:
        as_dtype(value)
    except TypeError:
        return False
    return True


def _value_for(old: Tensor, value: Any, name: str, assign: bool) -> Tensor:
    """`value` as it can take the place of `old`."""
    if not isinstance(value, Tensor):
        try:
            value = old._backend.tensors.tensor(value)
        except TypeError as error:
            raise TypeError(
                f'While copying the parameter named "{name}", expected a Tensor or an array from checkpoint but received '
                f"{type(value)}"
            ) from error
    if value.shape != old.shape:
        raise ValueError(
            f"size mismatch for {name}: copying a param with shape {value.shape} from checkpoint, the shape in current model "
            f"is {old.shape}."
        )
    if assign:
        return value if isinstance(value, Parameter) else value.detach()
    return value.detach().to(old._backend, device=old.device, dtype=old.dtype)
