"""How tensors print, beside PyTorch: the same text for the same values."""

import math

import numpy as np
import pytest

import polygrad as pg
from conftest import require_torch

RNG = np.random.default_rng(11)
INF, NAN = math.inf, math.nan

VALUES = {
    "0-d": 1.5,
    "0-d whole": 36.0,
    "0-d negative": -12.0,
    "0-d tiny": 1e-7,
    "0-d huge": 1e10,
    "0-d nan": NAN,
    "0-d inf": -INF,
    "empty": [],
    "pair": [2.0, 3.0],
    "fractions": [0.1, 0.25, 1 / 3],
    "mixed signs": [-1.0, 2.0, -3.5],
    "wide range": [1e-5, 1.0],
    "wider range": [1e-5, 1e5],
    "thousand to one": [1.5, 1500.5],
    "over a thousand to one": [1.5, 1501.5],
    "large whole": [1.0, 1000.0, 100000.0],
    "very large whole": [1.0, 123456789.0],
    "small": [1e-4, 2e-4],
    "smaller": [1e-5, 2e-5],
    "zeros": [0.0, 0.0],
    "minus zero": [-0.0, 1.0],
    "zero and small": [0.0, 1e-6],
    "nan among": [1.0, NAN, 2.5],
    "inf among": [1.0, INF, -INF],
    "nan among whole": [1.0, NAN, 2.0],
    "only nan": [NAN, NAN],
    "all kinds": [0.5, -INF, NAN, 1e6, 1e-6],
    "long line": list(np.linspace(-1, 1, 30)),
    "long line of whole": list(np.arange(40.0)),
    "matrix": RNG.standard_normal((3, 4)),
    "row": RNG.standard_normal((1, 4)),
    "column": RNG.standard_normal((4, 1)),
    "cube": RNG.standard_normal((2, 3, 2)),
    "four axes": RNG.standard_normal((2, 1, 2, 3)),
    "wide matrix": RNG.standard_normal((2, 25)),
    "summarised": np.arange(2000.0),
    "summarised matrix": RNG.standard_normal((50, 50)),
    "summarised cube": RNG.standard_normal((20, 10, 8)) * 100,
    "summarised rows only": RNG.standard_normal((600, 3)),
    "summarised columns only": RNG.standard_normal((3, 600)),
    "thousand": np.arange(1000.0),
    "large numbers": RNG.standard_normal(5) * 1e9,
    "hundreds": RNG.standard_normal((2, 3)) * 300,
    "powers": 10.0 ** np.arange(-3, 4),
    "no rows": np.zeros((0, 3)),
    "no columns": np.zeros((2, 0)),
    "one": [1.0],
    "rounding": [0.99999, 1.00001],
    "rounding up": [9.99999, 0.5],
}
WHOLE = {
    "0-d": 5,
    "pair": [1, -2],
    "widths": [1, 200, -30000],
    "matrix": np.arange(12).reshape(3, 4) - 5,
    "long line": np.arange(60),
    "summarised": np.arange(1500),
    "extremes": [-(2**31), 2**31 - 1],
    "empty": np.zeros((0,)),
    "no rows": np.zeros((0, 2)),
}
FLAGS = {"0-d": True, "pair": [True, False], "matrix": [[True, False], [False, True]], "long": [True] * 50}
COMPLEX = {
    "0-d": 1 + 2j,
    "pair": [1.5 - 2j, -0.25 + 3j],
    "whole": [1 + 2j, 3 - 4j],
    "matrix": RNG.standard_normal((2, 2)) + 1j * RNG.standard_normal((2, 2)),
    "tiny": [1e-7 + 1j, 1 + 1e-7j],
    "special": [complex(NAN, INF), 1 + 1j],
    "long": list(RNG.standard_normal(12) * (1 + 2j)),
}
CASES = [
    *((name, value, dtype) for name, value in VALUES.items() for dtype in ("float32", "float64")),
    *((name, value, "float16") for name, value in VALUES.items() if name in ("pair", "matrix", "long line", "empty")),
    *((name, value, dtype) for name, value in WHOLE.items() for dtype in ("int64", "int32")),
    *((name, value, "uint8") for name, value in WHOLE.items() if name in ("0-d", "long line")),
    *((name, value, "bool") for name, value in FLAGS.items()),
    *((name, value, dtype) for name, value in COMPLEX.items() for dtype in ("complex64", "complex128")),
]


def both(value, dtype, **options):
    """The value in polygrad and in PyTorch."""
    torch = require_torch()
    host = np.asarray(value, dtype=dtype)
    return pg.tensor(host, **options), torch.tensor(host, **options)


def translated(theirs):
    return repr(theirs).replace("torch.", "polygrad.")


@pytest.mark.parametrize(("name", "value", "dtype"), CASES, ids=[f"{c[0]} {c[2]}" for c in CASES])
def test_a_tensor_prints_as_torchs(name, value, dtype):
    ours, theirs = both(value, dtype)
    assert repr(ours) == translated(theirs)
    assert str(ours) == repr(ours)


@pytest.mark.parametrize("name", ["0-d", "pair", "matrix", "long line", "summarised", "cube", "empty", "wide range"])
def test_the_history_prints_as_torchs(name):
    """In float32, whose name is not shown: "polygrad" is longer than "torch", and lines break elsewhere."""
    ours, theirs = both(VALUES[name], "float32", requires_grad=True)
    assert repr(ours) == translated(theirs)
    assert repr(ours * 2) == translated(theirs * 2)
    assert repr(pg.tanh(ours)) == translated(theirs.tanh())


