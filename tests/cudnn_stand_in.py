"""Stand-ins for a GPU: arrays with addresses on the host, kernels compiled for the processor, and a cuDNN that is NumPy.

The library's functions are ctypes callbacks with the prototypes of the adapter, so every call passes through them. They read the
descriptors and the memory behind the addresses, check what the documentation of cuDNN asks for, and compute in float64.
"""

import ctypes
import hashlib
import importlib
import importlib.util
import math
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import types
from itertools import product
from pathlib import Path

import numpy as np

COMPILER = shutil.which("cc")


def adapter(*names):
    """Modules of the CuPy adapter. Its `__init__` asks for a GPU, so they are imported from a package that is only a folder."""
    spec = importlib.util.find_spec("polygrad_cupy")
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "polygrad_cupy"}
    package = types.ModuleType("polygrad_cupy")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["polygrad_cupy"] = package
    try:
        return [importlib.import_module(f"polygrad_cupy.{name}") for name in names]
    finally:
        for name in list(sys.modules):
            if name.partition(".")[0] == "polygrad_cupy":
                del sys.modules[name]
        sys.modules.update(before)


# ---------------------------------------------------------------------------------------------------------------- arrays


class _Address:
    def __init__(self, array):
        self.ptr = array.__array_interface__["data"][0]
        self.array = array


class _Device:
    id = 0


class Array(np.ndarray):
    """An ndarray with the attributes of CuPy's that the adapter reads."""

    device = _Device()

    @property
    def data(self):
        return _Address(self)


def array(value):
    """An Array with the values and the strides of an ndarray."""
    return np.asarray(value).view(Array)


class Host:
    """NumPy as `polygrad_cupy.runtime` describes a library."""

    def __init__(self):
        self.streams = {}
        self.asked = []

    def takes(self, *arrays):
        first = arrays[0]
        return all(type(a) is Array and a.dtype == first.dtype and a.size for a in arrays)

    def empty(self, shape, dtype):
        made = np.empty(shape, dtype)
        made.reshape(-1).view(np.uint8)[...] = 0xFF  # NaN, so that what is not written is seen
        return array(made)

    def zeros(self, shape, dtype):
        return array(np.zeros(shape, dtype))

    def like(self, like):
        return array(np.empty_like(like))

    def contiguous(self, value):
        return array(np.ascontiguousarray(value)).reshape(value.shape)

    def memory(self, size):
        self.asked.append(size)
        return array(np.full(size, 0xFF, np.uint8)).data

    def device(self):
        return 0

    def stream(self):
        return self.streams.get(threading.get_ident(), 0x51)

    def elementwise(self, inputs, outputs, body, name):
        return Kernel(inputs, outputs, body, name)

    def reduction(self, inputs, output, body, number, name):
        real = {"float": "float32", "double": "float64"}[number]
        run = Kernel(inputs, f"{real} terms", f"terms = {body};", name)

        def reduce(*operands, axis, keepdims):
            terms = run(*operands, array(np.empty(operands[0].shape, real)))
            return array(np.sum(terms, axis=axis, keepdims=keepdims, dtype=real).astype(operands[0].dtype))

        return reduce


# --------------------------------------------------------------------------------------------------------------- kernels

C_TYPES = {
    "float16": "_Float16",
    "float32": "float",
    "float64": "double",
    "int32": "int",
    "int64": "long long",
    "uint8": "unsigned char",
    "int8": "signed char",
    "bool": "_Bool",
}
BY_VALUE = {"float32": ctypes.c_float, "float64": ctypes.c_double, "int32": ctypes.c_int, "bool": ctypes.c_bool}
_compiled = {}


