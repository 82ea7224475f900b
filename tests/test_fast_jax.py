"""The JAX adapter's fast paths beside the bodies that they stand for."""

import importlib

import numpy as np
import pytest

from conftest import backend_names
from polygrad.core import get_backend
from polygrad.core.backend import declared

if "jax" not in backend_names():
    pytest.skip("the backend jax is not tested", allow_module_level=True)
windows = importlib.import_module("polygrad_jax.windows")

# x, w, stride, padding, dilation
CONVOLUTIONS = [
    ((2, 3, 9), (4, 3, 3), (2,), ((1, 2),), (1,)),
    ((3, 4, 6, 5), (2, 4, 3, 2), (1, 2), ((1, 1), (0, 1)), (1, 2)),
    ((1, 2, 5, 6), (5, 2, 2, 3), (2, 3), ((-1, 2), (2, 2)), (2, 1)),
    ((2, 3, 4, 4), (4, 3, 1, 1), (2, 2), ((0, 0), (0, 0)), (1, 1)),
    ((2, 2, 3, 4, 3), (3, 2, 2, 3, 1), (1, 1, 2), ((0, 1), (1, 1), (0, 0)), (1, 1, 1)),
    ((0, 2, 4, 4), (3, 2, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
]


@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_convolutions_by_columns(case, monkeypatch):
    """The three convolutions as products with columns, for which no XLA convolution may be asked."""
    monkeypatch.setattr(windows, "WEIGHTS", 1)
    monkeypatch.setattr(windows, "_correlate", None)
    x_shape, w_shape, stride, padding, dilation = case
    dtype = np.complex128 if len(x_shape) == 3 else np.float32
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": 1}
    rng = np.random.default_rng(0)

    def drawn(*shape):
        made = rng.standard_normal(shape)
        return (made + 1j * rng.standard_normal(shape) if dtype is np.complex128 else made).astype(dtype)

    body, jnp = get_backend("numpy").ready(), get_backend("jax").xp
    x, w = drawn(*x_shape), drawn(*w_shape)
    y = body.reference(declared.ops["conv"])(x, w, **geometry)
    z = drawn(*y.shape)
    for name, operands, more in (
        ("conv", (x, w), {}),
        ("conv_input", (z, w), {"shape": x_shape[2:]}),
        ("conv_weight", (x, z), {"shape": w_shape[2:]}),
    ):
        found = getattr(windows, name)(*map(jnp.asarray, operands), **geometry, **more)
        wanted = body.reference(declared.ops[name])(*operands, **geometry, **more)
        assert found.dtype == wanted.dtype
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_channels_last(case, monkeypatch):
    """The three convolutions are the same, with and without groups; a convolution of XLA's has its channels last."""
    x_shape, w_shape, stride, padding, dilation = case
    rng = np.random.default_rng(0)
    asked = []
    original = windows.lax.conv_general_dilated
    monkeypatch.setattr(
        windows.lax,
        "conv_general_dilated",
        lambda *a, **how: asked.append(how.get("dimension_numbers")) or original(*a, **how),
    )
    for groups in (1, 2):
        geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        x, w = (
            windows.jnp.asarray(rng.standard_normal(s), "float32")
            for s in ((x_shape[0], groups * x_shape[1], *x_shape[2:]), (groups * w_shape[0], *w_shape[1:]))
        )
        found = {}
        for last in (False, True):
            monkeypatch.setattr(windows, "CHANNELS_LAST", last)
            windows._input.clear_cache()
            windows._weight.clear_cache()
            asked.clear()
            y = windows.conv(x, w, **geometry)
            found[last] = (
                y,
                windows.conv_input(y, w, shape=x_shape[2:], **geometry),
                windows.conv_weight(x, y, shape=w_shape[2:], **geometry),
            )
            assert len(asked) == 3
            assert all((numbers is not None) is last for numbers in asked)
        for one, other in zip(found[False], found[True], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    windows._input.clear_cache()
    windows._weight.clear_cache()


def test_a_layout_that_there_is_not():
    with pytest.raises(ValueError, match="POLYGRAD_JAX_LAYOUT is 'nhwc'; it may be channels_first or channels_last"):
        windows._is_last("nhwc")


def test_columns_leave_what_does_not_fit_to_the_body(monkeypatch):
    monkeypatch.setattr(windows, "WEIGHTS", 1)
    arrays = get_backend("jax").ready().arrays
    x, w = arrays.ones((2, 3, 4, 4)), arrays.ones((5, 3, 3, 3))
    plain = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
    for name, operands, wrong, message in (
        ("conv", (x, w[:, :2]), {}, "to have 2 channels"),
        ("conv", (x, w), {"padding": ((-1, -1), (0, 0))}, "can't be greater than actual input size"),
        ("conv", (x, w), {"stride": (1,)}, "expected kernel size, stride, padding and dilation for 2 spatial axes"),
        ("conv_input", (x, w), {"shape": (4, 4)}, "expected 5 channels"),
        ("conv_input", (arrays.ones((2, 5, 4, 4)), w), {"shape": (9, 9)}, "expected 5 channels of size"),
        ("conv_weight", (x, arrays.ones((2, 5, 4, 4))), {"shape": (2, 2)}, "expected 5 channels of size"),
    ):
        with pytest.raises(RuntimeError, match=message):
            getattr(arrays, name)(*operands, **{**plain, **wrong})


def test_heavy_weights_are_chosen_on_processors_only(monkeypatch):
    shape = (128, 128, 3, 3)
    assert windows._by_columns(windows.POSITIONS, shape, 1) is (get_backend("jax").info()["platform"] == "cpu")
    assert not windows._by_columns(windows.POSITIONS + 1, shape, 1)
    assert not windows._by_columns(1, (128, 64, 3, 3), 1)
    assert not windows._by_columns(1, shape, 2)
    monkeypatch.setattr(windows.jax, "default_backend", lambda: "gpu")
    assert not windows._by_columns(1, shape, 1)


def test_ops_that_are_programs_may_be_called_in_every_way():
    """Parameters by place and by name, constants that are none, arrays beside numbers, and inside another program."""
    jax, arrays = pytest.importorskip("jax"), get_backend("jax").ready().arrays
    x = arrays.asarray([[0.0, 1.0, 2.0], [3.0, 4.0, 6.0]])
    wanted = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    for y in (arrays.softmax(x, 1), arrays.softmax(x, axis=1), arrays.softmax(x, axis=np.int64(1))):
        np.testing.assert_allclose(y, wanted, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(lambda x: arrays.softmax(x, axis=1))(x), wanted, rtol=1e-6)
    pool = {"stride": [2], "padding": [(0, 0)], "count_include_pad": True, "divisor_override": None}
    assert arrays.avg_pool(x[None, :, :2], kernel_size=[2], **pool).tolist() == [
        [[0.5], [3.5]]
    ]  # lists are no constants
    half = arrays.asarray(0.5)
    assert float(arrays.binary_entropy(half, 1)) == pytest.approx(np.log(2))
    assert arrays.affine(x, x).shape == (2, 2)
    with pytest.raises(RuntimeError, match="max_unpool: expected indices of x's shape"):
        arrays.max_unpool(x[None], arrays.zeros((1, 2, 2), dtype=arrays.asarray(1).dtype), shape=(9,))
