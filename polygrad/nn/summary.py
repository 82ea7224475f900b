"""A table of a model's layers: shapes, parameters and multiply-adds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from polygrad.autograd.modes import no_grad
from polygrad.core import Tensor
from polygrad.core.tensor import Observer, using_mode
from polygrad.nn.module import Module
from polygrad.ops.creation import zeros

__all__ = ["Summary", "summary"]


class Row(NamedTuple):
    """One call of a layer.

    Attributes:
        name, kind, depth: its dotted name, its class, and how many names that has.
        output: the shapes of its results.
        parameters, trained: how many elements of its own parameters, and of those that are trained; 0 in a second call.
        multiply_adds: of matrix products and convolutions in the layer itself, not in those below.
    """

    name: str
    kind: str
    depth: int
    output: tuple[tuple[int, ...], ...]
    parameters: int
    trained: int
    multiply_adds: int


class Summary:
    """What `summary` found; its text is a table.

    Attributes:
        rows: a Row for each call of a layer, in order.
        parameters, trained: elements of all parameters, and of those that are trained, each counted once.
        multiply_adds: of all matrix products and convolutions in one call.
        bytes: of all parameters and buffers.
    """

    def __init__(self, rows: list[Row], model: Module):
        self.rows = rows
        self.parameters = sum(p.numel() for p in model.parameters())
        self.trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        self.multiply_adds = sum(row.multiply_adds for row in rows)
        self.bytes = sum(x.numel() * x.dtype.itemsize for x in [*model.parameters(), *model.buffers()])

    def __str__(self) -> str:
        head = ("Layer", "Output shape", "Parameters", "Multiply-adds")
        lines = [
            (
                "  " * row.depth + (f"{row.name.rpartition('.')[2]}: " if row.name else "") + row.kind,
                ", ".join(str(list(shape)) for shape in row.output) or "-",
                f"{row.parameters:,}" if row.parameters else "-",
                f"{row.multiply_adds:,}" if row.multiply_adds else "-",
            )
            for row in self.rows
        ]
        widths = [max(len(line[i]) for line in [head, *lines]) for i in range(4)]

        def shown(line: Sequence[str]) -> str:
            first = [text.ljust(w) for text, w in zip(line[:2], widths[:2], strict=True)]
            return "  ".join([*first, *(text.rjust(w) for text, w in zip(line[2:], widths[2:], strict=True))])

        rule = "-" * (sum(widths) + 6)
        end = [
            f"Parameters: {self.parameters:,} ({self.trained:,} trained), {self.bytes / 1e6:,.2f} MB with buffers",
            f"Multiply-adds: {self.multiply_adds:,}",
        ]
        return "\n".join([shown(head), rule, *map(shown, lines), rule, *end])

    __repr__ = __str__


# ------------------------------------------------------------------------------------------------------ multiply-adds


def _size(x: Any) -> int:
    return math.prod(x.shape)


# Multiply-adds of an op, from its operands and its (first) result.
COSTS: dict[str, Callable[[Any, Any], int]] = {
    "matmul": lambda operands, y: _size(y) * operands[0].shape[-1],
    "vecdot": lambda operands, y: _size(operands[0]),
    "affine": lambda operands, y: _size(y) * operands[0].shape[-1],
    "conv": lambda operands, y: _size(y) * math.prod(operands[1].shape[1:]),
    "conv_input": lambda operands, y: _size(operands[0]) * math.prod(operands[1].shape[1:]),
    "attention": lambda operands, y: (
        _size(y) // operands[2].shape[-1] * operands[1].shape[-2] * (operands[0].shape[-1] + operands[2].shape[-1])
    ),
}


class _Counting(Observer):
    """Adds the multiply-adds of each op to the layer that is being called."""

    def __init__(self) -> None:
        self.open: list[int] = []

    def op(self, op: Any, operands: Any, params: Any, results: Any) -> None:
        cost = COSTS.get(op.name)
        if cost is not None and self.open:
            first = results[0] if isinstance(results, tuple | list) else results
            self.open[-1] += cost(operands, first)


# ------------------------------------------------------------------------------------------------------------- walking


def _shapes(value: Any) -> tuple[tuple[int, ...], ...]:
    """The shapes of the tensors in a nest."""
    if isinstance(value, Tensor):
        return (value.shape,)
    if isinstance(value, dict):
        value = list(value.values())
    return tuple(shape for part in value for shape in _shapes(part)) if isinstance(value, tuple | list) else ()


def _inputs(model: Module, input_shape: Any, dtypes: Any) -> list[Tensor]:
    """Zeros of one shape or several, where the model is."""
    several = bool(input_shape) and isinstance(input_shape[0], tuple | list)
    shapes = list(input_shape) if several else [input_shape]
    first = next((p for p in model.parameters()), None)
    kinds = list(dtypes) if isinstance(dtypes, tuple | list) else [dtypes] * len(shapes)
    make = zeros if first is None else first._backend.tensors.zeros
    usual = None if first is None or not first.dtype.is_floating_point else first.dtype
    where = None if first is None else first.device
    return [make(tuple(s), dtype=k or usual, device=where) for s, k in zip(shapes, kinds, strict=True)]


def summary(model: Module, input_shape: Any = None, *, input_data: Any = None, dtypes: Any = None) -> Summary:
    """Call a model once on zeros and list its layers: results' shapes, parameters, multiply-adds.

    The call is one of evaluation, without gradients; modes and hooks are as before afterwards.

    Args:
        input_shape: the shape of the input with its batch axis, or a sequence of shapes.
        input_data: the input itself instead, or a tuple of inputs.
        dtypes: of the inputs, one or one for each; that of the parameters by default.

    Raises:
        ValueError: neither shape nor data, or both.
    """
    if (input_shape is None) == (input_data is None):
        raise ValueError("summary needs the shape of the input or the input itself, one of the two")
    if input_data is None:
        inputs: Any = _inputs(model, input_shape, dtypes)
    else:
        inputs = input_data if isinstance(input_data, tuple | list) else (input_data,)
    counting = _Counting()
    rows: list[Any] = []  # a place is kept when a call begins, for layers to stand before those below
    seen: set[int] = set()
    pending: list[int] = []
    handles, modes = [], [(module, module.training) for module in model.modules()]

    def before(module: Module, args: Any) -> None:
        counting.open.append(0)
        pending.append(len(rows))
        rows.append(None)

    def after(name: str) -> Callable[..., None]:
        def record(module: Module, args: Any, result: Any) -> None:
            own = [p for p in module._parameters.values() if p is not None and id(p) not in seen]
            seen.update(id(p) for p in own)
            counts = sum(p.numel() for p in own), sum(p.numel() for p in own if p.requires_grad)
            depth = name.count(".") + 1 if name else 0
            rows[pending.pop()] = Row(name, module._get_name(), depth, _shapes(result), *counts, counting.open.pop())

        return record

    try:
        for name, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(before))
            handles.append(module.register_forward_hook(after(name)))
        model.eval()
        with no_grad(), using_mode(observer=counting):
            model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes:
            module.training = mode
    return Summary(rows, model)
