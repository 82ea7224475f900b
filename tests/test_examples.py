"""The examples: what the tutorial prints on every backend, and what training on digits reaches."""

import re
import runpy
import sys
import time
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

import polygrad as pg

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"

TUTORIAL = """\
prediction (1, 1000) from 11689512 parameters
every parameter has a gradient: True
one step moved the last bias by 0.01
tensor([-12.,  65.], grad_fn=<SubBackward0>)
tensor([True, True])
tensor([True, True])
tensor([36., 81.]) tensor([-12.,  -8.])
Does `a` require gradients?: False
Does `b` require gradients?: True
Does `b` require gradients without recording?: False
trained: fc.weight, fc.bias
tensor(8., grad_fn=<AddBackward0>)
tensor(-4., grad_fn=<SubBackward0>)
tensor(12., grad_fn=<MulBackward0>)
tensor(3., grad_fn=<DivBackward0>)
tensor(36.)
tensor(-12.)
"""


def example(name):
    """The names that a script defines, without its main part."""
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


def test_the_tutorial_prints_the_same_everywhere(backend, capsys):
    runpy.run_path(str(EXAMPLES / "tutorial.py"), run_name="__main__")
    assert capsys.readouterr().out == TUTORIAL


def losses_of_twenty_steps(backend, jit=False):
    with pg.use_backend(backend):
        options = Namespace(dtype="float64", seed=3, lr=0.05, batch=32, steps=20, epochs=1, jit=jit)
        return np.array(example("digits")["train"](options)[1])


@pytest.fixture(scope="module")
def losses_on_numpy():
    return losses_of_twenty_steps("numpy")


def test_one_seed_gives_the_same_loss_curve_on_every_backend(backend, losses_on_numpy):
    losses = losses_on_numpy if backend.name == "numpy" else losses_of_twenty_steps(backend.name)
    assert len(losses) == 20 and losses[0] > 2 and losses[-5:].mean() < 0.7 * losses[0]
    assert np.abs(losses - losses_on_numpy).max() < 1e-9


def test_compiled_steps_give_the_same_loss_curve(compiled, losses_on_numpy):
    assert np.abs(losses_of_twenty_steps(compiled.name, jit=True) - losses_on_numpy).max() < 1e-9


def test_digits_are_learned(tmp_path, monkeypatch, capsys):
    picture = tmp_path / "digits.png"
    monkeypatch.setattr(sys, "argv", ["digits.py", "--output", str(picture)])
    start = time.process_time()
    with pg.use_backend("numpy"):
        runpy.run_path(str(EXAMPLES / "digits.py"), run_name="__main__")
    assert time.process_time() - start < 90
    printed = capsys.readouterr().out
    assert float(re.search(r"test accuracy ([\d.]+) %", printed)[1]) >= 97
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 20_000


def test_digits_refuse_wrong_options(monkeypatch, capsys):
    for options, message in [
        (["--steps", "0"], "0 is not positive"),
        (["--output", "nowhere/digits.png"], "there is no such folder"),
    ]:
        monkeypatch.setattr(sys, "argv", ["digits.py", *options])
        with pytest.raises(SystemExit):
            runpy.run_path(str(EXAMPLES / "digits.py"), run_name="__main__")
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("module", ["tqdm", "sklearn.datasets", "matplotlib"])
def test_a_missing_extra_says_how_to_get_it(module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SystemExit, match=r'pip install "polygrad-array-api\[examples\]"'):
        example("digits")
