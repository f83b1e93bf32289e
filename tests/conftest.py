"""What all tests share: where the companions lie, and what the run says about skipped tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

SHARED = Path(__file__).resolve().parents[2] / "shared"
GOLDEN = Path(__file__).resolve().parent / "golden"


# A busy machine is no failure: laws are about values, not about time. `make test` takes the same
# examples each time, so that a change is judged by itself; `make test-search` looks for new ones.
settings.register_profile("project", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "project"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of sequences, clips and reference numbers beside the project."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared, which is not beside this clone")
    return SHARED


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network, saved and exported: a bundle for tests of everything but quality."""
    from tests.doubles import make_bundle

    return make_bundle(tmp_path_factory.mktemp("bundles") / "small")


@pytest.fixture(scope="session")
def mixvit_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny MixViT with its score module, saved and exported."""
    from tests.doubles import make_mixvit_bundle

    return make_mixvit_bundle(tmp_path_factory.mktemp("bundles") / "mixvit")


def pytest_report_header() -> str:
    """Say at the start whether the companions were found."""
    return f"shared: {SHARED if SHARED.is_dir() else 'not found, tests that need it are skipped'}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Fail a golden test that skips where it could have run."""
    report = yield
    refuse_golden_skip(report, item.path)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """Fail a golden module that skips itself where it could have run."""
    report = yield
    refuse_golden_skip(report, collector.path)
    return report


def refuse_golden_skip(report: pytest.TestReport | pytest.CollectReport, path: Path) -> None:
    """Turn a skip into a failure: parity that silently stops being tested is lost parity."""
    golden = path.is_relative_to(GOLDEN)
    if report.skipped and golden and SHARED.is_dir() and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"a golden test must not skip while ../shared is here: {report.longrepr}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name every test that did not run; the short summary only counts them."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.section("not run")
        for report in skipped:
            terminalreporter.line(report.nodeid)
