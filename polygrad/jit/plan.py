"""What a captured function has become: a compiled program, and what each call does around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from operator import attrgetter, getitem
from sys import getrefcount
from typing import Any

from polygrad.core import Backend, Tensor, new_tensor
from polygrad.core.backend import Program
from polygrad.core.nest import CONTAINERS
from polygrad.core.tensor import Leaf, Pick
from polygrad.jit.capture import Capture, Made, PullCapture, Raw, Template
from polygrad.jit.environment import MISSING, Place, hooks_of
from polygrad.jit.errors import TraceError
from polygrad.jit.history import Whole, attach, spent
from polygrad.jit.numbers import TracedNumber, same
from polygrad.jit.slots import LOCK, Argument, At, Current, Fixed, GradientOf, RawAt, Slot, Within, leaf_of

__all__ = ["ALONE", "MISS", "Plan", "Stale"]


class Stale(Exception):
    """The arrays in the boxes no longer have the shapes, types or places that the program was compiled for."""


def _count(arrays: list[Any]) -> int:
    """How many references the next function sees to an array that is in a box and in this list."""
    return max(map(getrefcount, arrays))


class _Box:
    """Stands for a tensor where references are counted."""

    __slots__ = ("_array",)
    _array: Any


class _Owner:
    """Stands for a leaf where references are counted."""

    __slots__ = ("grad",)
    grad: Any


def _alone() -> int:
    box = _Box()
    box._array = object()
    return _count([box._array])


def _references(leaf: Any) -> tuple[int, int]:
    """How many references are seen to a leaf's gradient and to the array in it."""
    grad = leaf.grad
    return getrefcount(grad), getrefcount(grad._array)


def _owned() -> tuple[int, int]:
    owner = _Owner()
    owner.grad = _Box()
    owner.grad._array = object()
    return _references(owner)


ALONE, OWNED = _alone(), _owned()
extra_of = attrgetter("extra")
MISS = object()  # instead of a result: the plan does not serve the call
LARGE = 1 << 16  # bytes; the C library maps blocks of twice that one by one, and gives them back


