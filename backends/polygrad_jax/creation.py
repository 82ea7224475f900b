"""Constant arrays made on the host: in eager code XLA would compile a program for each new shape."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from polygrad.core.tensor import current_mode

__all__ = ["CREATION"]


def _capturing() -> bool:
    """True while a function is captured: what is filled there belongs into the program."""
    mode = current_mode()
    return mode is not None and mode.observer is not None


def full(shape: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Any:
    """One number everywhere."""
    if dtype is None or type(fill_value) not in (bool, int, float) or _capturing():
        return jnp.full(shape, fill_value, dtype=dtype, device=device)
    try:
        # One number with strides of zero: where somebody else traces, it is lowered as that, not as a large constant.
        return jax.device_put(np.broadcast_to(np.asarray(fill_value, jnp.dtype(dtype)), shape), device)
    except (TypeError, ValueError, OverflowError):  # what the number does not fit is the library's to say
        return jnp.full(shape, fill_value, dtype=dtype, device=device)


def full_like(x: Any, /, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Any:
    """One number everywhere, in the shape, dtype and place of x."""
    if isinstance(x, jax.core.Tracer) or not isinstance(x, jax.Array):
        return jnp.full_like(x, fill_value, dtype=dtype, device=device)
    place = x.sharding if device is None and x.committed else device
    return full(x.shape, fill_value, dtype=x.dtype if dtype is None else dtype, device=place)


def _constant(value: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def of_shape(shape: Any, *, dtype: Any = None, device: Any = None) -> Any:
        return full(shape, value, dtype=jnp.float64 if dtype is None else dtype, device=device)

    def like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Any:
        return full_like(x, value, dtype=dtype, device=device)

    return of_shape, like


zeros, zeros_like = _constant(0)
ones, ones_like = _constant(1)
CREATION = {
    "zeros": zeros,
    "zeros_like": zeros_like,
    "ones": ones,
    "ones_like": ones_like,
    "empty": zeros,
    "empty_like": zeros_like,
    "full": full,
    "full_like": full_like,
}
