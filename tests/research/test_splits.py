"""A split inside a run: the engine goes on as if every bar had been in new shares, and the books still add up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avwapd import cli
from avwapd.config import load
from avwapd.core.codes import PURPOSE_RESTATE, PURPOSES
from avwapd.core.records import ACTION, FILL
from avwapd.feeds.demo import generate
from avwapd.feeds.market import Market, due, hash_of
from avwapd.feeds.world import Setup, build
from avwapd.research import equity
from avwapd.research.backtest import actions_in, replay
from avwapd.research.trades import trades

SYMBOLS, SPLIT_SESSION = ("ASH", "ELM"), 12
# So fine that a share is never rounded: what differs then comes from the rules alone.
FINE = {"tick": "0.000001", "lot": "0.000001"}
PRICES = ("open", "high", "low", "close")
KEPT = ("ts_ms", "symbol", "gates_asked", "gates_blocked", "signal", "skip", "exit", "setup", "phase_before")


def config_of(timeframe: str, **options: str) -> Any:
    busy = {
        "run.timeframe": timeframe,
        "gates.entries_per_symbol_day": "5",
        "size.method": "risk_per_trade",
        "anchors.level": "month",
        "exit.time_stop_sessions": "8",
        "signal.require_cross": "false",
        **{name.replace("__", "."): value for name, value in options.items()},
    }
    return load(folder=Path("/nonexistent"), environ={}, options=busy)


def market_of(timeframe: str, sessions: int, terms: Mapping[str, str]) -> Market:
    found = generate(SYMBOLS, sessions, timeframe, 5, start="2024-01-16")
    return replace(found, instruments=tuple({**row, **terms} for row in found.instruments))


def actions_of(setup: Setup, ratio: float) -> Any:
    """The first symbol splits at the open of session SPLIT_SESSION of the market."""
    within = np.searchsorted(setup.sessions["open_ms"], setup.market.bars["ts_ms"][0])
    found = np.zeros(1, ACTION)
    found["ts_ms"] = setup.sessions["open_ms"][within + SPLIT_SESSION]
    found["date"] = setup.sessions["date"][within + SPLIT_SESSION]
    found["price_ratio"] = found["split_ratio"] = ratio
    return found


def raw_of(setup: Setup, ratio: float) -> Setup:
    """The same market as it was told then: before the split in old shares, and the split itself."""
    market, actions = setup.market, actions_of(setup, ratio)
    bars = np.array(market.bars)
    old = (bars["symbol"] == 0) & (bars["ts_ms"] <= actions["ts_ms"][0])
    for name in PRICES:
        bars[name][old] /= ratio
    bars["volume"][old] *= ratio
    return replace(setup, market=replace(market, bars=bars, data_hash=hash_of(bars), actions=actions))


@pytest.mark.parametrize(("timeframe", "sessions"), [("30m", 60), ("1d", 160)])
@pytest.mark.parametrize("ratio", [0.5, 0.25, 2.0])
def test_decisions_are_those_of_adjusted_bars(timeframe: str, sessions: int, ratio: float) -> None:
    """Ratios of two change no bit of a float: levels after the split are equal in bits, before it they are scaled."""
    setup = build(config_of(timeframe), market_of(timeframe, sessions, FINE))
    raw = raw_of(setup, ratio)
    adjusted, told = (replay(side, side.market.bars, 0) for side in (setup, raw))
    assert len(adjusted.fills) > 20
    assert not (adjusted.fills["purpose"] == PURPOSE_RESTATE).any()
    split_ms = int(raw.market.actions["ts_ms"][0])
    old = (told.decisions["symbol"] == 0) & (told.decisions["ts_ms"] <= split_ms)
    scale = np.where(old, ratio, 1.0)
    assert (told.decisions["level"] * scale).tobytes() == adjusted.decisions["level"].tobytes()
    for name in KEPT:
        assert (told.decisions[name] == adjusted.decisions[name]).all(), name


def test_a_position_held_over_a_split_keeps_its_worth() -> None:
    """Real shares and cents: 7 for 1."""
    for session in range(4, 30):
        setup = build(config_of("30m", exit__time_stop_sessions="30"), market_of("30m", 40, {}))
        raw = at_session(setup, session, 1 / 7)
        result = replay(raw, raw.market.bars, 0)
        rows = result.fills[result.fills["purpose"] == PURPOSE_RESTATE]
        if len(rows):
            break
    assert len(rows) == 1
    row = rows[0]
    before = int(row["held"]) - int(row["qty"])
    assert int(row["held"]) == 7 * before
    assert (row["price"], row["fee"]) == (0, 0)
    _, money = equity.curve(raw, raw.market.bars, result.fills, result.effects)
    assert np.abs(np.diff(money)).max() / 100_000 < 0.05  # no jump of six sevenths
    assert money[-1] == pytest.approx(float(result.world.portfolio[0]["equity"]), abs=1e-6)
    found = trades(
        result.fills, raw.market.symbols, raw.market.instruments, exchange="demo", timeframe="30m", setups={}
    )
    over = next(trade for trade in found if trade.symbol == SYMBOLS[0] and trade.exit_ts_ms > row["ts_ms"])
    assert over.entry_ts_ms < row["ts_ms"]
    fills = result.fills[(result.fills["symbol"] == 0) & (result.fills["trade"] == row["trade"])]
    paid = sum(int(f["side"]) * int(f["price"]) * int(f["qty"]) + int(f["fee"]) for f in fills)
    mine = [t for t in found if t.symbol == SYMBOLS[0] and t.entry_ts_ms == over.entry_ts_ms]
    assert sum(Fraction(t.pnl) for t in mine) == Fraction(-paid, 100)


def at_session(setup: Setup, session: int, ratio: float) -> Setup:
    within = np.searchsorted(setup.sessions["open_ms"], setup.market.bars["ts_ms"][0])
    raw = raw_of(setup, ratio)
    actions = raw.market.actions.copy()
    actions["ts_ms"] = setup.sessions["open_ms"][within + session]
    actions["date"] = setup.sessions["date"][within + session]
    bars = np.array(setup.market.bars)
    old = (bars["symbol"] == 0) & (bars["ts_ms"] <= actions["ts_ms"][0])
    for name in PRICES:
        bars[name][old] = np.round(bars[name][old] / ratio, 2)
    bars["volume"][old] *= ratio
    return replace(setup, market=replace(setup.market, bars=bars, data_hash=hash_of(bars), actions=actions))


def test_a_reverse_split_pays_for_what_makes_no_share() -> None:
    setup = build(config_of("30m", exit__time_stop_sessions="30"), market_of("30m", 40, {}))
    for session in range(4, 30):
        raw = at_session(setup, session, 10.0)
        result = replay(raw, raw.market.bars, 0)
        rows = result.fills[result.fills["purpose"] == PURPOSE_RESTATE]
        if len(rows) and rows[0]["fee"]:
            break
    assert len(rows) == 1
    row = rows[0]
    before = int(row["held"]) + int(row["qty"])
    assert int(row["held"]) == before // 10
    assert row["side"] == -1
    bars = raw.market.bars[(raw.market.bars["symbol"] == 0) & (raw.market.bars["ts_ms"] <= row["ts_ms"])]
    last = round(float(bars["close"][-1]) * 10.0 * 100)
    assert -int(row["fee"]) == round(Fraction(before % 10, 10) * last)


def test_a_dividend_moves_lines_and_no_terms() -> None:
    setup = build(config_of("30m"), market_of("30m", 40, {}))
    raw = raw_of(setup, 0.5)
    actions = raw.market.actions.copy()
    actions["price_ratio"], actions["split_ratio"] = 0.98, 1.0
    paid = replace(setup, market=replace(setup.market, actions=actions))
    with_, without = (replay(side, side.market.bars, 0) for side in (paid, setup))
    split_ms = int(actions["ts_ms"][0])
    after = (with_.decisions["symbol"] == 0) & (with_.decisions["ts_ms"] > split_ms)
    first = int(np.flatnonzero(after)[0])
    assert with_.decisions["level"][first] < without.decisions["level"][first]
    assert not (with_.fills["purpose"] == PURPOSE_RESTATE).any()
    assert with_.decisions[~after & (with_.decisions["ts_ms"] <= split_ms)].tobytes() == (
        without.decisions[~after & (without.decisions["ts_ms"] <= split_ms)].tobytes()
    )


def test_actions_lie_before_the_first_bar_of_their_session() -> None:
    actions = np.zeros(4, ACTION)
    actions["ts_ms"] = (5, 20, 20, 99)
    found = list(actions_in(actions, np.array([10, 20, 21, 30])))
    assert [(at, rows["ts_ms"].tolist()) for at, rows in found] == [(2, [20, 20])]
    assert [rows["ts_ms"][0] for rows in due(actions, 9, 21)] == [20]


def test_the_word_for_it_is_known() -> None:
    assert PURPOSES[PURPOSE_RESTATE] == "restate"
    assert FILL["purpose"] == np.dtype("u1")


@pytest.mark.parametrize("speed", ["max"])
def test_a_run_over_a_split_is_verified(tmp_path: Path, speed: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Import raw bars and the split, run the daemon to the end, verify, audit."""
    setup = build(config_of("30m", exit__time_stop_sessions="30"), market_of("30m", 40, {}))
    raw = next(
        side
        for session in range(4, 30)
        if (
            replay(side := at_session(setup, session, 1 / 7), side.market.bars, 0).fills["purpose"] == PURPOSE_RESTATE
        ).any()
    )
    market, state = raw.market, tmp_path / "state"
    for n, symbol in enumerate(market.symbols):
        mine = market.bars[market.bars["symbol"] == n]
        lines = ["ts_ms,open,high,low,close,volume", *(",".join(map(repr, row)) for row in rows_of(mine))]
        (tmp_path / f"{symbol}.csv").write_text("\n".join(lines) + "\n")
        command = ["bars", "import", tmp_path / f"{symbol}.csv", "--exchange", "us", "--symbol", symbol]
        assert ran(state, *command, "--timeframe", "30m") == 0
    day = int(raw.sessions["date"][np.searchsorted(raw.sessions["open_ms"], market.actions["ts_ms"][0])])
    shown = f"{day // 10_000}-{day // 100 % 100:02}-{day % 100:02}"
    (tmp_path / "events.csv").write_text(
        f"symbol,ex_date,price_ratio,split_ratio\n{SYMBOLS[0]},{shown},{1 / 7!r},{1 / 7!r}\n"
    )
    assert ran(state, "bars", "actions", tmp_path / "events.csv", "--exchange", "us") == 0
    (tmp_path / "run.toml").write_text(
        '[run]\nmode = "sim"\nmarket = "archive"\nexchange = "us"\ntimeframe = "30m"\nwarmup_sessions = 0\n'
        "[gates]\nentries_per_symbol_day = 5\n[size]\nmethod = 'risk_per_trade'\n[anchors]\nlevel = 'month'\n"
        "[exit]\ntime_stop_sessions = 30\n[signal]\nrequire_cross = false\n"
    )
    config = ("--config", tmp_path / "run.toml")
    assert ran(state, "run", *config, "--once") == 0
    assert "(restate)" in capsys.readouterr().out
    assert ran(state, "verify", *config) == 0
    assert "Result: PASS" in capsys.readouterr().out
    assert ran(state, "audit") == 0


def rows_of(bars: Any) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = bars[["ts_ms", *PRICES, "volume"]].tolist()
    return found


def ran(state: Path, *words: object) -> int:
    return cli.main(["--state-dir", str(state), *map(str, words)])
