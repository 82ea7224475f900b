"""Choosing a backend: by environment variable, in the process, in a block, by any module's name; and saying what is here."""

import asyncio
import os
import subprocess
import sys
import threading

import pytest

import polygrad as pg
from conftest import backend_names


def fresh(code, **env):
    """What a fresh interpreter prints, and its errors."""
    made = {**os.environ, **env}
    made.pop("POLYGRAD_BACKEND", None)
    made |= env
    done = subprocess.run([sys.executable, "-c", code], env=made, capture_output=True, text=True, timeout=120)
    return done.stdout.strip(), done.stderr


SHOW = "import polygrad as pg; x = pg.ones(2); print(x.backend, type(x.array).__module__.partition('.')[0])"


@pytest.mark.parametrize("name", backend_names())
def test_the_environment_variable_chooses(name):
    printed, errors = fresh(SHOW, POLYGRAD_BACKEND=name)
    assert printed.split()[0] == name, errors
    assert printed.split()[1].removesuffix("lib") == name


def test_without_the_variable_it_is_numpy():
    assert fresh(SHOW)[0] == "numpy numpy"
    assert fresh(SHOW, POLYGRAD_BACKEND=" ")[0] == "numpy numpy"


def test_a_wrong_name_in_the_variable_says_so():
    printed, errors = fresh(SHOW, POLYGRAD_BACKEND="nonsense")
    assert printed == ""
    assert "backend 'nonsense' (from the environment variable POLYGRAD_BACKEND)" in errors
    assert "numpy" in errors.rpartition("Usable here:")[2]


def test_an_unknown_name_changes_nothing():
    before = pg.get_backend()
    for call in (lambda: pg.set_backend("nonsense"), lambda: pg.use_backend("nonsense").__enter__()):
        with pytest.raises(pg.BackendNotAvailable, match=r"'nonsense' \(from the argument\).*Usable here: .*numpy"):
            call()
    assert pg.get_backend() is before
    assert issubclass(pg.BackendNotAvailable, ImportError)


def test_a_module_that_is_no_array_namespace_is_refused():
    with pytest.raises(pg.BackendNotAvailable, match="'json' is not an Array API namespace"):
        pg.set_backend("json")


def test_a_missing_library_says_how_to_install_it():
    """With the import of its library blocked, an adapter's error names the extra."""
    code = """
import sys
sys.modules["jax"] = None
import polygrad as pg
try:
    pg.set_backend("jax")
except pg.BackendNotAvailable as error:
    print(error)
print(pg.get_backend().name, pg.available_backends()["numpy"], "jax" in str(pg.available_backends()["jax"]))
"""
    printed, errors = fresh(code)
    assert 'pip install "polygrad-array-api[jax]"' in printed, errors
    assert printed.splitlines()[-1] == "numpy None True"


def test_any_array_namespace_works_by_its_name(tmp_path, monkeypatch):
    """A module that polygrad has never heard of: no adapter, only the standard's functions."""
    strict = pytest.importorskip("array_api_strict")
    (tmp_path / "somebodys_arrays.py").write_text(
        "from array_api_strict import *\nfrom array_api_strict import linalg, fft\n"
    )
    code = """
import warnings; warnings.simplefilter("error")
import polygrad as pg
x = pg.tensor([[1., 2.], [3., 4.]], requires_grad=True)
y = (pg.exp(x) @ x).sum() + x[:, ::-1].max() + x[pg.tensor([0, 0])].sum()
y.backward()
print(x.backend, x.grad.dtype, x.grad.tolist()[0][0] > 0)
"""
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    printed, errors = fresh(code, POLYGRAD_BACKEND="somebodys_arrays", PYTHONPATH=paths)
    assert printed == "somebodys_arrays polygrad.float32 True", errors
    assert strict.__array_api_version__


def test_use_backend_ends_with_its_block():
    outer = pg.get_backend().name
    with pg.use_backend("array_api_strict") as chosen:
        assert chosen.name == pg.get_backend().name == pg.ones(2).backend == "array_api_strict"
        with pg.use_backend("numpy"):
            assert pg.ones(2).backend == "numpy"
        assert pg.ones(2).backend == "array_api_strict"
        with pytest.raises(ZeroDivisionError), pg.use_backend("numpy"):
            1 / 0  # noqa: B018
        assert pg.ones(2).backend == "array_api_strict"
    assert pg.get_backend().name == pg.ones(2).backend == outer


