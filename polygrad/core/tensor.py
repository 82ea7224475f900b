"""What a tensor is: a box around an immutable value, and the history that made it.

`Tensor` holds an array, its backend and the node that made it. `Node` is one recorded op, `Leaf` is where gradients of a
user's tensor are gathered, `Pick` is one result of an op with several. No node points to a tensor, so a graph is freed by
reference counting the moment its last tensor goes.
"""

from __future__ import annotations

import itertools
import warnings
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from polygrad.core.backend import Backend, get_backend, namespace_of
from polygrad.core.device import Device
from polygrad.core.dtype import DType
from polygrad.core.hooks import RemovableHandle, add_hook
from polygrad.core.methods import OPERANDS, Methods, functions
from polygrad.core.printing import format_tensor

__all__ = [
    "Leaf",
    "Mode",
    "Node",
    "Observer",
    "Pick",
    "Tensor",
    "current_mode",
    "has_values",
    "new_tensor",
    "next_serial",
    "using_mode",
]

next_serial = itertools.count(1).__next__
INFERENCE: dict[str, Any] = {"inference": True}  # `Tensor._extra` of what was made in inference mode


class Observer:
    """What watches the ops of a context; a subclass overrides what it wants to know. The methods here do nothing.

    Attributes:
        values: tensors have values that may be looked at; False while a function is captured.
    """

    __slots__ = ()
    values = True

    def enter(self, op: Any, operands: Any, params: Any) -> tuple[Any, Any]:
        """Before an op runs: the operands and parameters it is to run on."""
        return operands, params

    def op(self, op: Any, operands: Any, params: Any, results: Any) -> None:
        """After an op has run."""

    def leave(self, x: Tensor, what: str) -> None:
        """Before `what` turns a tensor into something of another kind (a number, an array)."""

    def write(self, x: Tensor) -> None:
        """Before a tensor gets another value."""


class Mode:
    """What is out of the ordinary in this context; None stands for plain recording.

    Attributes:
        grad: record ops of tensors that require grad.
        enabled: the same, as far as the user asked; in inference mode nothing is recorded all the same.
        inference: results may never be recorded later.
        simple: nothing but the two above is set, so ops may keep to their short path.
        observer: an Observer or None.
        anomaly: None, "trace" to remember the source line that made each node, or "check" to search walks for NaN as well.
        pack, unpack: saved-tensor hooks or None.
    """

    __slots__ = ("grad", "enabled", "inference", "simple", "observer", "anomaly", "pack", "unpack")

    def __init__(self, parent: Mode | None, **changes: Any):
        self.enabled, self.inference = True, False
        self.observer: Any = None
        self.pack: Any = None
        self.unpack: Any = None
        self.anomaly: str | None = None
        if parent is not None:
            for name in self.__slots__:
                setattr(self, name, getattr(parent, name))
        for name, value in changes.items():
            setattr(self, "enabled" if name == "grad" else name, value)
        self.grad = self.enabled and not self.inference
        self.simple = self.observer is None and self.pack is None and self.anomaly is None


_mode: ContextVar[Mode | None] = ContextVar("polygrad mode", default=None)
current_mode = _mode.get
NOT_RECORDING = {"grad": False}
_not_recording = Mode(None, **NOT_RECORDING)


def inferring() -> bool:
    """True inside `inference_mode`."""
    mode = current_mode()
    return mode is not None and mode.inference


class using_mode:
    """Context manager that changes some fields of the current mode, in this thread or task only."""

    __slots__ = ("changes", "tokens")

    def __init__(self, **changes: Any):
        self.changes = changes
        self.tokens: list[Any] = []

    def __enter__(self) -> using_mode:
        parent = _mode.get()
        usual = parent is None and self.changes == NOT_RECORDING
        self.tokens.append(_mode.set(_not_recording if usual else Mode(parent, **self.changes)))
        return self

    def __exit__(self, *exc: Any) -> None:
        _mode.reset(self.tokens.pop())


