"""`save` and `load` beside PyTorch, checkpoints of a training, and saves that do not come to their end."""

import collections
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import polygrad as pg
from polygrad import nn, optim
from polygrad.io import load_checkpoint, load_file, save_checkpoint, save_file

ROOT = Path(__file__).resolve().parent.parent
TYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64", "complex64", "complex128"]


def values():
    """A nest of everything that can be saved."""
    rng = np.random.default_rng(0)
    return {
        "types": {name: (rng.standard_normal(5) * 3).astype(name) for name in TYPES},
        "shapes": [np.zeros((0, 3)), np.array(2.5), rng.standard_normal((2, 1, 3))],
        "plain": (
            None,
            True,
            False,
            0,
            -1,
            2**31,
            -(2**70),
            1.5,
            float("inf"),
            "text \u00e9\u4e16",
            b"\x00\xff",
            1 + 2j,
        ),
        "sets": {1, 2},
        3: collections.OrderedDict(b=1, a=[]),
        "count": collections.Counter([5, 5, 7]),
    }


def mapped(value, to):
    if isinstance(value, np.ndarray):
        return to(value)
    if type(value) in (list, tuple):
        return type(value)(mapped(v, to) for v in value)
    if isinstance(value, dict) and not isinstance(value, collections.Counter):
        return type(value)((k, mapped(v, to)) for k, v in value.items())
    return value


def same(found, expected):
    if isinstance(expected, np.ndarray):
        found = found.detach().numpy()
        return found.dtype == expected.dtype and found.shape == expected.shape and np.array_equal(found, expected)
    if type(found) is not type(expected):
        return False
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(expected, dict) and not isinstance(expected, collections.Counter):
        return list(found) == list(expected) and all(same(found[k], v) for k, v in expected.items())
    return found == expected


def test_what_is_saved_is_loaded(tmp_path, backend):
    if backend.name == "array_api_strict":
        types = [t for t in TYPES if t != "float16"]  # which the standard lacks
    else:
        types = TYPES
    nest = values()
    nest["types"] = {name: nest["types"][name] for name in types}
    pg.save(mapped(nest, pg.tensor), tmp_path / "x.pt")
    assert same(pg.load(tmp_path / "x.pt"), nest)
    assert pg.load(tmp_path / "x.pt")["types"]["float32"].backend == backend.name


def test_files_of_equal_contents_are_equal_and_may_be_streams():
    files = [io.BytesIO(), io.BytesIO()]
    for file in files:
        pg.save(mapped(values(), pg.tensor), file)
    assert files[0].getvalue() == files[1].getvalue()
    files[0].seek(0)
    assert same(pg.load(files[0]), values())


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_files_of_pytorch_are_read(tmp_path, zipped, torch):
    nest = mapped(values(), torch.tensor)
    path = tmp_path / "x.pt"
    torch.save(nest, path, _use_new_zipfile_serialization=zipped)
    assert same(pg.load(path), values())
    x = torch.arange(24.0).reshape(2, 3, 4)
    others = {
        "transposed": x.permute(2, 0, 1),
        "part": x[1, :, ::2],
        "expanded": torch.ones(3, 1).expand(3, 2),
        "parameter": nn_parameter(torch),
        "half": torch.tensor([1.5, -2.0, 65504.0, 6e-8, float("inf"), float("-inf"), 0.0], dtype=torch.float16),
        "bfloat16": torch.tensor([1.5, -2.0, 3e38, float("inf")], dtype=torch.bfloat16),
        "size": x.shape,
        "dtype": torch.float64,
    }
    others["again"] = others["part"]
    torch.save(others, path, _use_new_zipfile_serialization=zipped)
    found = pg.load(path)
    for name, value in others.items():
        if isinstance(value, torch.Tensor):
            assert np.array_equal(found[name].detach().float().numpy(), value.detach().float().numpy()), name
    assert isinstance(found["parameter"], nn.Parameter) and found["parameter"].requires_grad
    assert found["size"] == (2, 3, 4) and found["dtype"] is pg.float64 and found["again"] is found["part"]


def nn_parameter(torch):
    return torch.nn.Parameter(torch.arange(3.0))


