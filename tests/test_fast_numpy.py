"""The NumPy adapter's fast paths beside the bodies that they stand for: random shapes, strides and data types."""

import importlib
import itertools
import math
import platform
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import polygrad as pg
from polygrad.core import get_backend
from polygrad.core.backend import declared

attention, blas, blocks, convolution, depthwise, layers, memory, norms = (
    importlib.import_module(f"polygrad_numpy.{part}")
    for part in ("attention", "blas", "blocks", "convolutions", "depthwise", "layers", "memory", "norms")
)
adapter = importlib.import_module("polygrad_numpy")
FEW = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
TOLERANCE = {"float32": 2e-5, "float64": 1e-12, "complex64": 2e-5, "complex128": 1e-12}


def numpy():
    return get_backend("numpy").ready()


def both(name, *operands, **params):
    """The override's result (NotImplemented where it declines) and the body's."""
    backend = numpy()
    fast, body = backend.fast[name], backend.reference(declared.ops[name])
    return fast(*operands, **params), lambda: body(*operands, **params)


def close(fast, slow):
    """Equal to rounding, with shape and dtype."""
    fast, slow = (list(r) if isinstance(r, tuple | list) else [r] for r in (fast, slow))
    assert len(fast) == len(slow)
    for a, b in zip(fast, slow, strict=True):
        if b is None:
            assert a is None
            continue
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        tolerance = TOLERANCE.get(a.dtype.name, 0)
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1.0, float(np.max(np.abs(b), initial=0))))


@st.composite
def arrays(draw, shape, dtype="float32", rng=None):
    """An array of this shape in one of the layouts that a program makes: plain, transposed, reversed, sliced, repeated."""
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    layout = draw(st.sampled_from(["plain", "reversed order", "channels last", "negative", "sliced", "broadcast"]))
    made = lambda s: (rng.standard_normal(s) + (1j * rng.standard_normal(s) if dtype[0] == "c" else 0)).astype(dtype)  # noqa: E731
    if layout == "reversed order":
        return made(shape[::-1]).transpose()
    if layout == "channels last" and len(shape) > 2:
        return np.moveaxis(made((shape[0], *shape[2:], shape[1])), -1, 1)
    if layout == "negative" and shape:
        return made(shape)[..., ::-1]
    if layout == "sliced" and shape:
        return made((*shape[:-1], 2 * shape[-1] + 1))[..., 1::2]
    if layout == "broadcast" and shape:
        return np.broadcast_to(made((1, *shape[1:])), shape)
    return made(shape)


