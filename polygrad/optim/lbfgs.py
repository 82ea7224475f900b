"""L-BFGS, with a line search for the strong Wolfe conditions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from polygrad.autograd import enable_grad, no_grad
from polygrad.core import Tensor
from polygrad.core.methods import functions
from polygrad.optim.optimizer import Optimizer, check_options

__all__ = ["LBFGS", "strong_wolfe"]


class Point(NamedTuple):
    """A step length with the function's value, gradient and slope there."""

    t: float
    f: float
    g: Any
    slope: float


def cubic_minimum(a: Point, b: Point, bounds: tuple[float, float] | None = None) -> float:
    """Where the cubic through two points with their slopes is least, within `bounds` (by default between the points).

    The middle where it has no minimum (Nocedal and Wright, "Numerical optimization", 2006, formula 3.59).
    """
    low, high = bounds if bounds is not None else (min(a.t, b.t), max(a.t, b.t))
    d1 = a.slope + b.slope - 3 * (a.f - b.f) / (a.t - b.t)
    square = d1**2 - a.slope * b.slope
    if square < 0:
        return (low + high) / 2.0
    first, last = (a, b) if a.t <= b.t else (b, a)
    d2 = square**0.5
    width = last.slope - first.slope + 2 * d2
    found = last.t - (last.t - first.t) * ((last.slope + d2 - d1) / width) if width else (low + high) / 2.0
    return min(max(found, low), high)


def strong_wolfe(
    evaluate: Callable[[float], Point],
    start: Point,
    t: float,
    norm: float,
    c1: float = 1e-4,
    c2: float = 0.9,
    tolerance_change: float = 1e-9,
    most: int = 25,
) -> tuple[Point, int]:
    """A step that satisfies the strong Wolfe conditions, and how often the function was evaluated.

    f(t) <= f(0) + c1 t f'(0) and |f'(t)| <= c2 |f'(0)|: first steps grow until an interval brackets such a point, then the
    interval shrinks around it (Nocedal and Wright, 2006, algorithms 3.5 and 3.6, as in minFunc and PyTorch).

    Args:
        evaluate: the Point at a step length.
        start: the Point of step length 0.
        t: the first step length to try.
        norm: the largest absolute element of the direction.
        most: evaluations that may be spent.
    """
    before, new, count, rounds = start, evaluate(t), 1, 0

    def too_high(point: Point, bound: float) -> bool:
        return point.f > start.f + c1 * point.t * start.slope or point.f >= bound

    bracket = [start, new]
    while rounds < most:
        if too_high(new, before.f if rounds > 1 else float("inf")):
            bracket = [before, new]
            break
        if abs(new.slope) <= -c2 * start.slope:
            return new, count
        if new.slope >= 0:
            bracket = [before, new]
            break
        t = cubic_minimum(before, new, (new.t + 0.01 * (new.t - before.t), new.t * 10))
        before, new = new, evaluate(t)
        count += 1
        rounds += 1
    else:
        bracket = [start, new]
    return _zoom(evaluate, start, bracket, norm, too_high, c2, tolerance_change, most, rounds, count)


def _zoom(evaluate, start, bracket, norm, too_high, c2, tolerance_change, most, rounds, count):
    """The best end of a bracket that shrinks until that end satisfies the conditions."""
    low, high = (0, 1) if bracket[0].f <= bracket[1].f else (1, 0)
    stuck = False
    while rounds < most and abs(bracket[1].t - bracket[0].t) * norm >= tolerance_change:
        t = cubic_minimum(bracket[0], bracket[1])
        left, right = sorted((bracket[0].t, bracket[1].t))
        margin = 0.1 * (right - left)
        close = min(right - t, t - left) < margin
        if close and (stuck or t >= right or t <= left):
            t = right - margin if abs(t - right) < abs(t - left) else left + margin
            close = False
        stuck = close
        new = evaluate(t)
        count += 1
        rounds += 1
        if too_high(new, bracket[low].f):
            bracket[high] = new
            low, high = (0, 1) if bracket[0].f <= bracket[1].f else (1, 0)
            continue
        if abs(new.slope) <= -c2 * start.slope:
            return new, count
        if new.slope * (bracket[high].t - bracket[low].t) >= 0:
            bracket[high] = bracket[low]
        bracket[low] = new
    return bracket[low], count


