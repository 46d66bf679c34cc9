"""Regime, earnings and bad tickers: the rules alone, then the same verdicts in replay, backtest and verify."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avwapd import cli
from avwapd.core.codes import (
    GATE_BAD_TICKER,
    GATE_EARNINGS,
    GATE_REGIME,
    OUTER_BAD_TICKER,
    OUTER_EARNINGS,
    OUTER_REGIME,
)
from avwapd.feeds.calendar import BELL, all_sessions, stamps_of
from avwapd.feeds.demo import generate
from avwapd.feeds.standing import ALL, Bad, Earning, Index, Known, closed_by, regime_of, standing, turns
from avwapd.store.archive import Archive
from avwapd.store.archive_file import as_table
from avwapd.store.instruments import Instrument, Instruments

SESSIONS = all_sessions(BELL)
SYMBOLS = ("ASH", "ELM", "FIR", "OAK")
FIRST = 20240116
COUNT = 14


def index(closes: Any, opens: Any = None, spread: Any = 1.0, begin: int = 5_000, ratio: Any = None) -> Index:
    closes = np.asarray(closes, float)
    opens = closes if opens is None else np.asarray(opens, float)
    half = np.broadcast_to(np.asarray(spread, float) / 2, closes.shape)
    ones = np.ones(len(closes)) if ratio is None else np.asarray(ratio, float)
    rows = np.arange(begin, begin + len(closes))
    return Index("IDX", rows, opens, closes + half, closes - half, closes, ones)


def plain_regime(found: Index) -> str:
    """The same rules read once more, bar by bar, in plain Python."""
    bars = list(zip(found.open, found.high, found.low, found.close, strict=True))[-18:]
    if len(bars) < 11:
        return "DEFENSIVE"
    closes = [bar[3] for bar in bars]
    change = sum(closes[-5:]) / 5 - sum(closes[-6:-1]) / 5
    adverse = 0
    for back in range(1, 9):
        day = len(bars) - back
        if day < 10:
            continue
        mean = sum(bar[1] - bar[2] for bar in bars[day - 10 : day]) / 10
        opened, high, low, close = bars[day]
        adverse += (high - low) >= 1.5 * mean and close < opened
    if change <= -0.20 or adverse >= 3:
        return "OFF"
    return "DEFENSIVE" if change <= 0 or adverse else "NORMAL"


def test_the_regime_equals_a_plain_reading_on_a_thousand_markets() -> None:
    seen = set()
    for seed in range(1_000):
        rng = np.random.default_rng(seed)
        length = int(rng.integers(8, 30))
        closes = 50 + np.cumsum(rng.normal(0.05, rng.choice([0.05, 0.3, 1.0]), length))
        opens = closes + rng.normal(0, 0.3, length)
        spread = rng.choice([0.5, 1.0, 1.6, 3.0], length)
        found = index(closes, opens, spread)
        wanted = plain_regime(found)
        assert regime_of(found, 5_000 + length)[0] == wanted, seed
        seen.add(wanted)
    assert seen == {"OFF", "DEFENSIVE", "NORMAL"}


@pytest.mark.parametrize(
    ("step", "wanted"), [(-1.01, "OFF"), (-0.99, "DEFENSIVE"), (0.0, "DEFENSIVE"), (0.01, "NORMAL")]
)
def test_the_mean_falls_by_a_fifth_of_the_last_step(step: float, wanted: str) -> None:
    closes = np.full(18, 100.0)
    closes[-1] += step  # the 5-day mean moves by a fifth of it
    assert regime_of(index(closes), 5_018)[0] == wanted


def test_tomorrow_is_not_looked_at_and_a_hole_is_unknown() -> None:
    rising = 100 + np.arange(30.0)
    found = index(rising)
    falling = rising.copy()
    falling[20:] = 1.0
    for session in range(5_011, 5_020):
        assert regime_of(found, session) == regime_of(index(falling), session)
    assert regime_of(found, 5_031)[0] == "UNKNOWN"  # 5_030 has no bar
    assert regime_of(found, 5_010)[0] == "DEFENSIVE"  # ten bars
    assert regime_of(found, 5_011)[0] == "NORMAL"


def test_a_split_of_the_index_is_no_fall() -> None:
    closes = 100 + 0.1 * np.arange(30.0)
    closes[15:] /= 4
    ratio = np.ones(30)
    ratio[15] = 0.25
    assert all(regime_of(index(closes, ratio=ratio), session)[0] == "NORMAL" for session in range(5_011, 5_015))
    spread = np.where(np.arange(30) < 15, 1.0, 0.25)
    split = index(closes, spread=spread, ratio=ratio)
    assert all(regime_of(split, session)[0] == "NORMAL" for session in range(5_011, 5_031))


def test_earnings_and_bad_tickers_by_the_day() -> None:
    known = Known(
        earnings={"ASH": [Earning(20240118, 20240110)], "ELM": [Earning(20240118, 20240118)], "ZZZ": [Earning(1, 1)]},
        earnings_days=2,
        bad=[Bad("OAK", "fraud", 20240117, 20240117), Bad("NONE", "x", 0, 99_999_999)],
    )
    told = {}
    for day in (20240112, 20240116, 20240117, 20240118, 20240119):
        session = int(np.searchsorted(SESSIONS["date"], day))
        told[day] = standing(known, SYMBOLS, session, day)
    assert (0, OUTER_EARNINGS) not in told[20240112]
    assert [(0, OUTER_EARNINGS) in told[day] for day in (20240116, 20240117, 20240118, 20240119)] == [1, 1, 1, 0]
    assert not any((1, OUTER_EARNINGS) in closed for closed in told.values())  # nobody knew before the day
    assert [(3, OUTER_BAD_TICKER) in closed for closed in told.values()] == [0, 0, 1, 0, 0]


def test_turns_say_what_each_session_finds() -> None:
    known = Known(
        index=index(100 + np.cumsum(np.random.default_rng(3).normal(0, 1, 60)), begin=5_000),
        index_wanted="IDX",
        earnings={"FIR": [Earning(int(SESSIONS["date"][5_020]), 19000101)]},
        earnings_days=3,
    )
    first, last = int(SESSIONS["open_ms"][5_012]) + 1, int(SESSIONS["close_ms"][5_050])
    found = turns(known, SYMBOLS, SESSIONS, first, last)
    assert len({turn.gate for turn in found}) == 2
    for session in range(5_012, 5_051):
        wanted = standing(known, SYMBOLS, session, int(SESSIONS["date"][session]))
        assert closed_by(found, int(SESSIONS["open_ms"][session]) + 1).keys() == wanted.keys()


@pytest.mark.parametrize(("fail_open", "closed"), [(True, False), (False, True)])
def test_without_bars_the_setting_decides(fail_open: bool, closed: bool) -> None:
    known = Known(index=None, index_wanted="IDX", fail_open=fail_open)
    assert ((ALL, OUTER_REGIME) in standing(known, SYMBOLS, 5_000, 20240116)) == closed


# --------------------------------------------------------------- replay, backtest, verify

CONFIG = """\
[run]
mode = "sim"
exchange = "demo"
timeframe = "5m"
[gates]
regime_index = "SPY"
earnings = true
bad_tickers = true
entries_per_symbol_day = 20
volume_ratio = 0.0
[signal]
require_cross = false
[size]
method = "risk_per_trade"
"""


def index_bars(root: Path) -> Index:
    begin = int(np.searchsorted(SESSIONS["date"], FIRST)) - 25
    rng = np.random.default_rng(8)
    close = 400 + np.cumsum(rng.normal(0.3, 0.6, 25 + COUNT))
    opened = close - rng.normal(0.1, 0.3, len(close))
    high, low = np.maximum(opened, close) + 1.0, np.minimum(opened, close) - 1.0
    rows = slice(begin, begin + len(close))
    columns = {"ts_ms": stamps_of(BELL, SESSIONS)[rows], "open": opened, "high": high, "low": low, "close": close}
    Archive(root).write("us", "1d", as_table("SPY", columns | {"volume": np.full(len(close), 1e6)}))
    return Index("SPY", np.arange(begin, rows.stop), opened, high, low, close, np.ones(len(close)))


def shown(day: int) -> str:
    return date(day // 10_000, day // 100 % 100, day % 100).isoformat()


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Known]:
    folder = tmp_path_factory.mktemp("standing")
    root = folder / "archive"
    market = generate(SYMBOLS, COUNT, "5m", 7, start=shown(FIRST))
    columns = {name: market.bars[name] for name in ("ts_ms", "open", "high", "low", "close", "volume")}
    Instruments(root).add({(row["exchange"], row["symbol"]): Instrument(**row) for row in market.instruments})
    Archive(root).write("demo", "5m", as_table([market.symbols[i] for i in market.bars["symbol"]], columns))
    found = index_bars(root)
    day = date.fromisoformat(shown(FIRST)) + timedelta(days=8)
    (folder / "lists").mkdir()
    (folder / "lists" / "earnings.csv").write_text(
        f"# imported 2023-12-01\nsymbol,date,known_date,when\nASH,{day},2023-12-01,\n"
    )
    (folder / "lists" / "bad_tickers.csv").write_text(
        f"# imported 2023-12-01\nsymbol,reason,from,to\nOAK,halted,{day},{day + timedelta(days=2)}\n"
    )
    (folder / "given.toml").write_text(CONFIG)
    number = int(day.isoformat().replace("-", ""))
    last = int((day + timedelta(days=2)).isoformat().replace("-", ""))
    known = Known(found, "SPY", True, {"ASH": [Earning(number, 20231201)]}, 2, [Bad("OAK", "halted", number, last)])
    return folder, known


def command(folder: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "avwapd", "--state-dir", str(folder), "--config", str(folder / "given.toml"), *words]


def ledger_rows(folder: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(f"file:{folder}/avwapd.db?mode=ro", uri=True)) as conn:
        return conn.execute(sql).fetchall()


@pytest.fixture(scope="module")
def ran(state: tuple[Path, Known]) -> tuple[Path, Known]:
    """A replay that was killed on its way and went on."""
    folder, _ = state
    words = command(folder, "run", "--replay", "--once", "--speed", "20000")
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and child.poll() is None:
        if (folder / "avwapd.db").exists():
            try:
                if ledger_rows(folder, "SELECT count(*) FROM decisions")[0][0] > 1_500:
                    break
            except sqlite3.Error:
                pass
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait(10)
    done = subprocess.run(
        command(folder, "run", "--replay", "--once", "--speed", "max"), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return state


def test_replay_killed_and_resumed_decides_as_the_rules_and_the_backtest(
    ran: tuple[Path, Known], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, known = ran
    expected = {GATE_REGIME: 0, GATE_EARNINGS: 0, GATE_BAD_TICKER: 0}
    rows = ledger_rows(folder, "SELECT ts_ms, symbol_id, gates_asked, gates_blocked, intent FROM decisions")
    for ts_ms, symbol, asked, blocked, intent in rows:
        session = int(np.searchsorted(SESSIONS["close_ms"], ts_ms))
        closed = standing(known, SYMBOLS, session, int(SESSIONS["date"][session]))
        for gate, place in (
            (GATE_REGIME, (ALL, OUTER_REGIME)),
            (GATE_EARNINGS, (symbol, OUTER_EARNINGS)),
            (GATE_BAD_TICKER, (symbol, OUTER_BAD_TICKER)),
        ):
            assert asked >> gate & 1
            assert bool(blocked >> gate & 1) == (place in closed)
            expected[gate] += place in closed
            assert not (place in closed and intent)
    assert all(expected.values()), expected
    assert any(intent for *_, intent in rows), "no entry at all: the gates would prove nothing"
    gates = ledger_rows(folder, "SELECT gate, symbol, closed, reason FROM gates ORDER BY id")
    assert {gate for gate, *_ in gates} == {"regime", "earnings", "bad_ticker"}
    assert all(reason for *_, reason in gates)

    code = cli.main(["--state-dir", str(folder), "--config", str(folder / "given.toml"), "verify"])
    text = capsys.readouterr().out
    assert code == 0, text
    assert "acts" not in text  # computed anew, not taken over


def test_verify_sees_another_list(ran: tuple[Path, Known], capsys: pytest.CaptureFixture[str]) -> None:
    """The same record beside a list that was changed since is no longer equal."""
    folder, _ = ran
    path = folder / "lists" / "bad_tickers.csv"
    before = path.read_text()
    try:
        path.write_text("# imported 2023-12-01\nsymbol,reason,from,to\nFIR,other,2024-01-16,2024-01-30\n")
        code = cli.main(["--state-dir", str(folder), "--config", str(folder / "given.toml"), "verify"])
        assert code == 1
        assert "gates_blocked" in capsys.readouterr().out
    finally:
        path.write_text(before)


def test_the_backtest_says_it_in_its_rows(state: tuple[Path, Known], tmp_path: Path) -> None:
    folder, _ = state
    out = tmp_path / "out"
    done = subprocess.run(
        command(folder, "backtest", "--exchange", "demo", "--symbols", "ASH,ELM,FIR,OAK", "--timeframe", "5m", "--out",
                str(out)),
        capture_output=True, text=True, timeout=120, env={**os.environ},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    header, *lines = (out / "decisions.csv").read_text().splitlines()
    column = header.split(",").index("blocked_reason") if "blocked_reason" in header else None
    assert any("regime" in line for line in lines), (header, column)
    assert any("earnings" in line for line in lines)
    manifest = json.loads((out / "backtest_run_manifest.json").read_text())
    assert manifest["run_id"]
