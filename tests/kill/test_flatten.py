"""`avwapd kill --flatten` beside a daemon that lives, hangs or is dead: sold once, and the books agree afterwards."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.kill.world import Desk, desk_in
from tests.wire_faults import market

START = Decimal(100_000)
SETTLED_BARS = 4
BELOW = 0.996  # of a symbol's base: a close there is below its level, and nothing is entered upon it


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with desk_in(tmp_path) as made:
        made.bars_until(lambda: "YEW" in made.venue.book()["positions"])
        made.until(lambda: made.live("stop"), "its stop at the venue")  # its pace costs no bar of the market
        yield made


def flatten(desk: Desk, *words: str) -> tuple[int, Any]:
    """The program; one bar opens once its sales rest, for they need one and no stop may be faster, and closes behind
    it. So much of the market whatever the machine's pace, for what it does next decides what may be entered next.
    """
    before = len(sales(desk))
    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(desk.trader.verb, "kill", "--flatten", "--json", *words)
        deadline = time.monotonic() + 60
        while not going.done() and len(sales(desk)) == before and time.monotonic() < deadline:
            time.sleep(0.01)
        desk.venue.ask("/control", {"half": 1})
        done = going.result(60)
    desk.venue.ask("/control", {"half": 1})
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)["venue"]


def before_a_quiet_bar(desk: Desk, ahead: int) -> None:
    """Nobody listening, the market goes on until the bar `ahead` closes where no symbol that is not sold is entered."""
    sold = {row["symbol"] for row in json.loads(desk.switch.read_text())["sales"]}
    others = [(name, market.SAWS[name][0]) for name in market.SAWS if name not in sold]
    played = (desk.venue.ask("/control")["closed_ms"] - market.OPEN_MS) // market.MINUTE_MS
    quiet = next(
        bar
        for bar in range(played + ahead, market.BARS)
        if all(market.closes(name, bar)[-1] <= round(base * BELOW, 2) for name, base in others)
    )
    desk.venue.ask("/control", {"half": 2 * (quiet - ahead - played)})


def sales(desk: Desk) -> list[str]:
    """The program's orders at the venue."""
    ids = [str(order["client_id"]) for order in desk.venue.book()["orders"]]
    return [cid for cid in ids if cid.startswith("av-kill-")]


def settled(desk: Desk) -> None:
    """Flat on both sides, to the cent, the symbols halted, and nothing was sold twice."""
    desk.until(lambda: desk.trader.held() == {}, "the ledger flat", 40)
    sold = [row for row in json.loads(desk.switch.read_text())["sales"] if Decimal(row["filled"])]
    assert sold
    before = desk.numbers()
    for _ in range(SETTLED_BARS):
        desk.bar()
    assert desk.venue.book()["positions"] == {}
    assert desk.opened_after(before) == []
    assert abs(desk.trader.cash() - (Decimal(desk.venue.book()["cash"]) - START)) < Decimal("0.01")
    halted = {name for (name,) in desk.trader.rows("SELECT symbol FROM position_words WHERE halted")}
    assert {row["symbol"] for row in sold} <= halted
    kills = sales(desk)
    assert len(kills) == len(set(kills)) == len(json.loads(desk.switch.read_text())["sales"])
    assert desk.trader.verb("audit").returncode == 0


def test_beside_a_daemon_that_lives(desk: Desk) -> None:
    code, report = flatten(desk)
    assert (code, report["undone"]) == (0, [])
    settled(desk)


def test_beside_a_daemon_that_hangs(desk: Desk) -> None:
    os.kill(desk.trader.child.process.pid, signal.SIGSTOP)
    code, report = flatten(desk)
    assert (code, report["undone"]) == (0, [])
    assert not desk.venue.book()["positions"]
    os.kill(desk.trader.child.process.pid, signal.SIGCONT)
    settled(desk)


def test_a_sale_that_fills_after_the_program_ended_is_booked_once_it_was_called_again(desk: Desk) -> None:
    done = desk.trader.verb("kill", "--flatten", "--limit-s", "1")
    assert (done.returncode, "not filled yet" in done.stdout) == (1, True), done.stdout  # the market stands still
    refused = desk.trader.verb("kill", "--release")
    assert (refused.returncode, "no daemon has booked yet" in refused.stderr) == (78, True)
    desk.venue.ask("/control", {"half": 2})
    desk.until(lambda: desk.status()["reconcile"]["quarantined"], "the sale found by the books")
    code, report = flatten(desk)
    assert (code, report["undone"]) == (0, [])
    desk.until(lambda: desk.trader.held() == {}, "the sale booked", 40)
    desk.until(lambda: not desk.status()["reconcile"]["differences"], "the books agreed", 40)
    assert desk.trader.verb("kill", "--release").returncode == 0
    assert desk.venue.book()["positions"] == {}
    assert len([one for one in desk.venue.book()["orders"] if one["client_id"].startswith("av-kill-")]) == 1
    assert desk.trader.verb("audit").returncode == 0


def test_with_the_daemon_dead(desk: Desk) -> None:
    desk.trader.child.end(signal.SIGKILL)
    code, report = flatten(desk)
    assert (code, report["undone"]) == (0, [])
    assert flatten(desk)[1]["sold"] == []  # a second call finds nothing to sell
    before_a_quiet_bar(desk, SETTLED_BARS + 1)  # the first one after the release: what is entered, fills a bar later
    desk.trader.start()
    settled(desk)
    released = desk.trader.verb("kill", "--release")
    assert released.returncode == 0
    for _ in range(2):
        desk.bar()
    assert desk.venue.book()["positions"] == {}


def test_without_a_ledger_nothing_is_sold_unless_all_is_said(desk: Desk) -> None:
    desk.trader.child.end(signal.SIGKILL)
    for file in desk.trader.state.glob("avwapd.db*"):
        file.rename(file.with_name(f"away-{file.name}"))
    stops = len([one for one in desk.venue.book()["orders"] if one["type"] == "stop" and one["status"] == "new"])
    done = desk.trader.verb("kill", "--json")
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["venue"]["stay"] == stops > 0  # told from entries by the position's side
    done = desk.trader.verb("kill", "--flatten", "--json")  # the market stands still: no stop fills meanwhile
    report = json.loads(done.stdout)["venue"]
    assert (done.returncode, report["canceled"], report["stay"]) == (1, 0, stops)  # what is not sold keeps its stop
    assert "--all" in report["undone"][0]
    assert desk.venue.book()["positions"]
    code, report = flatten(desk, "--all")
    assert (code, report["undone"]) == (0, [])
    assert desk.venue.book()["positions"] == {}


def test_where_no_file_can_be_written_entries_are_taken_back_and_nothing_is_sold(desk: Desk) -> None:
    desk.switch.mkdir()
    (desk.switch / "in the way").touch()
    done = desk.trader.verb("kill", "--flatten")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "NOT DONE: KILL_SWITCH cannot be written" in done.stderr
    assert "nothing is sold" in done.stderr
    assert "end it" in done.stderr
    assert "of ours: " in done.stdout, "it went to the venue all the same"
    assert desk.live("stop"), "what protects stays"
    assert desk.venue.book()["positions"]
