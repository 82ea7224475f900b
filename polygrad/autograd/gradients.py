"""`backward` and `grad`: PyTorch's two ways to ask for gradients."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

from polygrad.core import Tensor, method, new_tensor
from polygrad.core.engine import merged, reverse
from polygrad.core.tensor import Leaf, Pick, grad_of, using_mode
from polygrad.core.watch import Walk, run_pre

__all__ = ["GradientEdge", "backward", "get_gradient_edge", "grad", "seed"]


class GradientEdge(NamedTuple):
    """Where a gradient flows into a graph: a node and which of its results. `grad` and `backward` take it in place of a Tensor."""

    node: Any
    output_nr: int
    ownership_token: Any = None


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """The edge by which the gradient of a tensor flows into its graph; the tensor itself need not be kept.

    Raises:
        RuntimeError: the tensor does not require grad.
    """
    target = tensor._node
    if target is None:
        raise RuntimeError("It is not possible to get the gradient edge for a Tensor that does not require gradients")
    if type(target) is Pick:
        return GradientEdge(target.edges[0], target.index, target)
    return GradientEdge(target, 0)


def _listed(value: Any) -> list[Any]:
    """One tensor or several as a list; an edge as a tensor of its shape and dtype, without a value."""
    many = type(value) in (list, tuple) or (
        isinstance(value, Sequence) and not isinstance(value, Tensor | GradientEdge)
    )
    return [_standin(v) if isinstance(v, GradientEdge) else v for v in (value if many else [value])]


def _standin(edge: GradientEdge) -> Tensor:
    target = edge.node if edge.ownership_token is None else edge.ownership_token
    backend = target.backend
    return new_tensor(backend.xp.empty(tuple(target.shape), dtype=target.dtype), backend, target)


def seed(y: Tensor, g: Any, index: int, record: bool) -> Any:
    """The cotangent to start from: `g`, or one for a scalar; raw unless the walk is recorded."""
    if y._node is None:
        raise RuntimeError(f"element {index} of tensors does not require grad and does not have a grad_fn")
    if g is None:
        if y._size != 1:
            raise RuntimeError(
                f"grad can be implicitly created only for scalar outputs, but element {index} has shape {y.shape}; "
                "pass gradient= (a tensor of that shape), or reduce it first, for example y.sum().backward()"
            )
        if y.dtype.is_complex:
            raise RuntimeError(
                "grad can be implicitly created only for real scalar outputs, but got a complex one; pass gradient="
            )
        g = y._backend.arrays.ones_like(y._array)
        return new_tensor(g, y._backend) if record else g
    else:
        if not isinstance(g, Tensor):
            g = y._backend.tensors.asarray(g, device=y.device)
        if g.shape != y.shape:
            raise RuntimeError(
                f"Mismatch in shape: grad_output[{index}] has a shape of {g.shape} and output[{index}] has a shape of {y.shape}."
            )
        if g._backend is not y._backend:
            raise RuntimeError(f"grad_output[{index}] is on backend {g.backend!r} and output[{index}] on {y.backend!r}")
        if g.device != y.device:
            raise RuntimeError(f"grad_output[{index}] is on device {g.device} and output[{index}] on {y.device}")
        if g.dtype.is_complex and not y.dtype.is_complex:
            raise RuntimeError(
                f"grad_output[{index}] is {g.dtype} and output[{index}] is {y.dtype}; a real output takes a real gradient"
            )
        if g.dtype is not y.dtype:
            g = y._backend.tensors.astype(g, y.dtype)
    return g if record else g._array


def _seeds(outputs: list[Tensor], gradients: Any, record: bool) -> dict[Any, Any]:
    if gradients is None and len(outputs) == 1 and isinstance(outputs[0], Tensor):
        return {outputs[0]._node: seed(outputs[0], None, 0, record)}
    given = [None] * len(outputs) if gradients is None else _listed(gradients)
    if len(given) != len(outputs):
        raise RuntimeError(f"got {len(outputs)} tensors and {len(given)} gradients")
    pairs = []
    for i, (y, g) in enumerate(zip(outputs, given, strict=True)):
        if not isinstance(y, Tensor):
            raise TypeError(f"element {i} is a {type(y).__name__}, expected a Tensor")
        pairs.append((y._node, seed(y, g, i, record)))
    return merged(pairs)


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Any = None,
) -> None:
    """Add to `.grad` of every leaf the gradient of the sum of `tensors`, each times its entry of `grad_tensors`.

    Args:
        tensors: a Tensor or a sequence of them; each must be a scalar unless its gradient is given.
        grad_tensors: the cotangents, of the same shapes.
        retain_graph: keep what the graph holds for another walk (as `create_graph` by default).
        create_graph: record the walk, so that gradients can be differentiated.
        grad_variables: PyTorch's old name of `grad_tensors`.
        inputs: only these tensors gather gradients.

    Raises:
        RuntimeError: nothing to differentiate, a non-scalar without gradient, shapes that differ, a graph already freed.
            No `.grad` has changed then.
    """
    outputs = _listed(tensors)
    targets = None
    if inputs is not None:
        listed = _listed(list(inputs.values()) if isinstance(inputs, dict) else inputs)
        if not listed:
            raise RuntimeError("'inputs' argument to backward() cannot be empty.")
        for i, x in enumerate(listed):
            if x._node is None:
                raise RuntimeError(f"inputs[{i}] does not require grad")
            x.retain_grad()
        targets = [x._node for x in listed]
    retain = create_graph if retain_graph is None else retain_graph
    with using_mode(grad=create_graph):
        seeds = _seeds(outputs, grad_tensors if grad_variables is None else grad_variables, create_graph)
        walk = Walk(create_graph)
        found = reverse(seeds, targets, retain=retain, record=create_graph, walk=walk)
        gradients = []
        for leaf, g in found.items():
            if type(leaf) is Leaf:
                made = g if create_graph else new_tensor(g, leaf.backend)
                gradients.append((leaf, made if leaf.extra is None else _last_word(leaf, leaf.extra, made)))
        walk.tell()
        # several threads may add to one leaf; whatever may fail comes before the first gradient is put in its place
        with _accumulating:
            totals = [(leaf, g if leaf.grad is None else _total(leaf, g)) for leaf, g in gradients]
            walk.keep()
            for leaf, total in totals:
                leaf.grad = total
    for leaf, g in gradients:
        if leaf.extra:
            _tell(leaf, leaf.extra, g)


_accumulating = threading.RLock()


def _last_word(leaf: Leaf, extra: dict[str, Any], g: Tensor) -> Tensor:
    """The gradient of a leaf after the pre-hooks of its AccumulateGrad, in the dtype that the user asked for."""
    if extra.get("pre"):
        g = run_pre(leaf, g, True)
    wanted = extra.get("grad_dtype")
    return g if wanted is None or wanted is g.dtype else g._backend.tensors.astype(g, wanted)


def _total(leaf: Leaf, g: Tensor) -> Tensor:
    held = grad_of(leaf)
    return g if held is None else held + g


def _tell(leaf: Leaf, extra: dict[str, Any], g: Tensor) -> None:
    """Run what waits for the accumulation into one leaf."""
    for hook in list(extra.get("post", {}).values()):
        hook((), (g,))
    owner = leaf.variable
    if owner is not None:
        for hook in list(extra.get("after", {}).values()):
            hook(owner)


@method
def _backward_of(tensor: Tensor, gradient: Any, retain_graph: bool | None, create_graph: bool, inputs: Any) -> None:
    backward([tensor], None if gradient is None else [gradient], retain_graph, create_graph, None, inputs)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...] | dict[str, Tensor | None]:
    """The gradients of the sum of `outputs`, each times its entry of `grad_outputs`, with respect to `inputs`.

    Args and errors are those of `backward`; besides:
        allow_unused: give None for an input that the outputs do not depend on, instead of raising RuntimeError.
        materialize_grads: give zeros for it.

    `inputs` may be a dict of tensors; the result then is a dict with the same keys.

    Raises:
        ValueError: `materialize_grads` with `allow_unused=False`.
        NotImplementedError: `is_grads_batched`, which needs vmap.
    """
    if is_grads_batched:
        raise NotImplementedError(
            "is_grads_batched needs vmap, which polygrad does not have yet; loop over grad_outputs"
        )
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False."
        )
    ys, xs = _listed(outputs), _listed(list(inputs.values()) if isinstance(inputs, dict) else inputs)
    for x in xs:
        if not isinstance(x, Tensor):
            raise TypeError(f"inputs must be Tensors, got {type(x).__name__}")
        if x._node is None:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    retain = create_graph if retain_graph is None else retain_graph
    with using_mode(grad=create_graph):
        found = reverse(
            _seeds(ys, grad_outputs, create_graph), [x._node for x in xs], retain=retain, record=create_graph
        )
        results: list[Tensor | None] = []
        for i, x in enumerate(xs):
            g = found.get(x._node)
            if g is not None:
                results.append(g if create_graph else new_tensor(g, x._backend))
            elif materialize_grads:
                results.append(x._backend.tensors.zeros_like(x))
            elif allow_unused:
                results.append(None)
            else:
                raise RuntimeError(
                    f"The differentiated Tensor at index {i} (of shape {x.shape}) appears to not have been used in the graph. "
                    "Set allow_unused=True if this is the desired behavior."
                )
    return dict(zip(inputs, results, strict=True)) if isinstance(inputs, dict) else tuple(results)
