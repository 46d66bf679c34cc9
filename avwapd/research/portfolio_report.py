"""A backtest's portfolio in one dict, as portfolio.json and as text for a terminal. Offline and deterministic."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from avwapd.feeds.world import Setup
from avwapd.research import bootstrap
from avwapd.research.portfolio import Curve, Floats, Ints, by_session, calendar_of, measures, plain
from avwapd.research.portfolio_trades import trade_measures, trips, use_measures
from avwapd.research.rolling import rolling
from avwapd.research.trades import Trade

FORMAT = 1
WIDTH = 100


@dataclass(frozen=True)
class Terms:
    """How the figures are made; a year has `bell_year_sessions` where markets have a bell, else `day_year_sessions`."""

    bell_year_sessions: int
    day_year_sessions: int
    risk_free: float
    rolling_sessions: int
    rolling_step: int
    bootstrap_draws: int
    bootstrap_block: float
    seed: int

    @classmethod
    def of(cls, setup: Setup) -> Terms:
        given = setup.config.portfolio
        return cls(
            given.bell_year_sessions,
            given.day_year_sessions,
            given.risk_free_fraction,
            given.rolling_sessions,
            given.rolling_step,
            given.bootstrap_draws,
            given.bootstrap_block,
            setup.config.run.seed,
        )


def portfolio(
    setup: Setup,
    bars: Any,
    begin: int,
    fills: Any,
    trades: Sequence[Trade],
    ts_ms: Ints,
    money: Floats,
    *,
    terms: Terms | None = None,
    holds: Mapping[str, Curve] | None = None,
    random_entry: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything portfolio.json says.

    bars, begin: `in_window`; fills, trades: of the run; ts_ms, money: `equity.curve`; holds: control curves by name,
    in the same sessions; random_entry: `control.against`. Raises ResearchError where the window has no session.
    """
    terms = terms or Terms.of(setup)
    calendar = calendar_of(setup, bars, begin)
    curve = by_session(ts_ms, money, float(setup.params["start_equity"][0]), calendar)
    year = terms.day_year_sessions if calendar.always else terms.bell_year_sessions
    found = trips(trades)
    known = [float(trip.r) for trip in found if trip.r is not None]
    draws, seed, free = terms.bootstrap_draws, terms.seed, terms.risk_free
    return {
        "format": FORMAT,
        "currency": setup.config.equity.currency,
        "year_sessions": year,
        "risk_free_fraction": free,
        "returns": plain(measures(curve, year, free)),
        "trades": plain(trade_measures(found, calendar)),
        "use": plain(use_measures(setup, bars, fills, calendar, curve)),
        "rolling": {
            "sessions": terms.rolling_sessions,
            "step": terms.rolling_step,
            "windows": [
                plain(figures) for figures in rolling(curve, terms.rolling_sessions, terms.rolling_step, year, free)
            ],
        },
        "bootstrap": {
            "returns": bootstrap.of_curve(
                curve, year, draws=draws, block=terms.bootstrap_block, seed=seed, risk_free=free
            ),
            "trades": bootstrap.of_trades(known, draws=draws, seed=seed),
        },
        "controls": {
            **{name: plain(measures(hold, year, free)) for name, hold in (holds or {}).items()},
            **({"random_entry": dict(random_entry)} if random_entry is not None else {}),
        },
    }


def portfolio_json(content: Mapping[str, Any]) -> str:
    """The bytes of portfolio.json; keys in the order of `portfolio`."""
    return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


# -------------------------------------------------------------------- text

PERCENT = "percent"
RETURNS = (
    ("Total return", "total_return", PERCENT),
    ("CAGR", "cagr", PERCENT),
    ("Volatility, a year", "volatility", PERCENT),
    ("Sharpe", "sharpe", "2"),
    ("Sortino", "sortino", "2"),
    ("Calmar", "calmar", "2"),
    ("Maximum drawdown", "max_drawdown", PERCENT),
    ("  from", "drawdown_from", "date"),
    ("  to", "drawdown_to", "date"),
    ("  recovered", "drawdown_recovered", "date"),
    ("  sessions", "drawdown_sessions", "0"),
    ("Longest under water, sessions", "longest_under_water", "0"),
    ("Sessions under water", "under_water", PERCENT),
    ("Best session", "best_session", PERCENT),
    ("Worst session", "worst_session", PERCENT),
)
TRADES = (
    ("Trades", "trades", "0"),
    ("Win rate", "win_rate", PERCENT),
    ("Profit factor", "profit_factor", "2"),
    ("Expectancy, money", "expectancy", "2"),
    ("Expectancy, R", "expectancy_r", "3"),
    ("Average win", "average_win", "2"),
    ("Average loss", "average_loss", "2"),
    ("Payoff", "payoff", "2"),
    ("Net profit, closed", "net_profit", "2"),
    ("Fees", "fees", "2"),
    ("Average hold, sessions", "average_hold_sessions", "1"),
)
USE = (
    ("Sessions with a position", "time_exposure", PERCENT),
    ("Gross exposure, mean", "gross_exposure", PERCENT),
    ("Turnover, a year", "turnover", "2"),
)
SPANS = (("CAGR", "cagr", PERCENT), ("Maximum drawdown", "max_drawdown", PERCENT), ("Sharpe", "sharpe", "2"))
BESIDE = ("total_return", "cagr", "max_drawdown", "sharpe", "sortino")


