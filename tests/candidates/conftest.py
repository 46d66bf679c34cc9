from __future__ import annotations

from pathlib import Path

import pytest

from tests.candidates import market
from tests.candidates.files import scan_history, trade
from tests.candidates.market import Place


def furnished(root: Path, *, split: bool = False) -> Place:
    state = market.furnish(root / "state", market.fill(root / "archive", split=split))
    return Place(state, scan_history(state, root / "scan"))


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The market and its candidates; tests only read it."""
    return furnished(tmp_path_factory.mktemp("candidates"))


@pytest.fixture(scope="session")
def split_place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The same market, told in old shares before a split."""
    return furnished(tmp_path_factory.mktemp("split"), split=True)


@pytest.fixture(scope="session")
def daily(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the candidates' backtest on daily bars."""
    return trade(place.state, place.candidates, tmp_path_factory.mktemp("daily") / "bt", market.DAILY)


@pytest.fixture(scope="session")
def hourly(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Likewise on hourly bars."""
    return trade(place.state, place.candidates, tmp_path_factory.mktemp("hourly") / "bt", market.HOURLY)
