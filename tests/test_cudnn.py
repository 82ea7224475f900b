"""The CuPy adapter beside the real cuDNN, as far as it can be asked without a GPU: headers, symbols, descriptors."""

import ctypes
import re
import sys
from pathlib import Path

import pytest

import cudnn_stand_in as stand_in

PARTS = ("cudnn", "cudnn_conv", "cudnn_descriptors", "cudnn_pool", "geometry", "runtime")
cudnn, cudnn_conv, cudnn_descriptors, cudnn_pool, geometry, runtime = stand_in.adapter(*PARTS)
WHEELS = ("nvidia-cudnn-cu13", "nvidia-cudnn-cu12")


@pytest.fixture(scope="module")
def wheel():
    """The folder of the cuDNN wheel, which is 500 MB and needs no GPU to be read."""
    found = [
        Path(folder, "nvidia", "cudnn") for folder in sys.path if Path(folder, "nvidia", "cudnn", "include").is_dir()
    ]
    if not found:
        pytest.skip(f"none of {', '.join(WHEELS)} is installed (pip install --no-deps {WHEELS[0]})")
    return found[0]


@pytest.fixture(scope="module")
def header(wheel):
    """The text of the headers without comments."""
    text = "\n".join(
        path.read_text() for path in sorted((wheel / "include").glob("cudnn_*.h")) if "_v9" not in path.name
    )
    return re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.S)


C_KINDS = {"int": ctypes.c_int, "size_t": ctypes.c_size_t, "double": ctypes.c_double, "float": ctypes.c_float}


def kind_of(declaration, enums):
    """The ctypes type of a parameter, a field or a result as C declares it."""
    words = re.sub(r"\bconst\b", "", declaration).split()
    if "*" in declaration or "[" in declaration:
        return ctypes.c_void_p
    name = words[0]
    if name in enums:
        return ctypes.c_int
    if re.fullmatch(r"cudnn\w*(Descriptor|Handle)_t|cudnnHandle_t|cudaStream_t", name):
        return ctypes.c_void_p
    return C_KINDS[name]


@pytest.fixture(scope="module")
def enums(header):
    """Name -> value of all constants, and the names of the types."""
    values, names = {}, set()
    for body, name in re.findall(r"typedef enum\s*\w*\s*\{([^{}]*)\}\s*(\w+)\s*(?:CUDNN_DEPRECATED\w*)?;", header):
        names.add(name)
        for constant, value in re.findall(r"(CUDNN_\w+)(?:\s+CUDNN_DEPRECATED_ENUM)?\s*=\s*(\d+)", body):
            values[constant] = int(value)
    values |= {name: int(value) for name, value in re.findall(r"#define\s+(CUDNN_DIM_MAX)\s+(\d+)", header)}
    return values, names


@pytest.mark.parametrize("name", sorted(cudnn.SIGNATURES))
def test_prototypes_are_those_of_the_headers(name, header, enums):
    found = re.findall(rf"([\w ]+\*?)\s*CUDNNWINAPI\s+cudnn{name}\s*\(([^()]*)\)\s*;", header)
    assert len({" ".join(arguments.split()) for _, arguments in found}) == 1, f"{len(found)} declarations"
    result, arguments = found[0]
    declared = [a.strip() for a in arguments.split(",") if a.strip() != "void"]
    assert [kind_of(a, enums[1]) for a in declared] == list(cudnn.SIGNATURES[name])
    wanted = cudnn.RESULTS.get(name, ctypes.c_int)
    assert wanted is (ctypes.c_char_p if "*" in result else kind_of(result.split()[-1], enums[1]))


