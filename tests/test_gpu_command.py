"""The command for whoever has a GPU, dry: on NumPy, which is told to have one."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
import gpu


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Runs the command on NumPy, one small file of tests, and gives its status and what it wrote."""
    monkeypatch.setattr(gpu, "probe", lambda: {"numpy": "Pretended GPU 1"})
    monkeypatch.setattr(gpu, "RESULTS", tmp_path)
    monkeypatch.setattr(gpu, "TESTS", ["test_planted"])
    monkeypatch.setattr(gpu, "ROOT", tmp_path / "tree")
    (tmp_path / "tree" / "tests").mkdir(parents=True)
    root = Path(__file__).resolve().parent.parent
    monkeypatch.setenv("PYTHONPATH", f"{root}:{root / 'backends'}:{root / 'conformance'}")
    (tmp_path / "tree" / "tests" / "test_planted.py").write_text(
        "import os\nimport polygrad as pg\n\n\n"
        "def test_one():\n    assert os.environ['POLYGRAD_TEST_BACKENDS'] == 'numpy'\n    assert pg.zeros(2).sum().item() == 0\n"
        "\n\ndef test_two():\n    assert not os.environ.get('PLANTED')\n"
    )

    def run(*arguments):
        status = gpu.main(["--backends", "numpy", "--jobs", "1", *arguments])
        written = tmp_path / "pretended-gpu-1.json"
        return status, json.loads(written.read_text()) if written.exists() else None

    return run


def test_parts_are_written_as_they_come_and_added_to_what_is_there(command, monkeypatch):
    status, found = command("--parts", "info,tests")
    assert status == 0 and found["tests"]["numpy"]["tests"] == {
        "passed": True,
        "summary": found["tests"]["numpy"]["tests"]["summary"],
        "failed": [],
    }
    assert found["info"]["numpy"]["numpy"] and "2 passed" in found["tests"]["numpy"]["tests"]["summary"]
    monkeypatch.setenv("PLANTED", "1")
    status, found = command("--parts", "tests")
    assert status == 1 and found["info"]["numpy"]
    (failed,) = found["tests"]["numpy"]["tests"]["failed"]
    assert failed.startswith("FAILED tests/test_planted.py::test_two")


def test_the_conformance_suite_runs_without_an_installed_polygrad(command, monkeypatch):
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k leaky_relu")
    status, found = command("--parts", "conformance")
    assert status == 0 and " passed" in found["tests"]["numpy"]["conformance"]["summary"]


def test_a_part_that_takes_too_long_is_cut_off(command, monkeypatch):
    monkeypatch.setattr(gpu, "INFO", "import time; time.sleep(60)")
    status, found = command("--parts", "info", "--limit", "0.3")
    assert status == 0 and "cut off after 0.3 s" in found["info"]["numpy"]["error"]


def test_what_is_missing_is_said_at_once(command, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "find_spec", lambda name: None if name == "array_api_strict" else True)
    assert command("--parts", "tests") == (2, None)
    assert "missing: array-api-strict" in capsys.readouterr().out
    monkeypatch.setattr(gpu, "probe", lambda: {})
    assert command("--parts", "info") == (2, None)
    with pytest.raises(SystemExit):
        command("--parts", "nothing")


def test_the_suite_and_the_workloads_are_where_the_command_looks():
    assert gpu.SUITE.exists()
    assert all((gpu.HERE / f"{name}.py").exists() for name in gpu.WORKLOADS)
    assert all((gpu.ROOT / "tests" / f"{name}.py").exists() for name in gpu.TESTS)