@st.composite
def convolutions(draw):
    """x, w, z of a convolution and its geometry."""
    n = draw(st.integers(1, 3))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    inputs, outputs = draw(st.sampled_from([1, 1, 2, 3])), draw(st.integers(1, 3))
    batch = draw(st.sampled_from([1, 2, 9]))
    axes = []
    for _ in range(n):
        k, s, d = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
        pads = draw(st.sampled_from([(0, 0), (1, 1), (0, 2), (2, 1), (-1, 1)]))
        size = max(1, draw(st.integers(1, 9 if n < 3 else 5)), d * (k - 1) + 1 - sum(pads), 3)
        axes.append((size, k, s, pads, d, (size + sum(pads) - d * (k - 1) - 1) // s + 1))
    size, kernel, stride, padding, dilation, out = zip(*axes, strict=True)
    dtype = draw(st.sampled_from(["float32", "float32", "float64", "complex64"]))
    x = draw(arrays((batch, groups * inputs, *size), dtype))
    w = draw(arrays((groups * outputs, inputs, *kernel), dtype))
    z = draw(arrays((batch, groups * outputs, *out), dtype))
    return x, w, z, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


@FEW
@given(convolutions())
def test_convolution_and_its_transposes(drawn):
    x, w, z, geometry = drawn
    for name, operands, more in (
        ("conv", (x, w), {}),
        ("conv_input", (z, w), {"shape": x.shape[2:]}),
        ("conv_weight", (x, z), {"shape": w.shape[2:]}),
    ):
        fast, slow = both(name, *operands, **geometry, **more)
        if fast is not NotImplemented:
            close(fast, slow())


SHAPES = [  # x, w, stride, padding, dilation, groups
    ((3, 16, 70, 40), (5, 16, 3, 3), (1, 2), ((1, 1), (2, 1)), (1, 1), 1),
    ((3, 4, 30, 21), (8, 1, 3, 3), (1, 1), ((1, 1), (2, -1)), (2, 1), 4),
    ((9, 6, 7, 6), (4, 3, 3, 2), (2, 1), ((0, 2), (-1, 1)), (1, 2), 2),
    ((9, 3, 15, 12), (7, 3, 4, 5), (2, 2), ((3, 3), (2, 1)), (1, 1), 1),
    ((17, 5, 8, 9), (6, 5, 3, 3), (1, 1), ((1, 1), (1, 1)), (2, 1), 1),
    ((2, 3, 8, 5, 6), (5, 3, 3, 2, 3), (3, 1, 1), ((2, 1), (0, 1), (1, 1)), (2, 1, 1), 1),
    ((4, 3, 41), (2, 3, 5), (1,), ((2, 2),), (1,), 1),
]


@pytest.mark.parametrize("way", ["as they are", "small blocks", "in the order of the weight", "no library"])
@pytest.mark.parametrize("case", SHAPES, ids=lambda case: "x".join(map(str, case[0])))
def test_convolution_in_all_its_ways(case, way, monkeypatch):
    if way == "small blocks":
        for module, name, value in (
            (convolution, "BLOCK", 64),
            (convolution, "PRODUCT", 4),
            (convolution, "PLANE", 40),
            (convolution, "TALL", 0),
            (convolution, "WORTH", 0),
            (convolution, "LARGE", 0),
            (convolution, "THICK", 0),
            (depthwise, "BLOCK", 1 << 11),
            (depthwise, "DOT", 50),
            (depthwise, "SHORT", 0),
            (depthwise, "STRIDED", 0),
        ):
            monkeypatch.setattr(module, name, value)
    elif way == "in the order of the weight":
        monkeypatch.setattr(convolution, "WORTH", math.inf)
    elif way == "no library":
        monkeypatch.setattr(blas, "_gemm", lambda dtype: None)
        monkeypatch.setattr(blas, "_omatcopy", lambda dtype: None)
        monkeypatch.setattr(convolution, "FEWER", 0)
    x_shape, w_shape, stride, padding, dilation, groups = case
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(x_shape), rng.standard_normal(w_shape)
    y, slow = both("conv", x, w, **geometry)
    close(y, slow())
    z = rng.standard_normal(y.shape)
    for name, operands, shape in (("conv_weight", (x, z), w_shape[2:]), ("conv_input", (z, w), x_shape[2:])):
        fast, slow = both(name, *operands, shape=shape, **geometry)
        if fast is not NotImplemented:
            close(fast, slow())
    fast = numpy().arrays.conv_input(z, w, shape=x_shape[2:], **geometry)
    assert np.vdot(fast, x) == pytest.approx(np.vdot(z, y), rel=1e-9)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_products_and_transposes_by_the_library(dtype):
    rng = np.random.default_rng(0)
    made = lambda *s: rng.standard_normal(s).astype(dtype)  # noqa: E731
    left = [made(5, 7), made(7, 5).T, made(5, 9)[:, :7], made(5, 14)[:, ::2], made(1, 7).repeat(5, 0)[::-1]]
    for a, b in itertools.product(left, [made(7, 3), made(3, 7).T, made(7, 6)[:, 3:], made(7, 3)[::-1]]):
        for whole in (np.full((5, 3), np.nan, dtype), np.full((5, 8), np.nan, dtype), np.full((5, 6), np.nan, dtype)):
            y = whole[:, ::2] if whole.shape[1] == 6 else whole[:, :3]
            blas.multiply_add(a, b, y, False)
            close(y, a @ b)
            blas.multiply_add(a, b, y, True)
            close(y, 2 * (a @ b))
            assert np.isnan(whole).sum() == whole.size - y.size
    for shape in ((1, 1), (1, 9), (9, 1), (70, 3), (33, 65)):
        x, y = made(*shape), np.empty(shape[::-1], dtype)
        blas.transpose(x, y)
        assert (y == x.T).all()


def test_the_gradient_of_a_weight_is_in_order():
    x, z = np.ones((2, 3, 8, 8), "f4"), np.ones((2, 4, 8, 8), "f4")
    geometry = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
    assert numpy().arrays.conv_weight(x, z, shape=(3, 3), **geometry).flags.c_contiguous


@st.composite
def pools(draw):
    n = draw(st.integers(1, 3))
    kernel = tuple(draw(st.integers(1, 3)) for _ in range(n))
    stride = tuple(draw(st.integers(1, 3)) for _ in range(n))
    padding = tuple(draw(st.sampled_from([(0, 0), (k // 2, k // 2), (0, k // 2)])) for k in kernel)
    dilation = tuple(draw(st.sampled_from([1, 1, 2])) for _ in range(n))
    size = tuple(draw(st.integers(6, 8)) for _ in range(n))
    x = draw(arrays((2, 3, *size), draw(st.sampled_from(["float32", "float64"]))))
    if draw(st.booleans()):
        x = np.round(x)  # ties
    return x, {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation}


@FEW
@given(pools())
def test_max_pool_and_its_transpose(drawn):
    x, geometry = drawn
    fast, slow = both("max_pool", x, **geometry)
    if fast is NotImplemented:
        return
    close(fast, slow())
    g = np.random.default_rng(1).standard_normal(fast[0].shape).astype(x.dtype)
    close(*(r() if callable(r) else r for r in both("max_unpool", g, fast[1], shape=x.shape[2:])))


def test_max_pool_leaves_nan_to_the_body():
    x = np.zeros((1, 1, 4, 4), "f4")
    x[0, 0, 1, 2] = math.nan
    geometry = {"kernel_size": (2, 2), "stride": (2, 2), "padding": ((0, 0),) * 2, "dilation": (1, 1)}
    values, indices = numpy().arrays.max_pool(x, **geometry)
    assert np.isnan(values[0, 0, 0, 1])
    assert indices[0, 0, 0, 1] == 6


# ---------------------------------------------------------------------------------------------------------- layers


def test_the_names_of_what_is_loaded_on_request():
    """The table says all that the modules have, and nothing else."""
    modules = {module for modules in adapter.ON_REQUEST.values() for module in modules}
    for module in modules:
        names = [name for name, found in adapter.ON_REQUEST.items() if module in found]
        assert sorted(names) == sorted(importlib.import_module(module).__all__), module
    for name in adapter.ON_REQUEST:
        assert callable(numpy().fast[name].fetch())


@FEW
@given(st.data())
def test_pointwise_paths_in_every_layout(data):
    shape = data.draw(st.sampled_from([(70, 64), (5, 16, 8, 8), (5000,), (2, 3)]))
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    x, g = data.draw(arrays(shape, dtype)), data.draw(arrays(shape, dtype))
    for name, operands, params in (
        ("where", (x > 0, g, 0), {}),
        ("where", (x > 0, g, 0.0), {}),
        ("where", (x > 0, x, g), {}),
        ("where", (x > 0, -0.0, g), {}),
        ("where", (np.ascontiguousarray(x > 0), g, 2.5), {}),
        ("where", (np.ascontiguousarray(x > 0), 0, g), {}),
        ("relu_backward", (g, np.maximum(x, 0)), {}),
        ("relu_backward", (np.broadcast_to(g.ravel()[:1], shape), np.maximum(x, 0)), {}),
        ("sigmoid", (x * 40,), {}),
        ("silu", (x * 40,), {}),
        ("gelu_exact_backward", (np.broadcast_to(g.ravel()[:1], shape), x), {}),
        ("masked_scale", (g, x > 0), {"scale": 1.25}),
        ("gelu_exact", (x,), {}),
        ("gelu_exact_backward", (g, x), {}),
        ("gelu_tanh", (x,), {}),
        ("gelu_tanh_backward", (g, x), {}),
        ("gelu_exact_backward", (g, x, pg.nn.functional.gelu(pg.tensor(x)).numpy()), {}),
        ("gelu_tanh_backward", (g, x, pg.nn.functional.gelu(pg.tensor(x), approximate="tanh").numpy()), {}),
    ):
        fast, slow = both(name, *operands, **params)
        if fast is not NotImplemented:
            close(fast, slow())


@pytest.mark.parametrize("name", ["gelu_exact", "gelu_tanh"])
def test_gelu_has_a_slope_of_a_half_at_zero(name):
    x = np.linspace(-12, 12, 5001, dtype="f4")
    x[:3], g = (0.0, -0.0, 0.0), np.full(5001, 3, "f4")
    y, _ = both(name, x)
    made, slow = both(f"{name}_backward", g, x, y)
    assert (x == 0).sum() == 3
    np.testing.assert_array_equal(made[x == 0], 1.5)
    close(made, slow())


def test_where_keeps_what_a_product_would_spoil():
    x = np.full((5000,), math.inf, "f4")
    x[1] = math.nan
    condition = np.zeros(5000, bool)
    condition[0] = True
    for name, operands in (("where", (condition, x, 0)), ("relu_backward", (x, condition.astype("f4")))):
        made, slow = both(name, *operands)
        np.testing.assert_array_equal(made, slow())
        assert not made[1:].any()


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint64", "float64", "complex64", "int8"])
def test_where_chooses_words_of_any_kind(dtype):
    rng = np.random.default_rng(0)
    x1, x2 = rng.integers(0, 100, (2, 90, 50)).astype(dtype)
    condition = rng.random((90, 50)) > 0.5
    np.testing.assert_array_equal(numpy().arrays.where(condition, x1, x2), np.where(condition, x1, x2))
    np.testing.assert_array_equal(numpy().arrays.where(condition, x1, 0), np.where(condition, x1, 0))


def test_sigmoid_at_its_ends():
    x = np.zeros(5000, "f4")
    x[:6] = math.inf, -math.inf, math.nan, 200.0, -200.0, -80.0
    with np.errstate(all="raise", under="ignore"):
        made, slow = both("sigmoid", x)
    np.testing.assert_allclose(made, slow(), rtol=1e-6, atol=1e-38)


@FEW
@given(st.data())
def test_indexing_along_an_axis_in_every_layout(data):
    shape = data.draw(st.sampled_from([(70, 64), (5, 30, 40), (6000,), (7, 2, 9, 40)]))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    picked = list(shape)
    picked[axis] = data.draw(st.sampled_from([shape[axis], 2 * shape[axis] + 1, 90]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x, z = data.draw(arrays(shape)), data.draw(arrays(tuple(picked)))
    indices = rng.integers(-1 if data.draw(st.booleans()) else 0, shape[axis], picked)
    fast, slow = both("take_along_axis", x, indices, axis=axis)
    if fast is not NotImplemented:
        np.testing.assert_array_equal(fast, slow())
    fast, slow = both("put_along_axis_add", z, indices, shape=shape, axis=axis)
    if fast is not NotImplemented:
        close(fast, slow())
    k = data.draw(st.integers(0, shape[axis] // 3))
    x = np.round(x, data.draw(st.sampled_from([1, 7])))  # ties
    for name, params in (
        ("top_indices", {"k": k, "largest": data.draw(st.booleans())}),
        ("argsort", {"descending": k > 3}),
    ):
        fast, slow = both(name, x, axis=axis % len(shape), **params)
        if fast is not NotImplemented:
            np.testing.assert_array_equal(fast, slow())


def test_what_a_partition_cannot_order_is_left_to_a_stable_sort():
    x = np.random.default_rng(0).permutation(6000).astype("f4").reshape(60, 100)
    equal, lost = x.copy(), x.copy()
    equal[3] = 7  # more than five are the largest of this row
    lost[0, 0] = math.nan
    for name, params in (("argsort", {}), ("top_indices", {"k": 5, "largest": True})):
        taken = [both(name, y, axis=1, **params)[0] is not NotImplemented for y in (x, equal, lost)]
        assert taken == [True, False, False]


@settings(FEW, max_examples=150)
@given(st.data())
def test_sums_at_indices_in_every_layout(data):
    shape = data.draw(st.sampled_from([(9,), (3, 9), (4, 5, 6), (3, 40, 8)]))
    axis = data.draw(st.integers(0, len(shape) - 1))
    kinds = ["any", "all", "sorted", "runs", "one place", "negative", "none"]
    n, kind = shape[axis], data.draw(st.sampled_from(kinds))
    count = data.draw(st.integers(1, 60))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    index = {
        "any": lambda: rng.integers(0, n, (count, 2)),
        "all": lambda: rng.permutation(np.concatenate([np.arange(n), rng.integers(0, n, count)])),
        "sorted": lambda: np.sort(rng.integers(0, n, count)),
        "runs": lambda: np.repeat(np.arange(n), count % 20 + 1),
        "one place": lambda: np.full(count, n - 1),
        "negative": lambda: rng.integers(-n, n, count),
        "none": lambda: np.zeros(0, int),
    }[kind]()
    x, key = data.draw(arrays(shape)), (*[slice(None)] * axis, index)
    value = data.draw(arrays((*shape[:axis], *index.shape, *shape[axis + 1 :])))
    close(*(r() if callable(r) else r for r in both("at_add", x, value, key=key)))
    if kind != "none":
        key = tuple(rng.integers(-m, m, (count, 2)) for m in shape)
        close(*(r() if callable(r) else r for r in both("at_add", x, data.draw(arrays((count, 2))), key=key)))
    for wrong in (n, -n - 1):
        with pytest.raises(IndexError):
            numpy().arrays.at_add(x, 1.0, key=(*[slice(None)] * axis, np.array([0, wrong])))


@FEW
@given(st.data())
def test_softmax_and_attention_in_every_layout(data):
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    batch, rows, columns = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)))
    x, g = data.draw(arrays((batch, rows, columns), dtype)), data.draw(arrays((batch, rows, columns), dtype))
    for name, operands in (("softmax", (x,)), ("log_softmax", (x,)), ("softmax_backward", (g, x))):
        fast, slow = both(name, *operands, axis=-1)
        close(fast, slow())
    query, key, value = (data.draw(arrays((batch, n, 4), dtype)) for n in (rows, columns, columns))
    mask = data.draw(st.sampled_from([None, g]))
    operands = [query, key, value] if mask is None else [query, key, value, mask]
    params = {"scale": 0.5, "causal": data.draw(st.booleans())}
    found, slow = both("attention", operands, **params)
    y, lse = slow()
    close(found, (y, lse))
    g_y = data.draw(arrays(y.shape, dtype))
    fast, slow = both("attention_backward", g_y, lse, y, lse, *operands, **params)
    close(fast, slow())


@FEW
@given(st.data())
def test_cross_entropy_of_a_matrix_in_every_layout(data):
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    rows, classes = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    x = data.draw(arrays((rows, classes), dtype)) * data.draw(st.sampled_from([1, 100]))
    target = np.array(data.draw(st.lists(st.integers(-1, classes - 1), min_size=rows, max_size=rows)))
    params = {"axis": data.draw(st.sampled_from([1, -1])), "ignore_index": data.draw(st.sampled_from([-1, 0]))}
    outside = {"classes": data.draw(st.integers(1, classes)), "ignore_index": params["ignore_index"]}
    found = numpy().arrays.any_outside_classes(target, **outside)
    assert bool(found) is bool(numpy().arrays.outside_classes(target, **outside).any())
    target = np.where(target < 0, params["ignore_index"], target)
    params["reduction"] = data.draw(
        st.sampled_from(["none", "sum"] + ["mean"] * bool((target != params["ignore_index"]).any()))
    )
    fast, slow = both("softmax_cross_entropy", x, target, **params)
    losses, lse = slow()
    close(fast, (losses, lse))
    g, g_lse = (data.draw(arrays(a.shape, dtype)) for a in (losses, lse))
    fast, slow = both("softmax_cross_entropy_backward", g, g_lse, x, target, lse, **params)
    close(fast, slow())


@FEW
@given(st.data())
def test_normalisation_of_rows(data):
    """Through several parts, with moments of their own cotangents declined; weights' cotangents as the engine would sum them."""
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    n = data.draw(st.sampled_from([1, 3, 64, 700]))
    lead = data.draw(st.sampled_from([(4096 // n + 5,), (3, 70000 // n), (2, 1, 5000 // n + 1)]))
    x = data.draw(arrays((*lead, n), dtype)) * data.draw(st.sampled_from([1, 10])) + data.draw(st.sampled_from([0, 3]))
    weight, bias = (np.ascontiguousarray(data.draw(arrays((n,), dtype))) for _ in range(2))
    params = {"axis": data.draw(st.sampled_from([-1, (len(lead),)])), "eps": 1e-3}
    y, mean, var = both("normalize", [x, weight, bias], **params)[1]()
    fast = norms.normalize([x, weight, bias], **params)
    assert (fast is NotImplemented) == (not x.flags.c_contiguous)
    g = data.draw(arrays(x.shape, dtype))
    operands = (x, g, None, None, mean, var, weight, bias)
    back = norms.normalize_backward(*operands, **params)
    assert (back is NotImplemented) == (fast is NotImplemented)
    if fast is not NotImplemented:
        close(fast, (y, mean, var))
        d, *rest = both("normalize_backward", *operands, **params)[1]()
        close(back, (d, *(r.reshape(-1, n).sum(0) for r in rest)))
        for declined in ((g, None, mean), (g, mean, None), (None, mean, None)):
            assert norms.normalize_backward(x, *declined, *operands[4:], **params) is NotImplemented


@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_in_several_parts(size, masked, causal):
    """Scores of a few units and of dozens, on leading axes that broadcast and heads that are views."""
    rng = np.random.default_rng(0)
    query, key, value = (rng.standard_normal((5, 150, 3, 2, 8)).astype("f4") * size).transpose(2, 0, 3, 1, 4)
    operands = [query, key[:1], value[0], *([rng.standard_normal((150, 150)).astype("f4")] if masked else [])]
    params = {"scale": 0.2, "causal": causal}
    found, slow = both("attention", operands, **params)
    y, lse = both("attention", [a.astype("f8") for a in operands], **params)[1]()
    for a, b in zip(found, (y, lse), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * size)
    g, g_lse = rng.standard_normal(y.shape).astype("f4"), rng.standard_normal(lse.shape).astype("f4")
    kept = attention.kept_by(found[1], query, operands[1], (0.2, causal, "undivided"))
    assert (kept is None) == (masked or size > 1)
    wide = [a.astype("f8") for a in (g, g_lse, y, lse, *operands)]
    wanted = both("attention_backward", *wide, **params)[1]()
    for sums in (found[1], found[1].copy()):  # of a copy the weights are made again
        fast, _ = both("attention_backward", g, g_lse, found[0], sums, *operands, **params)
        for a, b in zip(fast, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * np.abs(b).max())


def test_attention_lays_its_results_out_as_its_operands():
    """So the heads of a projection are read, joined and split again without a copy."""
    rng = np.random.default_rng(0)
    heads = rng.standard_normal((2, 6, 3, 4, 5)).transpose(2, 0, 3, 1, 4)
    params = {"scale": 0.5, "causal": True}
    y, lse = both("attention", list(heads), **params)[0]
    assert np.shares_memory(y, y.transpose(0, 2, 1, 3).reshape(2, 6, 20))
    found, slow = both("attention_backward", y, 0 * lse, y, lse, *heads, **params)
    close(found, slow())
    joined = numpy().arrays.stack(found, axis=0)
    assert all(np.shares_memory(joined, f) for f in found)
    assert np.shares_memory(joined, joined.transpose(1, 3, 0, 2, 4).reshape(12, 60))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_bias_is_added_by_one_call_of_the_blas(dtype, monkeypatch):
    monkeypatch.setattr(layers.onednn_matmul, "affine", lambda *_: NotImplemented)
    rng = np.random.default_rng(0)
    x, weight, bias = (rng.standard_normal(shape).astype(dtype) for shape in ((40, 9, 7), (130, 7), (130,)))
    counted = []
    monkeypatch.setattr(layers, "add_outer", lambda *given: counted.append(blas.add_outer(*given)) or counted[-1])
    for b in (bias, bias[::-1], bias[:1], bias.astype("f8") if dtype == "float32" else bias[:1]):
        y = layers.affine(x, weight, b)
        np.testing.assert_allclose(y, x @ weight.T + b, rtol=TOLERANCE[dtype] * 10, atol=TOLERANCE[dtype] * 10)
        assert y.dtype == dtype
    assert counted == [blas._library() is not None]
    layers.affine(x[:1], weight, bias)
    assert len(counted) == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scratch_memory_starts_at_a_line_of_the_cache(dtype):
    dtype = np.dtype(dtype)
    found = memory.aligned(dtype, (3, 5), (7,), (2, 9, 1))
    assert [f.shape for f in found] == [(3, 5), (7,), (2, 9, 1)]
    for i, f in enumerate(found):
        assert f.dtype == dtype
        assert blas.address(f) % 64 == 0
        f[...] = i
    assert all((f == i).all() for i, f in enumerate(found))


def test_attention_leaves_a_row_that_sees_nothing_to_the_body():
    q = np.ones((1, 2, 3), "f4")
    mask = np.array([[0, 0], [-math.inf, -math.inf]], "f4")
    y, lse = numpy().arrays.attention([q, q, q, mask], scale=1.0, causal=False)
    assert not y[0, 1].any()
    assert lse[0, 1] == math.inf


@FEW
@given(st.data())
def test_affine_and_embedding_in_every_layout(data):
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    x, weight = data.draw(arrays((2, 3, 4), dtype)), data.draw(arrays((5, 4), dtype))
    bias = data.draw(st.sampled_from([None, np.arange(5, dtype=dtype)]))
    close(*(r() if callable(r) else r for r in both("affine", x, weight, bias)))
    close(*(r() if callable(r) else r for r in both("matmul", x, weight.T)))
    rows = data.draw(arrays((3, 70, 40), dtype))
    for keepdims in (False, True):
        close(*(r() if callable(r) else r for r in both("sum", rows, axis=(0, 1), keepdims=keepdims)))
    indices = np.array(data.draw(st.lists(st.integers(0, 6), min_size=6, max_size=6))).reshape(2, 3)
    fast, slow = both("embedding_sum", x, indices, rows=7)
    close(fast, slow())


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_an_embedding_gathers_what_repeats_often_and_seldom(dtype):
    rng = np.random.default_rng(0)
    indices = np.concatenate([rng.integers(0, 40, 150), np.full(100, 7), np.full(60, 39)]).reshape(10, 31)
    fast, slow = both("embedding_sum", rng.standard_normal((10, 31, 6)).astype(dtype), indices, rows=41)
    close(fast, slow())


def test_an_embedding_index_out_of_bounds_is_an_error():
    with pytest.raises(IndexError):
        numpy().arrays.embedding_sum(np.ones((2, 3), "f4"), np.array([0, 5]), rows=5)


@FEW
@given(st.data())
def test_channels_in_every_layout(data):
    shape = data.draw(st.sampled_from([(3, 6, 20, 20), (40, 5, 60), (2, 3), (2, 40, 7, 2, 9)]))
    x = data.draw(arrays(shape, data.draw(st.sampled_from(["float32", "float64"]))))
    close(*(r() if callable(r) else r for r in both("sum", x, axis=(0, *range(2, x.ndim)))))
    close(*(r() if callable(r) else r for r in both("sum", x, axis=(0, *range(2, x.ndim)), keepdims=True)))
    fast, slow = both("add_channels", x, np.arange(shape[1], dtype=x.dtype))
    if fast is not NotImplemented:
        close(fast, slow())
        assert fast.strides == x.strides


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc's allocator that is asked")
def test_freed_memory_is_kept_unless_the_environment_says_something_else(monkeypatch):
    for name in memory.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert memory.keep_freed()
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    assert not memory.keep_freed()


@pytest.mark.parametrize("value", [0.5, 0.5 + 2j, np.asarray(0.5), np.float32(0.5)], ids=repr)
def test_a_new_number_is_what_numpy_computes_with_fastest(value):
    x = pg.tensor(value)
    assert isinstance(x.array, np.generic)
    assert isinstance(pg.tensor(value, dtype="complex128").array, np.generic)
    np.testing.assert_array_equal(np.from_dlpack(x), value)
    x[()] = 3
    x += 1
    assert x.item() == 4


def test_a_number_whose_memory_is_shared_or_that_may_overflow_is_an_array():
    mine = np.asarray(0.5)
    assert np.shares_memory(pg.asarray(mine, copy=False).array, mine)
    assert isinstance(pg.tensor(np.int8(127)).array, np.ndarray)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (pg.tensor(np.int8(127)) + pg.tensor(np.int8(1))).item() == -128


@pytest.mark.parametrize("by", ["the BLAS in parts", "the BLAS at once", "numpy"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        *itertools.product(["SGD", "Adam", "AdamW"], [{}, {"weight_decay": 0.1}, {"maximize": True}]),
        ("RMSprop", {}),
        ("Adagrad", {"weight_decay": 0.1}),
        ("SGD", {"momentum": 0}),
        ("SGD", {"momentum": 0, "weight_decay": 0.1}),
        ("SGD", {"dampening": 0.5, "weight_decay": 0.1}),
        ("SGD", {"nesterov": True}),
        ("SGD", {"nesterov": True, "weight_decay": 0.1}),
    ],
    ids=str,
)
def test_an_update_in_parts_is_the_update(name, options, by, monkeypatch):
    """To rounding, on an array of several parts or one, and without changing what somebody else sees."""
    if by == "numpy":
        monkeypatch.setattr(blocks, "axpby_of", lambda dtype: None)
    monkeypatch.setattr(blocks.onednn_update, "is_used", lambda dtype: False)
    monkeypatch.setattr(blocks, "ROOM", 1 << 20 if by == "the BLAS at once" else 1 << 17)
    rng = np.random.default_rng(0)
    gradients = rng.standard_normal((4, 30_000, 3)).astype("f4")
    start = rng.standard_normal((30_000, 3)).astype("f4")
    options = {"lr": 0.1, **({"momentum": 0.9} if name == "SGD" else {}), **options}
    found = {}
    for parts in (True, False):
        if not parts:
            monkeypatch.setattr(numpy(), "blockwise", None)
        p = pg.nn.Parameter(pg.tensor(start))
        seen = p.detach()
        optimizer = getattr(pg.optim, name)([p], **options)
        for g in gradients:
            p.grad = pg.tensor(g)
            optimizer.step()
        np.testing.assert_array_equal(seen.numpy(), start)
        found[parts] = p.detach().numpy()
    np.testing.assert_allclose(found[True], found[False], rtol=2e-6, atol=2e-6)
