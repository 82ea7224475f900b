"""How a tensor prints: PyTorch's forms."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["PrintOptions", "format_tensor", "set_printoptions"]


class PrintOptions:
    """How numbers are shown: digits after the point, elements before summarising, items at each edge, characters a line."""

    precision = 4
    threshold = 1000
    edgeitems = 3
    linewidth = 80
    sci_mode: bool | None = None


def set_printoptions(
    precision: int | None = None,
    threshold: int | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Change how tensors print; None leaves an option as it is (`sci_mode=None` chooses by the values)."""
    for name, value in (
        ("precision", precision),
        ("threshold", threshold),
        ("edgeitems", edgeitems),
        ("linewidth", linewidth),
    ):
        if value is not None:
            setattr(PrintOptions, name, value)
    PrintOptions.sci_mode = sci_mode


def format_tensor(x: Any) -> str:
    """`tensor(...)` with the values, and what is not the default: dtype, device, backend, grad."""
    if x._backend.is_traced(x._array):
        return f"tensor(<traced>, size={x.shape}, dtype={x.dtype})"
    host = x._backend.to_numpy(x._array)
    body = _body(host, x.dtype, "tensor(") if host.size else "[]"
    parts = [body]
    category = x.dtype.category
    shown = category == "bool" or x.dtype.name in ("int64", "float32", "complex64")
    if not host.size and host.shape != (0,):
        parts.append(f"size={tuple(host.shape)}")
    if not shown or (not host.size and x.dtype.name != "float32"):
        parts.append(f"dtype=polygrad.{x.dtype.name}")
    if x.grad_fn is not None:
        parts.append(f"grad_fn=<{x.grad_fn.name()}>")
    elif x.requires_grad:
        parts.append("requires_grad=True")
    return _join(parts)


def _join(parts: list[str]) -> str:
    text = "tensor(" + parts[0]
    column = len(text) - text.rfind("\n") + 1
    for part in parts[1:]:
        if column + len(part) + 2 > PrintOptions.linewidth:
            text += ",\n       " + part
            column = 7 + len(part)
        else:
            text += ", " + part
            column += len(part) + 2
    return text + ")"


def _body(host: Any, dtype: Any, prefix: str) -> str:
    summarise = host.size > PrintOptions.threshold
    shown = _edges(host) if summarise else host
    flat = shown.reshape(-1).tolist()
    if dtype.category == "complex":
        real, imag = _number_format([z.real for z in flat], True), _number_format([z.imag for z in flat], True)

        def cell(z: complex) -> str:
            i = imag(z.imag)
            sign = "" if i.lstrip().startswith("-") else "+"
            return f"{real(z.real)}{sign}{i.lstrip()}j"

    else:
        cell = _number_format(flat, dtype.category == "floating")
    if host.ndim == 0:
        return cell(host.item()).strip()
    return _nest(host, cell, len(prefix), summarise)


def _edges(host: Any) -> Any:
    n = PrintOptions.edgeitems
    for axis, size in enumerate(host.shape):
        if size > 2 * n:
            keep = [*range(n), *range(size - n, size)]
            host = host.take(keep, axis=axis)
    return host


def _nest(host: Any, cell: Any, indent: int, summarise: bool) -> str:
    n = PrintOptions.edgeitems
    if host.ndim == 1:
        cells = (
            [cell(v) for v in host.tolist()]
            if not (summarise and host.size > 2 * n)
            else ([cell(v) for v in host[:n].tolist()] + [" ..."] + [cell(v) for v in host[-n:].tolist()])
        )
        width = max((len(c) for c in cells), default=0) + 2
        per_line = max(1, (PrintOptions.linewidth - indent) // width)
        lines = [", ".join(cells[i : i + per_line]) for i in range(0, len(cells), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
    rows = range(len(host))
    picked = [*rows] if not (summarise and len(host) > 2 * n) else [*rows[:n], None, *rows[-n:]]
    items = ["..." if i is None else _nest(host[i], cell, indent + 1, summarise) for i in picked]
    return "[" + ("," + "\n" * (host.ndim - 1) + " " * (indent + 1)).join(items) + "]"


def _number_format(values: list[Any], floating: bool) -> Any:
    """A function that shows one number, as wide as the widest of `values` (PyTorch's rules)."""
    if not floating:
        width = max((len(str(v)) for v in values), default=0)
        return lambda v: f"{v!s:>{width}}"
    counted = [v for v in values if math.isfinite(v) and v != 0]
    finite = [abs(v) for v in counted]
    digits = PrintOptions.precision
    if all(v == math.ceil(v) for v in finite):
        if PrintOptions.sci_mode or (
            finite and PrintOptions.sci_mode is None and (max(finite) / min(finite) > 1000.0 or max(finite) > 1e8)
        ):
            spec = f".{digits}e"
        else:
            width = max((len(f"{v:.0f}.") for v in counted), default=0)
            return lambda v: f"{(f'{v:.0f}.' if math.isfinite(v) else str(v)):>{width}}"
    elif PrintOptions.sci_mode or (
        PrintOptions.sci_mode is None
        and (max(finite) / min(finite) > 1000.0 or max(finite) > 1e8 or min(finite) < 1e-4)
    ):
        spec = f".{digits}e"
    else:
        spec = f".{digits}f"
    width = max((len(f"{v:{spec}}") for v in counted), default=0)
    return lambda v: f"{v:{spec}}".rjust(width)
