"""Calls of a module with other parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from polygrad.core import Tensor
from polygrad.nn.module import Module

__all__ = ["functional_call"]


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: dict[str, Tensor] | Sequence[dict[str, Tensor]],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Call a module with other tensors in place of some of its parameters and buffers.

    Args:
        parameter_and_buffer_dicts: tensors by the names of `named_parameters` and `named_buffers`, in one dict or several.
        args: the positional arguments, a tuple or the only one.
        tie_weights: a tensor that the module holds under several names is replaced under all of them.
        strict: every parameter and buffer must be given, and no other name.

    Raises:
        ValueError: a name in two dicts; tied names with different tensors.
        RuntimeError: with `strict`, names that are missing or unexpected; otherwise a name that the module does not have.
    """
    dicts = [parameter_and_buffer_dicts] if isinstance(parameter_and_buffer_dicts, dict) else parameter_and_buffer_dicts
    given: dict[str, Tensor] = {}
    for d in dicts:
        repeated = given.keys() & d.keys()
        if repeated:
            raise ValueError(
                f"{sorted(repeated)} appeared in multiple dictionaries; behavior of functional call is ambiguous"
            )
        given.update(d)
    positional = () if args is None else args if isinstance(args, tuple) else (args,)
    with _replaced(module, given, tie_weights, strict):
        return module(*positional, **(kwargs or {}))


@contextmanager
def _replaced(module: Module, given: dict[str, Tensor], tie_weights: bool, strict: bool) -> Iterator[None]:
    """The module's tables with other tensors in them, until the block ends."""
    tables: dict[str, tuple[dict[str, Any], str]] = {}
    for prefix, part in module.named_modules(remove_duplicate=False):
        for table in (part._parameters, part._buffers):
            for key, held in table.items():
                if held is not None:
                    tables[f"{prefix}.{key}" if prefix else key] = table, key
    unexpected = sorted(given.keys() - tables.keys())
    missing = sorted(tables.keys() - given.keys()) if strict else []
    if unexpected or missing:
        raise RuntimeError(
            f"functional_call: {type(module).__name__} has no parameter or buffer named {', '.join(unexpected) or 'otherwise'}"
            + (f", and is given none for {', '.join(missing)}" if missing else "")
        )
    wanted = _tied(tables, given) if tie_weights else given
    saved: list[tuple[dict[str, Any], str, Any]] = [
        (*tables[name], tables[name][0][tables[name][1]]) for name in wanted
    ]
    try:
        for name, tensor in wanted.items():
            replaced, key = tables[name]
            replaced[key] = tensor
        yield
    finally:
        for table, key, held in saved:
            table[key] = held


def _tied(tables: dict[str, tuple[dict[str, Any], str]], given: dict[str, Tensor]) -> dict[str, Tensor]:
    """The given tensors under every name of the tensor that they replace."""
    groups: dict[int, list[str]] = {}
    for name, (table, key) in tables.items():
        groups.setdefault(id(table[key]), []).append(name)
    wanted = dict(given)
    for names in groups.values():
        tensors = {id(given[n]): given[n] for n in names if n in given}
        if len(tensors) > 1:
            raise ValueError(f"functional_call: different tensors are given for the tied parameters {', '.join(names)}")
        for tensor in tensors.values():
            wanted.update(dict.fromkeys(names, tensor))
    return wanted
