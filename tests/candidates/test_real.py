"""Candidates of recorded days, traded on the recorded days and hours, over Apple's split of 2020."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avwapd.feeds.calendar import BELL, all_sessions
from tests.candidates.files import avwapd, entries, listed, portfolio, same_order
from tests.candidates.files import table as csv_rows
from tests.candidates.market import iso
from tests.real.runs import DATA

pytestmark = pytest.mark.campaign

SYMBOLS = ("AAPL", "BAC", "IBM", "SPY")
WINDOW = ("--start", "2020-06-01", "--end", "2020-12-31")
CONFIG = "[size]\nmethod = 'risk_per_trade'\n[portfolio]\nrandom_entry_draws = 3\nbootstrap_draws = 20\n"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = {(s, tf): DATA / "us" / f"{s}_{tf}.parquet" for s in SYMBOLS for tf in ("1d", "1h")}
    factors = [DATA.parent / "factors" / "us" / f"{symbol}.csv" for symbol in SYMBOLS]
    missing = [path.name for path in (*files.values(), *factors) if not path.exists()]
    if missing:
        pytest.skip(f"recorded bars are not on this machine: {', '.join(missing)}")
    state = tmp_path_factory.mktemp("real") / "state"
    state.mkdir()
    (state / "avwapd.toml").write_text(CONFIG)
    for (symbol, timeframe), path in files.items():
        words = ("import", path, "--exchange", "us", "--symbol", symbol, "--timeframe", timeframe)
        assert avwapd(state, "bars", *words) == 0
    assert avwapd(state, "bars", "actions", *factors, "--exchange", "us") == 0
    return state


@pytest.mark.parametrize("timeframe", ["1d", "1h"])
def test_recorded_candidates_trade_at_their_levels(state: Path, tmp_path: Path, timeframe: str) -> None:
    words = ("--mode", "historical_scan", "--rules-only", *WINDOW, "--out", tmp_path / "scan")
    assert avwapd(state, "backtest", *words) == 0
    candidates = tmp_path / "scan/historical_candidates.parquet"
    rows = listed(candidates)
    given = ("--candidates", candidates, "--timeframe", timeframe, *WINDOW, "--out", tmp_path / "bt")
    assert avwapd(state, "backtest", *given) == 0
    table = all_sessions(BELL)
    actions = csv_rows(state / "archive/us/actions.csv")
    ratios = {(row["symbol"], row["ex_date"]): float(row["price_ratio"]) for row in actions}
    assert ratios["AAPL", "2020-08-31"] == pytest.approx(0.25, rel=1e-3)
    checked = 0
    for entry in entries(tmp_path / "bt"):
        if timeframe == "1h" and entry["gate_watchlist_stale"] != "pass":
            continue
        at = int(np.searchsorted(table["open_ms"], int(entry["ts_ms"]))) - 1
        day = int(table["date"][at if timeframe == "1d" else at - 1])
        row, traded = rows[entry["symbol"], day], iso(int(table["date"][at]))
        if timeframe == "1h" and (entry["symbol"], traded) in ratios:  # its levels are in that day's prices
            level = row["entry_level"] * ratios[entry["symbol"], traded]
            assert float(entry["avwap"]) == pytest.approx(level, rel=1e-9)
        else:
            assert all(found == wanted for _, found, wanted in same_order(entry, row)), entry
        checked += 1
    assert checked >= 5
    controls = portfolio(tmp_path / "bt")["controls"]
    assert controls["random_entry"]["draws"] == 3
    assert -0.1 < controls["buy_and_hold"]["worst_session"] < 0.0
    assert {symbol for symbol, _ in rows} >= {"AAPL", "SPY"}
