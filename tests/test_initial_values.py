"""Initial parameters of every layer beside PyTorch's: bounds, mean, variance and the whole distribution."""

import inspect

import numpy as np
import pytest

import polygrad as pg
from polygrad import nn

# Small enough to be made many times, with sizes that tell apart which of them a bound comes from.
LAYERS = [
    "Linear(7, 40)",
    "Bilinear(5, 3, 20)",
    "PReLU(3, 0.3)",
    *(f"Conv{n}d(4, 6, 3, groups=2)" for n in (1, 2, 3)),
    *(f"ConvTranspose{n}d(4, 6, 3, groups=2)" for n in (1, 2, 3)),
    "Embedding(30, 8)",
    "Embedding(30, 8, padding_idx=2)",
    "EmbeddingBag(30, 8, padding_idx=2)",
    *(f"{kind}(5, 9, num_layers=2, bidirectional=True)" for kind in ("RNN", "LSTM", "GRU")),
    "LSTM(5, 9, proj_size=4)",
    *(f"{kind}Cell(5, 9)" for kind in ("RNN", "LSTM", "GRU")),
    "MultiheadAttention(8, 2, add_bias_kv=True)",
    "MultiheadAttention(8, 2, kdim=5, vdim=3)",
    "TransformerEncoderLayer(12, 2, 40)",
    "TransformerDecoderLayer(12, 2, 40)",
    "Transformer(12, 2, 1, 1, 40)",
    *(f"BatchNorm{n}d(5)" for n in (1, 2, 3)),
    *(f"InstanceNorm{n}d(5, affine=True)" for n in (1, 2, 3)),
    "SyncBatchNorm(5)",
    "LayerNorm((3, 5))",
    "RMSNorm(5)",
    "GroupNorm(2, 6)",
    "AdaptiveLogSoftmaxWithLoss(16, 40, [10, 20], div_value=2.0, head_bias=True)",
    "LinearCrossEntropyLoss(9, 30)",
]
SAMPLE = 1000
# Two samples of n differ in their distribution functions by more than 2.3 sqrt(2 / n) once in 20,000 times; with these seeds none does.
APART = 2.3


def drawn(space, expression):
    """The sorted values of each parameter, of as many layers as it takes for those that are random."""
    values = {}
    while not values or any(len(v) < SAMPLE and v.min() < v.max() for v in values.values()):
        for name, p in eval(f"nn.{expression}", {"nn": space}).named_parameters():
            values[name] = np.append(values.get(name, ()), p.detach().numpy())
    return {name: np.sort(v) for name, v in values.items()}


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True:UserWarning")
@pytest.mark.parametrize("expression", LAYERS)
def test_parameters_have_the_distribution_of_pytorch(expression, torch):
    pg.manual_seed(0)
    torch.manual_seed(0)
    ours, theirs = drawn(nn, expression), drawn(torch.nn, expression)
    assert list(ours) == list(theirs)
    for name, b in theirs.items():
        a, n = ours[name], len(b)
        assert len(a) == n, name
        if b[0] == b[-1]:
            assert a[0] == a[-1] == b[0], name
            continue
        spread = b.std()
        assert abs(a.mean() - b.mean()) < 5 * spread * (2 / n) ** 0.5, name
        assert abs(a.std() - spread) < 5 * spread / n**0.5, name
        both = np.concatenate([a, b])
        gaps = np.searchsorted(a, both, "right") - np.searchsorted(b, both, "right")
        assert np.abs(gaps).max() / n < APART * (2 / n) ** 0.5, name
        if max(-b[0], b[-1]) < 1.9 * spread:  # uniform: the bounds are reached, and never passed
            assert max(abs(a[0] / b[0] - 1), abs(a[-1] / b[-1] - 1)) < 20 / n, name


def test_no_layer_with_parameters_is_left_out():
    classes = {name: value for name, value in vars(nn).items() if isinstance(value, type) and name in nn.__all__}
    made = {n for n, c in classes.items() if issubclass(c, nn.Module) and "device" in inspect.signature(c).parameters}
    assert made - {"TransformerEncoder", "TransformerDecoder"} <= {expression.split("(")[0] for expression in LAYERS}
