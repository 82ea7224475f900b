"""oneDNN beside the float64 bodies, in threads and forked children, and with libraries that cannot be used."""

import importlib
import math
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polygrad.core import get_backend
from polygrad.core.backend import declared
from test_fast_numpy import arrays, convolutions, pools

PARTS = (
    "onednn onednn_attention onednn_conv onednn_matmul onednn_norm onednn_pointwise onednn_pool onednn_update".split()
)
onednn, onednn_attention, onednn_conv, onednn_matmul, onednn_norm, onednn_pointwise, onednn_pool, onednn_update = (
    importlib.import_module(f"polygrad_numpy.{part}") for part in PARTS
)
kept_by = importlib.import_module("polygrad_numpy.attention").kept_by
FEW = settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
needs_onednn = pytest.mark.skipif(
    onednn.loaded() is None, reason=f"oneDNN: {onednn.state.reason}; the extra `onednn` installs it"
)


@pytest.fixture(autouse=True)
def everything_is_large_enough(monkeypatch):
    for module in (onednn_attention, onednn_conv, onednn_norm, onednn_pool, onednn_matmul):
        monkeypatch.setattr(module, "FEW", 0)
    for module in (onednn_matmul, onednn_pointwise):
        monkeypatch.setattr(module, "MANY", 0)


def double(value):
    if isinstance(value, list | tuple):
        return type(value)(double(v) for v in value)
    return value.astype(np.float64) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value


def check(module, name, *operands, must=True, **params):
    """The result of oneDNN beside that of the body in float64, within 1e-5; returns it, or None where it declines."""
    found = getattr(module, name)(*operands, **params)
    if found is NotImplemented:
        assert not must, "declined"
        return None
    backend = get_backend("numpy").ready()
    wanted = backend.reference(declared.ops[name])(*double(list(operands)), **params)
    several = isinstance(wanted, tuple)
    for f, w in zip(found if several else [found], wanted if several else [wanted], strict=True):
        if f.shape != w.shape:  # what the engine would sum
            extra = tuple(range(w.ndim - f.ndim)) + tuple(
                i for i in range(w.ndim) if i >= w.ndim - f.ndim and f.shape[i - w.ndim + f.ndim] != w.shape[i]
            )
            w = w.sum(extra).reshape(f.shape)
        if f.dtype.kind == "f":
            assert f.dtype == np.float32
            np.testing.assert_allclose(f, w, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(w).max()))
        else:
            np.testing.assert_array_equal(f, w)
    return found


@needs_onednn
@FEW
@given(convolutions())
def test_convolution_and_its_transposes(drawn):
    x, w, z, geometry = drawn
    whole = x.dtype == np.float32 and min(n for pair in geometry["padding"] for n in pair) >= 0
    check(onednn_conv, "conv", x, w, must=whole, **geometry)
    check(onednn_conv, "conv_input", z, w, must=whole, shape=x.shape[2:], **geometry)
    check(onednn_conv, "conv_weight", x, z, must=whole, shape=w.shape[2:], **geometry)


@needs_onednn
@pytest.mark.parametrize("outputs", [16, 17])
@pytest.mark.parametrize("inputs", [4, 6])
def test_the_transpose_in_x_of_few_channels_in_either_order(inputs, outputs):
    rng = np.random.default_rng(0)
    z, w = (rng.standard_normal(s).astype("f4") for s in ((2, outputs, 5, 6), (outputs, inputs, 3, 3)))
    geometry = {"shape": (10, 6), "stride": (2, 1), "padding": ((1, 0), (1, 1)), "dilation": (1, 1), "groups": 1}
    for seen in (z, z.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)):
        x = check(onednn_conv, "conv_input", seen, w, **geometry)
        assert (x if inputs == 4 else x.transpose(0, 2, 3, 1)).flags.c_contiguous