class Vertex:
    """What a graph consists of: a Node, a Pick or a Leaf, with room for the user's notes and hooks.

    Attributes:
        edges: where the operands came from: a Node, Pick or Leaf each, or None for a constant.
        shape, dtype, backend: of the value that stands here.
        serial: grows with creation, so it orders the graph topologically.
        extra: None, or a dict of the rare things (hooks, a retained gradient, where it was made).
    """

    __slots__ = ("extra",)
    edges: tuple[Any, ...]
    backend: Backend
    shape: Any
    dtype: Any
    serial: float
    extra: dict[str, Any] | None

    def name(self) -> str:
        """What PyTorch calls it."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"

    @property
    def metadata(self) -> dict[str, Any]:
        """A dictionary for the user's own notes."""
        return self.extras().setdefault("metadata", {})

    def register_hook(self, fn: Callable[..., Any]) -> RemovableHandle:
        """Call `fn(grad_inputs, grad_outputs)`, tuples of Tensors and None, after backward has passed this node.

        A tuple that it returns replaces the gradients of the node's inputs. The handle takes the hook off.
        """
        return add_hook(self.extras().setdefault("post", {}), fn)

    def register_prehook(self, fn: Callable[..., Any]) -> RemovableHandle:
        """Call `fn(grad_outputs)`, a tuple, before backward passes this node; a tuple that it returns replaces it."""
        return add_hook(self.extras().setdefault("pre", {}), fn)

    def extras(self) -> dict[str, Any]:
        """`extra` as a dictionary that can be written into."""
        if self.extra is None:
            self.extra = {}
        return self.extra


class Node(Vertex):
    """One recorded op.

    Attributes:
        op: the Op.
        kept: per operand, the array that some rule reads, or None.
        y: the result (a tuple for several), where some rule reads it.
        params: the op's parameters by name.
        shapes: per operand its shape, where some rule reads one.
        shape, dtype: of the result; lists for several.
    """

    __slots__ = (
        "op",
        "edges",
        "kept",
        "y",
        "params",
        "shapes",
        "backend",
        "shape",
        "dtype",
        "serial",
        "__weakref__",
    )

    op: Any
    kept: Any
    y: Any
    params: dict[str, Any]
    shapes: Any

    def name(self) -> str:
        """The name PyTorch gives this kind of node, such as MulBackward0."""
        return self.op.node_name

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """Per operand, the node it came from and the index of that node's result (None for constants)."""
        return tuple(
            (None, 0) if e is None else (e.edges[0], e.index) if type(e) is Pick else (e, 0) for e in self.edges
        )


class Pick(Vertex):
    """One result of a node that has several."""

    __slots__ = ("edges", "index", "shape", "dtype", "serial", "backend", "__weakref__")

    def __init__(self, node: Node, index: int, array: Any):
        self.edges, self.index, self.backend = (node,), index, node.backend
        self.shape, self.dtype = tuple(array.shape), array.dtype
        self.serial = node.serial + 0.5  # after its node, before whatever was computed from it
        self.extra = None

    # A recorded walk makes picks anew from the results that a node kept; they are the same place in the graph.
    def __eq__(self, other: object) -> bool:
        return self is other or (type(other) is Pick and other.index == self.index and other.edges[0] is self.edges[0])

    def __hash__(self) -> int:
        return id(self.edges[0]) ^ self.index

    def name(self) -> str:
        """The name of the node whose result this is."""
        return self.edges[0].name()

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """Where the operands of the node whose result this is came from."""
        return self.edges[0].next_functions


class Leaf(Vertex):
    """Where the gradient of a tensor that the user made is gathered."""

    __slots__ = ("shape", "dtype", "grad", "serial", "backend", "owner", "__weakref__")
    edges = ()
    next_functions: tuple[Any, ...] = ()

    def __init__(self, array: Any, backend: Backend, owner: Tensor | None = None):
        self.shape, self.dtype, self.backend = tuple(array.shape), array.dtype, backend
        self.grad: Tensor | None = None
        self.serial = next_serial()
        self.extra = None
        self.owner = None if owner is None else weakref.ref(owner)

    @property
    def variable(self) -> Tensor | None:
        """The tensor whose gradient is gathered here, or None where it is gone."""
        return None if self.owner is None else self.owner()

    def name(self) -> str:
        """PyTorch's name for the end of a graph."""
        return "AccumulateGrad"


class Unread:
    """Stands in `Leaf.grad` while a function is captured, until somebody looks at the gradient."""

    __slots__ = ("value", "seen")

    def __init__(self, value: Tensor | None, seen: Any):
        self.value, self.seen = value, seen


def has_values() -> bool:
    """False where tensors stand for values that are not known yet, so that none can be looked at to check it."""
    mode = current_mode()
    return mode is None or mode.observer is None or mode.observer.values


def add_version(x: Tensor) -> None:
    """Count a write in place where nobody observes."""
    extra = x._extra
    if extra is None or extra is INFERENCE:
        extra = x._extras()
    extra["version"] = extra.get("version", 0) + 1


