"""What an op's operands have in common: a backend, and a data type."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any

from polygrad.core.backend import DEFAULT, Backend, backend_of, get_backend
from polygrad.core.dtype import CATEGORIES, DTYPES, DType, default_for, promote
from polygrad.core.tensor import Tensor

if TYPE_CHECKING:
    from polygrad.core.op import Op

__all__ = ["SCALARS", "common_backend", "gather_operands", "plain_operands", "promote_operands", "with_scalar"]

SCALARS = (bool, int, float, complex)


def plain_operands(op: Op, operands: tuple[Any, ...]) -> tuple[Backend, list[Any], list[Any]] | None:
    """(backend, arrays, edges) of tensors of one backend in a data type that the op takes as it is; None for all others."""
    backend: Backend | None = None
    found: Any = None
    arrays: list[Any] = []
    edges: list[Any] = []
    promoted = range(len(operands)) if op.variadic and op.promoted else op.promoted
    for i, x in enumerate(operands):
        if x is None:
            arrays.append(None)
            edges.append(None)
            continue
        if not isinstance(x, Tensor):
            return None
        if x._backend is not backend:
            if backend is not None:
                return None
            backend = x._backend
        a = x._array
        if i in promoted and a.dtype is not found:
            if found is not None:
                return None
            found = a.dtype
        arrays.append(a)
        edges.append(x._node)
    if found is None or backend is None or found not in backend.accepts[op.dtypes]:
        return None
    return backend, arrays, edges


def common_backend(op: Op, operands: tuple[Any, ...]) -> Backend:
    """The backend of the tensors, or else of the raw arrays, or else the default one. Raises RuntimeError for tensors of two."""
    backend = None
    for x in operands:
        if isinstance(x, Tensor):
            if backend is None:
                backend = x._backend
            elif x._backend is not backend:
                raise RuntimeError(
                    f"{op.name}: operands are on different backends, {backend.name!r} and {x._backend.name!r}; "
                    f"convert one of them, for example x.to({backend.name!r})"
                )
    if backend is None:
        for x in operands:
            if x is not None and not isinstance(x, numbers.Number) and (backend := backend_of(x)) is not None:
                return backend
        return get_backend()
    return backend


def gather_operands(op: Op, operands: tuple[Any, ...], backend: Backend) -> tuple[list[Any], list[Any]]:
    """(arrays, edges): the operands as raw arrays and Python numbers, and where each came from.

    Raises:
        TypeError: an operand that is neither an array nor a number.
        RuntimeError: a raw array of another backend.
    """
    arrays: list[Any] = []
    edges: list[Any] = []
    for x in operands:
        if isinstance(x, Tensor):
            arrays.append(x._array)
            edges.append(x._node)
            continue
        edges.append(None)
        if x is None or type(x) in SCALARS:
            arrays.append(x)
        elif isinstance(x, numbers.Number):  # a library's own scalar counts as the Python number it stands for
            arrays.append(x.item() if hasattr(x, "item") else x)
        else:
            home = backend_of(x)
            if home is None:
                raise TypeError(
                    f"{op.name}: expected a Tensor, a number or an array, got {type(x).__name__}; "
                    "make a tensor of it with polygrad.tensor(...)"
                )
            if home is not backend and home.name != DEFAULT:
                raise RuntimeError(f"{op.name}: an array of {home.name!r} meets a tensor on backend {backend.name!r}")
            arrays.append(x if home is backend else backend.asarray(x))
    return arrays, edges


def promote_operands(op: Op, arrays: list[Any], backend: Backend) -> list[Any]:
    """The arrays in their common data type, inside the op's category; Python numbers stay as they are."""
    places = range(len(arrays)) if op.variadic and op.promoted else op.promoted
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
