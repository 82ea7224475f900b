"""Functions that make tensors: the standard's creation functions and PyTorch's `tensor`."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from typing import Any

from polygrad.core import Backend, DType, Tensor, as_dtype, backend_of, creation, get_backend, method, new_tensor
from polygrad.core.backend import DEFAULT
from polygrad.core.dtype import CATEGORIES, default_for, promote


def _made(array: Any, backend: Backend, requires_grad: bool) -> Tensor:
    made = new_tensor(array, backend)
    if requires_grad:
        made.requires_grad = True
    return made


def _kind(value: Any) -> str:
    """The kind of the widest Python number in nested lists."""
    if isinstance(value, list | tuple):
        kinds = [_kind(v) for v in value] or ["floating"]
        order = ("bool", "integer", "floating", "complex")
        return max(kinds, key=order.index)
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, complex):
        return "complex"
    if isinstance(value, float):
        return "floating"
    raise TypeError(f"expected a number, nested lists of numbers, an array or a Tensor, got {type(value).__name__}")


def _has_tensor(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(_has_tensor(v) for v in value)
    return isinstance(value, Tensor) or backend_of(value) is not None


def _stacked(backend: Backend, value: Any) -> Any:
    if isinstance(value, list | tuple):
        return backend.tensors.stack([_stacked(backend, v) for v in value])
    return asarray.on(backend, value)


@creation
def asarray(backend, obj, /, *, dtype=None, device=None, copy=None, requires_grad=False):
    """A tensor of a number, nested lists, any library's array, or a Tensor (whose graph it keeps).

    A mutable array of the caller is copied, so that later writes into it change no tensor; `copy=False` shares its memory
    instead. Floats become the default dtype; arrays keep theirs.

    Raises:
        TypeError: something that is no array.
        ValueError: `copy=False` where a copy is needed.
    """
    if isinstance(obj, Tensor):
        x = obj if copy is not True else backend.tensors.clone(obj)
        if device is not None:
            x = backend.tensors.to_device(x, device=device)
        return x if dtype is None or as_dtype(dtype) is x.dtype else backend.tensors.astype(x, as_dtype(dtype))
    if isinstance(obj, list | tuple) and _has_tensor(obj):
        x = _stacked(backend, obj)
        return x if dtype is None else backend.tensors.astype(x, as_dtype(dtype))
    if backend_of(obj) is not None:
        wanted = None if dtype is None else as_dtype(dtype)
        return _made(backend.asarray(obj, wanted, device, copy=True if copy is None else copy), backend, requires_grad)
    if hasattr(obj, "__array__") or (hasattr(obj, "__buffer__") or isinstance(obj, memoryview | bytearray)):
        host = get_backend(DEFAULT)
        return asarray.on(backend, host.xp.asarray(obj), dtype=dtype, device=device, requires_grad=requires_grad)
    if hasattr(obj, "item") and not isinstance(obj, list | tuple | bool | int | float | complex):
        obj = obj.item()
    wanted = default_for(_kind(obj)) if dtype is None else as_dtype(dtype)
    return _made(backend.asarray(obj, wanted, device), backend, requires_grad)


@creation
def tensor(backend, data, *, dtype=None, device=None, requires_grad=False):
    """A new leaf with a copy of `data`: a number, nested lists, any library's array, or a Tensor (detached)."""
    if isinstance(data, Tensor):
        x = data.detach()
        data = x if x._backend is backend else x._backend.to_numpy(x._array)
    made = asarray.on(backend, data, dtype=dtype, device=device).detach()
    if requires_grad:
        made.requires_grad = True
    return made


def _options(backend: Backend, dtype: Any, device: Any, kind: str = "floating") -> dict[str, Any]:
    options = {"dtype": backend.native(default_for(kind) if dtype is None else dtype)}
    if device is not None:
        options["device"] = device
    return options


def _shape(shape: Any) -> tuple[int, ...]:
    return (int(shape),) if hasattr(shape, "__index__") else tuple(int(n) for n in shape)


