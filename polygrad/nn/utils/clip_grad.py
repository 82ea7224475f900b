"""Gradients limited in size before a step."""

from __future__ import annotations

from typing import Any

from polygrad.autograd.modes import no_grad
from polygrad.core import Tensor
from polygrad.core.tensor import has_values
from polygrad.ops.creation import tensor
from polygrad.ops.elementwise import clip, isfinite
from polygrad.ops.linalg import vector_norm
from polygrad.ops.shapes import stack

__all__ = ["clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]


def _listed(tensors: Any) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def get_total_norm(
    tensors: Any, norm_type: float = 2.0, error_if_nonfinite: bool = False, foreach: bool | None = None
) -> Tensor:
    """The norm of all tensors, as if they were one vector.

    Args:
        tensors: one or several.
        norm_type: the order, any number; inf for the largest element.
        error_if_nonfinite: raise RuntimeError for a norm that is infinite or no number (in eager code).
        foreach: has no effect.
    """
    with no_grad():
        given = _listed(tensors)
        if not given:
            return tensor(0.0)
        norms = [vector_norm(x.detach(), ord=norm_type) for x in given]
        first = norms[0]
        total = vector_norm(stack([n.to(first.dtype) for n in norms]), ord=norm_type)
        if error_if_nonfinite and has_values() and not isfinite(total):
            raise RuntimeError(
                f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot be clipped. To "
                "disable this error and scale the gradients by the non-finite norm anyway, set `error_if_nonfinite=False`"
            )
        return total


def clip_grads_with_norm_(parameters: Any, max_norm: float, total_norm: Tensor, foreach: bool | None = None) -> None:
    """Scale the gradients of parameters by `max_norm` over their norm, where it is larger; `foreach` has no effect."""
    with no_grad():
        factor = clip(float(max_norm) / (total_norm + 1e-6), max=1.0)
        for p in _listed(parameters):
            if p.grad is not None:
                p.grad = p.grad.detach() * factor.to(p.grad.dtype)


def clip_grad_norm_(
    parameters: Any,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale the gradients of parameters down to a norm of at most `max_norm`, all together (Pascanu et al., 2013).

    Args:
        parameters: one or several tensors.
        max_norm: the largest norm.
        norm_type: its order, any number; inf for the largest element.
        error_if_nonfinite: raise RuntimeError for a norm that is infinite or no number (in eager code).
        foreach: has no effect.

    Returns:
        The norm before.
    """
    given = _listed(parameters)
    total = get_total_norm([p.grad for p in given if p.grad is not None], norm_type, error_if_nonfinite)
    clip_grads_with_norm_(given, max_norm, total)
    return total


def clip_grad_value_(parameters: Any, clip_value: float, foreach: bool | None = None) -> None:
    """Limit every element of the gradients of parameters to [-clip_value, clip_value]; `foreach` has no effect."""
    bound = float(clip_value)
    with no_grad():
        for p in _listed(parameters):
            if p.grad is not None:
                p.grad = clip(p.grad.detach(), -bound, bound)
