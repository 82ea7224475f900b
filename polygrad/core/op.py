"""What an op is: its signature, its sentence and its derivative, declared once.

The decorators `pointwise`, `linear`, `general` and `discrete` turn a declaration into a function on tensors that records;
`composite` makes a function of ops. Everything else (both namespaces of every backend, the engine's walks, conformance)
is derived from the `Op` they leave in the registry.
"""

from __future__ import annotations

import inspect
import itertools
import numbers
from collections.abc import Callable
from typing import Any

from polygrad.core.backend import Backend, assign, backend_of, declared, get_backend
from polygrad.core.declaration import Declaration, Heading, Made, split_options
from polygrad.core.dtype import CATEGORIES
from polygrad.core.methods import functions
from polygrad.core.promotion import common_backend, gather_operands, plain_operands, promote_operands
from polygrad.core.rules import Rule, compile_rule, diagonal_rule
from polygrad.core.tensor import INFERENCE, Node, Pick, Tensor, current_mode, new_tensor, next_serial
from polygrad.core.watch import annotate

__all__ = [
    "Op",
    "alias",
    "composite",
    "creation",
    "discrete",
    "general",
    "linear",
    "method",
    "pointwise",
    "polyfill",
]

NOTHING: tuple[Any, ...] = ()
_new = object.__new__


class Op(Declaration):
    """One declared op.

    Attributes:
        kind: pointwise, linear, general or discrete.
        body: `body(xp, *operands, **params)` or None for the library's function.
        operands: names of the operands; `variadic` when the one operand is a list.
        defaults: parameters with their defaults (`inspect.Parameter.empty` where required).
        pulls, pulls_complex, pushes: per operand a Rule, or None where no derivative flows.
        materialize: rules get zeros for missing cotangents of several results, rather than None.
    """

    custom = False  # its derivative is made of rules

    def __init__(
        self, function: Callable[..., Any], kind: str, rules: dict[str, Any], dtypes: str, options: dict[str, Any]
    ):
        heading = Heading(function)
        super().__init__(function, heading, dtypes, options)
        self.body = function if heading.xp else None
        self.kind = kind
        defaults, spread, parameters = heading.defaults, heading.spread, heading.either + heading.named
        self.operands = (*heading.operands, spread) if spread else heading.operands
        self.optional = tuple([name for name in heading.operands if name in defaults])
        self.spread = bool(spread) and not heading.operands
        self.variadic = self.spread or self.operands == ("arrays",)
        self.defaults = {name: defaults.get(name, inspect.Parameter.empty) for name in parameters}
        self.positional = heading.either + self.order
        self.required = {name for name in parameters if name not in defaults}
        self.preset = {name: defaults[name] for name in parameters if name in defaults}
        self.node: str | None = options.get("node")
        if unknown := rules.keys() - self.operands:
            raise TypeError(
                f"op {self.name!r} has rules for {', '.join(unknown)}, its operands are {', '.join(self.operands)}"
            )
        self._compile(rules)
        self.boolean: str | None = options.get("boolean")
        promoted = options.get("promote", rules or self.operands)
        self.promoted = tuple([i for i, n in enumerate(self.operands) if n in promoted])
        self.materialize = options.get("materialize", True)
        self.native = not NATIVE.isdisjoint(self.defaults)
        self.keeping: dict[tuple[bool, ...], Any] = {}
        self.implementations: dict[Backend, Any] = _Implementations(self)
        self.call = self.dress(self._make_call())
        self.call.op = self  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"<op {self.name}{self.signature}>"

    @property
    def differentiable(self) -> bool:
        """True when some operand has a rule."""
        return any(rule is not None for rule in self.pulls)

    @property
    def node_name(self) -> str:
        """PyTorch's name of the nodes it makes."""
        return f"{self.node or _camel(self.name)}Backward0"

    def _compile(self, rules: dict[str, Any]) -> None:
        rows = [self._derived(i, rules[n]) if n in rules else UNDERIVED for i, n in enumerate(self.operands)]
        # keeps[i]: the operands that must be kept when operand i is differentiated; keeps_parts[i]: of several results, those
        # that must be kept, None for all
        columns = zip(*rows, strict=True)
        self.pulls, self.pulls_complex, self.pushes, self.keeps, self.keeps_y, self.keeps_parts = columns
        self.pointwise = self.kind == "pointwise"
        self.real_pulls = tuple([None if r is None else r.apply for r in self.pulls])
        self.keeps_shapes = any([r.shapes for r in (*self.pulls, *self.pushes) if r is not None])

    def _derived(self, i: int, rule: Any) -> tuple[Rule, Rule, Rule, frozenset[int], bool, frozenset[int] | None]:
        """The pull of real cotangents, that of complex ones and the push that a declared rule makes, and what they read."""
        if self.kind == "pointwise":
            pull, complex_pull, push = diagonal_rule(self.name, rule, self.operands, self.defaults)
        elif self.kind == "linear":
            pull = complex_pull = compile_rule(self.name, rule, self.operands, self.defaults)
            push = self._substitution(i)
        else:
            pull = complex_pull = compile_rule(self.name, rule[0], self.operands, self.defaults)
            push = compile_rule(self.name, rule[1], self.operands, self.defaults)
        whole = (pull.y and pull.parts is None) or (push.y and push.parts is None)
        parts = None if whole else (pull.parts or NONE) | (push.parts or NONE)
        return pull, complex_pull, push, pull.operands | push.operands, pull.y or push.y, parts

    def _substitution(self, i: int) -> Rule:
        """The push of a linear op: the op itself with the tangent in operand i's place."""
        name, count, variadic, spread = self.name, len(self.operands), self.variadic, self.spread

        def push(xp: Any, t: Any, n: Any) -> Any:
            function = xp
            for part in name.split("."):
                function = getattr(function, part)
            if variadic:
                return function(*t, **n.params) if spread else function(t, **n.params)
            return function(*[t if j == i else n.kept[j] for j in range(count)], **n.params)

        others = frozenset() if variadic else frozenset(range(count)) - {i}
        return Rule(push, others, False, False, None)

    def _make_call(self) -> Callable[..., Any]:
        if self.kind == "pointwise" and not self.defaults and not self.variadic and not self.optional:
            if len(self.operands) == 1:
                return _unary(self)
            if len(self.operands) == 2 and all(self.pulls):
                return _binary(self)
        return _general(self)


