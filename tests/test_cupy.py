"""The CuPy adapter where there is no GPU: its calls of cuDNN on a stand-in library, and its kernels compiled for the processor,
both beside the float64 bodies and PyTorch; and libraries that cannot be used."""

import ctypes
import gc
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cudnn_stand_in as stand_in
from conftest import require_torch
from cudnn_stand_in import array
from polygrad.core import get_backend
from polygrad.core.backend import declared
from test_fast_numpy import arrays, convolutions, pools

PARTS = (
    "convolution cudnn cudnn_conv cudnn_descriptors cudnn_frontend cudnn_norm cudnn_pool kernels plans runtime".split()
)
(
    convolution,
    cudnn,
    cudnn_conv,
    cudnn_descriptors,
    cudnn_frontend,
    cudnn_norm,
    cudnn_pool,
    kernels,
    plans,
    runtime,
) = stand_in.adapter(*PARTS)
FEW = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
TOLERANCE = {"float16": 5e-3, "float32": 1e-5, "float64": 1e-12}
compiles = pytest.mark.skipif(stand_in.COMPILER is None, reason="no C compiler to run the kernels on the processor")
NONE = ((0, 0),) * 2


@pytest.fixture(autouse=True)
def library(monkeypatch):
    """The stand-in for cuDNN, used as if it had been found, without its frontend."""
    host = stand_in.Host()
    monkeypatch.setattr(runtime, "_current", [host])
    fake = stand_in.Cudnn(cudnn, host)
    monkeypatch.setattr(cudnn.state, "found", cudnn.Library(fake, "the stand-in"))
    monkeypatch.setattr(cudnn.state, "tried", True)
    monkeypatch.setattr(cudnn_frontend.state, "tried", True)
    monkeypatch.setattr(cudnn_descriptors, "_plans", plans.Plans(cudnn_descriptors.MOST))
    return fake


def double(value):
    if isinstance(value, list | tuple):
        return type(value)(double(v) for v in value)
    if isinstance(value, np.ndarray):
        value = np.asarray(value)
        return value.astype(np.float64) if value.dtype.kind == "f" else value
    return value


def check(module, name, *operands, must=True, **params):
    """The override's result beside that of the body in float64; returns it, or None where it declines."""
    found = getattr(module, name)(*operands, **params)
    if found is NotImplemented:
        assert not must, "declined"
        return None
    wanted = get_backend("numpy").ready().reference(declared.ops[name])(*double(list(operands)), **params)
    several = isinstance(wanted, tuple)
    floats = [a for a in operands if isinstance(a, np.ndarray) and a.dtype.kind == "f"] or operands[0]
    for f, w in zip(found if several else [found], wanted if several else [wanted], strict=True):
        w = np.asarray(w)
        if f.shape != w.shape:  # what the engine would sum
            lead = w.ndim - f.ndim
            extra = tuple(i for i in range(w.ndim) if i < lead or f.shape[i - lead] != w.shape[i])
            w = w.sum(extra).reshape(f.shape)
        if w.dtype.kind == "f":
            assert f.dtype == floats[0].dtype
            tolerance = TOLERANCE[f.dtype.name]
            np.testing.assert_allclose(f, w, rtol=tolerance, atol=tolerance * max(1.0, np.abs(w).max()))
        else:
            np.testing.assert_array_equal(f, w)
            assert f.dtype == w.dtype
    return found


# ----------------------------------------------------------------------------------------------------------- convolution


def symmetric(geometry):
    return all(lo == hi >= 0 for lo, hi in geometry["padding"])


@FEW
@given(convolutions(), st.booleans())
def test_convolution_and_its_transposes(library, drawn, half):
    x, w, z, geometry = drawn
    if half and x.dtype == np.float32:
        x, w, z = (a.astype(np.float16) for a in (x, w, z))
    x, w, z = (array(a) for a in (x, w, z))
    must = symmetric(geometry) and x.dtype.kind == "f"
    check(convolution, "conv", x, w, must=must, **geometry)
    check(convolution, "conv_input", z, w, must=must, shape=x.shape[2:], **geometry)
    check(convolution, "conv_weight", x, z, must=must, shape=w.shape[2:], **geometry)


