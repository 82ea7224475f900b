"""Convolution, pooling, patches and padding, against PyTorch, and against themselves where there is no PyTorch."""

import importlib
import itertools
import tracemalloc
from functools import partial

import numpy as np
import pytest

import polygrad as pg
from conftest import backend_names
from polygrad.core import get_backend
from polygrad.core.backend import declared
from polygrad.ops import pooling, windows

NAMES = ("conv", "conv_input", "conv_weight", "fold", "unfold", "max_pool", "max_unpool", "avg_pool", "avg_unpool")


@pytest.fixture(params=["whole", "in blocks", "batch outermost"])
def blocks(request, monkeypatch):
    """How bodies cut their work: not at all, at almost every place, or with the batch never innermost."""
    if request.param == "in blocks":
        monkeypatch.setattr(windows, "BLOCK", 16)
        monkeypatch.setattr(windows, "PRODUCT", 4)
    if request.param == "batch outermost":
        monkeypatch.setattr(windows, "PLANE", 0)


def random(seed, *shape, dtype=np.float64):
    """Normal numbers of this shape, the same for the same seed."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape) if np.dtype(dtype).kind == "c" else x).astype(dtype)


def pairs(padding):
    """Symmetric padding as the ops take it."""
    return tuple((p, p) for p in padding)


def close(found, wanted, tolerance=1e-10):
    """Assert that two arrays have one shape, dtype and value."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape and found.dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)


# --------------------------------------------------------------------------------------------------------- convolution

# batch, channels per group, outputs per group, groups, size, kernel, stride, padding, dilation
CONVOLUTIONS = [
    (2, 3, 4, 1, (9,), (3,), (1,), (0,), (1,)),
    (2, 1, 2, 3, (8,), (4,), (3,), (2,), (2,)),
    (1, 2, 2, 1, (5,), (1,), (2,), (0,), (1,)),
    (2, 3, 4, 1, (5, 7), (1, 1), (1, 1), (0, 0), (1, 1)),
    (3, 4, 2, 1, (6, 5), (3, 3), (1, 1), (1, 1), (1, 1)),
    (9, 2, 3, 1, (7, 8), (3, 2), (2, 3), (1, 0), (1, 2)),
    (2, 1, 1, 4, (6, 7), (3, 3), (1, 1), (1, 1), (1, 1)),
    (2, 1, 2, 3, (7, 6), (2, 4), (2, 1), (1, 2), (2, 1)),
    (2, 2, 3, 2, (9, 9), (2, 3), (4, 2), (0, 1), (2, 4)),
    (1, 3, 8, 1, (8, 8), (5, 5), (2, 2), (2, 2), (1, 1)),
    (2, 8, 1, 1, (5, 4), (4, 3), (1, 1), (3, 3), (1, 1)),
    (2, 2, 2, 1, (3, 4, 5), (2, 3, 2), (1, 1, 1), (0, 1, 1), (1, 1, 1)),
    (1, 1, 4, 2, (5, 4, 6), (3, 2, 2), (2, 1, 3), (1, 0, 2), (1, 2, 1)),
]


def convolution(case, dtype=np.float64):
    """The arrays x and w, and the parameters, of one row of CONVOLUTIONS."""
    batch, inputs, outputs, groups, size, kernel, stride, padding, dilation = case
    x = random(1, batch, groups * inputs, *size, dtype=dtype)
    w = random(2, groups * outputs, inputs, *kernel, dtype=dtype)
    return x, w, {"stride": stride, "padding": pairs(padding), "dilation": dilation, "groups": groups}


