"""The words of PyTorch's file format: what a pickle may name, and what it stands for here.

Nothing outside this list is looked up, let alone called.
"""

from __future__ import annotations

__all__ = ["DTYPE_NAMES", "LEGACY_MAGIC", "PLAIN", "REBUILDS", "STORAGES", "storage_name"]

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C

STORAGES = {
    f"torch.{kind}Storage": name
    for kind, name in {
        "Float": "float32",
        "Double": "float64",
        "Half": "float16",
        "BFloat16": "bfloat16",
        "Long": "int64",
        "Int": "int32",
        "Short": "int16",
        "Char": "int8",
        "Byte": "uint8",
        "Bool": "bool",
        "UInt16": "uint16",
        "UInt32": "uint32",
        "UInt64": "uint64",
        "ComplexFloat": "complex64",
        "ComplexDouble": "complex128",
    }.items()
}

DTYPE_NAMES = {f"torch.{name}": name for name in STORAGES.values()}

# what rebuilds a tensor from its storage, and how it does it
REBUILDS = {
    "torch._utils._rebuild_tensor": "tensor",
    "torch._utils._rebuild_tensor_v2": "tensor",
    "torch._utils._rebuild_parameter": "parameter",
    "torch._utils._rebuild_parameter_with_state": "parameter",
}

# plain values; the names of Python 2 come from pickles of protocol 2
PLAIN = {
    "collections.OrderedDict": "ordered",
    "collections.Counter": "counter",
    "builtins.set": "set",
    "__builtin__.set": "set",
    "builtins.complex": "complex",
    "__builtin__.complex": "complex",
    "_codecs.encode": "bytes",
    "torch.Size": "size",
    "torch.device": "device",
}


def storage_name(dtype: str) -> tuple[str, str]:
    """The module and the name of the storage class of a dtype."""
    (found,) = [key for key, name in STORAGES.items() if name == dtype]
    module, _, name = found.rpartition(".")
    return module, name
