from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from avwapd import cli
from avwapd.feeds.market import Market
from avwapd.feeds.world import Setup
from tests.research import paper

Verify = Callable[..., tuple[int, dict[str, str], str]]


@dataclass(frozen=True)
class Base:
    """One archive that most tests read, the configuration, and the world both mean."""

    market: Market
    archive: Path
    config: Path
    setup: Setup

    def state(self, folder: Path) -> Path:
        """A state folder with this archive."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "archive").symlink_to(self.archive)
        return folder


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return based_on(paper.market(), tmp_path_factory.mktemp("base"))


def based_on(market: Market, folder: Path, extra: str = "") -> Base:
    archive = paper.archive_of(market, folder / "archive")
    config = paper.settings(folder, extra)
    return Base(market, archive, config, paper.setup_of(config, archive))


@pytest.fixture(scope="session")
def undisturbed(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state folder of a run that nothing disturbed; tests do not write into it."""
    return paper.ran(base.setup, base.state(tmp_path_factory.mktemp("run") / "state"))


@pytest.fixture
def verify(base: Base, capsys: pytest.CaptureFixture[str]) -> Verify:
    """avwapd verify on a state folder: exit code, the block by label, everything printed."""

    def run(state: Path, *options: str, config: Path = base.config) -> tuple[int, dict[str, str], str]:
        code = cli.main(["--state-dir", str(state), "verify", "--config", str(config), *options])
        text = capsys.readouterr().out
        lines = text[text.index("Result: ") :].splitlines()
        return code, dict(line.split(": ", 1) for line in lines if not line.startswith("  ")), text

    return run
