from __future__ import annotations

from pathlib import Path

import pytest

from avwapd import cli
from tests.scan_verb.market import Run, fill, furnish


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("daily") / "archive"
    fill(root)
    return root


@pytest.fixture
def state(archive: Path, tmp_path: Path) -> Path:
    furnish(tmp_path / "state", archive)
    return tmp_path / "state"


@pytest.fixture
def run(state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """avwapd on that state folder, in a folder without a configuration: (exit code, out, err)."""
    monkeypatch.chdir(state.parent)

    def avwapd(*words: object) -> tuple[int, str, str]:
        code = cli.main(["--state-dir", str(state), *map(str, words)])
        seen = capsys.readouterr()
        return code, seen.out, seen.err

    return avwapd