@pytest.mark.parametrize(
    ("case", "dtype"),
    [(c, np.float64) for c in CONVOLUTIONS] + [(c, np.complex128) for c in CONVOLUTIONS[1::4]],
    ids=str,
)
def test_convolution_and_its_gradients_are_pytorchs(backend, torch, case, dtype):
    x, w, params = convolution(case, dtype)
    tx, tw = torch.tensor(x, requires_grad=True), torch.tensor(w, requires_grad=True)
    function = getattr(torch.nn.functional, f"conv{x.ndim - 2}d")
    ty = function(tx, tw, None, case[6], case[7], case[8], params["groups"])
    g = random(3, *ty.shape, dtype=dtype)
    ty.backward(torch.tensor(g))
    px, pw = pg.tensor(x, requires_grad=True), pg.tensor(w, requires_grad=True)
    y = windows.conv(px, pw, **params)
    y.backward(pg.tensor(g))
    close(y.detach().numpy(), ty.detach())
    close(px.grad.numpy(), tx.grad.resolve_conj())
    close(pw.grad.numpy(), tw.grad.resolve_conj())


@pytest.mark.parametrize("case", CONVOLUTIONS[::3], ids=str)
def test_second_derivatives_are_pytorchs(torch, case):
    x, w, params = convolution(case)
    function = getattr(torch.nn.functional, f"conv{x.ndim - 2}d")

    def penalty(grad, y, x, w):
        gx, gw = grad((y**3).sum(), [x, w], create_graph=True)
        return (gx**2).sum() + (gw**2).sum()

    tx, tw = torch.tensor(x, requires_grad=True), torch.tensor(w, requires_grad=True)
    ty = function(tx, tw, None, case[6], case[7], case[8], params["groups"])
    wanted = torch.autograd.grad(penalty(torch.autograd.grad, ty, tx, tw), [tx, tw])
    px, pw = pg.tensor(x, requires_grad=True), pg.tensor(w, requires_grad=True)
    py = windows.conv(px, pw, **params)
    found = pg.autograd.grad(penalty(pg.autograd.grad, py, px, pw), [px, pw])
    for f, t in zip(found, wanted, strict=True):
        close(f.numpy() / abs(t.numpy()).max(), t.numpy() / abs(t.numpy()).max())


