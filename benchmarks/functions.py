"""Functions of all kinds, forward and backward, on tensors of about a megabyte: where is polygrad slower than it need be?

`python benchmarks/functions.py` compares PyTorch eager (the base of the ratios) and polygrad on NumPy, alone and with oneDNN, in
one process of each; `--budget 0.1` does for a look.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from peers import compare
from workloads import both_forms, with_torch

POINTWISE = "exp log sqrt tanh sigmoid sin erf abs reciprocal rsqrt log1p expm1 square"
ACTIVATIONS = "relu gelu silu elu leaky_relu softplus mish hardswish glu"
REDUCTIONS = "sum mean var std amax prod logsumexp cumsum"
ROWS, COLUMNS = 256, 1024


def cases(lib: Any) -> dict[str, Callable[[], Any]]:
    """Functions without arguments that give a tensor to differentiate, by name."""
    import numpy as np

    rng, f, nn = np.random.default_rng(0), lib.nn.functional, lib.nn

    def normal(*shape: int, least: float | None = None) -> Any:
        a = rng.standard_normal(shape).astype("f4")
        return lib.tensor(a if least is None else np.abs(a) + np.float32(least)).requires_grad_()

    def integers(high: int, *shape: int) -> Any:
        return lib.tensor(rng.integers(0, high, shape))

    x, y, p = normal(ROWS, COLUMNS), normal(ROWS, COLUMNS), normal(ROWS, COLUMNS, least=0.1)
    row, matrix, other, small = normal(COLUMNS), normal(512, 512), normal(512, 512), normal(64, 64)
    images, sequences = normal(8, 32, 28, 28), normal(16, 128, 64)
    rows, places, targets = integers(ROWS, 4096), integers(COLUMNS, ROWS, COLUMNS // 2), integers(COLUMNS, ROWS)
    words, vectors = integers(50000, 4096), normal(50000, 64)
    kernel, up, line, lines = normal(32, 32, 3, 3), normal(32, 16, 2, 2), normal(16, 32, 256), normal(64, 32, 3)
    found: dict[str, Callable[[], Any]] = {name: partial(getattr(lib, name), p) for name in POINTWISE.split()}
    found |= {name: partial(getattr(f, name), x) for name in ACTIVATIONS.split()}
    found |= {name: partial(getattr(p, name), 1) for name in REDUCTIONS.split()}
    found |= {
        "x ** 2.5": lambda: p**2.5,
        "x / y": lambda: x / p,
        "x + row": lambda: x + row,
        "x * row": lambda: x * row,
        "maximum": lambda: lib.maximum(x, y),
        "where": lambda: lib.where(x > 0, x, y),
        "clamp": lambda: x.clamp(-0.5, 0.5),
        "softmax": lambda: f.softmax(x, 1),
        "log_softmax": lambda: f.log_softmax(x, 1),
        "sort": lambda: x.sort(1)[0],
        "topk": lambda: x.topk(10, 1)[0],
        "median": lambda: x.median(1)[0],
        "norm": lambda: x.norm(),
        "cat": lambda: lib.cat([x, y], 1),
        "stack": lambda: lib.stack([x, y]),
        "x[:, a:b]": lambda: x[:, 10:500],
        "x[rows]": lambda: x[rows],
        "x[mask]": lambda: x[x > 0],
        "masked_fill": lambda: x.masked_fill(x > 0, 0.0),
        "index_select": lambda: x.index_select(0, rows),
        "gather": lambda: x.gather(1, places),
        "scatter_add": lambda: x.scatter_add(1, places, y[:, : COLUMNS // 2]),
        "repeat_interleave": lambda: x.repeat_interleave(2, 1),
        "pad": lambda: f.pad(x, (2, 2)),
        "tril": lambda: lib.tril(x),
        "embedding": lambda: f.embedding(words, vectors),
        "matmul": lambda: matrix @ other,
        "einsum": lambda: lib.einsum("bij,bkj->bik", sequences, sequences),
        "inv": lambda: lib.linalg.inv(small @ small.t() + 64 * lib.eye(64)),
        "cholesky": lambda: lib.linalg.cholesky(small @ small.t() + 64 * lib.eye(64)),
        "rfft": lambda: lib.abs(lib.fft.rfft(x)),
        "conv1d": lambda: f.conv1d(line, lines, padding=1),
        "conv2d": lambda: f.conv2d(images, kernel, padding=1),
        "conv_transpose2d": lambda: f.conv_transpose2d(images, up, stride=2),
        "avg_pool2d": lambda: f.avg_pool2d(images, 2),
        "max_pool2d": lambda: f.max_pool2d(images, 2),
        "interpolate, nearest": lambda: f.interpolate(images, scale_factor=2),
        "interpolate, bilinear": lambda: f.interpolate(images, scale_factor=2, mode="bilinear"),
        "unfold": lambda: f.unfold(images, 3),
        "dropout": lambda: f.dropout(x, 0.3),
        "cross_entropy": lambda: f.cross_entropy(x, targets),
        "mse_loss": lambda: f.mse_loss(x, y),
        "smooth_l1_loss": lambda: f.smooth_l1_loss(x, y),
        "cosine_similarity": lambda: f.cosine_similarity(x, y),
    }
    batch_norm, group_norm, layer_norm = nn.BatchNorm2d(32), nn.GroupNorm(4, 32), nn.LayerNorm(COLUMNS)
    lstm, gru, steps = nn.LSTM(64, 64), nn.GRU(64, 64), normal(32, 16, 64)
    encoder = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True)
    return found | {
        "BatchNorm2d": lambda: batch_norm(images),
        "GroupNorm": lambda: group_norm(images),
        "LayerNorm": lambda: layer_norm(x),
        "LSTM": lambda: lstm(steps)[0],
        "GRU": lambda: gru(steps)[0],
        "TransformerEncoderLayer": lambda: encoder(sequences),
    }


NAMES = f"{POINTWISE} {ACTIVATIONS} {REDUCTIONS}".split()
NAMES += (
    "x ** 2.5;x / y;x + row;x * row;maximum;where;clamp;softmax;log_softmax;sort;topk;median;norm;cat;stack;x[:, a:b];x[rows];x[mask];"
    "masked_fill;index_select;gather;scatter_add;repeat_interleave;pad;tril;embedding;matmul;einsum;inv;cholesky;rfft;conv1d;conv2d;"
    "conv_transpose2d;avg_pool2d;max_pool2d;interpolate, nearest;interpolate, bilinear;unfold;dropout;cross_entropy;mse_loss;"
    "smooth_l1_loss;cosine_similarity;BatchNorm2d;GroupNorm;LayerNorm;LSTM;GRU;TransformerEncoderLayer"
).split(";")


def build(lib: Any, function: str, what: str) -> Callable[[], Any]:
    """The function and its gradient on torch or on polygrad; gradients add up, as a training without `zero_grad` would let them."""
    forward = cases(lib)[function]

    def step() -> None:
        y = forward()
        (y.sum() if y.ndim else y).backward()

    return step


if __name__ == "__main__":
    compare(
        "functions",
        {"torch": with_torch(build), **both_forms(build)},
        [{"function": name, "what": "fwd+bwd"} for name in NAMES],
        shared=True,
    )