NONE: frozenset[int] = frozenset()
UNDERIVED = (None, None, None, NONE, False, NONE)


class _Implementations(dict):
    """Backend -> (function on raw arrays, the library dtypes it takes without conversion)."""

    __slots__ = ("op",)

    def __init__(self, op: Op):
        self.op = op

    def __missing__(self, backend: Backend) -> tuple[Any, set[Any]]:
        space = backend.ready().arrays
        for part in self.op.name.split("."):
            space = getattr(space, part)
        self[backend] = found = (space, backend.accepts[self.op.dtypes])
        return found


# ----------------------------------------------------------------------------------------------------- the short paths


def _unary(op: Op) -> Callable[..., Any]:
    """`op` on one tensor, everything bound to locals; whatever is out of the ordinary goes to `apply`."""
    implementations, rule = op.implementations, op.pulls[0]
    keep_x = bool(op.keeps[0])
    keep_y = op.keeps_y[0]
    same_type = op.dtypes != "complex" and op.name != "abs"  # the others may make a real result of a complex operand

    def call(x: Any, /) -> Any:
        if type(x) is not Tensor:
            return apply(op, (x,), NO_PARAMS)
        mode = current_mode()
        backend, array, node = x._backend, x._array, x._node
        function, accepted = implementations[backend]
        if (node is None and array.dtype not in accepted) or not (mode is None or mode.simple):
            return apply(op, (x,), NO_PARAMS)
        try:
            y = function(array)
        except Exception as error:
            explain(error, op, (x,))
            raise
        made = _new(Tensor)
        made._array, made._backend, made._extra = y, backend, None
        if node is None or rule is None or (mode is not None and not mode.grad):
            made._node = None
            if mode is not None and mode.inference:
                made._extra = INFERENCE
            return made
        n = _new(Node)
        n.op, n.edges, n.params = op, (node,), NO_PARAMS  # three at a time: of four and more Python makes a tuple first
        n.backend, n.extra, n.shapes = backend, None, None
        n.kept = (array,) if keep_x else NOTHING
        n.y = y if keep_y else None
        n.shape, n.dtype = node.shape, node.dtype if same_type else y.dtype
        n.serial = next_serial()
        made._node = n
        return made

    return call


