"""The second choice of CuPy's convolutions, cuDNN's graphs: on a stand-in for the package beside the float64 bodies and PyTorch, and
its names and plans on the package itself, which needs no GPU for that."""

import importlib.util
import inspect
import json
import os
import subprocess
import sys
import threading
import types
import warnings
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cudnn_frontend_stand_in as frontend_stand_in
import cudnn_stand_in as stand_in
from conftest import require_torch
from cudnn_stand_in import array
from test_cupy import ADAPTER, FEW, PLAIN, check, images
from test_fast_numpy import convolutions

PARTS = "convolution cudnn cudnn_conv cudnn_descriptors cudnn_frontend geometry plans runtime".split()
convolution, cudnn, cudnn_conv, cudnn_descriptors, cudnn_frontend, geometry, plans, runtime = stand_in.adapter(*PARTS)


@pytest.fixture(autouse=True)
def package(monkeypatch):
    """The stand-in for the package, used as if it had been found, without the functions of cuDNN."""
    host = stand_in.Host()
    monkeypatch.setattr(runtime, "_current", [host])
    fake = frontend_stand_in.Frontend(host)
    monkeypatch.setattr(cudnn.state, "found", None)
    monkeypatch.setattr(cudnn.state, "tried", True)
    monkeypatch.setattr(cudnn_frontend.state, "found", cudnn_frontend.Package(fake))
    monkeypatch.setattr(cudnn_frontend.state, "tried", True)
    monkeypatch.setattr(cudnn_frontend, "_plans", plans.Plans(cudnn_frontend.MOST))
    return fake


@pytest.fixture
def library(package, monkeypatch):
    """The stand-in for cuDNN's functions besides."""
    fake = stand_in.Cudnn(cudnn, package.host)
    monkeypatch.setattr(cudnn.state, "found", cudnn.Library(fake, "the stand-in"))
    monkeypatch.setattr(cudnn_descriptors, "_plans", plans.Plans(cudnn_descriptors.MOST))
    return fake


# --------------------------------------------------------------------------------------------------------------- results


@FEW
@given(convolutions(), st.booleans(), st.booleans())
def test_convolution_and_its_transposes(package, drawn, half, last):
    x, w, z, geometry = drawn
    if half and x.dtype == np.float32:
        x, w, z = (a.astype(np.float16) for a in (x, w, z))
    if last:
        x, z = (np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1) for a in (x, z))
    x, w, z = (array(a) for a in (x, w, z))
    must = all(min(pair) >= 0 for pair in geometry["padding"]) and x.dtype.kind == "f"
    check(convolution, "conv", x, w, must=must, **geometry)
    check(convolution, "conv_input", z, w, must=must, shape=x.shape[2:], **geometry)
    check(convolution, "conv_weight", x, z, must=must, shape=w.shape[2:], **geometry)