class LBFGS(Optimizer):
    """L-BFGS (Liu and Nocedal, "On the limited memory BFGS method for large scale optimization", 1989), as in PyTorch.

    Each step runs up to `max_iter` iterations and calls the closure for each. It compares values, so it cannot be captured by
    `jit`; the closure can.

    Args:
        params: parameters, in one group.
        lr: length of the step, or of the first that the line search tries.
        max_iter: iterations a step.
        max_eval: evaluations of the closure a step; 1.25 max_iter by default.
        tolerance_grad: stop when no element of the gradient is greater.
        tolerance_change: stop when value and parameters change less.
        history_size: how many steps are remembered.
        line_search_fn: "strong_wolfe" or None.

    Raises:
        ValueError: a negative rate, several groups, or another line search.
    """

    numbers = frozenset({"t", "H_diag", "prev_loss"})

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ):
        check_options(lr=lr)
        if line_search_fn not in (None, "strong_wolfe"):
            raise ValueError(f"only 'strong_wolfe' is supported, got line_search_fn={line_search_fn!r}")
        super().__init__(
            params,
            {
                "lr": lr,
                "max_iter": max_iter,
                "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                "tolerance_grad": tolerance_grad,
                "tolerance_change": tolerance_change,
                "history_size": history_size,
                "line_search_fn": line_search_fn,
            },
        )

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """The group of the constructor. Raises ValueError for a second one."""
        if self.param_groups:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")
        super().add_param_group(param_group)

    def update_group(self, group: dict[str, Any]) -> None:
        """Not used: L-BFGS updates all parameters together, in `step`."""
        raise RuntimeError("LBFGS updates all parameters together; call step(closure)")

    def prepare_jit(self) -> list[tuple[dict[str, Any], str]]:
        """Nothing changes between steps, which are not captured."""
        return []

    def minimize(self, closure: Callable[[], Any]) -> Any:
        """The iterations of one step; returns the first value of the closure."""
        group, params = self.param_groups[0], self.param_groups[0]["params"]
        state = self.state[params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        lr = float(group["lr"])
        first = closure()
        loss, evaluations = float(first), 1
        g = _flat_gradient(params)
        if float(g.abs().max()) <= group["tolerance_grad"]:
            state["func_evals"] += evaluations
            return first
        d, t, before = state.get("d"), state.get("t"), loss
        for i in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            d = _direction(state, g, d, t, group["history_size"])
            state["prev_flat_grad"], before = g, loss
            t = min(1.0, 1.0 / float(g.abs().sum())) * lr if state["n_iter"] == 1 else lr
            slope = _dot(g, d)
            if slope > -group["tolerance_change"]:
                break
            if group["line_search_fn"]:
                point, calls = self._search(closure, params, Point(0.0, loss, g, slope), t, d, group, evaluations)
                loss, g, t = point.f, point.g, point.t
                _move(params, t, d)
            else:
                _move(params, t, d)
                calls = 0
                if i != group["max_iter"]:
                    loss = float(closure())
                    g, calls = _flat_gradient(params), 1
            evaluations += calls
            if (
                evaluations >= group["max_eval"]
                or float(g.abs().max()) <= group["tolerance_grad"]
                or float((d * t).abs().max()) <= group["tolerance_change"]
                or abs(loss - before) < group["tolerance_change"]
            ):
                break
        state["func_evals"] += evaluations
        state.update(d=d, t=t, prev_loss=before)
        return first

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Up to `max_iter` iterations; returns the closure's value before them.

        Raises TypeError without a closure, which clears the gradients, computes them and returns the loss.
        """
        if closure is None:
            raise TypeError(
                "LBFGS.step() needs a closure that clears the gradients, computes them and returns the loss"
            )
        for hook in list(self._step_pre_hooks.values()):
            hook(self, (closure,), {})
        with no_grad():
            first = self.minimize(enable_grad()(closure))
        for hook in list(self._step_post_hooks.values()):
            hook(self, (closure,), {})
        return first

    def _search(self, closure, params, start, t, d, group, evaluations):
        values = [p.detach() for p in params]

        def evaluate(length: float) -> Point:
            _move(params, length, d)
            f = float(closure())
            g = _flat_gradient(params)
            for p, value in zip(params, values, strict=True):
                functions.overwrite(p, value)
            return Point(length, f, g, _dot(g, d))

        most = group["max_eval"] - evaluations
        return strong_wolfe(evaluate, start, t, float(d.abs().max()), most=most)


def _direction(state: dict[str, Any], g: Tensor, d: Tensor | None, t: float | None, most: int) -> Tensor:
    """Minus the gradient times the inverse Hessian, as the last steps suggest it (the two-loop recursion)."""
    if state["n_iter"] == 1 or d is None or t is None:
        state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
        return -g
    ys, ss, rho = state["old_dirs"], state["old_stps"], state["ro"]
    y, s = g - state["prev_flat_grad"], d * t
    product = _dot(y, s)
    if product > 1e-10:
        for memory in (ys, ss, rho) if len(ys) == most else ():
            memory.pop(0)
        ys.append(y)
        ss.append(s)
        rho.append(1.0 / product)
        state["H_diag"] = product / _dot(y, y)
    q, alphas = -g, []
    for y, s, r in zip(reversed(ys), reversed(ss), reversed(rho), strict=True):
        alphas.append(_dot(s, q) * r)
        q = q - alphas[-1] * y
    q = q * state["H_diag"]
    for y, s, r, alpha in zip(ys, ss, rho, reversed(alphas), strict=True):
        q = q + (alpha - _dot(y, q) * r) * s
    return q


def _dot(x: Tensor, y: Tensor) -> float:
    return float((x * y).sum())


def _flat_gradient(params: list[Tensor]) -> Tensor:
    """The gradients of all parameters in one vector; complex ones as their real and imaginary parts."""
    xp, parts = params[0]._backend.tensors, []
    for p in params:
        g = xp.zeros_like(p.detach()) if p.grad is None else p.grad.detach()
        if p.dtype.is_complex:
            g = xp.stack([xp.real(g), xp.imag(g)], axis=-1)
        parts.append(xp.reshape(g, (-1,)))
    return xp.concat(parts)


def _move(params: list[Tensor], t: float, d: Tensor) -> None:
    """Add t times their part of the direction to all parameters."""
    place = 0
    for p in params:
        size = p.numel() * (2 if p.dtype.is_complex else 1)
        part = d[place : place + size] * t
        if p.dtype.is_complex:
            part = part.reshape((*p.shape, 2))
            part = part[..., 0] + part[..., 1] * 1j
        functions.overwrite(p, p.detach() + part.reshape(p.shape))
        place += size
