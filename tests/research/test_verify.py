"""verify says PASS for a run that is what it claims, and names the first difference of one that is not."""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from avwapd import cli
from avwapd.core import codes
from avwapd.core.codes import ACT_DRAIN, ACT_FLATTEN, ACT_HALT, ACT_RESUME, BAR_LATE, PURPOSE_ENTRY
from avwapd.feeds.calendar import calendar_version
from avwapd.research.backtest import Result, replay
from avwapd.research.record import opened
from avwapd.store.journal import ALL, Act
from avwapd.store.snapshot import head_of, packed
from tests.research import paper
from tests.research.conftest import Base, Verify, based_on

LABELS = [
    "Result",
    "Run",
    "Layer",
    "Window overlap",
    "First mismatch (ts_ms or trade index)",
    "Hypothesis",
    "Next check",
]
FIRST = LABELS[4]


@pytest.fixture(scope="module")
def history(base: Base) -> Result:
    return replay(base.setup, base.market.bars, 0)


def test_an_undisturbed_run_equals_its_backtest(undisturbed: Path, base: Base, verify: Verify) -> None:
    code, block, text = verify(undisturbed)
    times = base.market.bars["ts_ms"]
    assert (code, list(block), block["Result"]) == (0, LABELS, "PASS")
    assert block["Layer"] == "decisions, trades, replay"
    assert block["Window overlap"] == f"[{times[0]}, {times[-1]}]"
    assert block[FIRST] == "none"
    assert f"decisions: {len(times)} decisions, equal" in text
    assert "taken from the record: nothing" in text
    assert text.splitlines()[-len(LABELS) :] == [f"{name}: {block[name]}" for name in LABELS]
    assert "trades: 0" not in text, "a market without trades proves little"


