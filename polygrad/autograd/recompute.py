"""Compute again instead of keep: PyTorch's `torch.utils.checkpoint`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from itertools import pairwise
from typing import Any

from polygrad.autograd.custom import seeds_of, wrap
from polygrad.autograd.nest import restore, take_apart
from polygrad.core import Tensor, new_tensor
from polygrad.core.engine import boundary, forward, reverse
from polygrad.core.inplace import recording
from polygrad.core.tensor import Leaf, next_serial, using_mode
from polygrad.random import default_generator

__all__ = ["CheckpointError", "checkpoint", "checkpoint_sequential", "noop_context_fn"]


class CheckpointError(RuntimeError):
    """The function did something else when it ran again than when it ran first."""


def noop_context_fn() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """Two contexts that do nothing, for the two runs."""
    return nullcontext(), nullcontext()


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], tuple[Any, Any]] = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    **kwargs: Any,
) -> Any:
    """`function(*args, **kwargs)`, keeping its arguments only; what backward needs is computed again when it gets there.

    Gradients are those of a plain call, to the bit: also for tensors that the function reads from outside, such as the
    parameters of a Module, which are given back the values that they had. The default generator replays its state, so dropout
    masks are the same. Checkpoints may be nested, and differentiated any number of times in both modes.

    Args:
        function: takes and returns nests of tensors.
        context_fn: gives two context managers, for the first run and for the second.
        determinism_check: "default" compares the shapes and dtypes of the two runs, "none" does not.
        kwargs: given to the function; `preserve_rng_state=False` (not given to it) leaves the generator alone.
        use_reentrant, debug, early_stop: as in PyTorch; they have no effect.

    Raises:
        CheckpointError: in backward, when the second run gives other shapes or dtypes, or reads other tensors that require grad.
        ValueError: another determinism_check.
    """
    if determinism_check not in ("default", "none"):
        raise ValueError(f"determinism_check must be 'default' or 'none', got {determinism_check!r}")
    replayed = kwargs.pop("preserve_rng_state", True)
    if not recording():
        with context_fn()[0]:
            return function(*args, **kwargs)
    return Segment(function, args, kwargs, context_fn, replayed, determinism_check != "none").record()


class Segment:
    """One checkpointed call."""

    def __init__(
        self, function: Callable[..., Any], args: Any, kwargs: Any, context_fn: Any, replayed: bool, checked: bool
    ):
        self.function, self.context_fn, self.checked = function, context_fn, checked
        leaves: list[Any] = []
        self.form = take_apart((args, kwargs), _is_tensor, leaves, modules=False)
        self.leaves = leaves
        # a box may get another value before backward; these are as they are now
        self.originals = [new_tensor(x._array, x._backend, x._node) for x in leaves]
        state = default_generator()._state if replayed else None
        self.state = None if state is None else (state._array, state._backend)

    def record(self) -> Any:
        """Run the function, drop its graph, and give its results a history of their own."""
        since = next_serial()
        args, kwargs = restore(self.form, iter(self.leaves))
        del self.leaves
        with self.context_fn()[0]:
            value = self.function(*args, **kwargs)
        outputs: list[Any] = []
        form = take_apart(value, _is_tensor, outputs, modules=False)
        # what is older, or has no history, is returned as it is
        self.places = [i for i, y in enumerate(outputs) if y._node is not None and y._node.serial > since]
        if not self.places:
            return value
        made = [outputs[i] for i in self.places]
        self.edges = boundary([y._node for y in made], since)
        self.kinds = [(y.shape, y.dtype) for y in outputs]
        self.read = [(leaf, leaf.variable, leaf.variable._array) for leaf in self.edges if _has_box(leaf)]
        vertices = wrap("Checkpoint", self.edges, made, _pull, _push, materialize=False, kept=(self,))
        for i, y, vertex in zip(self.places, made, vertices, strict=True):
            outputs[i] = new_tensor(y._array, y._backend, vertex)
        return restore(form, iter(outputs))

    def again(self) -> tuple[list[Tensor], int]:
        """The outputs of a second run, with its graph, and the serial number at which that begins."""
        since = next_serial()
        args, kwargs = restore(self.form, iter(self.originals))
        with using_mode(grad=True, inference=False), self.context_fn()[1], self._as_before():
            value = self.function(*args, **kwargs)
        outputs: list[Any] = []
        take_apart(value, _is_tensor, outputs, modules=False)
        kinds = [(y.shape, y.dtype) for y in outputs]
        if self.checked and kinds != self.kinds:
            raise CheckpointError(
                f"the checkpointed function gave {_shown(self.kinds)} first, and then {_shown(kinds)}"
            )
        made = [outputs[i] for i in self.places]
        reached = boundary([y._node for y in made], since)
        if not set(reached) <= set(self.edges):
            raise CheckpointError(
                "the checkpointed function read other tensors that require grad when it ran again: something that it reads "
                "from outside was replaced before backward; pass it as an argument"
            )
        return made, since

    @contextmanager
    def _as_before(self) -> Iterator[None]:
        """The generator's state and the tensors read from outside as they were in the first run."""
        with ExitStack() as stack:
            for _, box, array in self.read:
                if box._array is not array:
                    stack.callback(box._put, box._array, box._backend)
                    box._put(array, box._backend)
            if self.state is not None:
                generator = default_generator()
                stack.callback(setattr, generator, "_state", generator._state)
                generator._state = new_tensor(*self.state)
            yield

    def pull(self, g: list[Any], record: bool) -> list[Any]:
        """The cotangents of what the function read, by a walk over its second run."""
        made, since = self.again()
        seeds = seeds_of(made, g, record)
        found = reverse(seeds, dict.fromkeys(self.edges), retain=record, record=record, until=True, since=since)
        return [d if d is None or record else new_tensor(d, e.backend) for e, d in _paired(self.edges, found)]

    def push(self, t: list[Any], record: bool) -> list[Any]:
        """The tangents of the outputs, by a walk over a second run."""
        made, since = self.again()
        pairs = zip(self.edges, t, strict=True)
        known = {e: p if record else p._array for e, p in pairs if p is not None}
        found = forward([y._node for y in made if y._node is not None], known, record=record, since=since)
        return [
            d if d is None or record else new_tensor(d, y._backend) for y, d in [(y, found.get(y._node)) for y in made]
        ]


