"""In-place code where arrays are immutable, bad input, numbers for operands, and devices without double precision."""

import math

import numpy as np
import pytest

import polygrad as pg
from polygrad.core.backend import declared

X = np.array([[0.5, -1.0, 2.0], [3.0, 0.25, -0.5]])
V = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
SQUARE = np.array([[0.5, 1.0, 0.0], [0.2, -1.0, 0.3], [1.0, 0.0, 2.0]])


# -------------------------------------------------------------------------------------------------------- in place


def put_row(x, v):
    x[1] = v[0]


def put_mask(x, v):
    x[x > 0.4] = 0


def add_stride(x, v):
    x[::2] += v[::2]


def add_reversed(x, v):
    x[:, ::-1] += v


def put_index_arrays(x, v):
    x[:, type(x)([0, 2]).long() if isinstance(x, pg.Tensor) else [0, 2]] = v[:, :2]


def times_matrix(x, v):
    x @= (pg.tensor(SQUARE)) if isinstance(x, pg.Tensor) else SQUARE


def several(x, v):
    x *= 2
    x[0, 0] = v[1, 1]
    x -= v
    x[1] **= 2


CHANGES = [put_row, put_mask, add_stride, add_reversed, put_index_arrays, times_matrix, several]


@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
def test_in_place_code_gives_numpys_values_and_right_gradients(change, backend):
    expected = X.copy()
    change(expected, V)
    x, v = pg.tensor(X, requires_grad=True), pg.tensor(V, requires_grad=True)
    y, before = x * 1, x * 1
    change(y, v)
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=1e-14)
    np.testing.assert_array_equal(before.detach().numpy(), X)  # nobody else saw it
    w = np.arange(1.0, 7.0).reshape(2, 3)
    (y**2 * pg.tensor(w)).sum().backward()
    for leaf, at in ((x, 0), (v, 1)):
        grad = np.zeros((2, 3)) if leaf.grad is None else leaf.grad.numpy()
        for i in np.ndindex(2, 3):
            ends = []
            for sign in (1, -1):
                arrays = [X.copy(), V.copy()]
                arrays[at][i] += sign * 1e-6
                change(*arrays)
                ends.append((arrays[0] ** 2 * w).sum())
            assert math.isclose(grad[i], (ends[0] - ends[1]) / 2e-6, rel_tol=1e-6, abs_tol=1e-7), (at, i)


# ------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "call, errors",
    [
        (lambda x: x[2], IndexError),
        (lambda x: x[0, 0, 0], IndexError),
        (lambda x: x[x], IndexError),
        (lambda x: x[pg.tensor([True, False, True])], IndexError),
        (lambda x: pg.sum(x, axis=2), (IndexError, ValueError)),
        (lambda x: pg.max(x, axis=-3), (IndexError, ValueError)),
        (lambda x: pg.concat([x, x], axis=2), (IndexError, ValueError)),
        (lambda x: pg.expand_dims(x, axis=4), (IndexError, ValueError)),
        (lambda x: pg.permute_dims(x, (0, 0)), (ValueError, TypeError, RuntimeError)),
        (lambda x: pg.squeeze(x, axis=0), (ValueError, RuntimeError)),
        (lambda x: x + pg.ones((4,)), (ValueError, TypeError, RuntimeError)),
        (lambda x: x @ x, (ValueError, TypeError, RuntimeError)),
        (lambda x: pg.reshape(x, (4, 2)), (ValueError, TypeError, RuntimeError)),
        (lambda x: pg.broadcast_to(x, (2, 4)), (ValueError, RuntimeError)),
        (lambda x: pg.stack([x, x[0]]), (ValueError, RuntimeError, TypeError)),
        (lambda x: pg.bitwise_and(x, x), TypeError),
        (lambda x: pg.linalg.inv(pg.tensor([["a"]])), (TypeError, ValueError)),
        (lambda x: pg.astype(x, "float7"), TypeError),
        (lambda x: pg.remainder(pg.astype(x, "complex64"), 2), TypeError),
        (lambda x: pg.imag(x), TypeError),
        (lambda x: pg.no_such_function(x), AttributeError),
    ],
)
def test_bad_input_is_an_error_that_says_something(call, errors, backend):
    with pytest.raises(errors) as caught:
        call(pg.ones((2, 3)))
    assert str(caught.value)


# --------------------------------------------------------------------------------------------------------- numbers

POINTS = [0.0, 1.0, -1.0, 2.0, 0.5, math.inf]
BINARY = sorted(
    op.name
    for op in declared.ops.values()
    if op.kind == "pointwise" and len(op.operands) == 2 and not op.defaults and all(op.pulls)
)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the points are poles of some
@pytest.mark.parametrize("name", BINARY)
def test_a_number_is_what_an_array_of_it_is(name):
    function = declared.ops[name].call

    def found(number, at):
        x = pg.tensor(POINTS, dtype="float64", requires_grad=True)
        y = function(*((number, x) if at == 0 else (x, number)))
        y.sum().backward()
        return y.detach().numpy(), x.grad.numpy()

    for number in (0, 0.0, -0.0, 1, -2.5, math.inf, math.nan):
        for at in (0, 1):
            plain, array = found(number, at), found(pg.tensor(float(number), dtype="float64"), at)
            for p, a in zip(plain, array, strict=True):
                np.testing.assert_allclose(p, a, rtol=1e-14, err_msg=f"{name}, {number} at {at}")


# --------------------------------------------------------------------------------------------------------- devices


def test_training_on_a_device_without_double_precision():
    with pg.use_backend("array_api_strict") as strict:
        short = next(d for d in strict.devices() if "no_float64" in str(d))
        x = pg.asarray(X, dtype="float32", device=short).requires_grad_()
        w = pg.asarray(SQUARE, dtype="float32", device=short).requires_grad_()
        y = pg.softmax(pg.tanh(x @ w) * 2 + 1, axis=1)
        loss = pg.mean(pg.logsumexp(y, axis=1)) + pg.std(y) + pg.linalg.vector_norm(w)
        loss.backward()
        for t in (loss, x.grad, w.grad):
            assert t.device == short and t.dtype is pg.float32
        with pytest.raises((ValueError, TypeError, RuntimeError)):
            pg.zeros((2,), dtype="float64", device=short)


def test_two_devices_do_not_mix():
    with pg.use_backend("array_api_strict") as strict:
        one, other = [d for d in strict.devices() if "no_" not in str(d)][:2]
        x = pg.ones((2,), device=one, requires_grad=True)
        with pytest.raises(RuntimeError, match="same device"):
            x + pg.ones((2,), device=other)
        moved = x.to_device(other) * pg.ones((2,), device=other)
        moved.sum().backward()
        assert x.grad.device == one
