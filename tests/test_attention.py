"""Attention and transformers beside PyTorch's: masks, causal, several widths, added keys, both layouts."""

import math

import numpy as np
import pytest

import polygrad as pg
from polygrad import nn
from polygrad.nn import functional as F
from twins import Fixed, Flags, agree, compare, spread_over_backends, twins

RNG = np.random.default_rng(29)
SEEN = RNG.random((3, 5)) < 0.6
SEEN[:, 0] = True
BLIND = SEEN.copy()
BLIND[1] = False  # a row that sees nothing
CAUSAL = np.triu(np.full((4, 4), -np.inf), 1)
TAIL = np.array([[False] * 4, [False, False, True, True]])  # the last keys of the second sample are padding

ATTENTION = [
    ([(2, 3, 4), (2, 5, 4), (2, 5, 3)], {}),
    ([(2, 3, 4), (2, 5, 4), (2, 5, 3)], {"scale": 0.3}),
    ([(2, 2, 3, 4), (2, 2, 5, 4), (2, 2, 5, 3), SEEN], {}),
    ([(2, 2, 3, 4), (2, 2, 5, 4), (2, 2, 5, 3), BLIND], {}),
    ([(2, 2, 3, 4), (2, 2, 5, 4), (2, 2, 5, 3), (2, 1, 3, 5)], {}),
    ([(2, 4, 3), (2, 4, 3), (2, 4, 3)], {"is_causal": True}),
    ([(2, 3, 4), (2, 5, 4), (2, 5, 4)], {"is_causal": True}),
    ([(1, 6, 3, 4), (1, 2, 5, 4), (1, 2, 5, 4)], {"enable_gqa": True}),
    ([(3, 4), (5, 4), (5, 4)], {}),
]


@pytest.mark.parametrize(("backend", "specs", "options"), spread_over_backends(ATTENTION, 4), indirect=["backend"])
def test_attention(backend, torch, specs, options):
    compare(F.scaled_dot_product_attention, torch.nn.functional.scaled_dot_product_attention, specs, torch, **options)


def test_dropout_of_attention():
    pg.manual_seed(0)
    q, k = pg.randn(200, 30, 8, dtype=pg.float64), pg.randn(200, 20, 8, dtype=pg.float64)
    v = pg.ones((200, 20, 1), dtype=pg.float64)
    y = F.scaled_dot_product_attention(q, k, v, dropout_p=0.4)
    assert abs(y.mean().item() - 1) < 0.02 and y.std().item() > 0.1


X, Y, Z = (4, 2, 6), (5, 2, 6), (5, 2, 4)
HEADS = [
    ("MultiheadAttention(6, 2)", (X, Y, Y), {}),
    ("MultiheadAttention(6, 3, bias=False)", (X, Y, Y), {"need_weights": False}),
    ("MultiheadAttention(6, 2, add_bias_kv=True, add_zero_attn=True)", (X, Y, Y), {}),
    ("MultiheadAttention(6, 2, kdim=6, vdim=4)", (X, Y, Z), {"average_attn_weights": False}),
    ("MultiheadAttention(6, 2, batch_first=True)", ((2, 4, 6), (2, 5, 6), (2, 5, 6)), {}),
    ("MultiheadAttention(6, 2)", ((4, 6), (5, 6), (5, 6)), {}),
    ("MultiheadAttention(6, 2, add_zero_attn=True)", (X, Y, Y, Flags((2, 5)), False), {}),
    ("MultiheadAttention(6, 2)", (X, X, X, None, False, Fixed(CAUSAL)), {}),
    ("MultiheadAttention(6, 2)", (X, X, X, None, False, Fixed(CAUSAL)), {"is_causal": True}),
    ("MultiheadAttention(6, 2)", (X, X, X, TAIL, True, CAUSAL < 0), {}),
    ("MultiheadAttention(6, 2)", (X, Y, Y, None, True, (4, 4, 5)), {}),
]


@pytest.mark.parametrize(("backend", "case"), spread_over_backends([(c,) for c in HEADS]), indirect=["backend"])
def test_heads(backend, torch, case):
    expression, specs, options = case
    agree(expression, specs, torch, **options)


@pytest.mark.parametrize("weights", [True, False])
def test_one_sequence_for_all_three(torch, weights):
    for expression, shape in (("(6, 2)", (4, 2, 6)), ("(6, 2, batch_first=True)", (2, 4, 6)), ("(6, 2)", (4, 6))):
        ours, theirs = twins(f"MultiheadAttention{expression}", torch)
        compare(
            lambda x, m=ours: m(x, x, x, need_weights=weights),
            lambda x, m=theirs: m(x, x, x, need_weights=weights),
            [shape],
            torch,
        )


