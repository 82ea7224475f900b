"""Train a small convolutional network on Fashion-MNIST: 60,000 pictures of clothes in ten classes, and 10,000 for the test.

    python examples/fashion.py --data DIR                          # NumPy
    POLYGRAD_BACKEND=jax python examples/fashion.py --data DIR --jit

DIR holds the four files *-ubyte.gz. The Debian package dataset-fashion-mnist puts them into /usr/share/datasets/fashion-mnist, which is
looked at without --data; `--download` fetches them (30 MB) from their authors' site into DIR. Killed at any moment and started
again, it goes on from its checkpoint and ends with the bits of an uninterrupted run.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import struct
import urllib.request
from pathlib import Path

from resumable import add_options, check_output, draw_curve, plt, positive, tqdm, train

import polygrad as pg
from polygrad import nn
from polygrad.data import DataLoader, TensorDataset

INSTALLED = "/usr/share/datasets/fashion-mnist"
SITE = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
FILES = [f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
CLASSES = ["T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"]


def read(path: Path) -> pg.Tensor:
    """An array of bytes in the IDX format: two zeros, 8, the number of axes, their lengths, the elements."""
    data = gzip.decompress(path.read_bytes())
    shape = struct.unpack(f">{data[3]}I", data[4 : 4 + 4 * data[3]])
    return pg.tensor(memoryview(data)[4 + 4 * data[3] :], dtype=pg.uint8).reshape(shape)


def load(folder: Path, part: str, dtype: pg.DType) -> tuple[pg.Tensor, pg.Tensor]:
    """Images (N, 1, 28, 28) of mean 0 and deviation 1, and labels (N,)."""
    images, labels = (read(folder / name) for name in FILES if name.startswith(part))
    return (images.unsqueeze(1).to(dtype) / 255 - 0.286) / 0.353, labels.to(pg.int64)


def network() -> nn.Sequential:
    """Two convolutions with pools and batch norm, dropout and two linear layers: 206,970 parameters.

    The pools come first, as batch norm and ReLU are then a quarter of the work.
    """
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1, bias=False),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(32 * 7 * 7, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


def guess(model: nn.Module, images: pg.Tensor) -> pg.Tensor:
    """The class of each image, 500 at a time."""
    model.eval()
    with pg.no_grad():
        parts = [model(images[i : i + 500]).argmax(dim=1) for i in tqdm(range(0, len(images), 500), desc="test")]
    model.train()
    return pg.concat(parts)


def learn(args: argparse.Namespace) -> tuple[nn.Module, list[float]]:
    """AdamW over shuffled batches, its rate rising and falling once; the model and the loss of every step."""
    dtype = getattr(pg, args.dtype)
    images, labels = load(Path(args.data), "train", dtype)
    pg.manual_seed(args.seed)
    model = network().to(dtype)
    optimizer = pg.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=1e-2)
    scheduler = pg.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=args.steps + 1, cycle_momentum=False)
    loader = DataLoader(TensorDataset(images, labels), args.batch, shuffle=True, drop_last=True)

    def step(x: pg.Tensor, y: pg.Tensor) -> pg.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    return model, train(args, parts, loader, step)


def draw(losses: list[float], images: pg.Tensor, labels: list[int], guesses: list[int], path: str) -> None:
    """Write a picture: the loss of every step, and test images with what the network says of them."""
    figure = plt.figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.2))
    draw_curve(left.subplots(), losses)
    wrong = [i for i, (g, t) in enumerate(zip(guesses, labels, strict=True)) if g != t]
    right.suptitle(f"mistakes in the test: {len(wrong)} of {len(labels)} (said; in brackets: is)", fontsize=10)
    for cell, i in zip(right.subplots(4, 7).flat, wrong, strict=False):
        cell.imshow(images[i, 0].numpy(), cmap="gray_r")
        cell.set_axis_off()
        cell.set_title(f"{CLASSES[guesses[i]]}\n({CLASSES[labels[i]]})", fontsize=7, pad=2)
    figure.savefig(path, dpi=130)
    print(f"wrote {path}")


def fetch(folder: Path) -> None:
    """Download the four files that are not there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in tqdm([n for n in FILES if not (folder / n).exists()], desc="download"):
        beside = folder / f"{name}.part"
        with urllib.request.urlopen(f"{SITE}/{name}", timeout=60) as answer, open(beside, "wb") as file:
            shutil.copyfileobj(answer, file)
        beside.rename(folder / name)


def main() -> None:
    """Read the options, train, test, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=INSTALLED, help=f"folder of the four files (default {INSTALLED})")
    parser.add_argument("--download", action="store_true", help="fetch the files into that folder first")
    parser.add_argument("--batch", type=positive, default=64, help="images a step (default 64)")
    parser.add_argument("--lr", type=float, default=4e-3, help="highest learning rate (default 0.004)")
    add_options(parser, "fashion", 3600)
    args = parser.parse_args()
    check_output(parser, args.output, args.checkpoint)
    if args.download:
        fetch(Path(args.data))
    missing = [name for name in FILES if not (Path(args.data) / name).is_file()]
    if missing:
        parser.error(
            f"--data {args.data} has no {', '.join(missing)}; install the Debian package dataset-fashion-mnist, or add --download"
        )
    model, losses = learn(args)
    images, labels = load(Path(args.data), "t10k", getattr(pg, args.dtype))
    guesses = guess(model, images)
    print(f"test accuracy {100 * int((guesses == labels).sum()) / len(labels):.2f} %")
    draw(losses, images, labels.tolist(), guesses.tolist(), args.output)


if __name__ == "__main__":
    main()