def _joined(shape: Any, sizes: tuple[Any, ...]) -> tuple[int, ...]:
    return _shape((shape, *sizes)) if sizes else _shape(shape)


@creation
def zeros(backend, shape=(), *sizes, dtype=None, device=None, requires_grad=False):
    """Zeros of a shape, given as a tuple or as sizes."""
    return _made(
        backend.arrays.zeros(_joined(shape, sizes), **_options(backend, dtype, device)), backend, requires_grad
    )


@creation
def ones(backend, shape=(), *sizes, dtype=None, device=None, requires_grad=False):
    """Ones of a shape, given as a tuple or as sizes."""
    return _made(backend.arrays.ones(_joined(shape, sizes), **_options(backend, dtype, device)), backend, requires_grad)


@creation
def empty(backend, shape=(), *sizes, dtype=None, device=None, requires_grad=False):
    """A tensor of a shape with whatever values are there."""
    return _made(
        backend.arrays.empty(_joined(shape, sizes), **_options(backend, dtype, device)), backend, requires_grad
    )


@creation
def full(backend, shape, fill_value, *, dtype=None, device=None, requires_grad=False):
    """A tensor of a shape with one value everywhere; a Tensor value keeps its gradient."""
    if isinstance(fill_value, Tensor):
        x = backend.tensors.broadcast_to(fill_value, _shape(shape))
        return x if dtype is None else backend.tensors.astype(x, as_dtype(dtype))
    options = _options(backend, dtype, device, _kind(fill_value))
    return _made(backend.arrays.full(_shape(shape), fill_value, **options), backend, requires_grad)


@creation
def eye(backend, n_rows, n_cols=None, /, *, k=0, dtype=None, device=None, requires_grad=False):
    """Ones on the k-th diagonal of a matrix, zeros elsewhere."""
    return _made(backend.xp.eye(n_rows, n_cols, k=k, **_options(backend, dtype, device)), backend, requires_grad)


@creation
def arange(backend, start, /, stop=None, step=1, *, dtype=None, device=None, requires_grad=False):
    """Evenly spaced values of [start, stop), or of [0, start) when `stop` is left out."""
    start, stop, step = (v.item() if isinstance(v, Tensor) else v for v in (start, stop, step))
    kind = "floating" if any(isinstance(v, float) for v in (start, stop, step)) else "integer"
    if stop is None:
        start, stop = 0, start
    return _made(backend.xp.arange(start, stop, step, **_options(backend, dtype, device, kind)), backend, requires_grad)


@creation
def linspace(backend, start, stop, /, num, *, dtype=None, device=None, endpoint=True, requires_grad=False):
    """`num` evenly spaced values from `start` to `stop`; tensor ends keep their gradient."""
    if isinstance(start, Tensor) or isinstance(stop, Tensor):
        steps = backend.tensors.linspace(0.0, 1.0, num, dtype=dtype, device=device, endpoint=endpoint)
        return start + (stop - start) * steps
    kind = "complex" if isinstance(start, complex) or isinstance(stop, complex) else "floating"
    options = _options(backend, dtype, device, kind)
    return _made(backend.xp.linspace(start, stop, num, endpoint=endpoint, **options), backend, requires_grad)


@creation
def logspace(backend, start, end, steps, base=10.0, *, dtype=None, device=None, requires_grad=False):
    """`steps` powers of `base` with evenly spaced exponents from `start` to `end`."""
    kind = "complex" if any(isinstance(v, complex) for v in (start, end, base)) else "floating"
    options = _options(backend, dtype, device, kind)
    exponents = backend.tensors.linspace(start, end, steps, dtype=dtype, device=device)
    y = backend.tensors.pow(backend.tensors.full((), base, **options), exponents)
    return y.requires_grad_() if requires_grad else y


def _triangle_indices(backend, row, col, keep, dtype, device):
    places = [(i, j) for i in range(row) for j in range(col) if keep(j - i)]
    options = _options(backend, "int64" if dtype is None else dtype, device)
    flat = backend.xp.asarray([i for i, _ in places] + [j for _, j in places], **options)
    return new_tensor(backend.arrays.reshape(flat, (2, len(places))), backend)


