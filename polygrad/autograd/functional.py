"""PyTorch's `torch.autograd.functional`: derivatives of functions of one tensor or a tuple of tensors.

Each function has PyTorch's signature. With `create_graph` the results can be differentiated; with `strict`, an output that does
not depend on an input raises RuntimeError instead of giving zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from polygrad.autograd.trace import Trace
from polygrad.autograd.verbs import columns, rows
from polygrad.core import Tensor
from polygrad.core.tensor import using_mode

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

Tensors = Tensor | tuple[Tensor, ...]


def _tuple(value: Any, what: str, name: str) -> tuple[Tensor, ...]:
    """One tensor or a tuple of them as a tuple. Raises TypeError for anything else."""
    listed = value if isinstance(value, tuple) else (value,)
    for i, x in enumerate(listed):
        if not isinstance(x, Tensor):
            where = f"value at index {i}" if isinstance(value, tuple) else f"given {what}"
            raise TypeError(
                f"The {what} given to {name} must be either a Tensor or a tuple of Tensors but the {where} has type {type(x)}."
            )
    return listed


def _run(name: str, func: Callable[..., Any], inputs: Any, create_graph: bool, strict: bool) -> Trace:
    xs = _tuple(inputs, "inputs", name)
    xs = xs if create_graph else tuple(x.detach() for x in xs)

    def checked(*args: Any) -> Any:
        out = func(*args)
        _tuple(out, "outputs of the user-provided function", name)
        return out

    with using_mode(grad=True):
        t = Trace(name, checked, xs, {}, range(len(xs)))
    if strict:
        for i, y in enumerate(t.outputs):
            if y._node is None:
                raise RuntimeError(
                    f"Output {i} of the user-provided function does not require gradients. The outputs must be computed in a "
                    "differentiable manner from the input when running in strict mode."
                )
        _check_reached(t)
    return t


def _check_reached(t: Trace) -> None:
    """Raise RuntimeError where no output depends on some input."""
    reached: set[Any] = set()
    stack = [y._node for y in t.outputs]
    while stack:
        n = stack.pop()
        if n is not None and n not in reached and n.serial > t.since:
            reached.add(n)
            stack += n.edges
    for i, target in enumerate(t.targets):
        if target not in reached:
            raise RuntimeError(
                f"The output of the user-provided function is independent of input {i}. This is not allowed in strict mode."
            )


def _vectors(v: Any, like: Sequence[Tensor], what: str, name: str) -> list[Tensor]:
    """The vector of a product, of the shapes of `like`; one for a single number. Raises RuntimeError for other shapes."""
    if v is None:
        if len(like) != 1 or like[0]._size != 1:
            raise RuntimeError(f"The vector v can only be None if {what} a single Tensor with a single element.")
        return [like[0]._backend.tensors.ones_like(like[0].detach())]
    vs = _tuple(v, "v", name)
    if len(vs) != len(like):
        raise RuntimeError(f"v is a tuple of invalid length: should be {len(like)} but got {len(vs)}.")
    for i, (a, b) in enumerate(zip(vs, like, strict=True)):
        if a.shape != b.shape:
            entry = f"Entry {i} in " if len(like) > 1 else ""
            raise RuntimeError(f"{entry}v has invalid size: should be {b.shape} but got {a.shape}.")
    return list(vs)


def _given(v: Any, create_graph: bool) -> Any:
    if v is None or create_graph:
        return v
    return tuple(x.detach() for x in v) if isinstance(v, tuple) else v.detach()


def _out(value: Any, create_graph: bool) -> Any:
    if create_graph:
        return value
    return tuple(_out(x, False) for x in value) if isinstance(value, tuple) else value.detach()


def _like(form: Any, values: Sequence[Any]) -> Any:
    """Values as the user gave the others: a tuple, or the only one."""
    return tuple(values) if isinstance(form, tuple) else values[0]


def vjp(
    func: Callable[..., Any], inputs: Tensors, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """The value of `func`, and the product of a vector `v` (like the outputs) with its Jacobian."""
    t = _run("vjp", func, inputs, create_graph, strict)
    g = _vectors(_given(v, create_graph), t.outputs, "the user-provided function returns", "vjp")
    with using_mode(grad=create_graph):
        found = t.pull(g)
    return _out(t.value, create_graph), _like(inputs, found)


def jvp(
    func: Callable[..., Any], inputs: Tensors, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """The value of `func`, and the product of its Jacobian with a vector `v` (like the inputs), by forward mode."""
    t = _run("jvp", func, inputs, create_graph, strict)
    g = _vectors(_given(v, create_graph), t.inputs, "the input to the user-provided function is", "jvp")
    with using_mode(grad=create_graph):
        found = t.push(g)
    return _out(t.value, create_graph), _like(t.value, found)


def jacobian(
    func: Callable[..., Any],
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The Jacobian of `func`: an entry per output and input, of the shape of the output followed by that of the input.

    Args:
        vectorize: as in PyTorch; has no effect, since walks go one by one.
        strategy: "reverse-mode" or "forward-mode".
    """
    if strategy not in ("reverse-mode", "forward-mode"):
        raise ValueError(f"Expected strategy to be either 'reverse-mode' or 'forward-mode', got {strategy!r}")
    t = _run("jacobian", func, inputs, create_graph, strict)
    for y in t.outputs:
        if y.dtype.is_complex:
            raise RuntimeError(f"jacobian takes functions with real outputs, got {y.dtype}; use vjp for complex ones")
    with using_mode(grad=create_graph):
        table = columns(t) if strategy == "forward-mode" else rows(t)
    return _like(t.value, [_like(inputs, row) for row in table])


