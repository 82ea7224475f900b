"""The table in the README and the lists of the official test suite: well-formed, and what the scripts write."""

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LISTS = sorted((ROOT / "conformance" / "array_api_tests").glob("*-skips.txt"))


def script(path):
    """A script of the repository as a module."""
    spec = spec_from_file_location(path.stem, path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def readme():
    return script(ROOT / "conformance" / "readme.py")


def test_the_table_is_there_and_complete(readme):
    lines = readme.lines_of((ROOT / "README.md").read_text(encoding="utf-8"))
    assert list(lines)[:6] == [f"`{name}`" for name in ("numpy", "jax", "torch", "array_api_strict", "mlx", "dask")]
    for row in lines.values():
        assert all(re.fullmatch(r"\d+/119", cell) for cell in row[1:4]) and re.fullmatch(r"\d+/10", row[4]), row


def test_the_script_writes_what_it_reads(readme):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = readme.lines_of(text)
    assert readme.replace(text, lines) == text
    other = readme.replace(text, {"`numpy`": ["`numpy`", "1/119", "2/119", "3/119", "4/10"]})
    assert readme.lines_of(other) == {**lines, "`numpy`": ["`numpy`", "1/119", "2/119", "3/119", "4/10"]}
    with pytest.raises(ValueError, match="no section"):
        readme.lines_of(text.replace(readme.BEGIN, ""))
    with pytest.raises(ValueError, match="no table"):
        readme.lines_of(text.replace(" reverse | forward |", " reverse |"))


@pytest.mark.parametrize("path", LISTS, ids=lambda p: p.name)
def test_every_failure_of_the_official_suite_has_a_reason(path):
    entries = script(ROOT / "conformance" / "array_api_tests" / "run.py").entries
    found = entries(path.read_text(encoding="utf-8"))
    assert all(re.match(r"array_api_tests/test_\w+\.py::test_\w+", test) for test in found)
    with pytest.raises(ValueError, match="no reason"):
        entries("array_api_tests/test_fft.py::test_fft\n")


def test_there_is_a_list_for_each_backend_that_is_tested():
    assert {p.name.removesuffix("-skips.txt") for p in LISTS} >= {"numpy", "jax", "array_api_strict"}