class Plan:
    """A captured function of one signature.

    Attributes:
        program: the compiler's.
        guards: what must still hold in the environment.
        slots: the boxes that the program or its effects need, in the order of the lists below.
    """

    def __init__(
        self,
        capture: Capture,
        program: Program,
        donate: bool,
        donated_arguments: set[int],
        again: Callable[[list[Any], type[Capture]], Capture],
    ):
        self.again = again
        self.live = len(capture.live)
        donate, donated_arguments = (False, set()) if self.live else (donate, donated_arguments)
        self.backend, self.tape, self.numbers = capture.backend, capture.tape, capture.numbers
        self.program = program
        self.result = capture.result
        self.counted, self.effects = _split(capture.effects)
        self._choose(capture, donate, donated_arguments)
        self._index(capture, donate)
        self._sort_numbers(capture.twins)
        free = capture.varying - self._shared(capture)
        free |= {slot.ref.place.name for slot in self.slots if type(slot.ref) is RawAt}
        self.guards = capture.environment.guards(free, {place.name for place, _ in capture.effects})
        self.simple = type(self.result) is Made and not self.effects and all(_is_plain(t) for _, t in self.gradients)
        self.marked = [made for _, made in capture.rebound] + list(capture.made.values())
        self.edges = [i for i, slot in enumerate(self.slots) if slot.tensor._node is not None] if self.live else []
        self.pull: Any = None
        self.short: Any = None
        self.ends: dict[int, Any] = {}
        self.writes = bool(self.rebound or self.gradients or capture.effects or self.donated)
        self._release(capture)

    # ------------------------------------------------------------------------------------------------------- making

    def _choose(self, capture: Capture, donate: bool, donated_arguments: set[int]) -> None:
        """Which boxes matter, and which arrays may be overwritten."""
        rebound = {id(slot) for slot, _ in capture.rebound}
        touched = rebound | {id(slot) for slot, _ in capture.gradients} | {id(s) for s in _mentioned(capture)}
        read = {id(slot) for slot in capture.slots if slot.leaf is not None and id(slot.leaf) in capture.read}
        self.slots: list[Slot] = []
        self.origin: list[int] = []
        self.count = len(capture.slots)
        used, donated, kept = [], [], []
        for i, (slot, needed) in enumerate(zip(capture.slots, self.program.used, strict=True)):
            if not needed and id(slot) not in touched | read:
                continue
            place = len(self.slots)
            self.slots.append(slot)
            self.origin.append(i)
            if needed:
                lent = donate and id(slot) in rebound
                lent |= isinstance(slot.ref, Argument) and slot.ref.index in donated_arguments
                if lent:
                    used.append(i)
                    donated.append(place)
                else:
                    kept.append(place)
        self.donated, self.kept = donated, kept
        self.overwritten = used

    def _index(self, capture: Capture, donate: bool) -> None:
        where = {id(slot): i for i, slot in enumerate(self.slots)}
        self.base = [slot.ref.tensor if type(slot.ref) is Fixed else None for slot in self.slots]
        self.variable = [(i, slot.ref) for i, slot in enumerate(self.slots) if type(slot.ref) is not Fixed]
        fixed = [(s.tensor, s.leaf) for s in self.slots if type(s.ref) is Fixed and s.outer is None]
        self.fixed = [x for x, _ in fixed]
        self.nodes = [x._node for x in self.fixed]
        self.arguments = [(i, ref.index) for i, ref in self.variable if type(ref) is Argument]
        self.searched = [(i, ref) for i, ref in self.variable if type(ref) is not Argument]
        self.needs = [(i, _needs(self.slots[i].tensor)) for i, ref in self.variable if type(ref) is not Argument]
        self.outer = [s.tensor for s in self.slots if type(s.ref) is Fixed and s.outer is not None]
        self.positions = {id(slot): i for i, slot in enumerate(self.slots)}
        self.rebound = [(where[id(slot)], made) for slot, made in capture.rebound]
        self.gradients = [(where[id(slot)], template) for slot, template in capture.gradients]
        looked = {where[id(slot)] for slot in self.slots if slot.leaf is not None and id(slot.leaf) in capture.read}
        presence = [(i, self.slots[i].leaf) for i in sorted(looked)]
        fixed_here = {i for i, slot in enumerate(self.slots) if type(slot.ref) is Fixed}
        self.absent: list[Any] = [leaf for i, leaf in presence if i in fixed_here and leaf.grad is None]  # type: ignore[union-attr]
        self.presence = [
            (i, leaf.grad is not None)  # type: ignore[union-attr]
            for i, leaf in presence
            if i not in fixed_here or leaf.grad is not None  # type: ignore[union-attr]
        ]
        ends = [(i, slot.leaf) for i, slot in enumerate(self.slots) if slot.leaf is not None]
        self.ends_here = [leaf for i, leaf in ends if i in fixed_here]
        self.hooks = [hooks_of(leaf) for leaf in self.ends_here]
        self.hooked = any(self.hooks)
        self.hooked_here = [(i, hooks_of(leaf)) for i, leaf in ends if i not in fixed_here]
        # New gradients are written over old ones that nobody looks at, or the heap would grow with every step.
        taken = {made.output for _, made in self.rebound}
        self.spare: dict[int, int] = {}
        for k, (i, template) in enumerate(self.gradients):
            if donate and i not in looked and type(template) is Made and template.node is None:
                if template.output not in taken and self._large(template.output):
                    self.spare.setdefault(template.output, k)
        self.leaves = [(i, self.slots[i].leaf if type(self.slots[i].ref) is Fixed else None) for i, _ in self.gradients]
        self.shapes = [_kind(s.array, self.backend) for s in self.slots]
        tensors = capture.environment.tensors
        pinned = [(i, ref) for i, ref in self.variable if type(ref) in (Argument, Current, GradientOf)]
        self.pinned = [(i, self.slots[i].tensor) for i, ref in pinned if id(self.slots[i].tensor) in tensors]
        self.known = {id(slot.tensor): i for i, slot in enumerate(self.slots) if type(slot.ref) is Fixed}
        self.aliases = self._aliases(self.variable, [slot.tensor for slot in self.slots])
        self.apart = self.aliases == [i for i, _ in self.variable]
        self.special = bool(
            self.searched or self.hooked or self.hooked_here or self.pinned or self.outer or self.presence
        )
        self.stores = [(i, made.output, None if made.node is None else made) for i, made in self.rebound]

    def _sort_numbers(self, twins: list[tuple[Place, int]]) -> None:
        """How each call finds its numbers: among the arguments, by key in a dict or list, otherwise."""
        self.given = [n for n in self.numbers if isinstance(n, int)]
        places: list[Any] = [n for n in self.numbers if not isinstance(n, int)]
        keyed = all(isinstance(n, Place) and isinstance(n.holder, dict | list) for n in places)
        self.items = ([n.holder for n in places], [n.key for n in places]) if keyed else ([], [])
        self.looked_up = [] if keyed else places
        self.twins = [place.holder for place, _ in twins], [place.key for place, _ in twins]
        self.twin_of = [index for _, index in twins]

    def _large(self, output: int) -> bool:
        """True for a result whose memory is worth handing over; a small one comes from the heap in less time."""
        shape, dtype = self.program.kinds[output]
        return prod(shape) * dtype.itemsize >= LARGE

    def _aliases(self, variable: list[tuple[int, Any]], tensors: list[Any]) -> list[int]:
        """For each box that each call finds anew, which other box it is, or -1."""
        found = []
        seen: dict[int, int] = {}
        for i, _ in variable:
            x = tensors[i]
            found.append(self.known.get(id(x), seen.setdefault(id(x), i)))
        return found

    def _release(self, capture: Capture) -> None:
        """Let go of arrays, stand-ins and graphs: a plan lives long, and what it holds could not be overwritten."""
        for slot in capture.slots:
            slot.array = slot.stand_in = slot.edge = slot.outer = None
            if type(slot.ref) is not Fixed:
                slot.tensor = slot.leaf = None
            if type(slot.ref) in (At, Within):
                slot.ref.place.value = None
        for made in self.marked:
            if made.node is not None:
                made.node = LIVE if made in capture.live else SPENT
        self.marked = [made for made in self.marked if made.node is not None]

    def compile(self) -> None:
        """Compile the program, which takes seconds and looks at no box."""
        self.run_program = self.program.compile(bool(self.tape.used), self.overwritten, list(self.spare))

    def _shared(self, capture: Capture) -> set[tuple[int, Any]]:
        """Varying places whose tensor stands at other places too: those must stay as they are."""
        places: dict[int, list[Place]] = {}
        for place in capture.environment.places:
            if isinstance(place.value, Tensor):
                places.setdefault(id(place.value), []).append(place)
        return {p.name for found in places.values() if len({q.name for q in found}) > 1 for p in found}

    # ---------------------------------------------------------------------------------------------------------- calls

    def takes_all(self, count: int) -> bool:
        """True if the program takes all of `count` arguments, so that it sees whether their shapes and types are others."""
        passed = {*self.donated, *self.kept}
        return sum(i in passed for i, _ in self.arguments) == count

    def call(self, leaves: Sequence[Any]) -> Any:
        """The result of a call with these arguments, or MISS."""
        try:
            with LOCK:
                found = self.match(leaves)
                if type(found) is not tuple:
                    return MISS
                tensors, values = found
                lent, held = self.gather(tensors)
                if self.writes:
                    return self.run(leaves, tensors, values, lent, held)
            return self.run(leaves, tensors, values, lent, held)
        except Stale:
            return MISS

    def match(self, leaves: Sequence[Any]) -> tuple[list[Any], list[Any]] | Place | str:
        """The boxes and the numbers of a call, or why this plan does not serve it."""
        broken = self.guards.broken()
        if broken is not None:
            return broken
        values = self.values_of(leaves) if self.numbers else []
        if values is None:
            return "a number on which a comparison, an index or a conversion depends"
        tensors = self.base.copy()
        for i, index in self.arguments:
            tensors[i] = leaves[index]
            if id(leaves[index]) in self.known:
                return "which arguments are the same tensor"
        for x, node in zip(self.fixed, self.nodes):  # noqa: B905
            if x._node is not node:
                return "requires_grad of a tensor"
        for leaf in self.absent:
            if leaf.grad is not None:
                return "whether a tensor has a gradient"
        if self.special or any(map(extra_of, self.ends_here)):
            problem = self._problem(leaves, tensors)
            if problem is not None:
                return problem
        return tensors, values

    def values_of(self, leaves: Sequence[Any]) -> list[Any] | None:
        """The values of the tape in a call; None where a guard fails."""
        given = [leaves[n] for n in self.given]
        try:
            given += map(getitem, *self.items)
            given += [place.get() for place in self.looked_up]
            if self.twin_of and not all(map(same, map(getitem, *self.twins), map(given.__getitem__, self.twin_of))):
                return None
        except (KeyError, IndexError):
            return None
        return self.tape.replay(given)

    def _problem(self, leaves: Sequence[Any], tensors: list[Any]) -> str | None:
        """Why this plan does not serve a call, as far as most plans need not ask; boxes that are searched for are entered."""
        for i, ref in self.searched:
            x = ref.get(leaves)
            if x is None:
                return f"{self.slots[i].path}, which is gone"
            tensors[i] = x
        if not self._same_hooks(tensors):
            return "the hooks of a tensor"
        for i, needs in self.needs:
            if _needs(tensors[i]) != needs:
                return f"requires_grad of {self.slots[i].path}"
        if not all(tensors[i] is x for i, x in self.pinned):
            return "which arguments are the same tensor"
        for x in self.outer:
            if x._node is None or type(x._node) is Leaf:
                return "the history of a tensor"
        for i, present in self.presence:
            leaf = leaf_of(tensors[i])
            if leaf is None or (leaf.grad is not None) is not present:
                return f"whether {self.slots[i].path} has a gradient"
        if self.variable and not self._same_aliases(tensors):
            return "which arguments are the same tensor"
        return None

    def _same_hooks(self, tensors: list[Any]) -> bool:
        """True if gradients meet the hooks that they met in the capture."""
        if any(map(extra_of, self.ends_here)) or self.hooked:
            if list(map(hooks_of, self.ends_here)) != self.hooks:
                return False
        for i, hooks in self.hooked_here:
            leaf = leaf_of(tensors[i])
            if leaf is not None and hooks_of(leaf) != hooks:
                return False
        return True

    def _same_aliases(self, tensors: list[Any]) -> bool:
        if self.apart:
            ids = {id(tensors[i]) for i, _ in self.variable}
            return len(ids) == len(self.variable) and self.known.keys().isdisjoint(ids)
        return self._aliases(self.variable, tensors) == self.aliases

    def gather(self, tensors: list[Any]) -> tuple[list[Any], list[Any]]:
        """The arrays in the boxes: those that may be overwritten, and the others."""
        lent = [tensors[i]._array for i in self.donated]  # a list of its own: references are counted
        if lent and _count(lent) > ALONE:
            lent = self.unshared(lent)
        return lent, [tensors[i]._array for i in self.kept]

    def run(
        self, leaves: Sequence[Any], tensors: list[Any], values: list[Any], lent: list[Any], held: list[Any]
    ) -> Any:
        """One call: run the program, put the new values into the boxes, and build the result.

        Raises:
            Stale: the arrays are not what the program was compiled for. Nothing has changed then.
        """
        leaves_of = [known or leaf_of(tensors[i]) for i, known in self.leaves] if self.leaves else []
        if self.spare:
            lent += [self.spared(leaves_of[k], self.gradients[k][1]) for k in self.spare.values()]
        try:
            outputs = self.run_program([values[i] for i in self.tape.used], lent, held)
        except (TypeError, ValueError) as error:
            if self._changed(tensors):
                raise Stale from error
            raise
        nodes: dict[int, Any] = self.ends
        if self.live:
            nodes = self._histories(Call(self, list(leaves), tensors, values, held), outputs)
        elif len(nodes) < len(self.marked):
            nodes = self.ends = self._histories(None, outputs)
        for i, output, made in self.stores:
            tensors[i]._array = outputs[output]
            if made is not None:
                tensors[i]._node = nodes[id(made)]
        for holder, key, index in self.counted:
            holder[key] = values[index]
        if self.simple:
            for leaf, (_, grad) in zip(leaves_of, self.gradients, strict=True):
                leaf.grad = None if grad is None else new_tensor(outputs[grad.output], self.backend)  # type: ignore[union-attr]
            return new_tensor(outputs[self.result.output], self.backend, nodes.get(id(self.result)))
        build = Build(self, tensors, values, outputs, nodes)
        for leaf, (_, template) in zip(leaves_of, self.gradients, strict=True):
            leaf.grad = build(template)  # type: ignore[union-attr]
        for place, template in self.effects:
            if template is MISSING:
                place.holder.pop(place.key, None)
            else:
                place.set(build(template))
        return build(self.result)

    def _histories(self, call: Call | None, outputs: list[Any]) -> dict[int, Any]:
        """The nodes of the results that have a history."""
        nodes: dict[int, Any] = {}
        if call is not None:
            live = [made for made in self.marked if made.node is LIVE]
            edges = [call.tensors[i]._node for i in self.edges]
            arrays = [outputs[made.output] for made in live]
            found = attach(CALL, edges, arrays, self.backend, {"call": call})
            nodes |= {id(made): node for made, node in zip(live, found, strict=True)}
        for made in self.marked:
            if made.node is SPENT:
                array = outputs[made.output]
                nodes[id(made)] = self.ends.get(id(made)) or Pick(spent(array, self.backend), 0, array)
        return nodes

    def spared(self, leaf: Any, made: Made) -> Any:
        """The array of an old gradient if nobody else can see it and the new one has its form, else None."""
        if leaf.grad is None or _references(leaf) != OWNED:
            return None
        array = leaf.grad._array
        return array if (array.shape, array.dtype) == self.program.kinds[made.output] else None

    def unshared(self, lent: list[Any]) -> list[Any]:
        """Arrays to be overwritten, with copies of those that somebody else still holds."""
        asarray = self.backend.xp.asarray
        return [asarray(a, copy=True) if _count([a]) > ALONE + 2 else a for a in lent]

    def _changed(self, tensors: list[Any]) -> bool:
        """True when an array has another shape, type or place than in the capture."""
        return any(_kind(x._array, self.backend) != kind for x, kind in zip(tensors, self.shapes, strict=True))