@needs_onednn
def test_images_stay_channels_last_and_weights_in_order():
    x, w = np.ones((2, 8, 6, 6), "f4"), np.ones((4, 8, 3, 3), "f4")
    geometry = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
    y = onednn_conv.conv(x, w, **geometry)
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous
    assert (y * 2 + y).transpose(0, 2, 3, 1).flags.c_contiguous
    assert onednn_conv.conv_weight(x, y, shape=(3, 3), **geometry).flags.c_contiguous


@needs_onednn
@FEW
@given(pools())
def test_max_pool_and_its_transpose(drawn):
    x, geometry = drawn
    found = check(onednn_pool, "max_pool", x, must=False, **geometry)
    if found is not None:
        g = np.random.default_rng(1).standard_normal(found[0].shape).astype("f4")
        check(onednn_pool, "max_unpool", g, found[1], shape=x.shape[2:])
        assert onednn_pool.max_unpool(g, found[1].copy(), shape=x.shape[2:]) is NotImplemented
    count = len(onednn_pool._workspaces)
    if found is not None:
        del found
        assert len(onednn_pool._workspaces) == count - 1


@needs_onednn
def test_max_pool_leaves_nan_to_the_body():
    x = np.zeros((1, 1, 4, 4), "f4")
    x[0, 0, 1, 2] = math.nan
    geometry = {"kernel_size": (2, 2), "stride": (2, 2), "padding": ((0, 0),) * 2, "dilation": (1, 1)}
    assert onednn_pool.max_pool(x, **geometry) is NotImplemented


@needs_onednn
@FEW
@given(st.data())
def test_normalisation(data):
    shape = data.draw(st.sampled_from([(2, 3, 4, 5), (3, 4, 6), (2, 3, 2, 3, 2)]))
    x, g = (data.draw(arrays(shape)) for _ in range(2))
    rng, by_channel = np.random.default_rng(2), data.draw(st.booleans())
    axis = (0, *range(2, len(shape))) if by_channel else data.draw(st.sampled_from([-1, (len(shape) - 1,)]))
    along = 1 if by_channel and data.draw(st.booleans()) else None
    small = (shape[1], *[1] * (len(shape) - 2 if along is None else 0)) if by_channel else shape[-1:]
    weight, bias = (rng.standard_normal(small).astype("f4") for _ in range(2))
    params = {"axis": axis, "eps": 0.1, "along": along}
    y, mean, var = check(onednn_norm, "normalize", [x, weight, bias], **params)
    moments = (mean, var, weight, bias)
    check(onednn_norm, "normalize_backward", x, g, None, None, *moments, **params)
    for declined in ((g, mean, None), (g, None, mean), (None, mean, None)):
        assert onednn_norm.normalize_backward(x, *declined, *moments, **params) is NotImplemented


@needs_onednn
def test_weights_along_other_axes_are_left_to_the_body():
    """Of as many elements as there are channels, and yet not theirs."""
    x, line = np.ones((2, 40, 40, 40), "f4"), np.ones(40, "f4")
    params = {"axis": (0, 2, 3), "eps": 0.1}
    for along in (None, 2, 3):
        assert onednn_norm.normalize([x, line, line], along=along, **params) is NotImplemented
    assert onednn_norm.normalize([x, line, line], along=1, **params) is not NotImplemented


@needs_onednn
@FEW
@given(st.data())
def test_products(data):
    """By sgemm and by the primitives, of two matrices, of stacks, and of a stack and one matrix, with bias and without."""
    m, k, n = (data.draw(st.integers(1, 6)) for _ in range(3))
    lead = data.draw(st.sampled_from([(), (3,), (2, 3)]))
    x1, x2 = data.draw(arrays((*lead, m, k))), data.draw(arrays((*lead, k, n)))
    weight, bias = data.draw(arrays((n, k))), data.draw(arrays((n,)))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(onednn_matmul, "NARROW", data.draw(st.sampled_from([0, 64])))
        patched.setattr(onednn_matmul, "LONG", data.draw(st.sampled_from([0, 256])))
        check(onednn_matmul, "matmul", x1, x2)
        check(onednn_matmul, "matmul", x1, weight.T, must=x1.ndim == 2 or x1.flags.c_contiguous)
        check(onednn_matmul, "affine", x1, weight, bias, must=all(a.flags.c_contiguous for a in (x1, weight, bias)))
    sums = onednn_matmul.sums_of_columns(weight)
    if sums is not NotImplemented:
        np.testing.assert_allclose(sums, weight.sum(0), rtol=1e-5, atol=1e-5)


