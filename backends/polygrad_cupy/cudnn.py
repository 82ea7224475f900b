"""cuDNN 9, found at run time: the library, its prototypes, and a handle for each thread and device.

It is looked for when the first convolution asks, in this order: the file that POLYGRAD_CUDNN_LIB names ("off" for none), the
wheels nvidia-cudnn-cu13 and nvidia-cudnn-cu12, the conda prefix, and the system's name. Only version 9 is taken. Without it the
ops' bodies do the work.

This is the legacy API, which version 9 deprecates and still has. It works on addresses; what is needed of a library of arrays is
in `runtime`.
"""

import ctypes
import os
import sys
from pathlib import Path
from typing import Any

from polygrad.core.native import Search
from polygrad_cupy.handles import Handles
from polygrad_cupy.plans import Failure

__all__ = ["Library", "Performance", "candidates", "loaded", "search", "state"]

VARIABLE = "POLYGRAD_CUDNN_LIB"
MAJOR = 9
FOLDER, FILE = ("bin", "cudnn64_9.dll") if sys.platform == "win32" else ("lib", "libcudnn.so.9")

# The numbers behind the API's names, which here lack the prefix CUDNN_.
DATA_FLOAT, DATA_DOUBLE, DATA_HALF, DATA_BFLOAT16 = 0, 1, 2, 9
TENSOR_NCHW, TENSOR_NHWC = 0, 1
CROSS_CORRELATION = 1
DEFAULT_MATH, TENSOR_OP_MATH, FMA_MATH = 0, 1, 3
DETERMINISTIC = 1
POOLING_AVERAGE_COUNT_INCLUDE_PADDING, POOLING_AVERAGE_COUNT_EXCLUDE_PADDING = 1, 2
PROPAGATE_NAN = 1
BATCHNORM_SPATIAL = 1
STATUS_NOT_SUPPORTED, STATUS_INTERNAL_ERROR = 3000, 4000
DIM_MAX = 8

P, INT, SIZE, DOUBLE, FLOAT = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t, ctypes.c_double, ctypes.c_float


class Performance(ctypes.Structure):
    """What the library expects of an algorithm of one of the three convolutions."""

    _fields_ = (
        ("algo", INT),
        ("status", INT),
        ("time", FLOAT),
        ("memory", SIZE),
        ("determinism", INT),
        ("mathType", INT),
        ("reserved", INT * 3),
    )


SEARCH = (P, P, P, P, P, INT, P, P)
WORKSPACE = (P, P, P, P, P, INT, P)
CONVOLUTION = (P, P, P, P, P, P, P, INT, P, SIZE, P, P, P)
SIGNATURES: dict[str, tuple[Any, ...]] = {
    "GetVersion": (),
    "GetErrorString": (INT,),
    "Create": (P,),
    "SetStream": (P, P),
    "CreateTensorDescriptor": (P,),
    "SetTensorNdDescriptor": (P, INT, INT, P, P),
    "DestroyTensorDescriptor": (P,),
    "CreateFilterDescriptor": (P,),
    "SetFilterNdDescriptor": (P, INT, INT, INT, P),
    "DestroyFilterDescriptor": (P,),
    "CreateConvolutionDescriptor": (P,),
    "SetConvolutionNdDescriptor": (P, INT, P, P, P, INT, INT),
    "SetConvolutionGroupCount": (P, INT),
    "SetConvolutionMathType": (P, INT),
    "DestroyConvolutionDescriptor": (P,),
    "GetConvolutionForwardAlgorithm_v7": SEARCH,
    "GetConvolutionBackwardDataAlgorithm_v7": SEARCH,
    "GetConvolutionBackwardFilterAlgorithm_v7": SEARCH,
    "GetConvolutionForwardWorkspaceSize": WORKSPACE,
    "GetConvolutionBackwardDataWorkspaceSize": WORKSPACE,
    "GetConvolutionBackwardFilterWorkspaceSize": WORKSPACE,
    "ConvolutionForward": CONVOLUTION,
    "ConvolutionBackwardData": CONVOLUTION,
    "ConvolutionBackwardFilter": CONVOLUTION,
    "CreatePoolingDescriptor": (P,),
    "SetPoolingNdDescriptor": (P, INT, INT, INT, P, P, P),
    "DestroyPoolingDescriptor": (P,),
    "PoolingForward": (P, P, P, P, P, P, P, P),
    "PoolingBackward": (P, P, P, P, P, P, P, P, P, P, P, P),
    "BatchNormalizationForwardTraining": (P, INT, P, P, P, P, P, P, P, P, P, DOUBLE, P, P, DOUBLE, P, P),
    "BatchNormalizationBackward": (P, INT, P, P, P, P, P, P, P, P, P, P, P, P, P, P, DOUBLE, P, P),
}
RESULTS: dict[str, Any] = {"GetVersion": SIZE, "GetErrorString": ctypes.c_char_p}


class Library:
    """The loaded library: its functions without their prefix, and `handle()`, this thread's on the current stream.

    Raises:
        OSError: another major version.
        AttributeError: a function is missing.
    """

    def __init__(self, dll: Any, path: str):
        self.dll, self.path = dll, path
        self.functions: dict[str, Any] = {}
        for name, arguments in SIGNATURES.items():
            function = getattr(dll, f"cudnn{name}")
            function.argtypes, function.restype = arguments, RESULTS.get(name, INT)
            self.functions[name] = function
            if name == "GetVersion":
                self.version = _version(function())
        self.handle = Handles(self._create, self._set_stream)

    def text(self) -> str:
        """The version and the file, for people."""
        return f"{'.'.join(map(str, self.version))} ({self.path})"

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function; Failure for a status that says the case is not supported, RuntimeError for any other trouble."""
        status = self.functions[name](*arguments)
        if status:
            said = f"cudnn{name}: {self.functions['GetErrorString'](status).decode()} (status {status})"
            if STATUS_NOT_SUPPORTED <= status < STATUS_INTERNAL_ERROR:
                raise Failure(said)
            raise RuntimeError(said)

    def _create(self) -> Any:
        handle = P()
        self.call("Create", ctypes.byref(handle))
        return handle

    def _set_stream(self, handle: Any, stream: int) -> None:
        self.call("SetStream", handle, stream)


def _version(number: int) -> tuple[int, int, int]:
    """Major, minor and patch; OSError for another major version than ours."""
    major = number // 10000 if number >= 90000 else number // 1000
    rest = number - major * (10000 if number >= 90000 else 1000)
    if major != MAJOR:
        raise OSError(f"it is version {major}.{rest // 100}, and polygrad speaks the API of version {MAJOR}")
    return major, rest // 100, rest % 100


def loaded() -> Library | None:
    """The library, looked for at the first call; None where there is none that can be used."""
    return state.once()


def candidates() -> list[str]:
    """Where the library may be, best first."""
    folders = [Path(folder, "nvidia", "cudnn", FOLDER) for folder in sys.path if folder]
    if conda := os.environ.get("CONDA_PREFIX"):
        folders.append(Path(conda, FOLDER))
    return [*(str(f / FILE) for f in folders if (f / FILE).exists()), FILE]


def search() -> Search:
    """A search for the library that has not begun."""
    return Search(
        VARIABLE,
        lambda path: Library(ctypes.CDLL(path), path),
        candidates,
        'pip install "polygrad-array-api[cudnn]" (or cudnn-cuda12), or conda install cudnn',
        "the ops' bodies do the work",
    )


state = search()
