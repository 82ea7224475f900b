"""A stand-in for NVIDIA's package nvidia-cudnn-frontend that is NumPy: what the adapter uses of it, as strict as the package is.

It reads and writes the memory behind the addresses, and checks what the documentation asks for: the order of the calls, the stream
of the handle, sizes that fit each other, aligned addresses, a workspace.
"""

import ctypes
import enum
from itertools import product

import numpy as np

from cudnn_stand_in import _last as last_strides

DTYPES = {"HALF": np.float16, "FLOAT": np.float32, "DOUBLE": np.float64}
STEPS = ["made", "validate", "build_operation_graph", "create_execution_plans", "check_support", "build_plans"]


class NotSupported(Exception):
    pass


class Frontend:
    """What `import cudnn` would give.

    Attributes:
        engines: what the heuristics offer, best first: (name, notes, workspace).
        refuse: functions for which there is no engine.
        graphs: every graph that was made.
        used: (function, engine) of every execution.
        streams: handle -> stream.
    """

    __version__ = "1.32.0"
    cudnnGraphNotSupportedError = NotSupported
    data_type = enum.Enum("data_type", "NOT_SET HALF BFLOAT16 FLOAT DOUBLE")
    heur_mode = enum.Enum("heur_mode", "A B FALLBACK")
    numerical_note = enum.Enum(
        "numerical_note",
        "TENSOR_CORE DOWN_CONVERT_INPUTS REDUCED_PRECISION_REDUCTION FFT NONDETERMINISTIC WINOGRAD STRICT_NAN_PROP",
    )

    def __init__(self, host, version=92800):
        self.host, self.version = host, version
        note = self.numerical_note
        self.engines = [
            ("random", {note.NONDETERMINISTIC}, 0),
            ("rounded", {note.TENSOR_CORE, note.DOWN_CONVERT_INPUTS}, 0),
            ("coarse", {note.TENSOR_CORE, note.REDUCED_PRECISION_REDUCTION}, 0),
            ("huge", set(), 1 << 40),
            ("tensor cores", {note.TENSOR_CORE}, 256),
            ("plain", set(), 128),
        ]
        self.refuse, self.graphs, self.used, self.streams, self.set = set(), [], [], {}, 0

    def backend_version(self):
        return self.version

    def backend_version_string(self):
        return f"{self.version // 10000}.{self.version // 100 % 100}.{self.version % 100}"

    def create_handle(self):
        handle = 0x700 + len(self.streams)
        self.streams[handle] = 0
        return handle

    def set_stream(self, handle, stream):
        self.set += 1
        self.streams[handle] = stream

    def pygraph(
        self,
        name="test_graph",
        io_data_type=None,
        intermediate_data_type=None,
        compute_data_type=None,
        handle=None,
    ):
        assert handle in self.streams and self.streams[handle] == self.host.stream()
        assert {io_data_type, intermediate_data_type, compute_data_type} <= set(self.data_type)
        self.graphs.append(Graph(self, compute_data_type))
        return self.graphs[-1]


class Tensor:
    def __init__(self, dim=None, stride=None, data_type=None, name="", virtual=False):
        self.dim, self.stride, self.data_type, self.name = dim, stride, data_type, name
        self.virtual, self.uid = virtual, 0

    def set_uid(self, uid):
        self.uid = uid
        return self

    def set_output(self, value):
        self.virtual = not value
        return self

    def set_data_type(self, data_type):
        self.data_type = data_type
        return self

    def set_dim(self, dim):
        assert type(dim) is list
        self.dim = dim
        return self

    def set_stride(self, stride):
        assert type(stride) is list
        self.stride = stride
        return self


