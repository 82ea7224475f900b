"""Convolution and its transposes by whoever has a plan for them: cuDNN's functions, else its graphs.

float16 and bfloat16 are multiplied by tensor cores and summed in float32. float32 stays float32 unless CUPY_TF32=1 (CuPy's own
switch) lets tensor cores round it to TF32. Only deterministic algorithms are taken, and none that wants more workspace than
POLYGRAD_CUDNN_WORKSPACE bytes (1 GiB by default), which comes from the memory pool and goes back after the call.
"""

from typing import Any

from polygrad_cupy import cudnn_conv, cudnn_frontend
from polygrad_cupy.cudnn_descriptors import channels_last, floats, new, ordered
from polygrad_cupy.geometry import Case, counts
from polygrad_cupy.runtime import current

__all__ = ["conv", "conv_input", "conv_weight"]

# Each has `plan(case, dtype, last)`: a callable on the two operands and the result, C-contiguous or with `last` channels-last, that
# returns False where it cannot be done after all; None where there is no plan. They are asked in this order.
PROVIDERS = (cudnn_conv, cudnn_frontend)


def _run(case: Case, *operands: Any) -> Any:
    """The result of the first provider that has a plan, without copies of channels-last images where there is one."""
    dtype = operands[0].dtype
    shapes = case.x, case.w, case.y
    if (
        not 3 <= len(case.x) == len(case.w) <= 5
        or min(*case.x, *case.w, *case.y) < 1
        or case.groups < 1
        or case.w[0] % case.groups
        or case.w[1] * case.groups != case.x[1]
    ):
        return NotImplemented
    images = [a for a, role in zip(operands, case.roles, strict=False) if role != "w"]
    result_shape = shapes["xwy".index(case.roles[2])]
    for last in (True, False) if any(channels_last(image, 4, 5) for image in images) else (False,):
        given = None
        for provider in PROVIDERS:
            run = provider.plan(case, dtype.name, last)
            if run is None:
                continue
            if given is None:
                given = *(ordered(a, last) for a in operands), new(result_shape, dtype, last)
            if run(*given):
                return current().contiguous(given[2]) if case.kind == "conv_weight" else given[2]
    return NotImplemented


def _pairs(padding: Any) -> tuple[Any, ...]:
    return tuple([(lo, hi) for lo, hi in padding])


def conv(x: Any, w: Any, /, *, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """The op `conv`; the result's memory is channels-last if that of x is."""
    if not floats(x, w):
        return NotImplemented
    out = counts(x.shape[2:], w.shape[2:], stride, padding, dilation)
    if out is None:
        return NotImplemented
    y_shape = (x.shape[0], w.shape[0], *out)
    return _run(Case("conv", x.shape, w.shape, y_shape, tuple(stride), _pairs(padding), tuple(dilation), groups), x, w)


def conv_input(z: Any, w: Any, /, *, shape: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """The op `conv_input`; the result's memory is channels-last if that of z is."""
    if not floats(z, w) or counts(shape, w.shape[2:], stride, padding, dilation) != z.shape[2:]:
        return NotImplemented
    if z.shape[1] != w.shape[0]:
        return NotImplemented
    x_shape = (z.shape[0], w.shape[1] * groups, *shape)
    steps = tuple(stride), _pairs(padding), tuple(dilation), groups
    return _run(Case("conv_input", x_shape, w.shape, z.shape, *steps), z, w)


def conv_weight(x: Any, z: Any, /, *, shape: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """The op `conv_weight`; the result is C-contiguous."""
    if not floats(x, z) or counts(x.shape[2:], shape, stride, padding, dilation) != z.shape[2:]:
        return NotImplemented
    if x.shape[0] != z.shape[0] or groups < 1 or x.shape[1] % groups:
        return NotImplemented
    w_shape = (z.shape[1], x.shape[1] // groups, *shape)
    steps = tuple(stride), _pairs(padding), tuple(dilation), groups
    return _run(Case("conv_weight", x.shape, w_shape, z.shape, *steps), x, z)