def test_padding_of_one_side_beside_pytorch():
    torch = require_torch()
    x, w = images(2, 4, 9, 8), images(6, 2, 3, 2)
    geometry = {"stride": (2, 1), "padding": ((0, 1), (2, 0)), "dilation": (1, 2), "groups": 2}
    given, weight = (torch.tensor(np.asarray(a), requires_grad=True) for a in (x, w))
    padded = torch.nn.functional.pad(given, (2, 0, 0, 1))
    y = torch.nn.functional.conv2d(padded, weight, stride=(2, 1), dilation=(1, 2), groups=2)
    z = images(*y.shape)
    y.backward(torch.tensor(np.asarray(z)))
    for found, wanted in (
        (convolution.conv(x, w, **geometry), y),
        (convolution.conv_input(z, w, shape=(9, 8), **geometry), given.grad),
        (convolution.conv_weight(x, z, shape=(3, 2), **geometry), weight.grad),
    ):
        np.testing.assert_allclose(found, wanted.detach().numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(2, 8, 6, 5), (2, 8, 4, 5, 3)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_images_stay_as_they_lie(package, dtype, shape):
    n = len(shape) - 2
    geometry = {"stride": (1,) * n, "padding": ((1, 1),) * n, "dilation": (1,) * n, "groups": 1}
    x, w = images(*shape, dtype=dtype, last=True), images(4, 8, *(3,) * n, dtype=dtype)
    y = check(convolution, "conv", x, w, **geometry)
    assert y.transpose(0, *range(2, n + 2), 1).flags.c_contiguous is (dtype != "float64")
    back = check(convolution, "conv_input", y, w, shape=shape[2:], **geometry)
    assert back.strides == x.strides or dtype == "float64"
    assert check(convolution, "conv_weight", x, y, shape=(3,) * n, **geometry).flags.c_contiguous


def test_what_lies_between_aligned_addresses_is_copied(package):
    x, w = images(3, 1, 5, 5, dtype="float16"), images(2, 1, 3, 3, dtype="float16")
    assert x[1:].data.ptr % 16
    check(convolution, "conv", x[1:], w, **PLAIN)
    check(convolution, "conv", x[:, :, ::2, 1:], w, **PLAIN)


# The adapter of NumPy on the stand-ins, without the functions of cuDNN.
GRAPHS = ADAPTER.replace(
    'cudnn.state.found, cudnn.state.tried = cudnn.Library(library, "the stand-in"), True\n',
    "cudnn.state.tried = True\n"
    "import cudnn_frontend_stand_in\n"
    "cudnn_frontend.state.found = cudnn_frontend.Package(cudnn_frontend_stand_in.Frontend(host))\n",
)


def test_every_derivative_of_the_convolutions(tmp_path):
    """The conformance suite over the graphs: values, both modes and the second order."""
    assert GRAPHS.count("cudnn_frontend_stand_in") == 2
    (tmp_path / "polygrad_stand_in").mkdir()
    (tmp_path / "polygrad_stand_in" / "__init__.py").write_text(GRAPHS)
    paths = [str(tmp_path), str(Path(__file__).parent), *sys.path]
    environment = {**os.environ, "POLYGRAD_BACKEND": "stand_in", "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "polygrad_conformance", "--backend", "stand_in"]
    command += [argument for name in cudnn_frontend.FUNCTIONS for argument in ("--only", name)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    used = next(line for line in done.stdout.splitlines() if line.startswith("used")).split()[1:]
    assert {*cudnn_frontend.FUNCTIONS} <= {*used}


# --------------------------------------------------------------------------------------------------------------- choices


def test_the_functions_come_first_and_the_graphs_do_what_they_decline(package, library):
    x, w = images(2, 3, 6, 5), images(4, 3, 3, 3)
    check(convolution, "conv", x, w, **PLAIN)
    assert library.used and not package.graphs
    check(convolution, "conv", x, w, **{**PLAIN, "padding": ((0, 1), (2, 1))})
    volume = {"stride": (1,) * 3, "padding": ((1, 1),) * 3, "dilation": (1,) * 3, "groups": 1}
    check(convolution, "conv", images(2, 3, 4, 6, 5, last=True), images(4, 3, 3, 3, 3), **volume)
    assert len(library.used) == 1 and [f for f, _ in package.used] == ["conv_fprop"] * 2
    library.refuse_last = True
    y = check(convolution, "conv", images(2, 3, 6, 5, last=True), w, **PLAIN)
    assert not y.flags.c_contiguous and len(package.used) == 3, "no copy where the graphs have channels last"
    package.refuse = {"conv_fprop"}
    library.fail = {0, 1}
    assert convolution.conv(images(3, 3, 6, 5), w, **PLAIN) is NotImplemented


def test_elements_that_32_bits_do_not_count_are_for_the_graphs(package, library, monkeypatch):
    monkeypatch.setattr(cudnn_descriptors, "ELEMENTS", 2 * 4 * 6 * 5)
    x, w = images(2, 3, 6, 5), images(4, 3, 3, 3)
    y = check(convolution, "conv", x, w, **PLAIN)
    check(convolution, "conv_input", y, w, shape=(6, 5), **PLAIN)
    check(convolution, "conv_weight", x, y, shape=(3, 3), **PLAIN)
    assert len(package.used) == 3 and not library.used


def test_engines_are_deterministic_and_as_precise_as_the_arrays(package, monkeypatch):
    for dtype, engine in (("float16", "tensor cores"), ("float32", "plain"), ("float64", "tensor cores")):
        convolution.conv(images(2, 3, 6, 5, dtype=dtype), images(4, 3, 3, 3, dtype=dtype), **PLAIN)
        assert package.used[-1] == ("conv_fprop", engine)
    assert package.host.asked == [256, 128, 256]
    monkeypatch.setattr(cudnn_conv, "TF32", True)
    convolution.conv(images(3, 3, 6, 5), images(4, 3, 3, 3), **PLAIN)
    assert package.used[-1] == ("conv_fprop", "tensor cores")
    monkeypatch.setattr(cudnn_conv, "WORKSPACE", 100)
    assert convolution.conv(images(4, 3, 6, 5), images(4, 3, 3, 3), **PLAIN) is NotImplemented


def test_plans_are_made_once_for_a_geometry_and_the_oldest_goes(package, monkeypatch):
    monkeypatch.setattr(cudnn_frontend, "_plans", plans.Plans(2))
    w = images(4, 3, 3, 3)
    for n, made in ((2, 1), (2, 1), (3, 2), (2, 2), (4, 3), (3, 3), (2, 4)):
        convolution.conv(images(n, 3, 6, 5), w, **PLAIN)
        assert len(package.graphs) == made
    assert len(package.used) == 7 and len(package.streams) == 1 and package.set == 1


def test_a_case_without_an_engine_is_declined_and_not_asked_again(package, monkeypatch):
    x, w = images(2, 3, 6, 5), images(4, 3, 3, 3)
    package.refuse = {"conv_fprop"}
    for _ in range(2):
        assert convolution.conv(x, w, **PLAIN) is NotImplemented
    assert len(package.graphs) == 1
    check(convolution, "conv_weight", x, images(2, 4, 6, 5), shape=(3, 3), **PLAIN)
    for text in ("finalize failed, and code: CUDNN_STATUS_NOT_SUPPORTED_SHAPE", "No valid engine configs"):
        with monkeypatch.context() as patched:
            patched.setattr(frontend_stand_in.Graph, "check_support", raising(RuntimeError(text)))
            assert convolution.conv(images(len(text), 3, 6, 5), w, **PLAIN) is NotImplemented


def raising(error):
    def function(*arguments, **named):
        raise error

    return function


def test_other_trouble_is_raised(package, monkeypatch):
    x, w = images(2, 3, 6, 5), images(4, 3, 3, 3)
    with monkeypatch.context() as patched:
        patched.setattr(frontend_stand_in.Graph, "validate", raising(RuntimeError("the device is gone")))
        with pytest.raises(RuntimeError, match="the device is gone"):
            convolution.conv(x, w, **PLAIN)
    check(convolution, "conv", x, w, **PLAIN)
    monkeypatch.setattr(frontend_stand_in.Graph, "execute", raising(RuntimeError("the device is gone")))
    with pytest.raises(RuntimeError, match="the device is gone"):
        convolution.conv(x, w, **PLAIN)


def test_without_memory_for_the_workspace_the_body_does_the_work(package, monkeypatch):
    monkeypatch.setattr(package.host, "memory", raising(MemoryError()))
    assert convolution.conv(images(2, 3, 6, 5), images(4, 3, 3, 3), **PLAIN) is NotImplemented


def test_threads_have_their_own_handles_on_their_own_streams(package):
    w, found = images(4, 3, 3, 3), {}
    x = images(2, 3, 6, 5)
    wanted = convolution.conv(x, w, **PLAIN)
    barrier = threading.Barrier(4)

    def work(i):
        package.host.streams[threading.get_ident()] = 0x100 + i
        barrier.wait()
        found[i] = [convolution.conv(x, w, **PLAIN) for _ in range(3)]
        barrier.wait()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 4 and all(np.array_equal(y, wanted) for ys in found.values() for y in ys)
    assert len(package.streams) == 5 and len(package.graphs) == 1


# ---------------------------------------------------------------------------------------------------- finding the package


@pytest.fixture
def unsearched(monkeypatch):
    monkeypatch.setattr(cudnn_frontend, "state", cudnn_frontend.search())
    monkeypatch.delenv("POLYGRAD_CUDNN_FRONTEND", raising=False)
    return monkeypatch


def installed(patched, module, origin="somewhere/cudnn/__init__.py"):
    """`module` is what `import cudnn` gives, from a file of that name."""
    patched.setitem(sys.modules, "cudnn", module)
    spec = ModuleSpec("cudnn", None, origin=origin)
    patched.setattr(cudnn_frontend, "find_spec", lambda name: spec if name == "cudnn" else None)


def test_absence_is_silent_and_off_is_off(unsearched):
    unsearched.setattr(cudnn_frontend, "find_spec", lambda name: None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cudnn_frontend.loaded() is None
        assert cudnn_frontend.state.reason == 'not found; pip install "polygrad-array-api[cudnn-frontend]"'
        assert convolution.conv(images(2, 3, 6, 5), images(4, 3, 3, 3), **PLAIN) is NotImplemented
        unsearched.setattr(cudnn_frontend, "state", cudnn_frontend.search())
        unsearched.setenv("POLYGRAD_CUDNN_FRONTEND", "off")
        assert cudnn_frontend.loaded() is None
    assert cudnn_frontend.state.reason == "off by POLYGRAD_CUDNN_FRONTEND"


def test_the_package_is_found_and_tells_its_versions(unsearched, package):
    installed(unsearched, package)
    assert cudnn_frontend.loaded().text() == "1.32.0 with cuDNN 9.28.0"


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        (RuntimeError("Unable to find symbol"), "it finds no cuDNN: Unable to find symbol"),
        (80907, "it finds cuDNN 8.9.7, and polygrad asks for version 9"),
        (None, "has no attribute 'backend_version'"),
    ],
)
def test_a_package_that_cannot_be_used_says_why(unsearched, package, tmp_path, version, reason):
    if isinstance(version, int):
        package.version = version
    elif version is not None:
        unsearched.setattr(package, "backend_version", raising(version), raising=False)
    (tmp_path / "cudnn.py").touch()
    installed(unsearched, types.ModuleType("cudnn") if version is None else package, str(tmp_path / "cudnn.py"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cudnn_frontend.loaded() is None
    assert cudnn_frontend.state.reason.startswith(f"{tmp_path / 'cudnn.py'} cannot be used: ")
    assert reason in cudnn_frontend.state.reason


# ------------------------------------------------------------------------------------------------------ the package itself


@pytest.fixture(scope="module")
def real():
    """The package, which can be imported without a GPU."""
    if importlib.util.find_spec("cudnn") is None:
        pytest.skip("nvidia-cudnn-frontend is not installed (pip install --no-deps nvidia-cudnn-frontend)")
    import cudnn as module

    return module


def test_the_stand_in_has_the_names_of_the_package(real, package):
    for kind in ("data_type", "heur_mode", "numerical_note"):
        ours, theirs = getattr(frontend_stand_in.Frontend, kind), getattr(real, kind)
        assert all(hasattr(theirs, member.name) for member in ours), kind
    for name in ("backend_version", "backend_version_string", "create_handle", "set_stream", "pygraph"):
        assert callable(getattr(real, name)), name
    assert issubclass(real.cudnnGraphNotSupportedError, Exception) and real.__version__
    python = inspect.isfunction(real.set_stream)
    told = str(inspect.signature(real.set_stream)) if python else real.set_stream.__doc__
    assert "handle" in told and "stream" in told
    for name, function in inspect.getmembers(frontend_stand_in.Graph, inspect.isfunction):
        if not name.startswith("_"):
            assert callable(getattr(real.pygraph, name)), name
        if name.startswith("conv_"):
            native = importlib.import_module("cudnn._compiled_module")
            signature = getattr(getattr(native, "backend_graph", real.pygraph), name).__doc__
            wanted = list(inspect.signature(function).parameters)[1:]
            line = next(text for text in signature.splitlines() if "pre_padding:" in text)
            assert all(f"{parameter}:" in line for parameter in wanted), (name, line)
    for name, _ in inspect.getmembers(frontend_stand_in.Tensor, inspect.isfunction):
        assert name.startswith("__") or callable(getattr(real.tensor, name)), name


# What the package writes of an H100: it plans for a device that is not there, but loads the driver's library for it.
H100 = {
    "maxGridSize": [2147483647, 65535, 65535],
    "maxBlockSize": [1024, 1024, 64],
    "regsPerBlock": 65536,
    "multiProcessorCount": 132,
    "smCountOrigin": 0,
    "warpSize": 32,
    "maxSharedMemoryPerBlock": 49152,
    "maxSharedMemoryPerBlockOptin": 232448,
    "oversizedSharedMemoryPerBlock": 0,
    "reservedSharedMemoryPerBlock": 1024,
    "maxSharedMemoryPerSM": 233472,
    "maxRegistersPerSM": 65536,
    "maxCtasPerSM": 32,
    "maxThreadsPerBlock": 1024,
    "maxThreadsPerSM": 2048,
    "pciDeviceId": 0,
    "isTccDriver": 0,
    "supportCoopLaunch": 1,
    "totalGlobalMem": 85 * 10**9,
    "smClockRateKHz": 1980000,
    "memClockRateKHz": 2619000,
    "memoryBusWidth": 5120,
    "l2CacheSize": 52428800,
    "cudaDeviceId": 0,
    "deviceVer": 900,
    "driverVer": 12080,
    "deviceName": "NVIDIA H100 80GB HBM3",
}


@pytest.mark.parametrize("kind", ["conv", "conv_input", "conv_weight"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_the_package_plans_for_an_h100(real, dtype, kind):
    try:
        device = real.create_device_properties(json.dumps(H100))
        real.pygraph(device_property=device)
    except (AttributeError, RuntimeError, TypeError) as error:
        pytest.skip(f"cuDNN describes no device here: {error}")
    for size, kernel in (((29,), (3,)), ((28, 30), (3, 2)), ((9, 10, 8), (3, 3, 2))):
        n = len(size)
        for groups, pair, stride in ((1, (1, 1), 1), (4, (0, 1), 2), (32, (2, 0), 1)):
            steps = (stride,) * n, (pair,) * n, (1,) * n
            out = geometry.counts(size, kernel, *steps)
            case = geometry.Case(kind, (8, 32, *size), (64, 32 // groups, *kernel), (8, 64, *out), *steps, groups)
            for last in (False, True) if dtype != "float64" else (False,):
                try:
                    graph = cudnn_frontend.graph(real, case, dtype, last, device_property=device)
                except RuntimeError as error:
                    if "driver" in str(error):
                        pytest.skip(f"a driver is asked for: {error}")
                    raise
                assert 0 <= graph.get_workspace_size() <= cudnn_conv.WORKSPACE
