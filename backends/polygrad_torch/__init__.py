"""PyTorch: its kernels without its autograd."""

from typing import Any

import array_api_compat.torch as xp
import torch

from polygrad.core import Backend
from polygrad_torch import functions, random, windows

__all__ = ["backend"]


def to_numpy(array: torch.Tensor) -> Any:
    """The values as an ndarray on the host (bfloat16, which NumPy lacks, as float32)."""
    array = array.detach().resolve_conj().resolve_neg().cpu()
    return (array.float() if array.dtype is torch.bfloat16 else array).numpy()


def getitem(x: torch.Tensor, /, *, key: Any) -> Any:
    """x[key]; declines negative steps, which torch's keys lack."""
    return NotImplemented if _turns(key) else x[key]


def at_set(x: torch.Tensor, value: Any, /, *, key: Any) -> Any:
    """A copy of x with x[key] = value; declines negative steps, which torch's keys lack."""
    if _turns(key):
        return NotImplemented
    y = x.clone()
    y[key] = value
    return y


def at_add(x: torch.Tensor, value: Any, /, *, key: Any) -> Any:
    """A copy of x with x[key] += value, repeated indices adding up."""
    if _turns(key):
        return NotImplemented
    parts = key if isinstance(key, tuple) else (key,)
    y = x.clone()
    if not any(isinstance(k, torch.Tensor) for k in parts):
        y[key] += value
        return y
    if all(isinstance(k, torch.Tensor) for k in parts):
        return y.index_put_(parts, torch.as_tensor(value, dtype=x.dtype, device=x.device), accumulate=True)
    places = torch.arange(x.numel(), device=x.device).reshape(x.shape)[key]
    added = torch.as_tensor(value, dtype=x.dtype, device=x.device).expand(places.shape)
    return y.reshape(-1).index_add_(0, places.reshape(-1), added.reshape(-1)).reshape(x.shape)


def _turns(key: Any) -> bool:
    parts = key if isinstance(key, tuple) else (key,)
    return any(isinstance(k, slice) and k.step is not None and k.step < 0 for k in parts)


def devices() -> list[torch.device]:
    """The processor, and every CUDA device that is here."""
    return [torch.device("cpu"), *(torch.device("cuda", i) for i in range(torch.cuda.device_count()))]


def synchronize(array: torch.Tensor) -> torch.Tensor:
    """Wait for an array on a GPU."""
    if array.is_cuda:
        torch.cuda.synchronize(array.device)
    return array


def info() -> dict[str, Any]:
    """Versions, threads and devices, for `polygrad.show_config`."""
    return {"torch": torch.__version__, "threads": torch.get_num_threads(), "devices": [str(d) for d in devices()]}


backend = Backend(
    "torch",
    xp,
    to_numpy=to_numpy,
    devices=devices,
    synchronize=synchronize,
    info=info,
    getitem=getitem,
    at_set=at_set,
    at_add=at_add,
    conv=windows.conv,
    conv_input=windows.conv_input,
    conv_weight=windows.conv_weight,
    unfold=windows.unfold,
    fold=windows.fold,
    pad_constant=windows.pad_constant,
    max_pool=windows.max_pool,
    max_unpool=windows.max_unpool,
    avg_pool=windows.avg_pool,
    avg_unpool=windows.avg_unpool,
    **{name: getattr(random, name) for name in random.__all__},
    **functions.FAST,
)