def portfolio_text(content: Mapping[str, Any]) -> str:
    """Aligned lines of at most 100 columns; `-` and the reason where a figure has no value."""
    returns = content["returns"]
    first, last = (shown(returns.get(name), "date") for name in ("first_date", "last_date"))
    head = f"{first} to {last}, {returns['sessions']} sessions, {content['currency']} {returns['start_equity']:,.2f}"
    lines = [f"{head} -> {shown(returns.get('end_equity'), '2')}", ""]
    for part, names in (("returns", RETURNS), ("trades", TRADES), ("use", USE)):
        lines += [_line(content[part], *name) for name in names]
        lines.append("")
    lines += _spans(content["bootstrap"], content["rolling"])
    lines += _controls(content["controls"], returns)
    return "".join(f"{line[:WIDTH].rstrip()}\n" for line in lines)


def _line(figures: Mapping[str, Any], label: str, name: str, kind: str) -> str:
    value = figures.get(name)
    why = figures["undefined"].get(name, "")
    text = "start" if name == "drawdown_from" and value is None and not why else shown(value, kind)
    return f"{label:<32}{text:>16}" + (f"  ({why})" if why else "")


def _spans(drawn: Mapping[str, Any], moving: Mapping[str, Any]) -> list[str]:
    rows = [(label, drawn["returns"].get(name), kind) for label, name, kind in SPANS]
    rows.append(("Expectancy, R", drawn["trades"].get("expectancy_r"), "3"))
    lines = [f"{'Bootstrap, ' + str(drawn['returns']['draws']) + ' draws':<32}{'5%':>16}{'50%':>16}{'95%':>16}"]
    for label, span, kind in rows:
        lines.append(f"{label:<32}" + "".join(f"{shown((span or {}).get(p), kind):>16}" for p in bootstrap.LEVELS))
    windows = moving["windows"]
    title = f"{len(windows)} windows of {moving['sessions']}"
    lines += ["", f"{title:<32}{'lowest':>16}{'highest':>16}{'newest':>16}"]
    for label, name, kind in SPANS:
        values = [w[name] for w in windows if w[name] is not None]
        ends = (min(values), max(values), windows[-1][name]) if values else (None,) * 3
        lines.append(f"{label:<32}" + "".join(f"{shown(value, kind):>16}" for value in ends))
    return [*lines, ""]


def _controls(controls: Mapping[str, Any], returns: Mapping[str, Any]) -> list[str]:
    holds = {name: figures for name, figures in controls.items() if name != "random_entry"}
    lines = []
    if holds:
        lines.append(f"{'Compared':<20}" + "".join(f"{name.replace('_', ' '):>16}" for name in BESIDE))
        for name, figures in {"strategy": returns, **holds}.items():
            cells = (shown(figures[n], "2" if n in ("sharpe", "sortino") else PERCENT) for n in BESIDE)
            lines.append(f"{name.replace('_', ' ')[:19]:<20}" + "".join(f"{cell:>16}" for cell in cells))
        lines.append("")
    random = controls.get("random_entry")
    if random:
        lines.append(f"{'Random entry, R':<20}" + "".join(f"{name:>16}" for name in ("real", "mean", "p5", "p95", "p")))
        cells = (shown(random[name], "3") for name in ("real", "mean", "p5", "p95", "p_value"))
        lines.append(f"{str(random['draws']) + ' draws':<20}" + "".join(f"{cell:>16}" for cell in cells))
    return lines


def shown(value: Any, kind: str) -> str:
    """A figure for people: percent of 1, a date, or a number of decimals."""
    if value is None:
        return "-"
    if kind == "date":
        return f"{value // 10_000:04d}-{value // 100 % 100:02d}-{value % 100:02d}"
    return f"{value * 100:,.2f}%" if kind == PERCENT else f"{value:,.{kind}f}"
