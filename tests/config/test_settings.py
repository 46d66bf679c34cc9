"""Settings reach the core in its units, every one of them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from avwapd.config import Config, load, packaged
from avwapd.config.layers import kinds
from avwapd.core.codes import ANCHOR_MONTH, ANCHOR_SESSION, ANCHOR_SWING_LOW, ANCHOR_USER, LIMIT, MARKET
from avwapd.core.records import ANCHOR_RULE, MAX_ANCHORS, PARAMS
from avwapd.settings import NEVER_MS, anchor_rules, params

MINUTE_MS = 60_000


def configured(text: str, folder: Path) -> Config:
    path = folder / "given.toml"
    path.write_text(text)
    return load(path, folder=folder, environ={})


def of(config: Config, timeframe_ms: int = MINUTE_MS, *, bell: bool = True, currency: str = "USD") -> np.void:
    record = params(config, currency=currency, timeframe_ms=timeframe_ms, bell=bell, unattended=True)
    assert record.shape == (1,)
    assert record.dtype == PARAMS
    return record[0]


def test_the_defaults_in_the_cores_units(tmp_path: Path) -> None:
    p = of(configured("", tmp_path))
    expected = {
        "setup": 1,
        "allow_long": 1,
        "allow_short": 0,
        "require_cross": 1,
        "level_anchor": 0,
        "anchor_count": 1,
        "uses_ring": 0,
        "max_missing_bars": 15,
        "open_delay_ms": 20 * MINUTE_MS,
        "settle_ms": 0,
        "last_entry_ms": 30 * MINUTE_MS,
        "entry_delay_min_ms": 60_000,
        "entry_delay_max_ms": 240_000,
        "confirmation_age_ms": 120 * MINUTE_MS,
        "cooldown_ms": 0,
        "entries_per_symbol_day": 1,
        "volume_ratio": 0.8,
        "max_distance_pct": 6,
        "min_slope": -0.03,
        "max_drift_pct": 3,
        "entry_type": LIMIT,
        "limit_offset_bps": 10,
        "swing_low_factor": 0.995,
        "avwap_stop_factor": 0.997,
        "percent_stop_factor": 0.985,
        "atr_stop_multiple": 1,
        "stop_buffer_usd": 0.1,
        "stop_buffer_bps": 10,
        "guard_pct": 1.5,
        "guard_ms": 20 * MINUTE_MS,
        "guard_bars": 4,
        "open_noise_ms": 15 * MINUTE_MS,
        "early_trend_ms": 60 * MINUTE_MS,
        "close_protect_ms": 30 * MINUTE_MS,
        "structure_bars": 6,
        "trail_pct": 3,
        "r1_multiple": 1,
        "r2_multiple": 2,
        "r1_fraction": 0.5,
        "breakeven_after_r1": 1,
        "invalidation_pct": 0.2,
        "time_stop_sessions": 5,
        "min_hold_ms": 120_000,
        "flatten_before_close_ms": 0,
        "sizing": 0,
        "proxy_fraction": 0.02,
        "proxy_floor": 0.25,
        "proxy_full_pct": 6,
        "max_position_fraction": 0.1,
        "risk_fraction": 0.01,
        "max_risk_per_share": 0,
        "min_position": 1000,
        "start_equity": 100_000,
        "max_positions": 10,
        "max_gross_fraction": 1,
        "max_entries_day": 10_000,
        "drawdown_block": 0.2,
        "daily_loss_block": 0.03,
        "drawdown_sessions": 20,
        "unattended": 1,
        "volume_share": 0.1,
        "ceiling_notional": 1e6,
        "ceiling_gross_fraction": 2,
        "ceiling_entries_day": 10_000,
    }
    assert {name: p[name].item() for name in expected} == expected


def test_switches_turn_their_figure_on(tmp_path: Path) -> None:
    text = """
        [gates]
        cooldown = true
        [exit]
        invalidation = false
        flatten_before_close = true
        [size]
        limit_risk_per_share = true
        method = 'risk_per_trade'
        [order]
        entry_type = 'market'
    """
    p = of(configured(text, tmp_path))
    assert p["cooldown_ms"] == 120 * MINUTE_MS
    assert p["invalidation_pct"] < 0
    assert p["flatten_before_close_ms"] == 5 * MINUTE_MS
    assert p["max_risk_per_share"] == 3
    assert (p["sizing"], p["entry_type"]) == (1, MARKET)


@pytest.mark.parametrize(("timeframe_ms", "bell"), [(MINUTE_MS, False), (86_400_000, True)])
def test_without_a_bell_or_on_daily_bars_no_clock_counts(tmp_path: Path, timeframe_ms: int, bell: bool) -> None:
    p = of(configured("[exit]\nflatten_before_close = true", tmp_path), timeframe_ms, bell=bell)
    clocked = (
        "open_delay_ms",
        "last_entry_ms",
        "entry_delay_max_ms",
        "early_trend_ms",
        "flatten_before_close_ms",
    )
    assert [p[name] for name in clocked] == [0] * len(clocked)
    assert p["confirmation_age_ms"] == NEVER_MS
    assert p["guard_ms"] == 20 * MINUTE_MS


def test_longer_bars_may_miss_fewer(tmp_path: Path) -> None:
    assert of(configured("", tmp_path), 5 * MINUTE_MS)["max_missing_bars"] == 3


def test_a_currency_has_its_start_and_its_ceiling(tmp_path: Path) -> None:
    p = of(configured("", tmp_path), currency="BTC")
    assert (p["start_equity"], p["ceiling_notional"]) == (10, 20)


OTHERS = {  # for each setting of the core's sections, a value that differs from its default
    "anchors.level": "'week'", "anchors.extra": "['swing_low']", "anchors.swing_k": "5",
    "signal.setup": "'reclaim'", "signal.price_source": "'close'", "signal.allow_short": "true",
    "signal.allow_long": "false\nallow_short = true", "size.method": "'risk_per_trade'",
    "anchors.user": "{A = [2024-05-02]}\nextra = ['user']", "gates.cooldown_min": "60\ncooldown = true",
    "exit.flatten_before_close_min": "9\nflatten_before_close = true",
    "size.max_risk_per_share_usd": "2\nlimit_risk_per_share = true", "gates.max_missing_bars_1m": "2",
    "stop.swing_low_factor": "0.9", "stop.avwap_stop_factor": "0.9", "stop.percent_stop_factor": "0.9",
    "gates.min_slope_fraction": "0.5", "exit.r2_multiple": "5", "signal.require_cross": "false",
    "exit.breakeven_after_r1": "false", "exit.invalidation": "false", "gates.cooldown": "true",
    "exit.flatten_before_close": "true", "size.limit_risk_per_share": "true",
    "gates.regime_index": "'SPY'", "gates.earnings": "true", "gates.bad_tickers": "true",
}  # fmt: skip
CORE = ("signal", "anchors", "gates", "stop", "exit", "size", "caps")
ELSEWHERE = {"gates.max_missing_bars"}  # counts on bars above a minute
BEFORE = {"gates.regime_fail_open", "gates.earnings_days"}  # decide before the core hears of the gate
OUTSIDE = {"gates.regime_index", "gates.regime_fail_open", "gates.earnings", "gates.earnings_days", "gates.bad_tickers"}


@pytest.mark.parametrize("key", [key for key in kinds() if key.partition(".")[0] in CORE and key not in OUTSIDE])
def test_every_setting_of_the_core_reaches_it(tmp_path: Path, key: str) -> None:
    section, _, name = key.partition(".")
    plain = configured("", tmp_path)
    now = getattr(getattr(plain, section), name)
    half = f"{now / 2 if isinstance(now, float) else now + 1}" if isinstance(now, int | float) else ""
    value = OTHERS.get(key) or (half if now else "1")
    if key == "caps.max_entries_day":
        value = "7"
    changed = configured(f"[{section}]\n{name} = {value}", tmp_path)
    timeframe_ms = 5 * MINUTE_MS if key in ELSEWHERE else MINUTE_MS
    same_rules = np.array_equal(anchor_rules(plain, ["A"]), anchor_rules(changed, ["A"]))
    assert of(plain, timeframe_ms) != of(changed, timeframe_ms) or not same_rules


# ------------------------------------------------------------------ anchors


def test_line_0_is_the_level(tmp_path: Path) -> None:
    config = configured("[anchors]\nlevel='session'\nextra=['month','swing_low']\nswing_k=4", tmp_path)
    rules = anchor_rules(config, ["A", "B"])
    assert rules.dtype == ANCHOR_RULE
    assert rules["kind"].tolist() == [[ANCHOR_SESSION, ANCHOR_MONTH, ANCHOR_SWING_LOW]] * 2
    assert rules["slot"].tolist() == [[0, 1, 2]] * 2
    assert rules["symbol"].tolist() == [[0] * 3, [1] * 3]
    assert set(rules["k"].ravel()) == {4}
    assert (of(config)["anchor_count"], of(config)["uses_ring"]) == (3, 1)


def test_a_users_anchor_begins_with_the_bar_it_names(tmp_path: Path) -> None:
    text = "[anchors]\nextra=['user']\n[anchors.user]\nA=[1714656900000, '2024-05-02T13:40:00Z']\nB=[2024-05-02]"
    config = configured(text, tmp_path)
    rules = anchor_rules(config, ["A", "B", "C"])
    assert rules["kind"].tolist() == [[ANCHOR_SESSION, ANCHOR_USER, ANCHOR_USER]] * 3
    never = NEVER_MS
    assert rules["from_ms"][:, 1:].tolist() == [
        [1714656900000 - 1, 1714657200000 - 1],
        [1714608000000, never],
        [never, never],
    ]
    assert of(config)["anchor_count"] == 3 <= MAX_ANCHORS


# ------------------------------------------------------------- the file itself


def test_every_setting_is_in_the_file_with_words_or_a_unit() -> None:
    """A name that says its unit needs no more; every other line says what it means."""
    text = packaged("avwapd.toml").read_text()
    units = re.compile(r"_(ms|s|min|bps|pct|fraction|usd|sessions|positions|notional|share|multiple|factor)$")
    for key in kinds():
        name = key.partition(".")[2]
        line = re.search(rf"^(\[.*\.)?{name}(\]| = ).*$", text, re.MULTILINE)
        assert line, key
        assert "#" in line[0] or units.search(name) or re.search("true|false|[0-9]$", line[0]), line[0]