@pytest.mark.parametrize("name", ["numpy", "array_api_strict"])
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_the_three_convolutions_are_transposes(name, dtype, case, blocks):
    backend = get_backend(name)
    xp = backend.arrays
    x, w, params = convolution(case, dtype)
    # Beyond what PyTorch has: padding that differs by side, and crops.
    params["padding"] = ((2, 1), (-1, 2), (0, 1))[: x.ndim - 2]
    size, kernel, stride, dilation = x.shape[2:], w.shape[2:], params["stride"], params["dilation"]
    out = windows.window_counts(size, kernel, stride, params["padding"], dilation)
    z = random(3, x.shape[0], w.shape[0], *out, dtype=dtype)
    ax, aw, az = (backend.asarray(a) for a in (x, w, z))
    y = backend.to_numpy(xp.conv(ax, aw, **params))
    gx = backend.to_numpy(xp.conv_input(az, aw, shape=size, **params))
    gw = backend.to_numpy(xp.conv_weight(ax, az, shape=kernel, **params))
    assert y.shape == z.shape and gx.shape == x.shape and gw.shape == w.shape
    assert np.sum(z * y) == pytest.approx(np.sum(gx * x), rel=1e-10, abs=1e-10)
    assert np.sum(z * y) == pytest.approx(np.sum(gw * w), rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_convolution_is_its_definition(case, blocks):
    x, w, params = convolution(case)
    groups, stride, dilation = params["groups"], params["stride"], params["dilation"]
    padded = np.pad(x, ((0, 0), (0, 0), *params["padding"]))
    out = windows.window_counts(x.shape[2:], w.shape[2:], stride, params["padding"], dilation)
    wanted = np.zeros((x.shape[0], w.shape[0], *out))
    each = w.shape[0] // groups
    for at in itertools.product(*map(range, out)):
        spans = [slice(i * s, i * s + k * d, d) for i, s, k, d in zip(at, stride, w.shape[2:], dilation, strict=True)]
        patch = padded[(slice(None), slice(None), *spans)].reshape(x.shape[0], groups, -1)
        for g in range(groups):
            rows = w[g * each : (g + 1) * each].reshape(each, -1)
            wanted[(slice(None), slice(g * each, (g + 1) * each), *at)] = patch[:, g] @ rows.T
    close(windows.conv(pg.tensor(x), pg.tensor(w), **params).numpy(), wanted)


def test_columns_stay_in_bounds():
    x, w = np.ones((2, 16, 160, 160), np.float32), np.ones((4, 16, 3, 3), np.float32)
    params = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
    xp = get_backend("numpy").arrays
    columns = 9 * x.nbytes
    for made in (
        lambda: xp.conv(x, w, **params),
        lambda: xp.conv_weight(x, x[:, :4], shape=(3, 3), **params),
        lambda: xp.conv_input(x[:, :4], w, shape=(160, 160), **params),
        lambda: xp.conv_input(x, np.ones((16, 4, 3, 3), np.float32), shape=(160, 160), **params),
    ):
        tracemalloc.start()
        made()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < columns / 2


def test_an_empty_batch_passes(backend):
    x, w = pg.zeros((0, 2, 5, 5), requires_grad=True), pg.ones((3, 2, 3, 3), requires_grad=True)
    y = windows.conv(x, w, stride=(2, 2), padding=((1, 1), (1, 1)), dilation=(1, 1), groups=1)
    assert y.shape == (0, 3, 3, 3)
    y.sum().backward()
    assert x.grad.shape == x.shape
    close(w.grad.numpy(), np.zeros(w.shape, np.float32))


PLAIN = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
REFUSED = [
    (
        {"x": (1, 4, 5, 5)},
        {},
        r"weight of size \[2, 3, 3, 3\], expected input\[1, 4, 5, 5\] to have 3 channels, but got 4",
    ),
    ({"x": (1, 3, 5)}, {}, r"got \[1, 3, 5\] and \[2, 3, 3, 3\]"),
    (
        {"x": (1, 9, 5, 5)},
        {"groups": 3},
        r"expected weight to be divisible by 3 at dimension 0, but got .*\[2, 3, 3, 3\]",
    ),
    ({"x": (1, 3, 2, 5)}, {}, r"padded input size per channel: \(2 x 5\). Kernel size: \(3 x 3\)"),
    ({"x": (1, 3, 4, 5)}, {"dilation": (2, 1)}, r"Kernel size can't be greater than actual input size"),
    ({}, {"stride": (1, 0)}, r"stride should be greater than zero along every axis, but got \(1, 0\)"),
    ({}, {"stride": (1,)}, r"for 2 spatial axes, got \(3, 3\), \(1,\)"),
]


@pytest.mark.parametrize(("shapes", "changes", "message"), REFUSED)
def test_convolution_says_what_does_not_fit(backend, shapes, changes, message):
    x, w = pg.ones(shapes.get("x", (1, 3, 5, 5))), pg.ones((2, 3, 3, 3))
    with pytest.raises(RuntimeError, match=message):
        windows.conv(x, w, **{**PLAIN, **changes})


def test_a_transpose_refuses_what_convolution_would_not_give(backend):
    w, z = pg.ones((2, 3, 3, 3)), pg.ones((1, 2, 4, 4))
    with pytest.raises(RuntimeError, match=r"expected 2 channels of size \[3, 3\].*but got \[1, 2, 4, 4\]"):
        windows.conv_input(z, w, shape=(5, 5), **PLAIN)
    with pytest.raises(RuntimeError, match=r"expected 2 channels of size \[3, 3\].*but got \[1, 2, 4, 4\]"):
        windows.conv_weight(pg.ones((1, 3, 5, 5)), z, shape=(3, 3), **PLAIN)
    with pytest.raises(RuntimeError, match=r"divisible by groups=2"):
        windows.conv_weight(pg.ones((1, 3, 5, 5)), pg.ones((1, 2, 3, 3)), shape=(3, 3), **{**PLAIN, "groups": 2})


# ------------------------------------------------------------------------------------------------------------- patches


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [((2, 3), (1, 1), (0, 0), (1, 1)), ((3, 2), (2, 3), (1, 2), (1, 2)), ((2, 2), (3, 3), (0, 1), (2, 2))],
)
def test_patches_are_pytorchs(backend, torch, kernel, stride, padding, dilation):
    x = random(1, 2, 3, 7, 8)
    tx = torch.tensor(x, requires_grad=True)
    ty = torch.nn.functional.unfold(tx, kernel, dilation, padding, stride)
    g = random(2, *ty.shape)
    ty.backward(torch.tensor(g))
    params = {"kernel_size": kernel, "stride": stride, "padding": pairs(padding), "dilation": dilation}
    px = pg.tensor(x, requires_grad=True)
    y = windows.unfold(px, **params)
    y.backward(pg.tensor(g))
    close(y.detach().numpy(), ty.detach())
    close(px.grad.numpy(), tx.grad)
    close(windows.fold(pg.tensor(g), output_size=(7, 8), **params).numpy(), tx.grad)