@needs_onednn
def test_a_product_that_onednn_refuses_to_run_is_numpys(monkeypatch):
    rng = np.random.default_rng(0)
    x1, x2 = (rng.standard_normal((2, 160, 160)).astype("f4") for _ in range(2))
    assert onednn_matmul.matmul(x1, x2) is not NotImplemented
    lib = onednn.loaded()
    monkeypatch.setattr(lib, "execute", lambda *arguments: 2)
    assert onednn_matmul.matmul(x1, x2) is NotImplemented
    np.testing.assert_array_equal(get_backend("numpy").ready().arrays.matmul(x1, x2), x1 @ x2)
    with pytest.raises(RuntimeError, match="status 2"):
        onednn_pointwise.relu(x1.repeat(8, axis=0))


def heads(rng, *shape):
    """(batch, tokens, 3, heads, width) as query, key and value (batch, heads, tokens, width)."""
    return rng.standard_normal(shape).astype("f4").transpose(2, 0, 3, 1, 4)


@needs_onednn
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("lies", ["beside", "apart", "other"])
def test_attention_in_parts(causal, lies, monkeypatch):
    monkeypatch.setattr(onednn_attention, "ROOM", 400)
    rng = np.random.default_rng(0)
    query, key, value = heads(rng, 3, 7, 3, 2, 8)
    if lies == "apart":
        query, key, value = (np.ascontiguousarray(a) for a in (query, key, value))
    elif lies == "other":  # as many keys and values as they like, of another width
        key, value = (rng.standard_normal((3, 2, 11, n)).astype("f4") for n in (8, 5))
    params = {"scale": 0.7, "causal": causal}
    y, lse = check(onednn_attention, "attention", [query, key, value], **params)
    g, g_lse = (rng.standard_normal(a.shape).astype("f4") for a in (y, lse))
    how = tuple(params.values())
    assert kept_by(lse, query, key + 0, how) is None
    for of_lse, sums in ((g_lse, lse), (0 * g_lse, lse), (g_lse, lse.copy())):  # of a copy the weights are made again
        assert (kept_by(sums, query, key, how) is None) == (sums is not lse)
        found = check(onednn_attention, "attention_backward", g, of_lse, y, sums, query, key, value, **params)
    if lies == "other":
        return
    assert [a.strides for a in found] == [a.strides for a in (query, key, value)]
    stack = get_backend("numpy").ready().arrays.stack
    del of_lse
    wanted, bases = np.stack(found), [a.base for a in found]
    joined = lies == "beside"
    assert (bases[0] is not None and bases[0] is bases[2]) == joined
    del bases
    made = stack(found)
    np.testing.assert_array_equal(made, wanted)
    assert np.shares_memory(made, found[1]) == joined


@needs_onednn
def test_attention_declines_what_only_shifted_scores_can_do():
    query = np.full((2, 4, 3), 8, "f4")
    for sign in (1, -1):
        assert onednn_attention.attention([query, sign * query, query], scale=1.0, causal=True) is NotImplemented
    key = query * np.array([-1, -1, -1, 160], "f4")[:, None] / 32  # row 0 does not see the one large score
    check(onednn_attention, "attention", [query[:, :3], key, query], scale=1.0, causal=True)
    assert onednn_attention.attention([query, key, query], scale=1.0, causal=False) is NotImplemented


