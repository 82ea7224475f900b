"""Derivatives of functions: `grad`, `value_and_grad`, `vjp`, `jvp`, `linearize`, `jacrev`, `jacfwd`, `hessian`, `hvp`, `vhp`.

The functions may take and return any nest of tensors (see `polygrad.autograd.nest`). A result is recorded where something
outside may be differentiated through it, so they nest to any depth and in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from polygrad.autograd.trace import Trace, arguments
from polygrad.core import Tensor

__all__ = [
    "grad",
    "grad_and_value",
    "hessian",
    "hvp",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jvp",
    "linearize",
    "value_and_grad",
    "vhp",
    "vjp",
]

CONVENTIONS = ("torch", "jax")


def value_and_grad(
    func: Callable[..., Any],
    argnums: int | tuple[int, ...] = 0,
    has_aux: bool = False,
    *,
    holomorphic: bool = False,
    convention: str = "torch",
) -> Callable[..., Any]:
    """A function that gives the value of `func` and its gradient, `(value, grad)`.

    Args:
        func: returns a scalar tensor.
        argnums: which positional arguments to differentiate; for a tuple, the gradient is a tuple.
        has_aux: `func` returns `(output, aux)`, and the value is that pair.
        holomorphic: `func` is a holomorphic function of complex arguments, and the gradient its derivative f'(z).
        convention: of complex gradients of real functions: "torch" gives dL/dz*, the direction of steepest ascent, "jax" its
            conjugate.

    Returns:
        A function of the same arguments. The gradient is built like the argument, with None for what is no floating-point
        number, and a dict of the parameters by name for a Module. Python numbers and arrays count as tensors.

    Raises (when called):
        RuntimeError: the output is no scalar, or complex without `holomorphic`.
        TypeError: nothing in the argument can be differentiated.
    """
    if convention not in CONVENTIONS:
        raise ValueError(f"value_and_grad: convention must be one of {CONVENTIONS}, got {convention!r}")

    @wraps(func)
    def derived(*args: Any, **kwargs: Any) -> Any:
        t = Trace("grad", func, args, kwargs, arguments("grad", argnums, args), has_aux)
        y = t.scalar()
        if y.dtype.is_complex and not holomorphic:
            raise RuntimeError(
                f"grad: expected func to return a real scalar, got {y.dtype}; take its real part, or pass holomorphic=True to "
                "pg.grad for the derivative of a holomorphic function"
            )
        if holomorphic and not all(x.dtype.is_complex for x in [y, *t.inputs]):
            kinds = ", ".join(str(x.dtype) for x in [*t.inputs, y])
            raise TypeError(f"grad: holomorphic=True takes complex arguments to a complex scalar, got {kinds}")
        grads = t.pull([y._backend.tensors.ones_like(y.detach())], free=True)
        if holomorphic or convention == "jax":
            grads = [g._backend.tensors.conj(g) if g.dtype.is_complex else g for g in grads]
        found = t.like_inputs(grads)
        return (t.value, t.aux) if has_aux else t.value, found[0] if isinstance(argnums, int) else found

    return derived


def grad(
    func: Callable[..., Any],
    argnums: int | tuple[int, ...] = 0,
    has_aux: bool = False,
    *,
    holomorphic: bool = False,
    convention: str = "torch",
) -> Callable[..., Any]:
    """A function that gives the gradient of `func`; with `has_aux`, `(grad, aux)`. Arguments and errors are `value_and_grad`'s."""
    both = value_and_grad(func, argnums, has_aux, holomorphic=holomorphic, convention=convention)

    @wraps(func)
    def derived(*args: Any, **kwargs: Any) -> Any:
        value, found = both(*args, **kwargs)
        return (found, value[1]) if has_aux else found

    return derived


