"""What an op, a library, a tensor and a walk is. Knows no op and no library by name."""

from polygrad.core.backend import (
    Backend,
    BackendNotAvailable,
    available_backends,
    backend_of,
    get_backend,
    set_backend,
    use_backend,
)
from polygrad.core.cases import ascending, bools, case, hermitian, ints, separated
from polygrad.core.dtype import DType, as_dtype, get_default_dtype, set_default_dtype
from polygrad.core.inplace import inplace, overwrite
from polygrad.core.op import (
    alias,
    composite,
    creation,
    discrete,
    general,
    linear,
    method,
    pointwise,
    polyfill,
)
from polygrad.core.tensor import Tensor, new_tensor

__all__ = [
    "Backend",
    "BackendNotAvailable",
    "DType",
    "Tensor",
    "alias",
    "as_dtype",
    "available_backends",
    "backend_of",
    "ascending",
    "bools",
    "case",
    "composite",
    "creation",
    "discrete",
    "general",
    "get_backend",
    "get_default_dtype",
    "hermitian",
    "inplace",
    "ints",
    "linear",
    "method",
    "new_tensor",
    "overwrite",
    "pointwise",
    "polyfill",
    "separated",
    "set_backend",
    "set_default_dtype",
    "use_backend",
]
