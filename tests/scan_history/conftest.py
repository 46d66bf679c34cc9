from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from avwapd import cli
from tests.scan_history.market import furnished

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def whole_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole market; tests only read it."""
    return furnished(tmp_path_factory.mktemp("history"))


@pytest.fixture
def avwapd(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """A command in a folder without a configuration, --state-dir among its words: (exit code, out, err)."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> tuple[int, str, str]:
        code = cli.main([*map(str, words)])
        seen = capsys.readouterr()
        return code, seen.out, seen.err

    return run