class Graph:
    """A graph of one convolution."""

    def __init__(self, package, compute):
        self.package, self.compute, self.step = package, compute, "made"
        self.tensors, self.work, self.barred, self.limit, self.engine = [], None, set(), None, None

    def _advance(self, step):
        assert STEPS.index(step) == STEPS.index(self.step) + 1, f"{step} after {self.step}"
        self.step = step

    def tensor(self, dim, stride, data_type, is_virtual=False, name=""):
        assert type(dim) is list and type(stride) is list and len(dim) == len(stride)
        self.tensors.append(Tensor(dim, stride, data_type, name))
        return self.tensors[-1]

    def _convolution(self, function, one, other, **steps):
        assert self.work is None and steps.pop("compute_data_type") is self.compute
        assert all(type(numbers) is list for numbers in steps.values())
        self.tensors.append(Tensor(virtual=True))
        self.work = function, one, other, self.tensors[-1], steps
        return self.tensors[-1]

    def conv_fprop(self, image, weight, pre_padding, post_padding, stride, dilation, compute_data_type):
        steps = dict(pre_padding=pre_padding, post_padding=post_padding, stride=stride, dilation=dilation)
        return self._convolution("conv_fprop", image, weight, **steps, compute_data_type=compute_data_type)

    def conv_dgrad(self, loss, filter, pre_padding, post_padding, stride, dilation, compute_data_type):
        steps = dict(pre_padding=pre_padding, post_padding=post_padding, stride=stride, dilation=dilation)
        return self._convolution("conv_dgrad", loss, filter, **steps, compute_data_type=compute_data_type)

    def conv_wgrad(self, image, loss, pre_padding, post_padding, stride, dilation, compute_data_type):
        steps = dict(pre_padding=pre_padding, post_padding=post_padding, stride=stride, dilation=dilation)
        return self._convolution("conv_wgrad", image, loss, **steps, compute_data_type=compute_data_type)

    # ------------------------------------------------------------------------------------------------------ planning

    def _roles(self):
        """x, w, y and the steps."""
        function, one, other, result, steps = self.work
        x, w, y = {
            "conv_fprop": (one, other, result),
            "conv_dgrad": (result, other, one),
            "conv_wgrad": (one, result, other),
        }[function]
        return x, w, y, steps

    def validate(self):
        self._advance("validate")
        assert sorted(t.uid for t in self.tensors) == [1, 2, 3] and not any(t.virtual for t in self.tensors)
        assert len({t.data_type for t in self.tensors}) == 1
        kind = self.tensors[0].data_type.name
        assert self.compute.name == ("DOUBLE" if kind == "DOUBLE" else "FLOAT")
        x, w, y, steps = self._roles()
        assert len({len(t.dim) for t in (x, w, y)}) == 1 and 4 <= len(x.dim) <= 5
        assert x.dim[1] % w.dim[1] == 0 and w.dim[0] == y.dim[1] and x.dim[0] == y.dim[0]
        names = "pre_padding", "post_padding", "stride", "dilation"
        axes = zip(x.dim[2:], w.dim[2:], *(steps[name] for name in names), strict=True)
        out = [(m + lo + hi - (k - 1) * d - 1) // s + 1 for m, k, lo, hi, s, d in axes]
        if out != y.dim[2:]:
            raise RuntimeError(f"is_valid_spatial_dim: {out}, {y.dim[2:]} CUDNN_STATUS_BAD_PARAM")
        last = [t.stride == list(last_strides(tuple(t.dim))) for t in (x, w, y)]
        dense = [t.stride == np.cumprod([1, *t.dim[:0:-1]])[::-1].tolist() for t in (x, w, y)]
        assert all(last) or all(dense), "layouts"

    def build_operation_graph(self):
        self._advance("build_operation_graph")

    def create_execution_plans(self, modes):
        self._advance("create_execution_plans")
        assert modes == [self.package.heur_mode.A, self.package.heur_mode.FALLBACK]

    def deselect_numeric_notes(self, notes):
        assert self.step == "create_execution_plans", "what is deselected before there are plans is lost"
        self.barred |= set(notes)

    def deselect_workspace_greater_than(self, limit):
        self.limit = limit

    def check_support(self):
        self._advance("check_support")
        for name, notes, size in self.package.engines if self.work[0] not in self.package.refuse else ():
            if not notes & self.barred and size <= self.limit:
                self.engine = name, size
                return
        raise NotSupported("No execution plans support the graph.")

    def build_plans(self):
        self._advance("build_plans")

    def get_workspace_size(self):
        assert self.step == "build_plans"
        return self.engine[1]

    # ----------------------------------------------------------------------------------------------------- executing

    def execute(self, addresses, workspace, handle):
        assert self.package.streams[handle] == self.package.host.stream(), "the handle has another stream"
        assert {*addresses} == {1, 2, 3} and all(type(p) is int and p and p % 16 == 0 for p in addresses.values())
        assert type(workspace) is int and bool(workspace) == bool(self.engine[1])
        if workspace:
            ctypes.memset(workspace, 0x7F, self.engine[1])
        self.package.used.append((self.work[0], self.engine[0]))
        x, w, y, steps = self._roles()
        arrays = [_memory(addresses[t.uid], t) for t in (x, w, y)]
        result = arrays[[x, w, y].index(self.work[3])]
        result[...] = _computed(self.work[0], *arrays, **steps)


def _memory(address, tensor):
    dtype = np.dtype(DTYPES[tensor.data_type.name])
    count = 1 + sum((n - 1) * s for n, s in zip(tensor.dim, tensor.stride, strict=True))
    flat = np.frombuffer((ctypes.c_char * (count * dtype.itemsize)).from_address(address), dtype)
    return np.lib.stride_tricks.as_strided(flat, tensor.dim, [s * dtype.itemsize for s in tensor.stride])


def _computed(function, x, w, y, pre_padding, post_padding, stride, dilation):
    """The convolution in float64, a tap of the kernel at a time."""
    x, w, y = (a.astype(np.float64) for a in (x, w, y))
    groups = x.shape[1] // w.shape[1]
    padding = [(0, 0), (0, 0), *zip(pre_padding, post_padding, strict=True)]
    padded = np.pad(x if function != "conv_dgrad" else np.zeros(x.shape), padding)
    padded = padded.reshape(x.shape[0], groups, -1, *padded.shape[2:])
    outputs = y.reshape(y.shape[0], groups, -1, *y.shape[2:])
    if function == "conv_fprop":
        outputs = np.zeros_like(outputs)
    weight = w.reshape(groups, -1, *w.shape[1:])
    if function == "conv_wgrad":
        weight = np.zeros_like(weight)
    for tap in product(*map(range, w.shape[2:])):
        axes = zip(tap, dilation, stride, y.shape[2:], strict=True)
        place = (..., *[slice(t * d, t * d + (n - 1) * s + 1, s) for t, d, s, n in axes])
        taps = (..., *tap)
        if function == "conv_fprop":
            outputs += np.einsum("ngc...,goc->ngo...", padded[place], weight[taps])
        elif function == "conv_dgrad":
            padded[place] += np.einsum("ngo...,goc->ngc...", outputs, weight[taps])
        else:
            flat = (a.reshape(*a.shape[:3], -1) for a in (padded[place], outputs))
            weight[taps] += np.einsum("ngcs,ngos->goc", *flat)
    if function == "conv_fprop":
        return outputs.reshape(y.shape)
    if function == "conv_wgrad":
        return weight.reshape(w.shape)
    inner = padded.reshape(x.shape[0], x.shape[1], *padded.shape[3:])
    return inner[(..., *[slice(lo, lo + n) for lo, n in zip(pre_padding, x.shape[2:], strict=True)])]
