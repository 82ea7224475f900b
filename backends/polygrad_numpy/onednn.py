"""oneDNN, found at run time: the library, its engine, and what keeps it from harm (forks, threads, a second thread pool).

It is looked for when the first large operation asks, in this order: the file that POLYGRAD_ONEDNN_LIB names ("off" for none),
the `lib` folder of the environment (where the wheel puts it), the conda prefix, and the system's name. Only version 3 of its C
API is taken. Without it everything runs on NumPy.

oneDNN's threads and those of NumPy's OpenBLAS would fight for the processors (3.8 to 8.4 times slower where they alternate),
so while oneDNN is in use large products go to it, and OpenBLAS is set to one thread. POLYGRAD_ONEDNN_LIB=off leaves OpenBLAS
alone; `threadpoolctl.threadpool_limits(n, "blas")`, called after the first large operation, gives it its threads back.
"""

import ctypes
import os
import sys
import threading
from typing import Any

from polygrad.core.native import Search
from polygrad_numpy import blas

__all__ = ["Failure", "loaded", "state"]

VARIABLE = "POLYGRAD_ONEDNN_LIB"
MAJOR = 3
FILES = {"darwin": "libdnnl.3.dylib", "win32": "dnnl.dll"}
FILE = FILES.get(sys.platform, "libdnnl.so.3")
CPU, IN_ORDER = 1, 1

P, INT, DIM, FLOAT, CHAR = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_float, ctypes.c_char
CONV = (P, P, P, P, P)  # strides, dilates, padding before and after, attributes
SIGNATURES = {
    "engine_create": (P, INT, ctypes.c_size_t),
    "stream_create": (P, P, ctypes.c_uint),
    "memory_desc_create_with_tag": (P, INT, P, INT, INT),
    "memory_desc_create_with_strides": (P, INT, P, INT, P),
    "memory_desc_get_size": (P,),
    "memory_desc_equal": (P, P),
    "memory_desc_destroy": (P,),
    "memory_create": (P, P, P, P),
    "memory_set_data_handle": (P, P),
    "memory_destroy": (P,),
    "primitive_create": (P, P),
    "primitive_execute": (P, P, INT, P),
    "primitive_destroy": (P,),
    "primitive_desc_query_md": (P, INT, INT),
    "primitive_desc_destroy": (P,),
    "primitive_attr_create": (P,),
    "primitive_attr_set_post_ops": (P, P),
    "primitive_attr_set_scales_mask": (P, INT, INT),
    "post_ops_create": (P,),
    "post_ops_append_eltwise": (P, INT, FLOAT, FLOAT),
    "reorder_primitive_desc_create": (P, P, P, P, P, P),
    "convolution_forward_primitive_desc_create": (P, P, INT, INT, P, P, P, P, *CONV),
    "convolution_backward_data_primitive_desc_create": (P, P, INT, P, P, P, P, P, P, P, P, P),
    "convolution_backward_weights_primitive_desc_create": (P, P, INT, P, P, P, P, P, P, P, P, P, P),
    "binary_primitive_desc_create": (P, P, INT, P, P, P, P),
    "eltwise_forward_primitive_desc_create": (P, P, INT, INT, P, P, FLOAT, FLOAT, P),
    "eltwise_backward_primitive_desc_create": (P, P, INT, P, P, P, FLOAT, FLOAT, P, P),
    "softmax_forward_primitive_desc_create": (P, P, INT, INT, P, P, INT, P),
    "softmax_backward_primitive_desc_create": (P, P, INT, P, P, P, INT, P, P),
    "pooling_forward_primitive_desc_create": (P, P, INT, INT, P, P, P, P, P, P, P, P),
    "pooling_backward_primitive_desc_create": (P, P, INT, P, P, P, P, P, P, P, P, P),
    "batch_normalization_forward_primitive_desc_create": (P, P, INT, P, P, FLOAT, ctypes.c_uint, P),
    "batch_normalization_backward_primitive_desc_create": (P, P, INT, P, P, P, FLOAT, ctypes.c_uint, P, P),
    "layer_normalization_forward_primitive_desc_create": (P, P, INT, P, P, P, FLOAT, ctypes.c_uint, P),
    "layer_normalization_backward_primitive_desc_create": (P, P, INT, P, P, P, P, FLOAT, ctypes.c_uint, P, P),
    "matmul_primitive_desc_create": (P, P, P, P, P, P, P),
    "inner_product_forward_primitive_desc_create": (P, P, INT, P, P, P, P, P),
    "sgemm": (CHAR, CHAR, DIM, DIM, DIM, FLOAT, P, DIM, P, DIM, FLOAT, P, DIM),  # of row-major matrices
}
RESULTS = {"memory_desc_get_size": ctypes.c_size_t, "primitive_desc_query_md": P}


class Failure(RuntimeError):
    """oneDNN refused a call: there is no primitive for this case, or it cannot run it."""


class _Version(ctypes.Structure):
    _fields_ = (("major", INT), ("minor", INT), ("patch", INT))


class Library:
    """The loaded library: its functions without their prefix, one engine, and what each thread holds."""

    def __init__(self, path: str):
        self.path = path
        self.dll = ctypes.CDLL(path)
        self.version = self._version()
        self.functions: dict[str, Any] = {}
        for name, arguments in SIGNATURES.items():
            function = getattr(self.dll, f"dnnl_{name}")
            function.argtypes, function.restype = arguments, RESULTS.get(name, INT)
            self.functions[name] = function
        self.engine = self.make("engine_create", CPU, 0)
        self.local = threading.local()
        self.set_handle = self.functions["memory_set_data_handle"]
        self.execute = self.functions["primitive_execute"]
        self.sgemm = self.functions["sgemm"]

    def _version(self) -> tuple[int, int, int]:
        version = self.dll.dnnl_version
        version.restype = ctypes.POINTER(_Version)
        found = version().contents
        if found.major != MAJOR:
            raise OSError(
                f"it is version {found.major}.{found.minor}, and polygrad speaks the C API of version {MAJOR}"
            )
        return found.major, found.minor, found.patch

    def text(self) -> str:
        """The version and the file, for people."""
        return f"{'.'.join(map(str, self.version))} ({self.path})"

    def make(self, name: str, *arguments: Any) -> Any:
        """A new object of the library; Failure where it refuses."""
        made = P()
        status = self.functions[name](ctypes.byref(made), *arguments)
        if status:
            raise Failure(f"dnnl_{name} gave status {status}")
        return made

    @property
    def stream(self) -> Any:
        """This thread's queue of work."""
        held = getattr(self.local, "stream", None)
        if held is None:
            self.local.stream = held = self.make("stream_create", self.engine, IN_ORDER)
        return held


def loaded() -> Library | None:
    """The library, looked for at the first call; None where there is none that can be used."""
    return state.once(lambda: blas.set_threads(1))


def _candidates() -> list[str]:
    roots = [sys.prefix, sys.base_prefix]
    if conda := os.environ.get("CONDA_PREFIX"):
        roots.append(conda)
    files = [os.path.join(root, "lib", FILE) for root in roots]
    return [*filter(os.path.exists, files), FILE]


state = Search(
    VARIABLE,
    Library,
    _candidates,
    'pip install "polygrad-array-api[onednn]" (Linux on x86-64), or conda install onednn',
    "NumPy does the work",
    Failure,
)


def _forget() -> None:
    """In a forked child: the threads of the parent's pool are not there, and a call would wait for them for ever."""
    if state.found is not None:
        state.found, state.reason = None, "off in a forked process, whose parent used it"
    state.tried = state.tried or state.lock.locked()
    state.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
