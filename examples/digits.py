"""Train a small convolutional network on real handwritten digits, and draw what it learned.

    python examples/digits.py                                  # NumPy
    POLYGRAD_BACKEND=jax python examples/digits.py --jit       # each step is one compiled program

The 1,797 digits of 8x8 pixels come with scikit-learn; a fifth of them is kept for the test.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import polygrad as pg
from polygrad import nn

try:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from sklearn.datasets import load_digits
    from tqdm import tqdm
except ImportError as error:
    raise SystemExit(
        f'this example needs {error.name}; install it with: pip install "polygrad-array-api[examples]" '
        'or, in a clone, pip install ".[examples]"'
    ) from error


def load(dtype: pg.DType) -> tuple[pg.Tensor, pg.Tensor, pg.Tensor, pg.Tensor]:
    """Images (N, 1, 8, 8) of [0, 1] and labels (N,), for training and for the test."""
    digits = load_digits()
    images = pg.tensor(digits.images, dtype=dtype).reshape(-1, 1, 8, 8) / 16
    labels = pg.tensor(digits.target, dtype=pg.int64)
    order = pg.randperm(len(labels), generator=pg.random.Generator().manual_seed(0))
    images, labels = images[order], labels[order]
    cut = len(labels) * 4 // 5
    return images[:cut], labels[:cut], images[cut:], labels[cut:]


def network() -> nn.Sequential:
    """Two convolutions with batch norm, a pool, dropout and a linear layer: 21,642 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.25),
        nn.Linear(32 * 4 * 4, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )


def accuracy(model: nn.Module, images: pg.Tensor, labels: pg.Tensor) -> float:
    """The share of images whose largest score is that of their label."""
    model.eval()
    with pg.no_grad():
        right = (model(images).argmax(dim=1) == labels).sum()
    model.train()
    return int(right) / len(labels)


def train(args: argparse.Namespace) -> tuple[nn.Module, list[float]]:
    """SGD with momentum over shuffled batches, its rate falling to zero; returns the model and the loss of every step."""
    images, labels, test_images, test_labels = load(getattr(pg, args.dtype))
    pg.manual_seed(args.seed)
    model = network().to(images.dtype)
    optimizer = pg.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9, weight_decay=1e-4)
    criterion = nn.CrossEntropyLoss()

    def step(images: pg.Tensor, labels: pg.Tensor) -> pg.Tensor:
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    run = pg.jit(step) if args.jit else step
    per_epoch = max(1, len(labels) // args.batch)
    total = args.steps or args.epochs * per_epoch
    losses: list[float] = []
    start = time.perf_counter()
    with tqdm(total=total, unit="step", mininterval=0.5) as bar:
        while len(losses) < total:
            order = pg.randperm(len(labels))
            for i in range(per_epoch):
                if len(losses) == total:
                    break
                batch = order[i * args.batch : (i + 1) * args.batch]
                optimizer.param_groups[0]["lr"] = args.lr * (1 - len(losses) / total)
                losses.append(run(images[batch], labels[batch]).item())
                bar.update()
                bar.set_postfix(loss=f"{losses[-1]:.4f}", refresh=False)
    seconds = time.perf_counter() - start
    print(f"{total} steps in {seconds:.1f} s on {pg.get_backend().name}, last loss {losses[-1]:.4f}")
    print(f"test accuracy {100 * accuracy(model, test_images, test_labels):.2f} %")
    return model, losses


def draw(model: nn.Module, losses: list[float], dtype: pg.DType, path: str) -> None:
    """Write a picture: the loss of every step, and test digits with what the network says of them."""
    _, _, images, labels = load(dtype)
    model.eval()
    with pg.no_grad():
        guesses = model(images).argmax(dim=1).tolist()
    truth = labels.tolist()
    wrong = [i for i, (g, t) in enumerate(zip(guesses, truth, strict=True)) if g != t]
    shown = (wrong + [i for i in range(len(truth)) if i not in wrong])[:40]
    figure = plt.figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.2))
    axes = left.subplots()
    axes.semilogy(losses, color="#9bb8d3", linewidth=0.8, label="each step")
    window = max(1, len(losses) // 20)
    smooth = [sum(losses[max(0, i - window + 1) : i + 1]) / min(i + 1, window) for i in range(len(losses))]
    axes.semilogy(smooth, color="#1f4e79", linewidth=1.6, label=f"mean of {window}")
    axes.set(xlabel="step", ylabel="cross-entropy (nats)", title="training loss")
    axes.legend(frameon=False)
    right.suptitle(
        f"test digits, mistakes first: {len(wrong)} of {len(truth)} (red: said, in brackets: is)", fontsize=10
    )
    for cell, i in zip(right.subplots(5, 8).flat, shown, strict=False):
        cell.imshow(images[i, 0].numpy(), cmap="gray_r")
        cell.set_axis_off()
        mistaken = guesses[i] != truth[i]
        cell.set_title(
            f"{guesses[i]} ({truth[i]})" if mistaken else str(guesses[i]),
            fontsize=8,
            pad=2,
            color="#c00000" if mistaken else "#333333",
        )
    figure.savefig(path, dpi=130)
    print(f"wrote {path}")


def positive(text: str) -> int:
    """A count of at least one."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not positive")
    return value


def main() -> None:
    """Read the options, train, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=positive, default=12, help="passes over the training digits (default 12)")
    parser.add_argument("--steps", type=positive, help="steps in all, instead of epochs")
    parser.add_argument("--batch", type=positive, default=64, help="digits a step (default 64)")
    parser.add_argument("--lr", type=float, default=0.05, help="learning rate of the first step (default 0.05)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and dropout (default 0)")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--jit", action="store_true", help="compile the step, where the backend has a compiler")
    parser.add_argument("--output", default="digits.png", help="where the picture goes (default digits.png)")
    args = parser.parse_args()
    if not Path(args.output).resolve().parent.is_dir():
        parser.error(f"--output {args.output}: there is no such folder")
    model, losses = train(args)
    draw(model, losses, getattr(pg, args.dtype), args.output)


if __name__ == "__main__":
    main()
