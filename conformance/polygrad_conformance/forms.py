"""What a tensor does as an object: indexing in all forms, assignment, operators, and raw arrays beside it."""

from __future__ import annotations

import operator
import random
from collections.abc import Callable
from typing import Any, NamedTuple

from polygrad.core import Backend, Tensor
from polygrad.core.tensor import Leaf, Node
from polygrad_conformance.calculus import Derivatives
from polygrad_conformance.outcome import Outcome
from polygrad_conformance.samples import as_host, close, draw, host, placed

__all__ = ["FORMS", "OPERATORS", "Form", "examine_form", "examine_operator"]


class Form(NamedTuple):
    """One expression of tensors x and v, with their shapes; `index` and `mask` are the data that it indexes with."""

    label: str
    shapes: list[tuple[int, ...]]
    function: Callable[..., Any]


def _assigned(key: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """x[key] = v on a copy of x."""

    def assign(xp: Any, index: Any, mask: Any, x: Any, v: Any) -> Any:
        y = xp.asarray(x, copy=True)
        y[key(index, mask)] = v
        return y

    return assign


def _reused(xp: Any, index: Any, mask: Any, x: Any, v: Any) -> Any:
    """A value that is changed in place after an op has saved it."""
    y = xp.exp(x)
    z = y * v
    y *= v
    y += z
    return y


FORMS = [
    Form("x[1]", [(3, 4)], lambda xp, index, mask, x: x[1]),
    Form("x[1:, ::2]", [(3, 4)], lambda xp, index, mask, x: x[1:, ::2]),
    Form("x[::-2]", [(5,)], lambda xp, index, mask, x: x[::-2]),
    Form("x[..., None, 0]", [(3, 4)], lambda xp, index, mask, x: x[..., None, 0]),
    Form("x[mask]", [(5,)], lambda xp, index, mask, x: x[mask]),
    Form("x[[2, 0, 2]]", [(3, 4)], lambda xp, index, mask, x: x[index]),
    Form("x[1:3] = v", [(5,), (2,)], _assigned(lambda index, mask: slice(1, 3))),
    Form("x[mask] = v", [(5,), ()], _assigned(lambda index, mask: mask)),
    Form("y *= v after y was used", [(3,), (3,)], _reused),
    Form("x.mT @ x", [(3, 2)], lambda xp, index, mask, x: x.mT @ x),
]
MORE_FORMS = [
    Form("asarray(x)", [(3,)], lambda xp, index, mask, x: xp.asarray(x)),
    Form("asarray of a list", [(), ()], lambda xp, index, mask, x, v: xp.asarray([x, v])),
    Form("x[::-1] = v", [(3,), (3,)], _assigned(lambda index, mask: slice(None, None, -1))),
    Form("x[index] = v", [(3, 4), (4,)], _assigned(lambda index, mask: index[:2])),
    Form("x[index, 1:]", [(3, 4)], lambda xp, index, mask, x: x[index, 1:]),
    Form("x[index, index]", [(3, 4)], lambda xp, index, mask, x: x[index, index]),
    Form("x.T, abs, unary minus and plus", [(3, 2)], lambda xp, index, mask, x: abs(-(+x.T))),
    Form("2 - x, 2 / x, 2 ** x", [(3,)], lambda xp, index, mask, x: 2 - x + 2 / (3 + x) + 2**x),
    Form("x % v, x // v", [(3,), (3,)], lambda xp, index, mask, x, v: (x + 4) % (v + 2) + x // (v + 9)),
    Form("x @= v", [(2, 2), (2, 2)], lambda xp, index, mask, x, v: operator.imatmul(xp.asarray(x, copy=True), v)),
    Form("for row in x", [(2, 3)], lambda xp, index, mask, x: sum(row * i for i, row in enumerate(x))),
]


def examine_form(form: Form, backend: Backend, outcome: Outcome) -> None:
    """Check one expression: its value on the host's backend, and its derivatives to second order."""
    outcome.applies = ["value", "reverse", "forward", "second"]
    rng = random.Random(form.label)
    index = host().xp.asarray([2, 0, 2])
    mask = host().xp.asarray([True, False, True, True, False])
    xs = [draw(rng, shape, "float64") for shape in form.shapes]

    def on(home: Backend) -> Callable[[list[Any]], list[Any]]:
        data = [placed(a, home) for a in (index, mask)]
        return lambda tensors: [form.function(home.tensors, *data, *tensors)]

    with outcome.check("value", "on tensors"):
        ours, theirs = (on(home)([placed(x, home) for x in xs])[0] for home in (backend, host()))
        close(as_host(ours), as_host(theirs), 1e-12)
    Derivatives(backend, outcome).check(on(backend), xs, "float64")


# ------------------------------------------------------------------------------------------ operators beside tensors

FLOATS = "add sub mul truediv floordiv mod pow matmul eq ne lt le gt ge".split()
INTEGERS = "and_ or_ xor lshift rshift".split()
OPERATORS = FLOATS + INTEGERS


def examine_operator(name: str, backend: Backend, outcome: Outcome) -> None:
    """Check one of Python's operators between a tensor and a number or raw array on either side.

    It must work as one op, with a derivative for the tensor, or raise TypeError or RuntimeError; it must never loop over
    elements, nor hand back something that is no Tensor.
    """
    outcome.applies = ["value"]
    function = getattr(operator, name)
    dtype = "float64" if name in FLOATS else "int64"
    shape = (2, 2) if name == "matmul" else (3,)
    rng = random.Random(name)
    x = draw(rng, shape, dtype, 1, 3)
    array = draw(rng, shape, dtype, 1, 3)
    others = {"a raw array": (backend.asarray(array), array), "a host array": (array, array)}
    if name != "matmul":
        others["a number"] = (2 if dtype == "int64" else 2.5,) * 2
    for what, (other, on_host) in others.items():
        for left in (True, False):
            where = f"{what} on the {'left' if left else 'right'}"
            with outcome.check("value", where):
                tensor = placed(x, backend)
                if dtype == "float64":
                    tensor.requires_grad_()
                try:
                    y = function(other, tensor) if left else function(tensor, other)
                except (TypeError, RuntimeError):
                    continue
                assert isinstance(y, Tensor), f"gives a {type(y).__name__}"
                wanted = host().xp.asarray(function(on_host, x) if left else function(x, on_host))
                close(as_host(y), wanted, 1e-12)
                _is_one_op(y, dtype == "float64" and y.dtype.is_floating_point)


def _is_one_op(y: Tensor, recorded: bool) -> None:
    if not recorded:
        assert y._node is None, f"a {y.dtype} result has a history"
        return
    assert isinstance(y._node, Node), "the result has no history"
    assert any(type(e) is Leaf for e in y._node.edges), f"was made of several ops, the last a {y._node.name()}"
