"""Operands from elsewhere beside tensors, and the data types that come of it."""

import copy
import importlib
import pickle

import numpy as np
import pytest

import polygrad as pg
from conftest import require_torch

# ------------------------------------------------------------------------------- arrays and scalars from elsewhere

FOREIGN = {
    "numpy array": lambda: np.array([1.0, 2.0]),
    "numpy 0-d": lambda: np.array(2.0),
    "numpy float64": lambda: np.float64(2.0),
    "numpy float32": lambda: np.float32(2.0),
    "numpy int64": lambda: np.int64(2),
    "numpy bool": lambda: np.True_,
    "jax": lambda: importlib.import_module("jax.numpy").asarray([1.0, 2.0]),
    "jax 0-d": lambda: importlib.import_module("jax.numpy").asarray(2.0),
    "array_api_strict": lambda: importlib.import_module("array_api_strict").asarray([1.0, 2.0]),
    "torch": lambda: require_torch().tensor([1.0, 2.0]),
    "torch 0-d": lambda: require_torch().tensor(2.0),
}
OPERATORS = {
    "*": lambda a, b: a * b,
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "/": lambda a, b: a / b,
    "**": lambda a, b: a**b,
    "@": lambda a, b: a @ b,
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
    "<": lambda a, b: a < b,
    "==": lambda a, b: a == b,
}


@pytest.mark.parametrize("symbol", OPERATORS)
@pytest.mark.parametrize("kind", FOREIGN)
def test_an_array_on_either_side_is_one_op_or_an_error(backend, kind, symbol):
    """Never an object array, never a loop over the elements, never a result that forgot the graph."""
    function = OPERATORS[symbol]
    other = FOREIGN[kind]()
    values = np.asarray(other if not hasattr(other, "__dlpack__") else np.from_dlpack(other))
    for swap in (False, True):
        t = pg.tensor([3.0, 4.0], requires_grad=True)
        try:
            y = function(t, other) if swap else function(other, t)
        except (RuntimeError, TypeError, ValueError):
            assert kind not in ("numpy array", "numpy float64") or symbol == "@"
            continue
        assert type(y) is pg.Tensor, f"{kind}: {type(y)}"
        expected = function(np.array([3.0, 4.0]), values) if swap else function(values, np.array([3.0, 4.0]))
        np.testing.assert_allclose(y.detach().tolist(), expected, rtol=1e-6)
        if symbol not in "<==":
            assert (
                len(y.grad_fn.next_functions) == 2
                and y.grad_fn.next_functions[0 if swap else 1][0].name() == "AccumulateGrad"
            )
            y.sum().backward()
            assert t.grad.shape == (2,) and t.grad.dtype is pg.float32


def test_a_numpy_array_on_the_left_is_one_multiplication(backend):
    t = pg.tensor([3.0, 4.0], requires_grad=True)
    y = np.array([1.0, 2.0]) * t
    assert y.grad_fn.name() == "MulBackward0"
    assert y.tolist() == [3.0, 8.0]
    y = np.float64(2) * t
    assert y.grad_fn.name() == "MulBackward0" and y.dtype is pg.float32


@pytest.mark.parametrize("call", [np.sin, np.add.reduce, lambda t: np.multiply(t, 2), lambda t: np.matmul(t, t)])
def test_a_numpy_function_refuses_a_tensor(backend, call):
    with pytest.raises(TypeError):
        call(pg.tensor([1.0, 2.0], requires_grad=True))


def test_something_that_is_no_operand_is_left_to_python(backend):
    t = pg.tensor([1.0, 2.0])

    class Other:
        def __radd__(self, left):
            return "mine"

        def __eq__(self, left):
            return "mine"

    assert t + Other() == "mine"
    assert (t == Other()) == "mine"
    for wrong in ("a", None, [1.0, 2.0], {}, object()):
        with pytest.raises(TypeError):
            t * wrong
        with pytest.raises(TypeError):
            wrong - t
    assert (t == None) is False  # noqa: E711
    assert (t != "a") is True


# ----------------------------------------------------------------------------------------------------------- dtypes


def test_dtypes_are_equal_on_every_backend(backend):
    for name in ("bool", "int8", "int16", "int32", "int64", "uint8", "float32", "float64", "complex64", "complex128"):
        x = pg.ones(2, dtype=getattr(pg, name))
        assert x.dtype is getattr(pg, name)
        assert x.dtype == getattr(pg, name) == x._array.dtype
        assert hash(x.dtype) == hash(getattr(pg, name))
        assert x.dtype != pg.int64 or name == "int64"
        assert getattr(x.__array_namespace__(), name) is x.dtype


