"""Gradients: PyTorch's `torch.autograd` over any backend."""

from typing import TYPE_CHECKING

from polygrad.autograd.gradients import backward, grad
from polygrad.autograd.hooks import register_multi_grad_hook
from polygrad.autograd.modes import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from polygrad.core import Tensor
from polygrad.core.later import later
from polygrad.core.op import creation

if TYPE_CHECKING:
    from polygrad.autograd import function, functional, graph
    from polygrad.autograd.anomaly import detect_anomaly, is_anomaly_enabled, set_detect_anomaly
    from polygrad.autograd.checks import GradcheckError, gradcheck, gradgradcheck
    from polygrad.autograd.function import Function
    from polygrad.autograd.leaks import audit
    from polygrad.autograd.recompute import checkpoint, checkpoint_sequential
    from polygrad.autograd.rules import custom_jvp, custom_vjp

__all__ = [
    "Function",
    "GradcheckError",
    "Variable",
    "audit",
    "backward",
    "checkpoint",
    "checkpoint_sequential",
    "custom_jvp",
    "custom_vjp",
    "detect_anomaly",
    "enable_grad",
    "function",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "inference_mode",
    "is_anomaly_enabled",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "no_grad",
    "register_multi_grad_hook",
    "set_detect_anomaly",
    "set_grad_enabled",
]

_LATER = {
    "Function": "function",
    "function": "function",
    "functional": "functional",
    "graph": "graph",
    "audit": "leaks",
}
_LATER |= dict.fromkeys(("detect_anomaly", "is_anomaly_enabled", "set_detect_anomaly"), "anomaly")
_LATER |= dict.fromkeys(("GradcheckError", "gradcheck", "gradgradcheck"), "checks")
_LATER |= dict.fromkeys(("checkpoint", "checkpoint_sequential"), "recompute")
_LATER |= dict.fromkeys(("custom_jvp", "custom_vjp"), "rules")
__getattr__, __dir__ = later(globals(), _LATER)


@creation
def Variable(backend, data, requires_grad=False, volatile=False):
    """PyTorch's old name for a tensor that may require grad. `data` is what `tensor` takes; `volatile` has no effect."""
    made = data.detach() if isinstance(data, Tensor) else backend.tensors.tensor(data)
    if requires_grad:
        made.requires_grad = True
    return made