@pytest.mark.parametrize("name", ["numpy", "array_api_strict"])
@pytest.mark.parametrize("size", [(9,), (6, 7), (4, 5, 6)])
def test_fold_is_the_transpose_of_unfold(name, size):
    backend = get_backend(name)
    n = len(size)
    params = {
        "kernel_size": (3, 2, 2)[:n],
        "stride": (2, 1, 3)[:n],
        "padding": ((1, 2), (0, 1), (2, 0))[:n],
        "dilation": (1, 2, 1)[:n],
    }
    x = random(1, 2, 3, *size)
    y = backend.to_numpy(backend.arrays.unfold(backend.asarray(x), **params))
    z = random(2, *y.shape)
    gx = backend.to_numpy(backend.arrays.fold(backend.asarray(z), output_size=size, **params))
    assert np.sum(z * y) == pytest.approx(np.sum(gx * x))


def test_fold_says_what_does_not_fit(backend):
    params = {"kernel_size": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}
    with pytest.raises(RuntimeError, match=r"expected \(batch, channels \* 4, 4\).*got an input of size \[1, 4, 5\]"):
        windows.fold(pg.ones((1, 4, 5)), output_size=(4, 4), **params)


# ------------------------------------------------------------------------------------------------------------- pooling

# size, kernel, stride, padding, dilation
POOLS = [
    ((9,), (3,), (2,), (1,), (1,)),
    ((8,), (2,), (3,), (0,), (2,)),
    ((6, 8), (2, 2), (2, 2), (0, 0), (1, 1)),
    ((7, 9), (3, 3), (2, 2), (1, 1), (1, 1)),
    ((8, 7), (4, 3), (1, 2), (2, 1), (1, 2)),
    ((5, 6, 4), (3, 2, 2), (2, 1, 2), (1, 1, 0), (1, 1, 1)),
]


@pytest.mark.parametrize(("size", "kernel", "stride", "padding", "dilation"), POOLS)
def test_max_pooling_is_pytorchs(backend, torch, size, kernel, stride, padding, dilation):
    x = random(1, 3, 2, *size).round(1)  # with ties
    tx = torch.tensor(x, requires_grad=True)
    function = getattr(torch.nn.functional, f"max_pool{len(size)}d")
    ty, places = function(tx, kernel, stride, padding, dilation, return_indices=True)
    g = random(2, *ty.shape)
    ty.backward(torch.tensor(g))
    px = pg.tensor(x, requires_grad=True)
    y, indices = pooling.max_pool(px, kernel_size=kernel, stride=stride, padding=pairs(padding), dilation=dilation)
    y.backward(pg.tensor(g))
    close(y.detach().numpy(), ty.detach())
    close(indices.numpy(), places)
    close(px.grad.numpy(), tx.grad)


