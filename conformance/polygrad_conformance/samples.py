"""Data for the checks: operands made from a case, always the same, and the way from the host to a backend and back."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from polygrad.core import Backend, Tensor, as_dtype, bools, get_backend, ints, new_tensor, separated
from polygrad.core.backend import DEFAULT
from polygrad.core.cases import Case
from polygrad.core.dtype import CATEGORIES, DTYPES

__all__ = [
    "Sample",
    "as_host",
    "cases_of",
    "close",
    "domain_of",
    "draw",
    "host",
    "inexact",
    "like",
    "placed",
    "raw",
    "tensors_in",
]

SHAPE = (3, 4)
DOMAIN = (-1.5, 1.5)


@cache
def host() -> Backend:
    """The backend of the host's arrays, in which operands are made, tangents added and results compared."""
    return get_backend(DEFAULT)


def draw(rng: random.Random, shape: tuple[int, ...], dtype: str, low: float = -1.0, high: float = 1.0) -> Any:
    """A host array of numbers in [low, high), in both parts if complex; small positive integers; or booleans."""
    n = 1
    for size in shape:
        n *= size
    category = DTYPES[dtype].category
    if category == "complex":
        values: list[Any] = [complex(rng.uniform(low, high), rng.uniform(low, high)) for _ in range(n)]
    elif category == "floating":
        values = [rng.uniform(low, high) for _ in range(n)]
    elif category == "bool":
        values = [rng.random() < 0.5 for _ in range(n)]
    else:
        values = [rng.randrange(int(low), int(high)) for _ in range(n)]
    xp = host().xp
    return xp.reshape(xp.asarray(values, dtype=getattr(xp, dtype)), shape)


def like(rng: random.Random, x: Any) -> Any:
    """A direction at x: numbers in [-1, 1) of its shape and data type."""
    return draw(rng, tuple(x.shape), as_dtype(x.dtype).name)


def is_array(x: Any) -> bool:
    """True for a host array."""
    return hasattr(x, "dtype") and hasattr(x, "shape")


def inexact(x: Any) -> bool:
    """True for what a derivative may exist for: an array or Tensor of a floating-point or complex type."""
    return hasattr(x, "dtype") and hasattr(x, "shape") and as_dtype(x.dtype) in CATEGORIES["floating"]


class Sample:
    """Operands and parameters for one call of an op, with the arrays on the host.

    Attributes:
        operands: what goes in front: host arrays, numbers, None, lists of host arrays.
        params: parameters by name.
        invariant: what of the results is unique, or None for all of it.
        active: the arrays among the operands that a derivative is taken for.
    """

    def __init__(self, op: Any, case: Case, operands: list[Any], params: dict[str, Any], active: list[int]):
        self.op, self.operands, self.params, self.invariant = op, operands, params, case.invariant
        self._places = active
        self.active = [a for i, a in enumerate(_arrays(operands)) if i in set(active)]

    @classmethod
    def of(cls, op: Any, case: Case, dtype: str | tuple[str, ...]) -> Sample:
        """The operands that a case describes, in a data type (or one for each operand in turn)."""
        rng = random.Random(f"{op.name} {case!r}")
        several = isinstance(dtype, tuple)
        operands = [
            _made(op, spec, i, dtype[i % len(dtype)] if several else dtype, rng) for i, spec in enumerate(case.operands)
        ]
        params = {name: _filled(value, rng) for name, value in case.params.items()}
        names = getattr(op, "operands", ())
        owner = [i for i, operand in enumerate(operands) for a in _arrays([operand])]
        active = [
            k
            for k, a in enumerate(_arrays(operands))
            if inexact(a) and (not names or op.variadic or op.pulls[owner[k]] is not None)
        ]
        return cls(op, case, operands, params, active)

    def function(self, backend: Backend, device: Any = None, only: int | None = None) -> Callable[..., list[Any]]:
        """The op on tensors as a function of the active operands (or of one of them), the rest constant.

        It returns every Tensor among the results, in order.
        """
        rest = [placed(a, backend, device) for a in _arrays(self.operands)]
        params = {name: placed(value, backend, device) for name, value in self.params.items()}
        if "device" in getattr(self.op, "required", ()) and "device" not in params:
            params["device"] = (backend.devices() or [None])[0]
        slots = self._places if only is None else [self._places[only]]

        def call(tensors: list[Tensor]) -> list[Any]:
            arrays = list(rest)
            for k, t in zip(slots, tensors, strict=True):
                arrays[k] = t
            y = self._invoke(_rebuilt(self.operands, iter(arrays)), params)
            return list(tensors_in(y if self.invariant is None else self.invariant(backend.tensors, y)))

        return call

    def raw(self, function: Callable[..., Any], backend: Backend, device: Any = None) -> Any:
        """What a function on raw arrays gives for these operands (of the results, what is unique)."""
        arrays = iter([raw(a, backend, device) for a in _arrays(self.operands)])
        params = {name: raw(value, backend, device) for name, value in self.params.items()}
        if "device" in getattr(self.op, "required", ()) and "device" not in params:
            params["device"] = (backend.devices() or [None])[0]
        operands = [raw(x, backend, device) if isinstance(x, str) else x for x in _rebuilt(self.operands, arrays)]
        if getattr(self.op, "variadic", False) and not self.op.spread:
            y = function(operands, **params)
        else:
            y = function(*operands, **params)
        return y if self.invariant is None else self.invariant(backend.arrays, y)

    def _invoke(self, operands: list[Any], params: dict[str, Any]) -> Any:
        if getattr(self.op, "variadic", False) and not self.op.spread:
            return self.op.call(operands, **params)
        return self.op.call(*operands, **params)


