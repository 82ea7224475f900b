"""Data types: polygrad's own objects, equal to what `x.dtype` gives on every backend."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

__all__ = [
    "DType",
    "DTYPES",
    "CATEGORIES",
    "as_dtype",
    "get_default_dtype",
    "set_default_dtype",
    "promote",
    "default_for",
]

KINDS = ("bool", "unsigned", "integer", "floating", "complex")


class DType:
    """A data type: its standard name, its kind and its size in bytes.

    There is one object per type, so identity is equality. A dtype also equals its spelling in another library
    (`pg.float32 == numpy.float32`), as code that passes NumPy's classes around expects.

    Attributes:
        name: the standard's.
        category: bool, unsigned, integer, floating or complex.
        itemsize: bytes of one element.
        is_floating_point: True for real floating-point types.
        is_complex: True for complex types.
    """

    __slots__ = ("name", "category", "itemsize", "is_floating_point", "is_complex")

    def __init__(self, name: str, category: str, itemsize: int):
        self.name, self.category, self.itemsize = name, category, itemsize
        self.is_floating_point, self.is_complex = category == "floating", category == "complex"

    def __repr__(self) -> str:
        return f"polygrad.{self.name}"

    __hash__ = object.__hash__  # one object per type; every op asks for it

    def __eq__(self, other: object) -> bool:
        if isinstance(other, DType):
            return self is other
        return other is not None and _lookup(other) is self

    def __reduce__(self):
        return as_dtype, (self.name,)

    @property
    def kind(self) -> str:
        """One letter for the kind, as NumPy has it: b, u, i, f or c."""
        return {"bool": "b", "unsigned": "u", "integer": "i", "floating": "f", "complex": "c"}[self.category]

    @property
    def is_signed(self) -> bool:
        """True for types that can hold negative numbers."""
        return self.category in ("integer", "floating", "complex")

    def to_real(self) -> DType:
        """The real type of the same precision (itself unless complex)."""
        return DTYPES[f"float{self.itemsize * 4}"] if self.category == "complex" else self

    def to_complex(self) -> DType:
        """The complex type of the same precision."""
        return self if self.category == "complex" else DTYPES["complex128" if self.itemsize == 8 else "complex64"]


DTYPES: dict[str, DType] = {
    name: DType(name, category, size)
    for name, category, size in [
        ("bool", "bool", 1),
        *((f"int{8 * n}", "integer", n) for n in (1, 2, 4, 8)),
        *((f"uint{8 * n}", "unsigned", n) for n in (1, 2, 4, 8)),
        ("float16", "floating", 2),
        ("bfloat16", "floating", 2),
        ("float32", "floating", 4),
        ("float64", "floating", 8),
        ("complex64", "complex", 8),
        ("complex128", "complex", 16),
    ]
}

# The standard's categories of data types, as operations name the ones they accept.
CATEGORIES: dict[str, frozenset[DType]] = {
    name: frozenset(d for d in DTYPES.values() if d.category in kinds)
    for name, kinds in {
        "any": KINDS,
        "boolean": ("bool",),
        "integer": ("integer", "unsigned"),
        "integer or boolean": ("bool", "integer", "unsigned"),
        "real": ("integer", "unsigned", "floating"),
        "numeric": ("integer", "unsigned", "floating", "complex"),
        "real floating": ("floating",),
        "complex": ("complex",),
        "floating": ("floating", "complex"),
    }.items()
}

_PYTHON = {bool: "bool", int: "int64"}
_default: ContextVar[DType] = ContextVar("polygrad default dtype", default=DTYPES["float32"])


def get_default_dtype() -> DType:
    """The floating-point type of new tensors (float32 unless `set_default_dtype` was called)."""
    return _default.get()


def set_default_dtype(d: Any) -> None:
    """Set the floating-point type of new tensors, in this thread or task.

    Raises TypeError unless `d` is a real floating-point type.
    """
    d = as_dtype(d)
    if not d.is_floating_point:
        raise TypeError(f"the default dtype must be a real floating-point type such as float32 or float64, got {d}")
    _default.set(d)


def default_for(category: str) -> DType:
    """The default type of a kind: bool, int64, the default float, or the complex type of its precision."""
    if category == "bool":
        return DTYPES["bool"]
    if category in ("integer", "unsigned"):
        return DTYPES["int64"]
    return _default.get() if category == "floating" else _default.get().to_complex()


def _lookup(d: object) -> DType | None:
    if isinstance(d, DType):
        return d
    if isinstance(d, type) and d in _PYTHON:
        return DTYPES[_PYTHON[d]]
    if d is float:
        return _default.get()
    if d is complex:
        return _default.get().to_complex()
    name = d if isinstance(d, str) else getattr(d, "name", None) or getattr(d, "__name__", None) or str(d)
    name = str(name).rpartition(".")[2]
    return DTYPES.get(
        {"bool_": "bool", "float": "float32", "double": "float64", "half": "float16", "long": "int64"}.get(name, name)
    )


def as_dtype(d: Any) -> DType:
    """The polygrad dtype that `d` spells: a DType, a name, a Python type, or any library's dtype.

    Raises TypeError when `d` spells none.
    """
    found = _lookup(d)
    if found is None:
        raise TypeError(f"not a data type: {d!r}; known are {', '.join(DTYPES)}")
    return found


def promote(*dtypes: DType) -> DType:
    """The type that operands of these types are computed in.

    Inside a kind this is the standard's table. Between kinds, where the standard says nothing, the higher kind wins and
    keeps its precision (int64 with float32 is float32), as in PyTorch and JAX; complex takes the float's precision.
    uint64 with a signed integer has no common type: TypeError.
    """
    result = dtypes[0]
    for d in dtypes[1:]:
        result = _promote2(result, d)
    return result


def _promote2(a: DType, b: DType) -> DType:
    if a is b:
        return a
    pair = _PROMOTED.get((a, b))
    if pair is None:
        raise TypeError(f"no common data type for {a} and {b}; cast one of them with astype")
    return pair


def _table() -> dict[tuple[DType, DType], DType]:
    order = {"bool": 0, "unsigned": 1, "integer": 1, "floating": 2, "complex": 3}
    table = {}
    for a in DTYPES.values():
        for b in DTYPES.values():
            low, high = sorted((a, b), key=lambda d: (order[d.category], d.itemsize))
            if low.category == "bool" or (order[low.category] == 1 and order[high.category] > 1):
                found = high
            elif {a.category, b.category} == {"unsigned", "integer"}:
                unsigned, signed = (a, b) if a.category == "unsigned" else (b, a)
                size = signed.itemsize if signed.itemsize > unsigned.itemsize else 2 * unsigned.itemsize
                if size > 8:
                    continue
                found = DTYPES[f"int{8 * size}"]
            elif high.category == "complex" and low.category == "floating":
                found = DTYPES["complex128" if low.itemsize == 8 else high.name]
            elif {a.name, b.name} == {"float16", "bfloat16"}:
                found = DTYPES["float32"]
            else:
                found = high
            table[a, b] = found
    return table


_PROMOTED = _table()