LAYERS = [
    ("TransformerEncoderLayer(6, 2, 8, dropout=0.0)", ((4, 2, 6),), {}),
    (
        "TransformerEncoderLayer(6, 2, 8, dropout=0.0, activation='gelu', batch_first=True, norm_first=True)",
        ((2, 4, 6), Fixed(CAUSAL), np.where(TAIL, -np.inf, 0.0)),
        {},
    ),
    ("TransformerEncoderLayer(6, 2, 8, dropout=0.0, bias=False)", ((4, 6),), {}),
    ("TransformerDecoderLayer(6, 2, 8, dropout=0.0)", ((4, 2, 6), (5, 2, 6), Fixed(CAUSAL)), {"tgt_is_causal": True}),
    (
        "TransformerDecoderLayer(6, 2, 8, dropout=0.0, norm_first=True, batch_first=True)",
        ((2, 4, 6), (2, 4, 6), CAUSAL < 0, None, None, TAIL),
        {},
    ),
    (
        "TransformerEncoder(nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0), 2, nn.LayerNorm(6), enable_nested_tensor=False)",
        ((4, 2, 6), Fixed(CAUSAL)),
        {},
    ),
    ("TransformerDecoder(nn.TransformerDecoderLayer(6, 2, 8, dropout=0.0), 2)", ((4, 2, 6), (5, 2, 6)), {}),
    ("Transformer(6, 2, 1, 1, 8, dropout=0.0)", ((5, 2, 6), (4, 2, 6)), {}),
]


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True.*:UserWarning")
@pytest.mark.parametrize(("backend", "case"), spread_over_backends([(c,) for c in LAYERS]), indirect=["backend"])
def test_transformer(backend, torch, case):
    expression, specs, options = case
    fixed = [Fixed(s) if isinstance(s, np.ndarray) else s for s in specs]
    agree(expression, fixed, torch, **options)


def test_dropout_in_training_only():
    pg.manual_seed(0)
    layer = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.5)
    x = pg.ones((3, 1, 6))
    assert layer(x).tolist() != layer(x).tolist()
    assert layer.eval()(x).tolist() == layer(x).tolist()


def test_initial_values_and_masks(torch):
    pg.manual_seed(0)
    layer = nn.MultiheadAttention(200, 4, add_bias_kv=True)
    weight = layer.in_proj_weight.detach().numpy()
    bound = math.sqrt(6 / 800)
    assert np.abs(weight).max() <= bound and abs(weight.std() * math.sqrt(3) / bound - 1) < 0.01
    assert not layer.in_proj_bias.detach().numpy().any() and not layer.out_proj.bias.detach().numpy().any()
    assert abs(layer.bias_k.detach().numpy().std() / math.sqrt(2 / 400) - 1) < 0.2
    ours, theirs = (space.Transformer.generate_square_subsequent_mask(3) for space in (nn, torch.nn))
    assert ours.tolist() == theirs.tolist()
    assert (
        len(
            {
                tuple(p.reshape(-1).tolist())
                for p in nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 3), 2).parameters()
            }
        )
        < 16
    )


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: nn.MultiheadAttention(6, 4), ValueError, "must be divisible by num_heads"),
        (lambda x: nn.MultiheadAttention(6, 2)(x[..., :4], x, x), RuntimeError, "embedding dimension of 6, but got 4"),
        (
            lambda x: nn.MultiheadAttention(6, 2)(x, x, x, attn_mask=pg.ones((3, 3))),
            RuntimeError,
            r"should be \(4, 4\)",
        ),
        (lambda x: nn.MultiheadAttention(6, 2)(x, x, x, is_causal=True), RuntimeError, "Need attn_mask"),
        (
            lambda x: F.scaled_dot_product_attention(x, x, x, pg.ones((2, 2)), is_causal=True),
            RuntimeError,
            "Explicit attn_mask",
        ),
        (lambda x: F.scaled_dot_product_attention(x, x[..., :3], x), RuntimeError, "shapes do not fit"),
        (lambda x: nn.TransformerEncoderLayer(6, 2, activation="cube"), RuntimeError, "should be relu/gelu"),
        (lambda x: nn.Transformer(6, 2, 1, 1)(x, x[:, :1]), RuntimeError, "batch number of src and tgt"),
    ],
)
def test_wrong_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call(pg.ones((4, 2, 6)))
