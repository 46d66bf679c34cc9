"""What a run of the tests says at its end: how many were skipped and why, and which files grow long."""

from __future__ import annotations

from collections import Counter

import pytest

_REPORT = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_REPORT] = []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What plays a market against the wall's clock, in processes of its own, is a campaign: beside other tests a busy
    machine decides what is late. tests/actors_router steps the same wire bar by bar, and runs always."""
    for item in items:
        if item.path.parent.name.startswith("wire") and item.path.name != "test_explain.py":
            item.add_marker(pytest.mark.campaign)


@pytest.fixture
def house_report(request: pytest.FixtureRequest) -> list[str]:
    """Lines to show after the run, whatever its outcome."""
    return request.config.stash[_REPORT]


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else str(report.longrepr)
        for report in skipped
    )
    for line in config.stash[_REPORT]:
        terminalreporter.write_line(line)
    terminalreporter.write_line(f"skips: {len(skipped)}")
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"  {count} × {reason}")
