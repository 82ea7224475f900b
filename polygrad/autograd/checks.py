"""`gradcheck` and `gradgradcheck`: derivatives held against finite differences, with PyTorch's signatures."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from polygrad.autograd.gradients import grad
from polygrad.core import Tensor
from polygrad.core.engine import forward
from polygrad.core.tensor import new_tensor, using_mode

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(RuntimeError):
    """A derivative is not what finite differences say."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """True when the derivatives of `func` at `inputs` agree with central differences in every real and imaginary direction.

    Args:
        func: takes the inputs and returns a Tensor or a tuple of them.
        inputs: the arguments; those Tensors that require grad are checked. They should be float64 or complex128.
        eps: step of the differences.
        atol, rtol: |analytical - numerical| <= atol + rtol * |numerical|.
        raise_exception: raise when the check fails; otherwise return False.
        nondet_tol: how far two walks backward may differ.
        check_undefined_grad: an output without gradient must count as one with zeros.
        check_grad_dtypes: gradients must have the dtypes of the inputs.
        check_forward_ad, check_backward_ad: check forward mode, reverse mode.
        fast_mode: compare one random projection instead of all entries.
        masked: as in PyTorch; has no effect.

    Raises:
        GradcheckError: what differs, with both Jacobians.
        ValueError: no input requires grad; neither mode is to be checked.
        NotImplementedError: `check_batched_grad` or `check_batched_forward_grad`, which need vmap.
    """
    if not (check_forward_ad or check_backward_ad):
        raise ValueError("Expected at least one of check_forward_ad or check_backward_ad to be True")
    if check_batched_grad or check_batched_forward_grad:
        raise NotImplementedError("checks of batched gradients need vmap, which polygrad does not have yet")
    check = Check(func, inputs, eps, atol, rtol)
    try:
        if fast_mode:
            check.projections(check_backward_ad, check_forward_ad)
        else:
            numerical = check.numerical()
            if check_forward_ad:
                check.compare(numerical, check.pushed(), "Jacobian computed with forward mode mismatch")
            if check_backward_ad:
                check.compare(numerical, check.pulled(), "Jacobian mismatch")
        if check_backward_ad:
            check.repeat(nondet_tol, check_grad_dtypes)
            if check_undefined_grad:
                check.undefined()
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    grad_outputs: Tensor | Sequence[Any] | None = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """True when the derivatives of the gradients of `func`, in its inputs and in `grad_outputs`, agree with differences.

    Args:
        grad_outputs: where to take the gradients; random numbers unless given.
        gen_non_contig_grad_outputs: as in PyTorch; has no effect.
        check_fwd_over_rev, check_rev_over_rev: differentiate the gradients in forward mode, in reverse mode.

    The other arguments and errors are `gradcheck`'s.
    """
    given = _tuple(inputs)
    with using_mode(grad=True):
        outputs = _differentiable(func(*given))
    if grad_outputs is None:
        numbers = random.Random(0)
        gs: tuple[Any, ...] = tuple(_random(y, numbers).requires_grad_() for y in outputs)
    else:
        gs = tuple(g if g is None or g.requires_grad else g.detach().requires_grad_() for g in _tuple(grad_outputs))

    def gradients(*args: Any) -> tuple[Tensor, ...]:
        xs, g = args[: len(given)], args[len(given) :]
        ys = _differentiable(func(*xs))
        wanted = [x for x in xs if _checked(x)]
        pairs = [(y, p) for y, p in zip(ys, g, strict=True) if y.requires_grad]
        found = grad([y for y, _ in pairs], wanted, [p for _, p in pairs], create_graph=True, allow_unused=True)
        return tuple([d for d in found if isinstance(d, Tensor)])

    return gradcheck(
        gradients,
        (*given, *gs),
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
        fast_mode=fast_mode,
        masked=masked,
    )


def _tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def _differentiable(outputs: Any) -> list[Tensor]:
    return [y for y in _tuple(outputs) if isinstance(y, Tensor) and y.dtype.category in ("floating", "complex")]


def _checked(x: Any) -> bool:
    return isinstance(x, Tensor) and x.requires_grad


def _random(x: Tensor, numbers: random.Random) -> Tensor:
    """Random numbers of a tensor's shape, dtype, device and backend."""

    def values(shape: tuple[int, ...]) -> Any:
        if shape:
            return [values(shape[1:]) for _ in range(shape[0])]
        return complex(numbers.gauss(), numbers.gauss()) if x.dtype.is_complex else numbers.gauss()

    xp = x._backend.tensors
    if x._size == 0:
        return xp.zeros(x.shape, dtype=x.dtype, device=x.device)
    return xp.asarray(values(x.shape), dtype=x.dtype, device=x.device)


