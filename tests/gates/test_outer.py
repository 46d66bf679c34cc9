"""Every outer gate in the running daemon: it stops what opens, never what leaves; and it is told."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from avwapd.core.codes import OPEN, OUTER_DISK, OUTER_GATES, OUTER_MODE, OUTER_VENUE
from avwapd.daemon import Daemon
from avwapd.store.database import open_sync
from avwapd.store.gates import gates_now, outer_at, outer_words
from tests.gates.played import after_each_bar, ask
from tests.sim.scenario import Plan
from tests.sim.world import Kill, play, world_of

PLAN = Plan(seed=3, symbols=2, sessions=3, barriers=160)
CLOSED = "SELECT seq, ts_ms FROM gates WHERE gate = ? AND closed ORDER BY id LIMIT 1"
ENTRIES = "SELECT count(*) FROM outbox x JOIN orders o USING (symbol_id, intent) WHERE o.purpose = 'entry'"
LEFT = "SELECT count(*) FROM fills WHERE purpose IN ('stop', 'trim', 'exit') AND seq > ?"


@pytest.mark.parametrize("gate", range(len(OUTER_GATES)), ids=OUTER_GATES)
def test_an_exit_leaves_while_a_gate_is_closed(gate: int, tmp_path: Path) -> None:
    async def close(daemon: Daemon) -> None:
        if (daemon.journal.world.states["phase"] == OPEN).any():
            await daemon.gates.turn(gate, True, "a test closes it")

    with world_of(PLAN, tmp_path, on_daemon=after_each_bar(close)) as world:
        found = play(world)
        assert found.violations == []
        [(seq, _)] = ask(found.path, CLOSED, OUTER_GATES[gate])
        assert ask(found.path, f"{ENTRIES} AND x.created_seq > ?", seq) == [(0,)]
        assert ask(found.path, LEFT, seq)[0][0] > 0
        assert ask(found.path, "SELECT count(*) FROM positions WHERE qty > 0") == [(0,)]
        [facts] = [row for row in world.daemon.gates.facts()["closed"] if row["gate"] == OUTER_GATES[gate]]
        assert facts["reason"] == "a test closes it"
        assert world.daemon.gates.status() == ("closed", f"{OUTER_GATES[gate]}: a test closes it")


def test_an_undisturbed_run_has_no_gate_in_its_journal(tmp_path: Path) -> None:
    with world_of(PLAN, tmp_path) as world:
        found = play(world)
        assert ask(found.path, "SELECT count(*) FROM gates") == [(0,)]
        assert ask(found.path, "SELECT count(*) FROM inputs WHERE kind = 'act'") == [(0,)]
        assert ask(found.path, ENTRIES)[0][0] > 0
        assert world.daemon.gates.facts()["status"] == "open"


def test_a_dry_run_decides_and_opens_nothing_and_the_next_mode_opens_its_gate(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dry = replace(PLAN, options={"run.mode": "dry-run"})
    logging.getLogger("avwapd").propagate = True
    with caplog.at_level(logging.INFO, "avwapd.gates"), world_of(dry, tmp_path) as world:
        found = play(world)
    assert ask(found.path, ENTRIES) == [(0,)]
    assert ask(found.path, "SELECT mode FROM runs") == [("dry-run",)]
    assert ask(found.path, "SELECT gate, closed FROM gates") == [("mode", 1)]
    assert ask(found.path, "SELECT count(*) FROM decision_words WHERE instr(blocked, 'live') = 0") == [(0,)]
    assert 'Gate mode=dry-run status=closed reason="mode: mode dry-run opens nothing"' in caplog.messages
    with world_of(PLAN, tmp_path / "other") as world:
        world.path.write_bytes(found.path.read_bytes())
        again = play(world)
    assert ask(again.path, "SELECT gate, closed FROM gates ORDER BY id") == [("mode", 1), ("mode", 0)]


def test_what_is_closed_stays_closed_over_a_kill_with_its_reason(tmp_path: Path) -> None:
    async def close(daemon: Daemon) -> None:
        if daemon.journal.seq > 20:
            await daemon.gates.turn(OUTER_DISK, True, "a test", symbol=1)

    def facts(daemon: Daemon) -> list[object]:
        return [row for row in daemon.gates.facts()["closed"] if row["gate"] == "disk"]

    with world_of(PLAN, tmp_path, on_daemon=after_each_bar(close)) as world:
        play(world, kills=[Kill("folded", 60)])
        assert world.life == 1
        [row] = facts(world.daemon)
        assert (row["symbols"], row["which"], row["reason"]) == (1, ["S1"], "a test")
        assert ask(world.path, "SELECT count(*) FROM gates") == [(1,)]
        blocked = "SELECT count(*) FROM outbox WHERE symbol_id = 1 AND created_seq > (SELECT min(seq) FROM gates)"
        assert ask(world.path, blocked + " AND kind = 'submit'")[0][0] <= 1  # the exit of what was held
        conn = open_sync(world.path)
        assert [each.reason for each in gates_now(conn)] == ["a test"]
        conn.close()


def test_a_decision_knows_which_gates_were_closed_then(tmp_path: Path) -> None:
    async def turn(daemon: Daemon) -> None:
        count = daemon.bars.turns
        await daemon.gates.turn(OUTER_VENUE, 20 <= count < 40, "away" if count < 40 else "back")
        await daemon.gates.turn(OUTER_MODE, count >= 30, "late", symbol=1)

    with world_of(PLAN, tmp_path, on_daemon=after_each_bar(turn)) as world:
        found = play(world)
    times = [ts_ms for (ts_ms,) in ask(found.path, "SELECT DISTINCT ts_ms FROM decisions ORDER BY ts_ms")]
    conn = open_sync(found.path)

    def told(symbol: str, at: int) -> list[tuple[str, str]]:
        return [(row["gate"], row["reason"]) for row in outer_at(conn, symbol, times[at])]

    assert [told("S0", at) for at in (19, 20, 39, 40)] == [[], [("venue", "away")], [("venue", "away")], []]
    assert told("S1", 35) == [("venue", "away"), ("mode", "late")]
    assert told("S1", 50) == [("mode", "late")]
    assert outer_words(outer_at(conn, "S1", times[50])) == "mode: late"
    assert outer_words([]) == "none"
    assert outer_at(conn, "S1", 1) == []
    conn.close()


def test_drawdown_and_daily_loss_end_by_hand(tmp_path: Path) -> None:
    seen = []

    async def block(daemon: Daemon) -> None:
        port = daemon.journal.world.portfolio[0]
        if daemon.bars.turns == 50:
            port["drawdown_blocked"] = port["daily_blocked"] = 1
            seen.append(await daemon.gates.rearm("uid 7", "looked at it"))
            seen.append((int(port["drawdown_blocked"]), int(port["daily_blocked"])))

    with world_of(PLAN, tmp_path, on_daemon=after_each_bar(block)) as world:
        play(world)
    assert seen[0]["ended"] == ["drawdown", "daily"]
    assert seen[1] == (0, 0)
    [(body,)] = ask(world.path, "SELECT body FROM inputs WHERE kind = 'act'")
    assert '"kind":"rearm"' in body
    assert '"who":"uid 7"' in body
    assert '"reason":"looked at it"' in body
