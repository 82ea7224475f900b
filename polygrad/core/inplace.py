"""In-place forms: a new value put into the box.

No other tensor, view or kept value changes. Where nobody else can see the array (its reference count says so) a mutable
library writes into the same buffer, so that the new value costs no new memory.
"""

from __future__ import annotations

import numbers
import operator
from typing import Any

from polygrad.core.backend import Backend, backend_of, declared
from polygrad.core.methods import functions
from polygrad.core.op import method
from polygrad.core.tensor import Leaf, Tensor, count_write, current_mode, inferring, new_tensor

__all__ = ["check_writable", "inplace", "is_unshared", "overwrite"]

REUSING = {"add": operator.iadd, "subtract": operator.isub, "multiply": operator.imul}


def recording() -> bool:
    """True when ops are recorded in this context."""
    mode = current_mode()
    return mode is None or mode.grad


def check_writable(x: Tensor) -> None:
    """Raise RuntimeError for a leaf that requires grad, while ops are recorded, and for tensors of a past inference mode."""
    if type(x._node) is Leaf and recording():
        raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
    if x._extra is not None and "inference" in x._extra and not inferring():
        raise RuntimeError(
            "Inplace update to inference tensor outside InferenceMode is not allowed; take a clone() of it, which is a normal tensor"
        )


_limits: dict[Backend, int] = {}


def is_unshared(x: Tensor) -> bool:
    """True when the array in the box is visible to nobody else, so that it may be written into."""
    backend = x._backend
    owned = backend.owned
    if owned is None:
        return False
    array = x._array
    return owned(array, _limits.get(backend) or _limit(backend))


def _limit(backend: Backend) -> int:
    """How many references `is_unshared` itself holds to an array that only its box has; counted once on a fresh one."""
    fresh = new_tensor(backend.xp.zeros((2,)), backend)
    _limits[backend] = limit = next(n for n in range(1, 50) if _probe(fresh, n))
    return limit


def _probe(x: Tensor, limit: int) -> bool:
    owned = x._backend.owned
    array = x._array
    return owned is not None and owned(array, limit)


@method
def inplace(name: str, x: Tensor, *operands: Any) -> Tensor:
    """`x` with the result of the op `name` on it and `operands` put into its box; returns `x`.

    Raises:
        RuntimeError: `x` is a leaf that requires grad; the result's shape is not that of `x`, or its dtype is of a higher kind.
    """
    check_writable(x)
    reuse = REUSING.get(name)
    if reuse is not None and (x._node is None or not recording()) and is_unshared(x):
        other = _plain(operands[0], x)
        if other is not None:
            count_write(x)
            x._put(reuse(x._array, other), x._backend)
            return x
    return overwrite(x, declared.op(name).call(x, *operands))


def _plain(value: Any, x: Tensor) -> Any:
    """The second operand of a write into x's own buffer, or None if it needs the whole path."""
    if type(value) in (int, float):
        return value if x.dtype.is_floating_point or (type(value) is int and x.dtype.is_signed) else None
    if isinstance(value, Tensor) and value._backend is x._backend and (value._node is None or not recording()):
        array = value._array
        shape, mine = tuple(array.shape), x.shape
        fits = len(shape) <= len(mine) and all(a in (1, b) for a, b in zip(shape[::-1], mine[::-1], strict=False))
        return array if fits and array.dtype == x._array.dtype else None
    return None


@method
def refill(x: Tensor, value: Any) -> Tensor:
    """Put `value`, broadcast and cast, into the box; what was there gets zero gradient, and `x` requires grad as before.

    Raises:
        RuntimeError: `x` is a leaf that requires grad; `value` does not broadcast to it.
        TypeError: `value` is complex and `x` is not.
    """
    check_writable(x)
    if isinstance(value, complex) and not x.dtype.is_complex:
        raise TypeError(f"cannot put the complex number {value} into a {x.dtype} tensor")
    if isinstance(value, numbers.Number):
        value = functions.new_full(x, x.shape, value)
    elif not isinstance(value, Tensor):
        dtype = None if backend_of(value) else x.dtype
        value = x._backend.tensors.asarray(value, dtype=dtype, device=x.device)
    if recording() and x._node is not None:
        functions.assign_index(x, Ellipsis, value)
        return x
    return overwrite(x, value if value.dtype is x.dtype else functions.astype(value, x.dtype))


@method
def overwrite(x: Tensor, value: Any) -> Tensor:
    """Put `value`, broadcast to the shape of `x` and cast to its dtype, into the box; the history is that of `value`.

    Raises:
        RuntimeError: `x` is a leaf that requires grad; `value` does not broadcast to it or has a dtype of a higher kind.
    """
    check_writable(x)
    backend = x._backend
    if not isinstance(value, Tensor):
        home = backend_of(value)
        value = new_tensor(
            backend.asarray(value, dtype=None if home else x.dtype, copy=True if home else None), backend
        )
    if value._backend is not backend:
        raise RuntimeError(
            f"cannot put a value of backend {value.backend!r} into a tensor on {backend.name!r}; convert it with .to()"
        )
    xp = backend.tensors
    if value.shape != x.shape:
        if len(value.shape) > x.ndim or any(
            a not in (1, b) for a, b in zip(value.shape[::-1], x.shape[::-1], strict=False)
        ):
            raise RuntimeError(
                f"output with shape {list(x.shape)} doesn't match the broadcast shape {list(value.shape)}"
            )
        value = xp.broadcast_to(value, x.shape)
    if value.dtype is not x.dtype:
        order = ("bool", "unsigned", "integer", "floating", "complex")
        if order.index(value.dtype.category) > order.index(x.dtype.category):
            raise RuntimeError(f"result type {value.dtype} can't be cast to the desired output type {x.dtype}")
        value = xp.astype(value, x.dtype)
    return _put(x, value)


@method
def rebind(x: Tensor, value: Tensor) -> Tensor:
    """Put `value`, whatever its shape, into the box; the history is that of `value`.

    Raises RuntimeError where `x` is a leaf that requires grad.
    """
    check_writable(x)
    return _put(x, value)


def _put(x: Tensor, value: Tensor) -> Tensor:
    count_write(x)
    if recording():
        x._array, x._node = value._array, value._node
        if type(x._node) is Leaf:
            x._node = value._backend.tensors.clone(value)._node
        owner = (x._extra or {}).get("owner")
        if owner is not None:
            owner._put(value._array, value._backend)
    else:
        x._put(value._array, value._backend)
    return x
