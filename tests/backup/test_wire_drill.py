"""The restore drill at a venue across the wire: what the ledger forgot is found in the venue's books."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from avwapd.store.ids import is_ours
from tests.wire.world import FAST, US, US_SETTINGS, Trader, Venue, us_archive

pytestmark = [pytest.mark.crash, pytest.mark.campaign]

SPEED = 240.0
RECONCILE = "[reconcile]\nevery_s = 120.0\nsettle_s = 60.0\n[disk]\nballast_mb = 0\n"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[tuple[Venue, Trader]]:
    state = tmp_path / "state"
    us_archive(state)
    venue = Venue(tmp_path / "venue", state / "archive", "us", US, "2013-10-10T13:20:00Z",
                  last="2013-10-10T20:03:00Z", speed=SPEED)  # fmt: skip
    trader = Trader(state, venue, US_SETTINGS + RECONCILE, venue_lines=FAST)
    yield venue, trader
    for child in (getattr(trader, "child", None), getattr(venue, "child", None)):
        if child is not None:
            child.end(signal.SIGKILL)


def until(true: Callable[[], object], trader: Trader, limit_s: float = 90.0) -> None:
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, trader.child.text()[-4000:]
        time.sleep(0.1)


def fills(trader: Trader) -> int:
    return int(trader.rows("SELECT count(*) FROM fills")[0][0])


def test_books_agree_or_symbols_are_halted_and_nothing_is_ordered_twice(
    desk: tuple[Venue, Trader], tmp_path: Path
) -> None:
    venue, trader = desk
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    venue.start()
    trader.start()
    until(lambda: fills(trader) >= 1 and trader.held(), trader)
    done = trader.verb("db", "backup", str(shelf))
    assert done.returncode == 0, done.stderr
    at, then = fills(trader), trader.held()
    until(lambda: fills(trader) > at and set(trader.held()) - set(then), trader)
    trader.child.end(signal.SIGKILL)
    venue.go(paused=True)  # what it holds now stays
    known = {cid for (cid,) in trader.rows("SELECT cid FROM orders")}
    (copy,) = shelf.glob("avwapd-*.db")
    assert trader.verb("db", "restore", str(copy)).returncode == 1
    assert trader.verb("db", "restore", str(copy), "--force-older").returncode == 0
    restored = {cid for (cid,) in trader.rows("SELECT cid FROM orders")}
    assert len(known) > len(restored), "something has to be forgotten"
    seq = trader.rows("SELECT max(seq) FROM inputs")[0][0]

    trader.start()
    until(lambda: trader.status()["reconcile"]["compared"], trader)
    until(lambda: trader.status()["reconcile"]["readings"] >= 4, trader)
    assert trader.rows("SELECT closed FROM gates WHERE gate = 'ledger'") == [(1,)]
    said = [what for (what,) in trader.rows("SELECT what FROM alerts WHERE level = 'critical'")]
    assert any("an older ledger is in place" in what for what in said)
    opened = "SELECT cid FROM orders JOIN outbox USING (cid) WHERE purpose = 'entry' AND created_seq > ?"
    halted = {name for (name,) in trader.rows("SELECT i.symbol FROM positions JOIN instruments i USING (symbol_id)"
                                              " WHERE halted")}  # fmt: skip
    book = venue.book()
    ours, theirs = trader.held(), {name: Decimal(qty) for name, qty in book["positions"].items() if Decimal(qty)}
    differ = {name for name in ours.keys() | theirs.keys() if ours.get(name, 0) != theirs.get(name, 0)}
    assert differ, "the drill has to be about something"
    assert differ <= halted, (ours, theirs, halted)
    for name in differ:
        assert any(what.startswith(f"{name}: ") and "halted" in what for what in said), said
    made = Counter(order["client_id"] for order in book["orders"])
    assert [cid for cid, count in made.items() if count > 1] == []
    strange = {order["symbol"] for order in book["orders"]
               if is_ours(order["client_id"]) and order["client_id"] not in known | restored
               and order["symbol"] in halted}  # fmt: skip
    assert not strange, "nothing leaves for a halted symbol"
    venue.go()
    decided = "SELECT count(*) FROM inputs WHERE kind = 'bars' AND seq > ?"
    until(lambda: trader.rows(decided, seq)[0][0] > 60, trader)
    assert trader.rows(opened, seq) == [], "exits only"
    done = trader.verb("audit")
    assert done.returncode == 0, done.stdout + done.stderr
    assert trader.child.end() == 0