def _units(x: Tensor) -> list[Tensor]:
    """The unit vectors of a tensor's space over the real numbers: for a complex tensor each once more times i."""
    xp = x._backend.tensors
    rows = [xp.reshape(row, x.shape) for row in xp.unstack(xp.eye(x._size, dtype=x.dtype, device=x.device))]
    return [r * unit for r in rows for unit in (1, 1j)] if x.dtype.is_complex else rows


def _parts(x: Tensor) -> list[float]:
    """The coordinates of a tensor in the basis of `_units`."""
    values = x.detach().reshape((-1,)).tolist()
    return [part for v in values for part in (v.real, v.imag)] if x.dtype.is_complex else values


def _dot(a: Tensor, b: Tensor) -> float:
    return sum(p * q for p, q in zip(_parts(a), _parts(b), strict=True))


Table = dict[
    tuple[int, int], list[list[float]]
]  # (output, input) -> rows by coordinates of the output, columns of the input


class Check:
    """One function at one point, and its Jacobian computed in several ways."""

    def __init__(self, func: Callable[..., Any], inputs: Any, eps: float, atol: float, rtol: float):
        self.func, self.inputs = func, _tuple(inputs)
        self.eps, self.atol, self.rtol = eps, atol, rtol
        self.places = [i for i, x in enumerate(self.inputs) if _checked(x)]
        if not self.places:
            raise ValueError(
                "gradcheck expects at least one input tensor to require gradient, but none of the them have requires_grad=True."
            )
        self.variables = [self.inputs[i] for i in self.places]
        for i, x in zip(self.places, self.variables, strict=True):
            if x.dtype.name not in ("float64", "complex128"):
                warnings.warn(
                    f"Input #{i} requires gradient and is not a double precision floating point or complex. This check will "
                    "likely fail if all the inputs are not of double precision floating point or complex.",
                    UserWarning,
                    stacklevel=4,
                )
        with using_mode(grad=True):
            self.outputs = _differentiable(func(*self.inputs))
        self.tracked = [y for y in self.outputs if y.requires_grad]

    def moved(self, k: int, step: Tensor) -> list[Tensor]:
        """The outputs after a step of one input."""
        args = list(self.inputs)
        with using_mode(grad=False):
            x = self.variables[k].detach() + step
        args[self.places[k]] = x.requires_grad_()
        with using_mode(grad=True):
            return [y.detach() for y in _differentiable(self.func(*args))]

    def difference(self, k: int, t: Tensor) -> list[Tensor]:
        """The derivatives of the outputs along a direction of one input, by a central difference."""
        with using_mode(grad=False):
            ahead, behind = self.moved(k, t * self.eps), self.moved(k, t * -self.eps)
            return [(a - b) / (2 * self.eps) for a, b in zip(ahead, behind, strict=True)]

    def pull(self, gs: dict[int, Tensor]) -> list[Tensor]:
        """The cotangents of the inputs from those of some outputs."""
        ys = [self.outputs[j] for j in gs if self.outputs[j].requires_grad]
        given = [g for j, g in gs.items() if self.outputs[j].requires_grad]
        if not ys:
            return [x._backend.tensors.zeros_like(x.detach()) for x in self.variables]
        found = grad(ys, self.variables, given, retain_graph=True, materialize_grads=True)
        return [d for d in found if isinstance(d, Tensor)]

    def zeros(self) -> dict[int, Tensor]:
        """Cotangents of zero for all outputs."""
        return {j: y._backend.tensors.zeros_like(y.detach()) for j, y in enumerate(self.outputs)}

    def push(self, k: int, t: Tensor) -> list[Tensor]:
        """The tangents of the outputs from that of one input."""
        with using_mode(grad=False):
            roots = [y._node for y in self.tracked]
            found = forward(roots, {self.variables[k]._node: t._array})
            return [
                y._backend.tensors.zeros_like(y.detach())
                if found.get(y._node) is None
                else new_tensor(found[y._node], y._backend)
                for y in self.outputs
            ]

    def numerical(self) -> Table:
        """The Jacobian by differences."""
        return self._by_columns(self.difference)

    def pushed(self) -> Table:
        """The Jacobian by forward mode."""
        return self._by_columns(self.push)

    def _by_columns(self, column: Callable[[int, Tensor], list[Tensor]]) -> Table:
        table: Table = {}
        for k, x in enumerate(self.variables):
            columns = [column(k, t) for t in _units(x.detach())]
            for j, y in enumerate(self.outputs):
                parts = [_parts(c[j]) for c in columns]
                table[j, k] = [list(row) for row in zip(*parts, strict=True)] if parts else [[] for _ in _parts(y)]
        return table

    def pulled(self) -> Table:
        """The Jacobian by reverse mode."""
        table: Table = {}
        for j, y in enumerate(self.outputs):
            rows = [self.pull(self.zeros() | {j: g}) for g in _units(y.detach())]
            for k in range(len(self.variables)):
                table[j, k] = [_parts(row[k]) for row in rows]
        return table

    def compare(self, numerical: Table, analytical: Table, what: str) -> None:
        """Raise GradcheckError where two Jacobians differ."""
        for (j, k), expected in numerical.items():
            found = analytical[j, k]
            for row, wanted in zip(found, expected, strict=True):
                if not all(self.near(a, n) for a, n in zip(row, wanted, strict=True)):
                    raise GradcheckError(
                        f"{what} for output {j} with respect to input {self.places[k]},\n"
                        f"numerical:{_shown(expected)}\nanalytical:{_shown(found)}"
                    )

    def near(self, a: float, n: float) -> bool:
        """True when an entry agrees; NaN agrees with nothing."""
        return a == n or abs(a - n) <= self.atol + self.rtol * abs(n)

    def projections(self, backward: bool, forwards: bool) -> None:
        """Compare one random projection per output and input. Raises GradcheckError where it differs."""
        numbers = random.Random(0)
        gs = [_random(y.detach(), numbers) for y in self.outputs]
        for k, x in enumerate(self.variables):
            t = _random(x.detach(), numbers)
            differences = self.difference(k, t)
            pushes = self.push(k, t) if forwards else []
            for j, g in enumerate(gs):
                wanted = _dot(g, differences[j])
                for use, made, mode in (
                    (backward, lambda j=j, g=g, k=k, t=t: _dot(self.pull(self.zeros() | {j: g})[k], t), ""),
                    (forwards, lambda j=j, g=g, p=pushes: _dot(g, p[j]), " computed with forward mode"),
                ):
                    if use and not self.near(made(), wanted):
                        raise GradcheckError(
                            f"Jacobian{mode} mismatch in fast mode for output {j} with respect to input {self.places[k]}: "
                            f"numerical {wanted}, analytical {made()}; fast_mode=False shows all entries"
                        )

    def repeat(self, tolerance: float, dtypes: bool) -> None:
        """Raise GradcheckError when a second walk gives other numbers, or gradients of other dtypes."""
        numbers = random.Random(0)
        gs = {j: _random(y.detach(), numbers) for j, y in enumerate(self.outputs)}
        for k, (a, b) in enumerate(zip(self.pull(gs), self.pull(gs), strict=True)):
            if any(abs(p - q) > tolerance for p, q in zip(_parts(a), _parts(b), strict=True)):
                raise GradcheckError(
                    "Backward is not reentrant, i.e., running backward with same input and grad_output multiple times gives "
                    f"different values (input {self.places[k]}); nondet_tol={tolerance} is what they may differ by"
                )
            if dtypes and a.dtype is not self.variables[k].dtype:
                raise GradcheckError(f"the gradient of input {self.places[k]} is {a.dtype}")

    def undefined(self) -> None:
        """Raise GradcheckError when an output without gradient does not count as one with zeros."""
        zeros = self.zeros()
        for left_out in zeros if len(zeros) > 1 else ():
            try:
                found = self.pull({j: g for j, g in zeros.items() if j != left_out})
            except (TypeError, AttributeError) as error:
                raise GradcheckError(
                    f"Expected backward function to handle undefined output grads; without that of output {left_out}: {error}"
                ) from error
            if any(part != 0 for d in found for part in _parts(d)):
                raise GradcheckError("Expected all input grads to be undefined or zero when all output grads are")


def _shown(rows: list[list[float]]) -> str:
    return "\n  " + "\n  ".join("[" + ", ".join(f"{v:.6g}" for v in row) + "]" for row in rows)
