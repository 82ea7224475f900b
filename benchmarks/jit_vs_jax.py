"""A compiled training step beside the same step written by hand for JAX: jit(value_and_grad) and the update, donated and tuned.

`python benchmarks/jit_vs_jax.py` measures an MLP, LeNet, a small GPT and resnet18, with SGD and momentum, in two ways. Times: both
steps in one process, in turn, a few calls each, so that both see the same machine; the ratio is the median over the third of the
turns in which the process waited least for a processor. Wall and processor time are given. The step by hand gives back no
gradients, so neither does polygrad's: `zero_grad()` stands at its end. A third step has it at the start, and so keeps the gradients
from call to call. Costs, each side in a process of its own: the seconds of the first call (tracing and compiling) as the median over
some processes, the program's floating-point operations by the compiler's own count, peak memory after some steps, and the losses of
the first steps. `--json FILE` keeps all.

The step by hand has `lax.conv_general_dilated`, as it is. polygrad takes convolutions with many weights and few positions as products on
a processor (`benchmarks/jax_convolutions.py`): that is the whole difference for resnet18. Its operations are told both ways.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from peers import save
from quiet import peak_rss_mb, waited

LR, MOMENTUM = 1e-3, 0.9
BATCH, TOKENS, WIDTH, HEADS, LAYERS, WORDS = 16, 64, 128, 4, 4, 256
MODELS = ("mlp", "lenet", "gpt", "resnet")


def data(model: str) -> tuple[Any, Any, list[Any]]:
    """Inputs, targets and initial parameters, as host arrays; the same for both."""
    import numpy as np

    rng = np.random.default_rng(0)

    def normal(*shape: int, scale: float = 0.02) -> Any:
        return (rng.standard_normal(shape) * scale).astype("f4")

    if model == "mlp":
        x, y = normal(128, 784, scale=1), rng.integers(0, 10, 128)
        return x, y, [normal(784, 256), normal(256), normal(256, 10), normal(10)]
    if model == "lenet":
        x, y = normal(64, 1, 28, 28, scale=1), rng.integers(0, 10, 64)
        shapes = [(6, 1, 5, 5), (6,), (16, 6, 5, 5), (16,), (400, 120), (120,), (120, 84), (84,), (84, 10), (10,)]
        return x, y, [normal(*s, scale=0.1) for s in shapes]
    if model == "resnet":
        return normal(1, 3, 64, 64, scale=1), rng.integers(0, 1000, 1), residual_parameters(normal)
    x, y = rng.integers(0, WORDS, (2, BATCH, TOKENS))
    one, zero = np.ones(WIDTH, "f4"), np.zeros(WIDTH, "f4")
    parameters = [normal(WORDS, WIDTH), normal(TOKENS, WIDTH)]
    for _ in range(LAYERS):
        parameters += [one, zero, normal(WIDTH, 3 * WIDTH), normal(3 * WIDTH), normal(WIDTH, WIDTH), zero]
        parameters += [one, zero, normal(WIDTH, 4 * WIDTH), normal(4 * WIDTH), normal(4 * WIDTH, WIDTH), zero]
    return x, y, [*parameters, one, zero, normal(WIDTH, WORDS)]


def residual_shapes() -> list[tuple[int, int, int, int]]:
    """Of resnet18, each convolution's (channels in, channels out, kernel size, stride), in the order of use."""
    found, before = [(3, 64, 7, 2)], 64
    for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        for s in (stride, 1):
            found += [(before, width, 3, s), (width, width, 3, 1)]
            if s != 1 or before != width:
                found.append((before, width, 1, s))
            before = width
    return found


def residual_parameters(normal: Callable[..., Any]) -> list[Any]:
    """A weight, a scale and a shift for each convolution, then the last layer's weight and bias."""
    import numpy as np

    found = []
    for before, after, size, _ in residual_shapes():
        weight = normal(after, before, size, size, scale=(2 / (before * size * size)) ** 0.5)
        found += [weight, np.ones(after, "f4"), np.zeros(after, "f4")]
    return [*found, normal(512, 1000), np.zeros(1000, "f4")]


