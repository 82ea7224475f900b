"""JAX: XLA on CPU, GPU and TPU."""

from typing import Any

import jax
import jax.numpy as xp

from polygrad.core import Backend
from polygrad_jax import functions, random, windows
from polygrad_jax.compiler import XLA, device
from polygrad_jax.creation import CREATION
from polygrad_jax.programs import PROGRAMS

__all__ = ["backend"]

# float64 and int64 exist only with this switch, and it must be set before the first array is made. polygrad names the
# dtype of everything it creates, so float32 stays the default.
jax.config.update("jax_enable_x64", True)


def at_set(x: Any, value: Any, /, *, key: Any) -> Any:
    """A copy of x with x[key] = value."""
    return x.at[key].set(value)


def at_add(x: Any, value: Any, /, *, key: Any) -> Any:
    """A copy of x with x[key] += value, repeated indices adding up."""
    return x.at[key].add(value)


def cumulative_prod(x: Any, /, *, axis: Any = None, dtype: Any = None, include_initial: bool = False) -> Any:
    """Running products, of small integers in 64 bits as the standard has it."""
    if dtype is None and x.dtype.kind in "iu":
        dtype = xp.int64 if x.dtype.kind == "i" else xp.uint64
    return xp.cumulative_prod(x, axis=axis, dtype=dtype, include_initial=include_initial)


def searchsorted(x1: Any, x2: Any, /, *, side: str = "left", sorter: Any = None) -> Any:
    """Where each element of x2 belongs in x1, in the data type that all other indices have."""
    return xp.searchsorted(x1, x2, side=side, sorter=sorter).astype(xp.int64)


def getitem(x: Any, /, *, key: Any) -> Any:
    """x[key], negative steps included."""
    return x[key]


def devices() -> list[Any]:
    """Every device that XLA sees."""
    return jax.devices()


def info() -> dict[str, Any]:
    """Versions and devices, for `polygrad.show_config`."""
    return {"jax": jax.__version__, "platform": jax.default_backend(), "devices": [str(d) for d in jax.devices()]}


backend = Backend(
    "jax",
    xp,
    devices=devices,
    compiler=XLA(),
    device=device,
    synchronize=jax.block_until_ready,
    info=info,
    at_set=at_set,
    at_add=at_add,
    getitem=getitem,
    cumulative_prod=cumulative_prod,
    searchsorted=searchsorted,
    conv=windows.conv,
    conv_input=windows.conv_input,
    conv_weight=windows.conv_weight,
    max_pool=windows.max_pool,
    pad_constant=windows.pad_constant,
    **{name: getattr(random, name) for name in random.__all__},
    **functions.FAST,
    **PROGRAMS,
    **CREATION,
)
