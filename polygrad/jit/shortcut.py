"""The short path of a call: what `Plan.call` does, flat in one function, for the training steps that need no more.

A program fills the processor's caches with its own data. What a call does in Python around it then costs by the objects and the
code that it touches, several times what it costs in a loop of nothing but calls: 0.06 ms instead of 0.13 for a small MLP's step.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter, getitem
from sys import getrefcount
from typing import Any

from polygrad.core import Tensor, get_backend, get_default_dtype, new_tensor
from polygrad.core.tensor import current_mode
from polygrad.jit.plan import ALONE, MISS, Plan
from polygrad.jit.slots import LOCK, Argument

__all__ = ["recording", "shortcut"]

array_of = attrgetter("_array")


def recording(mode: Any) -> tuple[bool, bool]:
    """What of a grad mode a capture depends on."""
    return (True, False) if mode is None else (mode.grad, mode.inference)


def _is_short(plan: Plan) -> bool:
    """True for a plan that finds everything at fixed places and among the arguments, and makes only tensors in known boxes."""
    if plan.special or any(type(ref) is not Argument for _, ref in plan.variable):
        return False
    if not (plan.simple and plan.writes) or plan.live or len(plan.ends) != len(plan.marked):
        return False
    boxes = [plan.base[i] for i in (*plan.donated, *(i for i, _, _ in plan.stores))]
    return all(box is not None for box in boxes) and all(made is None for _, _, made in plan.stores)


def shortcut(plan: Plan, args: tuple[Any, ...], mode: Any) -> Callable[[tuple[Any, ...]], Any] | None:
    """A function that gives the result of a call like the one with these arguments, or MISS.

    None unless the arguments are tensors without a history, and the program takes all: it looks at their shapes and types.
    """
    if not all(type(x) is Tensor and x._node is None for x in args) or not plan.takes_all(len(args)):
        return None
    count, home, known, dtype, default = len(args), plan.backend, plan.known, get_default_dtype(), get_backend()

    def is_alike(args: tuple[Any, ...]) -> bool:
        now = current_mode()
        if now is not mode and (recording(now) != recording(mode) or not (now is None or now.simple)):
            return False
        if len(args) != count or get_default_dtype() is not dtype or get_backend() is not default:
            return False
        for x in args:
            if type(x) is not Tensor or x._node is not None or x._backend is not home or id(x) in known:
                return False
        return count < 2 or len(set(args)) == count

    if _is_short(plan):
        return _flat(plan, is_alike)
    return lambda args: plan.call(args) if is_alike(args) else MISS


def _flat(plan: Plan, is_alike: Callable[[tuple[Any, ...]], bool]) -> Callable[[tuple[Any, ...]], Any]:
    """`Plan.call` for a plan that `_is_short`."""
    guards, items, tape, program, home = plan.guards, plan.items, plan.tape, plan.run_program, plan.backend
    fixed, nodes, ends, absent = plan.fixed, plan.nodes, plan.ends_here, plan.absent
    lent_boxes, held_boxes = [plan.base[i] for i in plan.donated], [plan.base[i] for i in plan.kept]
    place = dict(plan.arguments)
    given = [(k, place[i]) for k, i in enumerate(plan.kept) if i in place]
    boxes: list[Any] = [plan.base[i] for i, _, _ in plan.stores]
    outputs = [output for _, output, _ in plan.stores]
    owners: list[Any] = [leaf for _, leaf in plan.leaves]
    grads = [made and made.output for _, made in plan.gradients]
    spare = [(owners[k], plan.gradients[k][1]) for k in plan.spare.values()]
    output, end = plan.result.output, plan.ends.get(id(plan.result))
    plain = len(items[0]) == tape.inputs and tape.used == list(range(tape.inputs)) and not plan.twin_of
    plain, counted = plain and not (tape.steps or tape.guards or plan.counted), plan.counted

    def call(args: tuple[Any, ...]) -> Any:
        if not is_alike(args):
            return MISS
        with LOCK:
            if guards.broken() is not None:
                return MISS
            if plain:
                try:
                    numbers: Any = list(map(getitem, *items))
                except (KeyError, IndexError):
                    return MISS
                if list(map(type, numbers)) != tape.types:
                    return MISS
            else:
                values: Any = plan.values_of(args)
                if values is None:
                    return MISS
                numbers = [values[i] for i in tape.used]
            for x, node in zip(fixed, nodes):  # noqa: B905
                if x._node is not node:
                    return MISS
            for leaf in ends:
                if leaf.extra:
                    return MISS
            for leaf in absent:
                if leaf.grad is not None:
                    return MISS
            lent = list(map(array_of, lent_boxes))
            if lent and max(map(getrefcount, lent)) > ALONE:
                lent = plan.unshared(lent)
            for owner, made in spare:
                lent.append(plan.spared(owner, made))
            held = held_boxes.copy()
            for k, i in given:
                held[k] = args[i]
            try:
                found = program(numbers, lent, list(map(array_of, held)))
            except (TypeError, ValueError):
                return plan.call(args)  # another shape, or the program's own error
            for x, i in zip(boxes, outputs):  # noqa: B905
                x._array = found[i]
            for holder, key, i in counted:
                holder[key] = values[i]
            for owner, i in zip(owners, grads):  # noqa: B905
                owner.grad = None if i is None else new_tensor(found[i], home)
            return new_tensor(found[output], home, end)

    return call
