"""The NumPy adapter's activations beside their bodies: every layout, at kinks and ends, derivatives beside PyTorch's."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import polygrad as pg
from polygrad.core import get_backend
from test_fast_numpy import FEW, arrays, both

torch = pytest.importorskip("torch")

# name, how many operands, parameters, whether float64 is taken
CASES = [
    ("leaky_relu", 1, {}, True),
    ("leaky_relu", 1, {"negative_slope": 0.7}, True),
    ("leaky_relu_backward", 2, {"negative_slope": 0.01}, True),
    ("leaky_relu_backward", 2, {"negative_slope": 0.7}, True),
    ("elu", 1, {}, True),
    ("elu", 1, {"alpha": -1.7}, True),
    ("celu", 1, {}, True),
    ("celu", 1, {"alpha": 0.3}, True),
    ("elu_backward", 3, {"alpha": 1.0}, True),
    ("elu_backward", 3, {"alpha": 1.6732632423543772}, True),
    ("elu_backward", 3, {"alpha": 0.3}, True),
    ("hardtanh", 1, {}, True),
    ("hardtanh", 1, {"min_val": -0.3, "max_val": 1.7}, True),
    ("hardswish", 1, {}, True),
    ("hardswish_backward", 2, {}, True),
    ("softplus", 1, {}, False),
    ("softplus", 1, {"beta": 2.5, "threshold": 18.0}, False),
    ("softplus_backward", 2, {"beta": 1.0, "threshold": 20.0}, False),
    ("softplus_backward", 2, {"beta": 2.5, "threshold": 18.0}, False),
    ("sigmoid", 1, {}, True),
    ("silu", 1, {}, True),
    ("silu_backward", 2, {}, True),
    ("log_sigmoid_backward", 2, {}, True),
    ("log_odds", 1, {}, False),
    ("exp2", 1, {}, True),
]
IDS = [f"{name}-{params}" for name, _, params, _ in CASES]
KINKS = (0.0, -0.0, 3.0, -3.0, 1.0, -1.0, 6.0, -6.0, 0.5, 17.0, 18.0, 20.0, 20.5, -20.0, 87.0, -87.0)


def operands_of(name, params, count, x, others):
    """x in its place among the operands; `elu_backward` has elu's result beside it."""
    if name == "log_odds":
        x = (np.tanh(x) * 0.999 + 1) / 2
    if count == 1:
        return (x,)
    g, *_ = others
    if name == "elu_backward":
        return g, x, np.where(x > 0, x, params["alpha"] * np.expm1(np.minimum(x, 0)))
    return g, x


def same(fast, slow):
    """Equal to 1.5 units in the last place of the operands' precision, NaN and infinities at the same places."""
    assert fast.dtype == slow.dtype
    assert fast.shape == slow.shape
    np.testing.assert_allclose(fast, slow, rtol=4e-7 if fast.dtype == np.float32 else 8e-16, atol=1e-37)


@pytest.mark.parametrize("name, count, params, double", CASES, ids=IDS)
@FEW
@given(st.data())
def test_activations_in_every_layout(name, count, params, double, data):
    shape = data.draw(st.sampled_from([(70, 64), (5, 16, 8, 8), (70_000,), (2, 3)]))
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    x, g = data.draw(arrays(shape, dtype)) * 4, data.draw(arrays(shape, dtype))
    fast, slow = both(name, *operands_of(name, params, count, x, [g]), **params)
    if fast is not NotImplemented:
        assert double or dtype == "float32"
        same(fast, slow())


@pytest.mark.parametrize("name, count, params, double", CASES, ids=IDS)
def test_activations_at_kinks_and_ends(name, count, params, double):
    for dtype in ("float32", "float64") if double else ("float32",):
        x = np.array([*KINKS, math.nan, math.inf, -math.inf, 1e-30, -1e-30, 1e30, -1e30], dtype)
        if name == "log_odds":
            x = np.array([0.0, 1.0, 0.5, math.nan, 1e-30, 0.3, 0.7, -1.0, 2.0], dtype)
            x = np.concatenate([x, np.float32(0.5) + np.arange(-9, 9, dtype="f4") * np.float32(2**-25)])
        g = np.array([1.0, -2.5, 0.0, math.inf, math.nan], dtype)
        x, g = (a.ravel() for a in np.broadcast_arrays(np.tile(x, 90)[:, None], np.tile(g, 2)))
        given_ = (x,) if name == "log_odds" else operands_of(name, params, count, x, [g])
        if name in ("softplus_backward", "silu_backward", "log_sigmoid_backward"):
            given_ = (np.where(np.isfinite(g), g, 1), x)  # 0 times infinity
        with np.errstate(all="ignore"):
            fast, slow = both(name, *given_, **params)
            assert fast is not NotImplemented
            same(fast, slow())


def test_what_is_declined():
    x = np.linspace(-4, 4, 9000, dtype="f4")
    for name, count, params in (
        ("leaky_relu", 1, {"negative_slope": 0.0}),
        ("leaky_relu", 1, {"negative_slope": 2.0}),
        ("leaky_relu_backward", 2, {"negative_slope": 0.0}),
        ("leaky_relu_backward", 2, {"negative_slope": -0.1}),
        ("elu_backward", 3, {"alpha": -1.0}),
        ("softplus", 1, {"threshold": 2.0}),
        ("softplus", 1, {"beta": -1.0}),
        ("softplus_backward", 2, {"beta": 1.0, "threshold": 2.0}),
        ("hardswish_backward", 2, {}),
    ):
        mixed = x.astype("f8") if name == "hardswish_backward" else x
        assert both(name, *[x, mixed, x][:count], **params)[0] is NotImplemented


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "name", ["leaky_relu", "elu", "selu", "celu", "hardtanh", "hardswish", "softplus", "silu", "logsigmoid", "mish"]
)
def test_activations_and_both_derivatives_beside_pytorch(name, dtype):
    x = np.concatenate([np.linspace(-8, 8, 5000), [0, -3, 3, 1, -1]]).astype(dtype)
    found = []
    for library, functional in ((pg, pg.nn.functional), (torch, torch.nn.functional)):
        a = library.tensor(x, requires_grad=True)
        y = getattr(functional, name)(a)
        (g,) = library.autograd.grad((y * y).sum(), a, create_graph=True)
        (h,) = library.autograd.grad(g.sum(), a)
        found.append([t.detach().numpy() for t in (y, g, h)])
    for ours, theirs in zip(*found, strict=True):
        bound = 3e-6 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(ours, theirs, rtol=bound, atol=bound * 8)


def test_logit_beside_double_precision():
    near = np.float32(0.5) + np.arange(-4000, 4000, dtype="f4") * np.float32(2**-25)
    x = np.concatenate(
        [near, np.geomspace(1e-37, 0.5, 4000).astype("f4"), 1 - np.geomspace(1e-7, 0.5, 4000).astype("f4")]
    )
    y = get_backend("numpy").ready().fast["log_odds"](x)
    exact = np.log(x.astype("f8")) - np.log1p(-x.astype("f8"))
    np.testing.assert_allclose(y, exact, rtol=5e-7, atol=1e-15)