def test_the_facts_as_json(undisturbed: Path, base: Base, capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.main(["--state-dir", str(undisturbed), "verify", "--config", str(base.config), "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert (code, facts["result"], facts["first_mismatch"], facts["taken"]) == (0, "PASS", None, {})
    assert all(facts["compared"].values())


def test_a_window_of_the_run(undisturbed: Path, base: Base, verify: Verify) -> None:
    times = np.unique(base.market.bars["ts_ms"])
    code, block, text = verify(undisturbed, "--from", str(times[100]), "--to", str(times[299]))
    assert (code, block["Window overlap"]) == (0, f"[{times[100]}, {times[299]}]")
    assert f"decisions: {200 * len(base.market.symbols)} " in text


def refused(capsys: pytest.CaptureFixture[str], state: Path, config: Path, *options: str) -> str:
    """What a verify without a verdict says."""
    assert cli.main(["--state-dir", str(state), "verify", "--config", str(config), *options]) == 78
    seen = capsys.readouterr()
    assert seen.out == ""
    return seen.err


def test_a_window_without_decisions_proves_nothing(
    undisturbed: Path, base: Base, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "decided nothing in the window" in refused(capsys, undisturbed, base.config, "--from", "2031-01-01")


def test_a_run_that_ended_early(base: Base, tmp_path: Path, verify: Verify) -> None:
    until = int(np.unique(base.market.bars["ts_ms"])[200])
    code, block, _ = verify(paper.ran(base.setup, base.state(tmp_path), until=until))
    assert (code, block["Window overlap"]) == (0, f"[{base.market.bars['ts_ms'][0]}, {until}]")


def test_another_configuration_is_refused(
    undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = refused(capsys, undisturbed, paper.settings(tmp_path, "\n[exit]\nr1_fraction = 0.4\n"))
    with opened(undisturbed / "avwapd.db") as record:
        assert f"the run has {record.run().config_hash}" in told
    assert "next: verify with the run's own --config and environment" in told


def test_settings_that_decide_nothing_may_differ(undisturbed: Path, tmp_path: Path, verify: Verify) -> None:
    code, _, text = verify(undisturbed, config=paper.settings(tmp_path, "\n[heartbeat]\ninterval_ms = 2_000\n"))
    assert code == 0
    assert "only in what decides nothing" in text


# ------------------------------------------------------------------ the archive


@pytest.mark.parametrize("field", ["open", "close", "volume"])
def test_one_tick_in_one_archived_bar(
    undisturbed: Path, base: Base, field: str, tmp_path: Path, verify: Verify
) -> None:
    row = base.market.bars[1_003]
    step = 1.0 if field == "volume" else 0.01 if row[field] < row["high"] else -0.01
    value = round(float(row[field]) + step, 2)
    moved = paper.changed(base.market, int(row["ts_ms"]), int(row["symbol"]), **{field: value})
    paper.archive_of(moved, tmp_path / "archive")
    (tmp_path / "avwapd.db").symlink_to(undisturbed / "avwapd.db")
    code, block, text = verify(tmp_path)
    symbol = base.market.symbols[row["symbol"]]
    live, archived = json.dumps(float(row[field])), json.dumps(value)
    assert (code, block["Layer"]) == (1, "decisions")
    assert block[FIRST] == f"{row['ts_ms']} {symbol} {field}: live={live} backtest={archived}"
    assert text.count(f'"ts_ms": {row["ts_ms"]}, "symbol": "{symbol}"') == 2, "both rows follow"


def test_an_archived_bar_without_a_row(undisturbed: Path, base: Base, tmp_path: Path, verify: Verify) -> None:
    """The run was fed an archive that lacked a bar; it came in later."""
    row = base.market.bars[700]

    def lossy(barrier: np.ndarray) -> np.ndarray:
        return barrier[(barrier["ts_ms"] != row["ts_ms"]) | (barrier["symbol"] != row["symbol"])]

    state = paper.ran(base.setup, base.state(tmp_path), bars=lossy)
    code, block, _ = verify(state)
    name = base.market.symbols[row["symbol"]]
    assert code == 1
    assert block[FIRST] == f"{row['ts_ms']} {name} row: live=absent backtest=present"
    assert "dropped at ingestion" in block["Hypothesis"]
    assert block["Next check"] == f"avwapd bars check --exchange demo --timeframe 5m --symbols {name}"


def test_an_archive_that_grew_since(base: Base, tmp_path: Path, verify: Verify) -> None:
    cut = len(base.market.bars) // 2 // len(base.market.symbols) * len(base.market.symbols)
    shorter = based_on(replace(base.market, bars=base.market.bars[:cut]), tmp_path / "then")
    state = paper.ran(shorter.setup, base.state(tmp_path / "state"))
    code, block, text = verify(state, config=shorter.config)
    assert code == 0, text
    assert block["Window overlap"].endswith(f", {base.market.bars['ts_ms'][cut - 1]}]")


# ------------------------------------------------------------- planted drifts


def test_entries_ranked_by_arrival(base: Base, tmp_path: Path, verify: Verify) -> None:
    crowded = based_on(base.market, tmp_path / "crowded", "\n[caps]\nmax_positions = 1\n")
    state = paper.ran(crowded.setup, crowded.state(tmp_path / "state"), journal=paper.ByArrival)
    code, block, _ = verify(state, config=crowded.config)
    assert (code, block["Layer"]) == (1, "decisions")
    assert block["Hypothesis"] == "entries were ranked, sized or blocked in another order"
    honest = paper.ran(crowded.setup, crowded.state(tmp_path / "honest"))
    assert verify(honest, config=crowded.config)[0] == 0


def test_a_forming_bar_was_used(base: Base, tmp_path: Path, verify: Verify) -> None:
    at = int(base.market.bars["ts_ms"][900])

    def early(barrier: np.ndarray) -> np.ndarray:
        if barrier[0]["ts_ms"] == at:
            barrier["close"] = np.round((barrier["open"] + barrier["close"]) / 2, 2)
            barrier["volume"] = np.floor(barrier["volume"] / 2)
        return barrier

    code, block, _ = verify(paper.ran(base.setup, base.state(tmp_path), bars=early))
    assert code == 1
    assert block[FIRST].startswith(f"{at} ASH close: live=")
    assert "a forming one" in block["Hypothesis"]


def test_the_stop_was_ignored_in_the_bar_of_the_fill(
    base: Base, history: Result, tmp_path: Path, verify: Verify
) -> None:
    fill = history.fills[history.fills["purpose"] == PURPOSE_ENTRY][0]
    low = round(float(fill["initial_stop"]) / 100 * 0.9, 2)
    market = paper.changed(base.market, int(fill["ts_ms"]), int(fill["symbol"]), low=low)
    crash = based_on(market, tmp_path / "crash")
    honest = paper.ran(crash.setup, crash.state(tmp_path / "honest"))
    assert verify(honest, config=crash.config)[0] == 0
    with opened(honest / "avwapd.db") as record:
        assert codes.EXIT_STOP in record.fills()["reason"]
    drifted = paper.ran(crash.setup, crash.state(tmp_path / "drifted"), close_early=True)
    code, block, _ = verify(drifted, config=crash.config)
    assert (code, block["Layer"]) == (1, "decisions")
    assert block[FIRST].startswith(f"{fill['ts_ms']} {base.market.symbols[fill['symbol']]} ")
    assert "filled" in block["Hypothesis"]


def test_all_bars_marked_late(base: Base, tmp_path: Path, verify: Verify) -> None:
    def late(barrier: np.ndarray) -> np.ndarray:
        barrier["flags"] |= BAR_LATE
        return barrier

    for mode in ("replay", "paper"):
        state = paper.ran(base.setup, base.state(tmp_path / mode), bars=late, mode=mode)
        code, block, text = verify(state)
        assert code == 1
        assert block[FIRST] == f"{base.market.bars['ts_ms'][0]} ASH flags: live=late backtest="
        assert "taken from the record: nothing" in text
        assert "no recorded downtime" in block["Hypothesis"]


# ------------------------------------------------------ what the record is asked for


def test_late_bars_after_downtime_are_taken_over(base: Base, tmp_path: Path, verify: Verify) -> None:
    """On a real feed; a catch-up has an end, and only what lies before it can be late."""
    times = np.unique(base.market.bars["ts_ms"])
    down, up = times[150], times[170]

    def some_late(barrier: np.ndarray) -> np.ndarray:
        if down < barrier[0]["ts_ms"] <= up:
            barrier["flags"] |= BAR_LATE
        return barrier

    def caught_up(live: paper.Live, ts_ms: int) -> None:
        if ts_ms == up:
            live.take(live.journal.caught_up())
            live.settle()

    state = paper.ran(base.setup, base.state(tmp_path), bars=some_late, after=caught_up, mode="paper")
    code, _, text = verify(state)
    assert code == 0, text
    assert f"taken from the record: {20 * len(base.market.symbols)} late marks, 1 ends of catch-up" in text


def test_acts_of_the_operator_are_taken_over(base: Base, history: Result, tmp_path: Path, verify: Verify) -> None:
    held = history.decisions[history.decisions["phase_after"] == codes.OPEN]
    flatten_at, halt_at = int(held["ts_ms"][5]), int(held["ts_ms"][len(held) // 2])
    acts = {
        flatten_at: [Act(ACT_FLATTEN, int(held["symbol"][5]), False, "operator", "test")],
        halt_at: [Act(ACT_HALT, ALL, False, "operator", "test"), Act(ACT_FLATTEN, ALL, False, "operator", "test")],
        halt_at + 600_000: [
            Act(ACT_RESUME, 0, False, "operator", "test"),
            Act(ACT_DRAIN, ALL, True, "operator", "test"),
        ],
    }

    def say(live: paper.Live, ts_ms: int) -> None:
        for act in acts.get(ts_ms, ()):
            live.act(act)
        live.settle()

    code, _, text = verify(paper.ran(base.setup, base.state(tmp_path), after=say))
    assert code == 0, text
    assert "taken from the record: 5 acts" in text


def test_orders_that_never_left_are_taken_over(base: Base, history: Result, tmp_path: Path, verify: Verify) -> None:
    entry = history.fills[history.fills["purpose"] == PURPOSE_ENTRY][0]
    state = paper.ran(base.setup, base.state(tmp_path), killed=lambda symbol, ts_ms: ts_ms <= entry["ts_ms"])
    code, _, text = verify(state)
    assert code == 0, text
    assert "orders refused before the venue" in text


# ----------------------------------------------------------- an edited ledger


@pytest.mark.parametrize(
    ("change", "layer", "field"),
    [
        ("decisions SET level = level + 1e-9 WHERE ts_ms = (SELECT max(ts_ms) FROM decisions)", "decisions", "level"),
        ("fills SET fee_units = fee_units + 1 WHERE purpose <> 'entry'", "trades", "fees"),
        ("transitions SET qty = qty + 1 WHERE seq = (SELECT max(seq) FROM transitions)", "replay", "transition qty"),
        ("outbox SET due_ts_ms = due_ts_ms + 1 WHERE id = 7", "replay", "request"),
        ("orders SET stop_ticks = stop_ticks + 1 WHERE purpose = 'stop'", "replay", "order"),
        ("snapshots SET sha256 = 'x' WHERE seq = (SELECT max(seq) FROM snapshots)", "replay", "snapshot"),
    ],
)
def test_an_edited_ledger(base: Base, tmp_path: Path, verify: Verify, change: str, layer: str, field: str) -> None:
    state = paper.ran(base.setup, base.state(tmp_path), until=int(np.unique(base.market.bars["ts_ms"])[320]))
    paper.execute(state, f"UPDATE {change}")
    code, block, _ = verify(state)
    assert (code, block["Layer"]) == (1, layer)
    assert f"{field}: live=" in block[FIRST]


def test_the_calendar_is_told(undisturbed: Path) -> None:
    with opened(undisturbed / "avwapd.db") as record:
        assert record.run().calendar_version == calendar_version()


def test_an_older_programs_snapshot_is_no_difference(base: Base, tmp_path: Path, verify: Verify) -> None:
    """It fits another layout of the memory: a start folds the journal instead, and so does verify."""
    state = paper.ran(base.setup, base.state(tmp_path), until=int(np.unique(base.market.bars["ts_ms"])[320]))
    with opened(state / "avwapd.db") as record:
        rows = record.conn.execute("SELECT seq, body FROM snapshots").fetchall()
    for seq, body in rows:
        head, begin = head_of(body)
        older = packed({**head, "layout": "older"}, zlib.decompress(body[begin:]))
        digest = hashlib.sha256(older).hexdigest()
        paper.execute(state, "UPDATE snapshots SET body = ?, sha256 = ? WHERE seq = ?", older, digest, seq)
    code, _, text_ = verify(state)
    assert (len(rows) > 0, code) == (True, 0), text_
