"""The conformance suite catches what it is there to catch: wrong rules, overrides, devices, kinks and stale lists.

That our own backends pass it is tested by the suite itself, in `conformance/`.
"""

import importlib.util
import json
import subprocess
import sys
import warnings
from contextlib import contextmanager

import pytest

import polygrad as pg
from polygrad.core import Backend, case, discrete, general, linear, new_tensor, pointwise
from polygrad.core.backend import _loaded, declared, resolve
from polygrad.core.methods import functions
from polygrad_conformance import __main__ as command
from polygrad_conformance import suite
from polygrad_conformance.forms import examine_operator
from polygrad_conformance.kinks import KINKS, examine_kink
from polygrad_conformance.ops import examine
from polygrad_conformance.outcome import Failure, Outcome, known_failures
from polygrad_conformance.report import Results, as_html, as_json, markdown, standard_names, terminal

HOST = "numpy"


@contextmanager
def planting():
    """Take ops that are declared in the block out of the registry and of every namespace afterwards."""
    before = set(declared.ops)
    try:
        yield
    finally:
        for name in set(declared.ops) - before:
            del declared.ops[name]
            for space in [functions, *(s for b in declared.live for s in (b.arrays, b.tensors))]:
                delattr(space, name)


@pytest.fixture(autouse=True)
def clean():
    """Every test may plant ops."""
    with planting():
        yield