def test_files_are_read_by_pytorch(tmp_path, torch):
    nest = {k: v for k, v in values().items() if k not in ("sets", "count")}
    shared = pg.tensor([1.0, 2.0])
    nest = {
        **mapped(nest, pg.tensor),
        "tied": [shared, shared],
        "parameter": nn.Parameter(pg.ones(2)),
        "dtype": pg.int16,
    }
    pg.save(nest, tmp_path / "x.pt")
    found = torch.load(tmp_path / "x.pt", weights_only=True)
    expected = {k: v for k, v in values().items() if k not in ("sets", "count")}
    assert same({k: found[k] for k in expected}, expected)
    assert found["tied"][0] is found["tied"][1] and isinstance(found["parameter"], torch.nn.Parameter)
    assert found["dtype"] is torch.int16


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1, print]}, r"the value\['a'\]\[1\] is a builtins.builtin_function_or_method, which is no data"),
        (nn.Linear(1, 1), "the value is a polygrad.nn.linear.Linear"),
        (2**600, "too long to be saved"),
    ],
)
def test_what_is_no_data_is_not_saved(value, message, tmp_path):
    path = tmp_path / "x.pt"
    pg.save(1, path)
    with pytest.raises(TypeError, match=message):
        pg.save(value, path)
    assert pg.load(path) == 1 and os.listdir(tmp_path) == ["x.pt"]


def test_load_takes_safetensors_and_refuses_the_rest(tmp_path):
    save_file({"w": pg.tensor([1.0])}, tmp_path / "x.safetensors")
    assert pg.load(tmp_path / "x.safetensors")["w"].tolist() == [1]
    (tmp_path / "y").write_bytes(b"hello, world, this is no file of tensors")
    (tmp_path / "z").write_bytes(b"")
    for name in "yz":
        with pytest.raises(ValueError, match="is no file of PyTorch's"):
            pg.load(tmp_path / name)
    with pytest.raises(ValueError, match="weights_only=False is not offered"):
        pg.load(tmp_path / "x.safetensors", weights_only=False)


@pytest.mark.parametrize("kind", ["module", "script", "numpy"])
@pytest.mark.filterwarnings("ignore")
def test_files_of_pytorch_that_are_programs_are_refused_by_name(kind, tmp_path, torch):
    path = tmp_path / "x.pt"
    if kind == "module":
        torch.save(torch.nn.Linear(1, 1), path)
    elif kind == "numpy":
        torch.save({"x": np.float64(1)}, path)
    else:
        torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), path)
    named = {"module": "torch.nn.modules.linear.Linear", "script": "TorchScript", "numpy": r"multiarray\.scalar"}
    with pytest.raises(ValueError, match=named[kind]):
        pg.load(path)


def test_sixteen_bits_and_complex_numbers_in_safetensors(tmp_path):
    x = np.array([1.5, -2.0, 65504.0, 6e-8, np.inf, np.nan, -0.0], dtype="float16")
    save_file({"h": pg.tensor(x), "c": pg.tensor(np.array([1 + 2j], dtype="complex64"))}, tmp_path / "x")
    found = load_file(tmp_path / "x")
    assert found["h"].dtype is pg.float16 and found["h"].numpy().tobytes() == x.tobytes()
    assert found["c"].tolist() == [1 + 2j]


# ------------------------------------------------------------------------------------------------------- checkpoints


def training():
    """A model with batch norm and dropout, its optimizer, schedule and step function."""
    pg.manual_seed(4)
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1)).double()
    optimizer = optim.NAdam(model.parameters(), lr=0.05)
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, 40)

    def step():
        optimizer.zero_grad()
        x = pg.randn(8, 3, dtype=pg.float64)
        ((model(x) - x.sum(dim=1, keepdim=True)) ** 2).mean().backward()
        optimizer.step()

    jitted = pg.jit(step)

    def whole_step():
        jitted()
        scheduler.step()

    return {"model": model, "optimizer": optimizer, "scheduler": scheduler}, whole_step


def bits(parts):
    return {name: value.numpy().tobytes() for name, value in parts["model"].state_dict().items()}


