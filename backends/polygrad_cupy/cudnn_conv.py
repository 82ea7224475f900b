"""Convolution and its transposes by the functions of cuDNN, the first choice of `convolution`."""

import ctypes
import os
from typing import Any

from polygrad_cupy import cudnn
from polygrad_cupy import cudnn_descriptors as descriptors
from polygrad_cupy.cudnn import Library, Performance
from polygrad_cupy.cudnn_descriptors import CODES, Descriptor, Layout, as_plane, dense, ints, scalar, small, tensor
from polygrad_cupy.geometry import Case, symmetric
from polygrad_cupy.plans import Failure
from polygrad_cupy.runtime import current

__all__ = ["TF32", "WORKSPACE", "plan"]

WORKSPACE = int(os.environ.get("POLYGRAD_CUDNN_WORKSPACE") or 1 << 30)
TF32 = os.environ.get("CUPY_TF32") == "1"
FUNCTIONS = {"conv": "Forward", "conv_input": "BackwardData", "conv_weight": "BackwardFilter"}
ALGORITHMS = 10  # more than the API has for any of the three


def _filter(lib: Library, layout: Layout, last: bool) -> Descriptor:
    shape, _, dtype = layout
    format = cudnn.TENSOR_NHWC if last else cudnn.TENSOR_NCHW
    return Descriptor(lib, "Filter", ("SetFilterNdDescriptor", CODES[dtype], format, len(shape), ints(shape)))


def _convolution(lib: Library, dtype: str, steps: tuple[Any, ...], groups: int) -> Descriptor:
    padding, stride, dilation = steps
    if len(padding) == 1:
        padding, stride, dilation = (0, *padding), (1, *stride), (1, *dilation)
    if dtype in ("float16", "bfloat16"):
        math_type = cudnn.TENSOR_OP_MATH
    else:
        math_type = cudnn.FMA_MATH if dtype == "float32" and not TF32 else cudnn.DEFAULT_MATH
    compute = cudnn.DATA_DOUBLE if dtype == "float64" else cudnn.DATA_FLOAT
    numbers = (len(padding), ints(padding), ints(stride), ints(dilation))
    return Descriptor(
        lib,
        "Convolution",
        ("SetConvolutionNdDescriptor", *numbers, cudnn.CROSS_CORRELATION, compute),
        ("SetConvolutionGroupCount", groups),
        ("SetConvolutionMathType", math_type),
    )


class _Plan:
    """One of the three convolutions for one geometry: its descriptors, and the algorithms that may do it, best first."""

    def __init__(self, lib: Library, case: Case, dtype: str, last: bool):
        found = symmetric(case.x[2:], case.w[2:], case.stride, case.padding, case.dilation)
        if found is None or not small(case.x, case.w, case.y) or last and len(case.x) != 4:
            raise Failure("another padding after than before, too many elements, or volumes with their channels last")
        self.lib, self.function = lib, FUNCTIONS[case.kind]
        x, w, y = (as_plane(dense(shape, dtype, last)) for shape in (case.x, case.w, case.y))
        made = {"x": tensor(lib, x), "y": tensor(lib, y), "w": _filter(lib, w, last)}
        self.turned = case.kind == "conv_input"  # whose function has the weight first
        self.operands = [made[name] for name in ("wyx" if self.turned else case.roles)]
        self.convolution = _convolution(lib, dtype, (found[1], case.stride, case.dilation), case.groups)
        self.one, self.nothing = scalar(1, dtype), scalar(0, dtype)
        self.algorithms = self._algorithms()
        if not self.algorithms:
            raise Failure("no deterministic algorithm that is content with the workspace")

    def _algorithms(self) -> list[tuple[int, int]]:
        """(algorithm, bytes of its workspace), in the order in which the library expects them to be fast."""
        a, b, c = (d.pointer for d in self.operands)
        call, count, found = self.lib.call, ctypes.c_int(), (Performance * ALGORITHMS)()
        handle, convolution = self.lib.handle(), self.convolution.pointer
        name = f"GetConvolution{self.function}Algorithm_v7"
        call(name, handle, a, b, convolution, c, ALGORITHMS, ctypes.byref(count), found)
        algorithms = []
        for one in found[: count.value]:
            if one.status or one.determinism != cudnn.DETERMINISTIC:
                continue
            size = ctypes.c_size_t()
            try:
                name = f"GetConvolution{self.function}WorkspaceSize"
                call(name, handle, a, b, convolution, c, one.algo, ctypes.byref(size))
            except Failure:
                continue
            if size.value <= WORKSPACE:
                algorithms.append((one.algo, size.value))
        return algorithms

    def __call__(self, of_a: Any, of_b: Any, of_c: Any) -> bool:
        """Run it on the two operands and the result; False where no algorithm does it after all."""
        handle = self.lib.handle()
        a, b, c = self.operands
        if self.turned:
            of_a, of_b = of_b, of_a
        for algorithm, size in self.algorithms:
            try:
                memory = current().memory(size) if size else None
                self.lib.call(
                    f"Convolution{self.function}",
                    *(handle, ctypes.byref(self.one), a.pointer, of_a.data.ptr, b.pointer, of_b.data.ptr),
                    *(self.convolution.pointer, algorithm, memory.ptr if memory is not None else None, size),
                    *(ctypes.byref(self.nothing), c.pointer, of_c.data.ptr),
                )
                return True
            except Failure:
                self.algorithms = [other for other in self.algorithms if other[0] != algorithm]
            except MemoryError:
                continue
        return False


def plan(case: Case, dtype: str, last: bool) -> Any:
    """See `convolution.PROVIDERS`."""
    return descriptors.plan((case, dtype, last), lambda lib: _Plan(lib, case, dtype, last))