def images(*shape, dtype="float32", last=False):
    rng = np.random.default_rng(sum(shape))
    made = rng.standard_normal((shape[0], *shape[2:], shape[1]) if last else shape).astype(dtype)
    return array(np.moveaxis(made, -1, 1) if last else made)


PLAIN = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("last", [False, True])
def test_images_stay_as_they_lie_and_weights_in_order(library, dtype, last):
    x, w = images(2, 8, 6, 5, dtype=dtype, last=last), images(4, 8, 3, 3, dtype=dtype)
    y = check(convolution, "conv", x, w, **PLAIN)
    stays = last and dtype != "float64"  # for which cuDNN has no channels-last kernels
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous is stays
    back = check(convolution, "conv_input", y, w, shape=(6, 5), **PLAIN)
    assert back.transpose(0, 2, 3, 1).flags.c_contiguous is stays
    assert check(convolution, "conv_weight", x, y, shape=(3, 3), **PLAIN).flags.c_contiguous
    layouts = {o["layout"] for o in library.objects.values() if "layout" in o}
    assert layouts == {int(stays)}


def test_without_a_channels_last_kernel_copies_are_made(library):
    library.refuse_last = True
    x, w = images(2, 8, 6, 5, last=True), images(4, 8, 3, 3)
    y = check(convolution, "conv", x, w, **PLAIN)
    assert y.flags.c_contiguous
    searched = library.count["GetConvolutionForwardAlgorithm_v7"]
    check(convolution, "conv", x, w, **PLAIN)
    assert library.count["GetConvolutionForwardAlgorithm_v7"] == searched == 2


def test_the_fastest_deterministic_algorithm_within_the_workspace_is_taken(library, monkeypatch):
    x, w = images(2, 3, 6, 5), images(4, 3, 3, 3)
    convolution.conv(x, w, **PLAIN)
    assert library.used == [("Forward", 1)] and library.host.asked == [256]
    monkeypatch.setattr(cudnn_conv, "WORKSPACE", 255)
    convolution.conv(images(3, 3, 6, 5), w, **PLAIN)
    assert library.used[-1] == ("Forward", 0) and library.host.asked == [256]


def test_an_algorithm_that_fails_is_not_asked_again_and_without_memory_the_next_is_taken(library, monkeypatch):
    x, w = images(2, 3, 6, 5), images(4, 3, 3, 3)
    library.fail = {1}
    check(convolution, "conv", x, w, **PLAIN)
    check(convolution, "conv", x, w, **PLAIN)
    assert library.used == [("Forward", 0)] * 2 and library.count["ConvolutionForward"] == 3
    library.fail = {0, 1}
    assert convolution.conv(x, w, **PLAIN) is NotImplemented
    library.fail = set()

    def full(size):
        raise MemoryError

    monkeypatch.setattr(library.host, "memory", full)
    z = convolution.conv(images(3, 3, 6, 5), w, **PLAIN)
    assert z is not NotImplemented and library.used[-1] == ("Forward", 0)


def test_plans_are_made_once_for_a_geometry_and_descriptors_go_with_them(library):
    x, w = images(2, 3, 6, 5), images(4, 3, 3, 3)
    for _ in range(3):
        convolution.conv(x, w, **PLAIN)
    assert library.count["CreateTensorDescriptor"] == 2 and library.count["Create"] == 1
    assert library.count["ConvolutionForward"] == 3 and library.count["SetStream"] == 1
    convolution.conv(x, w, **{**PLAIN, "stride": (2, 1)})
    assert library.count["CreateTensorDescriptor"] == 4
    cudnn_descriptors._plans.made.clear()
    gc.collect()
    assert library.count["DestroyTensorDescriptor"] == 4 and library.count["DestroyFilterDescriptor"] == 2
    assert [*library.objects.values()] == [{"stream": library.host.stream()}]  # the handle