@pytest.mark.parametrize(("size", "kernel", "stride", "padding", "dilation"), POOLS)
def test_max_pooling_in_blocks_is_the_same(size, kernel, stride, padding, dilation, monkeypatch):
    def pooled():
        x = pg.tensor(random(1, 9, 2, *size).round(1))
        return pooling.max_pool(x, kernel_size=kernel, stride=stride, padding=pairs(padding), dilation=dilation)

    wanted = pooled()
    for name, value in (("PLANE", 0), ("BLOCK", 16), ("PRODUCT", 4)):
        monkeypatch.setattr(windows, name, value)
        for found, whole in zip(pooled(), wanted, strict=True):
            close(found.numpy(), whole.numpy())


def test_max_pooling_of_special_values(backend):
    def pooled(row):
        x = pg.tensor([[row]], requires_grad=True)
        params = {"kernel_size": (3,), "stride": (3,), "padding": ((1, 1),), "dilation": (1,)}
        values, indices = pooling.max_pool(x, **params)
        values.sum().backward()
        return values.tolist()[0][0], indices.tolist()[0][0], x.grad.tolist()[0][0]

    inf, nan = float("inf"), float("nan")
    values, indices, grad = pooled([-inf, -inf, 1.0, nan])
    assert values[0] == -inf and values[1] != values[1]
    assert indices == [0, 3] and grad == [1.0, 0.0, 0.0, 1.0]
    values, indices, _ = pooled([-3.0, -2.0, inf, inf])
    assert values == [-2.0, inf] and indices == [1, 2]


def test_max_pooling_of_integers(backend):
    x = pg.tensor([[[3, -7, -9, -8]]])
    params = {"kernel_size": (2,), "stride": (2,), "padding": ((1, 1),), "dilation": (1,)}
    values, indices = pooling.max_pool(x, **params)
    assert values.dtype == pg.int64 and values.tolist() == [[[3, -7, -8]]] and indices.tolist() == [[[0, 1, 3]]]


def test_a_window_needs_an_element(backend):
    with pytest.raises(
        RuntimeError, match=r"at most half of effective kernel size, but got padding=\(2, 2\), kernel_size=2"
    ):
        pooling.max_pool(pg.ones((1, 1, 4)), kernel_size=(2,), stride=(1,), padding=((2, 2),), dilation=(1,))
    with pytest.raises(RuntimeError, match=r"Kernel size can't be greater than actual input size"):
        pooling.max_pool(pg.ones((1, 1, 4)), kernel_size=(5,), stride=(1,), padding=((0, 0),), dilation=(1,))


def test_unpooling_adds_and_is_linear(backend):
    x = pg.tensor([[[1.0, 2.0, 4.0]]], requires_grad=True)
    y = pooling.max_unpool(x, pg.tensor([[[3, 0, 3]]]), shape=(5,))
    assert y.tolist() == [[[2.0, 0.0, 0.0, 5.0, 0.0]]]
    y.backward(pg.tensor([[[1.0, 2.0, 3.0, 4.0, 5.0]]]))
    assert x.grad.tolist() == [[[4.0, 1.0, 4.0]]]
    with pytest.raises(RuntimeError, match=r"expected indices of x's shape \[1, 1, 3\], got \[1, 1, 2\]"):
        pooling.max_unpool(x, pg.tensor([[[3, 0]]]), shape=(5,))


