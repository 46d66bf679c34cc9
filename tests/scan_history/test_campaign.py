"""The same parity on all real daily files, with their corporate actions and gaps."""

from __future__ import annotations

from pathlib import Path

import pytest

from avwapd import cli
from avwapd.config import load
from avwapd.feeds.daily import load_daily
from avwapd.paths import resolve
from avwapd.research import historical
from avwapd.scan.errors import ScanError
from avwapd.scan.result import ScanResult
from avwapd.store.universe import Member, save
from avwapd.verbs.backtest_scan import known_of
from avwapd.verbs.scan_work import Asked, scanned
from tests.scan.market import DATA

pytestmark = pytest.mark.campaign
COUNT = 250
WIDE = {"scan.min_volume": "100000", "scan.stale_fraction": "0.4", "scan.allow_short": "true"}
WINDOWS = ((20080102, 20101231), (20130102, 20141231), (20191001, 20210331))  # a crash, both splits of AAPL


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = sorted((DATA / "bars" / "us").glob("*_1d.parquet"))
    if not files:
        pytest.skip("no ../shared/data beside this checkout")
    folder = tmp_path_factory.mktemp("real")
    bars = ["--state-dir", str(folder), "bars"]
    for file in files:
        symbol = file.stem.removesuffix("_1d")
        words = [*bars, "import", str(file), "--exchange", "us", "--symbol", symbol, "--timeframe", "1d"]
        assert cli.main(words) in (0, 2)
    factors = map(str, sorted((DATA / "factors" / "us").glob("*.csv")))
    assert cli.main([*bars, "actions", *factors, "--exchange", "us"]) == 0
    every = [Member(file.stem.removesuffix("_1d"), "", "Energy", 1.0) for file in files]
    for day, leaves in ((20080601, "FB"), (20140301, "BNO"), (20200301, "AIG")):
        save(folder / "universe", day, sorted(member for member in every if member.symbol != leaves))
    return folder


@pytest.mark.parametrize(("first", "last"), WINDOWS)
def test_both_say_the_same_of_every_day(state: Path, first: int, last: int) -> None:
    config, paths = load(folder=Path("/nonexistent"), environ={}, options=WIDE), resolve(str(state))
    market = load_daily(paths.archive, "us")
    dates = historical.session_dates(market, first, last)
    assert len(dates) > COUNT
    candidates = 0
    for told in historical.walk(market, config, known_of(paths, market, Asked()), dates):
        try:
            found = scanned(config, paths, Asked(told.scan_date)).result
        except ScanError as error:
            found = ScanResult(told.scan_date, -1, f"the scan failed: {error.what}", (), (), (), {}, ())
        assert repr(found) == repr(told), told.scan_date
        candidates += len(told.rows)
    assert candidates > 300