def test_threads_have_their_own_handles_on_their_own_streams(library):
    w, found, wanted = images(4, 3, 3, 3), {}, {}
    inputs = {i: images(1 + i, 3, 6, 5) for i in range(6)}
    for i, x in inputs.items():
        wanted[i] = convolution.conv(x, w, **PLAIN)
    barrier = threading.Barrier(len(inputs))

    def work(i):
        library.host.streams[threading.get_ident()] = 0x100 + i
        barrier.wait()  # so that all six live at once
        found[i] = [convolution.conv(inputs[i], w, **PLAIN) for _ in range(3)]
        barrier.wait()

    threads = [threading.Thread(target=work, args=(i,)) for i in inputs]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(np.array_equal(y, wanted[i]) for i in inputs for y in found[i])
    assert library.count["Create"] == 1 + len(inputs)
    gc.collect()
    last = threading.Thread(target=lambda: convolution.conv(inputs[0], w, **PLAIN))
    last.start()
    last.join()
    assert library.count["Create"] == 1 + len(inputs), "a handle of a thread that has ended is taken again"


def test_what_cudnn_does_not_do_is_declined(library):
    x, w = images(2, 3, 6, 5), images(4, 3, 3, 3)
    for wrong in (
        {"padding": ((1, 2), (1, 1)), "stride": (1, 1)},
        {"padding": ((-1, -1), (1, 1))},
        {"stride": (0, 1)},
        {"groups": 3},
        {"groups": 0},
        {"dilation": (9, 1)},
        {"stride": (1,)},
    ):
        assert convolution.conv(x, w, **{**PLAIN, **wrong}) is NotImplemented, wrong
    for a, b in ((x, w.astype("f8")), (x.astype("i4"), w.astype("i4")), (x[:0], w), (x, w[:, :2]), (x[0], w)):
        assert convolution.conv(array(a), array(b), **PLAIN) is NotImplemented
    assert convolution.conv_input(x, w, shape=(9, 9), **PLAIN) is NotImplemented
    assert convolution.conv_weight(x, images(2, 4, 9, 9), shape=(3, 3), **PLAIN) is NotImplemented
    # padding after that no window reaches is fine
    check(convolution, "conv", x, w, **{**PLAIN, "padding": ((1, 0), (1, 2)), "stride": (3, 2)})


def test_trouble_that_is_not_a_missing_kernel_is_raised(library):
    x, w = images(2, 3, 6, 5), images(4, 3, 3, 3)
    convolution.conv(x, w, **PLAIN)
    library.host.stream = lambda: 0x99  # not what the library sees: it is asked again in the call
    library._ready = lambda handle: stand_in._require(False, "the device is gone", 5000)
    with pytest.raises(RuntimeError, match="cudnnConvolutionForward: .*the device is gone.*status 5000"):
        convolution.conv(x, w, **PLAIN)