NAMES = {
    "add": (lambda lib, a, b: a + b),
    "sub": (lambda lib, a, b: a - b),
    "mul": (lambda lib, a, b: a * b),
    "div": (lambda lib, a, b: a / b),
    "pow": (lambda lib, a, b: a**2),
    "neg": (lambda lib, a, b: -a),
    "abs": (lambda lib, a, b: abs(a)),
    "mm": (lambda lib, a, b: a @ b),
    "exp": (lambda lib, a, b: a.exp()),
    "log": (lambda lib, a, b: a.log()),
    "sin": (lambda lib, a, b: a.sin()),
    "tanh": (lambda lib, a, b: a.tanh()),
    "sigmoid": (lambda lib, a, b: a.sigmoid()),
    "relu": (lambda lib, a, b: a.relu()),
    "sqrt": (lambda lib, a, b: a.sqrt()),
    "sum": (lambda lib, a, b: a.sum()),
    "mean": (lambda lib, a, b: a.mean()),
    "prod": (lambda lib, a, b: a.prod()),
    "clone": (lambda lib, a, b: a.clone()),
    "view": (lambda lib, a, b: a.view(4)),
    "reshape": (lambda lib, a, b: a.reshape(4)),
    "t": (lambda lib, a, b: a.mT),
    "permute": (lambda lib, a, b: a.permute(1, 0)),
    "unsqueeze": (lambda lib, a, b: a.unsqueeze(0)),
    "expand": (lambda lib, a, b: a.expand(2, 2, 2)),
    "cat": (lambda lib, a, b: lib.cat([a, b])),
    "stack": (lambda lib, a, b: lib.stack([a, b])),
    "maximum": (lambda lib, a, b: lib.maximum(a, b)),
    "where": (lambda lib, a, b: lib.where(a > 0, a, b)),
    "cumsum": (lambda lib, a, b: a.cumsum(0)),
    "gather": (lambda lib, a, b: a.gather(0, lib.tensor([[0, 1]]))),
    "softmax": (lambda lib, a, b: a.softmax(0)),
    "log_softmax": (lambda lib, a, b: a.log_softmax(0)),
    "to": (lambda lib, a, b: a.double()),
    "unbind": (lambda lib, a, b: a.unbind()[1]),
    "tril": (lambda lib, a, b: a.tril()),
    "flip": (lambda lib, a, b: a.flip(0)),
    "std": (lambda lib, a, b: a.std()),
    "var": (lambda lib, a, b: a.var()),
    "logsumexp": (lambda lib, a, b: a.logsumexp(0)),
}


@pytest.mark.parametrize("call", NAMES.values(), ids=NAMES)
def test_the_node_has_torchs_name(call):
    torch = require_torch()
    data = [[1.0, 0.5], [0.25, 2.0]], [[0.5, 1.0], [1.0, 0.25]]
    ours = call(pg, *(pg.tensor(d, requires_grad=True) for d in data))
    theirs = call(torch, *(torch.tensor(d, requires_grad=True) for d in data))
    assert ours.grad_fn.name() == theirs.grad_fn.name()


def test_the_tutorials_forms(backend):
    a, b = pg.tensor(2.0, requires_grad=True), pg.tensor(6.0, requires_grad=True)
    assert [repr(t) for t in (a + b, a - b, a * b, b / a)] == [
        "tensor(8., grad_fn=<AddBackward0>)",
        "tensor(-4., grad_fn=<SubBackward0>)",
        "tensor(12., grad_fn=<MulBackward0>)",
        "tensor(3., grad_fn=<DivBackward0>)",
    ]
    (3 * a**3 - b**2).backward()
    assert repr(a.grad) == "tensor(36.)" and repr(b.grad) == "tensor(-12.)"
    assert repr(9 * pg.tensor([2.0, 3.0]) == pg.tensor([18.0, 27.0])) == "tensor([True, True])"


def test_a_tensor_prints_alike_on_every_backend(backend):
    for name in ("matrix", "wide range", "nan among", "summarised", "empty"):
        host = np.asarray(VALUES[name], dtype="float32")
        with pg.use_backend("numpy"):
            expected = repr(pg.tensor(host, requires_grad=True) * 2)
        assert repr(pg.tensor(host, requires_grad=True) * 2) == expected


OPTIONS = [
    {"precision": 2},
    {"precision": 8},
    {"sci_mode": True},
    {"sci_mode": False},
    {"threshold": 5},
    {"threshold": 5, "edgeitems": 1},
    {"linewidth": 40},
    {"linewidth": 200},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", ["matrix", "wide range", "long line", "cube", "long line of whole", "all kinds"])
def test_printing_options_do_what_torchs_do(options, name):
    torch = require_torch()
    ours, theirs = both(VALUES[name], "float32")
    pg.set_printoptions(**options)
    torch.set_printoptions(**options)
    try:
        assert repr(ours) == translated(theirs)
    finally:
        for lib in (pg, torch):
            lib.set_printoptions(precision=4, threshold=1000, edgeitems=3, linewidth=80, sci_mode=None)


@pytest.mark.parametrize("spec", ["", ".3f", "8.2f", "e", "g"])
def test_formatting_a_number(spec):
    ours, theirs = both(1.23456, "float64")
    assert format(ours, spec) == format(theirs, spec)
    assert f"{ours * 2}" == f"{theirs * 2}"
