"""Derivatives where they are a matter of convention: ties, corners, zeros, infinities, singular matrices.

The policy is PyTorch's: the subgradient of least norm where the function is convex, the supergradient of least norm where
it is concave, else the limit, else NaN; a star marks where PyTorch itself gives something else. A row is for every backend
alike; rows whose function does not exist are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan, sqrt
from typing import Any, NamedTuple

from polygrad.core import Backend
from polygrad.core.backend import resolve
from polygrad_conformance.calculus import pulled, pushed
from polygrad_conformance.outcome import Outcome
from polygrad_conformance.samples import as_host, close, host, placed

__all__ = ["KINKS", "Kink", "examine_kink"]


class Kink(NamedTuple):
    """One row.

    Attributes:
        label: the expression, for people.
        function: dotted name of the function.
        operands: lists for arrays to differentiate, numbers for constants.
        expected: the gradient of the sum of the result, one nested list an array operand.
        params: parameters by name.
        weights: what the result is multiplied with before it is summed, ones if None.
        of: what the function's result (or `of(xp, *operands)` in its place) is taken from.
    """

    label: str
    function: str
    operands: list[Any]
    expected: list[Any]
    params: dict[str, Any] = {}
    weights: Any = None
    of: Callable[..., Any] | None = None


EYE = [[1.0, 0.0], [0.0, 1.0]]
HALF = [[0.5, 0.0], [0.0, 0.5]]
NONE = [[0.0, 0.0], [0.0, 0.0]]
SINGULAR = [[1.0, 2.0], [2.0, 4.0]]

KINKS = [
    # pieces
    Kink("relu(0)", "relu", [[0.0]], [[0.0]]),
    Kink("relu6(0), relu6(6)", "relu6", [[0.0, 6.0]], [[0.0, 0.0]]),
    Kink("hardtanh(-1), hardtanh(1)", "hardtanh", [[-1.0, 1.0]], [[0.0, 0.0]]),
    Kink("elu(0)", "elu", [[0.0]], [[1.0]]),
    Kink("leaky_relu(0)", "leaky_relu", [[0.0]], [[0.01]]),
    Kink("maximum(0, 0)", "maximum", [[0.0], [0.0]], [[0.5], [0.5]]),
    Kink("maximum(x, number) at the number", "maximum", [[0.0], 0], [[0.5]]),
    Kink("minimum(0, 0)", "minimum", [[0.0], [0.0]], [[0.5], [0.5]]),
    Kink("clip(x, 0, 1) at 0 and 1", "clip", [[0.0, 1.0], 0, 1], [[1.0, 1.0]]),
    Kink("clip(x, 0, 1) outside", "clip", [[-1.0, 2.0], 0, 1], [[0.0, 0.0]]),
    Kink(
        "clip with arrays for bounds",
        "clip",
        [[0.0, 2.0], [0.0, 0.0], [1.0, 1.0]],
        [[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]],
    ),
    Kink("abs(0)", "abs", [[0.0]], [[0.0]]),
    Kink("abs(0j)", "abs", [[0j]], [[0j]]),
    Kink("sign(-1), sign(0)", "sign", [[-1.0, 0.0]], [[0.0, 0.0]]),
    Kink("sign(1+2j)", "sign", [[1 + 2j]], [[(4 - 2j) / 5 / sqrt(5)]]),
    Kink("floor(0)", "floor", [[0.0, 0.5]], [[0.0, 0.0]]),
    Kink("ceil(0)", "ceil", [[0.0, 0.5]], [[0.0, 0.0]]),
    Kink("trunc(0)", "trunc", [[0.0, 0.5]], [[0.0, 0.0]]),
    Kink("round(0.5)", "round", [[0.5, 1.0]], [[0.0, 0.0]]),
    Kink("floor_divide *", "floor_divide", [[5.5], [2.0]], [[0.0], [0.0]]),
    Kink("remainder(5.5, 2)", "remainder", [[5.5], [2.0]], [[1.0], [-2.0]]),
    Kink("copysign(0, 1), copysign(-2, 1)", "copysign", [[0.0, -2.0], [1.0, 1.0]], [[0.0, -1.0], [0.0, 0.0]]),
    Kink("nextafter(1, 2)", "nextafter", [[1.0], [2.0]], [[1.0], [0.0]]),
    Kink("x / 0, a number", "divide", [[1.0, 2.0], 0], [[inf, inf]]),
    # roots, powers, logarithms
    Kink("sqrt(0)", "sqrt", [[0.0]], [[inf]]),
    Kink("x ** 0.5 at 0", "pow", [[0.0], 0.5], [[inf]]),
    Kink("log(0)", "log", [[0.0]], [[inf]]),
    Kink("asin(1)", "asin", [[1.0]], [[inf]]),
    Kink("acosh(1)", "acosh", [[1.0]], [[inf]]),
    Kink("x ** 0, x ** 1, x ** 2 at 0", "pow", [[0.0, 0.0, 0.0], [0.0, 1.0, 2.0]], [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]),
    Kink("x ** 0 at 0, a number", "pow", [[0.0], 0], [[0.0]]),
    Kink("x ** 1 at 0, a number", "pow", [[0.0], 1], [[1.0]]),
    Kink("x ** 2.0 at 0, a number", "pow", [[0.0], 2.0], [[0.0]]),
    Kink("0 ** y at 0 and 2, a number", "pow", [0.0, [0.0, 2.0]], [[0.0, 0.0]]),
    Kink("x ** -1 at 0", "pow", [[0.0], [-1.0]], [[-inf], [-inf]]),
    Kink("x ** -1 at 0, a number", "pow", [[0.0], -1], [[-inf]]),
    Kink("x ** -2 at -0.0, a number", "pow", [[-0.0], -2.0], [[inf]]),
    Kink("0 ** y at -1, a number", "pow", [0.0, [-1.0]], [[-inf]]),
    Kink("(-2) ** y", "pow", [-2.0, [2.0]], [[nan]]),
    Kink("hypot(0, 0) *", "hypot", [[0.0], [0.0]], [[0.0], [0.0]]),
    Kink("atan2(0, 0)", "atan2", [[0.0], [0.0]], [[0.0], [0.0]]),
    Kink("sinc(0)", "sinc", [[0.0]], [[0.0]]),
    Kink("logaddexp(-inf, -inf) *", "logaddexp", [[-inf], [-inf]], [[0.5], [0.5]]),
    Kink("logaddexp(inf, 0)", "logaddexp", [[inf], [0.0]], [[1.0], [0.0]]),
    Kink("logsumexp([-inf, -inf]) *", "logsumexp", [[-inf, -inf]], [[0.5, 0.5]]),
    Kink("xlogy(0, 0), x alone", "xlogy", [[0.0], 0.0], [[0.0]]),
    Kink("xlogy(0, 0), y alone", "xlogy", [0.0, [0.0]], [[nan]]),
    Kink("where(x > 0, sqrt(x), 0) at 0", "where", [[0.0]], [[nan]], of=lambda xp, x: xp.where(x > 0, xp.sqrt(x), 0.0)),
    # reductions
    Kink("max([1, 1, 0])", "max", [[1.0, 1.0, 0.0]], [[0.5, 0.5, 0.0]]),
    Kink("max([1, 1, 0], axis=0)", "max", [[1.0, 1.0, 0.0]], [[0.5, 0.5, 0.0]], {"axis": 0}),
    Kink("min([1, 1, 2])", "min", [[1.0, 1.0, 2.0]], [[0.5, 0.5, 0.0]]),
    Kink("max(dim=0).values", "max", [[1.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]], of=lambda xp, x: x.max(dim=0)[0]),
    Kink("median([1, 2, 2, 3])", "median", [[1.0, 2.0, 2.0, 3.0]], [[0.0, 0.5, 0.5, 0.0]]),
    Kink("sort with ties", "sort", [[1.0, 1.0, 0.0]], [[20.0, 30.0, 10.0]], weights=[10.0, 20.0, 30.0]),
    Kink(
        "descending sort with ties",
        "sort",
        [[1.0, 1.0, 0.0]],
        [[10.0, 20.0, 30.0]],
        {"descending": True},
        [10.0, 20.0, 30.0],
    ),
    Kink("std([1, 1])", "std", [[1.0, 1.0]], [[0.0, 0.0]]),
    Kink("std([1, 1]), correction 1", "std", [[1.0, 1.0]], [[0.0, 0.0]], {"correction": 1.0}),
    Kink("prod([0, 2, 3])", "prod", [[0.0, 2.0, 3.0]], [[6.0, 0.0, 0.0]]),
    Kink("prod([0, 0, 3])", "prod", [[0.0, 0.0, 3.0]], [[0.0, 0.0, 0.0]]),
    Kink("cumulative_prod([0, 2, 3])", "cumulative_prod", [[0.0, 2.0, 3.0]], [[9.0, 0.0, 0.0]]),
    Kink("unique_values([2, 1, 2]) *", "unique_values", [[2.0, 1.0, 2.0]], [[20.0, 10.0, 0.0]], weights=[10.0, 20.0]),
    # matrices
    Kink("vector_norm(0) *", "linalg.vector_norm", [[0.0, 0.0]], [[0.0, 0.0]]),
    Kink("vector_norm([0, 3], ord=1)", "linalg.vector_norm", [[0.0, 3.0]], [[0.0, 1.0]], {"ord": 1}),
    Kink("vector_norm([1, 1], ord=inf)", "linalg.vector_norm", [[1.0, 1.0]], [[0.5, 0.5]], {"ord": inf}),
    Kink("matrix_norm(0, ord='nuc') *", "linalg.matrix_norm", [NONE], [NONE], {"ord": "nuc"}),
    Kink("matrix_norm(eye(2), ord=2)", "linalg.matrix_norm", [EYE], [HALF], {"ord": 2}),
    Kink("det of a singular matrix *", "linalg.det", [SINGULAR], [[[4.0, -2.0], [-2.0, 1.0]]]),
    Kink("eigvalsh(eye(2))", "linalg.eigvalsh", [EYE], [EYE]),
    Kink("svdvals(eye(2))", "linalg.svdvals", [EYE], [EYE]),
    Kink("pinv(0)", "linalg.pinv", [NONE], [NONE]),
]


def _hosted(nested: Any) -> Any:
    """A nested list as a host array of double precision."""
    xp = host().xp
    dtype = xp.complex128 if _is_complex(nested) else xp.float64
    return xp.asarray(nested, dtype=dtype)


def _is_complex(nested: Any) -> bool:
    return any(map(_is_complex, nested)) if isinstance(nested, list) else isinstance(nested, complex)


def examine_kink(kink: Kink, backend: Backend, outcome: Outcome) -> None:
    """Check one row: reverse mode on raw arrays and recorded, forward mode where the gradient is finite."""
    xp = host().xp
    function = resolve(backend.tensors, kink.function)
    arrays = [_hosted(x) for x in kink.operands if isinstance(x, list)]
    expected = [_hosted(e) for e in kink.expected]
    finite = all(bool(xp.all(xp.isfinite(e))) for e in expected)
    outcome.applies = ["reverse", "forward"] if finite else ["reverse"]

    def f(tensors: list[Any]) -> list[Any]:
        given = iter(tensors)
        operands = [next(given) if isinstance(x, list) else x for x in kink.operands]
        return [kink.of(backend.tensors, *operands) if kink.of else function(*operands, **kink.params)]

    at = [placed(a, backend) for a in arrays]
    seed = as_host(f(at)[0])
    seed = xp.ones_like(seed) if kink.weights is None else _hosted(kink.weights)
    for recorded in (False, True):
        with outcome.check("reverse", "recorded" if recorded else "raw"):
            xs = [x.detach().requires_grad_(recorded) for x in at]
            for got, wanted in zip(pulled(f, len(at))([*xs, placed(seed, backend)]), expected, strict=True):
                assert got is not None, "there is no gradient; a zero must be tracked"
                close(as_host(got), wanted, 1e-12)
    if finite:
        with outcome.check("forward", "all operands"):
            ts = [xp.reshape(xp.asarray(range(1, e.size + 1), dtype=e.dtype), e.shape) for e in expected]
            (tangent,) = pushed(f, len(at))([*at, *[placed(t, backend) for t in ts]])
            wanted = sum(float(xp.sum(xp.real(xp.conj(e) * t))) for e, t in zip(expected, ts, strict=True))
            assert tangent is not None, "there is no tangent; a zero must be tracked"
            got = float(xp.sum(xp.real(xp.conj(seed) * as_host(tangent))))
            assert abs(got - wanted) <= 1e-12 * (1 + abs(wanted)), f"the tangent is {got}, not {wanted}"