def test_convolution_beside_pytorch(library):
    torch = require_torch()
    for groups, shape, kernel in ((1, (2, 4, 9), (3,)), (2, (2, 4, 7, 6), (3, 2)), (4, (1, 4, 5, 6, 6), (2, 3, 1))):
        n = len(kernel)
        geometry = {"stride": (2, 1, 2)[:n], "dilation": (1, 2, 1)[:n], "groups": groups}
        x, w = images(*shape), images(8, 4 // groups, *kernel)
        given, weight = (torch.tensor(np.asarray(a), requires_grad=True) for a in (x, w))
        y = getattr(torch, f"conv{n}d")(given, weight, padding=(1, 0, 1)[:n], **geometry)
        geometry["padding"] = ((1, 1), (0, 0), (1, 1))[:n]
        z = images(*y.shape)
        y.backward(torch.tensor(np.asarray(z)))
        for found, wanted in (
            (convolution.conv(x, w, **geometry), y),
            (convolution.conv_input(z, w, shape=shape[2:], **geometry), given.grad),
            (convolution.conv_weight(x, z, shape=kernel, **geometry), weight.grad),
        ):
            np.testing.assert_allclose(found, wanted.detach().numpy(), rtol=1e-4, atol=1e-4)


# --------------------------------------------------------------------------------------------------- pooling and norms


@FEW
@given(st.data())
def test_average_pooling_and_its_transpose(library, data):
    n = data.draw(st.integers(1, 3))
    axes = [
        (
            data.draw(st.integers(4, 7)),
            data.draw(st.integers(1, 3)),
            data.draw(st.integers(1, 3)),
            data.draw(st.integers(0, 2)),
        )
        for _ in range(n)
    ]
    size, kernel, stride, pads = zip(*axes, strict=True)
    params = {
        "kernel_size": kernel,
        "stride": stride,
        "padding": tuple((p, p) for p in pads),
        "count_include_pad": data.draw(st.booleans()),
        "divisor_override": data.draw(st.sampled_from([None, None, 3])),
    }
    dtype = data.draw(st.sampled_from(["float16", "float32", "float64"]))
    x = array(data.draw(arrays((2, 3, *size), "float32")).astype(dtype, copy=False))
    must = all(p < k for p, k in zip(pads, kernel, strict=True))
    y = check(cudnn_pool, "avg_pool", x, must=must, **params)
    if y is not None:
        z = array(np.random.default_rng(1).standard_normal(y.shape).astype(dtype))
        check(cudnn_pool, "avg_unpool", z, shape=size, **params)


@compiles
@FEW
@given(st.data())
def test_batch_norm(library, data):
    shape = data.draw(st.sampled_from([(2, 3, 4, 5), (3, 4, 6), (2, 3, 2, 3, 2), (1, 2, 1, 2)]))
    dtype = data.draw(st.sampled_from(["float16", "float32", "float64"]))
    x, g = (array(data.draw(arrays(shape)).astype(dtype, copy=False)) for _ in range(2))
    rng, small = np.random.default_rng(2), (shape[1], *[1] * (len(shape) - 2))
    form, along = data.draw(st.sampled_from([(small, None), ((1, *small), None), (small[:1], 1)]))
    weight, bias = (array(rng.standard_normal(form).astype(dtype)) for _ in range(2))
    params = {"axis": (0, *range(2, len(shape))), "eps": 0.1, "along": along}
    y, mean, var = check(cudnn_norm, "normalize", [x, weight, bias], **params)
    g_mean, g_var = (array(rng.standard_normal(mean.shape).astype(dtype)) for _ in range(2))
    for moments in ((g_mean, g_var), (g_mean, None), (None, g_var), (None, None)):
        check(cudnn_norm, "normalize_backward", x, g, *moments, mean, var, weight, bias, **params)
    assert library.count["BatchNormalizationForwardTraining"]


def test_other_norms_are_declined(library):
    x, line, few = images(2, 3, 4, 5), images(5, 1)[:, 0], images(3, 1, 1)
    assert cudnn_norm.normalize([x, line, line], axis=-1, eps=1e-3) is NotImplemented
    assert cudnn_norm.normalize([x], axis=(0, 2, 3), eps=1e-3) is NotImplemented
    cube, three = images(2, 3, 3, 3), images(3, 1)[:, 0]
    for along in (None, 2, 3):
        assert cudnn_norm.normalize([cube, three, three], axis=(0, 2, 3), eps=1e-3, along=along) is NotImplemented
    assert cudnn_norm.normalize([x, few, few], axis=(0, 2), eps=1e-3) is NotImplemented
    alone = images(1, 3, 1, 1)
    assert cudnn_norm.normalize([alone, few, few], axis=(0, 2, 3), eps=1e-3) is NotImplemented


@compiles
def test_what_cudnn_refuses_when_it_is_asked_is_declined(library, monkeypatch):
    """Norms and pools have no query for support: cuDNN says only when it is called that it does not do the case."""
    x, g = images(2, 3, 6, 5, last=True), images(2, 3, 6, 5, last=True)
    small = [array(np.abs(images(3, 1, 1))) for _ in range(6)]
    norm, pool = {"axis": (0, 2, 3), "eps": 1e-3}, {"kernel_size": (2, 2), "stride": (2, 2), "padding": NONE}
    pool |= {"count_include_pad": True, "divisor_override": None}
    calls = (
        lambda: cudnn_norm.normalize([x, *small[:2]], **norm),
        lambda: cudnn_norm.normalize_backward(x, g, *small, **norm),
        lambda: cudnn_pool.avg_pool(x, **pool),
        lambda: cudnn_pool.avg_unpool(images(2, 3, 3, 2), shape=(6, 5), **pool),
    )
    memory = stand_in._memory

    def no_channels_last(pointer, descriptor):
        strides = descriptor["strides"]
        stand_in._require(strides[1] > 1 or len(strides) < 4 or descriptor["shape"][0] == 1, "layout", 3000)
        return memory(pointer, descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(stand_in, "_memory", no_channels_last)
        for call in calls[:3]:
            found = call()
            assert (found[0] if isinstance(found, tuple) else found).flags.c_contiguous
    asked = sum(library.count.values())
    library._ready = lambda handle: stand_in._require(False, "a case that it does not do", 3000)
    for call in calls:
        assert call() is NotImplemented
    assert sum(library.count.values()) > asked
    count = {name: n for name, n in library.count.items() if "Forward" in name or "Backward" in name}
    for call in calls:
        assert call() is NotImplemented
    again = {name: n for name, n in library.count.items() if "Forward" in name or "Backward" in name}
    assert again == count, "it is not asked again"


def test_what_lies_between_aligned_addresses_is_copied(library):
    x, w = images(3, 1, 5, 5, dtype="float16"), images(2, 1, 3, 3, dtype="float16")
    assert x[1:].data.ptr % 16 and cudnn_descriptors.ordered(x, False).data.ptr == x.data.ptr
    held = cudnn_descriptors.ordered(x[1:], False)
    assert held.data.ptr % 16 == 0 and np.array_equal(held, x[1:])
    check(convolution, "conv", x[1:], w, **PLAIN)


# --------------------------------------------------------------------------------------------------------------- kernels


@compiles
@FEW
@given(pools(), st.sampled_from(["float16", "float32", "float64", "int64", "uint8"]))
def test_max_pool_and_its_transpose(drawn, dtype):
    x, geometry = drawn
    x = array(np.nan_to_num(x, nan=3.0).astype(dtype) if dtype[0] != "f" else x.astype(dtype))
    found = check(kernels, "max_pool", x, must=False, **geometry)
    if found is None:
        with pytest.raises(RuntimeError):
            get_backend("numpy").ready().reference(declared.ops["max_pool"])(np.asarray(x), **geometry)
        return
    y, indices = found
    assert indices.base is not None  # `owned` says that somebody else may see it
    if dtype[0] == "f":
        g = array(np.random.default_rng(1).standard_normal(y.shape).astype(dtype))
        check(kernels, "max_unpool", g, indices, shape=x.shape[2:])
        assert kernels.max_unpool(g, array(indices.copy()), shape=x.shape[2:]) is NotImplemented
    count = len(kernels._geometries)
    del found, indices
    assert len(kernels._geometries) == count - 1


@compiles
@FEW
@given(st.data())
def test_element_by_element(data):
    dtype = data.draw(st.sampled_from(["float16", "float32", "float64"]))
    shape = data.draw(st.sampled_from([(6, 5), (2, 3, 4, 5)]))
    x, g = (array((3 * data.draw(arrays(shape))).astype(dtype)) for _ in range(2))
    for name in ("sigmoid", "silu", "mish", "gelu_exact", "gelu_tanh"):
        y = check(kernels, name, x)
        assert np.argsort(y.strides).tolist() == np.argsort(np.empty_like(x).strides).tolist()
    check(kernels, "softplus", x, beta=2.0, threshold=3.0)
    check(kernels, "leaky_relu", x, negative_slope=0.1)
    check(kernels, "gelu_tanh_backward", g, x)
    check(kernels, "relu_backward", g, x)
    check(kernels, "masked_scale", x, array(np.asarray(g) > 0), scale=1.25)
    check(kernels, "sum_product", g, x, axis=data.draw(st.sampled_from([None, 0, -1, (0, 1)])), keepdims=True)
    assert kernels.sigmoid(array(x.astype("complex64"))) is NotImplemented
    assert kernels.relu_backward(g, array(x[:1])) is NotImplemented


@compiles
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "make",
    [
        lambda optim, p: optim.SGD(p, lr=0.1),
        lambda optim, p: optim.SGD(p, lr=0.1, momentum=0.9),
        lambda optim, p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True),
        lambda optim, p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.3),
        lambda optim, p: optim.Adam(p, lr=0.1, weight_decay=0.1),
        lambda optim, p: optim.AdamW(p, lr=0.1, weight_decay=0.1),
    ],
)
def test_optimizers_beside_pytorch(make, dtype):
    """The rules as the optimizers hand them over, on the arrays of the stand-in."""
    torch, pg = require_torch(), pytest.importorskip("polygrad")
    start = np.random.default_rng(0).standard_normal((3, 4)).astype(dtype)
    ours, theirs = pg.nn.Parameter(pg.tensor(start)), torch.nn.Parameter(torch.tensor(start))
    used, backend = [], get_backend("numpy")

    def blockwise(function, arrays, reusable, rule, numbers, options):
        results = kernels.blockwise(function, [array(a) for a in arrays], reusable, rule, numbers, options)
        used.append(results is not NotImplemented)
        return results if results is NotImplemented else tuple(np.asarray(r) for r in results)

    one, other = make(pg.optim, [ours]), make(torch.optim, [theirs])
    before, backend.blockwise = backend.blockwise, blockwise
    try:
        for step in range(4):
            for p in (ours, theirs):
                (p * p * (step + 1)).sum().backward()
            for optimizer in (one, other):
                optimizer.step()
                optimizer.zero_grad()
    finally:
        backend.blockwise = before
    assert any(used)
    within = 1e-6 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=within, atol=within)


