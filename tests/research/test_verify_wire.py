"""verify of a run at a remote venue: what came from there is taken in its place, everything else computed again."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from avwapd import cli
from avwapd.store.audit import audit
from avwapd.store.database import open_sync
from tests.research import paper, wire
from tests.research.conftest import Base, Verify

FIRST = "First mismatch (ts_ms or trade index)"


@dataclass(frozen=True)
class Recorded:
    state: Path
    config: Path
    did: frozenset[str]
    revised: dict[tuple[int, int], float]
    late: tuple[int, int]

    def copy(self, folder: Path) -> Path:
        """The run, to be tampered with; with the same archive."""
        state = folder / "state"
        shutil.copytree(self.state, state, symlinks=True)
        return state


@pytest.fixture(scope="module")
def recorded(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    folder = tmp_path_factory.mktemp("wire")
    config = wire.settings(folder)
    setup = paper.setup_of(config, base.archive)
    bars = base.market.bars
    times = np.unique(bars["ts_ms"])
    revised = {}
    for at, symbol in ((170, 0), (340, 1), (341, 1)):
        [row] = bars[(bars["ts_ms"] == times[at]) & (bars["symbol"] == symbol)]
        revised[int(times[at]), symbol] = float(row["high"] if row["high"] > row["close"] else row["low"])
    late = (int(times[240]), 4)
    state = base.state(folder / "state")
    with closing(wire.Wire(setup, state, revised=revised, late=late)) as run:
        run.run()
        did = frozenset(run.did)
    return Recorded(state, config, did, revised, late)


def test_a_run_over_the_wire_equals_its_backtest(recorded: Recorded, verify: Verify) -> None:
    code, block, text = verify(recorded.state, config=recorded.config)
    assert code == 0, text
    assert block["Layer"] == "decisions, trades, replay"
    taken = re.search(r"taken from the record: (.*)", text)
    assert taken is not None
    counts = {name: int(count) for count, name in (part.split(" ", 1) for part in taken[1].split(", "))}
    assert counts["reports of the venue"] > 100
    assert counts["orders refused before the venue"] > 0
    assert counts["adjustments"] >= 6
    assert counts["late marks"] == 10 * len(paper.SYMBOLS)
    assert (counts["failed intervals"], counts["ends of catch-up"], counts["acts"]) == (1, 1, 2)
    assert (counts["bars corrected later"], counts["bars that came too late"]) == (3, 1)
    assert recorded.did >= {"caught up", "held -3", "held +11", "flat +20", "held -2000"}
    found = re.search(r"with the bars corrected later, by the fill model, (\d+) decisions would have been others", text)
    assert found is not None, text
    assert int(found[1]) > 0


def test_the_ledger_of_such_a_run_is_sound(recorded: Recorded) -> None:
    with closing(open_sync(recorded.state / "avwapd.db")) as conn:
        assert audit(conn, account="paper-1", strategy="avwap") == []
        assert conn.execute("SELECT count(*) FROM fills WHERE purpose = 'restate'").fetchone()[0] >= 6


def test_its_trades_can_be_written(recorded: Recorded, tmp_path: Path) -> None:
    out = tmp_path / "trades.csv"
    assert cli.main(["--state-dir", str(recorded.state), "export", "trades", "--out", str(out)]) == 0
    head, *rows = [line.split(",") for line in out.read_text().splitlines()]
    named = [dict(zip(head, row, strict=True)) for row in rows]
    assert {"operator"} < {row["exit_reason"] for row in named}
    assert "adjusted" in {row["entry_reason"] for row in named}
    # What the trades earned is what the fills of the ended ones moved.
    with closing(open_sync(recorded.state / "avwapd.db")) as conn:
        ended = conn.execute("""
            SELECT sum(iif(side = 'buy', -qty, qty) * price_ticks - fee_units) FROM fills
            WHERE (symbol_id, trade) IN (SELECT symbol_id, trade FROM fills WHERE held = 0)
        """).fetchone()[0]
    with_open = {(row["symbol"], row["trade"]) for row in named}
    assert len(with_open) > 5
    closed = sum(round(float(row["pnl"]) * 100) for row in named if (row["symbol"], row["trade"]) in ended_of(recorded))
    assert closed == ended


def ended_of(recorded: Recorded) -> set[tuple[str, str]]:
    with closing(open_sync(recorded.state / "avwapd.db")) as conn:
        rows = conn.execute(
            "SELECT i.symbol, f.trade FROM fills f JOIN instruments i USING (symbol_id) WHERE f.held = 0"
        )
        return {(symbol, str(trade)) for symbol, trade in rows.fetchall()}


def test_the_facts_as_json(recorded: Recorded, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["--state-dir", str(recorded.state), "verify", "--config", str(recorded.config), "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert facts["taken"]["adjustments"] >= 6
    assert any("corrected later" in note for note in facts["notes"])


def test_a_window_of_it(recorded: Recorded, base: Base, verify: Verify) -> None:
    times = np.unique(base.market.bars["ts_ms"])
    window = ("--from", str(times[180]), "--to", str(times[399]))
    code, block, text = verify(recorded.state, *window, config=recorded.config)
    assert (code, block["Window overlap"]) == (0, f"[{times[180]}, {times[399]}]"), text


def test_the_mode_may_have_been_an_option(recorded: Recorded, tmp_path: Path, verify: Verify) -> None:
    told = tmp_path / "told.toml"
    told.write_text(recorded.config.read_text().replace('mode = "paper"\n', ""))
    code, _, text = verify(recorded.state, config=told)
    assert code == 0, text
    assert "differs from the run's" not in text


# ---------------------------------------------------------------- planted differences


@pytest.mark.parametrize(
    ("change", "layer", "field"),
    [
        ("UPDATE decisions SET skip = skip + 1 WHERE ts_ms = (SELECT max(ts_ms) FROM decisions)", "decisions", "skip"),
        ("UPDATE decisions SET level = level + 1e-9 WHERE intent > 9", "decisions", "level"),
        ("DELETE FROM revisions WHERE kind = 'revised' AND symbol_id = 0", "decisions", "close"),
        ("DELETE FROM revisions WHERE kind = 'late'", "decisions", "row"),
        ("UPDATE fills SET price_ticks = price_ticks + 1 WHERE purpose = 'exit'", "trades", "exit_price"),
        ("UPDATE fills SET fee_units = 4 WHERE exec_id LIKE 'hand-%' AND qty = 3", "trades", "fees"),
        ("UPDATE bars SET flags = flags | 1 WHERE ts_ms = (SELECT max(ts_ms) FROM bars)", "decisions", ""),
        ("UPDATE orders SET qty = qty + 1 WHERE purpose = 'stop'", "replay", "order"),
        ("UPDATE transitions SET cause = 'halt' WHERE cause = 'adjusted'", "replay", "transition cause"),
    ],
)
def test_an_edited_record(
    recorded: Recorded, tmp_path: Path, verify: Verify, change: str, layer: str, field: str
) -> None:
    state = recorded.copy(tmp_path)
    paper.execute(state, change)
    code, block, text = verify(state, config=recorded.config)
    if not field:  # an unexplained mark: the folded rows carry it, the decided ones do not
        assert (code, block["Layer"]) == (1, "replay"), text
        return
    assert (code, block["Layer"]) == (1, layer), text
    assert f"{field}: live=" in block[FIRST]


@pytest.mark.parametrize("kind", ["report", "adjust", "act"])
def test_an_input_that_never_was(recorded: Recorded, tmp_path: Path, verify: Verify, kind: str) -> None:
    """What came from outside is believed, but what it led to must follow from it."""
    state = recorded.copy(tmp_path)
    with closing(open_sync(state / "avwapd.db")) as conn:
        query = {
            "report": "kind = 'report' AND body LIKE '%\"kind\":\"filled\"%'",
            "adjust": "kind = 'adjust'",
            "act": "kind = 'act'",
        }[kind]
        seq = conn.execute(f"SELECT seq FROM inputs WHERE {query} ORDER BY seq LIMIT 1").fetchone()[0]
    if kind == "report":
        paper.execute(state, "UPDATE inputs SET body = replace(body, '\"filled\"', '\"acked\"') WHERE seq = ?", seq)
    elif kind == "adjust":
        paper.execute(
            state, "UPDATE inputs SET body = replace(body, '\"fee_units\":', '\"fee_units\":1') WHERE seq = ?", seq
        )
    else:
        paper.execute(state, "UPDATE inputs SET symbol_id = 0 WHERE seq = ?", seq)
    code, _, text = verify(state, config=recorded.config)
    assert code == 1, text


def test_a_bar_that_the_record_lacks(recorded: Recorded, base: Base, tmp_path: Path, verify: Verify) -> None:
    state = recorded.copy(tmp_path)
    at = int(np.unique(base.market.bars["ts_ms"])[500])
    paper.execute(state, "DELETE FROM decisions WHERE ts_ms = ? AND symbol_id = 2", at)
    code, block, _ = verify(state, config=recorded.config)
    assert (code, block[FIRST]) == (1, f"{at} {base.market.symbols[2]} row: live=absent backtest=present")


@pytest.mark.parametrize("at", [20, 500])
def test_an_archive_with_another_bar(recorded: Recorded, base: Base, tmp_path: Path, verify: Verify, at: int) -> None:
    """Also in the warm-up: its bars lead to the first decision."""
    row = base.market.bars[at * len(paper.SYMBOLS)]
    value = round(float(row["close"]) + (0.01 if row["close"] < row["high"] else -0.01), 2)
    moved = paper.changed(base.market, int(row["ts_ms"]), int(row["symbol"]), close=value)
    paper.archive_of(moved, tmp_path / "archive")
    (tmp_path / "avwapd.db").symlink_to(recorded.state / "avwapd.db")
    code, block, text = verify(tmp_path, config=recorded.config)
    assert (code, block["Layer"]) == (1, "decisions"), text
    assert f"{'level' if at < wire.WARM else 'close'}: live=" in block[FIRST]


def test_the_archive_may_still_have_what_the_run_decided_on(
    recorded: Recorded, base: Base, tmp_path: Path, verify: Verify
) -> None:
    market = base.market
    for (ts_ms, symbol), close in recorded.revised.items():
        market = paper.changed(market, ts_ms, symbol, close=close)
    paper.archive_of(market, tmp_path / "archive")
    (tmp_path / "avwapd.db").symlink_to(recorded.state / "avwapd.db")
    code, _, text = verify(tmp_path, config=recorded.config)
    assert code == 0, text
    assert "3 bars corrected later" in text
    assert re.search(r"\d+ decisions would have been others", text)


def test_an_archive_that_grew_since_is_the_same_world(
    recorded: Recorded, base: Base, tmp_path: Path, verify: Verify
) -> None:
    """The sessions of a run at a venue are the whole calendar: no later bar makes its rules others."""
    more = np.array(base.market.bars[-78 * len(paper.SYMBOLS) :])
    more["ts_ms"] += 4 * 86_400_000
    longer = replace(base.market, bars=np.concatenate([base.market.bars, more]))
    paper.archive_of(longer, tmp_path / "archive")
    (tmp_path / "avwapd.db").symlink_to(recorded.state / "avwapd.db")
    code, _, text = verify(tmp_path, config=recorded.config)
    assert code == 0, text
    assert "instruments or sessions are not those of the run" not in text
