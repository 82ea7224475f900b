"""What ops, composites and creation functions share: a name, a sentence, a signature, and the function that people call.

A declaration is read off its function's code, as far as calls need it: polygrad makes 450 of them when it is imported, and
`inspect.signature` would take half of that time. The signature that people see is made when somebody looks at it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cached_property
from typing import Any

from polygrad.core.cases import Case

__all__ = ["ALIASES", "Declaration", "Heading", "Made", "split_options"]

ALIASES = {"dim": "axis", "keepdim": "keepdims"}  # PyTorch's spelling -> the standard's
OPTIONS = ("domain", "cases", "node", "name", "promote", "boolean", "order", "aliases", "materialize")


def split_options(keywords: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A declaration's keywords in two: the rules by operand, and the options."""
    options = {key: keywords[key] for key in OPTIONS if key in keywords}
    return {key: value for key, value in keywords.items() if key not in options} if options else keywords, options


class Heading:
    """The parameters of a plain function, by what they may be given as.

    Attributes:
        xp: whether a namespace comes first; it is not among the others.
        operands: those that go by position only.
        either: those that go by position or by name.
        spread: the name of `*args`, "" where there is none.
        named: those that go by name only.
        defaults: of those that have one.
    """

    __slots__ = ("xp", "operands", "either", "spread", "named", "defaults")

    def __init__(self, function: Callable[..., Any]):
        while hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        code = function.__code__
        names, count = code.co_varnames, code.co_argcount
        named = count + code.co_kwonlyargcount
        values = function.__defaults__ or ()
        self.defaults: dict[str, Any] = dict(zip(names[count - len(values) : count], values, strict=True))
        self.defaults.update(function.__kwdefaults__ or ())
        self.xp = count > 0 and names[0] == "xp"
        only = max(code.co_posonlyargcount, self.xp)
        self.operands, self.either, self.named = names[self.xp : only], names[only:count], names[count:named]
        self.spread = names[named] if code.co_flags & inspect.CO_VARARGS else ""


class _OfInstances(cached_property):
    """An attribute of instances, made when it is asked for; None of the class, whose own signature is its constructor's."""

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return None if instance is None else super().__get__(instance, owner)


class Made:
    """Behind a function that was made of a declared one: the declared one (`__wrapped__`), and the signature for people."""

    def __init__(self, function: Callable[..., Any], aliases: dict[str, str] | None = None):
        self.__wrapped__ = function
        self.aliases = aliases or {}

    def dress(self, call: Any) -> Any:
        """`call` with the declared function's name and sentence, and this object for who looks for more; returns `call`."""
        function: Any = self.__wrapped__
        call.__module__, call.__name__, call.__qualname__ = (
            function.__module__,
            function.__name__,
            function.__qualname__,
        )
        call.__doc__, call.__wrapped__ = function.__doc__, self
        return call

    @_OfInstances
    def __signature__(self) -> inspect.Signature:
        """The declared signature without its leading `xp` or `backend`, PyTorch's spellings last and keyword-only."""
        signature = inspect.signature(self.__wrapped__)
        parameters = [p for i, p in enumerate(signature.parameters.values()) if i or p.name not in ("xp", "backend")]
        extra = [inspect.Parameter(alias, inspect.Parameter.KEYWORD_ONLY, default=None) for alias in self.aliases]
        return signature.replace(parameters=[*parameters, *extra])


class Declaration(Made):
    """What ops and composites have in common.

    Attributes:
        name: the standard's name, with a dot for extensions (`linalg.inv`).
        doc: its sentence.
        dtypes: the category of data types the operands may have.
        domain, cases: where and how conformance tests it.
        aliases: PyTorch's spellings of parameters -> the standard's.
        order: the keyword-only parameters that may be given by position too, as PyTorch's users write them.
        call: the function on tensors.
    """

    call: Callable[..., Any]

    def __init__(self, function: Callable[..., Any], heading: Heading, dtypes: str, options: dict[str, Any]):
        parameters = heading.either + heading.named
        aliases = {a: name for a, name in ALIASES.items() if name in parameters and a not in parameters}
        if "aliases" in options:
            aliases |= options["aliases"]
        super().__init__(function, aliases)
        self.name: str = options.get("name") or function.__name__
        self.doc, self.dtypes, self.domain = function.__doc__ or "", dtypes, options.get("domain")
        order = options.get("order")
        self.order: tuple[str, ...] = (
            tuple([name for name in ("axis", "keepdims") if name in heading.named]) if order is None else order
        )
        self._cases = options.get("cases", ())

    @cached_property
    def cases(self) -> list[Case]:
        """The declared examples."""
        return [c if isinstance(c, Case) else Case(tuple(c), {}) for c in self._cases]

    @property
    def signature(self) -> inspect.Signature:
        """The signature of `call`."""
        return self.__signature__
