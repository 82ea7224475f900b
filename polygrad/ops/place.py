"""Where a tensor lives: its device, its data type and its backend, changed differentiably."""

from __future__ import annotations

from typing import Any

from polygrad.core import Backend, DType, Tensor, as_dtype, general, get_backend, method
from polygrad.core.backend import compat
from polygrad.core.device import Device, device_named


@general(
    x=(lambda xp, g, x: xp.to_device(g, device=xp.device(x)), lambda xp, t, device: xp.to_device(t, device=device)),
    dtypes="any",
    promote=(),
    cases=[((3, 4),)],
)
def to_device(xp, x, /, *, device):
    """x on another device of its library; the gradient comes back to where x is."""
    return compat().to_device(x, device)


@method
def to(x: Tensor, *args: Any, dtype: Any = None, device: Any = None, copy: bool = False) -> Tensor:
    """x in another dtype, on another device or backend, or as another tensor is, in PyTorch's call forms.

    Raises TypeError for an argument that is none of these.
    """
    backend: Backend | None = None
    for a in args:
        if isinstance(a, Tensor):
            dtype, backend, device = a.dtype, a._backend, a.device
        elif isinstance(a, DType) or a in (bool, int, float, complex):
            dtype = a
        elif isinstance(a, Backend):
            backend = a
        elif isinstance(a, bool):
            copy = a
        elif isinstance(a, str):
            dtype, backend, device = _named(a, x, dtype, backend, device)
        else:
            device = a
    if backend is not None and backend is not x._backend:
        x = _across(x, backend)
    device = x._backend.place(device)
    if device is not None and not _same_device(x.device, device):
        x = to_device(x, device=device)
    if dtype is not None and as_dtype(dtype) is not x.dtype:
        return x._backend.tensors.astype(x, as_dtype(dtype))
    return x._backend.tensors.clone(x) if copy else x


def _named(name: str, x: Tensor, dtype: Any, backend: Backend | None, device: Any) -> tuple[Any, Backend | None, Any]:
    """What a string names: a data type, a device of the tensor's backend, or a backend."""
    try:
        return as_dtype(name), backend, device
    except TypeError:
        pass
    home = backend or x._backend
    found = device_named(name, home.devices())
    if found is not None:
        return dtype, backend, found
    if Device(name).type in ("cpu", "cuda", "gpu", "mps", "tpu", "xpu", "meta"):
        home.place(name)  # raises the error that lists its devices
    return dtype, get_backend(name), device


def _same_device(a: Any, b: Any) -> bool:
    return a == b or str(a) == str(b)


def _across(x: Tensor, backend: Backend) -> Tensor:
    """x on another backend; RuntimeError while it requires grad, since one graph stays on one backend."""
    if x._node is not None:
        raise RuntimeError(
            f"a tensor that requires grad cannot move from backend {x.backend!r} to {backend.name!r}: its graph stays where it is. "
            "Use tensor.detach() first."
        )
    return backend.tensors.tensor(x)


@method
def to_host(x: Tensor) -> Tensor:
    """x on the host's device of its backend."""
    host = device_named("cpu", x._backend.devices())
    return x if host is None or _same_device(x.device, host) else to_device(x, device=host)