def loss_of(model: str, xp: Any, p: list[Any], x: Any, y: Any) -> Any:
    """The loss, written once; `xp` has the functions that both sides write in their own way."""
    it = iter(p)
    if model == "mlp":
        return xp.cross_entropy(xp.linear(xp.relu(xp.linear(x, next(it), next(it))), next(it), next(it)), y)
    if model == "lenet":
        h = xp.pool(xp.relu(xp.conv(x, next(it), 1, 2) + xp.channels(next(it))))
        h = xp.pool(xp.relu(xp.conv(h, next(it), 1, 0) + xp.channels(next(it)))).reshape(x.shape[0], -1)
        h = xp.relu(xp.linear(h, next(it), next(it)))
        h = xp.relu(xp.linear(h, next(it), next(it)))
        return xp.cross_entropy(xp.linear(h, next(it), next(it)), y)
    if model == "resnet":
        return residual_loss(xp, it, x, y)
    h = xp.embed(next(it), x) + next(it)
    size = WIDTH // HEADS
    for _ in range(LAYERS):
        qkv = xp.linear(xp.layer_norm(h, next(it), next(it)), next(it), next(it))
        q, k, v = xp.unstack(xp.permute(qkv.reshape(BATCH, TOKENS, 3, HEADS, size), (2, 0, 3, 1, 4)))
        a = xp.matmul(xp.softmax(xp.matmul(q, xp.transpose(k)) * size**-0.5 + xp.mask), v)
        h = h + xp.linear(xp.permute(a, (0, 2, 1, 3)).reshape(BATCH, TOKENS, WIDTH), next(it), next(it))
        m = xp.gelu(xp.linear(xp.layer_norm(h, next(it), next(it)), next(it), next(it)))
        h = h + xp.linear(m, next(it), next(it))
    z = xp.linear(xp.layer_norm(h, next(it), next(it)), next(it), None)
    return xp.cross_entropy(z.reshape(BATCH * TOKENS, WORDS), y.reshape(-1))