def _made(op: Any, spec: Any, i: int, dtype: str, rng: random.Random) -> Any:
    """The operand that an entry of a case stands for."""
    if isinstance(spec, list) and spec and all(isinstance(s, tuple) for s in spec):
        return [_made(op, s, i, dtype, rng) for s in spec]
    if isinstance(spec, tuple):
        low, high = domain_of(op, i)
        if DTYPES[dtype].category in ("integer", "unsigned"):
            low, high = 1, 5
        return draw(rng, spec, dtype, low, high)
    if isinstance(spec, separated):
        return spec.fill(host().xp, draw(rng, spec.shape, dtype))
    return _filled(spec, rng)


def domain_of(op: Any, i: int) -> tuple[float, float]:
    """The interval in which operand i is tested."""
    domain = op.domain or DOMAIN
    if not isinstance(domain, dict):
        return domain
    names = getattr(op, "operands", None) or list(op.signature.parameters)
    return domain.get(names[min(i, len(names) - 1)], DOMAIN)


def _filled(value: Any, rng: random.Random) -> Any:
    """A parameter with its `ints` and `bools` turned into host arrays."""
    if isinstance(value, ints):
        return draw(rng, value.shape, "int64", value.low, value.high)
    if isinstance(value, bools):
        return draw(rng, value.shape, "bool")
    if isinstance(value, tuple):
        return tuple(_filled(v, rng) for v in value)
    return value


def _arrays(operands: list[Any]) -> list[Any]:
    found = []
    for x in operands:
        if isinstance(x, list):
            found += _arrays(x)
        elif is_array(x):
            found.append(x)
    return found


def _rebuilt(operands: list[Any], arrays: Iterator[Any]) -> list[Any]:
    return [
        _rebuilt(x, arrays) if isinstance(x, list) and _arrays(x) else next(arrays) if is_array(x) else x
        for x in operands
    ]


def cases_of(op: Any) -> list[Case]:
    """The op's cases; an op whose operands may have any shape needs none."""
    if op.cases:
        return op.cases
    anywhere = op.kind == "pointwise" or (op.kind == "discrete" and not op.required)
    return [Case((SHAPE,) * len(op.operands), {})] if anywhere else []


# ----------------------------------------------------------------------------------------------- there and back


def raw(value: Any, backend: Backend, device: Any = None) -> Any:
    """A host array as the backend's array, a data type as the library's; anything else as it is."""
    if is_array(value):
        return backend.asarray(value, device=device)
    if isinstance(value, tuple):
        return tuple(raw(v, backend, device) for v in value)
    if isinstance(value, type(DTYPES["bool"])) or (isinstance(value, str) and value in DTYPES):
        return backend.native(value)
    return value


def placed(value: Any, backend: Backend, device: Any = None) -> Any:
    """A host array as a Tensor of the backend; anything else as it is."""
    if is_array(value):
        return new_tensor(backend.asarray(value, device=device), backend)
    if isinstance(value, tuple):
        return tuple(placed(v, backend, device) for v in value)
    return value


def as_host(x: Any) -> Any:
    """A Tensor, whatever its history, as a host array."""
    return host().xp.asarray(x._backend.to_numpy(x._array))


def tensors_in(results: Any) -> Iterator[Any]:
    """The Tensors and raw arrays in nested tuples and lists, in order; Python numbers too."""
    if isinstance(results, tuple | list):
        for r in results:
            yield from tensors_in(r)
    elif results is not None:
        yield results


def close(got: Any, wanted: Any, tolerance: float) -> None:
    """Assert that two host arrays agree: shape, data type, NaNs, infinities, and values relative to the largest."""
    xp = host().xp
    assert tuple(got.shape) == tuple(wanted.shape), f"has shape {tuple(got.shape)}, the reference {tuple(wanted.shape)}"
    assert got.dtype == wanted.dtype, f"has data type {got.dtype}, the reference {wanted.dtype}"
    if not inexact(wanted):
        assert bool(xp.all(got == wanted)), f"is {got.tolist()}, the reference {wanted.tolist()}"
        return
    same = xp.equal(got, wanted) | (xp.isnan(got) & xp.isnan(wanted))
    finite = xp.isfinite(got) & xp.isfinite(wanted)
    assert bool(xp.all(same | finite)), f"is {got.tolist()}, the reference {wanted.tolist()}"
    if bool(xp.any(finite)):
        size = float(xp.max(xp.abs(wanted[finite])))
        error = float(xp.max(xp.abs(got[finite] - wanted[finite])))
        assert error <= tolerance * (1 + size), f"differs by {error:.3g} from the reference (largest {size:.3g})"