def _binary(op: Op) -> Callable[..., Any]:
    """`op` on two tensors, or a tensor and a Python number."""
    implementations = op.implementations
    keeping = [_keeping(op, differentiated) for differentiated in itertools.product((False, True), repeat=2)]

    def call(x1: Any, x2: Any, /) -> Any:
        mode = current_mode()
        if not (mode is None or mode.simple):
            return apply(op, (x1, x2), NO_PARAMS)
        if type(x1) is Tensor:
            backend, a1, node1 = x1._backend, x1._array, x1._node
            function, accepted = implementations[backend]
            dtype = a1.dtype if node1 is None else node1.dtype
            kind = type(x2)
            if kind is Tensor:
                a2, node2 = x2._array, x2._node
                if x2._backend is not backend or (a2.dtype if node2 is None else node2.dtype) is not dtype:
                    return apply(op, (x1, x2), NO_PARAMS)
            elif kind is float or kind is int:
                if dtype not in backend.accepts["floating"]:
                    return apply(op, (x1, x2), NO_PARAMS)
                a2, node2 = x2, None
            else:
                return apply(op, (x1, x2), NO_PARAMS)
        elif type(x2) is Tensor and (type(x1) is float or type(x1) is int):
            backend, a1, node1 = x2._backend, x1, None
            function, accepted = implementations[backend]
            a2, node2 = x2._array, x2._node
            dtype = a2.dtype if node2 is None else node2.dtype
            if dtype not in backend.accepts["floating"]:
                return apply(op, (x1, x2), NO_PARAMS)
        else:
            return apply(op, (x1, x2), NO_PARAMS)
        if dtype not in accepted:
            return apply(op, (x1, x2), NO_PARAMS)
        try:
            y = function(a1, a2)
        except Exception as error:
            explain(error, op, (x1, x2))
            raise
        made = _new(Tensor)
        made._array, made._backend, made._extra = y, backend, None
        if (node1 is None and node2 is None) or (mode is not None and not mode.grad):
            made._node = None
            if mode is not None and mode.inference:
                made._extra = INFERENCE
            return made
        n = _new(Node)
        n.op, n.edges, n.params = op, (node1, node2), NO_PARAMS
        n.backend, n.extra, n.shapes = backend, None, None
        kept, parts = keeping[2 * (node1 is not None) + (node2 is not None)]
        n.kept = (a1 if kept[0] else None, a2 if kept[1] else None) if kept else NOTHING
        n.y = y if parts is None else None
        n.shape, n.dtype = tuple(y.shape), dtype
        n.serial = next_serial()
        made._node = n
        return made

    return call


NO_PARAMS: dict[str, Any] = {}
SEVERAL = (tuple, list)


# ------------------------------------------------------------------------------------------------------ the whole path


def _general(op: Op) -> Callable[..., Any]:
    """`op` with parameters, list operands, optional operands or several results."""
    count, variadic, spread = len(op.operands), op.variadic, op.spread
    positional, preset, required, optional = op.positional, op.preset, op.required, op.optional
    least = count - len(optional)
    known: set[tuple[str, ...]] = set()  # the lists of keywords that calls have given and that fit

    def call(*args: Any, **kwargs: Any) -> Any:
        if spread:
            operands = args
        elif least <= len(args) <= count:
            operands = args if len(args) == count else args + (None,) * (count - len(args))
        else:
            operands, rest = args[:count], args[count:]
            if len(operands) < least or len(rest) > len(positional):
                raise _misuse(op, args, kwargs)
            _name(op, positional, rest, kwargs)
        params = {**preset, **kwargs} if kwargs else preset
        if (names := tuple(kwargs)) not in known:
            fits = params.keys() <= op.defaults.keys()
            if not fits:
                params = _respelled(op, args, kwargs)
            if not params.keys() >= required:
                raise _misuse(op, args, kwargs)
            if fits:
                known.add(names)
        if variadic and not spread:
            operands = tuple(operands[0])
        return apply(op, operands, params)

    return call