def residual_loss(xp: Any, it: Any, x: Any, y: Any) -> Any:
    """resnet18 in training mode, without running moments."""
    shapes = iter(residual_shapes())

    def unit(h: Any) -> Any:
        _, _, size, stride = next(shapes)
        return xp.batch_norm(xp.conv(h, next(it), stride, size // 2), next(it), next(it))

    h = xp.pool3(xp.relu(unit(x)))
    before = 64
    for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        for s in (stride, 1):
            r = unit(xp.relu(unit(h)))
            h = xp.relu(r + (unit(h) if s != 1 or before != width else h))
            before = width
    return xp.cross_entropy(xp.linear(xp.spatial_mean(h), next(it), next(it)), y)


# ------------------------------------------------------------------------------------------------------------ by hand


def jax_functions() -> Any:
    """What the losses are written in, as a JAX user who has profiled would."""
    import types

    import jax
    import jax.numpy as jnp
    from jax import lax

    @jax.custom_vjp
    def layer_norm(h: Any, g: Any, b: Any) -> Any:
        m = h.mean(-1, keepdims=True)
        d = h - m
        return d * lax.rsqrt((d * d).mean(-1, keepdims=True) + 1e-5) * g + b

    def norm_forward(h: Any, g: Any, b: Any) -> Any:
        return layer_norm(h, g, b), (h, g)

    def norm_backward(kept: Any, t: Any) -> Any:
        h, g = kept
        d = h - h.mean(-1, keepdims=True)
        r = lax.rsqrt((d * d).mean(-1, keepdims=True) + 1e-5)
        n, s, axes = d * r, t * g, tuple(range(t.ndim - 1))
        dh = r * (s - s.mean(-1, keepdims=True) - n * (s * n).mean(-1, keepdims=True))
        return dh, (t * n).sum(axes), t.sum(axes)

    layer_norm.defvjp(norm_forward, norm_backward)

    def linear(x: Any, w: Any, b: Any) -> Any:
        y = (x.reshape(-1, x.shape[-1]) @ w).reshape(
            *x.shape[:-1], w.shape[-1]
        )  # one product for the weight's gradient
        return y if b is None else y + b

    def conv(x: Any, w: Any, stride: int, padding: int) -> Any:
        pads = [(padding, padding)] * 2
        return lax.conv_general_dilated(x, w, (stride, stride), pads, dimension_numbers=("NCHW", "OIHW", "NCHW"))

    def windows(size: int, stride: int, padding: int) -> Callable[[Any], Any]:
        pads = [(0, 0), (0, 0), (padding, padding), (padding, padding)]
        return lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, size, size), (1, 1, stride, stride), pads)

    def batch_norm(x: Any, g: Any, b: Any) -> Any:
        m = x.mean((0, 2, 3), keepdims=True)
        d = x - m
        r = lax.rsqrt((d * d).mean((0, 2, 3), keepdims=True) + 1e-5)
        return d * (r * g[:, None, None]) + b[:, None, None]

    return types.SimpleNamespace(
        linear=linear,
        relu=jax.nn.relu,
        conv=conv,
        channels=lambda b: b[:, None, None],
        pool=windows(2, 2, 0),
        pool3=windows(3, 2, 1),
        batch_norm=batch_norm,
        spatial_mean=lambda x: x.mean((2, 3)),
        embed=lambda table, x: table[x],
        layer_norm=layer_norm,
        unstack=list,
        permute=jnp.transpose,
        transpose=lambda x: jnp.swapaxes(x, -1, -2),
        matmul=jnp.matmul,
        softmax=jax.nn.softmax,
        gelu=lambda x: jax.nn.gelu(x, approximate=True),
        mask=jnp.where(jnp.tril(jnp.ones((TOKENS, TOKENS), bool)), 0.0, -1e9).astype("float32"),
        cross_entropy=lambda z, y: -jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], 1).mean(),
    )


def by_hand(model: str) -> Callable[[], Any]:
    """The step in JAX, with the parameters and velocities donated."""
    import jax
    import jax.numpy as jnp

    xp = jax_functions()
    x, y, start = data(model)

    def update(p: Any, v: Any, x: Any, y: Any) -> Any:
        loss, g = jax.value_and_grad(lambda p: loss_of(model, xp, p, x, y))(p)
        v = [MOMENTUM * v + g for v, g in zip(v, g, strict=True)]
        return [p - LR * v for p, v in zip(p, v, strict=True)], v, loss

    compiled = jax.jit(update, donate_argnums=(0, 1))
    p = [jnp.asarray(a) for a in start]
    state = [p, [jnp.zeros_like(a) for a in p]]
    x, y = jnp.asarray(x), jnp.asarray(y)

    def step() -> float:
        state[0], state[1], loss = compiled(*state, x, y)
        return float(loss)

    step.flops = lambda: compiled.lower(*state, x, y).compile().cost_analysis()["flops"]  # type: ignore[attr-defined]
    return step


# -------------------------------------------------------------------------------------------------------------- polygrad


