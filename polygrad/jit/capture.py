"""One run of a function on stand-ins, from which the compiled program and everything that later calls do is learned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from polygrad.core import Backend, Tensor, new_tensor
from polygrad.core.backend import declared
from polygrad.core.dtype import default_for, promote
from polygrad.core.engine import FREED, collect, merged, reverse
from polygrad.core.nest import CONTAINERS, kind_of
from polygrad.core.promotion import with_scalar
from polygrad.core.tensor import Leaf, Node, Observer, Pick, Unread, current_mode, using_mode
from polygrad.jit.environment import MISSING, SCALARS, Environment, Place
from polygrad.jit.errors import WAY_OUT, TraceError, user_line
from polygrad.jit.nest import flatten, rebuild
from polygrad.jit.numbers import Tape, TracedNumber, same
from polygrad.jit.slots import Argument, At, Current, Fixed, GradientOf, RawArgument, RawAt, Slot, Within, refuse_hooks
from polygrad.jit.strict import refuse_changes, refuse_growth, reset

__all__ = ["Again", "Capture", "Made", "PullCapture", "Raw", "Template"]


class Again(Exception):
    """The function must be captured again: it changes a number that was taken for a constant, or needs more arguments."""


class Made:
    """A tensor that the function made.

    Attributes:
        output: which result of the program.
        leaf: it requires grad and has no history.
        node: its history, or None; later LIVE or SPENT, for one that can still be walked and one that was walked.
    """

    __slots__ = ("output", "leaf", "node")

    def __init__(self, output: int, leaf: bool, node: Any):
        self.output, self.leaf, self.node = output, leaf, node


class Capture(Observer):
    """A function while it is captured, and what was learned.

    Attributes:
        slots: the boxes it may read.
        tape: the arithmetic on Python numbers.
        numbers: how a call finds its numbers: an argument's index or a Place.
        twins: places that held the same count as one of the numbers, with its index.
        outputs: the program's results.
        result: the function's result as a template.
        rebound: (slot, output) for boxes that hold another value in the end, with the node of its history.
        gradients: (slot, None or Made) for `.grad` that was replaced.
        read: leaves whose gradient was looked at.
        effects: (place, template) for what is put into containers and attributes, (place, MISSING) for what is removed.
    """

    values = False
    changes: dict[str, Any] = {}

    def __init__(
        self,
        function: Callable[..., Any],
        form: Any,
        leaves: list[Any],
        environment: Environment,
        backend: Backend,
        varying: set[tuple[int, Any]],
        capacity: int = 0,
    ):
        self.function, self.form, self.leaves = function, form, leaves
        self.environment, self.backend, self.varying = environment, backend, varying
        self.tape = Tape()
        self.numbers: list[int | Place | Within] = []
        self.twins: list[tuple[Place, int]] = []
        self._inputs: list[TracedNumber] = []
        self._counts: dict[Any, int] = {}
        self.slots: list[Slot] = []
        self._by_id: dict[int, Slot] = {}
        self._given: list[Any] = []
        self._bound: list[tuple[Place, Any]] = []
        self._arguments()
        self._places()
        self._gradients()
        self.capacity = max(capacity, 4 + 4 * self.tape.inputs) if self.tape.inputs else 0
        self.outputs: list[Any] = []
        self.rebound: list[tuple[Slot, Made]] = []
        self.gradients: list[tuple[Slot, Any]] = []
        self.effects: list[tuple[Place, Any]] = []
        self.read: set[int] = set()
        self.made: dict[int, Made] = {}
        self.live: list[Made] = []
        self._index: dict[int, int] = {}
        self._keep: list[Any] = []
        self.result: Any = None

    # ------------------------------------------------------------------------------------------------- before the run

    def _add(self, ref: Any, tensor: Tensor, path: str) -> Slot:
        slot = self._by_id.get(id(tensor))
        if slot is None:
            slot = self._by_id[id(tensor)] = Slot(ref, tensor, path)
            self.slots.append(slot)
        return slot

    def _arguments(self) -> None:
        for i, leaf in enumerate(self.leaves):
            if isinstance(leaf, Tensor):
                if leaf._backend is self.backend:
                    self._add(Argument(i), leaf, f"argument {i}")
                self._given.append(leaf)
            elif type(leaf) in (int, float):
                self.numbers.append(i)
                self._inputs.append(self.tape.input(leaf))
                self._given.append(self._inputs[-1])
            else:
                made = new_tensor(self.backend.asarray(leaf), self.backend)
                self._add(RawArgument(i, self.backend), made, f"argument {i}")
                self._given.append(made)

    def _places(self) -> None:
        environment, backend = self.environment, self.backend
        known = set()
        named = [Place(holder, key, repr(key), holder[key]) for holder, key in environment.prepared]
        for k, place in enumerate([*named, *environment.places]):
            if place.name in known or not place.writable:
                continue
            known.add(place.name)
            if type(place.value) in (int, float) and (place.name in self.varying or k < len(named)):
                self.varying.add(place.name)
                self._number_at(place, k < len(named))
            elif isinstance(place.value, Tensor) and place.name in self.varying and place.value._backend is backend:
                self._add(At(place), place.value, place.path)
            elif kind_of(place.value) is not None and (place.name in self.varying or k < len(named)):
                self.varying.add(place.name)
                self._container(place)
        for tensor, path in environment.tensors.values():
            if tensor._backend is backend:
                self._add(Fixed(tensor), tensor, path)
        for function in declared.ambient:
            tensor = function(backend)
            self._add(Current(function, backend), tensor, "the random generator")
        for place in environment.arrays.values():
            wrapped = new_tensor(backend.asarray(place.value), backend)
            self._by_id[id(place.value)] = slot = Slot(RawAt(place, backend), wrapped, place.path)
            self.slots.append(slot)

    def _number_at(self, place: Place, counts: bool) -> None:
        """A number that may be another in each call. Counts of one name that agree are one number as long as they agree."""
        twin = (place.key, place.value) if counts and type(place.value) is int else None
        index = self._counts.get(twin)
        if index is not None:
            self.twins.append((place, index))
        else:
            index = len(self.numbers)
            self.numbers.append(place)
            self._inputs.append(self.tape.input(place.value))
            if twin is not None:
                self._counts[twin] = index
        self._bound.append((place, self._inputs[index]))

    def _container(self, place: Place) -> None:
        """The tensors and numbers in a container that is another in each call."""
        found: list[Any] = []
        form = flatten(place.value, found)
        traced = list(found)
        for i, x in enumerate(found):
            if isinstance(x, Tensor) and x._backend is self.backend:
                self._add(Within(place, form, i), x, place.path)
            elif type(x) in (int, float):
                self.numbers.append(Within(place, form, i))
                self._inputs.append(self.tape.input(x))
                traced[i] = self._inputs[-1]
        if any(a is not b for a, b in zip(found, traced, strict=True)):
            self._bound.append((place, rebuild(form, iter(traced))))

    def _gradients(self) -> None:
        for slot in list(self.slots):
            if slot.leaf is not None and isinstance(slot.leaf.grad, Tensor):
                self._add(GradientOf(slot.ref), slot.leaf.grad, f"{slot.path}.grad")

    # ------------------------------------------------------------------------------------------------------- the run

    def run(self, number: Callable[[int], Any], arrays: list[Any]) -> list[Any]:
        """Run the function on stand-ins; the program's results. Everything is as it was before, whatever happens."""
        self._number = number
        try:
            for slot, array in zip(self.slots, arrays, strict=True):
                slot.bind(array)
            for slot in self.slots:
                if slot.leaf is not None:
                    slot.leaf.grad = Unread(slot.leaf.grad, self._seen)  # type: ignore[assignment]
            for place, stand_in in self._bound:
                place.set(stand_in)
            args, kwargs = rebuild(self.form, iter(self._given))
            with using_mode(observer=self, **self.changes):
                self.mode = current_mode()
                result = self.function(*args, **kwargs)
                if current_mode() is not self.mode:
                    raise TraceError("the function leaves another grad mode to its caller; use it as a context manager")
            self._learn(result)
            return self.outputs
        except self.backend.compiler.errors as error:  # type: ignore[union-attr]
            notes = "; ".join(getattr(error, "__notes__", ()))
            raise TraceError(
                f"the value of a traced array is needed {notes or 'by code that is not written in polygrad'}. {WAY_OUT}"
            ) from error
        finally:
            self._restore()

    def _seen(self, leaf: Leaf) -> None:
        self.read.add(id(leaf))

    def _restore(self) -> None:
        reset(self.environment)
        for place, _ in self._bound:
            place.set(place.value)
        for slot in self.slots:
            slot.restore()

    # ------------------------------------------------------------------------------------- what the observer is told

    def enter(self, op: Any, operands: Any, params: Any) -> tuple[Any, Any]:
        """Check that what an op reads is known, and give it numbers as tensors."""
        traced = self.backend.compiler.is_traced  # type: ignore[union-attr]
        plain = True
        for x in operands:
            if isinstance(x, Tensor):
                if not traced(x._array):
                    self._unknown(op, x)
            elif type(x) not in NUMBERS:
                plain = False
        if not plain:
            operands = tuple([self._operand(op, x, operands) for x in operands])
        if params and any(type(v) not in SIMPLE for v in params.values()):
            params = {name: self._parameter(op, value) for name, value in params.items()}
        return operands, params

    def _operand(self, op: Any, x: Any, operands: Any) -> Any:
        if type(x) is TracedNumber:
            return self._tensor_of(x, operands)
        if x is None or isinstance(x, Tensor) or type(x) in NUMBERS:
            return x
        slot = self._by_id.get(id(x))
        if slot is not None:
            return new_tensor(slot.stand_in, self.backend)
        if isinstance(x, self._kind()) and not self.backend.compiler.is_traced(x):  # type: ignore[union-attr]
            self._unknown(op, x)
        return x

    def _kind(self) -> type:
        return type(self.slots[0].array) if self.slots else type(None)

    def _parameter(self, op: Any, value: Any) -> Any:
        if type(value) is TracedNumber:
            return value.item()
        array = value._array if isinstance(value, Tensor) else value
        if isinstance(array, self._kind()) and not self.backend.is_traced(array):
            self._unknown(op, value)
        if isinstance(value, tuple | list):
            return type(value)([self._parameter(op, v) for v in value]) if not hasattr(value, "_fields") else value
        return value

    def _tensor_of(self, x: TracedNumber, operands: Any) -> Tensor | Any:
        """A number as a 0-d tensor of the type that it would have beside these operands."""
        place = self.tape.argument(x)
        if place is None:
            return x.item()
        types = [o.dtype for o in operands if isinstance(o, Tensor)]
        value = x.kind(0)
        dtype = (
            with_scalar(promote(*types), value) if types else default_for("floating" if x.kind is float else "integer")
        )
        array = self._number(place) if place < self.capacity else self._number(0)
        native = self.backend.native(dtype)
        return new_tensor(array if array.dtype == native else self.backend.arrays.astype(array, native), self.backend)

    def _unknown(self, op: Any, x: Any) -> None:
        if isinstance(x, Tensor) and x._backend is not self.backend:
            raise TraceError(
                f"{op.name} gets a tensor on backend {x.backend!r} in a function that is compiled for {self.backend.name!r}, at "
                f"{user_line()}. Convert it outside with .to({self.backend.name!r})"
            )
        raise TraceError(
            f"{op.name} reads a tensor of shape {tuple(x.shape)} that polygrad.jit cannot find again in the next call, at "
            f"{user_line()}. Pass it as an argument, or keep it in an attribute, a global or a closure of the function"
        )

    def leave(self, x: Tensor, what: str) -> None:
        """Refuse to turn a tensor into something else."""
        raise TraceError(f"{what} of a traced tensor of shape {x.shape}, at {user_line()}. {WAY_OUT}")

    def write(self, x: Tensor) -> None:
        """Check that a tensor that gets another value is known."""
        if id(x) not in self._by_id and not self.backend.is_traced(x._array) and x._backend is self.backend:
            self._unknown(WRITE, x)

    def hold(self) -> list[tuple[Slot, Any, Any, Any]]:
        """What all boxes hold before part of the function runs inside of a construct of the compiler."""
        return [(s, s.tensor._array, s.tensor._node, s.leaf and s.leaf.grad) for s in self.slots]

    def check(self, held: list[tuple[Slot, Any, Any, Any]]) -> None:
        """Raise TraceError if a box holds something else since then; what it holds is known inside of the construct only."""
        for slot, array, node, grad in held:
            x, leaf = slot.tensor, slot.leaf
            if x._array is not array or x._node is not node or (leaf and leaf.grad) is not grad:
                raise TraceError(
                    f"a function given to cond or while_loop changes {slot.path}, at {user_line()}. Return the new value from it, "
                    "and put it into the tensor outside"
                )

    # ------------------------------------------------------------------------------------------------- after the run

    def _output(self, array: Any) -> int:
        """Which result of the program an array is."""
        if not self.backend.is_traced(array):
            raise TraceError(
                f"the function gives away an array of shape {tuple(array.shape)} from outside that polygrad.jit cannot find again; "
                "pass it as an argument, or keep it in an attribute, a global or a closure of the function"
            )
        index = self._index.get(id(array))
        if index is None:
            self._index[id(array)] = index = len(self.outputs)
            self.outputs.append(array)
        return index

    def _make(self, x: Tensor) -> Made:
        made = self.made.get(id(x))
        if made is None:
            history = x._node if type(x._node) in (Node, Pick) else None
            made = self.made[id(x)] = Made(self._output(x._array), type(x._node) is Leaf, history)
            self._keep.append(x)
        return made

    def _learn(self, result: Any) -> None:
        if len(self.tape.used) > self.capacity:
            raise Again(len(self.tape.used))
        for (
            slot
        ) in self.slots:  # first what is rebound, then gradients: the memory of the old ones goes to them in this order
            x = slot.tensor
            if x._array is not slot.stand_in:
                history = x._node if type(x._node) in (Node, Pick) else None
                self.rebound.append((slot, Made(self._output(x._array), False, history)))
        refuse_hooks(self.slots)
        for slot in self.slots:
            x = slot.tensor
            if slot.leaf is not None:
                self._learn_gradient(slot, slot.leaf.grad)
            if slot.outer is not None and type(x._node) is Leaf and isinstance(x._node.grad, Tensor):
                raise TraceError(
                    f"backward() runs into the history of {slot.path}, which was recorded outside of the function; "
                    "detach it, or compute it inside"
                )
        self.result = self._template(result, "the result")
        self._learn_effects()
        marked = [*self.made.values(), *(made for _, made in self.rebound)]
        self.live = [made for made in marked if made.node is not None and alive(made.node)]

    def _learn_gradient(self, slot: Slot, grad: Any) -> None:
        if type(grad) is Unread:
            return
        before = slot._leaf_saved[3]
        if grad is before:
            return
        self.gradients.append((slot, None if grad is None else self._template(grad, f"{slot.path}.grad")))

    def _template(self, value: Any, path: str) -> Any:
        """A value with its tensors and numbers replaced by how a later call finds them."""
        if isinstance(value, Tensor):
            slot = self._by_id.get(id(value))
            return slot if slot is not None and slot.tensor is value else self._make(value)
        if type(value) is TracedNumber or isinstance(value, SCALARS):
            return value
        kind = kind_of(value)
        if kind is not None:
            form, parts = CONTAINERS[kind].take(value)
            return Template(kind, form, [self._template(part, path) for part in parts])
        if self.backend.is_traced(value):
            return Raw(self._output(value))
        if holds_tensor(value, self._by_id):
            raise TraceError(
                f"{path} is a {type(value).__name__} made inside of the function that holds tensors; make it outside, or give back "
                "its tensors in a tuple, list, dict or dataclass"
            )
        return value

    def _learn_effects(self) -> None:
        again = False
        bound = {place.name: stand_in for place, stand_in in self._bound}
        seen = set()
        for place in self.environment.places:
            if place.name in seen:
                continue
            seen.add(place.name)
            now = place.get()
            if now is bound.get(place.name, place.value):
                continue
            if now is MISSING:
                if isinstance(place.holder, dict):
                    self.effects.append((place, MISSING))
                continue
            again |= self._learn_effect(place, now)
        for container, before, path in self.environment.containers:
            self._learn_growth(container, before, path)
        refuse_changes(self.environment.bulk)
        for held, before, path in self.environment.objects:
            self._learn_growth(held, before, path)
        if again:
            raise Again(0)

    def _learn_effect(self, place: Place, now: Any) -> bool:
        """Enter the change of one place; True if the function must be captured again with the place varying."""
        before = place.value
        if isinstance(before, SCALARS) and same(before, now) and place.name not in self.varying:
            return False
        if not place.writable or isinstance(place.holder, list) and place.key >= len(place.holder):
            raise TraceError(f"the function changes {place.path}, which cannot be done again in later calls")
        number = type(before) in (int, float) and type(now) in (int, float, TracedNumber)
        tensors = isinstance(before, Tensor) and isinstance(now, Tensor)
        containers = kind_of(before) is not None and kind_of(now) is not None and type(before) is type(now)
        if (number or tensors or containers) and place.name not in self.varying:
            self.varying.add(place.name)
            return True
        self.effects.append((place, self._template(now, place.path)))
        return False

    def _learn_growth(self, container: Any, before: Any, path: str) -> None:
        """Enter what was added to a dict; refuse other containers that have changed."""
        if isinstance(container, dict):
            for key in [k for k in container if k not in before]:
                place = Place(
                    container, key, f"{path}[{key!r}]" if isinstance(key, str | int) else f"{path}[...]", MISSING
                )
                self.effects.append((place, self._template(container[key], place.path)))
        else:
            refuse_growth(container, before, path)