class Call:
    """What one call was computed from, for a gradient that is asked for later."""

    __slots__ = ("plan", "leaves", "tensors", "values", "held")

    def __init__(self, plan: Plan, leaves: list[Any], tensors: list[Any], values: list[Any], held: list[Any]):
        self.plan, self.leaves, self.tensors, self.values, self.held = plan, leaves, tensors, values, held

    def cotangents(self, gs: list[Any]) -> list[Any]:
        """Those of the boxes in `plan.edges`: the function is compiled once more, with the walk back behind it.

        Raises:
            TraceError: what the function reaches has changed since the call.
        """
        plan = self.plan
        if plan.pull is None:
            plan.pull = self._compile(gs)
        used, numbers, program = plan.pull
        arrays = dict(zip((plan.origin[i] for i in plan.kept), self.held, strict=True))
        return program([self.values[i] for i in numbers], [], [arrays[i] for i in used] + list(gs))

    def _compile(self, gs: list[Any]) -> tuple[list[int], list[int], Any]:
        plan = self.plan
        with LOCK:
            capture: Any = plan.again(self.leaves, PullCapture)
            capture.wanted = [plan.origin[i] for i in plan.edges]
            examples = [slot.array for slot in capture.slots]
            counts = len(examples), len(capture.numbers)
            if plan.guards.broken() is not None or counts != (plan.count, len(plan.numbers)):
                raise TraceError("what a compiled function reads has changed between its call and backward()")
            program = plan.backend.compiler.trace(capture.run, capture.capacity, [*examples, *gs])  # type: ignore[union-attr]
        used = [i for i in range(plan.count) if program.used[i]]
        program.used[plan.count :] = [True] * len(gs)
        return used, list(capture.tape.used), program.compile(bool(capture.tape.used), [])