def test_only_slices_that_nobody_else_looks_at_are_stacked_in_place():
    stack = get_backend("numpy").ready().arrays.stack
    x = np.arange(24.0).reshape(2, 3, 4)
    for arrays_ in (list(x), [x[0], x[0]], [x[1], x[0]], [x[0], x[1].T.reshape(3, 4)], [x[0], x[1] + 1]):
        made = stack(arrays_, axis=-1)
        np.testing.assert_array_equal(made, np.stack(arrays_, axis=-1))
        assert not np.shares_memory(made, x)
    slices = list(np.arange(24.0).reshape(2, 3, 4).transpose(1, 0, 2))
    made = stack(slices, axis=1)
    np.testing.assert_array_equal(made, x)
    assert np.shares_memory(made, slices[1])


@needs_onednn
@FEW
@given(st.data())
def test_pointwise_and_softmax(data):
    shape = data.draw(st.sampled_from([(6, 5), (2, 3, 4, 5)]))
    x, g = data.draw(arrays(shape)), data.draw(arrays(shape))
    for name, operands in (
        ("add", (x, g)),
        ("relu", (x,)),
        ("relu_backward", (g, x)),
        ("gelu_exact", (x,)),
        ("gelu_exact_backward", (g, x)),
        ("gelu_tanh", (x,)),
        ("gelu_tanh_backward", (g, x)),
    ):
        check(onednn_pointwise, name, *operands, must=False)
    y = check(onednn_pointwise, "softmax", x, axis=-1)
    check(onednn_pointwise, "softmax_backward", g, y, axis=-1)


def _sum_of_a_convolution(seed=0):
    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal((2, 8, 20, 20)).astype("f4"), rng.standard_normal((8, 8, 3, 3)).astype("f4")
    geometry = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
    return float(np.abs(get_backend("numpy").ready().arrays.conv(x, w, **geometry)).sum())


@needs_onednn
def test_threads_agree():
    wanted, found = [_sum_of_a_convolution(i) for i in range(8)], {}

    def work(i):
        found[i] = [_sum_of_a_convolution(i) for _ in range(20)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(value == wanted[i] for i in range(8) for value in found[i])


def _child(answers):
    answers.put((_sum_of_a_convolution(), onednn.loaded() is None))


@needs_onednn
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning", "ignore:.*fork.*:RuntimeWarning")
def test_a_forked_child_convolves_without_onednn():
    wanted = _sum_of_a_convolution()
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_child, args=(answers,))
    child.start()
    found, without = answers.get(timeout=30)
    child.join(30)
    assert without
    assert math.isclose(found, wanted, rel_tol=1e-5)


PROGRAM = """
import warnings
import numpy as np
import polygrad as pg
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    x, w = pg.ones((2, 4, 16, 16)), pg.ones((4, 4, 3, 3))
    y = pg.nn.functional.conv2d(x, w, padding=1) + pg.nn.functional.conv2d(x, w, padding=1)
    print(float(y.max()), len(seen), *[s.message for s in seen], sep="|")
print(pg.core.get_backend("numpy").info()["onednn"])
"""


