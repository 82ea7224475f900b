"""A reader of pickles that executes nothing.

It knows the opcodes that data needs and builds plain values with them. A pickle names functions and classes as text: the names of
`polygrad.io.names` stand for a few ways to build a value here, every other is refused by its name. What a pickle may make Python
allocate is limited by a budget, because a byte of it can ask for a whole dict, or for a memo of a billion places.
"""

from __future__ import annotations

import math
import struct
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from polygrad.core.dtype import DTYPES
from polygrad.io.names import DTYPE_NAMES, PLAIN, REBUILDS, STORAGES

__all__ = ["Refused", "Spec", "Storage", "Unpickler"]


class Refused(ValueError):
    """A file that is broken, or asks for more than data."""


class Name(NamedTuple):
    """A function or class that a pickle names."""

    text: str


class Storage(NamedTuple):
    """Where the bytes of tensors are: the key of a storage, its dtype and its number of elements."""

    key: str
    dtype: str
    elements: int


class Spec:
    """A tensor that is made when the whole file has been checked.

    Attributes:
        storage: where its elements are.
        offset: of the first one.
        shape, strides: as in PyTorch, in elements.
        requires_grad, parameter: what it becomes.
    """

    __slots__ = ("storage", "offset", "shape", "strides", "requires_grad", "parameter")

    def __init__(self, storage: Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], grad: bool):
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides
        self.requires_grad, self.parameter = grad, False

    @property
    def count(self) -> int:
        """How many elements the tensor has."""
        return math.prod(self.shape)


MARK = object()
SIMPLE = {ord("N"): None, 0x88: True, 0x89: False}
# opcode -> (struct of the length, what the bytes are)
TEXTS = {ord("X"): "<I", 0x8C: "<B", 0x8D: "<Q"}
BYTES = {ord("B"): "<I", ord("C"): "<B", 0x8E: "<Q", ord("T"): "<I", ord("U"): "<B"}
NUMBERS = {ord("J"): "<i", ord("K"): "<B", ord("M"): "<H", ord("G"): ">d"}
CONTAINERS: dict[int, Callable[[], Any]] = {ord("]"): list, ord("}"): dict, 0x8F: set}
OBJECT, CONTAINER = 64, 256  # bytes that a value may cost, stack and memo included
NOT_ALLOWED = (
    "only tensors, numbers, text and plain containers are read from files. Save model.state_dict() instead of the model, "
    "or convert the file to safetensors where you trust it"
)