class PullCapture(Capture):
    """The same function once more, for the cotangents of what it read, given those of its results."""

    changes = {"grad": True}  # it runs inside of backward(), which records nothing
    wanted: list[int]
    given: list[Any]

    def run(self, number: Callable[[int], Any], arrays: list[Any]) -> list[Any]:
        """Run the function on stand-ins, and walk its graph back from the cotangents that stand last among the arrays."""
        count = len(self.slots)
        self.given = arrays[count:]
        return super().run(number, arrays[:count])

    def _learn(self, result: Any) -> None:
        super()._learn(result)
        seeds = merged(zip([made.node for made in self.live], self.given, strict=True))
        edges = [self.slots[i].edge for i in self.wanted]
        with using_mode(observer=self, grad=False):
            found = reverse(seeds, dict.fromkeys(edges), until=True)
        zeros = self.backend.arrays.zeros
        self.outputs = [found[e] if e in found else zeros(e.shape, dtype=e.dtype) for e in edges]


def alive(node: Any) -> bool:
    """True for a history of which no part has been walked and dropped."""
    return not any(type(n) is Node and n.kept is FREED for n in collect([node]))


class Template:
    """A container of a nest whose parts are found in a later call."""

    __slots__ = ("kind", "form", "parts")

    def __init__(self, kind: str, form: Any, parts: list[Any]):
        self.kind, self.form, self.parts = kind, form, parts


class Raw:
    """A library's array that is a result of the program."""

    __slots__ = ("output",)

    def __init__(self, output: int):
        self.output = output


class _Write:
    name = "an in-place operation"


WRITE = _Write()
NUMBERS = frozenset({bool, int, float, complex})
SIMPLE = frozenset({*NUMBERS, str, type(None), slice})


def holds_tensor(value: Any, known: dict[int, Slot], depth: int = 3) -> bool:
    """True for an object with tensors in its attributes that the captured function has made."""
    if isinstance(value, Tensor):
        return id(value) not in known
    if isinstance(value, dict):
        parts = list(value.values())
    elif isinstance(value, list | tuple | set):
        parts = list(value)
    else:
        held = getattr(value, "__dict__", None)
        parts = list(held.values()) if isinstance(held, dict) and not isinstance(value, type) else []
    return depth > 0 and any(holds_tensor(part, known, depth - 1) for part in parts if not isinstance(part, SCALARS))