@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("ceil", [True, False])
@pytest.mark.parametrize(("size", "kernel", "stride", "padding", "dilation"), POOLS)
def test_average_pooling_is_pytorchs(backend, torch, size, kernel, stride, padding, dilation, ceil, include):
    x = random(1, 3, 2, *size)
    function = getattr(torch.nn.functional, f"avg_pool{len(size)}d")
    for divisor in (None, 3) if len(size) > 1 else (None,):  # PyTorch's avg_pool1d has no divisor_override
        tx, px = torch.tensor(x, requires_grad=True), pg.tensor(x, requires_grad=True)
        ty = function(tx, kernel, stride, padding, ceil, include, *[divisor] * (len(size) > 1))
        g = random(2, *ty.shape)
        ty.backward(torch.tensor(g))
        axes = zip(size, kernel, stride, padding, ty.shape[2:], strict=True)
        around = tuple((p, max(p, (o - 1) * s + k - n - p)) for n, k, s, p, o in axes)
        y = pooling.avg_pool(
            px, kernel_size=kernel, stride=stride, padding=around, count_include_pad=include, divisor_override=divisor
        )
        y.backward(pg.tensor(g))
        close(y.detach().numpy(), ty.detach())
        close(px.grad.numpy(), tx.grad)


@pytest.mark.parametrize(
    ("size", "bins"),
    [((7,), (3,)), ((6, 8), (3, 2)), ((7, 7), (1, 1)), ((5, 4), (3, 4)), ((2, 3), (3, 1)), ((2, 3, 4), (1, 2, 3))],
)
def test_adaptive_pooling_is_pytorchs(backend, torch, size, bins):
    x = random(1, 2, 3, *size).round(1)
    for kind in ("avg", "max"):
        tx, px = torch.tensor(x, requires_grad=True), pg.tensor(x, requires_grad=True)
        function = getattr(torch.nn.functional, f"adaptive_{kind}_pool{len(size)}d")
        if kind == "avg":
            ty, y = function(tx, bins), pooling.adaptive_avg_pool(px, output_size=bins)
        else:
            ty, places = function(tx, bins, return_indices=True)
            y, indices = pooling.adaptive_max_pool(px, output_size=bins)
            close(indices.numpy(), places)
        g = random(2, *ty.shape)
        ty.backward(torch.tensor(g))
        y.backward(pg.tensor(g))
        close(y.detach().numpy(), ty.detach())
        close(px.grad.numpy(), tx.grad)


def test_adaptive_pooling_says_what_does_not_fit(backend):
    for function in (pooling.adaptive_avg_pool, pooling.adaptive_max_pool):
        with pytest.raises(RuntimeError, match=r"got an input of size \[1, 2, 5\] and output_size=\(0,\)"):
            function(pg.ones((1, 2, 5)), output_size=(0,))


# ------------------------------------------------------------------------------------------------------------- padding


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("around", [((1, 2),), ((0, 3),), ((2, 1), (3, 0)), ((1, 0), (2, 2), (0, 1))])
def test_padding_is_pytorchs(backend, torch, mode, around):
    x = random(1, 2, 3, 3, 4, 5)[(slice(None), slice(None), *[0] * (3 - len(around)))]
    tx, px = torch.tensor(x, requires_grad=True), pg.tensor(x, requires_grad=True)
    more = {"value": 1.5} if mode == "constant" else {}
    ty = torch.nn.functional.pad(tx, [n for pair in reversed(around) for n in pair], mode, **more)
    g = random(2, *ty.shape)
    ty.backward(torch.tensor(g))
    y = windows.pad(px, around, mode=mode, **more)
    y.backward(pg.tensor(g))
    close(y.detach().numpy(), ty.detach())
    close(px.grad.numpy(), tx.grad)


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_negative_padding_crops(backend, mode):
    x = random(1, 2, 6, 5)
    y = windows.pad(pg.tensor(x), ((-1, -2), (-2, 1)), mode=mode)
    names = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    close(y.numpy(), np.pad(x[:, 1:4, 2:], ((0, 0), (0, 0), (0, 1)), mode=names[mode]))


def test_padding_says_what_does_not_fit(backend):
    x = pg.ones((2, 3))
    with pytest.raises(
        ValueError, match=r"'reflect' cannot add \(3, 0\) to axis 1 of an array of shape \(2, 3\); at most 2"
    ):
        windows.pad(x, ((3, 0),), mode="reflect")
    with pytest.raises(ValueError, match=r"'circular' cannot add \(0, 4\)"):
        windows.pad(x, ((0, 4),), mode="circular")
    with pytest.raises(ValueError, match=r"expected mode constant, reflect, replicate or circular, got 'mirror'"):
        windows.pad(x, ((1, 1),), mode="mirror")
    with pytest.raises(ValueError, match=r"padding \(-2, -2\) crops more than the 3 elements of axis 1"):
        windows.pad(x, ((-2, -2),))