class Kernel:
    """An element-wise kernel in CuPy's form, run by a loop in C. T is the dtype of the arrays; `i` counts elements."""

    def __init__(self, inputs, outputs, body, name):
        self.inputs = [tuple(p.split()) for p in inputs.split(",")]
        self.outputs = [tuple(p.split()) for p in outputs.split(",")]
        self.body, self.name = body, name
        names = [p[-1] for p in (*self.inputs, *self.outputs)]
        assert len(set(names)) == len(names) and "i" not in names
        assert re.fullmatch(r"[a-zA-Z_]\w*", name)

    def __call__(self, *arguments):
        parameters = [*self.inputs, *self.outputs]
        assert len(arguments) == len(parameters), "CuPy's own output arrays would be C-contiguous"
        pairs = list(zip(parameters, arguments, strict=True))
        types_of = {p[-2]: a.dtype for p, a in pairs if isinstance(a, np.ndarray) and len(p[-2]) == 1}
        shape = np.broadcast_shapes(*[a.shape for p, a in pairs if isinstance(a, np.ndarray) and p[0] != "raw"])
        declared, defined, given, written = ["long long size"], [], [math.prod(shape)], []
        for index, (p, a) in enumerate(pairs):
            dtype = np.dtype(types_of.get(p[-2], p[-2]))
            name, c_type, out = p[-1], C_TYPES[dtype.name], index >= len(self.inputs)
            if not isinstance(a, np.ndarray):
                declared.append(f"{c_type} {name}")
                given.append(BY_VALUE[dtype.name](a))
                continue
            assert a.dtype == dtype, (self.name, p, a.dtype)
            if out:
                assert a.shape == shape
                held = np.ascontiguousarray(a)
                written.append((a, held))
            else:
                held = np.ascontiguousarray(a if p[0] == "raw" else np.broadcast_to(a, shape))
            declared.append(f"{'' if out else 'const '}{c_type} *{name}{'' if p[0] == 'raw' else '_'}")
            if p[0] != "raw":
                defined.append(f"#define {name} {name}_[i]")
            given.append(ctypes.c_void_p(held.__array_interface__["data"][0]))
            written.append((None, held))  # keeps it alive
        typedef = "".join(f"typedef {C_TYPES[dtype.name]} {letter};\n" for letter, dtype in types_of.items())
        _function(typedef, declared, defined, self.body)(*given)
        for a, held in written:
            if a is not None and a.__array_interface__["data"] != held.__array_interface__["data"]:
                a[...] = held
        results = [a for a in arguments[len(self.inputs) :]]
        return results[0] if len(results) == 1 else tuple(results)


