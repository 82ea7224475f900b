"""The derivative checks, for any function of tensors, to any order.

`pulled(f)` and `pushed(f)` are functions of tensors like `f` itself, so what checks a function checks its derivatives.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from array_api_compat import array_namespace

from polygrad.core import Backend, Tensor, new_tensor
from polygrad.core.engine import forward, reverse
from polygrad_conformance.outcome import Outcome
from polygrad_conformance.samples import as_host, host, inexact, like, placed

__all__ = ["Derivatives", "in_place", "pulled", "pushed"]

Function = Callable[[list[Tensor]], list[Any]]

# The step is near the cube root of the unit roundoff, so a central difference of well-scaled functions is off by about
# 1e-10, and so is one of their derivatives; no wrong rule is right within 1e-6.
STEP = 6e-6
DIFFERENCE = 1e-6
IDENTITY = 1e-10


def _run(f: Function, xs: list[Tensor]) -> tuple[list[Tensor], list[Any]]:
    """Leaves at xs (which are kept where they are recorded already), and the inexact results."""
    leaves = [x if x._node is not None else x.detach().requires_grad_() for x in xs]
    return leaves, [y for y in f(leaves) if inexact(y)]


def _wrapped(found: Any, backend: Backend, record: bool) -> Any:
    return found if found is None or record else new_tensor(found, backend)


def pulled(f: Function, n: int) -> Function:
    """The pull of a function of n tensors: (operands, cotangents of its inexact results) -> cotangents of the operands.

    A cotangent is None where no result depends on the operand. Recorded if any argument is.
    """

    def pull(arguments: list[Tensor]) -> list[Any]:
        record = any(a._node is not None for a in arguments)
        leaves, ys = _run(f, arguments[:n])
        seeds: dict[Any, Any] = {}
        for y, g in zip(ys, arguments[n:], strict=True):
            if y._node is not None:
                seed = g if record else g._array
                seeds[y._node] = seed if y._node not in seeds else seeds[y._node] + seed
        found = reverse(seeds, [x._node for x in leaves], retain=True, record=record)
        return [_wrapped(found.get(x._node), x._backend, record) for x in leaves]

    return pull


def pushed(f: Function, n: int) -> Function:
    """The push of a function of n tensors: (operands, tangents of the operands) -> tangents of its inexact results.

    A tangent is None where a result depends on no operand. Recorded if any argument is.
    """

    def push(arguments: list[Tensor]) -> list[Any]:
        record = any(a._node is not None for a in arguments)
        leaves, ys = _run(f, arguments[:n])
        tangents = {x._node: t if record else t._array for x, t in zip(leaves, arguments[n:], strict=True)}
        found = forward([y._node for y in ys if y._node is not None], tangents, record=record)
        return [_wrapped(found.get(y._node), y._backend, record) for y in ys]

    return push


def in_place(made: Any, owner: Any, what: str) -> None:
    """Assert that a cotangent or tangent has the shape, data type, device, backend and library of what it belongs to."""
    assert made._backend is owner._backend, f"{what} is on backend {made.backend!r}, not {owner.backend!r}"
    assert made.shape == owner.shape, f"{what} has shape {made.shape}, not {owner.shape}"
    assert made.dtype is owner.dtype, f"{what} has data type {made.dtype}, not {owner.dtype}"
    assert made.device == owner.device, f"{what} is on {made.device}, not {owner.device}"
    ours, theirs = (array_namespace(x._array).__name__ for x in (made, owner))
    assert ours == theirs, f"{what} is an array of {ours}, not {theirs}"


def _dot(xs: list[Any], ys: list[Any]) -> tuple[float, float]:
    """The real inner product of lists of host arrays (None for zeros), and a bound on its rounding, up to a factor."""
    xp, total, size = host().xp, 0.0, 0.0
    for x, y in zip(xs, ys, strict=True):
        if x is not None and y is not None:
            total += float(xp.sum(xp.real(xp.conj(x) * y)))
            size += float(xp.sum(xp.abs(x) * xp.abs(y)))
    return total, size


def _hosted(found: list[Any]) -> list[Any]:
    return [None if y is None else as_host(y) for y in found]


class Derivatives:
    """Checks of derivatives on one backend and device.

    Args:
        backend, device: where the tensors live (None for the library's default device).
        outcome: where checks are counted and failures entered.
        precise: double precision; otherwise nothing is compared with a difference, and the identity holds within 1e-3.
    """

    def __init__(self, backend: Backend, outcome: Outcome, device: Any = None, precise: bool = True):
        self.backend, self.outcome, self.device, self.precise = backend, outcome, device, precise
        self.identity = IDENTITY if precise else 1e-3

    def check(
        self,
        f: Function,
        xs: list[Any],
        where: str,
        order: int = 2,
        aspects: tuple[str, str] = ("forward", "reverse"),
        reference: Function | None = None,
    ) -> None:
        """Check the derivative of `f` at host arrays `xs`, and the derivatives of its derivatives up to `order`.

        The push is compared with a central difference in a random direction, the pull with the push by the adjoint
        identity. One random direction suffices: a wrong linear map agrees with the right one on a set of measure zero.
        In single precision the push is compared with that of `reference`, if given: the same function on the host.
        """
        n, rng = len(xs), random.Random(where)
        ts = [like(rng, x) for x in xs]
        before = len(self.outcome.failures)
        tangents = difference = None
        with self.outcome.check(aspects[0], where):
            owners = [y for y in f(self._at(xs)) if inexact(y)]
            if self.precise:
                difference = self._difference(f, xs, ts)
            elif reference is not None:
                difference = _hosted(pushed(reference, n)([placed(x, host()) for x in [*xs, *ts]]))
            pushes = pushed(f, n)(self._at([*xs, *ts]))
            self._place(pushes, owners, where, "tangent")
            self._compare(pushes, difference)
            tangents = _hosted(pushes)
        with self.outcome.check(aspects[1], where):
            gs = [like(rng, as_host(y)) for y in f(self._at(xs)) if inexact(y)]
            pulls = pulled(f, n)(self._at([*xs, *gs]))
            self._place(pulls, self._at(xs), where, "cotangent")
            # a wrong push must not make the pull look wrong; in single precision there is nothing else to hold it against
            if not self.precise and any(f.aspect == aspects[0] for f in self.outcome.failures):
                return
            trusted, tolerance = (tangents, self.identity) if tangents is not None else (difference, DIFFERENCE)
            assert trusted is not None, "there is no tangent to hold the cotangents against"
            self._identify(gs, trusted, _hosted(pulls), ts, tolerance)
        if order < 2:
            return
        if len(self.outcome.failures) > before:
            with self.outcome.check("second", where):
                raise AssertionError("not checked, because the order below it is wrong")
            return
        for kind, more, name in ((pulled, gs, "pull"), (pushed, ts, "push")):
            held = None if reference is None else kind(reference, n)
            self.check(kind(f, n), [*xs, *more], f"{where}, of the {name}", order - 1, ("second", "second"), held)

    def _at(self, arrays: list[Any]) -> list[Any]:
        return [placed(a, self.backend, self.device) for a in arrays]

    def _difference(self, f: Function, xs: list[Any], ts: list[Any]) -> list[Any]:
        ahead, behind = (
            [as_host(y) for y in f(self._at([x + step * t for x, t in zip(xs, ts, strict=True)])) if inexact(y)]
            for step in (STEP, -STEP)
        )
        return [(a - b) / (2 * STEP) for a, b in zip(ahead, behind, strict=True)]

    def _place(self, made: list[Any], owners: list[Any], where: str, what: str) -> None:
        for i, (one, owner) in enumerate(zip(made, owners, strict=True)):
            if one is not None:
                with self.outcome.check("placement", where):
                    in_place(one, owner, f"{what} {i}")

    def _compare(self, pushes: list[Any], difference: list[Any] | None) -> None:
        xp = host().xp
        tolerance = DIFFERENCE if self.precise else self.identity
        wanting = "a central difference" if self.precise else "the host's tangent"
        for i, (push, wanted) in enumerate(zip(pushes, difference or (), strict=difference is not None)):
            if wanted is None:
                continue
            there = xp.isfinite(wanted)  # the value itself may be infinite or NaN, as a mean of nothing is
            size = float(xp.max(xp.abs(wanted[there]), initial=0.0))
            off = float(xp.max(xp.abs((wanted if push is None else as_host(push) - wanted)[there]), initial=0.0))
            assert off <= tolerance * (1 + size), (
                f"the tangent of result {i} is off by {off:.3g} from {wanting} of size {size:.3g}"
            )

    def _identify(self, gs: list[Any], tangents: list[Any], pulls: list[Any], ts: list[Any], tolerance: float) -> None:
        (left, size), (right, other) = _dot(gs, tangents), _dot(pulls, ts)
        if not all(t is None or bool(host().xp.all(host().xp.isfinite(t))) for t in tangents):
            return
        assert abs(left - right) <= tolerance * (1e-3 + size + other), (
            f"<g, J t> is {left:.15g} and <J^H g, t> is {right:.15g}"
        )
