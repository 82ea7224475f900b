"""What optimizers share: parameter groups, state, and the rules of a step."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

from polygrad.autograd import enable_grad, no_grad
from polygrad.core import Tensor
from polygrad.core.hooks import RemovableHandle, add_hook
from polygrad.core.inplace import is_unshared
from polygrad.core.methods import functions
from polygrad.core.tensor import add_version, current_mode
from polygrad.ops.creation import zeros_like

__all__ = ["Optimizer", "check_options", "fill_zeros"]

NAMES = {"lr": "learning rate", "eps": "epsilon value"}


def check_options(**values: Any) -> None:
    """Raise ValueError, in PyTorch's words, for a negative option, or for one of `betas` outside [0, 1)."""
    for name, value in values.items():
        if name == "betas":
            for i, beta in enumerate(value):
                if not 0.0 <= beta < 1.0:
                    raise ValueError(f"Invalid beta parameter at index {i}: {beta}")
        elif not 0.0 <= value:
            raise ValueError(f"Invalid {NAMES.get(name, f'{name} value')}: {value}")


def fill_zeros(state: dict[str, Any], p: Tensor, names: Iterable[str]) -> None:
    """Put zeros of the parameter's shape under the names that its state lacks."""
    for name in names:
        if state.get(name) is None:
            state[name] = zeros_like(p.detach())