def test_the_default_is_for_creation_only():
    a = pg.ones(2, requires_grad=True)
    with pg.use_backend("array_api_strict"):
        b = a * 2 + pg.sin(a)
        b.sum().backward()
        assert b.backend == a.grad.backend == "numpy"
        assert pg.zeros_like(a).backend == a.new_zeros(2).backend == "numpy"
        assert a.__array_namespace__().ones(2).backend == "numpy"


def test_set_backend_is_for_the_process_and_use_backend_for_the_thread():
    seen = {}

    def look(name):
        seen[name] = pg.ones(2).backend

    def run(name):
        job = threading.Thread(target=look, args=(name,))
        job.start()
        job.join(20)

    before = pg.get_backend().name
    try:
        pg.set_backend("array_api_strict")
        run("set")
        with pg.use_backend("numpy"):
            run("inside use")
            look("here")
    finally:
        pg.set_backend(before)
    run("after")
    assert seen == {"set": "array_api_strict", "inside use": "array_api_strict", "here": "numpy", "after": before}


def test_tasks_do_not_disturb_each_other():
    seen = {}

    async def work(name, turns):
        with pg.use_backend(name):
            for _ in range(turns):
                await asyncio.sleep(0)
                seen.setdefault(name, set()).add(pg.ones(2).backend)

    async def main():
        await asyncio.gather(work("numpy", 5), work("array_api_strict", 7))

    asyncio.run(main())
    assert seen == {"numpy": {"numpy"}, "array_api_strict": {"array_api_strict"}}


@pytest.mark.parametrize("name", backend_names())
def test_show_config_says_what_runs_here(name, capsys):
    found = pg.show_config(mode="dicts")
    assert found["polygrad"] == pg.__version__ and found["default backend"] == pg.get_backend().name
    if name in found["backends"]:
        facts = found["backends"][name]
        assert facts["usable"] and facts["devices"]
        assert facts[name] == sys.modules[name].__version__
    assert pg.show_config() is None
    printed = capsys.readouterr().out
    assert "numpy" in printed and pg.__version__ in printed and "devices" in printed and "fast paths" in printed
    with pytest.raises(ValueError, match='mode must be "stdout" or "dicts"'):
        pg.show_config(mode="html")


def test_a_namespace_is_bound_to_its_backend(backend):
    x = pg.ones(2)
    space = x.__array_namespace__()
    assert space is pg
    with pg.use_backend("numpy" if backend.name != "numpy" else "array_api_strict"):
        space = x.__array_namespace__()
        assert space is not pg and space.zeros(2).backend == space.asarray([1.0]).backend == backend.name
        assert space.exp is pg.exp and space.float32 is pg.float32 and space.pi == pg.pi
    for version in (None, "2025.12", "2024.12", "2023.12"):
        assert x.__array_namespace__(api_version=version) is pg
    with pytest.raises(ValueError, match="2019.12.*2025.12"):
        x.__array_namespace__(api_version="2019.12")


def test_an_override_of_no_op_is_a_type_error():
    from polygrad.core import Backend

    with pytest.raises(TypeError, match="'mine' overrides not_an_op"):
        Backend("mine", pg.get_backend("numpy").xp, not_an_op=abs).ready()


def test_an_override_may_decline_and_its_errors_are_kept():
    from polygrad.core import Backend

    calls = []

    def exp(x, /):
        calls.append(x.shape)
        return NotImplemented if x.shape == (2,) else x * 0

    mine = Backend("mine", pg.get_backend("numpy").xp, exp=exp).ready()
    with pg.use_backend(mine):
        assert pg.exp(pg.zeros(2)).tolist() == [1.0, 1.0]
        assert pg.exp(pg.zeros(3)).tolist() == [0.0, 0.0, 0.0]
    assert calls == [(2,), (3,)]
