"""The examples that train for long: what they learn, and that they go on with the same bits after being killed."""

import gzip
import os
import runpy
import signal
import struct
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

import polygrad as pg

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
TEXT = "the quick brown fox jumps over the lazy dog, and nobody knows why.\n" * 40


@pytest.fixture(autouse=True)
def beside_each_other(monkeypatch):
    """Let the examples find the module that they share, as they do when they are run."""
    monkeypatch.syspath_prepend(str(EXAMPLES))


def example(name):
    """The names that a script defines, without its main part."""
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


def run(name, monkeypatch, *arguments):
    """Run a script as a person would."""
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")


@pytest.fixture(scope="module")
def clothes(tmp_path_factory):
    """Four files in the form of Fashion-MNIST: stripes, whose direction and place is the label."""
    folder, rng = tmp_path_factory.mktemp("clothes"), np.random.default_rng(0)
    for part, n in (("train", 160), ("t10k", 520)):
        labels = rng.integers(0, 10, n).astype("uint8")
        images = rng.integers(0, 60, (n, 28, 28)).astype("uint8")
        for image, label in zip(images, labels, strict=True):
            image[(2 + 5 * (label % 5)) : (5 + 5 * (label % 5))] = 250
            image[:] = image.T if label >= 5 else image
        for kind, x in (("images-idx3", images), ("labels-idx1", labels)):
            head = struct.pack(f">HBB{x.ndim}I", 0, 8, x.ndim, *x.shape)
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(head + x.tobytes()))
    return folder


def options(tmp_path, **more):
    given = {"steps": 11, "every": 2, "seed": 1, "dtype": "float64", "jit": False, "fresh": False}
    return Namespace(**{**given, "checkpoint": str(tmp_path / "x.pt"), **more})


def fashion(args):
    model, losses = example("fashion")["learn"](args)
    return {k: v.numpy().tobytes() for k, v in model.state_dict().items()}, losses


def gpt(args):
    names = example("gpt")
    tokens, letters = names["encode"](TEXT)
    model, losses = names["learn"](args, tokens, letters)
    return {k: v.numpy().tobytes() for k, v in model.state_dict().items()}, losses


@pytest.fixture(params=["fashion", "gpt"])
def training(request, clothes):
    """A function from options to the bits of a trained model and its losses."""
    small = {"data": str(clothes), "batch": 20, "lr": 0.01}
    if request.param == "gpt":
        small |= {"batch": 3, "length": 6, "width": 8, "layers": 1, "heads": 2}
    return lambda tmp_path, **more: globals()[request.param](options(tmp_path, **small, **more))


class Killed(Exception):
    """Stands for the end of a process."""


def interrupted(training, tmp_path, monkeypatch, after):
    """Start a training that ends in the step after so many."""
    steps, step = [0], pg.optim.AdamW.step

    def ending(self, closure=None):
        steps[0] += 1
        if steps[0] > after:
            raise Killed
        return step(self, closure)

    with monkeypatch.context() as patch:
        patch.setattr(pg.optim.AdamW, "step", ending)
        with pytest.raises(Killed):
            training(tmp_path)


@pytest.mark.parametrize("after", [1, 7, 8])
def test_a_training_that_ends_goes_on_with_the_same_bits(training, after, tmp_path, monkeypatch):
    whole = training(tmp_path, checkpoint=str(tmp_path / "whole.pt"))
    interrupted(training, tmp_path, monkeypatch, after)
    assert (tmp_path / "x.pt").exists() == (after >= 2)
    assert training(tmp_path) == whole and len(whole[1]) == 11
    assert training(tmp_path) == whole  # nothing is left to do


def test_a_training_begun_on_numpy_goes_on_compiled(training, compiled, tmp_path, monkeypatch):
    with pg.use_backend("numpy"):
        whole = training(tmp_path, checkpoint=str(tmp_path / "whole.pt"))[1]
        interrupted(training, tmp_path, monkeypatch, 8)
    found = training(tmp_path, jit=True)[1]
    assert found[:8] == whole[:8] and np.abs(np.array(found) - whole).max() < 1e-10


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes are killed with SIGKILL, which is POSIX")
@pytest.mark.parametrize(("name", "delay"), [("fashion", 0.01), ("gpt", 0.0)])
def test_a_process_that_is_killed_goes_on_with_the_same_bits(name, delay, clothes, tmp_path):
    (tmp_path / "text.txt").write_text(TEXT)
    sizes = {
        "fashion": ["--data", clothes, "--batch", 8, "--steps", 40, "--every", 10],
        "gpt": [
            "--text",
            tmp_path,
            "--length",
            8,
            "--width",
            8,
            "--layers",
            1,
            "--heads",
            1,
            "--steps",
            60,
            "--every",
            3,
        ],
    }
    command = [sys.executable, EXAMPLES / f"{name}.py", *sizes[name]]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}

    def started(stem):
        paths = ["--checkpoint", tmp_path / f"{stem}.pt", "--output", tmp_path / f"{stem}.png"]
        return subprocess.Popen(
            [*map(str, (*command, *paths))], env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )

    with started("x") as process:
        while not (tmp_path / "x.pt").exists() and process.poll() is None:
            time.sleep(0.002)
        time.sleep(delay)  # seconds, into a step or a save
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert 0 < len(pg.load(tmp_path / "x.pt")["losses"]) < 40
    for stem in ("x", "y"):
        with started(stem) as process:
            assert process.wait() == 0
    assert (tmp_path / "x.pt").read_bytes() == (tmp_path / "y.pt").read_bytes()


def test_fashion_learns_tests_and_draws(clothes, tmp_path, monkeypatch, capsys):
    paths = ["--output", tmp_path / "x.png", "--checkpoint", tmp_path / "x.pt"]
    run("fashion", monkeypatch, "--data", clothes, "--steps", 40, "--batch", 32, *paths)
    printed = capsys.readouterr().out
    assert float(printed.split("test accuracy ")[1].split()[0]) > 60
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SystemExit):
        run("fashion", monkeypatch, "--data", tmp_path, *paths)
    assert "dataset-fashion-mnist" in capsys.readouterr().err


def test_gpt_learns_writes_and_draws(tmp_path, monkeypatch, capsys):
    (tmp_path / "text.txt").write_text(TEXT)
    paths = ["--output", tmp_path / "x.png", "--checkpoint", tmp_path / "x.pt", "--text", tmp_path]
    sizes = ["--length", 16, "--width", 24, "--layers", 1, "--heads", 2, "--lr", 0.02, "--steps", 120]
    run("gpt", monkeypatch, *paths, *sizes)
    printed = capsys.readouterr().out
    assert float(printed.split("kept for the test ")[1].split()[0]) < 1.5 and "2680 characters" in printed
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    for wrong, message in (
        (["--text", tmp_path / "absent"], "there is no such file"),
        (["--steps", "0"], "is not positive"),
    ):
        with pytest.raises(SystemExit):
            run("gpt", monkeypatch, *paths, *wrong)
        assert message in capsys.readouterr().err