def test_dtypes_equal_their_spelling_elsewhere():
    torch = require_torch()
    jnp = pytest.importorskip("jax.numpy")
    for spelled in (np.float32, np.dtype("float32"), torch.float32, jnp.float32, "float32"):
        assert pg.float32 == spelled and spelled == pg.float32 or spelled is torch.float32
        assert pg.float64 != spelled
    assert pg.zeros(2, dtype=np.float64).dtype is pg.float64
    assert pg.zeros(2, dtype=float).dtype is pg.float32
    assert pg.zeros(2, dtype=int).dtype is pg.int64
    assert pg.zeros(2, dtype=bool).dtype is pg.bool
    assert pg.float32 != "nonsense" and pg.float32 is not None and pg.float32 != 4
    with pytest.raises(TypeError, match="not a data type"):
        pg.zeros(2, dtype="nonsense")
    assert pickle.loads(pickle.dumps(pg.int16)) is pg.int16 and copy.deepcopy(pg.int16) is pg.int16


def test_defaults_are_float32_int64_and_bool(backend):
    assert pg.tensor(1.5).dtype is pg.zeros(2).dtype is pg.tensor([1, 2.5]).dtype is pg.float32
    assert pg.tensor(1).dtype is pg.arange(3).dtype is pg.tensor([True, 2]).dtype is pg.int64
    assert pg.tensor(True).dtype is pg.bool
    assert pg.tensor(1j).dtype is pg.complex64
    assert (pg.tensor([1, 2]) / 2).dtype is pg.float32
    pg.set_default_dtype(pg.float64)
    try:
        assert pg.tensor(1.5).dtype is pg.float64 and pg.tensor(1j).dtype is pg.complex128
        assert (pg.tensor([1, 2]) / 2).dtype is pg.float64
    finally:
        pg.set_default_dtype(pg.float32)
    with pytest.raises(TypeError, match="floating"):
        pg.set_default_dtype(pg.int64)


NAMES = [
    "bool",
    "uint8",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex64",
    "complex128",
]


@pytest.mark.parametrize("first", NAMES)
@pytest.mark.parametrize("second", NAMES)
def test_promotion_is_torchs(first, second):
    """Between dtypes, and of tensors through an op, where PyTorch and polygrad both define it."""
    torch = require_torch()
    expected = str(torch.promote_types(getattr(torch, first), getattr(torch, second))).replace("torch.", "")
    assert pg.result_type(getattr(pg, first), getattr(pg, second)).name == expected
    if "bfloat16" not in (first, second):
        y = pg.ones(2, dtype=first) + pg.ones(2, dtype=second)
        z = torch.ones(2, dtype=getattr(torch, first)) + torch.ones(2, dtype=getattr(torch, second))
        assert str(y.dtype).replace("polygrad", "torch") == str(z.dtype)
        np.testing.assert_array_equal(y.tolist(), z.tolist())


@pytest.mark.parametrize("first", [n for n in NAMES if n != "bfloat16"])
@pytest.mark.parametrize("number", [True, 2, 2.5, 1j])
def test_promotion_with_a_number_is_torchs(backend, first, number):
    torch = require_torch()
    if first == "float16" and not hasattr(backend.xp, "float16"):
        pytest.skip(f"{backend.name} has no float16")
    y = pg.ones(2, dtype=first) * number
    if first == "float16" and number == 1j:
        assert y.dtype is pg.complex64  # PyTorch's complex32 is in no Array API library
    else:
        z = torch.ones(2, dtype=getattr(torch, first)) * number
        assert str(y.dtype).replace("polygrad", "torch") == str(z.dtype)


def test_promotion_that_has_no_answer_is_an_error():
    with pytest.raises(TypeError, match="uint64.*int64.*astype"):
        pg.ones(2, dtype=pg.uint64) + pg.ones(2, dtype=pg.int64)
    with pytest.raises(TypeError, match="real"):
        pg.maximum(pg.tensor([1j]), pg.tensor([2j]))
    with pytest.raises(TypeError, match="integer"):
        pg.bitwise_and(pg.tensor([1.0]), pg.tensor([1.0]))


def test_keywords_that_fit_once_are_still_read_the_next_time():
    x = pg.ones((2, 3))
    for _ in range(2):
        assert pg.permute_dims(x, axes=(1, 0)).shape == (3, 2)
        assert pg.permute_dims(x, dims=(1, 0)).shape == (3, 2)
        for wrong in ({}, {"axis": 0}, {"axes": (1, 0), "axis": 0}, {"axes": (1, 0), "dims": (1, 0)}):
            with pytest.raises(TypeError, match="its signature is permute_dims"):
                pg.permute_dims(x, **wrong)