def _function(typedef, declared, defined, body):
    code = (
        "#include <math.h>\n"
        + typedef
        + f"void run({', '.join(declared)}) {{\n"
        + "\n".join(defined)
        + f"\nfor (long long i = 0; i < size; ++i) {{\n{body}\n}}\n}}\n"
    )
    if code not in _compiled:
        folder = Path(tempfile.mkdtemp(prefix="kernels"))
        name = hashlib.sha256(code.encode()).hexdigest()[:16]
        (folder / f"{name}.c").write_text(code)
        command = [COMPILER, "-shared", "-fPIC", "-O1", "-o", folder / f"{name}.so", folder / f"{name}.c", "-lm"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        _compiled[code] = ctypes.CDLL(str(folder / f"{name}.so")).run
        _compiled[code].restype = None
        shutil.rmtree(folder)
    return _compiled[code]


# ----------------------------------------------------------------------------------------------------------------- cuDNN

DTYPES = {0: np.float32, 1: np.float64, 2: np.float16}
NCHW, NHWC = 0, 1
BAD, NOT_SUPPORTED = 2000, 3000


class _Refused(Exception):
    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


def _require(condition, text, status=BAD):
    if not condition:
        raise _Refused(status, text)


class Cudnn:
    """What ctypes would have loaded: attributes `cudnn...` that are C functions.

    Attributes:
        version: what it says it is.
        count: how often each function was called.
        refuse_last: no algorithm for channels-last arrays.
        fail: algorithms that say they work and then do not.
    """

    def __init__(self, cudnn, host, version=91002):
        self.module, self.host, self.version = cudnn, host, version
        self.objects, self.count, self.refuse_last, self.fail = {}, {}, False, set()
        self.last, self.used = ctypes.create_string_buffer(b"", 200), []
        self.next = 0x1000
        for name, arguments in cudnn.SIGNATURES.items():
            result = cudnn.RESULTS.get(name, ctypes.c_int)
            kind = ctypes.CFUNCTYPE(ctypes.c_void_p if result is ctypes.c_char_p else result, *arguments)
            setattr(self, f"cudnn{name}", kind(self._guarded(name)))

    def _guarded(self, name):
        work = getattr(self, re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower(), None) or self._generic(name)

        def call(*arguments):
            self.count[name] = self.count.get(name, 0) + 1
            try:
                return work(*arguments) or 0
            except _Refused as refused:
                self.last.value = f"{name}: {refused}".encode()
                return refused.status
            except Exception as error:  # it would be lost in the callback
                self.last.value = f"{name}: {type(error).__name__}: {error}".encode()[:199]
                return BAD

        return call

    def _generic(self, name):
        """Functions that come for each kind of descriptor, and for each of the three convolutions."""
        for verb in ("Create", "Destroy"):
            if name.startswith(verb) and name.endswith("Descriptor"):
                return getattr(self, f"_{verb.lower()}")
        kind = re.search("Forward|BackwardData|BackwardFilter", name)[0]
        work = self._search if name.endswith("_v7") else self._workspace if "Workspace" in name else self._convolve
        return lambda *arguments: work(kind, *arguments)

    # ------------------------------------------------------------------------------------------- objects and handles

    def get_version(self):
        return self.version

    def get_error_string(self, status):
        return ctypes.addressof(self.last)

    def _create(self, place):
        self.next += 16
        self.objects[self.next] = {}
        ctypes.c_void_p.from_address(place).value = self.next

    def _destroy(self, pointer):
        del self.objects[pointer]

    def create(self, place):
        self._create(place)
        self.objects[self.next]["stream"] = None

    def set_stream(self, handle, stream):
        self.objects[handle]["stream"] = stream

    def _ready(self, handle):
        _require(self.objects[handle]["stream"] == self.host.stream(), "the handle has another stream")

    def set_tensor_nd_descriptor(self, pointer, dtype, count, shape, strides):
        _require(4 <= count <= 8, "the number of dimensions")
        shape, strides = _ints(shape, count), _ints(strides, count)
        _require(min(shape) > 0 and min(strides) > 0, "a size or a stride that is not positive")
        self.objects[pointer].update(dtype=dtype, shape=shape, strides=strides)

    def set_filter_nd_descriptor(self, pointer, dtype, layout, count, shape):
        shape = _ints(shape, count)
        _require(layout == NCHW or count == 4, "the layout of a filter")
        strides = _dense(shape) if layout == NCHW else _last(shape)
        self.objects[pointer].update(dtype=dtype, shape=shape, strides=strides, layout=layout)

    def set_convolution_nd_descriptor(self, pointer, count, padding, stride, dilation, mode, compute):
        padding, stride, dilation = (_ints(numbers, count) for numbers in (padding, stride, dilation))
        _require(min(padding) >= 0 and min(*stride, *dilation) > 0, "geometry")
        _require(mode == 1, "a convolution that turns the kernel round")
        self.objects[pointer].update(padding=padding, stride=stride, dilation=dilation, compute=compute, groups=1)

    def set_convolution_group_count(self, pointer, groups):
        self.objects[pointer]["groups"] = groups

    def set_convolution_math_type(self, pointer, math_type):
        self.objects[pointer]["math"] = math_type

    def set_pooling_nd_descriptor(self, pointer, mode, nan, count, kernel, padding, stride):
        kernel, padding, stride = (_ints(numbers, count) for numbers in (kernel, padding, stride))
        _require(all(0 <= p < k for p, k in zip(padding, kernel, strict=True)), "padding of a whole window")
        self.objects[pointer].update(mode=mode, kernel=kernel, padding=padding, stride=stride)

    # --------------------------------------------------------------------------------------------------- convolution

    def _geometry(self, kind, a, b, convolution, c):
        """(x, w, y, geometry): the descriptors in that order, checked against each other."""
        a, b, c, g = (self.objects[pointer] for pointer in (a, b, c, convolution))
        x, w, y = {"Forward": (a, b, c), "BackwardData": (c, a, b), "BackwardFilter": (a, c, b)}[kind]
        _require("layout" in w and "layout" not in x and "layout" not in y, "a tensor in the place of a filter")
        _require(x["dtype"] == w["dtype"] == y["dtype"], "dtypes")
        _require(g["compute"] == (1 if x["dtype"] == 1 else 0), "the type of sums")
        _require(g["math"] == {0: 3, 1: 0, 2: 1}[x["dtype"]], "the type of products")
        for images in (x, y):
            strides = (_dense if w["layout"] == NCHW else _last)(images["shape"])
            _require(images["strides"] == strides, "layouts", NOT_SUPPORTED)
        n = len(g["padding"])
        _require(len(x["shape"]) == len(w["shape"]) == len(y["shape"]) == n + 2, "ranks")
        _require(x["shape"][1] == w["shape"][1] * g["groups"] and w["shape"][0] % g["groups"] == 0, "groups")
        axes = zip(x["shape"][2:], w["shape"][2:], g["padding"], g["stride"], g["dilation"], strict=True)
        out = tuple(1 + (m + 2 * p - ((k - 1) * d + 1)) // s for m, k, p, s, d in axes)
        _require(y["shape"] == (x["shape"][0], w["shape"][0], *out), "the shape of the result")
        return x, w, y, g

    def _search(self, kind, handle, a, b, convolution, c, most, count, found):
        self._ready(handle)
        _, w, _, _ = self._geometry(kind, a, b, convolution, c)
        found = (self.module.Performance * most).from_address(found)
        # algorithm, status, workspace, deterministic: only the last two can be used
        offers = [(3, 0, 8, 0), (5, NOT_SUPPORTED, 8, 1), (2, 0, 1 << 40, 1), (1, 0, 256, 1), (0, 0, 0, 1)]
        if self.refuse_last and w["layout"] == NHWC:
            offers = offers[:2]
        for performance, (algorithm, status, size, sure) in zip(found, offers, strict=False):
            performance.algo, performance.status, performance.memory = algorithm, status, size
            performance.determinism, performance.mathType = sure, 0
        ctypes.c_int.from_address(count).value = len(offers)

    def _workspace(self, kind, handle, a, b, convolution, c, algorithm, size):
        self._ready(handle)
        ctypes.c_size_t.from_address(size).value = {2: 1 << 40, 1: 256, 0: 0}[algorithm]

    def _convolve(self, kind, handle, alpha, a, of_a, b, of_b, convolution, algorithm, work, size, beta, c, of_c):
        self._ready(handle)
        x, w, y, g = self._geometry(kind, a, b, convolution, c)
        _require(size >= {1: 256, 0: 0}[algorithm] and (work is not None) == bool(size), "the workspace")
        _require(algorithm not in self.fail, "an algorithm that does not", NOT_SUPPORTED)
        if work:
            ctypes.memset(work, 0x7F, size)
        self.used.append((kind, algorithm))
        one, other, result = (_memory(p, self.objects[d]) for p, d in ((of_a, a), (of_b, b), (of_c, c)))
        made = {"Forward": _correlate, "BackwardData": _spread, "BackwardFilter": _weigh}[kind](one, other, x, w, y, g)
        _put(result, made, *(_number(p, x["dtype"]) for p in (alpha, beta)))

    # -------------------------------------------------------------------------------------------- pooling and norms

    def pooling_forward(self, handle, pooling, alpha, of_x, x, beta, of_y, y):
        self._ready(handle)
        g, of_x, of_y = (self.objects[p] for p in (pooling, of_x, of_y))
        counts, taps = _windows(g, of_x, of_y)
        total = np.zeros(of_y["shape"])
        padded = _padded(_memory(x, of_x).astype(np.float64), g["padding"])
        for tap in taps:
            total += padded[(..., *tap)]
        _put(_memory(y, of_y), total / counts, *(_number(p, of_x["dtype"]) for p in (alpha, beta)))

    def pooling_backward(self, handle, pooling, alpha, of_y, y, of_dy, dy, of_x, x, beta, of_dx, dx):
        self._ready(handle)
        g, of_x, of_dx, of_dy = (self.objects[p] for p in (pooling, of_x, of_dx, of_dy))
        _require(of_x == of_dx and self.objects[of_y] == of_dy and x and y, "descriptors")
        counts, taps = _windows(g, of_dx, of_dy)
        share = _memory(dy, of_dy).astype(np.float64) / counts
        padded = _padded(np.zeros(of_dx["shape"]), g["padding"])
        for tap in taps:
            padded[(..., *tap)] += share
        made = _cropped(padded, of_dx["shape"], g["padding"])
        _put(_memory(dx, of_dx), made, *(_number(p, of_dx["dtype"]) for p in (alpha, beta)))

    def _small(self, small, x):
        small = self.objects[small]
        channels = x["shape"][1]
        _require(small["shape"] == (1, channels, *[1] * (len(x["shape"]) - 2)), "the shape of a channel's numbers")
        _require(small["dtype"] == (1 if x["dtype"] == 1 else 0), "the type of a channel's numbers")
        return small

    def batch_normalization_forward_training(
        self, handle, mode, alpha, beta, of_x, x, of_y, y, small, scale, bias, factor, mean, var, eps, saved, inverse
    ):
        self._ready(handle)
        of_x, of_y = self.objects[of_x], self.objects[of_y]
        _require(mode == 1 and of_x == of_y and (saved is None) == (inverse is None), "arguments")
        small = self._small(small, of_x)
        z, axes = _memory(x, of_x).astype(np.float64), (0, *range(2, len(of_x["shape"])))
        n = z.size // z.shape[1]
        middle, variance = z.mean(axes, keepdims=True), z.var(axes, keepdims=True)
        made = (z - middle) / np.sqrt(variance + eps) * _memory(scale, small) + _memory(bias, small)
        _put(_memory(y, of_y), made, *(_number(p, of_x["dtype"]) for p in (alpha, beta)))
        for running, value in ((mean, middle), (var, variance * (n / (n - 1)))):
            held = _memory(running, small)
            held[...] = held * (1 - factor) + value * factor

    def batch_normalization_backward(self, handle, mode, *arguments):
        self._ready(handle)
        a1, b1, a2, b2, of_x, x, of_g, g, of_d, d, small, scale, to_scale, to_bias, eps, mean, inverse = arguments
        of_x = self.objects[of_x]
        _require(mode == 1 and of_x == self.objects[of_g] == self.objects[of_d], "arguments")
        small = self._small(small, of_x)
        z, t = (_memory(p, of_x).astype(np.float64) for p in (x, g))
        axes = (0, *range(2, z.ndim))
        _require((mean is None) == (inverse is None), "only one of the moments")
        middle = z.mean(axes, keepdims=True) if mean is None else _memory(mean, small)
        rate = 1 / np.sqrt(z.var(axes, keepdims=True) + eps) if inverse is None else _memory(inverse, small)
        hat, n = (z - middle) * rate, z.size // z.shape[1]
        of_scale, of_bias = (t * hat).sum(axes, keepdims=True), t.sum(axes, keepdims=True)
        made = _memory(scale, small) * rate * (t - of_bias / n - hat * of_scale / n)
        _put(_memory(d, of_x), made, *(_number(p, of_x["dtype"]) for p in (a1, b1)))
        for pointer, value in ((to_scale, of_scale), (to_bias, of_bias)):
            _put(_memory(pointer, small), value, *(_number(p, of_x["dtype"]) for p in (a2, b2)))


def _ints(pointer, count):
    return tuple((ctypes.c_int * count).from_address(pointer))


def _number(pointer, dtype):
    return (ctypes.c_double if dtype == 1 else ctypes.c_float).from_address(pointer).value


def _dense(shape):
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def _last(shape):
    n, c, *space = shape
    outer, *inner, _ = _dense((n, *space, c))
    return (outer, 1, *inner)


def _memory(pointer, descriptor):
    """The array behind an address."""
    _require(pointer, "no address")
    dtype = np.dtype(DTYPES[descriptor["dtype"]])
    shape, strides = descriptor["shape"], descriptor["strides"]
    count = 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    flat = np.frombuffer((ctypes.c_char * (count * dtype.itemsize)).from_address(pointer), dtype)
    return np.lib.stride_tricks.as_strided(flat, shape, [s * dtype.itemsize for s in strides])


def _put(result, value, alpha, beta):
    result[...] = alpha * value + (beta * result if beta else 0)


def _padded(x, padding):
    return np.pad(x, [(0, 0), (0, 0), *[(p, p) for p in padding]])


def _cropped(x, shape, padding):
    return x[(..., *[slice(p, p + n) for p, n in zip(padding, shape[2:], strict=True)])]


def _taps(w, y, g):
    """For each tap of the kernel, its place and what of the padded input it meets."""
    for tap in product(*map(range, w["shape"][2:])):
        axes = zip(tap, y["shape"][2:], g["stride"], g["dilation"], strict=True)
        yield (..., *tap), (..., *[slice(t * d, t * d + (o - 1) * s + 1, s) for t, o, s, d in axes])


def _by_group(array, groups, axis):
    return array.reshape(*array.shape[:axis], groups, -1, *array.shape[axis + 1 :])


def _correlate(image, weight, x, w, y, g):
    padded, total, groups = _padded(image.astype(np.float64), g["padding"]), 0, g["groups"]
    weight = _by_group(weight.astype(np.float64), groups, 0)
    for tap, here in _taps(w, y, g):
        total = total + np.einsum("ngc...,goc->ngo...", _by_group(padded[here], groups, 1), weight[tap])
    return total.reshape(y["shape"])


def _spread(weight, seen, x, w, y, g):
    padded, groups = _padded(np.zeros(x["shape"]), g["padding"]), g["groups"]
    weight, seen = _by_group(weight.astype(np.float64), groups, 0), _by_group(seen.astype(np.float64), groups, 1)
    for tap, here in _taps(w, y, g):
        padded[here] += np.einsum("ngo...,goc->ngc...", seen, weight[tap]).reshape(padded[here].shape)
    return _cropped(padded, x["shape"], g["padding"])


def _weigh(image, seen, x, w, y, g):
    padded, groups, made = _padded(image.astype(np.float64), g["padding"]), g["groups"], np.zeros(w["shape"])
    seen = _by_group(seen.astype(np.float64), groups, 1)
    seen = seen.reshape(*seen.shape[:3], -1)
    for tap, here in _taps(w, y, g):
        met = _by_group(padded[here], groups, 1)
        made[tap] = np.einsum("ngcp,ngop->goc", met.reshape(*met.shape[:3], -1), seen).reshape(made[tap].shape)
    return made


def _windows(g, x, y):
    """How many elements each window counts, and for each tap what of the padded input it meets."""
    axes = list(zip(x["shape"][2:], g["kernel"], g["padding"], g["stride"], strict=True))
    out = tuple(1 + (n + 2 * p - k) // s for n, k, p, s in axes)
    _require(y["shape"] == (*x["shape"][:2], *out) and x["dtype"] == y["dtype"], "the shape of the result")
    counts = np.ones(out)
    for i, ((n, k, p, s), o) in enumerate(zip(axes, out, strict=True)):
        inside = [min(j * s - p + k, n) - max(j * s - p, 0) if g["mode"] == 2 else k for j in range(o)]
        counts = counts * np.reshape(inside, [o if a == i else 1 for a in range(len(out))])
    _require(g["mode"] in (1, 2), "the mode")
    taps = [
        [slice(t, t + (o - 1) * s + 1, s) for t, o, s in zip(tap, out, g["stride"], strict=True)]
        for tap in product(*map(range, g["kernel"]))
    ]
    return counts, taps