def _scalar(y: Any, name: str) -> Tensor:
    if not isinstance(y, Tensor) or y._size != 1:
        shown = f"shape {y.shape}" if isinstance(y, Tensor) else f"a {type(y).__name__}"
        raise RuntimeError(
            f"The function given to {name} should return a single Tensor with a single element, got {shown}"
        )
    return y.reshape(())


def hessian(
    func: Callable[..., Any],
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The second derivatives of a scalar `func`: an entry per pair of inputs, of the shapes of both."""

    def slope(*xs: Tensor) -> Any:
        made = jacobian(lambda *zs: _scalar(func(*zs), "hessian"), xs if len(xs) > 1 else xs[0], True, strict)
        return made

    xs = _tuple(inputs, "inputs", "hessian")
    found = jacobian(slope, xs, create_graph, strict, vectorize, outer_jacobian_strategy)
    if isinstance(inputs, tuple):
        return found if len(xs) > 1 else (found,)
    return found[0]


def _gradient(func: Callable[..., Any], name: str, single: bool, strict: bool) -> Callable[..., Any]:
    def both(*xs: Tensor) -> Any:
        value, found = vjp(lambda *zs: _scalar(func(*zs), name), xs[0] if single else xs, None, True, strict)
        return (found, value) if single else (*found, value)

    return both


def _second(name: str, func: Any, inputs: Any, v: Any, create_graph: bool, strict: bool, forwards: bool) -> Any:
    single = not isinstance(inputs, tuple)
    t = _run(name, _gradient(func, name, single, strict), inputs, create_graph, strict)
    *_, value = t.value
    vs = _vectors(_given(v, create_graph), t.inputs, "the input to the user-provided function is", name)
    with using_mode(grad=create_graph):
        found = t.push(vs)[:-1] if forwards else t.pull([*vs, None])
    return _out(value, create_graph), _like(inputs, found)


def hvp(
    func: Callable[..., Any], inputs: Tensors, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """The value of a scalar `func`, and the product of its Hessian with a vector `v` like the inputs, forward over reverse."""
    return _second("hvp", func, inputs, v, create_graph, strict, True)


def vhp(
    func: Callable[..., Any], inputs: Tensors, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """The value of a scalar `func`, and the product of a vector `v` like the inputs with its Hessian, reverse over reverse."""
    return _second("vhp", func, inputs, v, create_graph, strict, False)