def grad_and_value(
    func: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that gives `(grad, value)`, or `(grad, (value, aux))`: PyTorch's order. See `value_and_grad`."""
    both = value_and_grad(func, argnums, has_aux)

    @wraps(func)
    def derived(*args: Any, **kwargs: Any) -> Any:
        value, found = both(*args, **kwargs)
        return found, value

    return derived


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """The value of `func` and the function that pulls cotangents back: `(output, vjp_fn)`, or `(output, vjp_fn, aux)`.

    `vjp_fn(cotangents)` takes a nest built like the output (None stands for zeros) and gives a tuple with the cotangents of
    the primals. It may be called any number of times, and differentiated.

    Raises:
        TypeError: a primal has nothing to differentiate; in `vjp_fn`, cotangents that are built differently.
        RuntimeError: in `vjp_fn`, a cotangent of another shape, device or backend than its output.
    """
    t = Trace("vjp", func, primals, {}, range(len(primals)), has_aux)

    def vjp_fn(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        return t.like_inputs(t.pull(t.outputs_of(cotangents, "vjp: cotangents"), free=not retain_graph))

    return (t.value, vjp_fn, t.aux) if has_aux else (t.value, vjp_fn)


def jvp(func: Callable[..., Any], primals: Any, tangents: Any, *, strict: bool = False, has_aux: bool = False) -> Any:
    """The value of `func` and its derivative along tangents, by forward mode: `(output, tangent)`, or with `aux` as third.

    Args:
        primals: the tuple of arguments.
        tangents: a tuple built like it; None stands for zeros.
        strict: raise if an output does not depend on the primals, instead of giving zeros.
        has_aux: `func` returns `(output, aux)`.

    Raises:
        TypeError: primals is no tuple, or tangents are built differently.
        RuntimeError: a tangent of another shape than its primal; an independent output, with `strict`.
    """
    if not isinstance(primals, tuple) or not primals:
        raise TypeError(f"jvp: expected primals to be a tuple of the arguments of func, got {type(primals).__name__}")
    t = Trace("jvp", func, primals, {}, range(len(primals)), has_aux)
    moved = t.like_outputs(t.push(t.inputs_of(tangents, "jvp: tangents"), strict=strict))
    return (t.value, moved, t.aux) if has_aux else (t.value, moved)


def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """The value of `func` and its linear approximation there: `(output, jvp_fn)`.

    `jvp_fn(*tangents)` gives the tangent of the output; `func` does not run again.

    Raises:
        TypeError: a primal has nothing to differentiate; in `jvp_fn`, tangents that are built differently.
    """
    t = Trace("linearize", func, primals, {}, range(len(primals)))

    def jvp_fn(*tangents: Any) -> Any:
        return t.like_outputs(t.push(t.inputs_of(tangents, "linearize: tangents")))

    return t.value, jvp_fn


# ------------------------------------------------------------------------------------------------------------ jacobians


def _units(x: Tensor) -> list[Tensor]:
    """The unit vectors of a tensor's space, in its shape."""
    xp, n = x._backend.tensors, x._size
    eye = xp.eye(n, dtype=x.dtype, device=x.device)
    return [xp.reshape(eye[i], x.shape) for i in range(n)]


def _real(name: str, tensors: Sequence[Tensor], holomorphic: bool) -> None:
    for x in tensors:
        if x.dtype.is_complex is not holomorphic:
            wanted = "complex tensors with holomorphic=True" if holomorphic else "real tensors"
            hint = "" if holomorphic else "; for a holomorphic function pass holomorphic=True, else use vjp or jvp"
            raise RuntimeError(f"{name}: expected {wanted}, got {x.dtype}{hint}")


def rows(t: Trace, holomorphic: bool = False) -> list[list[Tensor]]:
    """Per output, per input, the Jacobian of shape output + input, one walk backward for each element of the outputs."""
    found = []
    for i, y in enumerate(t.outputs):
        nothing: list[Any] = [None] * len(t.outputs)
        parts = [t.pull([*nothing[:i], unit, *nothing[i + 1 :]]) for unit in _units(y)]
        found.append(
            [
                _stacked(list(g), (*y.shape, *x.shape), 0, x)
                for g, x in zip(_turned(parts, t.inputs), t.inputs, strict=True)
            ]
        )
    return [[_conj(j) for j in row] for row in found] if holomorphic else found


def columns(t: Trace) -> list[list[Tensor]]:
    """The same by forward mode, one walk for each element of the inputs."""
    found: list[list[Tensor]] = [[] for _ in t.outputs]
    for i, x in enumerate(t.inputs):
        nothing: list[Any] = [None] * len(t.inputs)
        parts = [t.push([*nothing[:i], unit, *nothing[i + 1 :]]) for unit in _units(x)]
        for row, y, moved in zip(found, t.outputs, _turned(parts, t.outputs), strict=True):
            row.append(_stacked(list(moved), (*y.shape, *x.shape), -1, y))
    return found


def _turned(parts: list[list[Tensor]], like: list[Tensor]) -> list[Any]:
    return list(zip(*parts, strict=True)) if parts else [()] * len(like)


def _stacked(parts: list[Tensor], shape: tuple[int, ...], axis: int, like: Tensor) -> Tensor:
    xp = like._backend.tensors
    if not parts:
        return xp.zeros(shape, dtype=like.dtype, device=like.device)
    return xp.reshape(xp.stack(parts, axis=axis), shape)


def _conj(x: Tensor) -> Tensor:
    return x._backend.tensors.conj(x)


def _jacobian(
    name: str, func: Callable[..., Any], argnums: Any, has_aux: bool, holomorphic: bool, forwards: bool | None
) -> Callable[..., Any]:
    @wraps(func)
    def derived(*args: Any, **kwargs: Any) -> Any:
        t = Trace(name, func, args, kwargs, arguments(name, argnums, args), has_aux)
        _real(name, [*t.inputs, *t.outputs], holomorphic)
        wide = sum(y._size for y in t.outputs) > sum(x._size for x in t.inputs)
        table = columns(t) if (wide if forwards is None else forwards) else rows(t, holomorphic)
        made = [t.like_inputs(row) for row in table]
        found = t.like_outputs([row[0] if isinstance(argnums, int) else row for row in made])
        return (found, t.aux) if has_aux else found

    return derived


def jacrev(
    func: Callable[..., Any],
    argnums: int | tuple[int, ...] = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
    holomorphic: bool = False,
) -> Callable[..., Any]:
    """A function that gives the Jacobian of `func` by reverse mode, one walk for each element of the output.

    Args:
        argnums: which positional arguments to differentiate; for a tuple, each entry is a tuple.
        has_aux: `func` returns `(output, aux)`, and the function `(jacobian, aux)`.
        chunk_size: as in PyTorch; has no effect, since walks go one by one.
        holomorphic: `func` is a holomorphic function of complex arguments; entries are its complex derivatives.

    Returns:
        A function of the same arguments. Its result is built like the output, and in it like the argument; an entry has the
        shape of the output followed by that of the argument.

    Raises (when called):
        RuntimeError: complex tensors without `holomorphic`.
        TypeError: nothing in the argument can be differentiated.
    """
    return _jacobian("jacrev", func, argnums, has_aux, holomorphic, False)


def jacfwd(
    func: Callable[..., Any],
    argnums: int | tuple[int, ...] = 0,
    has_aux: bool = False,
    *,
    randomness: str = "error",
    holomorphic: bool = False,
) -> Callable[..., Any]:
    """A function that gives the Jacobian of `func` by forward mode, one walk for each element of the argument.

    Arguments and errors are `jacrev`'s; `randomness` is PyTorch's and has no effect, since `func` runs once.
    """
    return _jacobian("jacfwd", func, argnums, has_aux, holomorphic, True)


def jacobian(
    func: Callable[..., Any],
    argnums: int | tuple[int, ...] = 0,
    has_aux: bool = False,
    *,
    holomorphic: bool = False,
) -> Callable[..., Any]:
    """A function that gives the Jacobian of `func`, by the mode that needs fewer walks. Arguments and errors are `jacrev`'s."""
    return _jacobian("jacobian", func, argnums, has_aux, holomorphic, None)


def hessian(func: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """A function that gives the second derivatives of `func`, forward over reverse: the Jacobian of its Jacobian.

    Arguments and errors are `jacrev`'s.
    """
    return jacfwd(jacrev(func, argnums), argnums)


def _gradients(func: Callable[..., Any], primals: Any, name: str) -> tuple[Callable[..., Any], tuple[int, ...]]:
    if not isinstance(primals, tuple) or not primals:
        raise TypeError(
            f"{name}: expected primals to be a tuple of the arguments of func, got {type(primals).__name__}"
        )
    places = tuple(range(len(primals)))

    def both(*args: Any) -> tuple[Any, Any]:
        value, found = value_and_grad(func, places)(*args)
        return found, value

    return both, places


def hvp(func: Callable[..., Any], primals: Any, tangents: Any) -> tuple[Any, Any]:
    """The value of a scalar `func` and the product of its Hessian with a vector, forward over reverse: `(value, product)`.

    Args:
        primals: the tuple of arguments.
        tangents: the vector, a tuple built like it; so is the product.

    Raises as `jvp` and `grad` do.
    """
    both, _ = _gradients(func, primals, "hvp")
    _, product, value = jvp(both, primals, tangents, has_aux=True)
    return value, product


def vhp(func: Callable[..., Any], primals: Any, cotangents: Any) -> tuple[Any, Any]:
    """The value of a scalar `func` and the product of a vector with its Hessian, reverse over reverse: `(value, product)`.

    Arguments and errors are `hvp`'s. For real arguments the two products are equal.
    """
    both, _ = _gradients(func, primals, "vhp")
    _, pull, value = vjp(both, *primals, has_aux=True)
    return value, pull(cotangents)
