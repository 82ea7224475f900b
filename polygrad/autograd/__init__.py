"""Gradients: PyTorch's `torch.autograd` over any backend."""

from polygrad.autograd import functional, graph
from polygrad.autograd.anomaly import detect_anomaly, is_anomaly_enabled, set_detect_anomaly
from polygrad.autograd.audit import audit
from polygrad.autograd.checkpoint import checkpoint, checkpoint_sequential
from polygrad.autograd.checks import GradcheckError, gradcheck, gradgradcheck
from polygrad.autograd.function import Function
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
from polygrad.autograd.rules import custom_jvp, custom_vjp
from polygrad.core import Tensor
from polygrad.core.op import creation

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


@creation
def Variable(backend, data, requires_grad=False, volatile=False):
    """PyTorch's old name for a tensor that may require grad. `data` is what `tensor` takes; `volatile` has no effect."""
    made = data.detach() if isinstance(data, Tensor) else backend.tensors.tensor(data)
    if requires_grad:
        made.requires_grad = True
    return made
