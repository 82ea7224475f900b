"""The suite as tests: one for each unit on each backend."""

import pytest

from polygrad_conformance.plugin import PROPERTY
from polygrad_conformance.suite import Subject, Unit, run, subject, units


def pytest_generate_tests(metafunc):
    """One test for each unit on each backend that the command line names."""
    if "pg_unit" in metafunc.fixturenames:
        metafunc.parametrize("pg_unit", units(), ids=str)
    if "pg_subject" in metafunc.fixturenames:
        names = metafunc.config.getoption("--pg-backend") or ["numpy"]
        metafunc.parametrize("pg_subject", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def pg_subject(request) -> Subject:
    """The backend to test, with its known failures."""
    option = request.config.getoption
    return subject(request.param, tuple(option("--pg-known-failures")), request.param in option("--pg-brief"))


def test_unit(pg_subject: Subject, pg_unit: Unit, record_property):
    """The unit passes on the backend, except where its known failures say otherwise."""
    outcome = run(pg_unit, pg_subject)
    record_property(PROPERTY, outcome.as_dict())
    if outcome.surprises:
        pytest.fail("\n".join(outcome.surprises), pytrace=False)
    if outcome.failures:
        pytest.xfail("; ".join(f"{aspect}: {reason}" for aspect, _, reason in outcome.known))