# ------------------------------------------------------------------------------------------------------------ overrides

GEOMETRIES = [{"padding": ((1, 1), (2, 2))}, {"padding": ((0, 2), (-1, 1))}]


def fast_paths():
    """(backend, op) for every override of these ops that a backend of this run has."""
    for name in backend_names():
        for op in (*NAMES, "pad_constant"):
            if op in get_backend(name).fast:
                yield name, op


def examples(op):
    """Operands and parameters for an op, some of which an override must decline."""
    x, w = random(1, 2, 4, 7, 8), random(2, 6, 2, 3, 2)
    if op == "pad_constant":
        return [((x,), {**g, "value": 2.5}) for g in GEOMETRIES]
    found = []
    for g in GEOMETRIES:
        conv = {**g, "stride": (2, 1), "dilation": (1, 2), "groups": 2}
        window = {**g, "stride": (2, 1), "kernel_size": (3, 4)}
        patch = {**window, "dilation": (2, 1)}
        mean = {**window, "count_include_pad": False, "divisor_override": None}
        out = windows.window_counts((7, 8), (3, 2), (2, 1), g["padding"], (1, 2))
        pool = windows.window_counts((7, 8), (3, 4), (2, 1), g["padding"], (1, 1))
        patches = windows.window_counts((7, 8), (3, 4), (2, 1), g["padding"], (2, 1))
        z = random(3, 2, 6, *out)
        found += {
            "conv": [((x, w), conv), ((x + 1j * x, w - 1j * w), conv)],
            "conv_input": [
                ((z, w), {**conv, "shape": (7, 8)}),
                ((1j * z, w + 1j * w), {**conv, "shape": (7, 8)}),
                ((z, w[:, :1]), {**conv, "shape": (7, 8), "groups": 6}),
            ],
            "conv_weight": [((x, z), {**conv, "shape": (3, 2)}), ((x - 1j * x, 1j * z), {**conv, "shape": (3, 2)})],
            "unfold": [((x,), patch), ((x[:, :, 0],), {k: v[1:] for k, v in patch.items()})],
            "fold": [((random(4, 2, 24, patches[0] * patches[1]),), {**patch, "output_size": (7, 8)})],
            "max_pool": [((x,), patch), ((x[:, :, 0],), {k: v[1:] for k, v in patch.items()})],
            "max_unpool": [((x, np.arange(448).reshape(x.shape) % 5), {"shape": (2, 3)})],
            "avg_pool": [((x,), mean), ((x,), {**mean, "divisor_override": 5, "count_include_pad": True})],
            "avg_unpool": [((random(5, 2, 4, *pool),), {**mean, "shape": (7, 8)})],
        }[op]
    return found


@pytest.mark.parametrize(("name", "op"), list(fast_paths()))
def test_an_override_is_its_body(name, op):
    backend = get_backend(name)
    fast, reference = backend.fast[op], backend.reference(declared.ops[op])
    # One compilation of a whole body is faster than one for each of its steps.
    compiled = importlib.import_module("jax").jit if name == "jax" else lambda function: function
    ran = 0
    for operands, params in examples(op):
        arrays = [backend.asarray(a) for a in operands]
        found = fast(*arrays, **params)
        if found is NotImplemented:
            continue
        ran += 1
        wanted = compiled(partial(reference, **params))(*arrays)
        several = isinstance(wanted, tuple)
        for f, b in zip(found if several else (found,), wanted if several else (wanted,), strict=True):
            close(backend.to_numpy(f), backend.to_numpy(b))
    assert ran, "the override declined every example"