def _name(op: Op | CompositeOp, names: tuple[str, ...], values: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Put values that were given by position among the keywords."""
    for name, value in zip(names, values, strict=False):
        if name in kwargs:
            raise TypeError(f"{op.name}() got two values for {name!r}")
        kwargs[name] = value


def _respelled(op: Op, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Parameters with PyTorch's spellings (`dim`, `keepdim`) turned into the standard's."""
    spelled = {op.aliases.get(k, k): v for k, v in kwargs.items()}
    if not spelled.keys() <= op.defaults.keys() or len(spelled) != len(kwargs):
        raise _misuse(op, args, kwargs)
    return {**op.preset, **spelled}


def _misuse(op: Op | CompositeOp, args: tuple[Any, ...], kwargs: dict[str, Any]) -> TypeError:
    given = ", ".join([*(type(a).__name__ for a in args), *(f"{k}=" for k in kwargs)])
    hint = "; give what follows the operands by name" if "axis" in op.signature.parameters and not op.order else ""
    return TypeError(f"{op.name}() was called with ({given}); its signature is {op.name}{op.signature}{hint}")


def apply(op: Op, operands: tuple[Any, ...], params: dict[str, Any]) -> Any:
    """Run an op on tensors, numbers and raw arrays in every mode, and record it.

    Raises:
        TypeError: an operand that is no array, dtypes with no common type or outside the op's category.
        RuntimeError: operands of different backends or devices.
    """
    mode = current_mode()
    if mode is not None and mode.observer is not None:
        operands, params = mode.observer.enter(op, operands, params)
    alike = plain_operands(op, operands)
    if alike is None:
        backend = common_backend(op, operands)
        arrays, edges = gather_operands(op, operands, backend)
        if op.boolean is not None and all(_is_boolean(a, backend) for a in arrays):
            return apply(declared.op(op.boolean), operands, params)
        arrays = promote_operands(op, arrays, backend)
    else:
        backend, arrays, edges = alike
    function = op.implementations[backend][0]
    if op.native:
        params = _native(params, backend)
    try:
        if op.variadic:
            y = function(*arrays, **params) if op.spread else function(arrays, **params)
        else:
            y = function(*arrays, **params)
    except Exception as error:
        explain(error, op, operands)
        raise
    several = isinstance(y, SEVERAL)
    recorded = False
    if mode is None or mode.grad:
        pulls = op.pulls
        if op.variadic:
            recorded = pulls[0] is not None and any([e is not None for e in edges])
        else:
            for i, e in enumerate(edges):
                if e is not None:
                    if pulls[i] is None:
                        edges[i] = None
                    else:
                        recorded = True
        if recorded and not several:  # a cast to integers ends the graph
            recorded = backend.dtypes[y.dtype] in CATEGORIES["floating"]
    if not recorded:
        results: Any = tuple([new_tensor(a, backend) for a in y]) if several else new_tensor(y, backend)
        if mode is not None and mode.inference:
            for made in results if several else (results,):
                made._extra = INFERENCE
    else:
        node = _record(op, backend, edges, arrays, params, y, several)
        if mode is not None and not mode.simple:
            annotate(node, mode)
        results = _wrap_several(node, y, backend) if several else new_tensor(y, backend, node)
    if mode is not None and mode.observer is not None:
        mode.observer.op(op, operands, params, results)
    if several and hasattr(y, "_fields"):
        return type(y)(*results)
    return results


def _is_boolean(value: Any, backend: Backend) -> bool:
    return type(value) is bool or (hasattr(value, "dtype") and backend.dtypes[value.dtype].category == "bool")


NATIVE = frozenset(("dtype", "key", "shape"))


def _native(params: dict[str, Any], backend: Backend) -> dict[str, Any]:
    """Parameters as functions on raw arrays take them: the library's dtype, an index without tensors, a shape as a tuple."""
    if params.get("dtype") is not None:
        params = {**params, "dtype": backend.native(params["dtype"])}
    if "key" in params:
        params = {**params, "key": _raw_key(params["key"])}
    elif type(params.get("shape")) is list:
        params = {**params, "shape": tuple(params["shape"])}
    return params


def _raw_key(key: Any) -> Any:
    """An index with the arrays inside its tensors."""
    if isinstance(key, tuple):
        return tuple([k._array if isinstance(k, Tensor) else k for k in key])
    return key._array if isinstance(key, Tensor) else key


def _record(op: Op, backend: Backend, edges: Any, arrays: Any, params: Any, y: Any, several: bool) -> Node:
    n = _new(Node)
    n.op, n.edges, n.params, n.backend, n.extra = op, tuple(edges), params, backend, None
    if op.variadic:
        n.kept = (list(arrays),) if op.keeps[0] else NOTHING
        parts = op.keeps_parts[0] if op.keeps_y[0] else NOTHING
        n.shapes = ([tuple(a.shape) for a in arrays],)
    else:
        differentiated = tuple([e is not None for e in edges])
        kept, parts = op.keeping.get(differentiated) or _keeping(op, differentiated)
        n.kept = tuple([a if kept[i] else None for i, a in enumerate(arrays)]) if kept else NOTHING
        n.shapes = tuple([tuple(getattr(a, "shape", ())) for a in arrays]) if op.keeps_shapes else None
    n.y = y if parts is None else tuple([a if i in parts else None for i, a in enumerate(y)]) if parts else None
    n.shape = [tuple(a.shape) for a in y] if several else tuple(y.shape)
    n.dtype = [a.dtype for a in y] if several else y.dtype
    n.serial = next_serial()
    return n


def _keeping(op: Op, differentiated: tuple[bool, ...]) -> tuple[list[bool], Any]:
    """What a node keeps when these operands are differentiated: which operands ([] for none) and parts of the result (None for all)."""
    here = [i for i, d in enumerate(differentiated) if d]
    needed = frozenset().union(*(op.keeps[i] for i in here))
    wanted: list[Any] = [op.keeps_parts[i] for i in here if op.keeps_y[i]]
    parts = None if any(w is None for w in wanted) else frozenset().union(*wanted)
    op.keeping[differentiated] = found = [i in needed for i in range(len(differentiated))] if needed else [], parts
    return found


def _wrap_several(node: Node, y: Any, backend: Backend) -> tuple[Tensor, ...]:
    inexact = CATEGORIES["floating"]
    return tuple(
        [
            new_tensor(a, backend, Pick(node, i, a) if backend.dtypes[a.dtype] in inexact else None)
            for i, a in enumerate(y)
        ]
    )


def explain(error: Exception, op: Op, operands: tuple[Any, ...]) -> None:
    """Note on a library's error which op met which operands; a mix of devices raises its own RuntimeError."""
    tensors = [x for x in operands if isinstance(x, Tensor)]
    devices = {str(x.device) for x in tensors}
    if len(devices) > 1:
        raise RuntimeError(
            f"{op.name}: expected all tensors to be on the same device, found {' and '.join(sorted(devices))}; "
            "move one of them with x.to(device=...)"
        ) from error
    shown = ", ".join(f"{x.dtype.name}{list(x.shape)}" if isinstance(x, Tensor) else repr(x)[:40] for x in operands)
    note = f"in polygrad.{op.name}({shown})"
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)


