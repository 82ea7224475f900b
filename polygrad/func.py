"""Derivatives of functions under the names and with the signatures of PyTorch's `torch.func`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from polygrad.autograd import verbs
from polygrad.autograd.verbs import grad_and_value, hessian, jvp, linearize, vjp
from polygrad.nn.utils.stateless import functional_call

__all__ = ["functional_call", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize", "vjp"]


def grad(func: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that gives the gradient of `func`; see `polygrad.value_and_grad`."""
    return verbs.grad(func, argnums, has_aux)


def jacrev(
    func: Callable[..., Any],
    argnums: int | tuple[int, ...] = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
    _preallocate_and_copy: bool = False,
) -> Callable[..., Any]:
    """A function that gives the Jacobian of `func` by reverse mode; see `polygrad.jacrev`."""
    return verbs.jacrev(func, argnums, has_aux=has_aux, chunk_size=chunk_size)


def jacfwd(
    func: Callable[..., Any],
    argnums: int | tuple[int, ...] = 0,
    has_aux: bool = False,
    *,
    randomness: str = "error",
) -> Callable[..., Any]:
    """A function that gives the Jacobian of `func` by forward mode; see `polygrad.jacfwd`."""
    return verbs.jacfwd(func, argnums, has_aux, randomness=randomness)
