"""The pytest plugin: `pytest --pyargs polygrad_conformance --pg-backend NAME` runs the suite against backends.

pytest imports this file in every run of every environment that has polygrad, so nothing else is imported until the suite runs.
"""

import pytest

PROPERTY = "polygrad_conformance"


def pytest_addoption(parser):
    """The options of the suite."""
    group = parser.getgroup("polygrad", "conformance of array backends with polygrad")
    group.addoption(
        "--pg-backend",
        action="append",
        default=[],
        metavar="NAME",
        help="backend to test: an entry-point name, an Array API module, or a module that has a `backend`; may be repeated",
    )
    group.addoption(
        "--pg-known-failures",
        action="append",
        default=[],
        metavar="FILE",
        help="TOML file of failures that are expected, with a reason a line; may be repeated",
    )
    group.addoption(
        "--pg-brief",
        action="append",
        default=[],
        metavar="NAME",
        help="of this backend, second order in the first case of each op only, and the first case alone of each composite: "
        "for one that compiles every new shape",
    )
    group.addoption("--pg-json", metavar="FILE", help="write everything that was found as JSON")
    group.addoption("--pg-markdown", metavar="FILE", help="write the table as Markdown")
    group.addoption("--pg-html", metavar="FILE", help="write the table as one HTML page")


def pytest_configure(config):
    """Gather what the suite's tests find."""
    if not hasattr(config, "workerinput"):  # with several processes, only the one that reports
        config.pluginmanager.register(Gatherer(config), "polygrad_conformance_gatherer")


class Gatherer:
    """Collects outcomes from test reports, in whichever process they were made, and shows them at the end."""

    def __init__(self, config):
        self.config, self.found = config, []

    def pytest_runtest_logreport(self, report):
        """Take the outcome that a test left among its properties."""
        if report.when == "call":
            self.found += [value for name, value in report.user_properties if name == PROPERTY]

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter):
        """Show the table, and write the files that were asked for."""
        if not self.found:
            return
        from polygrad_conformance import report

        option = self.config.getoption
        results = report.Results.of(self.found)
        terminalreporter.section("polygrad conformance")
        terminalreporter.write_line(report.terminal(results))
        report.write(results, option("--pg-json"), option("--pg-markdown"), option("--pg-html"))