def test_constants_and_structures_are_those_of_the_headers(header, enums):
    prefixes = (
        "DATA_",
        "TENSOR_",
        "CROSS_",
        "DEFAULT_",
        "FMA_",
        "DETERMINISTIC",
        "POOLING_",
        "PROPAGATE_",
        "BATCHNORM_",
        "STATUS_",
        "DIM_",
    )
    ours = {name: value for name, value in vars(cudnn).items() if type(value) is int and name.startswith(prefixes)}
    assert len(ours) >= 18
    assert {f"CUDNN_{name}": value for name, value in ours.items()} == {
        f"CUDNN_{n}": enums[0][f"CUDNN_{n}"] for n in ours
    }
    for kind in ("Fwd", "BwdData", "BwdFilter"):
        body = re.search(rf"typedef struct cudnnConvolution{kind}AlgoPerfStruct\s*\{{(.*?)\}}", header, re.S)[1]
        fields = [f.strip() for f in body.split(";") if f.strip()]
        names = [re.search(r"(\w+)(\[\d+\])?$", f)[1] for f in fields]
        assert names == [name for name, _ in cudnn.Performance._fields_]
        for field, (_, ours_type) in zip(fields, cudnn.Performance._fields_, strict=True):
            if "[" in field:
                assert ours_type._length_ == int(re.search(r"\[(\d+)\]", field)[1]) and ours_type._type_ is ctypes.c_int
            else:
                assert kind_of(field, enums[1]) is ours_type


@pytest.fixture(scope="module")
def real(wheel):
    """The library itself, which loads without a driver."""
    path = wheel / cudnn.FOLDER / cudnn.FILE
    return cudnn.Library(ctypes.CDLL(str(path)), str(path))  # AttributeError if it lacks one of the functions


def test_the_library_takes_our_descriptors_and_counts_windows_as_we_do(real):
    assert real.version[0] == cudnn.MAJOR
    for shape, weight, padding, stride, dilation in (
        ((2, 4, 9), (6, 2, 3), (1,), (2,), (1,)),
        ((2, 4, 9, 7), (6, 2, 3, 2), (1, 0), (2, 3), (1, 2)),
        ((2, 4, 5, 6, 7), (6, 2, 1, 2, 3), (0, 1, 2), (1, 2, 3), (2, 1, 1)),
    ):
        for last in (False, True) if len(shape) == 4 else (False,):
            pairs = tuple((p, p) for p in padding)
            out, before = geometry.symmetric(shape[2:], weight[2:], stride, pairs, dilation)
            as_plane, dense = cudnn_descriptors.as_plane, cudnn_descriptors.dense
            x = cudnn_descriptors.tensor(real, as_plane(dense(shape, "float16", last)))
            w = cudnn_conv._filter(real, as_plane(dense(weight, "float16", last)), last)
            convolution = cudnn_conv._convolution(real, "float16", (before, stride, dilation), 2)
            n = max(4, len(shape))
            found = (ctypes.c_int * n)()
            counted = real.dll.cudnnGetConvolutionNdForwardOutputDim
            counted.argtypes = (ctypes.c_void_p,) * 3 + (ctypes.c_int, ctypes.c_void_p)
            assert counted(convolution.pointer, x.pointer, w.pointer, n, found) == 0
            assert tuple(found) == as_plane(dense((shape[0], weight[0], *out), "float16")).shape
            x_layout, y_layout = (dense((*shape[:2], *size), "float16", last) for size in (shape[2:], out))
            windows = (weight[2:], tuple(min(p, k - 1) for p, k in zip(padding, weight[2:], strict=True)), stride)
            pool = cudnn_pool._Plan(real, x_layout, y_layout, windows, True, None)
            counted = real.dll.cudnnGetPoolingNdForwardOutputDim
            counted.argtypes = (ctypes.c_void_p,) * 2 + (ctypes.c_int, ctypes.c_void_p)
            assert counted(pool.pooling.pointer, x.pointer, n, found) == 0
            pads = tuple((p, p) for p in windows[1])
            out, _ = geometry.symmetric(shape[2:], weight[2:], stride, pads, (1,) * len(stride))
            assert tuple(found)[-len(out) :] == out


def test_the_library_says_that_there_is_no_gpu(real, monkeypatch):
    host = stand_in.Host()
    host.stream = lambda: 0  # a real one, where there is a GPU after all
    monkeypatch.setattr(runtime, "_current", [host])
    with pytest.raises(RuntimeError, match=r"cudnnCreate: \w+.* \(status \d+\)"):
        if real.handle():
            pytest.skip("there is a GPU here: the conformance suite is the test")
