"""A training step of a small GPT: 4 layers, 128 wide, 4 heads, 64 tokens, batch 16, vocabulary 256.

`python benchmarks/gpt.py` compares PyTorch eager (the base of the ratios), polygrad on NumPy, alone and with oneDNN, and
HIPS autograd with an optimizer by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from by_hand import Optimizer
from peers import compare
from workloads import both_forms, on_devices, parameters, training_step, with_torch

BATCH, TOKENS, WIDTH, HEADS, LAYERS, VOCABULARY, LR = 16, 64, 128, 4, 4, 256, 1e-3
EACH = WIDTH // HEADS


def _data() -> tuple[Any, Any, list[Any]]:
    import numpy as np

    rng = np.random.default_rng(0)
    x, y = rng.integers(0, VOCABULARY, (2, BATCH, TOKENS))

    def normal(*shape: int) -> Any:
        return (rng.standard_normal(shape) * 0.02).astype("f4")

    def norm() -> list[Any]:
        return [np.ones(WIDTH, "f4"), np.zeros(WIDTH, "f4")]

    def linear(width: int, out: int) -> list[Any]:
        return [normal(out, width), np.zeros(out, "f4")]

    arrays = [normal(VOCABULARY, WIDTH), normal(TOKENS, WIDTH)]
    for _ in range(LAYERS):
        arrays += norm() + linear(WIDTH, 3 * WIDTH) + linear(WIDTH, WIDTH)
        arrays += norm() + linear(WIDTH, 4 * WIDTH) + linear(4 * WIDTH, WIDTH)
    return x, y, [*arrays, *norm(), normal(VOCABULARY, WIDTH)]


def build(lib: Any, optimizer: str) -> Callable[[], float]:
    """The step on torch or on polygrad."""
    x, y, arrays = _data()
    x, y, p = lib.tensor(x), lib.tensor(y).reshape(-1), parameters(lib, arrays)
    f = lib.nn.functional

    def loss() -> Any:
        it = iter(p)
        take = lambda: (next(it), next(it))  # noqa: E731
        h = f.embedding(x, next(it)) + next(it)
        for _ in range(LAYERS):
            q = f.linear(f.layer_norm(h, (WIDTH,), *take()), *take())
            q, k, v = q.reshape(BATCH, TOKENS, 3, HEADS, EACH).permute(2, 0, 3, 1, 4).unbind(0)
            a = f.scaled_dot_product_attention(q, k, v, is_causal=True)
            h = h + f.linear(a.transpose(1, 2).reshape(BATCH, TOKENS, WIDTH), *take())
            a = f.gelu(f.linear(f.layer_norm(h, (WIDTH,), *take()), *take()), approximate="tanh")
            h = h + f.linear(a, *take())
        z = f.linear(f.layer_norm(h, (WIDTH,), *take()), next(it))
        return f.cross_entropy(z.reshape(-1, VOCABULARY), y)

    return training_step(lib, optimizer, p, loss, LR)


def with_autograd(optimizer: str) -> Callable[[], float]:
    """HIPS autograd."""
    import autograd.numpy as anp
    import numpy as np
    from autograd import value_and_grad

    x, y, p = _data()
    y, mask = y.reshape(-1), np.where(np.tril(np.ones((TOKENS, TOKENS), bool)), 0, -1e9).astype("f4")
    slope, half = np.float32((2 / np.pi) ** 0.5), np.float32(0.5)

    def norm(h: Any, weight: Any, bias: Any) -> Any:
        d = h - anp.mean(h, axis=-1, keepdims=True)
        return d / anp.sqrt(anp.mean(d * d, axis=-1, keepdims=True) + np.float32(1e-5)) * weight + bias

    def linear(h: Any, weight: Any, bias: Any) -> Any:
        return anp.matmul(h, weight.T) + bias

    def softmax(z: Any) -> Any:
        e = anp.exp(z - anp.max(z, axis=-1, keepdims=True))
        return e / anp.sum(e, axis=-1, keepdims=True)

    def gelu(a: Any) -> Any:
        return half * a * (1 + anp.tanh(slope * (a + np.float32(0.044715) * a * a * a)))

    def loss(p: Any) -> Any:
        it = iter(p)
        take = lambda: (next(it), next(it))  # noqa: E731
        h = next(it)[x] + next(it)
        for _ in range(LAYERS):
            q = anp.reshape(linear(norm(h, *take()), *take()), (BATCH, TOKENS, 3, HEADS, EACH))
            q, k, v = anp.transpose(q, (2, 0, 3, 1, 4))
            a = softmax(anp.matmul(q, anp.swapaxes(k, -1, -2)) * np.float32(EACH**-0.5) + mask)
            a = anp.reshape(anp.transpose(anp.matmul(a, v), (0, 2, 1, 3)), (BATCH, TOKENS, WIDTH))
            h = h + linear(a, *take())
            h = h + linear(gelu(linear(norm(h, *take()), *take())), *take())
        z = anp.reshape(anp.matmul(norm(h, *take()), next(it).T), (-1, VOCABULARY))
        z = z - anp.max(z, axis=-1, keepdims=True)
        return anp.mean(anp.log(anp.sum(anp.exp(z), axis=-1)) - z[np.arange(len(y)), y])

    both, update = value_and_grad(loss), Optimizer(optimizer, p, LR)

    def step() -> float:
        value, gradients = both(p)
        update(gradients)
        return float(value)

    return step


if __name__ == "__main__":
    compare(
        "GPT, 4 layers of 128, 64 tokens, batch 16",
        {"torch": with_torch(build), **both_forms(build), "autograd": with_autograd},
        [{"optimizer": "SGD"}, {"optimizer": "Adam"}],
        asked=on_devices(build),
    )