class Unpickler:
    """Reads pickles from a buffer, one after the other.

    Args:
        data: the bytes.
        find: gives the Storage of a persistent id; raises Refused for one that it does not know.
        budget: how many bytes the values may cost.

    Attributes:
        place: where the next pickle begins.
    """

    def __init__(self, data: memoryview, find: Callable[[Any], Storage], budget: int):
        self.data, self.find, self.budget, self.place = data, find, budget, 0

    def load(self) -> Any:
        """The next value. Raises Refused for a pickle that is broken, names what is not allowed, or costs too much."""
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        try:
            while (code := self._take(1)[0]) != ord("."):
                self._step(code)
            return self.stack.pop()
        except Refused:
            raise
        except (IndexError, KeyError, TypeError, ValueError, OverflowError, struct.error, RecursionError) as error:
            raise Refused(f"the pickle is broken at byte {self.place}: {error}") from error

    def _take(self, count: int) -> memoryview:
        if count > len(self.data) - self.place:
            raise Refused(f"the file ends at byte {len(self.data)}, inside of a pickle")
        self.place += count
        return self.data[self.place - count : self.place]

    def _spend(self, cost: int) -> None:
        self.budget -= cost
        if self.budget < 0:
            raise Refused("the pickle asks for more memory than data of its size needs")

    def _push(self, value: Any, cost: int = OBJECT) -> None:
        self._spend(cost)
        self.stack.append(value)

    def _unpack(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _line(self) -> str:
        start = self.place
        for end in range(start, min(start + 4096, len(self.data))):
            if self.data[end] == 10:
                self.place = end + 1
                return bytes(self.data[start:end]).decode()
        raise Refused("a line of the pickle has no end")

    def _marked(self) -> list[Any]:
        """What lies on the stack above the last mark."""
        at = len(self.stack) - 1
        while self.stack[at] is not MARK:
            at -= 1
            if at < 0:
                raise Refused("the pickle has no mark where it needs one")
        found = self.stack[at + 1 :]
        del self.stack[at:]
        return found

    def _step(self, code: int) -> None:
        """Do what one opcode says."""
        if code in SIMPLE:
            self._push(SIMPLE[code])
        elif code in CONTAINERS:
            self._push(CONTAINERS[code](), CONTAINER)
        elif code in NUMBERS:
            self._push(self._unpack(NUMBERS[code]))
        elif code in TEXTS:
            size = self._unpack(TEXTS[code])
            self._spend(4 * size)
            self._push(bytes(self._take(size)).decode("utf-8", "surrogatepass"))
        elif code in BYTES:
            size = self._unpack(BYTES[code])
            self._spend(size)
            self._push(bytes(self._take(size)))
        else:
            handler = self.HANDLERS.get(code)
            if handler is None:
                raise Refused(f"the pickle has the opcode {bytes([code])!r}, which data does not need")
            handler(self)

    # ------------------------------------------------------------------------------------------------------ containers

    def _mark(self) -> None:
        self._push(MARK)

    def _append(self) -> None:
        value = self.stack.pop()
        self._list(self.stack[-1]).append(value)

    def _appends(self) -> None:
        values = self._marked()
        self._list(self.stack[-1]).extend(values)

    def _list(self, value: Any) -> list[Any]:
        if type(value) is not list:
            raise Refused(f"the pickle appends to a {type(value).__name__}")
        return value

    def _put_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._items([key, value])

    def _put_items(self) -> None:
        self._items(self._marked())

    def _items(self, flat: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(flat) % 2:
            raise Refused(f"the pickle puts items into a {type(target).__name__}")
        for key, value in zip(flat[::2], flat[1::2], strict=True):
            target[self._key(key)] = value

    def _key(self, key: Any) -> Any:
        """A key, which is a plain value or a tuple of such; the hash of tuples in tuples may take for ever."""
        for part in key if type(key) is tuple else (key,):
            if not isinstance(part, str | int | float | bytes | bool | complex | None):
                raise Refused(f"the pickle has a key that is a {type(part).__name__}")
        return key

    def _add_items(self) -> None:
        values = self._marked()
        if type(self.stack[-1]) is not set:
            raise Refused(f"the pickle adds to a {type(self.stack[-1]).__name__}")
        self.stack[-1].update(map(self._key, values))

    def _tuple(self, count: int | None) -> None:
        if count is None:
            parts = self._marked()
        else:
            if count > len(self.stack):
                raise Refused("the pickle takes more values than there are")
            parts = self.stack[len(self.stack) - count :]
            del self.stack[len(self.stack) - count :]
        if MARK in parts:
            raise Refused("the pickle has a mark inside of a tuple")
        self._push(tuple(parts), OBJECT + 8 * len(parts))

    # -------------------------------------------------------------------------------------------------------------- memo

    def _put(self, index: int) -> None:
        self._spend(2 * OBJECT)
        self.memo[index] = self.stack[-1]

    def _memoize(self) -> None:
        self._put(len(self.memo))

    def _get(self, index: int) -> None:
        if index not in self.memo:
            raise Refused(f"the pickle asks for value {index}, which it has not kept")
        self._push(self.memo[index])

    def _long(self, form: str) -> None:
        size = self._unpack(form)
        if size > 64:
            raise Refused(f"the pickle has an integer of {size} bytes")
        self._push(int.from_bytes(self._take(size), "little", signed=True))

    # ------------------------------------------------------------------------------------------------------------- names

    def _named(self, module: Any, name: Any) -> None:
        text = f"{module}.{name}"
        if text in DTYPE_NAMES:
            self._push(DTYPES[DTYPE_NAMES[text]])
        elif text in STORAGES or text in REBUILDS or text in PLAIN:
            self._push(Name(text))
        else:
            raise Refused(f"the file asks for {text[:200]}: {NOT_ALLOWED}")

    def _global(self) -> None:
        self._named(self._line(), self._line())

    def _stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self._named(module, name)

    def _persistent(self) -> None:
        self._push(self.find(self.stack.pop()))

    def _protocol(self) -> None:
        if (version := self._unpack("<B")) > 5:
            raise Refused(f"the pickle is of protocol {version}")

    def _reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if type(function) is not Name or type(arguments) is not tuple:
            raise Refused(f"the file calls a {type(function).__name__}: {NOT_ALLOWED}")
        if function.text in REBUILDS:
            self._push(_tensor(arguments) if REBUILDS[function.text] == "tensor" else _parameter(arguments))
        elif function.text in PLAIN:
            self._push(self._plain(PLAIN[function.text], arguments), CONTAINER)
        else:
            raise Refused(f"the file calls {function.text}: {NOT_ALLOWED}")

    def _plain(self, kind: str, arguments: tuple[Any, ...]) -> Any:
        if kind == "ordered" and (not arguments or type(arguments[0]) is list):
            made: OrderedDict[Any, Any] = OrderedDict()
            for pair in arguments[0] if arguments else ():
                made[self._key(pair[0])] = pair[1]
            return made
        if kind == "counter" and len(arguments) == 1 and type(arguments[0]) is dict:
            return Counter(arguments[0])
        if kind == "set" and len(arguments) == 1 and type(arguments[0]) is list:
            return set(map(self._key, arguments[0]))
        if kind == "complex" and len(arguments) == 2 and all(type(v) in (int, float) for v in arguments):
            return complex(*arguments)
        if kind == "bytes" and len(arguments) == 2 and type(arguments[0]) is str and arguments[1] == "latin1":
            self._spend(len(arguments[0]))
            return arguments[0].encode("latin1")
        if kind == "size" and len(arguments) == 1 and type(arguments[0]) is tuple:
            return arguments[0]
        if kind == "device" and all(type(v) in (str, int) for v in arguments):
            return ":".join(map(str, arguments))
        raise Refused(f"the file builds a {kind} of {len(arguments)} arguments that it cannot be built of")

    def _build(self) -> None:
        """Attributes: those that PyTorch gives to the OrderedDict of a state are left out, others are refused."""
        attributes = self.stack.pop()
        if not isinstance(self.stack[-1], OrderedDict) or type(attributes) is not dict:
            raise Refused(f"the file gives attributes to a {type(self.stack[-1]).__name__}: {NOT_ALLOWED}")

    HANDLERS: dict[int, Callable[[Unpickler], None]] = {
        0x80: _protocol,
        0x95: lambda self: self._unpack("<Q"),
        ord("("): _mark,
        ord("a"): _append,
        ord("e"): _appends,
        ord("s"): _put_item,
        ord("u"): _put_items,
        0x90: _add_items,
        ord(")"): lambda self: self._tuple(0),
        0x85: lambda self: self._tuple(1),
        0x86: lambda self: self._tuple(2),
        0x87: lambda self: self._tuple(3),
        ord("t"): lambda self: self._tuple(None),
        ord("q"): lambda self: self._put(self._unpack("<B")),
        ord("r"): lambda self: self._put(self._unpack("<I")),
        0x94: _memoize,
        ord("h"): lambda self: self._get(self._unpack("<B")),
        ord("j"): lambda self: self._get(self._unpack("<I")),
        0x8A: lambda self: self._long("<B"),
        0x8B: lambda self: self._long("<i"),
        ord("c"): _global,
        0x93: _stack_global,
        ord("Q"): _persistent,
        ord("R"): _reduce,
        ord("b"): _build,
    }


def _tensor(arguments: tuple[Any, ...]) -> Spec:
    """What `_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks, ...)` asks for, with its bounds checked."""
    storage, offset, shape, strides = arguments[:4]
    numbers = (offset, *shape, *strides)
    if type(storage) is not Storage or any(type(n) is not int or not 0 <= n < 2**63 for n in numbers):
        raise Refused("a tensor of the file is not described as PyTorch does it")
    if len(shape) != len(strides) or len(shape) > 64:
        raise Refused(f"a tensor of the file has {len(shape)} sizes and {len(strides)} strides")
    if len(arguments) > 5 and arguments[5]:
        raise Refused(f"a tensor of the file has hooks: {NOT_ALLOWED}")
    if 0 in shape and math.prod(n for n in shape if n) > 2**40:
        raise Refused(f"a tensor of the file has shape {shape}")
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) if 0 not in shape else -1
    if last >= storage.elements:
        raise Refused(
            f"a tensor of the file has shape {shape}, strides {strides} and offset {offset}, but its storage has "
            f"{storage.elements} elements"
        )
    return Spec(storage, offset, tuple(shape), tuple(strides), bool(arguments[4]) if len(arguments) > 4 else False)


def _parameter(arguments: tuple[Any, ...]) -> Spec:
    """What `_rebuild_parameter(data, requires_grad, hooks)` asks for."""
    spec, grad = arguments[:2]
    if not isinstance(spec, Spec) or type(grad) is not bool:
        raise Refused("a parameter of the file is not described as PyTorch does it")
    if len(arguments) > 2 and arguments[2]:
        raise Refused(f"a parameter of the file has hooks: {NOT_ALLOWED}")
    spec.requires_grad, spec.parameter = grad, True
    return spec