def count_write(x: Tensor) -> None:
    """Count a write in place, and tell the observer, if there is one."""
    add_version(x)
    mode = current_mode()
    if mode is not None and mode.observer is not None:
        mode.observer.write(x)


def tell_write(x: Tensor) -> None:
    """Tell the observer, if there is one, that a tensor gets another value."""
    mode = current_mode()
    if mode is not None and mode.observer is not None:
        mode.observer.write(x)


def grad_of(leaf: Leaf) -> Tensor | None:
    """The gradient that a leaf has gathered."""
    g: Any = leaf.grad
    if type(g) is Unread:
        g.seen(leaf)
        leaf.grad = g = g.value
    return g


class Tensor(Methods):
    """A box around an immutable array that remembers how it was computed.

    In-place forms put a new value into the box; nothing else that ever looked into it changes. Made by `tensor`, `asarray`,
    the creation functions and every op; the constructor takes what `tensor` takes.

    Args:
        data: number, nested lists, array of any library, or Tensor.
        dtype: data type; that of the data, or the default of its kind.
        device: the backend's device.
        requires_grad: record what is computed from this tensor.
    """

    __slots__ = ("_array", "_backend", "_node", "_extra", "__weakref__")
    _array: Any
    _backend: Backend
    _node: Any
    _extra: dict[str, Any] | None
    __array_ufunc__ = None  # a raw NumPy array on the left must leave the operator to us, not loop over elements
    __array_priority__ = 1000

    def __init__(self, data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False):
        made = functions.tensor(data, dtype=dtype, device=device)
        self._array, self._backend, self._node, self._extra = made._array, made._backend, None, None
        if requires_grad:
            self.requires_grad = True

    # ------------------------------------------------------------------------------------------------ description

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return tuple(self._array.shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self._array.shape)

    @property
    def dtype(self) -> DType:
        """The data type, one of polygrad's dtype objects."""
        return self._backend.dtypes[self._array.dtype]

    @property
    def device(self) -> Any:
        """The library's device that holds the array; a name is given as a `Device`."""
        device = self._backend.arrays.device(self._array)
        return Device(device) if type(device) is str else device

    @property
    def backend(self) -> str:
        """Name of the backend whose array this is."""
        return self._backend.name

    @property
    def array(self) -> Any:
        """The library's own array, without a copy. It is shared: do not write into it.

        Raises RuntimeError while grad is required, because what is computed from it would leave the graph.
        """
        return self._export("array")

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        """The Array API namespace of this tensor: the polygrad module, or its twin bound to another backend.

        Raises ValueError for a version of the standard that is not served.
        """
        if api_version is not None and api_version not in ("2021.12", "2022.12", "2023.12", "2024.12", "2025.12"):
            raise ValueError(f"Array API version {api_version!r} is not served; polygrad implements 2025.12")
        return namespace_of(self._backend)

    def __repr__(self) -> str:
        return format_tensor(self)

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.ndim == 0 else object.__format__(self, spec)

    __hash__ = object.__hash__  # by identity, as in PyTorch, although == compares values

    # ------------------------------------------------------------------------------------------------ history

    @property
    def requires_grad(self) -> bool:
        """True when what is computed from this tensor is recorded."""
        return self._node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        node = self._node
        if node is not None and type(node) is not Leaf:
            if value:
                return
            raise RuntimeError(
                "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a "
                "subgraph that doesn't require differentiation use var_no_grad = var.detach()."
            )
        if not value:
            if node is not None:
                self._extras()["leaf"] = node
                self._node = None
        elif node is None:
            if self._extra is not None and "inference" in self._extra and not inferring():
                raise RuntimeError(
                    "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed; "
                    "take a clone() of it, which is a normal tensor"
                )
            if not (self.dtype.is_floating_point or self.dtype.is_complex):
                raise RuntimeError(
                    f"only Tensors of floating point and complex dtype can require gradients, got {self.dtype}"
                )
            extra = self._extra or {}
            self._node = extra.get("leaf") or Leaf(self._array, self._backend, self)
            if extra.get("grad") is not None:
                self._node.grad = extra.pop("grad")
            if "grad_dtype" in extra:
                self._node.extras()["grad_dtype"] = extra["grad_dtype"]

    @property
    def is_leaf(self) -> bool:
        """True unless this tensor is the recorded result of an op."""
        return self._node is None or type(self._node) is Leaf

    @property
    def grad_fn(self) -> Node | None:
        """The node that made this tensor; None for leaves."""
        if self.is_leaf:
            return None
        return self._node.edges[0] if type(self._node) is Pick else self._node

    @property
    def output_nr(self) -> int:
        """Which result of its node this tensor is."""
        return self._node.index if type(self._node) is Pick else 0

    @property
    def grad(self) -> Tensor | None:
        """The gradient that backward() gathered here, a Tensor of the same shape, or None."""
        node = self._node
        if type(node) is Leaf:
            g: Any = node.grad
            return grad_of(node) if type(g) is Unread else g
        extra = (self._extra if node is None else node.extra) or {}
        if node is None:
            leaf = extra.get("leaf")
            return extra.get("grad") if leaf is None else grad_of(leaf)
        if extra.get("grad") is None and "retained" not in extra:
            warnings.warn(
                "The .grad attribute of a Tensor that is not a leaf is being accessed. It is None unless retain_grad() was "
                "called on this tensor before backward().",
                UserWarning,
                stacklevel=2,
            )
        return extra.get("grad")

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(f"assigned grad expected to be a Tensor or None but got {type(value).__name__}")
            if value.shape != self.shape:
                raise RuntimeError(
                    f"assigned grad has data of a different size: expected shape {self.shape}, got {value.shape}"
                )
            if value.dtype is not self.dtype and self.is_leaf and self.grad_dtype not in (None, value.dtype):
                raise RuntimeError(
                    f"assigned grad has data of a different type: expected {self.dtype}, got {value.dtype}"
                )
            if value._backend is not self._backend:
                raise RuntimeError(
                    f"assigned grad is on backend {value.backend!r}, the tensor on {self.backend!r}; convert it with .to()"
                )
        node = self._node
        if type(node) is Leaf:
            node.grad = value
        elif node is not None:
            node.extras()["grad"] = value
        else:
            leaf = self._extras().get("leaf")
            if leaf is None:
                self._extras()["grad"] = value
            else:
                leaf.grad = value

    @grad.deleter
    def grad(self) -> None:
        self.grad = None

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set `requires_grad`; returns the tensor.

        Raises RuntimeError for integer and boolean tensors, and when switched off on the result of an op.
        """
        self.requires_grad = requires_grad
        return self

    def retain_grad(self) -> None:
        """Let backward() fill `.grad` although this tensor is no leaf.

        Raises RuntimeError when the tensor does not require grad.
        """
        if self._node is None:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if not self.is_leaf:
            self._node.extras()["retained"] = True

    @property
    def retains_grad(self) -> bool:
        """True for a non-leaf on which retain_grad() was called."""
        return not self.is_leaf and "retained" in (self._node.extra or ())

    def detach(self) -> Tensor:
        """The same value outside the graph: a tensor that does not require grad."""
        return new_tensor(self._array, self._backend)

    def detach_(self) -> Tensor:
        """Take this tensor itself out of the graph; returns it."""
        self._node = None
        return self

    @property
    def data(self) -> Tensor:
        """The value outside the graph. Writing into what this returns writes into this tensor too, unrecorded."""
        view = object.__new__(_Data)
        view._array, view._backend, view._node, view._extra = self._array, self._backend, None, {"owner": self}
        return view

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"data takes a Tensor, got {type(value).__name__}; use polygrad.tensor(value)")
        tell_write(self)
        self._put(value._array, value._backend)

    def _put(self, array: Any, backend: Backend) -> None:
        """Put another value into the box, leaving its history as it is."""
        self._array, self._backend = array, backend
        if type(self._node) is Leaf:
            self._node.shape, self._node.dtype, self._node.backend = tuple(array.shape), array.dtype, backend

    def _extras(self) -> dict[str, Any]:
        if self._extra is None or self._extra is INFERENCE:
            self._extra = {} if self._extra is None else dict(INFERENCE)
        return self._extra

    # ------------------------------------------------------------------------------------------------ conversion

    def _leave(self, what: str) -> None:
        """Tell the observer, if there is one, that the value is about to become something else than a tensor."""
        mode = current_mode()
        if mode is not None and mode.observer is not None:
            mode.observer.leave(self, what)

    def _export(self, what: str) -> Any:
        if self._node is not None:
            raise RuntimeError(
                f"Can't convert a Tensor that requires grad with {what}: what is computed from the copy would leave the graph. "
                "Use tensor.detach() first."
            )
        if what != "array":
            self._leave(what)
        return self._array

    def numpy(self) -> Any:
        """The values as a read-only NumPy array. Raises RuntimeError while grad is required."""
        return self._lent("numpy()")

    def _lent(self, what: str) -> Any:
        """The values as a host array that nobody can write into: the memory may be that of the value in the box."""
        host = self._backend.to_numpy(self._export(what)).view()
        host.flags.writeable = False
        return host

    def tolist(self) -> Any:
        """The values as nested Python lists, or one number for a 0-d tensor."""
        self._leave("tolist()")
        return self._backend.to_numpy(self._array).tolist()

    def item(self) -> Any:
        """The only element as a Python number. Raises RuntimeError when there are several or none."""
        if self._size != 1:
            raise RuntimeError(f"a Tensor with {self._size} elements cannot be converted to Scalar")
        self._leave("item()")
        return self._backend.to_numpy(self._array).item()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        array = self._lent("__array__")
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def __dlpack__(
        self, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: bool | None = None
    ) -> Any:
        array = self._export("__dlpack__")
        named = {"stream": stream, "max_version": max_version, "dl_device": dl_device, "copy": copy}
        options = {name: value for name, value in named.items() if value is not None}
        return (array if hasattr(array, "__dlpack__") else self._backend.xp.asarray(array)).__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        array = self._array
        return (array if hasattr(array, "__dlpack_device__") else self._backend.xp.asarray(array)).__dlpack_device__()

    def _scalar(self, kind: str) -> Any:
        if self._size != 1:
            if kind == "bool":
                raise RuntimeError(
                    f"Boolean value of Tensor with {self._size} values is ambiguous; use pg.any() or pg.all()"
                )
            raise TypeError(
                f"only a Tensor with one element can be converted to {kind}, this one has shape {self.shape}"
            )
        self._leave(f"{kind}()")
        array = self._array
        return array if self.ndim == 0 else self._backend.arrays.reshape(array, ())

    def __bool__(self) -> bool:
        return bool(self._scalar("bool"))

    def __float__(self) -> float:
        return float(self._scalar("float"))

    def __int__(self) -> int:
        return int(self._scalar("int"))

    def __complex__(self) -> complex:
        return complex(self._scalar("complex"))

    def __index__(self) -> int:
        if self.dtype.category not in ("integer", "unsigned", "bool"):
            raise TypeError(f"only integer tensors of a single element can be converted to an index, got {self.dtype}")
        return int(self._scalar("index"))

    def __len__(self) -> int:
        if not self._array.shape:
            raise TypeError("len() of a 0-d tensor")
        return int(self._array.shape[0])

    def __copy__(self) -> Tensor:
        return self.__deepcopy__({}) if self.is_leaf else self.clone()

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        """A leaf of the same value with its own history; RuntimeError for the result of an op."""
        if id(self) in memo:
            return memo[id(self)]
        if not self.is_leaf:
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment; "
                "use tensor.detach().clone() for the value"
            )
        made = object.__new__(type(self))
        made._array, made._backend, made._node, made._extra = self._array, self._backend, None, None
        if self._node is not None:
            made._node = Leaf(self._array, self._backend, made)
            made._node.grad = None if self.grad is None else self.grad.detach()
        memo[id(self)] = made
        return made

    def __reduce_ex__(self, protocol: Any) -> Any:
        if not self.is_leaf:
            raise RuntimeError("only leaf tensors can be pickled; use tensor.detach()")
        self._leave("pickling")
        values = self._backend.to_numpy(self._array)
        return _rebuild, (type(self), self._backend.name, values, self.dtype.name, self.requires_grad)


class _Data(Tensor):
    """What `tensor.data` gives: in-place forms on it reach the tensor it was taken from."""

    __slots__ = ()
    _loses_writes = False

    def _put(self, array: Any, backend: Backend) -> None:
        self._array, self._backend = array, backend
        self._extras()["owner"]._put(array, backend)


OPERANDS.update((Tensor, _Data))
_new = object.__new__


def new_tensor(array: Any, backend: Backend, node: Node | Pick | Leaf | None = None) -> Tensor:
    """A Tensor around a raw array, with the history given."""
    made = _new(Tensor)
    made._array, made._backend, made._node, made._extra = array, backend, node, None
    return made


def _rebuild(kind: type[Tensor], backend: str, values: Any, dtype: str, requires_grad: bool) -> Tensor:
    home = get_backend(backend)
    made = _new(kind)
    made._array, made._backend, made._node, made._extra = home.asarray(values, dtype=dtype, copy=True), home, None, None
    if requires_grad:
        made.requires_grad = True
    return made
