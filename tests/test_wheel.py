"""What a user installs: the wheel that is built from the sdist, in an environment of its own, from another folder."""

import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("wheel")  # one process builds and installs, once

ROOT = Path(__file__).resolve().parent.parent
ADAPTERS = {f"polygrad_{name}" for name in ("numpy", "jax", "torch", "mlx", "dask", "cupy")}
PACKAGES = {"polygrad", "polygrad_conformance", *ADAPTERS}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def run(*command, cwd, fails=False):
    """The output of a command, which must succeed (or must not)."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert (done.returncode != 0) is fails, f"{command} exited with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with the sdist and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    """The path of the wheel."""
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The scripts folder of a fresh environment with the wheel; its dependencies are those of this environment.

    A path file lends the dependencies without a download. It does not follow this environment's own path files, so an
    editable install here stays out of sight.
    """
    folder = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    scripts = folder / ("Scripts" if sys.platform == "win32" else "bin")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", scripts / "python"]
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
    site = run(scripts / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    lent = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (Path(site) / "lent.pth").write_text("\n".join(sorted(lent)) + "\n", encoding="utf-8")
    return scripts


@pytest.fixture
def python(installed, tmp_path):
    """Run code in that environment, from a folder that has nothing to do with the repository."""
    return lambda code: run(installed / "python", "-c", code, cwd=tmp_path).strip()


def test_wheel_holds_the_packages_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    assert {f"{package}/__init__.py" for package in PACKAGES} <= set(names)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".png"))]


def test_wheel_has_every_file_of_the_packages(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    wanted = set()
    for folder in (ROOT, ROOT / "backends", ROOT / "conformance"):
        for package in PACKAGES:
            wanted |= {path.relative_to(folder).as_posix() for path in (folder / package).rglob("*") if path.is_file()}
    wanted = {name for name in wanted if "__pycache__" not in name}
    assert wanted and wanted - names == set()


def test_sdist_holds_the_tests_and_the_documents(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "CHANGELOG.md", "Makefile", "pyproject.toml", "tests/test_wheel.py"} <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith((".venv", ".git/"))]


def test_metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        lines = archive.read(metadata).decode("utf-8").partition("\n\n")[0].splitlines()
    fields = [line.partition(": ")[::2] for line in lines]
    required = {value for key, value in fields if key == "Requires-Dist" and "extra ==" not in value}
    assert required == {"numpy>=2.0", "array-api-compat>=1.12"}
    assert {"jax", "cupy", "cupy-cuda12", "torch", "mlx", "dask", "onednn", "examples", "test", "docs"} <= {
        value for key, value in fields if key == "Provides-Extra"
    }
    assert dict(fields)["Name"] == "polygrad-array-api"
    assert dict(fields)["License-Expression"] == "Apache-2.0"


def test_import_comes_from_the_wheel(python, installed):
    for package in ("polygrad", "polygrad_numpy", "polygrad_conformance"):
        assert Path(python(f"import {package}; print({package}.__file__)")).is_relative_to(installed.parent)
    code = "import polygrad as pg, importlib.metadata as m; print(pg.__version__ == m.version('polygrad-array-api'))"
    assert python(code) == "True"


def test_nothing_of_the_repository_leaks(python, installed):
    code = "import importlib.util as u; s = u.find_spec({!r}); print(s and (s.origin, s.submodule_search_locations))"
    for name in ("tests", "examples", "benchmarks", "backends", "conformance"):
        found = python(code.format(name))
        assert str(ROOT) not in found and str(installed.parent) not in found


def test_entry_points(python):
    code = "import importlib.metadata as m; print(sorted((e.name, e.value) for e in m.entry_points(group={!r}) if {}))"
    backends = PROJECT["entry-points"]["polygrad.backends"]
    assert python(code.format("polygrad.backends", True)) == str(sorted(backends.items()))
    plugins = PROJECT["entry-points"]["pytest11"]
    assert python(code.format("pytest11", "'polygrad' in e.name")) == str(sorted(plugins.items()))


def test_gradient_from_the_wheel(python):
    code = "import polygrad as pg; a = pg.tensor(3., requires_grad=True); (a * a).backward(); print(a.grad)"
    assert python(code) == "tensor(6.)"


def test_console_script_and_module(installed, tmp_path):
    script = run(installed / "polygrad", "info", cwd=tmp_path)
    assert PROJECT["name"] and "numpy" in script
    assert run(installed / "python", "-m", "polygrad", "info", cwd=tmp_path).splitlines()[0] == script.splitlines()[0]
    run(installed / "polygrad", "no-such-command", cwd=tmp_path, fails=True)


def test_conformance_suite_is_collected(installed, tmp_path):
    command = [installed / "python", "-m", "pytest", "-p", "no:cacheprovider", "-q", "--collect-only"]
    out = run(*command, "--pyargs", "polygrad_conformance", "--pg-backend", "numpy", cwd=tmp_path)
    assert "numpy" in out and out.count("::") > 10