def _pull_call(xp: Any, g: Any, n: Any) -> list[Any]:
    if xp is n.params["backend"].tensors:
        raise RuntimeError(
            "a compiled function is differentiated once only from outside; take higher derivatives inside of the function"
        )
    return n.params["call"].cotangents(list(g))


CALL = Whole("jit", "CompiledBackward0", _pull_call)
LIVE, SPENT = "live", "spent"


class Build:
    """Makes the values of one call from templates; one tensor that appears twice is made once."""

    __slots__ = ("plan", "tensors", "values", "outputs", "nodes", "made")

    def __init__(self, plan: Plan, tensors: list[Any], values: list[Any], outputs: list[Any], nodes: dict[int, Any]):
        self.plan, self.tensors, self.values, self.outputs, self.nodes = plan, tensors, values, outputs, nodes
        self.made: dict[int, Tensor] = {}

    def __call__(self, template: Any) -> Any:
        kind = type(template)
        if kind is Made:
            return self._tensor(template)
        if kind is Template:
            return CONTAINERS[template.kind].make(template.form, [self(part) for part in template.parts])
        if kind is Slot:
            return self.tensors[self.plan.positions[id(template)]]
        if kind is TracedNumber:
            return self.values[template.index]
        return self.outputs[template.output] if kind is Raw else template

    def _tensor(self, made: Made) -> Tensor:
        x = self.made.get(id(made))
        if x is None:
            self.made[id(made)] = x = new_tensor(self.outputs[made.output], self.plan.backend, self.nodes.get(id(made)))
            if made.leaf:
                x.requires_grad = True
        return x