@creation
def tril_indices(backend, row, col, offset=0, *, dtype=None, device=None):
    """The rows and the columns of the lower triangle of a row x col matrix up to the `offset`-th diagonal, as (2, n) int64."""
    return _triangle_indices(backend, row, col, lambda k: k <= offset, dtype, device)


@creation
def triu_indices(backend, row, col, offset=0, *, dtype=None, device=None):
    """The rows and the columns of the upper triangle of a row x col matrix from the `offset`-th diagonal on, as (2, n) int64."""
    return _triangle_indices(backend, row, col, lambda k: k >= offset, dtype, device)


def _like(name: str) -> Callable[..., Any]:
    def make(backend, x, /, *, dtype=None, device=None, requires_grad=False):
        home = x._backend if isinstance(x, Tensor) else backend
        array = x._array if isinstance(x, Tensor) else x
        native = array.dtype if dtype is None else home.native(dtype)
        where = {} if device is None else {"device": device}
        return _made(getattr(home.arrays, name)(array, dtype=native, **where), home, requires_grad)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"A tensor like x in shape, dtype, device and backend, filled as by `{name[:-5]}`."
    return creation(make)


zeros_like = _like("zeros_like")
ones_like = _like("ones_like")
empty_like = _like("empty_like")


@creation
def full_like(backend, x, /, fill_value, *, dtype=None, device=None, requires_grad=False):
    """A tensor like x in shape, dtype, device and backend with one value everywhere; a Tensor value keeps its gradient."""
    home = x._backend
    if isinstance(fill_value, Tensor):
        return home.tensors.full(x.shape, fill_value, dtype=dtype or x.dtype)
    native = x._array.dtype if dtype is None else home.native(dtype)
    where = {} if device is None else {"device": device}
    return _made(home.arrays.full_like(x._array, fill_value, dtype=native, **where), home, requires_grad)


@creation
def from_dlpack(backend, x, /, *, device=None, copy=None):
    """A tensor that shares the memory of an object with `__dlpack__`, where the library can."""
    options = {k: v for k, v in (("device", device), ("copy", copy)) if v is not None}
    return new_tensor(backend.xp.from_dlpack(x, **options), backend)


@creation
def from_numpy(backend, array):
    """A tensor of a NumPy array; the values are copied, so that later writes into the array change no tensor."""
    return asarray.on(backend, array)


# ---------------------------------------------------------------------------------------------------- data types


class finfo_object(namedtuple("finfo_object", "bits eps max min smallest_normal dtype")):
    """Machine limits of a floating-point type, as Python numbers."""

    __slots__ = ()


class iinfo_object(namedtuple("iinfo_object", "bits max min dtype")):
    """Machine limits of an integer type, as Python numbers."""

    __slots__ = ()


def _type_of(x: Any) -> DType:
    if isinstance(x, Tensor):
        return x.dtype
    return as_dtype(x.dtype) if hasattr(x, "shape") else as_dtype(x)


@creation
def finfo(backend, type, /):
    """Machine limits of a floating-point or complex type. Raises ValueError for other types."""
    d = _type_of(type)
    if d.category not in ("floating", "complex"):
        raise ValueError(f"finfo takes a floating-point type, got {d}; use iinfo for integers")
    f = backend.xp.finfo(backend.native(d.to_real()))
    tiny = float(getattr(f, "smallest_normal", None) or f.tiny)
    return finfo_object(int(f.bits), float(f.eps), float(f.max), float(f.min), tiny, d.to_real())


@creation
def iinfo(backend, type, /):
    """Machine limits of an integer type. Raises ValueError for other types."""
    d = _type_of(type)
    if d.category not in ("integer", "unsigned"):
        raise ValueError(f"iinfo takes an integer type, got {d}; use finfo for floating-point types")
    bits = 8 * d.itemsize
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if d.is_signed else (0, 2**bits - 1)
    return iinfo_object(bits, high, low, d)


