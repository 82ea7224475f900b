"""Training that may be killed at any moment and goes on with the same bits: shared by the examples `fashion.py` and `gpt.py`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polygrad as pg
from polygrad.io import load_checkpoint, save_checkpoint

try:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from tqdm import tqdm
except ImportError as error:
    raise SystemExit(
        f'this example needs {error.name}; install it with: pip install "polygrad-array-api[examples]" '
        'or, in a clone, pip install ".[examples]"'
    ) from error


def positive(text: str) -> int:
    """A count of at least one."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not positive")
    return value


def add_options(parser: argparse.ArgumentParser, name: str, steps: int) -> None:
    """The options that both examples have."""
    parser.add_argument("--steps", type=positive, default=steps, help=f"steps in all (default {steps})")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and dropout (default 0)")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--jit", action="store_true", help="compile the step, where the backend has a compiler")
    parser.add_argument("--every", type=positive, default=50, help="steps between checkpoints (default 50)")
    parser.add_argument(
        "--checkpoint",
        default=f"{name}.pt",
        help=f"where the training stands; it goes on from there (default {name}.pt)",
    )
    parser.add_argument("--fresh", action="store_true", help="start again although there is a checkpoint")
    parser.add_argument("--output", default=f"{name}.png", help=f"where the picture goes (default {name}.png)")


def train(args: argparse.Namespace, parts: dict[str, Any], loader: Any, step: Callable[..., pg.Tensor]) -> list[float]:
    """The loss of every step of a training, those before an interruption included.

    Args:
        args: `steps`, `every`, `jit`, `checkpoint` and `fresh` of `add_options`.
        parts: what has a state besides the loader, with a "scheduler" among it.
        loader: gives batches; each pass over it is an epoch.
        step: takes a batch, changes the parts and gives the loss.
    """
    path, losses = Path(args.checkpoint), []
    if path.exists() and not args.fresh:
        losses = load_checkpoint(path, **parts, loader=loader)["losses"]
        print(f"{path} goes on after step {len(losses)}")
    run = pg.jit(step) if args.jit else step
    with tqdm(total=args.steps, initial=len(losses), unit="step", mininterval=0.5) as bar:
        while len(losses) < args.steps:
            for batch in loader:
                losses.append(run(*batch).item())
                parts["scheduler"].step()
                bar.update()
                bar.set_postfix(loss=f"{sum(losses[-20:]) / len(losses[-20:]):.4f}", refresh=False)
                done = len(losses) >= args.steps
                if done or len(losses) % args.every == 0:
                    save_checkpoint(path, **parts, loader=loader, losses=losses)
                if done:
                    break
    return losses


def draw_curve(axes: Any, losses: list[float]) -> None:
    """The loss of every step, and its mean over a twentieth of them."""
    axes.semilogy(losses, color="#9bb8d3", linewidth=0.8, label="each step")
    window = max(1, len(losses) // 20)
    smooth = [sum(losses[max(0, i - window + 1) : i + 1]) / min(i + 1, window) for i in range(len(losses))]
    axes.semilogy(smooth, color="#1f4e79", linewidth=1.6, label=f"mean of {window}")
    axes.set(xlabel="step", ylabel="cross-entropy (nats)", title="training loss")
    axes.legend(frameon=False)


def check_output(parser: argparse.ArgumentParser, *paths: str) -> None:
    """End with a message when a file is to go into a folder that is not there."""
    for path in paths:
        if not Path(path).resolve().parent.is_dir():
            parser.error(f"{path}: there is no such folder")


__all__ = ["add_options", "check_output", "draw_curve", "plt", "positive", "tqdm", "train"]