def _pull(g: list[Any], node: Any, record: bool) -> list[Any]:
    """By way of the node, which lets go of the segment when a walk frees it."""
    return node.kept[0].pull(g, record)


def _push(t: list[Any], node: Any, record: bool) -> list[Any]:
    return node.kept[0].push(t, record)


def _paired(edges: Sequence[Any], found: dict[Any, Any]) -> list[tuple[Any, Any]]:
    return [(e, found.get(e)) for e in edges]


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _has_box(vertex: Any) -> bool:
    return type(vertex) is Leaf and vertex.variable is not None


def _shown(kinds: list[Any]) -> str:
    return ", ".join(f"{dtype.name}{list(shape)}" for shape, dtype in kinds)


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any
) -> Any:
    """Run functions (or a Sequential) one after the other, checkpointing all but the last of `segments` equal parts.

    Raises:
        ValueError: a number of segments that is not in [1, number of functions]; an unknown keyword argument.
    """
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError(f"Unexpected keyword arguments: {', '.join(kwargs)}")
    chain = list(functions.children()) if hasattr(functions, "children") else list(functions)
    if not 1 <= segments <= len(chain):
        raise ValueError(f"segments must be in [1, {len(chain)}], the number of functions, got {segments}")

    def run(part: Sequence[Callable[..., Any]]) -> Callable[[Any], Any]:
        def segment(x: Any) -> Any:
            for function in part:
                x = function(x)
            return x

        return segment

    size = len(chain) // segments
    bounds = [*range(0, size * (segments - 1) + 1, size), len(chain)]
    for start, end in pairwise(bounds[:-1]):
        input = checkpoint(run(chain[start:end]), input, preserve_rng_state=preserve)
    return run(chain[bounds[-2] :])(input)