# ---------------------------------------------------------------------------------------------------------- declaration


def _declare(kind: str, dtypes: str, keywords: dict[str, Any]) -> Callable[..., Any]:
    rules, options = split_options(keywords)

    def decorate(function: Callable[..., Any]) -> Any:
        op = Op(function, kind, rules, dtypes, options)
        declared.add_op(op)
        assign(functions, op.name, op.call)
        return op.call

    return decorate


def pointwise(*, dtypes: str = "floating", **keywords: Any) -> Callable[..., Any]:
    """Declare an op that works element by element.

    A rule is the partial derivative with respect to that operand: a number, or a function of what it needs. A rule that
    asks for `g` is the diagonal map itself, applied to cotangents and tangents alike.

    Args:
        dtypes: the category of data types; integers given to a floating op become the default float.
        keywords: a rule per operand; `domain`, `cases`, `promote` (operands that share a dtype), `boolean` (the op that
            stands for it among booleans, where the standard has none), `materialize` (False where a rule takes None for a
            missing cotangent), `node` (PyTorch's name for the node), `name`
            (where it differs from the function's), `aliases` (PyTorch's spelling -> the standard's, beside `dim` and
            `keepdim`) and `order` (the keyword-only parameters that PyTorch takes by position too, in its order: `axis` and
            `keepdims` by default, () where its function of that name means another thing).
    """
    return _declare("pointwise", dtypes, keywords)


def linear(*, dtypes: str = "numeric", **keywords: Any) -> Callable[..., Any]:
    """Declare an op that is linear in each named operand; a rule is the transpose. The other arguments are `pointwise`'s."""
    return _declare("linear", dtypes, keywords)


def general(*, dtypes: str = "floating", **keywords: Any) -> Callable[..., Any]:
    """Declare an op by a pair (pull, push) per operand. The other arguments are `pointwise`'s."""
    return _declare("general", dtypes, keywords)


