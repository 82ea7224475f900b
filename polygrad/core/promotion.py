"""The common data type of an op's operands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polygrad.core.backend import Backend
from polygrad.core.dtype import CATEGORIES, DTYPES, DType, default_for, promote

if TYPE_CHECKING:
    from polygrad.core.op import Op

__all__ = ["SCALARS", "promote_operands", "with_scalar"]

SCALARS = (bool, int, float, complex)


def promote_operands(op: Op, arrays: list[Any], backend: Backend) -> list[Any]:
    """The arrays in their common data type, inside the op's category; Python numbers stay as they are."""
    places = range(len(arrays)) if op.variadic and op.promoted else op.promoted
    if _alike(arrays, places, backend.accepts[op.dtypes]):
        return arrays
    here = [i for i in places if arrays[i] is not None]
    real = [i for i in here if type(arrays[i]) not in SCALARS]
    if not real:
        if not here:
            return arrays
        target = promote(*[_python_type(arrays[i]) for i in here])
    else:
        target = promote(*[backend.dtypes[arrays[i].dtype] for i in real])
        for i in here:
            if type(arrays[i]) in SCALARS:
                target = with_scalar(target, arrays[i])
    if target not in CATEGORIES[op.dtypes]:
        target = _into_category(op, target)
    native = None
    for i in here:
        a = arrays[i]
        if type(a) in SCALARS:
            if not real:
                arrays[i] = backend.asarray(a, dtype=target)
            elif type(a) is bool and target.category != "bool":
                arrays[i] = int(a)
        elif backend.dtypes[a.dtype] is not target:
            native = native or backend.native(target)
            arrays[i] = backend.arrays.astype(a, native)
    return arrays


def _alike(arrays: list[Any], places: Any, accepted: set[Any]) -> bool:
    """Whether all operands that are there are arrays of one data type, which the op takes as it is."""
    found = None
    for i in places:
        a = arrays[i]
        if a is None:
            continue
        dtype = getattr(a, "dtype", None)
        if dtype is not found and found is not None:
            return False
        found = dtype
        if dtype is None:
            return False
    return found is not None and found in accepted


def _python_type(value: Any) -> DType:
    return default_for({bool: "bool", int: "integer", float: "floating", complex: "complex"}[type(value)])


def with_scalar(target: DType, value: Any) -> DType:
    """The type of an array operand beside a Python number: the number's kind may raise it, its precision never."""
    rank = ("bool", "unsigned", "integer", "floating", "complex")
    wanted = _python_type(value)
    if rank.index(wanted.category) <= rank.index(target.category) or (
        wanted.category == "integer" and target.category == "unsigned"
    ):
        return target
    if wanted.category == "complex" and target.category == "floating":
        return target.to_complex()
    return wanted


def _into_category(op: Op, target: DType) -> DType:
    if op.dtypes in ("floating", "real floating") and target.category in ("bool", "unsigned", "integer"):
        return default_for("floating")
    if op.dtypes == "boolean":
        return DTYPES["bool"]
    if target.category == "bool" and op.dtypes in ("numeric", "real", "integer"):
        return DTYPES["int64"]
    raise TypeError(f"{op.name}: expected {op.dtypes} data types, got {target}")
