"""A daemon, a copy taken under load, more trades, a kill, the copy put back, a start: and what must be true then."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avwapd.store.reader import open_reader
from avwapd.verbs.client import ask
from tests.crash import ledgers
from tests.crash.world import World

LIMIT_S = 90.0


@dataclass
class Drill:
    """What came of it. lost: inputs that the copy did not have; posted: requests after the restore."""

    lost: int = 0
    halted: list[str] = field(default_factory=list)
    gates: set[str] = field(default_factory=set)
    alerts: list[str] = field(default_factory=list)
    posted: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def question(world: World, sql: str, *given: Any) -> list[tuple[Any, ...]]:
    with closing(open_reader(world.ledger)) as conn:
        return conn.execute(sql, given).fetchall()


def until(true: Callable[[], object], what: Callable[[], str]) -> None:
    end = time.monotonic() + LIMIT_S
    while not true():
        assert time.monotonic() < end, what()
        time.sleep(0.02)


def closed(world: World) -> set[str]:
    """The gates that are closed now."""
    return {row["gate"] for row in ask(world.short / "control.sock", "GET", "/v1/gates", None, 10) if row["closed"]}


def fills(world: World) -> int:
    return int(question(world, "SELECT count(*) FROM fills")[0][0]) if world.ledger.exists() else 0


def started(world: World, module: str) -> subprocess.Popen[bytes]:
    at = world.log.stat().st_size if world.log.exists() else 0
    process = world.spawn(module=module)
    assert world.wait_ready(process, at), world.tail()
    return process


def held(world: World, file: Path | None = None) -> dict[str, int]:
    """Signed lots by symbol, by the ledger or a copy of it."""
    sql = "SELECT i.symbol, p.qty * iif(p.side = 'short', -1, 1) FROM positions p JOIN instruments i USING (symbol_id)"
    with closing(open_reader(file or world.ledger)) as conn:
        return dict(conn.execute(sql).fetchall())


def killed(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(10)


def run(world: World, shelf: Path, *, module: str, before: int, after: int, forget_copy: bool = False) -> Drill:
    """before, after: fills until the copy is taken, and until the kill. forget_copy: put back as `cp` would."""
    drill = Drill()
    process = started(world, "avwapd.cli")
    try:
        until(lambda: fills(world) >= before and any(held(world).values()), world.tail)
        assert world.offline("db", "backup", str(shelf)) == []
        (copy,) = shelf.glob("avwapd-*.db")
        at, then = fills(world), held(world, copy)
        until(lambda: fills(world) >= at + after and held(world) != then, world.tail)
    finally:
        killed(process)
    newest = int(question(world, "SELECT max(seq) FROM inputs")[0][0])
    posted = len(world.posted())
    if forget_copy:
        (world.state / "avwapd.mark").unlink()
        for rest in ("", "-wal", "-shm"):
            world.ledger.with_name(world.ledger.name + rest).unlink(missing_ok=True)
        world.ledger.write_bytes(copy.read_bytes())
        with closing(sqlite3.connect(world.ledger)) as conn:
            conn.execute("DELETE FROM copies")
            conn.commit()
    else:
        assert world.offline("db", "restore", str(copy)) != [], "an older one is refused"
        assert world.offline("db", "restore", str(copy), "--force-older") == []
    restored = int(question(world, "SELECT max(seq) FROM inputs")[0][0])
    drill.lost = newest - restored
    process = started(world, module)
    try:
        decided = "SELECT count(*) FROM inputs WHERE kind = 'bars' AND seq > ?"
        until(lambda: question(world, decided, restored)[0][0] >= 40, world.tail)
        drill.gates = closed(world)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, world.tail()
    finally:
        killed(process)
    drill.posted = world.posted()[posted:]
    judge(world, drill, restored)
    return drill


def judge(world: World, drill: Drill, restored: int) -> None:
    """Books agree or the symbol is halted; nothing opened; nothing is there twice."""
    ours_held = held(world)
    drill.halted = [s for (s,) in question(world, "SELECT i.symbol FROM positions p JOIN instruments i"
                                                  " USING (symbol_id) WHERE p.halted")]  # fmt: skip
    drill.alerts = [what for (what,) in question(world, "SELECT what FROM alerts WHERE level = 'critical'")]
    ours = {cid for (cid,) in question(world, "SELECT cid FROM outbox")}
    opened = "SELECT cid FROM orders JOIN outbox USING (cid) WHERE purpose = 'entry' AND created_seq > ?"
    drill.wrong += [f"{cid} was opened on an older ledger" for (cid,) in question(world, opened, restored)]
    with closing(ledgers.open_book(world.book)) as conn:
        orders = conn.execute("SELECT cid, symbol, side, filled_qty, state FROM orders").fetchall()
    counts: dict[str, int] = {}
    theirs: dict[str, int] = {}
    for cid, symbol, side, filled, state in orders:
        counts[cid] = counts.get(cid, 0) + 1
        theirs[symbol] = theirs.get(symbol, 0) + int(side) * int(filled)
        if state == "live" and cid not in ours and symbol not in drill.halted:
            drill.wrong.append(f"{symbol}: {cid} rests at the venue, no row explains it, and nothing is halted")
    drill.wrong += [f"{cid} has {count} orders at the venue" for cid, count in counts.items() if count > 1]
    for symbol in sorted(theirs.keys() | ours_held.keys()):
        here, there = ours_held.get(symbol, 0), theirs.get(symbol, 0)
        if here != there and symbol not in drill.halted:
            drill.wrong.append(f"{symbol}: {here} in the ledger, {there} at the venue")
    if not ledgers.unheard(world.ledger, world.book):
        wrong = world.offline("audit")
        drill.wrong += wrong


def told(drill: Drill) -> str:
    return json.dumps({"lost": drill.lost, "halted": drill.halted, "posted": len(drill.posted), "wrong": drill.wrong})