def discrete(*, dtypes: str = "any", **keywords: Any) -> Callable[..., Any]:
    """Declare an op whose result carries no derivative. The arguments are `pointwise`'s, without rules."""
    return _declare("discrete", dtypes, keywords)


class CompositeOp(Declaration):
    """What the registry holds of a composite: a name, a body, and no rule."""

    pulls: tuple[Any, ...] = ()
    kind = "composite"

    def __init__(self, body: Callable[..., Any], options: dict[str, Any]):
        heading = Heading(body)
        super().__init__(body, heading, options.get("dtypes", "floating"), options)
        self.body: Callable[..., Any] | None = body
        self.is_library = bool(options.get("library"))  # the library's function of that name is the same function
        self.count = len(heading.operands) + len(heading.either)
        self.spread = bool(heading.spread)
        self.call = self.dress(self._make_call())
        self.call.op = self  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"<composite {self.name}{self.signature}>"

    def _make_call(self) -> Callable[..., Any]:
        body, aliases, name = self.body, self.aliases, self.name
        order, most = self.order, None if self.spread else self.count
        assert body is not None

        def call(*args: Any, **kwargs: Any) -> Any:
            if most is not None and len(args) > most:
                if len(args) > most + len(order):
                    raise _misuse(self, args, kwargs)
                _name(self, order, args[most:], kwargs)
                args = args[:most]
            for alias in aliases:
                if alias in kwargs:
                    if aliases[alias] in kwargs:
                        raise TypeError(f"{name}() got both {alias!r} and {aliases[alias]!r}")
                    kwargs[aliases[alias]] = kwargs.pop(alias)
            backend = _first_backend((*args, *kwargs.values()))
            return body(backend.tensors, *[_lift(a, backend) for a in args], **kwargs)

        return call


def _first_backend(args: tuple[Any, ...]) -> Backend:
    for a in args:
        if isinstance(a, Tensor):
            return a._backend
        if isinstance(a, tuple | list):
            for b in a:
                if isinstance(b, Tensor):
                    return b._backend
    for a in args:
        if not isinstance(a, numbers.Number | tuple | list | str | None) and (home := backend_of(a)) is not None:
            return home
    return get_backend()


def _lift(value: Any, backend: Backend) -> Any:
    """A raw array as a constant Tensor; anything else as it is."""
    if isinstance(value, Tensor | numbers.Number | str | tuple | list | None) or backend_of(value) is None:
        return value
    return new_tensor(backend.asarray(value), backend)


def composite(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Declare a plain function of ops: its first parameter is `xp`, its derivative is that of its parts."""

    def decorate(body: Callable[..., Any]) -> Any:
        op = CompositeOp(body, options)
        declared.add_op(op)
        assign(functions, op.name, op.call)
        return op.call

    return decorate if function is None else decorate(function)


def alias(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Give an op's function a second name (`linalg.matmul`) in both namespaces of every backend; returns the function."""
    declared.add_alias(name, function.op.name)  # type: ignore[attr-defined]
    assign(functions, name, function)
    return function


def creation(function: Callable[..., Any] | None = None, *, name: str = "") -> Any:
    """Declare a function that makes tensors: its first parameter is the Backend.

    The public function serves the default backend; every backend's namespace gets it bound to that backend, under
    `name` (which may have a dot) where that differs from the function's.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        def bound(backend: Backend, *args: Any, **kwargs: Any) -> Any:
            if isinstance(kwargs.get("device"), str):
                kwargs["device"] = backend.place(kwargs["device"])
            return function(backend, *args, **kwargs)

        def call(*args: Any, **kwargs: Any) -> Any:
            return bound(get_backend(), *args, **kwargs)

        Made(function).dress(call).on = function
        declared.add_creation(name or function.__name__, bound)
        assign(functions, name or function.__name__, call)
        return call

    return decorate if function is None else decorate(function)


def method(function: Callable[..., Any]) -> Any:
    """Put a function where Tensor's methods find it."""
    assign(functions, function.__name__, function)
    return function


def polyfill(name: str) -> Callable[..., Any]:
    """Declare a body to stand in where a library lacks the function of that name."""

    def decorate(body: Callable[..., Any]) -> Callable[..., Any]:
        declared.polyfills[name] = body
        return body

    return decorate


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.replace(".", "_").split("_"))
