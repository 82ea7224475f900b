"""Results with a derivative that is a Python function: what `Function`, `custom_vjp`, `custom_jvp` and `checkpoint` are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from polygrad.core import Tensor, new_tensor
from polygrad.core.custom import Whole, attach
from polygrad.core.engine import merged, reverse
from polygrad.core.tensor import Leaf, using_mode

__all__ = ["derived_push", "seeds_of", "transposed", "wrap"]

Derivative = Callable[[list[Any], Any, bool], Sequence[Any]]


def wrap(
    name: str,
    edges: Sequence[Any],
    outputs: Sequence[Tensor],
    pull: Derivative,
    push: Derivative,
    *,
    materialize: bool = True,
    kept: Any = (),
) -> list[Any]:
    """The histories of new results: a vertex for each output, None for integer ones.

    Args:
        name: of the function, in messages; its node is called `<name>Backward`.
        edges: where the operands come from, None for constants.
        pull: `pull(cotangents of the outputs, node, record)` gives the cotangents of the operands, Tensors or None.
        push: `push(tangents of the operands, node, record)` gives the tangents of the outputs, Tensors or None.
        materialize: `pull` gets zeros, not None, where there is no cotangent.
        kept: what the node holds until a walk frees it.
    """
    backend = outputs[0]._backend

    def derive(rule: Derivative, given: Any, node: Any, record: bool) -> list[Any]:
        shown = [p if p is None or record else new_tensor(p, backend) for p in given]
        with using_mode(grad=record):
            made = rule(shown, node, record)
        return [p if p is None or record else p._array for p in made]

    def pulled(xp: Any, g: Any, node: Any) -> list[Any]:
        found = derive(pull, g, node, xp is backend.tensors)
        if len(found) != len(edges):
            raise RuntimeError(
                f"function {name}Backward returned an incorrect number of gradients (expected {len(edges)}, got {len(found)})"
            )
        for i, (d, e) in enumerate(zip(found, edges, strict=True)):
            if d is not None and e is not None and not _sums_to(tuple(d.shape), e.shape):
                raise RuntimeError(
                    f"Function {name}Backward returned an invalid gradient at index {i} - got {list(d.shape)} but expected "
                    f"shape compatible with {list(e.shape)}"
                )
        return found

    def pushed(xp: Any, t: Any, node: Any) -> list[Any]:
        return derive(push, t, node, xp is backend.tensors)

    op = Whole(name, f"{name}Backward", pulled, pushed, materialize)
    return attach(op, edges, [y._array for y in outputs], backend, {}, kept)


def _sums_to(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """True when summing over axes that were broadcast makes one shape of the other."""
    return len(shape) >= len(wanted) and all(a in (1, b) for a, b in zip(wanted[::-1], shape[::-1], strict=False))


def seeds_of(outputs: Sequence[Any], cotangents: Sequence[Any], record: bool) -> dict[Any, Any]:
    """What a walk starts from: by the vertices of outputs, their cotangents, raw unless it is recorded. Either may be None."""
    pairs = zip(outputs, cotangents, strict=True)
    return merged((y._node, g if record else g._array) for y, g in pairs if y is not None and g is not None)


def transposed(
    outputs: Sequence[Any], leaves: Sequence[Leaf | None], cotangents: Sequence[Any], record: bool, *, retain: bool
) -> list[Any]:
    """A linear map that was recorded from `leaves` to `outputs`, transposed: a Tensor or None for each leaf.

    Args:
        outputs, cotangents: Tensors or None.
        retain: leave the record as it is, where it belongs to others too.
    """
    targets = {leaf: None for leaf in leaves if leaf is not None}
    found = reverse(seeds_of(outputs, cotangents, record), targets, retain=retain, record=record)
    made = {leaf: d if record else new_tensor(d, leaf.backend) for leaf, d in found.items() if d is not None}
    return [None if leaf is None else made.get(leaf) for leaf in leaves]


def derived_push(
    pull: Derivative, tangents: Sequence[Any], outputs: Sequence[Any], node: Any, record: bool
) -> list[Any]:
    """The tangents of outputs, made of a pull: it is linear in the cotangents, and the transpose of its transpose is wanted.

    Args:
        tangents: of the operands, Tensors or None.
        outputs: per output a raw array of its shape and dtype, or None for one that carries no derivative.
    """
    backend = node.backend
    leaves = [None if a is None else Leaf(a, backend) for a in outputs]
    with using_mode(grad=True, inference=False):
        zeros = [
            None if a is None else new_tensor(backend.xp.zeros_like(a), backend, leaf)
            for a, leaf in zip(outputs, leaves, strict=True)
        ]
        pulled = pull(zeros, node, True)
    # the record reaches into histories of what the function read, which are not for this walk to free
    return transposed(pulled, leaves, tangents, record, retain=True)
