"""Hard limits: what the engine let through and the rows forbid is DENIED where it is written, and never leaves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import numpy as np
import pytest

from avwapd.config import load
from avwapd.core.codes import CANCEL, FLAT, LIMIT, PURPOSE_ENTRY, SUBMIT
from avwapd.daemon import Daemon
from avwapd.settings import bind, limit_words, limits_in, live_limits
from avwapd.store import ledger
from avwapd.store.database import open_sync
from avwapd.store.limits import Counted, Limits, breach
from avwapd.store.rows import OutboxRow, StepRows
from tests.gates.played import ask
from tests.sim.scenario import NO_FOLDER, Plan
from tests.sim.world import Kill, World, play, world_of

PLAN = Plan(seed=3, symbols=2, sessions=3, barriers=160)
WIDE = {"max_positions": 9, "max_entries_day": 99, "max_gross_notional": 1e9, "max_symbol_notional": 1e9}
DENIED = "SELECT count(*), count(settled_ms), min(note) FROM outbox WHERE state = 'DENIED'"


def limited(**changed: float) -> Limits:
    counted = (Counted(0.01, 1.0),) * 2
    return Limits.of(WIDE | changed, ceiling=1e6, slack=1.001, counted=counted, session_began=lambda ts_ms: 0)


class Strict:
    """Each life has the limits; its engine does not know."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.told: list[str] = []

    def attach(self, daemon: Daemon, world: World) -> None:
        make = daemon._gates

        def gates(venue: Any) -> Any:
            made = make(venue)
            daemon.symbols.limits = self.limits
            daemon.symbols.on_denied = self.told.extend
            return made

        daemon._gates = gates  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (limited(max_symbol_notional=100.0), "over the hard limit of an order"),
        (limited(max_gross_notional=100.0), "over the hard limit of all positions"),
        (limited(max_positions=0), "over the hard limit of positions: 1, at most 0"),
        (limited(max_entries_day=1), "over the hard limit of entries of a session: 2, at most 1"),
        (replace(limited(), order=100.0), "over the hard limit of an order"),
        (replace(limited(), counted=(Counted(0.01, 1.0, -2),) * 2), "nothing tells what the order is worth"),
    ],
)
def test_a_breach_is_denied_where_it_is_written_and_never_leaves(limits: Limits, words: str, tmp_path: Path) -> None:
    strict = Strict(limits)
    with world_of(PLAN, tmp_path, on_daemon=strict.attach) as world:
        found = play(world)
        assert found.violations == []
        count, heard, note = ask(found.path, DENIED)[0]
        assert count == heard == len(strict.told) > 0
        assert words in note
        for (cid,) in ask(found.path, "SELECT cid FROM outbox WHERE state = 'DENIED'"):
            assert world.exchange.look_up(cid) is None
        assert ask(found.path, "SELECT count(*) FROM outbox WHERE state = 'DENIED' AND attempts > 0") == [(0,)]
        alerts = ask(found.path, "SELECT level, what FROM alerts WHERE what LIKE '%hard limit%'")
        assert len(alerts) == count
        assert alerts[0][0] == "critical"
        assert (world.daemon.journal.world.states["phase"] == FLAT).all()  # the machine heard of each


def test_limits_that_hold_change_nothing(tmp_path: Path) -> None:
    strict = Strict(limited())
    with world_of(PLAN, tmp_path / "one", on_daemon=strict.attach) as world:
        one = play(world)
    with world_of(PLAN, tmp_path / "other") as world:
        other = play(world)
    assert one.rows == other.rows
    assert strict.told == []


@pytest.mark.parametrize("event", ["commit", "heard"])
def test_a_kill_between_denial_and_its_news(event: str, tmp_path: Path) -> None:
    unheard = 0
    for number in range(20, 200, 9):
        strict = Strict(limited(max_symbol_notional=100.0))
        folder = tmp_path / str(number)
        with world_of(PLAN, folder, on_daemon=strict.attach) as world:
            found = play(world, kills=[Kill(event, number)])
            assert found.violations == []
            if world.life:
                unheard += ask(folder / "life-0.db", DENIED)[0][0] - ask(folder / "life-0.db", DENIED)[0][1]
            count, heard, _ = ask(found.path, DENIED)[0]
            assert count == heard > 0
            assert (world.daemon.journal.world.states["phase"] == FLAT).all()
    assert unheard > 0, "no kill fell between the two"