def run_with(library):
    environment = {**os.environ, "POLYGRAD_ONEDNN_LIB": str(library), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    first, config = done.stdout.splitlines()
    value, count, *messages = first.split("|")
    assert float(value) == 72.0
    return int(count), " ".join(messages), config


def test_a_library_that_is_not_one_gives_one_message_and_right_results(tmp_path):
    corrupt = tmp_path / "libdnnl.so.3"
    corrupt.write_bytes(bytes(range(256)) * 16)
    for library in (corrupt, tmp_path / "absent.so", next(p for p in _extension_modules())):
        count, message, config = run_with(library)
        assert count == 1
        assert f"POLYGRAD_ONEDNN_LIB: {library} cannot be used" in message
        assert "cannot be used" in config


def _extension_modules():
    import _ctypes

    return [_ctypes.__file__]


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler to build a library of version 2 with")
def test_a_library_of_version_2_is_refused(tmp_path):
    source, library = tmp_path / "two.c", tmp_path / "libdnnl.so.2"
    source.write_text("int v[3] = {2, 7, 1}; const void *dnnl_version(void) { return v; }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    count, message, _ = run_with(library)
    assert count == 1
    assert "it is version 2.7, and polygrad speaks the C API of version 3" in message


def test_off_is_silent():
    count, _, config = run_with("off")
    assert count == 0
    assert config == "off by POLYGRAD_ONEDNN_LIB"


@needs_onednn
@pytest.mark.parametrize("shift", [0.0, 300.0])
def test_cross_entropy_of_a_large_matrix(shift, monkeypatch):
    """Beside the bodies in float64, whatever the size of the scores; what is not finite is left to NumPy."""
    onednn.loaded()
    backend, used, exp_less = get_backend("numpy").ready(), [], onednn_pointwise.exp_less
    monkeypatch.setattr(onednn_pointwise, "exp_less", lambda *given: used.append(exp_less(*given)) or used[-1])
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((401, 130)) * 5 + shift * rng.standard_normal((401, 1))).astype("f4")
    x[0, 1:] = x[1, ::2] = -math.inf
    target, g, more = rng.integers(0, 130, 401), np.float32(0.7), rng.standard_normal(401).astype("f4")
    target[0], target[1] = 0, 1
    params = {"axis": 1, "ignore_index": -1, "reduction": "mean"}
    found = backend.fast["softmax_cross_entropy"](x, target, **params)
    back = backend.fast["softmax_cross_entropy_backward"](g, more, x, target, found[1], **params)
    assert [u is not NotImplemented for u in used] == [True, True]
    wide = x.astype("f8")
    slow = backend.reference(declared.op("softmax_cross_entropy"))(wide, target, **params)
    for a, b in zip(found, slow, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    wide_back = backend.reference(declared.op("softmax_cross_entropy_backward"))
    expected = wide_back(np.float64(g), more.astype("f8"), wide, target, found[1].astype("f8"), **params)
    np.testing.assert_allclose(back, expected, rtol=1e-4, atol=1e-6)
    for bad in (math.nan, math.inf):
        x[5, 3] = bad
        with np.errstate(invalid="ignore"):
            loss, lse = backend.fast["softmax_cross_entropy"](x, target, **params)
            d = backend.fast["softmax_cross_entropy_backward"](g, None, x, target, lse, **params)
        assert math.isnan(loss)
        assert math.isnan(lse[5])
        assert np.isnan(d[5]).all()
        assert np.isfinite(d[6:]).all()


@needs_onednn
@pytest.mark.parametrize("rule", ["descend", "accelerate"])
@pytest.mark.parametrize("nesterov", [False, True])
def test_updates_of_large_parameters(rule, nesterov, monkeypatch):
    """In parts, the last one smaller, beside the same update in float64, which NumPy does."""
    onednn.loaded()
    monkeypatch.setattr(onednn_update, "PART", 1 << 15)
    rng, blockwise = np.random.default_rng(0), get_backend("numpy").blockwise
    parts = [rng.standard_normal((7, 10007)).astype("f4") for _ in range(2 if rule == "descend" else 3)]
    options = {"weight_decay": 0.1, "momentum": 0.9, "dampening": 0.2 * (not nesterov), "nesterov": nesterov}
    wide, used = [a.astype("f8") for a in parts], []
    axpby = onednn_update.axpby
    monkeypatch.setattr(onednn_update, "axpby", lambda size, *rest: used.append(size) or axpby(size, *rest))
    for arrays_ in (parts, wide):
        found = blockwise(None, arrays_, list(range(len(parts) - 1)), rule, (0.3,), {**options, "maximize": False})
        assert all(a is b for a, b in zip(found, arrays_, strict=False))
    assert set(used) == {1 << 15, 70049 % (1 << 15)}
    for a, b in zip(parts, wide, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
