"""Recurrent layers and cells beside PyTorch's: layers, directions, projections, states, packed sequences."""

import math

import numpy as np
import pytest

import polygrad as pg
from polygrad import nn
from polygrad.nn.utils import rnn
from twins import agree, close, compare, flat, spread_over_backends, twins

RNG = np.random.default_rng(31)
X = (4, 2, 3)

LAYERS = [
    ("RNN(3, 5)", X),
    ("RNN(3, 5, nonlinearity='relu', num_layers=2, bias=False)", X),
    ("RNN(3, 5, bidirectional=True, batch_first=True)", X, (2, 4, 5)),
    ("GRU(3, 5)", X, (1, 2, 5)),
    ("GRU(3, 5, 2, bidirectional=True, bias=False)", X),
    ("GRU(3, 5)", (4, 3), (1, 5)),
    ("LSTM(3, 5)", X),
    ("LSTM(3, 5, 2, batch_first=True, bidirectional=True)", X),
    ("LSTM(3, 5, 2, proj_size=2, bidirectional=True)", X),
    ("LSTM(3, 5, bias=False, proj_size=2)", (4, 3)),
    ("RNNCell(3, 5)", (2, 3)),
    ("RNNCell(3, 5, bias=False, nonlinearity='relu')", (2, 3), (2, 5)),
    ("GRUCell(3, 5)", (2, 3), (2, 5)),
    ("GRUCell(3, 5)", (3,)),
    ("LSTMCell(3, 5)", (2, 3)),
]


@pytest.mark.parametrize(("backend", "case"), spread_over_backends([(c,) for c in LAYERS]), indirect=["backend"])
def test_recurrent(backend, torch, case):
    agree(case[0], case[1:], torch)


@pytest.mark.parametrize(
    ("expression", "x", "h", "c"),
    [
        ("LSTM(3, 5, 2, proj_size=2)", X, (2, 2, 2), (2, 2, 5)),
        ("LSTM(3, 5)", (4, 3), (1, 5), (1, 5)),
        ("LSTMCell(3, 5)", (2, 3), (2, 5), (2, 5)),
    ],
)
def test_pairs_of_states(torch, expression, x, h, c):
    ours, theirs = twins(expression, torch)
    compare(lambda x, h, c: ours(x, (h, c)), lambda x, h, c: theirs(x, (h, c)), [x, h, c], torch)


PACKED = [
    ("RNN(3, 4, bidirectional=True)", [4, 2, 1], True),
    ("LSTM(3, 4, 2, bidirectional=True)", [2, 4, 1], False),
    ("GRU(3, 4, 2)", [4, 4, 3], True),
    ("LSTM(3, 4, proj_size=2)", [1, 4, 2], False),
]


@pytest.mark.parametrize(
    ("backend", "expression", "lengths", "order"), spread_over_backends(PACKED, 4), indirect=["backend"]
)
def test_packed_sequences(backend, torch, expression, lengths, order):
    ours, theirs = twins(expression, torch)
    rows = (2 if "bidirectional" in expression else 1) * (2 if ", 2" in expression else 1)

    def run(layer, space, x, h=None):
        packed = space.pack_padded_sequence(x, lengths, enforce_sorted=order)
        y, hidden = layer(packed) if h is None else layer(packed, h)
        padded, found = space.pad_packed_sequence(y, padding_value=7.0)
        assert found.tolist() == lengths
        return packed.data, y.data, padded, hidden

    specs = [(4, 3, 3)] if "LSTM" in expression else [(4, 3, 3), (rows, 3, 4)]
    compare(lambda *xs: run(ours, rnn, *xs), lambda *xs: run(theirs, torch.nn.utils.rnn, *xs), specs, torch)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        close(p.grad, q.grad)


def test_packing_and_padding(torch):
    data = [RNG.standard_normal((n, 2)) for n in (2, 4, 1)]
    for side in ("right", "left"):
        for batch_first in (False, True):
            ours, theirs = (
                space.pad_sequence([make(d) for d in data], batch_first, -1.0, side)
                for space, make in ((rnn, pg.tensor), (torch.nn.utils.rnn, torch.tensor))
            )
            close(ours, theirs)
    ours, theirs = (
        space.pack_sequence([make(d) for d in data], enforce_sorted=False)
        for space, make in ((rnn, pg.tensor), (torch.nn.utils.rnn, torch.tensor))
    )
    for a, b in zip(ours, theirs, strict=True):
        close(a, b)
    for found, d in zip(rnn.unpack_sequence(ours), data, strict=True):
        assert found.tolist() == d.tolist()
    a, b = (space.pad_packed_sequence(p, True, 2.0, 6)[0] for space, p in ((rnn, ours), (torch.nn.utils.rnn, theirs)))
    close(a, b)
    assert ours.to(pg.float32).data.dtype is pg.float32
    with pytest.raises(ValueError, match="total_length"):
        rnn.pad_packed_sequence(ours, total_length=3)
    with pytest.raises(RuntimeError, match="sorted in decreasing order"):
        rnn.pack_padded_sequence(pg.ones((3, 2)), [1, 3])
    with pytest.raises(RuntimeError, match="greater than 0"):
        rnn.pack_padded_sequence(pg.ones((3, 2)), [3, 0])
    with pytest.raises(RuntimeError, match="batch_size=2"):
        rnn.pack_padded_sequence(pg.ones((3, 2)), [3])
    with pytest.raises(RuntimeError, match="empty list"):
        rnn.pad_sequence([])


def test_initial_values_and_dropout():
    pg.manual_seed(0)
    layer = nn.LSTM(30, 100, 2, dropout=0.5)
    for p in layer.parameters():
        data = p.detach().numpy()
        assert np.abs(data).max() <= 0.1 and abs(data.std() - 0.1 / math.sqrt(3)) < 6e-3
    x = pg.ones((3, 2, 30))
    assert layer(x)[0].tolist() != layer(x)[0].tolist()
    assert layer.eval()(x)[0].tolist() == layer(x)[0].tolist()
    assert [len(w) for w in layer.all_weights] == [4, 4]
    assert len(flat(layer(x))) == 3
    with pytest.warns(UserWarning, match="num_layers greater than 1"):
        nn.GRU(2, 3, dropout=0.5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.RNN(3, 4)(pg.ones((2, 1, 5))), RuntimeError, "Expected 3, got 5"),
        (
            lambda: nn.GRU(3, 4)(pg.ones((2, 1, 3)), pg.ones((1, 2, 4))),
            RuntimeError,
            r"Expected hidden size \(1, 1, 4\)",
        ),
        (lambda: nn.LSTM(3, 4)(pg.ones(3)), ValueError, "to be 2D or 3D, got 1D"),
        (lambda: nn.RNN(3, 4, nonlinearity="cube"), ValueError, "Unknown nonlinearity 'cube'"),
        (lambda: nn.LSTM(3, 4, proj_size=4), ValueError, "proj_size has to be"),
        (lambda: nn.GRUCell(3, 4)(pg.ones((2, 5))), RuntimeError, "inconsistent input_size: got 5, expected 3"),
    ],
)
def test_wrong_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
