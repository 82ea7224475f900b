"""Peak memory of one training step of a deep MLP, polygrad on NumPy beside PyTorch; and of the same in checkpointed
segments.

Each measurement is a process of its own: parameters and the batch are made, the kernel's high-water mark is reset (Linux), and one
forward and backward run. The figure is how far the mark then stands above what was resident before.

    python benchmarks/memory.py [--layers 32] [--width 512] [--batch 2048]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any


def resident(field: str) -> float:
    """A field of this process's memory (VmRSS now, VmHWM at most), in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return float("nan")


def peak_of(step: Any) -> float:
    """MiB that one call of `step` needs at most, above what is resident before it."""
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    step()
    return resident("VmHWM") - before


def stack(lib: Any, layers: int, width: int) -> Any:
    """Linear and tanh, again and again."""
    parts = [part for _ in range(layers) for part in (lib.nn.Linear(width, width), lib.nn.Tanh())]
    return lib.nn.Sequential(*parts)


def polygrad_step(layers: int, width: int, batch: int, checkpointed: bool) -> float:
    """The peak of polygrad's step."""
    import polygrad as pg

    net = stack(pg, layers, width)
    x, small = pg.rand(batch, width), pg.rand(2, width)

    def run(x: Any) -> None:
        h = pg.utils.checkpoint.checkpoint_sequential(net, round(layers**0.5), x) if checkpointed else net(x)
        (h * h).sum().backward()

    run(small)
    return peak_of(lambda: run(x))


def torch_step(layers: int, width: int, batch: int, checkpointed: bool) -> float:
    """The peak of PyTorch's step."""
    import torch

    torch.set_num_threads(1)
    net = stack(torch, layers, width)
    x, small = torch.rand(batch, width), torch.rand(2, width)

    def run(x: Any) -> None:
        h = net(x)
        (h * h).sum().backward()

    run(small)
    return peak_of(lambda: run(x))


STEPS = {"polygrad": polygrad_step, "torch": torch_step}


def measured(name: str, args: argparse.Namespace, checkpointed: bool = False) -> float:
    """The smallest of three measurements, each in a fresh process."""
    command = [sys.executable, __file__, "--child", name, "--layers", str(args.layers), "--width", str(args.width)]
    command += ["--batch", str(args.batch), *(["--checkpointed"] if checkpointed else [])]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(3)]
    return min(float(out) for out in runs)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--child", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--checkpointed", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(STEPS[args.child](args.layers, args.width, args.batch, args.checkpointed))
        return
    ours, light = measured("polygrad", args), measured("polygrad", args, checkpointed=True)
    print(
        f"{args.layers} layers of {args.width}, batch {args.batch}: one activation is {args.batch * args.width / 2**18:.1f} MiB"
    )
    print(f"polygrad                {ours:8.1f} MiB")
    try:
        theirs = measured("torch", args)
        print(f"PyTorch                 {theirs:8.1f} MiB   polygrad / PyTorch {ours / theirs:.2f}")
    except subprocess.CalledProcessError:
        print("PyTorch                 is not installed")
    print(f"polygrad, in {round(args.layers**0.5)} segments {light:7.1f} MiB   of the plain one {light / ours:.2f}")


if __name__ == "__main__":
    main()