def _kind(array: Any, backend: Backend) -> tuple[Any, ...]:
    """What of an array a program is compiled for."""
    return tuple(array.shape), array.dtype, backend.device(array)


def _split(effects: list[tuple[Place, Any]]) -> tuple[list[tuple[Any, Any, int]], list[tuple[Place, Any]]]:
    """The numbers that a function puts into dicts, as (dict, key, index on the tape), and the other effects."""
    counted = [isinstance(p.holder, dict) and type(t) is TracedNumber for p, t in effects]
    numbers = [(p.holder, p.key, t.index) for (p, t), is_number in zip(effects, counted, strict=True) if is_number]
    return numbers, [effect for effect, is_number in zip(effects, counted, strict=True) if not is_number]


def _is_plain(template: Any) -> bool:
    """True for a gradient that is gone, or a tensor that the function made and that has no history."""
    return template is None or (type(template) is Made and template.node is None)


def _needs(x: Tensor) -> int:
    """0 for a tensor that does not require grad, 1 for a leaf, 2 for one with a history."""
    return 0 if x._node is None else 1 if type(x._node) is Leaf else 2


def _mentioned(capture: Capture) -> list[Slot]:
    """The boxes that the result or an effect gives back as they are."""
    found: list[Slot] = []

    def look(template: Any) -> None:
        if type(template) is Slot:
            found.append(template)
        elif type(template) is Template:
            for part in template.parts:
                look(part)

    look(capture.result)
    for _, template in [*capture.effects, *capture.gradients]:
        look(template)
    return found