def test_a_training_goes_on_with_the_same_bits(tmp_path):
    parts, step = training()
    for _ in range(10):
        step()
    save_checkpoint(tmp_path / "x.pt", **parts, step=10, notes={"why": "test"})
    for _ in range(10):
        step()
    expected = bits(parts)
    parts, step = training()
    pg.manual_seed(99)
    assert load_checkpoint(tmp_path / "x.pt", **parts) == {"step": 10, "notes": {"why": "test"}}
    for _ in range(10):
        step()
    assert bits(parts) == expected


def test_fifty_steps_on_numpy_go_on_elsewhere(tmp_path, backend):
    def run(home, start, stop):
        with pg.use_backend(home):
            parts, step = training()
            if start:
                load_checkpoint(tmp_path / "x.pt", **parts)
            for _ in range(start, stop):
                step()
            save_checkpoint(tmp_path / "x.pt", **parts)
            return {name: value.numpy() for name, value in parts["model"].state_dict().items()}

    whole, alone = run("numpy", 0, 54), run(backend.name, 0, 54)
    run("numpy", 0, 50)
    found = run(backend.name, 50, 54)
    assert max(np.abs(found[name] - x[name]).max() for x in (whole, alone) for name in whole) < 1e-10


def test_a_checkpoint_that_lacks_a_part_changes_nothing(tmp_path):
    parts, step = training()
    save_checkpoint(tmp_path / "x.pt", model=parts["model"])
    step()
    before = bits(parts)
    with pytest.raises(KeyError, match="has no state of optimizer, scheduler; it has model, generator"):
        load_checkpoint(tmp_path / "x.pt", **parts)
    assert bits(parts) == before
    pg.save([1], tmp_path / "y.pt")
    with pytest.raises(ValueError, match="no checkpoint"):
        load_checkpoint(tmp_path / "y.pt", **parts)


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_save_that_fails_leaves_the_file_that_was_there(function, tmp_path, monkeypatch):
    path = tmp_path / "x.pt"
    pg.save({"n": 1}, path)

    def fail(*args):
        raise OSError("the disk is full")

    monkeypatch.setattr(os, function, fail)
    for write in (lambda: pg.save({"n": 2}, path), lambda: save_file({"n": pg.ones(1)}, path)):
        with pytest.raises(OSError, match="the disk is full"):
            write()
    assert pg.load(path) == {"n": 1} and os.listdir(tmp_path) == ["x.pt"]


SAVER = """
import sys, polygrad as pg
n = 0
while True:
    n += 1
    pg.save([pg.full((250_000,), float(n)) for _ in range(8)], sys.argv[1])
    if n == 1:
        print("ready", flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes are killed with SIGKILL, which is POSIX")
def test_a_save_that_is_killed_leaves_a_whole_file(tmp_path):
    path = tmp_path / "x.pt"
    for delay in (0.0, 0.03, 0.11):
        with subprocess.Popen([sys.executable, "-c", SAVER, path], cwd=ROOT, stdout=subprocess.PIPE) as process:
            assert process.stdout.readline().strip() == b"ready"
            time.sleep(delay)
            process.kill()
        found = pg.load(path)
        assert len({x[0].item() for x in found}) == 1 and all((x == x[0]).all().item() for x in found)


HALF = """
import resource, signal, sys, polygrad as pg
pg.save([pg.full((250_000,), 1.0) for _ in range(8)], sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, 4_000_000))
pg.save([pg.full((250_000,), 2.0) for _ in range(8)], sys.argv[1])
"""


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="a limit on the size of files is POSIX")
def test_a_save_that_is_killed_half_way_leaves_the_file_that_was_there(tmp_path):
    path = tmp_path / "x.pt"
    done = subprocess.run([sys.executable, "-c", HALF, path], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == -signal.SIGXFSZ, done.stderr
    assert all((x == 1).all().item() for x in pg.load(path))
    left = [p for p in tmp_path.iterdir() if p != path]
    assert [p.stat().st_size for p in left] == [4_000_000]  # half of the second file, beside the first
    pg.save([3], path)
    assert pg.load(path) == [3]