# ---------------------------------------------------------------------------------------------------- finding the library


@pytest.fixture
def unsearched(monkeypatch):
    monkeypatch.setattr(cudnn, "state", cudnn.search())
    monkeypatch.delenv("POLYGRAD_CUDNN_LIB", raising=False)
    return monkeypatch


def test_versions(library):
    for number, text in ((91002, "9.10.2"), (90100, "9.1.0")):
        assert cudnn.Library(stand_in.Cudnn(cudnn, library.host, number), "x").text() == f"{text} (x)"
    for number, text in ((8907, "8.9"), (100000, "10.0"), (7605, "7.6")):
        with pytest.raises(OSError, match=f"it is version {text}, and polygrad speaks the API of version 9"):
            cudnn.Library(stand_in.Cudnn(cudnn, library.host, number), "x")


def test_a_library_that_is_not_one_gives_one_message(unsearched, tmp_path):
    corrupt = tmp_path / "libcudnn.so.9"
    corrupt.write_bytes(bytes(range(256)) * 16)
    for path in (corrupt, tmp_path / "absent.so"):
        unsearched.setattr(cudnn, "state", cudnn.search())
        unsearched.setenv("POLYGRAD_CUDNN_LIB", str(path))
        with pytest.warns(
            RuntimeWarning, match="POLYGRAD_CUDNN_LIB: .* cannot be used: .*; the ops' bodies do the work"
        ):
            assert cudnn.loaded() is None
        assert convolution.conv(images(2, 3, 6, 5), images(4, 3, 3, 3), **PLAIN) is NotImplemented
        assert cudnn.state.reason.startswith(f"{path} cannot be used")