def polygrad_functions(pg: Any) -> Any:
    """What the losses are written in, as a user of polygrad would."""
    import types

    from polygrad.ops.layers import affine, normalize

    F = pg.nn.functional

    def linear(x: Any, w: Any, b: Any) -> Any:
        return affine(x, w.mT, b)

    def batch_norm(x: Any, g: Any, b: Any) -> Any:
        return F.batch_norm(x, None, None, g, b, True)

    def gelu(x: Any) -> Any:
        return 0.5 * x * (1 + pg.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))

    return types.SimpleNamespace(
        linear=linear,
        relu=pg.relu,
        conv=lambda x, w, stride, padding: F.conv2d(x, w, None, stride, padding),
        channels=lambda b: b.reshape(-1, 1, 1),
        pool=lambda x: F.max_pool2d(x, 2),
        pool3=lambda x: F.max_pool2d(x, 3, 2, 1),
        batch_norm=batch_norm,
        spatial_mean=lambda x: x.mean((2, 3)),
        embed=lambda table, x: table[x],
        layer_norm=lambda h, g, b: normalize([h, g, b], axis=-1, eps=1e-5)[0],
        unstack=pg.unstack,
        permute=pg.permute_dims,
        transpose=pg.matrix_transpose,
        matmul=pg.matmul,
        softmax=lambda x: pg.softmax(x, axis=-1),
        gelu=gelu,
        mask=pg.triu(pg.ones((TOKENS, TOKENS)) * -1e9, k=1),
        cross_entropy=F.cross_entropy,
    )


def with_polygrad(model: str, keep: bool = False) -> Callable[[], Any]:
    """The imperative step, compiled; with `keep`, the gradients remain until the next one."""
    import polygrad as pg

    pg.set_backend("jax")
    xp = polygrad_functions(pg)
    x, y, start = data(model)
    p = [pg.tensor(a, requires_grad=True) for a in start]
    optimizer = pg.optim.SGD(p, lr=LR, momentum=MOMENTUM)
    x, y = pg.tensor(x), pg.tensor(y)

    @pg.jit
    def train(x: Any, y: Any) -> Any:
        if keep:
            optimizer.zero_grad()
        loss = loss_of(model, xp, p, x, y)
        loss.backward()
        optimizer.step()
        if not keep:
            optimizer.zero_grad()
        return loss

    def step() -> float:
        return float(train(x, y))

    step.flops = lambda: train.cost_analysis(x, y)["flops"]  # type: ignore[attr-defined]
    return step


BUILDERS: dict[str, Callable[..., Callable[[], Any]]] = {
    "jax by hand": by_hand,
    "polygrad jit": with_polygrad,
    "polygrad jit, gradients kept": partial(with_polygrad, keep=True),
}
SIDES = ("jax by hand", "polygrad jit")


def cost(model: str, name: str) -> dict[str, Any]:
    """The first call of one side, what it compiled, its memory, and that it computes the same."""
    step: Any = BUILDERS[name](model)
    wall, processor = time.perf_counter(), time.process_time()
    losses = [step()]
    first = {"first_s": time.perf_counter() - wall, "first_cpu_s": time.process_time() - processor}
    losses += [step() for _ in range(20)]
    memory, flops = peak_rss_mb(), step.flops()
    alike = flops_by_lax(model) if name != SIDES[0] and model == "resnet" else flops
    return {**first, "rss_mb": memory, "flops": flops, "flops_lax": alike, "losses": losses[:5]}


def flops_by_lax(model: str) -> float:
    """The operations of polygrad's program when it, too, leaves every convolution to lax."""
    import polygrad as pg

    adapter = sys.modules[pg.core.get_backend("jax").fast["conv"].__module__]
    adapter.POSITIONS = -1  # type: ignore[attr-defined]
    step: Any = BUILDERS[SIDES[1]](model)
    step()
    return float(step.flops())