def found(function, name=HOST):
    """The aspects in which a planted op fails on a backend, without the doubts about the order above."""
    backend = pg.get_backend(name)
    outcome = Outcome("planted", "planted", name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        examine(function.op, backend, outcome)
    return {f.aspect for f in outcome.failures if not f.message.startswith("not checked")}


def strict():
    """The name of the backend with several devices."""
    if importlib.util.find_spec("array_api_strict") is None:
        pytest.skip("array_api_strict is not installed (it is in the extra `test`)")
    return "array_api_strict"


# --------------------------------------------------------------------------------------------------------- wrong rules


def test_a_right_op_passes():
    @pointwise(x=lambda xp, x: xp.cos(x))
    def planted(xp, x, /):
        return xp.sin(x)

    assert found(planted) == set()


def test_a_wrong_sign_is_caught():
    @pointwise(x=lambda xp, x: xp.sin(x))
    def planted(xp, x, /):
        return xp.cos(x)

    assert {"forward", "reverse"} <= found(planted)


def test_a_wrong_factor_is_caught():
    @pointwise(x=lambda xp, x: 1.00001 * xp.cos(x))
    def planted(xp, x, /):
        return xp.sin(x)

    assert {"forward", "reverse"} <= found(planted)


def test_a_missing_conjugate_is_caught():
    @linear(x1=lambda g, x2: g * x2, x2=lambda g, x1: g * x1, cases=[((3, 4), (3, 4))])
    def planted(xp, x1, x2, /):
        return x1 * x2

    assert found(planted) == {"reverse"}


def test_a_missing_conjugate_in_one_operand_is_caught():
    @linear(x1=lambda xp, g, x2: g * xp.conj(x2), x2=lambda g, x1: g * x1, cases=[((3, 4), (3, 4))])
    def planted(xp, x1, x2, /):
        return x1 * x2

    assert found(planted) == {"reverse"}


@pytest.mark.parametrize("axis, aspects", [(0, {"reverse"}), (1, set())])
def test_a_wrong_axis_is_caught(axis, aspects):
    @linear(x=lambda xp, g, x_shape: xp.broadcast_to(xp.expand_dims(g, axis=axis), x_shape), cases=[((3, 3),)])
    def planted(xp, x, /):
        return xp.sum(x, axis=1)

    assert found(planted) == aspects


def test_a_wrong_push_is_caught_and_the_pull_is_not_blamed():
    @general(
        x=(lambda xp, g, x: g * xp.cos(x), lambda xp, t, x: t * xp.sin(x)), dtypes="real floating", cases=[((3, 4),)]
    )
    def planted(xp, x, /):
        return xp.sin(x)

    assert found(planted) == {"forward"}


def test_a_wrong_pull_is_caught_and_the_push_is_not_blamed():
    @general(
        x=(lambda xp, g, x: g * xp.sin(x), lambda xp, t, x: t * xp.cos(x)), dtypes="real floating", cases=[((3, 4),)]
    )
    def planted(xp, x, /):
        return xp.sin(x)

    assert found(planted) == {"reverse"}


def test_a_rule_that_cannot_be_differentiated_is_caught():
    def cut(x):
        return new_tensor(x._array, x._backend) if isinstance(x, pg.Tensor) else x

    @pointwise(x=lambda xp, x: 2 * cut(x))
    def planted(xp, x, /):
        return x * x

    assert found(planted) == {"second"}


def test_a_rule_that_forgets_a_result_is_caught():
    @general(
        x=(lambda g: 2 * g[0], lambda t: (2 * t, 3 * t)),
        cases=[((3,),)],
    )
    def planted(xp, x, /):
        return 2 * x, 3 * x

    assert found(planted) == {"reverse"}


def test_a_rule_that_fails_on_empty_arrays_is_caught():
    @linear(x=lambda xp, g, x_shape: xp.reshape(g, (-1, x_shape[1])), cases=[((3, 4),)])
    def planted(xp, x, /):
        return xp.reshape(x, (x.shape[0] * x.shape[1],))

    assert found(planted) == {"reverse"}


def test_a_value_that_differs_from_the_body_is_caught():
    @pointwise(x=lambda xp, x: xp.cos(x))
    def planted(xp, x, /):
        return xp.sin(x)

    wrong = Backend("wrong", pg.get_backend(HOST).xp, planted=lambda x: pg.get_backend(HOST).xp.sin(x) * (1 + 1e-7))
    outcome = Outcome("planted", "planted", "wrong")
    examine(planted.op, wrong.ready(), outcome)
    declared.live.remove(wrong)
    assert {f.aspect for f in outcome.failures} == {"value", "override"}


def test_an_override_that_changes_the_data_type_is_caught():
    @pointwise(x=lambda xp, x: xp.cos(x))
    def planted(xp, x, /):
        return xp.sin(x)

    xp = pg.get_backend(HOST).xp
    wrong = Backend("wrong", xp, planted=lambda x: xp.astype(xp.sin(x), xp.result_type(x.dtype, xp.float64)))
    outcome = Outcome("planted", "planted", "wrong")
    examine(planted.op, wrong.ready(), outcome)
    declared.live.remove(wrong)
    assert any(f.aspect == "value" and "data type" in f.message for f in outcome.failures)


def test_an_override_that_declines_is_fine():
    @pointwise(x=lambda xp, x: xp.cos(x))
    def planted(xp, x, /):
        return xp.sin(x)

    declining = Backend("declining", pg.get_backend(HOST).xp, planted=lambda x: NotImplemented)
    outcome = Outcome("planted", "planted", "declining")
    examine(planted.op, declining.ready(), outcome)
    declared.live.remove(declining)
    assert outcome.failures == []
    assert outcome.checked["override"]


def test_a_constant_on_the_wrong_device_is_caught():
    @pointwise(x=lambda xp, x: xp.ones(x.shape, dtype=x.dtype) * 2, cases=[((3, 4),)])
    def planted(xp, x, /):
        return 2 * x

    assert found(planted) == set()
    assert {"forward", "reverse"} <= found(planted, strict())


def test_a_double_on_a_device_without_double_precision_is_caught():
    @pointwise(x=lambda xp, x: xp.full(x.shape, 2.0, dtype=xp.float64, device=xp.device(x)), cases=[((3, 4),)])
    def planted(xp, x, /):
        return 2 * x

    assert found(planted) == {"placement"}
    assert {"forward", "reverse"} <= found(planted, strict())


def test_a_missing_case_is_an_error():
    @linear(x=lambda g: g)
    def planted(xp, x, /):
        return x

    assert found(planted) == {"declaration"}


def test_a_discrete_result_is_compared():
    @discrete(cases=[((3, 4),)])
    def planted(xp, x, /):
        return xp.argmax(x)

    wrong = Backend("wrong", pg.get_backend(HOST).xp, planted=lambda x: pg.get_backend(HOST).xp.argmin(x))
    outcome = Outcome("planted", "planted", "wrong")
    examine(planted.op, wrong.ready(), outcome)
    declared.live.remove(wrong)
    assert "value" in {f.aspect for f in outcome.failures}


def test_what_of_a_result_is_unique_is_all_that_is_compared():
    @general(
        x=(lambda g: 2 * g[0], lambda t: (2 * t, 0 * t)),
        dtypes="real floating",
        cases=[case((3,), invariant=lambda xp, y: y[0])],
    )
    def planted(xp, x, /):
        return 2 * x, 3 * x

    assert found(planted) == set()


# ---------------------------------------------------------------------------------------------- kinks, operators, lists


def test_a_wrong_value_at_a_kink_is_caught():
    kink = next(k for k in KINKS if k.function == "relu")
    outcome = Outcome("kink", "kinks", HOST)
    examine_kink(kink._replace(expected=[[0.5]]), pg.get_backend(HOST), outcome)
    assert {f.aspect for f in outcome.failures} == {"reverse", "forward"}


def test_every_kink_has_a_name_of_its_own():
    names = [u.name for u in suite.units()]
    assert sorted(set(names)) == sorted(names)
    assert sum(name.startswith("kink ") for name in names) >= 40


def test_an_operator_that_loops_over_elements_is_caught(monkeypatch):
    for name in ("__array_ufunc__", "__array_priority__", "__array__"):
        monkeypatch.delattr(pg.Tensor, name)
    outcome = Outcome("operator add", "operators", HOST)
    examine_operator("add", pg.get_backend(HOST), outcome)
    assert any("on the left" in f.where for f in outcome.failures)


def outcome_with(*failures, known=()):
    return Outcome("sin", "elementwise", HOST, ["value"], {"value": 3}, list(failures), list(known))


def test_known_failures_are_strict():
    failure = Failure("value", "case (3, 4), float64", "is wrong")
    listed = ("value", "case (3, 4)*", "the library is wrong")
    assert outcome_with(failure).surprises
    assert not outcome_with(failure, known=[listed]).surprises
    assert "take it off the list" in outcome_with(known=[listed]).surprises[0]
    assert outcome_with(failure, known=[("value", "case (5,)*", "another one")]).surprises
    assert outcome_with(failure, known=[("reverse", "*", "another one")]).surprises


def test_a_brief_run_judges_only_entries_whose_check_it_made():
    outcome = outcome_with(known=[("value", "*complex64", "the library is wrong")])
    outcome.brief = True
    with outcome.check("value", "case (3, 4), float64"):
        pass
    assert not outcome.surprises
    with outcome.check("value", "case (3, 4), complex64"):
        pass
    assert "take it off the list" in outcome.surprises[0]


def test_what_gives_double_precision_is_not_asked_of_short_devices():
    strict = pytest.importorskip("array_api_strict", reason="array_api_strict has the devices")
    with pg.use_backend(strict.__name__) as backend:
        outcome = Outcome("float_power", "elementwise", backend.name)
        examine(declared.ops["float_power"], backend, outcome)
    assert outcome.checked["reverse"] > 0 and not outcome.failures


def test_files_of_known_failures_are_checked(tmp_path):
    path = tmp_path / "known.toml"
    path.write_text('[value]\n"sin: case (3, 4)*" = "a reason"\n"cos" = "another"\n')
    assert known_failures("none", [str(path)]) == {
        "sin": [("value", "case (3, 4)*", "a reason")],
        "cos": [("value", "*", "another")],
    }
    for wrong in ('[value]\n"sin" = ""\n', '[nonsense]\n"sin" = "a reason"\n', 'value = "sin"\n'):
        path.write_text(wrong)
        with pytest.raises(ValueError):
            known_failures("none", [str(path)])
    path.write_text('[value]\n"no such unit" = "a reason"\n')
    with pytest.raises(ValueError, match="no such unit"):
        suite.subject(HOST, (str(path),))


# ------------------------------------------------------------------------------------------- command, plugin, adapters


def test_the_standard_has_119_differentiable_names():
    names = standard_names()
    assert len(names) == 119
    units = {u.name for u in suite.units()}
    assert set(names) <= units


def test_the_command_prints_a_table_and_writes_files(tmp_path, capsys):
    files = [tmp_path / name for name in ("all.json", "table.md", "table.html")]
    options = [
        option
        for flag, path in zip(("--json", "--markdown", "--html"), files, strict=True)
        for option in (flag, str(path))
    ]
    assert command.main(["--backend", HOST, "--only", "sin", "--only", "kink relu*", *options]) == 0
    shown = capsys.readouterr().out
    assert "1/1" in shown and HOST in shown and "FAILED" not in shown
    data = json.loads(files[0].read_text())
    assert {o["unit"] for o in data["outcomes"]} >= {"sin", "kink relu(0)"}
    assert "| elementwise | value | 1/1 |" in files[1].read_text()
    assert "<table>" in files[2].read_text() and "http" not in files[2].read_text()


def test_the_command_fails_on_failures(capsys):
    @pointwise(x=1)
    def planted(xp, x, /):
        return 2 * x

    assert command.main(["--backend", HOST, "--only", "planted"]) == 1
    assert "FAILED" in capsys.readouterr().out


def test_the_command_says_why_it_cannot_run(capsys):
    assert command.main(["--backend", "no_such_library"]) == 2
    assert "no_such_library" in capsys.readouterr().err
    assert command.main(["--only", "no such unit"]) == 2


def test_the_reports_show_failures_and_known_ones():
    failure = Failure("value", "case <3>", "is wrong")
    results = Results([outcome_with(failure), outcome_with(failure, known=[("value", "*", "the reason")])])
    for text in (terminal(results), markdown(results), as_json(results)):
        assert "is wrong" in text and "the reason" in text
    assert "case &lt;3&gt;" in as_html(results)
    assert [row.cells for row in results.rows()] == [["0/2"]]


def test_outcomes_survive_the_way_between_processes():
    outcome = outcome_with(Failure("value", "here", "is wrong"), known=[("value", "*", "the reason")])
    back = Results.of([json.loads(json.dumps(outcome.as_dict()))]).outcomes[0]
    assert back.failures == outcome.failures and back.surprises == outcome.surprises == []


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """An adapter of somebody else's: a package with a backend, an entry point and a list of known failures."""
    package = tmp_path / "stranger"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import array_api_compat.numpy as xp\n"
        "from polygrad.core import Backend\n"
        'backend = Backend("stranger", xp, sin=lambda x: xp.sin(x) * 1.1)\n'
    )
    info = tmp_path / "stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[polygrad.backends]\nsomebodys = stranger:backend\n")
    (package / "conformance_known_failures.toml").write_text(
        '[value]\nsin = "it is 10 % too large"\n'
        '[forward]\nsin = "as above"\n[reverse]\nsin = "as above"\n[second]\nsin = "as above"\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield package
    suite.subject.cache_clear()
    declared.live[:] = [b for b in declared.live if b.name != "stranger"]
    sys.modules.pop("stranger", None)
    _loaded.pop("somebodys", None)


@pytest.mark.parametrize("name", ["somebodys", "stranger", "stranger:backend"])
def test_a_strangers_adapter_is_found_by_its_entry_point_and_its_module_with_its_known_failures(stranger, name):
    tested = suite.subject(name)
    units = {u.name: u for u in suite.units()}
    outcome = suite.run(units["sin"], tested)
    assert not outcome.passed("value")
    assert {f.aspect for f in outcome.failures} == {"value", "forward", "reverse", "second"}
    assert outcome.surprises == []
    assert suite.run(units["cos"], tested).backend == "stranger"


def test_the_brief_suite_keeps_second_order_in_the_first_case():
    unit = next(u for u in suite.units() if u.name == "matmul")
    full, brief = (suite.run(unit, suite.subject(HOST, brief=brief)) for brief in (False, True))
    assert not full.surprises and not brief.surprises and brief.brief
    assert brief.checked["value"] == full.checked["value"]
    assert 0 < brief.checked["second"] < full.checked["second"]


def test_the_brief_suite_looks_at_the_first_case_of_a_composite():
    unit = next(u for u in suite.units() if u.name == "tensordot")
    full, brief = (suite.run(unit, suite.subject(HOST, brief=brief)) for brief in (False, True))
    assert not full.surprises and not brief.surprises
    assert brief.applies == ["value", "reverse", "forward"] and brief.checked["value"] == 1
    assert 0 < brief.checked["reverse"] < full.checked["reverse"]


def test_a_module_without_a_backend_is_refused(stranger):
    with pytest.raises(pg.BackendNotAvailable):
        suite.load("stranger:nothing")


def test_the_plugin_imports_nothing():
    code = "import sys, polygrad_conformance.plugin; print([m for m in ('polygrad', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_plugin_runs_the_suite_from_any_folder(tmp_path):
    code = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "polygrad_conformance"]
    wanted = ["--pg-backend", HOST, "-k", "expm1 or atanh", "--pg-json", "found.json"]
    done = subprocess.run([*code, *wanted], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout and "polygrad conformance" in done.stdout
    assert len(json.loads((tmp_path / "found.json").read_text())["outcomes"]) == 2


def test_planting_leaves_no_trace():
    with planting():

        @pointwise(x=1)
        def planted(xp, x, /):
            return x

        assert resolve(pg.get_backend(HOST).tensors, "planted") is not None
    assert "planted" not in declared.ops
    assert resolve(pg.get_backend(HOST).tensors, "planted") is None