def test_a_library_of_another_version_is_refused(unsearched, library, tmp_path):
    old = stand_in.Cudnn(cudnn, library.host, 8907)
    unsearched.setattr(ctypes, "CDLL", lambda path: old)
    unsearched.setenv("POLYGRAD_CUDNN_LIB", "somewhere")
    with pytest.warns(RuntimeWarning, match="it is version 8.9, and polygrad speaks the API of version 9"):
        assert cudnn.loaded() is None


def test_the_order_of_the_search(unsearched, tmp_path):
    wheel, conda = tmp_path / "nvidia" / "cudnn" / cudnn.FOLDER, tmp_path / "conda" / cudnn.FOLDER
    for folder in (wheel, conda):
        folder.mkdir(parents=True)
        (folder / cudnn.FILE).touch()
    unsearched.setattr(cudnn.sys, "path", [str(tmp_path)])
    unsearched.setenv("CONDA_PREFIX", str(tmp_path / "conda"))
    assert cudnn.candidates() == [str(wheel / cudnn.FILE), str(conda / cudnn.FILE), cudnn.FILE]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cudnn.loaded() is None
    assert cudnn.state.reason.startswith(f"{wheel / cudnn.FILE} cannot be used")


def test_absence_is_silent_and_off_is_off(unsearched):
    unsearched.setattr(cudnn, "candidates", lambda: ["libcudnn-of-nobody.so.9"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cudnn.loaded() is None
        assert cudnn.state.reason.startswith("not found; pip install")
        unsearched.setattr(cudnn, "state", cudnn.search())
        unsearched.setenv("POLYGRAD_CUDNN_LIB", "off")
        assert cudnn.loaded() is None
    assert cudnn.state.reason == "off by POLYGRAD_CUDNN_LIB"


# ----------------------------------------------------------------------------------------------------- all derivatives

# An adapter of NumPy whose fast paths are those of CuPy's, on the stand-in; it prints which ones did something.
ADAPTER = """
import atexit
import array_api_compat.numpy as xp
import numpy as np
import cudnn_stand_in as stand_in
from polygrad.core import Backend

PARTS = "cudnn", "cudnn_frontend", "runtime", "convolution", "cudnn_norm", "cudnn_pool", "kernels"
cudnn, cudnn_frontend, runtime, *modules = stand_in.adapter(*PARTS)
host, used = stand_in.Host(), set()
runtime.use(host)
library = stand_in.Cudnn(cudnn, host)
cudnn.state.found, cudnn.state.tried = cudnn.Library(library, "the stand-in"), True
cudnn_frontend.state.tried = True

def across(value, kind, make):
    if isinstance(value, list | tuple):
        return type(value)(across(v, kind, make) for v in value)
    return make(value) if isinstance(value, kind) else value

def override(name, function):
    def overridden(*operands, **parameters):
        result = function(*across(operands, np.ndarray, stand_in.array), **parameters)
        if result is not NotImplemented:
            used.add(name)
        return across(result, stand_in.Array, np.asarray)
    return overridden

fast = {name: override(name, getattr(module, name)) for module in modules for name in module.__all__}
backend = Backend("stand_in", xp, to_numpy=np.asarray, **fast)
atexit.register(lambda: print("used", *sorted(used)))
"""
OPS = (
    "conv conv_input conv_weight avg_pool avg_unpool max_pool normalize gelu_exact gelu_tanh silu masked_scale".split()
)


@compiles
def test_every_derivative_of_what_is_overridden(tmp_path):
    """The conformance suite over the overrides: values, both modes and the second order."""
    (tmp_path / "polygrad_stand_in").mkdir()
    (tmp_path / "polygrad_stand_in" / "__init__.py").write_text(ADAPTER)
    paths = [str(tmp_path), str(Path(__file__).parent), *sys.path]
    environment = {**os.environ, "POLYGRAD_BACKEND": "stand_in", "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "polygrad_conformance", "--backend", "stand_in"]
    command += [argument for name in OPS for argument in ("--only", name)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    used = next(line for line in done.stdout.splitlines() if line.startswith("used")).split()[1:]
    assert {*OPS, "normalize_backward", "gelu_tanh_backward", "sum_product"} <= set(used)