def turns(model: str, seconds: float) -> dict[str, Any]:
    """The steps in turn for some seconds of each, as by the description above."""
    steps = {name: build(model) for name, build in BUILDERS.items()}
    for step in steps.values():
        for _ in range(3):
            step()
    start = time.perf_counter()
    for step in steps.values():
        step()
    calls = max(1, int(0.04 / (time.perf_counter() - start)))
    samples: list[tuple[float, list[float], list[float]]] = []
    end = time.perf_counter() + seconds * len(steps)
    while time.perf_counter() < end or len(samples) < 9:
        walls, processors, queued, began = [], [], waited(), time.perf_counter()
        for step in steps.values():
            wall, processor = time.perf_counter(), time.process_time()
            for _ in range(calls):
                step()
            walls.append((time.perf_counter() - wall) / calls)
            processors.append((time.process_time() - processor) / calls)
        samples.append(((waited() - queued) / (time.perf_counter() - began), walls, processors))
    samples.sort(key=lambda sample: sample[0])
    kept = samples[: max(3, len(samples) // 3)]
    middle = statistics.median
    return {
        "turns": len(samples),
        "calls_a_turn": calls,
        "waited": round(kept[-1][0], 3),
        **{f"{name} ms": round(1e3 * middle(w[i] for _, w, _ in kept), 3) for i, name in enumerate(steps)},
        **{f"{name} cpu ms": round(1e3 * middle(c[i] for _, _, c in kept), 3) for i, name in enumerate(steps)},
        "time_ratio": round(middle(w[1] / w[0] for _, w, _ in kept), 3),
        "cpu_ratio": round(middle(c[1] / c[0] for _, _, c in kept), 3),
        "time_ratio, gradients kept": round(middle(w[2] / w[0] for _, w, _ in kept), 3),
        "cpu_ratio, gradients kept": round(middle(c[2] / c[0] for _, _, c in kept), 3),
    }


def child(*arguments: str) -> dict[str, Any]:
    """What this file prints with these arguments, in a fresh process."""
    done = subprocess.run([sys.executable, sys.argv[0], *arguments], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def costs(model: str, repeats: int) -> dict[str, Any]:
    """The costs of both sides, and polygrad's over those by hand."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in SIDES}
    for _ in range(repeats):
        for name in SIDES:
            runs[name].append(child("--worker", "cost", "--model", model, "--name", name))
    found: dict[str, Any] = {}
    for key in ("first_s", "first_cpu_s", "rss_mb", "flops", "flops_lax"):
        hand, ours = (statistics.median(run[key] for run in runs[name]) for name in SIDES)
        found |= {f"{key} by hand": round(hand, 2), key: round(ours, 2), f"{key}_ratio": round(ours / hand, 3)}
    hand, ours = (runs[name][0]["losses"] for name in SIDES)
    return {**found, "losses_differ": max(abs(a / b - 1) for a, b in zip(ours, hand, strict=True))}


def main() -> None:
    parser = argparse.ArgumentParser(description="A compiled step beside one written by hand for JAX")
    parser.add_argument("models", nargs="*", default=MODELS, help=f"some of {', '.join(MODELS)}")
    parser.add_argument("--seconds", type=float, default=5, help="of samples of each side and model (default 5)")
    parser.add_argument(
        "--repeats", type=int, default=3, help="processes for the costs of each side (default 3; 0: times only)"
    )
    parser.add_argument("--json", help="also write everything to this file")
    for hidden in ("--worker", "--model", "--name"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(cost(args.model, args.name) if args.worker == "cost" else turns(args.model, args.seconds)))
        return
    records: list[dict[str, Any]] = []
    details: dict[str, Any] = {}
    for model in args.models:
        found = child("--worker", "turns", "--model", model, "--seconds", str(args.seconds))
        found |= costs(model, args.repeats) if args.repeats else {}
        details[model] = found
        print(model, json.dumps(found, indent=1), flush=True)
        ratios = (1.0, found["time_ratio"], found["time_ratio, gradients kept"])
        cpu_ratios = (1.0, found["cpu_ratio"], found["cpu_ratio, gradients kept"])
        for name, ratio, cpu in zip(BUILDERS, ratios, cpu_ratios, strict=True):
            # without "waited", since XLA's own threads wait for each other: the page gives wall times of steps in turn
            record = {
                "workload": "pg.jit beside jax.jit by hand, in turn in one process",
                "model": model,
                "framework": name,
            }
            record |= {"ms": found[f"{name} ms"], "ratio": ratio, "processor": found[f"{name} cpu ms"]}
            records.append(record | {"processor_ratio": cpu})
        if args.json:  # after each model, for whoever stops it
            save(args.json, records, details=details)


if __name__ == "__main__":
    main()
