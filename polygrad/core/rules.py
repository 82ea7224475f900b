"""Derivative rules: functions whose parameter names say what they need.

A rule is read once, at declaration. What comes out is a `Rule`: a function of `(xp, g, node)` for the engine, and the list
of what must be kept for it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

__all__ = ["Rule", "compile_rule", "diagonal_rule"]


class Rule:
    """One compiled rule.

    Attributes:
        apply: `apply(xp, g, node)` gives the cotangent or tangent contribution.
        operands: indices of the operands whose arrays it reads.
        y: whether it reads the result.
        parts: of several results, the indices of those it reads, or None for all.
        shapes: whether it reads an operand's shape.
    """

    __slots__ = ("apply", "operands", "y", "parts", "shapes", "source")

    def __init__(
        self,
        apply: Callable[..., Any],
        operands: frozenset[int],
        y: bool,
        shapes: bool,
        source: Any,
        parts: frozenset[int] | None = None,
    ):
        self.apply, self.operands, self.y, self.shapes, self.source = apply, operands, y, shapes, source
        self.parts = parts


def parameters_of(rule: Callable[..., Any]) -> tuple[str, ...]:
    """The names of a rule's parameters (a plain function's from its code: `inspect` took a fifth of polygrad's import)."""
    code = getattr(rule, "__code__", None)
    if code is None or hasattr(rule, "__wrapped__"):
        return tuple(inspect.signature(rule).parameters)
    return tuple(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])


PLAIN: dict[str, Callable[..., Any]] = {
    "xp": lambda xp, g, n: xp,
    "g": lambda xp, g, n: g,
    "t": lambda xp, g, n: g,
    "y": lambda xp, g, n: n.y,
}


def compile_rule(name: str, rule: Callable[..., Any], operands: tuple[str, ...], params: Any) -> Rule:
    """Read a rule's parameter names and bind them to where the engine holds each.

    Raises:
        TypeError: a name that is neither `xp`, `g`, `t`, `y` (`y0`, `y1` ... of several results), an operand,
            `<operand>_shape`, nor a parameter of the op.
    """
    wanted = parameters_of(rule)
    reads: list[int] = []
    parts: list[int] = []
    shapes = False
    for want in wanted:
        if want in PLAIN:
            continue
        if want in operands:
            reads.append(operands.index(want))
        elif want[-6:] == "_shape" and want[:-6] in operands:
            shapes = True
        elif want[0] == "y" and want[1:].isdigit() and want not in params:
            parts.append(int(want[1:]))
        elif want not in params:
            raise TypeError(
                f"a rule of op {name!r} asks for {want!r}; it may ask for xp, g, t, y (y0 ...), {', '.join(operands)}, "
                f"their shapes (such as {operands[0]}_shape) and {', '.join(params) or 'no parameters'}"
            )
    whole = "y" in wanted
    apply = _caller(rule, wanted, operands, params)
    return Rule(apply, frozenset(reads), whole or bool(parts), shapes, rule, None if whole else frozenset(parts))


def _caller(rule: Callable[..., Any], wanted: tuple[str, ...], operands: tuple[str, ...], params: Any) -> Any:
    """`rule` as a function of (xp, g, node); the frequent signatures without a loop (it saves 0.3 us a call)."""
    if wanted in (("g",), ("t",)):
        return lambda xp, g, n: rule(g)
    if wanted == ("y",):
        return lambda xp, g, n: rule(n.y)
    if len(wanted) == 1 and wanted[0] in operands:
        i = operands.index(wanted[0])
        return lambda xp, g, n: rule(n.kept[i])
    if len(wanted) == 2 and wanted[0] == "xp" and wanted[1] in operands and wanted[1] not in PLAIN:
        i = operands.index(wanted[1])
        return lambda xp, g, n: rule(xp, n.kept[i])
    getters = [_getter(want, operands, params) for want in wanted]
    return lambda xp, g, n: rule(*[get(xp, g, n) for get in getters])


def _getter(want: str, operands: tuple[str, ...], params: Any) -> Callable[..., Any]:
    """Where the engine holds what a rule calls `want`."""
    if want in PLAIN:
        return PLAIN[want]
    if want in operands:
        return _kept(operands.index(want))
    if want[-6:] == "_shape" and want[:-6] in operands:
        return _shape(operands.index(want[:-6]))
    return _param(want) if want in params else _part(int(want[1:]))


# One function for all rules that ask for the same: every object that an import leaves is one for the garbage collector.


@cache
def _kept(i: int) -> Callable[..., Any]:
    return lambda xp, g, n: n.kept[i]


@cache
def _shape(i: int) -> Callable[..., Any]:
    return lambda xp, g, n: n.shapes[i]


@cache
def _part(i: int) -> Callable[..., Any]:
    return lambda xp, g, n: n.y[i]


@cache
def _param(name: str) -> Callable[..., Any]:
    return lambda xp, g, n: n.params[name]


def diagonal_rule(name: str, rule: Any, operands: tuple[str, ...], params: Any) -> tuple[Rule, Rule, Rule]:
    """The pull of real operands, the pull of complex ones and the push that one partial derivative makes.

    `rule` is a number, a function giving the derivative d (pull g * conj(d), push t * d), or, if it asks for `g`, the
    diagonal map itself, which must be real (pull and push are the map).
    """
    if isinstance(rule, int | float):
        made = _constant(rule)
        return made, made, made
    compiled = compile_rule(name, rule, operands, params)
    wanted = parameters_of(rule)
    if "g" in wanted or "t" in wanted:
        return compiled, compiled, compiled
    derivative = compiled.apply
    times = _times(rule, wanted, operands, derivative)

    def conjugate(xp: Any, g: Any, n: Any) -> Any:
        d = derivative(xp, g, n)
        return g * (d.conjugate() if isinstance(d, bool | int | float | complex) else xp.conj(d))

    rest = (compiled.operands, compiled.y, compiled.shapes, rule)
    made = Rule(times, *rest)
    return made, Rule(conjugate, *rest), made


def _times(rule: Any, wanted: tuple[str, ...], operands: tuple[str, ...], derivative: Any) -> Callable[..., Any]:
    if wanted == ("y",):
        return lambda xp, g, n: g * rule(n.y)
    if len(wanted) == 1 and wanted[0] in operands:
        i = operands.index(wanted[0])
        return lambda xp, g, n: g * rule(n.kept[i])
    return lambda xp, g, n: g * derivative(xp, g, n)


@cache
def _constant(d: float) -> Rule:
    if d == 1:
        apply = lambda xp, g, n: g  # noqa: E731
    elif d == -1:
        apply = lambda xp, g, n: -g  # noqa: E731
    elif d == 0:
        apply = lambda xp, g, n: xp.zeros_like(g)  # noqa: E731
    else:
        apply = lambda xp, g, n: g * d  # noqa: E731
    return Rule(apply, frozenset(), False, False, d)
