"""Round trips and the use of money: worked by hand, and on a whole backtest against a second way."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from avwapd.config import load
from avwapd.feeds.demo import generate
from avwapd.feeds.world import Setup, build, in_window
from avwapd.research import ResearchError, control, equity
from avwapd.research.backtest import Result, replay
from avwapd.research.portfolio import Calendar, Missing, by_session, calendar_of, plain
from avwapd.research.portfolio_report import WIDTH, portfolio, portfolio_json, portfolio_text
from avwapd.research.portfolio_trades import trade_measures, trips, use_measures
from avwapd.research.trades import Trade, trades

HOUR = 3_600_000
DAY = 24 * HOUR


def leg(number: int, pnl: str, r: str, *, qty: str = "10", part: int = 1, out: int = 2, quote: str = "USD") -> Trade:
    """Entered at the end of day 1, out at the end of day `out`."""
    times, prices = (DAY, out * DAY), ("10", "11")
    head = "us", "AAA", "1d", number, part, "long"
    return Trade(*head, *times, qty, *prices, "scan", "r1", pnl, "1", pnl, r, "0", "0", quote)


def days(count: int) -> Calendar:
    ends = np.arange(1, count + 1, dtype=np.int64) * DAY
    return Calendar(20200100 + np.arange(1, count + 1), ends - DAY, ends, True)


def of(*legs: Trade) -> dict[str, Any]:
    return plain(trade_measures(trips(legs), days(9)))


# ----------------------------------------------------------- worked by hand


def test_legs_of_a_trade_are_one_trip() -> None:
    """10 of 40 sold at 2 R, 30 at 1 R: 1.25 R in all, out with the last leg."""
    (trip,) = trips([leg(1, "20", "2"), leg(1, "30.1", "1", qty="30", part=2, out=4)])
    assert (trip.pnl, trip.fees, trip.r) == (Fraction("50.1"), 2, Fraction(5, 4))
    assert (trip.entry_ts_ms, trip.exit_ts_ms) == (DAY, 4 * DAY)


def test_trades_worked_by_hand() -> None:
    lost = leg(2, "-10", "-0.5", out=3), leg(3, "-20", "-1")
    got = of(leg(1, "30", "1.5"), *lost, leg(4, "0", "0"), leg(5, "15", ""))
    assert (got["trades"], got["wins"], got["losses"], got["win_rate"]) == (5, 2, 2, 0.4)
    assert (got["profit_factor"], got["expectancy"], got["net_profit"]) == (1.5, 3.0, 15.0)
    assert (got["average_win"], got["average_loss"], got["payoff"]) == (22.5, 15.0, 1.5)
    assert (got["largest_win"], got["largest_loss"], got["fees"]) == (30.0, 20.0, 5.0)
    assert (got["expectancy_r"], got["trades_with_r"]) == (0.0, 4)
    assert (got["average_hold_sessions"], got["average_hold_days"]) == (1.2, 1.2)
    assert (got["quote"], got["undefined"]) == ("USD", {})


def test_cents_add_up() -> None:
    assert of(*(leg(n, "0.1", "1") for n in range(10)))["net_profit"] == 1.0
    assert of(*(leg(n, "0.1", "1") for n in range(10)), leg(10, "-1", "-1"))["profit_factor"] == 1.0


@pytest.mark.parametrize(
    ("legs", "missing"),
    [
        ((), {"win_rate": "no trade", "expectancy": "no trade", "quote": "no trade"}),
        ((leg(1, "5", "1"),), {"profit_factor": "no losing trade", "payoff": "no losing trade"}),
        ((leg(1, "-5", "-1"),), {"average_win": "no winning trade", "payoff": "no winning trade"}),
        ((leg(1, "5", ""),), {"expectancy_r": "no trade with a stop behind its entry"}),
        ((leg(1, "5", "1"), leg(1, "5", "", part=2)), {"expectancy_r": "no trade with a stop behind its entry"}),
        ((leg(1, "5", "1"), leg(2, "5", "2", quote="BTC")), {"net_profit": "trades in several currencies: BTC, USD"}),
    ],
)
def test_what_is_not_defined_says_why(legs: tuple[Trade, ...], missing: dict[str, str]) -> None:
    got = of(*legs)
    for name, why in missing.items():
        assert (got[name], got["undefined"][name]) == (None, why), name
    assert set(got) == set(of(leg(1, "5", "1"), leg(2, "-5", "-1")))


# ---------------------------------------------------------- a whole backtest


@dataclass(frozen=True)
class Ran:
    setup: Setup
    bars: Any
    begin: int
    result: Result
    trades: list[Trade]
    ts_ms: Any
    money: Any

    def content(self, **more: Any) -> dict[str, Any]:
        head = self.setup, self.bars, self.begin, self.result.fills, self.trades, self.ts_ms, self.money
        return portfolio(*head, **more)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """300 sessions of hourly bars, the first 100 hours as warm-up."""
    config = load(None, folder=tmp_path_factory.mktemp("none"), environ={})
    config = replace(config, run=replace(config.run, timeframe="1h", seed=5))
    market = generate(("ASH", "ELM", "FIR"), 300, "1h", seed=11)
    setup = build(config, market)
    bars, begin = in_window(market.bars, config)[0], 300
    result = replay(setup, bars, begin)
    found = trades(result.fills, market.symbols, market.instruments, exchange="demo", timeframe="1h")
    return Ran(setup, bars, begin, result, found, *equity.curve(setup, bars, result.fills, result.effects))


def test_the_sessions_of_the_window(ran: Ran) -> None:
    got = calendar_of(ran.setup, ran.bars, ran.begin)
    table = ran.setup.sessions
    first, last = ran.bars["ts_ms"][ran.begin], ran.bars["ts_ms"][-1]
    inside = (table["close_ms"] >= first) & (table["open_ms"] < last)
    assert got.dates.tolist() == table["date"][inside].tolist()
    assert got.ends.tolist() == table["close_ms"][inside].tolist()
    assert not got.always
    with pytest.raises(ResearchError, match="no session lies in that window"):
        calendar_of(ran.setup, ran.bars, len(ran.bars))


@pytest.mark.parametrize(("kind", "always"), [("equity", False), ("crypto", True), ("mixed", True)])
def test_daily_bars_lie_in_their_sessions(kind: str, always: bool, ran: Ran) -> None:
    """Two weeks around a half day: every stamp is the end of its own session."""
    market = generate(("ASH", "BTC-USD"), 14, "1d", seed=3, kind=kind, start="2024-06-28")
    config = replace(ran.setup.config, run=replace(ran.setup.config.run, timeframe="1d"))
    got = calendar_of(build(config, market), market.bars, 0)
    assert got.always is always
    mine = market.bars["ts_ms"][market.bars["symbol"] == int(kind == "mixed")]
    assert got.ends[:14].tolist() == np.unique(mine).tolist()
    assert got.opens[-1] < market.bars["ts_ms"][-1] <= got.ends[-1]
    assert 20240703 in got.dates


def test_the_curve_ends_where_the_run_did(ran: Ran) -> None:
    got = by_session(ran.ts_ms, ran.money, 100_000.0, calendar_of(ran.setup, ran.bars, ran.begin))
    assert got.equity[-1] == ran.money[-1]
    for end, value in zip(calendar_of(ran.setup, ran.bars, ran.begin).ends, got.equity, strict=True):
        before = [m for t, m in zip(ran.ts_ms, ran.money, strict=True) if t <= end]
        assert value == (before[-1] if before else 100_000.0)


def second_way(ran: Ran, calendar: Calendar, money: Any) -> dict[str, float]:
    """Positions carried from session to session, fill by fill."""
    fills, inst = ran.result.fills, ran.setup.instruments
    held: dict[int, int] = {}
    invested, used, traded = 0.0, 0, 0.0
    for i, (start, end) in enumerate(zip([0, *calendar.ends[:-1]], calendar.ends, strict=True)):
        now = fills[(fills["ts_ms"] > start) & (fills["ts_ms"] <= end)]
        used += any(held.values()) or len(now) > 0
        for fill in now:
            unit = float(inst["unit_value"][fill["symbol"]])
            sign = 1 if fill["purpose"] == 1 else -1
            held[int(fill["symbol"])] = held.get(int(fill["symbol"]), 0) + sign * int(fill["qty"])
            traded += int(fill["qty"]) * int(fill["price"]) * unit
        for symbol, lots in held.items():
            rows = ran.bars[(ran.bars["symbol"] == symbol) & (ran.bars["ts_ms"] <= end)]
            invested += lots * float(inst["lot"][symbol]) * float(rows["close"][-1]) / float(money[i])
    count = len(money)
    return {
        "time_exposure": used / count,
        "gross_exposure": invested / count,
        "turnover": traded / 2 / (float(money.sum()) / count),
    }


def test_the_use_of_money_equals_a_second_way(ran: Ran) -> None:
    calendar = calendar_of(ran.setup, ran.bars, ran.begin)
    curve = by_session(ran.ts_ms, ran.money, 100_000.0, calendar)
    got = use_measures(ran.setup, ran.bars, ran.result.fills, calendar, curve)
    expected = second_way(ran, calendar, curve.equity)
    assert len(ran.trades) > 50
    assert 0 < expected["time_exposure"] < 1
    assert got["time_exposure"] == expected["time_exposure"]
    assert got["gross_exposure"] == pytest.approx(expected["gross_exposure"], rel=1e-9)
    assert got["turnover"] == pytest.approx(expected["turnover"] / curve.years(), rel=1e-9)


def test_money_in_another_currency_is_not_added(ran: Ran) -> None:
    instruments = ran.setup.instruments.copy()
    instruments["convert_symbol"][0] = 1
    calendar = calendar_of(ran.setup, ran.bars, ran.begin)
    curve = by_session(ran.ts_ms, ran.money, 100_000.0, calendar)
    got = use_measures(replace(ran.setup, instruments=instruments), ran.bars, ran.result.fills, calendar, curve)
    assert got["turnover"] == Missing("positions are quoted in another currency than the equity")


def test_a_backtests_profit_is_its_trades_and_what_is_open(ran: Ran) -> None:
    """The run ends with one position that has sold nothing yet."""
    got = ran.content()
    fills, names = ran.result.fills, ran.setup.market.symbols
    closed = {(t.symbol, t.trade) for t in ran.trades}
    assert got["trades"]["trades"] == len(closed)
    waiting = [fill for fill in fills if (names[fill["symbol"]], int(fill["trade"])) not in closed]
    profit = 0.0
    for fill in waiting:
        unit = float(ran.setup.instruments["unit_value"][fill["symbol"]])
        price = float(ran.setup.instruments["lot"][fill["symbol"]])
        price *= float(ran.bars["close"][ran.bars["symbol"] == fill["symbol"]][-1])
        profit += int(fill["qty"]) * (price - int(fill["price"]) * unit) - int(fill["fee"]) * unit
    assert len(waiting) == 1
    change = got["returns"]["end_equity"] - got["returns"]["start_equity"]
    assert got["trades"]["net_profit"] + profit == pytest.approx(change, abs=1e-6)


# -------------------------------------------------------------------- files


def test_the_same_run_gives_the_same_bytes(ran: Ran) -> None:
    calendar = calendar_of(ran.setup, ran.bars, ran.begin)
    closes = control.closes_of(ran.setup, ran.bars, calendar, range(3))
    last = [ran.bars[ran.bars["symbol"] == s]["close"][-1] for s in range(3)]
    assert closes[-1].tolist() == last
    holds = {"buy_and_hold": control.buy_and_hold(closes, calendar.dates, 100_000.0)}
    texts = [portfolio_json(ran.content(holds=holds, random_entry=control.against(0.1, [0.2]))) for _ in range(2)]
    assert texts[0] == texts[1]
    again = json.loads(texts[0])
    assert list(again) == [
        *("format", "currency", "year_sessions", "risk_free_fraction", "returns", "trades", "use", "rolling"),
        *("bootstrap", "controls"),
    ]
    assert again["year_sessions"] == 252
    assert again["bootstrap"]["returns"]["draws"] == 1000
    assert len(again["rolling"]["windows"]) == (again["returns"]["sessions"] - 252) // 21 + 1
    assert portfolio_text(again) == portfolio_text(
        ran.content(holds=holds, random_entry=again["controls"]["random_entry"])
    )


def test_the_text_is_aligned_and_says_why(ran: Ran) -> None:
    none = replace(ran.result, fills=ran.result.fills[:0], effects=ran.result.effects[:0])
    quiet = replace(ran, result=none, trades=[], ts_ms=ran.ts_ms[:0], money=ran.money[:0])
    for one in (ran, quiet):
        content = one.content(random_entry=control.against(Missing("no trade"), []))
        lines = portfolio_text(content).splitlines()
        assert max(map(len, lines)) <= WIDTH
        assert {len(line.partition("  (")[0]) for line in lines if line.startswith(("CAGR ", "Trades "))} <= {48, 80}
    assert "Sharpe                                         -  (all sessions return the same)" in lines
    assert "Profit factor                                  -  (no trade)" in lines
    assert "Sessions with a position                   0.00%" in lines
    assert lines[0].endswith("sessions, USD 100,000.00 -> 100,000.00")


def test_text_of_a_drawdown_and_of_a_long_reason(ran: Ran) -> None:
    content = ran.content()
    content["returns"] |= {"max_drawdown": 0.123456, "drawdown_from": None, "drawdown_to": 20240109}
    content["trades"] |= {"payoff": None, "undefined": {"payoff": "because" * 20}}
    text = portfolio_text(content)
    assert max(map(len, text.splitlines())) == WIDTH
    assert "Maximum drawdown                          12.35%\n" in text
    assert "  from                                     start\n" in text
    assert "  to                                  2024-01-09\n" in text