# ------------------------------------------------------------------------------------------------ the sums


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[Connection]:
    with closing(open_sync(tmp_path / "avwapd.db")) as conn:
        conn.execute("PRAGMA foreign_keys = OFF")
        for symbol, close in ((0, 100.0), (1, 50.0), (2, 0.5)):
            conn.execute("INSERT INTO bars VALUES (1, ?, 1, 0, ?2, ?2, ?2, ?2, 1)", (symbol, close))
            conn.execute("INSERT INTO bars VALUES (2, ?, 2, 2, NULL, NULL, NULL, NULL, NULL)", (symbol,))
        yield conn


def entry(symbol: int = 0, qty: int = 10, limit: int = 0, ts_ms: int = 10) -> OutboxRow:
    return OutboxRow(ts_ms, symbol, 5, 0, 1, 1, 1, 1, qty, limit, 0, 0, "c", 11)


def order(conn: Connection, symbol: int, intent: int, qty: int, *, state: str, ts_ms: int = 9, filled: int = 0) -> None:
    terms = (symbol, intent, f"o{symbol}-{intent}", qty, ts_ms, filled)
    conn.execute(
        "INSERT INTO orders (symbol_id, intent, cid, purpose, side, type, qty, limit_ticks, stop_ticks, reason, ts_ms,"
        " filled_qty) VALUES (?, ?, ?, 'entry', 'buy', 'limit', ?, 0, 0, '', ?, ?)",
        terms,
    )
    conn.execute(
        "INSERT INTO outbox (symbol_id, intent, kind, cid, created_seq, due_ts_ms) VALUES (?, ?, 'submit', ?, 1, 99)",
        terms[:3],
    )
    for step in ("SENDING", state) if state not in ("NEW", "STALE", "DENIED") else (state,):
        conn.execute("UPDATE outbox SET state = ? WHERE cid = ?", (step, terms[2]))


def held(conn: Connection, symbol: int, qty: int) -> None:
    conn.execute("INSERT INTO positions VALUES (?, 'OPEN', 'long', ?, 0, 0, 0, 0, 0, 1, 0, '', 1)", (symbol, qty))


def over(conn: Connection, row: OutboxRow, **changed: float) -> str:
    counted = (Counted(0.01, 1.0),) * 3 + (Counted(0.01, 1.0, 2), Counted(0.01, 1.0, 2, True), Counted(0.01, 1.0))
    limits = Limits.of(WIDE | changed, ceiling=1e6, slack=1.0, counted=counted, session_began=lambda ts_ms: ts_ms - 5)
    return breach(conn, row, limits)


def test_an_order_is_worth_the_more_of_limit_and_close(conn: Connection) -> None:
    assert over(conn, entry(qty=10), max_symbol_notional=1_000.0) == ""
    assert "an order: 1001" in over(conn, entry(qty=10, limit=10_010), max_symbol_notional=1_000.0)
    assert "an order: 1100" in over(conn, entry(qty=11, limit=1), max_symbol_notional=1_000.0)


def test_a_symbol_counts_what_is_held_and_what_may_still_fill(conn: Connection) -> None:
    held(conn, 0, 4)
    order(conn, 0, 1, 10, state="PARTIAL", filled=8)
    order(conn, 0, 2, 100, state="CANCELED")
    order(conn, 0, 3, 100, state="DENIED")
    assert over(conn, entry(qty=4), max_symbol_notional=1_000.0) == ""
    assert "a symbol: 1100" in over(conn, entry(qty=5), max_symbol_notional=1_000.0)
    assert over(conn, entry(1, qty=20), max_symbol_notional=1_000.0) == ""