_KINDS = {
    "bool": "boolean",
    "signed integer": None,
    "unsigned integer": None,
    "integral": "integer",
    "real floating": "real floating",
    "complex floating": "complex",
    "numeric": "numeric",
}


@creation
def isdtype(backend, dtype, kind):
    """True when a data type is `kind`: a dtype, the standard's name of a kind, or a tuple of these.

    Raises ValueError for an unknown name of a kind.
    """
    if isinstance(kind, tuple):
        return any(isdtype.on(backend, dtype, k) for k in kind)
    d = as_dtype(dtype)
    if isinstance(kind, str) and kind in _KINDS:
        if kind == "signed integer":
            return d.category == "integer"
        if kind == "unsigned integer":
            return d.category == "unsigned"
        return d in CATEGORIES[_KINDS[kind] or ""]
    if isinstance(kind, str):
        raise ValueError(f"isdtype: unknown kind {kind!r}; known are {', '.join(_KINDS)}")
    return d is as_dtype(kind)


@creation
def result_type(backend, *arrays_and_dtypes):
    """The data type that operands of these types are computed in; Python numbers raise the kind only where they must."""
    types = [_type_of(a) for a in arrays_and_dtypes if not isinstance(a, bool | int | float | complex)]
    numbers = [a for a in arrays_and_dtypes if isinstance(a, bool | int | float | complex)]
    if not types:
        raise ValueError("result_type needs at least one array or data type")
    result = promote(*types)
    order = ("bool", "unsigned", "integer", "floating", "complex")
    for n in numbers:
        kind = _kind(n)
        if order.index(kind) > order.index(result.category) and not (
            kind == "integer" and result.category == "unsigned"
        ):
            result = result.to_complex() if kind == "complex" and result.category == "floating" else default_for(kind)
    return result


@creation
def can_cast(backend, from_, to, /):
    """True when a value of one data type may become another by promotion."""
    source, target = _type_of(from_), as_dtype(to)
    try:
        return promote(source, target) is target
    except TypeError:
        return False


@creation
def broadcast_shapes(backend, *shapes):
    """The shape that arrays of these shapes broadcast to. Raises ValueError where they do not."""
    n = max((len(s) for s in shapes), default=0)
    result = [1] * n
    for shape in shapes:
        for i, size in enumerate(shape, n - len(shape)):
            if size != 1:
                if result[i] not in (1, size):
                    raise ValueError(
                        f"shapes {', '.join(map(str, map(tuple, shapes)))} do not broadcast: {result[i]} meets {size}"
                    )
                result[i] = size
    return tuple(result)


# ------------------------------------------------------------------------------------- what methods ask for


class Size(int):
    """The number of elements, which may also be called as PyTorch's `size()` and `size(dim)`."""

    shape: tuple[int, ...]

    def __new__(cls, x: Tensor) -> Size:
        made = int.__new__(cls, x._size)
        made.shape = x.shape
        return made

    def __call__(self, dim: int | None = None) -> Any:
        """All sizes, or that of one axis. Raises IndexError for an axis that is not there."""
        return self.shape if dim is None else self.shape[dim]


method(Size)


def is_tensor(obj: Any) -> bool:
    """True for a Tensor."""
    return isinstance(obj, Tensor)


@method
def new_full(
    x: Tensor, shape: Any, value: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A constant of the backend of x, and of its dtype and device unless given."""
    return x._backend.tensors.full(shape, value, requires_grad=requires_grad, **_as(x, dtype, device))


@method
def new_tensor_like(x: Tensor, data: Any, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    """`data` on the backend of x, and in its dtype and on its device unless given."""
    return x._backend.tensors.tensor(data, requires_grad=requires_grad, **_as(x, dtype, device))


def _as(x: Tensor, dtype: Any, device: Any) -> dict[str, Any]:
    return {"dtype": x.dtype if dtype is None else dtype, "device": x.device if device is None else device}
