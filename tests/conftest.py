"""What a run of the tests says at its end: how many were skipped and why, and which files grow long."""

from __future__ import annotations

from collections import Counter

import pytest

_REPORT = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_REPORT] = []


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