class Optimizer:
    """Base class: a subclass gives defaults to `__init__` and defines `update(parameter, state, group)`.

    Args:
        params: parameters, (name, parameter) pairs, or dicts with "params" and options of their own.
        defaults: options of the groups that do not name them.

    Attributes:
        param_groups: a list of dicts: "params" and the options, which may be changed between steps.
        state: for each parameter a dict of what the optimizer remembers.
        elementwise: set by a subclass whose rules (see `apply`) work element by element, so that a backend may run them part by
            part.
        numbers: keys of the state that hold Python numbers.

    Raises:
        TypeError: `params` is one Tensor, or holds something that is none.
        ValueError: no parameters, a non-leaf, a parameter given twice, a required option missing.
    """

    numbers: frozenset[str] = frozenset({"step"})
    elementwise = False

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]):
        if isinstance(params, Tensor):
            raise TypeError(
                f"params argument given to the optimizer should be an iterable of Tensors or dicts, but got {type(params).__name__}"
            )
        self.defaults = defaults
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._step_pre_hooks: dict[int, Callable[..., Any]] = {}
        self._step_post_hooks: dict[int, Callable[..., Any]] = {}
        self._save_pre_hooks: dict[int, Callable[..., Any]] = {}
        self._save_post_hooks: dict[int, Callable[..., Any]] = {}
        self._load_pre_hooks: dict[int, Callable[..., Any]] = {}
        self._load_post_hooks: dict[int, Callable[..., Any]] = {}
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([*lines, ")"])

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with options of their own, for example a layer that is no longer frozen.

        Raises TypeError or ValueError as the constructor; the optimizer is unchanged then.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group).__name__}")
        given = param_group["params"]
        params = [given] if isinstance(given, Tensor) else list(given)
        names = [p[0] for p in params if isinstance(p, tuple)]
        params = [p[1] if isinstance(p, tuple) else p for p in params]
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {type(p).__name__}")
            if not p.is_leaf:
                raise ValueError("can't optimize a non-leaf Tensor")
        if names and len(names) != len(params):
            raise ValueError("all optimizer params should be with/without names. Some param names are missing")
        if len({id(p) for p in params}) != len(params):
            raise ValueError("some parameters appear twice in one parameter group")
        known = {id(p) for group in self.param_groups for p in group["params"]}
        if any(id(p) in known for p in params):
            raise ValueError("some parameters appear in more than one parameter group")
        options = {"param_names": names} if names else {}
        self.param_groups.append({**self.defaults, **param_group, **options, "params": params})

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters (or fill them with zeros)."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p.grad = None  # without a look at it, so that a captured step does not depend on its being there
                elif p.grad is not None:
                    p.grad = p.grad.detach().zero_()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        Args:
            closure: computes the loss and its gradients; called first, recording.

        Returns:
            What the closure returned, or None.
        """
        for hook in list(self._step_pre_hooks.values()):
            replaced = hook(self, (closure,), {})
            if replaced is not None:
                if not (isinstance(replaced, tuple) and len(replaced) == 2):
                    raise RuntimeError(
                        f"{hook} must return None or a tuple of (new_args, new_kwargs), but got {replaced}."
                    )
                closure = replaced[1].get("closure", replaced[0][0] if replaced[0] else None)
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            for group in self.param_groups:
                self.update_group(group)
        for hook in list(self._step_post_hooks.values()):
            hook(self, (closure,), {})
        return loss

    def update_group(self, group: dict[str, Any]) -> None:
        """Update the parameters of one group that have a gradient."""
        for p in group["params"]:
            if p.grad is not None:
                state = self.state[p]
                if not state:
                    self.start(p, state, group)
                self.update(p, state, group)

    def update(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Update one parameter in place from `p.grad`, unrecorded; `start` was called if its state was empty."""
        raise NotImplementedError(f"{type(self).__name__} does not define update()")

    def start(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Make the state that the first update of a parameter goes on from, if zeros or options give it."""

    def apply(
        self,
        rule: Callable[..., Any],
        p: Tensor,
        state: dict[str, Any],
        names: Iterable[str],
        *numbers: Any,
        **options: Any,
    ) -> None:
        """Put what a pure function makes of a parameter, its gradient and parts of its state into the boxes of p and state.

        Args:
            rule: called as rule(xp, p, g, *parts, *numbers, **options); returns the new values of p and the parts. A complex
                parameter is given to it as pairs of real numbers along a last axis, as PyTorch does.
            names: keys of the parts in `state`.
            numbers: what may differ in each step: Python numbers, or 0-d tensors.
            options: what makes another program of the step, such as `maximize`.
        """
        g, boxes = p.grad, [p]
        assert g is not None
        for name in names:
            boxes.append(state[name])
        if self.elementwise and not p.dtype.is_complex and _in_parts(rule, g, boxes, numbers, options):
            return
        xp = p._backend.tensors
        values = [p.detach(), -g if options.pop("maximize", False) else g, *boxes[1:]]
        if p.dtype.is_complex:
            values = [xp.stack([xp.real(x), xp.imag(x)], axis=-1) for x in values]
        results = rule(xp, *values, *numbers, **options)
        for box, value in zip(boxes, results, strict=True):
            if p.dtype.is_complex:
                value = value[..., 0] + value[..., 1] * 1j
            functions.overwrite(box, value)

    def prepare_jit(self) -> list[tuple[dict[str, Any], str]]:
        """Make all state, and name the numbers that change from step to step: rates, scheduled momenta, and those in the state."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.requires_grad:
                    self.start(p, self.state[p], group)
        numbers = [(s, key) for s in self.state.values() for key, value in s.items() if type(value) in (int, float)]
        for group in self.param_groups:
            scheduled = ("lr", "momentum", "betas") if "max_momentum" in group else ("lr",)
            numbers += [(group, key) for key in scheduled if key in group]
        return numbers

    # --------------------------------------------------------------------------------------------------- checkpoints

    def state_dict(self) -> dict[str, Any]:
        """The options and the state, with parameters replaced by their numbers (PyTorch's layout).

        The tensors are of this moment: later steps do not reach them.
        """
        for hook in list(self._save_pre_hooks.values()):
            hook(self)
        numbers = {id(p): i for i, p in enumerate(self._parameters())}
        groups = [{**g, "params": [numbers[id(p)] for p in g["params"]]} for g in self.param_groups]
        state = {
            numbers[id(p)]: {key: v.detach() if isinstance(v, Tensor) else v for key, v in s.items()}
            for p, s in self.state.items()
            if s
        }
        return self._changed(self._save_post_hooks, {"state": state, "param_groups": groups})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave, here or on another backend.

        Options that the saved groups lack keep their values. Raises ValueError when the groups differ in number or size;
        nothing has changed then.
        """
        state_dict = self._changed(self._load_pre_hooks, dict(state_dict))
        saved = state_dict["param_groups"]
        if len(saved) != len(self.param_groups):
            raise ValueError(
                f"loaded state dict has {len(saved)} parameter groups, the optimizer has {len(self.param_groups)}"
            )
        for i, (mine, theirs) in enumerate(zip(self.param_groups, saved, strict=True)):
            if len(mine["params"]) != len(theirs["params"]):
                raise ValueError(
                    f"loaded state dict has {len(theirs['params'])} parameters in group {i}, the optimizer has {len(mine['params'])}"
                )
        numbers = itertools.chain.from_iterable(g["params"] for g in saved)
        by_number = dict(zip(numbers, self._parameters(), strict=True))
        state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        for number, values in state_dict["state"].items():
            p = by_number[number]
            state[p] = {key: self.loaded(key, value, p) for key, value in values.items()}
        self.param_groups = [
            {**mine, **deepcopy({k: v for k, v in theirs.items() if k != "params"}), "params": mine["params"]}
            for mine, theirs in zip(self.param_groups, saved, strict=True)
        ]
        self.state = state
        for hook in list(self._load_post_hooks.values()):
            hook(self)

    def _changed(self, hooks: dict[int, Callable[..., Any]], state_dict: dict[str, Any]) -> dict[str, Any]:
        for hook in list(hooks.values()):
            made = hook(self, state_dict)
            state_dict = state_dict if made is None else made
        return state_dict

    def loaded(self, key: str, value: Any, p: Tensor) -> Any:
        """One saved value of a parameter's state as it is kept here; counts and rates, 0-d tensors in PyTorch, are numbers."""
        if key in self.numbers and isinstance(value, Tensor):
            return value.item()
        return _moved(value, p)

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    # --------------------------------------------------------------------------------------------------------- hooks

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` before each step; the handle's `remove()` ends it."""
        return add_hook(self._step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` after each step; the handle's `remove()` ends it."""
        return add_hook(self._step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer)` before `state_dict` reads the state; `prepend` puts it before the others."""
        return add_hook(self._save_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` when it is made; what it returns, unless None, is given in its place."""
        return add_hook(self._save_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)`, with a shallow copy, before it is read; what it returns, unless None, is read."""
        return add_hook(self._load_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer)` when a state is loaded."""
        return add_hook(self._load_post_hooks, hook, prepend)


PLAIN = frozenset((int, float, type(None)))


def _in_parts(rule: Any, gradient: Tensor, boxes: list[Tensor], numbers: Any, options: dict[str, Any]) -> bool:
    """Do what `Optimizer.apply` does by the backend's `blockwise`, if it has one that takes these arrays."""
    backend, mode = boxes[0]._backend, current_mode()
    if backend.blockwise is None or mode is None or mode.grad or not mode.simple:
        return False
    for n in numbers:
        if type(n) not in PLAIN:
            return False
    reusable: list[int | None] = []
    arrays = []
    for i, box in enumerate(boxes):
        reusable.append(i if is_unshared(box) else None)
        arrays.append(box._array)
    arrays.append(gradient._array)

    def step(p: Any, *rest: Any) -> Any:
        given = dict(options)
        g = -rest[-1] if given.pop("maximize", False) else rest[-1]
        return rule(backend.arrays, p, g, *rest[:-1], *numbers, **given)

    results = backend.blockwise(step, arrays, reusable, rule.__name__, numbers, options)
    if results is NotImplemented:
        return False
    for box, old, value in zip(boxes, arrays, results, strict=False):
        add_version(box)
        if value is not old:
            box._put(value, backend)
    return True


def _moved(value: Any, p: Tensor) -> Any:
    """A saved tensor as a copy on the backend and device of its parameter; other values as they are."""
    if isinstance(value, list | tuple):
        return type(value)(_moved(v, p) for v in value)
    if not isinstance(value, Tensor):
        return deepcopy(value)
    dtype = p.dtype if value.dtype.is_floating_point and value.shape == p.shape else value.dtype
    return value.detach().to(p._backend, dtype=dtype, device=p.device)
