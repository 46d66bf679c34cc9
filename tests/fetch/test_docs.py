"""The page on venues says what the code does: its table of exchanges, its settings, its files."""

from __future__ import annotations

import re

from avwapd.config import load
from avwapd.remote.ccxt_table import ROWS, Row
from tests.tidy.rules import ROOT

PAGE = (ROOT / "docs" / "venues.md").read_text()
SECOND = {"always": "refused", "open": "refused while open", "never": "taken again"}


def line_of(row: Row) -> str:
    found = "yes" if row.can_look_up else "no" if row.look == "none" else "yes, stops not"
    cells = (
        row.name,
        found,
        SECOND[row.refuses],
        "yes" if row.stop else "no",
        "yes" if row.market_buys and row.market_orders else "no",
        "yes" if row.login else "polled",
        "to the listing" if row.candles_deep else f"{row.candles} bars",
    )
    return f"| {' | '.join(cells)} |"


def test_the_table_of_exchanges_is_the_codes() -> None:
    begin, end = PAGE.index("<!-- made from"), PAGE.index("<!-- end -->")
    lines = PAGE[begin:end].splitlines()[3:]
    assert lines == [line_of(row) for name, row in ROWS.items() if name != "alpaca"]


def test_settings_that_are_named_exist() -> None:
    config = load(None)
    named = set(re.findall(r"`(venue|feed|reconcile|network)\.(\w+)", PAGE))
    assert len(named) > 5
    assert [(section, name) for section, name in named if not hasattr(getattr(config, section), name)] == []
    sections = (config.venue, config.feed, config.reconcile)
    alone = {"reserve_calls", "breaker_failures", "breaker_rest_ms", "stale_bars", "naked_limit_s", "settling_ms"}
    assert [name for name in alone if f"`{name}`" not in PAGE or not any(hasattr(s, name) for s in sections)] == []


def test_files_that_are_named_exist() -> None:
    named = set(re.findall(r"(?:etc|docs|avwapd|tests)/[\w/]+(?:\.\w+)?", PAGE)) - {"tests/live"}
    assert {"etc/demo_alpaca.toml", "etc/demo_binance.toml", "avwapd/remote/ccxt_table.py"} <= named
    assert [name for name in named if not (ROOT / name).exists()] == []
