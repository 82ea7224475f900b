"""Samples put together to a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from polygrad.core import Tensor, as_dtype, backend_of
from polygrad.ops.creation import tensor
from polygrad.ops.shapes import stack

__all__ = ["default_collate", "default_convert", "map_nest"]


def map_nest(function: Callable[[Any], Any], value: Any) -> Any:
    """A nest of lists, tuples and dicts with `function` applied to what is none of them."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_nest(function, v) for v in value))
    if isinstance(value, list | tuple):
        return type(value)(map_nest(function, v) for v in value)
    if isinstance(value, Mapping):
        return {key: map_nest(function, v) for key, v in value.items()}
    return function(value)


def default_convert(data: Any) -> Any:
    """The sample with arrays turned into tensors; for a loader without batches."""
    return map_nest(lambda v: v if isinstance(v, Tensor) or backend_of(v) is None else tensor(v), data)


def default_collate(batch: Sequence[Any]) -> Any:
    """A list of samples as one batch.

    Tensors, arrays and numbers get a first axis (floats become float64, integers int64); tuples and lists become lists, dicts
    stay dicts, of what their elements become; strings stay a list.

    Raises:
        RuntimeError: sequences, or tensors, of different sizes.
        TypeError: samples of another type.
    """
    first = batch[0]
    if isinstance(first, Tensor):
        if any(x.shape != first.shape for x in batch):
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {sorted({tuple(x.shape) for x in batch})}"
            )
        return stack(list(batch))
    if isinstance(first, bool):
        return tensor(list(batch))
    if isinstance(first, int | float):
        return tensor(list(batch), dtype=as_dtype("int64" if isinstance(first, int) else "float64"))
    if isinstance(first, str | bytes):
        return list(batch)
    if backend_of(first) is not None:
        return default_collate([tensor(x) for x in batch])
    if isinstance(first, Mapping):
        return {key: default_collate([sample[key] for sample in batch]) for key in first}
    if isinstance(first, list | tuple):
        if any(len(sample) != len(first) for sample in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        parts = [default_collate(list(values)) for values in zip(*batch, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else parts
    raise TypeError(
        f"default_collate: batch must contain tensors, arrays, numbers, dicts or lists; found {type(first).__name__}"
    )
