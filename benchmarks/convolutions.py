"""Convolutions of float32, each with its two transposes: 17 shapes of residual networks, LeNet and small image networks.

`python benchmarks/convolutions.py` compares PyTorch eager (the base of the ratios) and polygrad on NumPy, alone and with
oneDNN. What is timed is the op on arrays, as a rule of a training step calls it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from peers import compare
from workloads import both_forms, with_torch

# name: batch, inputs, size, outputs, kernel, stride, padding, groups
SHAPES = {
    "stem 3x224 7x7s2, 1": (1, 3, 224, 64, 7, 2, 3, 1),
    "64x56 3x3, 1": (1, 64, 56, 64, 3, 1, 1, 1),
    "128x28 3x3, 1": (1, 128, 28, 128, 3, 1, 1, 1),
    "256x14 3x3, 1": (1, 256, 14, 256, 3, 1, 1, 1),
    "512x7 3x3, 1": (1, 512, 7, 512, 3, 1, 1, 1),
    "64-128x56 1x1s2, 1": (1, 64, 56, 128, 1, 2, 0, 1),
    "depthwise 64x56 3x3, 1": (1, 64, 56, 64, 3, 1, 1, 64),
    "stem 3x224 7x7s2, 8": (8, 3, 224, 64, 7, 2, 3, 1),
    "64x56 3x3, 8": (8, 64, 56, 64, 3, 1, 1, 1),
    "128x28 3x3, 8": (8, 128, 28, 128, 3, 1, 1, 1),
    "256x14 3x3, 8": (8, 256, 14, 256, 3, 1, 1, 1),
    "512x7 3x3, 8": (8, 512, 7, 512, 3, 1, 1, 1),
    "depthwise 64x56 3x3, 8": (8, 64, 56, 64, 3, 1, 1, 64),
    "256x14 3x3, 32": (32, 256, 14, 256, 3, 1, 1, 1),
    "LeNet 6-16x14 5x5, 64": (64, 6, 14, 16, 5, 1, 0, 1),
    "MNIST 32-64x14 3x3, 64": (64, 32, 14, 64, 3, 1, 1, 1),
    "CIFAR 64x16 3x3, 32": (32, 64, 16, 64, 3, 1, 1, 1),
}


def _arrays(shape: str) -> tuple[Any, Any, Any]:
    import numpy as np

    n, c, size, o, k, s, p, groups = SHAPES[shape]
    rng, out = np.random.default_rng(0), (size + 2 * p - k) // s + 1
    return tuple(
        rng.standard_normal(d).astype("f4") for d in ((n, c, size, size), (o, c // groups, k, k), (n, o, out, out))
    )


def on_torch(torch: Any, shape: str, what: str) -> Callable[[], Any]:
    """aten's convolution and its backward."""
    _, _, size, _, _, s, p, groups = SHAPES[shape]
    x, w, z = (torch.from_numpy(a) for a in _arrays(shape))
    if what == "conv":
        return lambda: torch.conv2d(x, w, None, s, p, 1, groups)
    mask = [what == "conv_input", what == "conv_weight", False]
    rest = (None, (s, s), (p, p), (1, 1), False, (0, 0), groups, mask)
    return lambda: torch.ops.aten.convolution_backward(z, x, w, *rest)


def on_polygrad(pg: Any, shape: str, what: str) -> Callable[[], Any]:
    """The three ops."""
    _, _, size, _, k, s, p, groups = SHAPES[shape]
    x, w, z = _arrays(shape)
    backend = pg.core.get_backend("numpy")
    if str(backend.info().get("onednn"))[:1].isdigit():  # the order in which activations come from the op before
        x, z = (a.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2) for a in (x, z))
    xp = backend.ready().arrays
    geometry = {"stride": (s, s), "padding": ((p, p), (p, p)), "dilation": (1, 1), "groups": groups}
    if what == "conv":
        return lambda: xp.conv(x, w, **geometry)
    if what == "conv_input":
        return lambda: xp.conv_input(z, w, shape=(size, size), **geometry)
    return lambda: xp.conv_weight(x, z, shape=(k, k), **geometry)


if __name__ == "__main__":
    compare(
        "convolutions",
        {"torch": with_torch(on_torch), **both_forms(on_polygrad)},
        [{"shape": s, "what": w} for s in SHAPES for w in ("conv", "conv_input", "conv_weight")],
        shared=True,
    )