def test_gross_and_positions_count_all_symbols(conn: Connection) -> None:
    held(conn, 0, 4)
    order(conn, 1, 1, 10, state="NEW")
    assert over(conn, entry(2, qty=10), max_gross_notional=905.0) == ""
    assert "all positions: 905, at most 904" in over(conn, entry(2, qty=10), max_gross_notional=904.0)
    assert over(conn, entry(1, qty=10), max_positions=2) == ""
    assert "positions: 3, at most 2" in over(conn, entry(2, qty=10), max_positions=2)


def test_entries_of_the_session_that_were_not_denied(conn: Connection) -> None:
    order(conn, 0, 1, 1, state="FILLED", ts_ms=6)
    order(conn, 0, 2, 1, state="REJECTED", ts_ms=6)
    order(conn, 0, 3, 1, state="DENIED", ts_ms=6)
    order(conn, 0, 4, 1, state="FILLED", ts_ms=5)  # the session before
    assert over(conn, entry(), max_entries_day=3) == ""
    assert "3, at most 2" in over(conn, entry(), max_entries_day=2)


def test_the_cancel_of_an_entry_is_never_denied(conn: Connection) -> None:
    limits = limited(max_positions=0)
    asked = entry()._replace(kind=SUBMIT, purpose=PURPOSE_ENTRY, type=LIMIT)
    taken = ledger.record_step(conn, StepRows(1, "bars", 10, effects=[asked]), limits)
    assert len(taken) == 1
    back = asked._replace(kind=CANCEL, intent=6, ref=5, cid="d")
    assert ledger.record_step(conn, StepRows(2, "bars", 11, effects=[back]), limits) == []
    assert conn.execute("SELECT intent, state FROM outbox ORDER BY intent").fetchall() == [(5, "DENIED"), (6, "NEW")]


def test_other_currencies_by_their_pair(conn: Connection) -> None:
    conn.execute("INSERT INTO bars VALUES (1, 3, 1, 0, 40, 40, 40, 40, 1)")
    conn.execute("INSERT INTO bars VALUES (1, 4, 1, 0, 40, 40, 40, 40, 1)")
    assert "an order: 200" in over(conn, entry(3), max_symbol_notional=1.0)
    assert "an order: 800" in over(conn, entry(4), max_symbol_notional=1.0)
    held(conn, 5, 1)
    assert "nothing tells what is held is worth" in over(conn, entry(0, qty=1))


# ------------------------------------------------------------------------------------------------- the settings


def config(**options: str) -> Any:
    words = {"run.mode": "live", "venue.name": "alpaca", "network.allowed": "true"} | {
        name.replace("__", "."): value for name, value in options.items()
    }
    return load(None, folder=NO_FOLDER, environ={}, options=words)


def test_the_first_day_has_its_own_and_never_more() -> None:
    first = live_limits(config())
    assert first == {
        "max_positions": 1,
        "max_entries_day": 1,
        "max_gross_notional": 500.0,
        "max_symbol_notional": 250.0,
        "min_position": 50.0,
    }
    later = live_limits(config(live__first_live="false"))
    assert (later["max_positions"], later["max_symbol_notional"]) == (5, 1_000.0)
    assert live_limits(config(live__first_max_positions="99"))["max_positions"] == 5
    assert live_limits(config(run__mode="paper")) is None
    assert limits_in(limit_words(later)) == later
    assert limits_in("a breach") is None


def test_the_tighter_of_caps_and_limits_binds_the_engine() -> None:
    setup = PLAN.setup
    params = setup.params.copy()
    bind(params, setup.params, live_limits(config()))
    row = params[0]
    assert (row["max_positions"], row["max_entries_day"], row["min_position"]) == (1, 1, 50.0)
    assert (row["max_gross_notional"], row["max_symbol_notional"]) == (500.0, 250.0)
    tight = setup.params.copy()
    tight["max_symbol_notional"], tight["max_positions"] = 100.0, 0
    bind(params, tight, live_limits(config()))
    assert (params[0]["max_symbol_notional"], params[0]["max_positions"]) == (100.0, 0)
    bind(params, setup.params, {})
    assert np.array_equal(params, setup.params)
