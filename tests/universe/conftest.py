from __future__ import annotations

from pathlib import Path

import pytest

from avwapd import cli
from tests.universe.holdings import Run


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """avwapd on a state folder of its own, in a folder without a configuration: (exit code, out, err)."""
    monkeypatch.chdir(tmp_path)

    def avwapd(*words: object) -> tuple[int, str, str]:
        code = cli.main(["--state-dir", str(tmp_path / "state"), *map(str, words)])
        seen = capsys.readouterr()
        return code, seen.out, seen.err

    return avwapd
