"""Called again, the kill program sells nothing twice: not while a sale rests, not after one that was refused."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from pathlib import Path

import anyio
import pytest

from avwapd.ops.kill import Killing, Report, Wanted
from avwapd.ops.kill_plan import KILL_PREFIX, Outcome, Resting
from avwapd.ports import SystemClock
from avwapd.remote.calls import NoAnswer, Rejected
from avwapd.store import kill_note
from avwapd.store.ids import client_id
from avwapd.store.kill_facts import Facts, Line
from avwapd.store.kill_note import KillNote, Sale

FACTS = Facts("", {"ASH": Line("ASH", "equity", "USD", "0.01", "1", "0", "0", 100, 1)}, {})
BLIND = Facts("there is no ledger here", {}, {})
ZERO = Decimal(0)


@dataclass
class Account:
    """A venue at which one may be short. reserves: it refuses more than is free, as Alpaca does."""

    name = "account"
    marked = True
    prefix = KILL_PREFIX
    held: Decimal = Decimal(100)
    reserves: bool = False
    lost: bool = False  # an order is taken and nobody hears so
    sold: dict[str, Sale] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)

    async def open_orders(self) -> list[Resting]:
        return [
            Resting(sale.cid, sale.cid, sale.symbol, sale.side, rest)
            for sale in self.sold.values()
            if (rest := Decimal(sale.qty) - Decimal(sale.filled)) and sale.cid not in self.ended
        ]

    async def cancel(self, order: Resting) -> None:
        raise AssertionError(f"{order.cid} was canceled")

    async def positions(self) -> dict[str, Decimal]:
        return {"ASH": self.held} if self.held else {}

    async def sell(self, sale: Sale) -> None:
        if sale.cid in self.sold:
            return
        rests = sum((order.qty for order in await self.open_orders()), ZERO)
        if self.reserves and Decimal(sale.qty) > self.held - rests:
            raise Rejected(422, 0, "insufficient qty available for order", None)
        self.sold[sale.cid] = sale
        if self.lost:
            raise NoAnswer("no answer")

    async def outcome(self, sale: Sale) -> Outcome | None:
        if self.lost:
            raise NoAnswer("no answer")
        found = self.sold.get(sale.cid)
        over = found is not None and (found.filled == found.qty or sale.cid in self.ended)
        return None if found is None else Outcome(Decimal(found.filled), Decimal(5), over)

    async def close(self) -> None: ...

    def fill(self, most: str = "1000") -> None:
        for cid, sale in ((cid, sale) for cid, sale in self.sold.items() if cid not in self.ended):
            more = min(Decimal(most), Decimal(sale.qty) - Decimal(sale.filled))
            self.held += sale.side * more
            self.sold[cid] = replace(sale, filled=str(Decimal(sale.filled) + more))

    @property
    def ordered(self) -> int:
        return int(sum((sale.side * Decimal(sale.qty) for sale in self.sold.values()), ZERO))


def flatten(
    account: Account, path: Path, note: KillNote, facts: Facts = FACTS, *, every: bool = False
) -> tuple[Report, KillNote]:
    wanted = Wanted(True, every, ("ASH",), 0.2)
    killing = Killing(account, SystemClock(), wanted, path, note, lambda _: facts)
    return anyio.run(killing.run), killing.note


def test_a_sale_that_rests_is_no_reason_for_another(tmp_path: Path) -> None:
    for reserves in (False, True):
        account, call = Account(reserves=reserves), partial(flatten, path=tmp_path / "K")
        _, note = call(account, note=KillNote(ts_ms=1))
        report, note = call(account, note=note)
        assert report.undone == ["ASH: 100 of 100 are not filled yet (" + note.sales[0].cid + ")"]
        assert (len(note.sales), account.ordered) == (1, -100)
        account.fill("40")
        _, note = call(account, note=note)
        assert account.ordered == -100
        account.fill()
        for _ in range(2):
            report, note = call(account, note=note)
            assert (report.whole, account.ordered, int(account.held)) == (True, -100, 0)


def test_nor_where_no_ledger_says_what_is_held(tmp_path: Path) -> None:
    account = Account()
    _, note = flatten(account, tmp_path / "K", KillNote(ts_ms=1), BLIND, every=True)
    flatten(account, tmp_path / "K", note, BLIND, every=True)
    assert account.ordered == -100


def test_nor_after_the_file_was_taken_away(tmp_path: Path) -> None:
    account = Account()
    flatten(account, tmp_path / "K", KillNote(ts_ms=1))
    report, _ = flatten(account, tmp_path / "K", KillNote(ts_ms=2))
    assert account.ordered == -100
    assert report.undone == [f"ASH: an earlier sale of 100 rests ({next(iter(account.sold))})"]


def test_what_was_refused_is_not_sold_when_nothing_is_held_any_more(tmp_path: Path) -> None:
    account = Account(reserves=True)
    refused = Sale("ASH", KILL_PREFIX + "refused", -1, "100")
    note = KillNote(ts_ms=1, sales=(Sale("ASH", KILL_PREFIX + "done", -1, "100", "100", "5"), refused))
    account.held, account.reserves = ZERO, False
    report, note = flatten(account, tmp_path / "K", note)
    assert (report.whole, account.sold) == (True, {})


def test_what_never_left_leaves_under_the_id_it_had_and_for_what_is_there_now(tmp_path: Path) -> None:
    account = Account(held=Decimal(30))
    _, note = flatten(account, tmp_path / "K", KillNote(ts_ms=1, sales=(Sale("ASH", KILL_PREFIX + "one", -1, "100"),)))
    assert [(sale.cid, sale.qty) for sale in account.sold.values()] == [(KILL_PREFIX + "one", "30")]
    assert [(sale.cid, sale.qty) for sale in note.sales] == [(KILL_PREFIX + "one", "30")]


def test_where_nobody_hears_of_the_first_nothing_else_is_sold(tmp_path: Path) -> None:
    account = Account(lost=True)
    _, note = flatten(account, tmp_path / "K", KillNote(ts_ms=1))
    report, note = flatten(account, tmp_path / "K", note)
    assert (account.ordered, report.whole) == (-100, False)
    account.lost = False
    _, note = flatten(account, tmp_path / "K", note)
    assert (account.ordered, len(note.sales)) == (-100, 1)


def test_the_rest_of_one_that_the_venue_ended_is_sold_anew(tmp_path: Path) -> None:
    account = Account()
    _, note = flatten(account, tmp_path / "K", KillNote(ts_ms=1))
    account.fill("40")
    account.ended = set(account.sold)
    _, note = flatten(account, tmp_path / "K", note)
    assert [sale.qty for sale in account.sold.values()] == ["100", "60"]
    account.fill()
    report, note = flatten(account, tmp_path / "K", note)
    assert (report.whole, int(account.held)) == (True, 0)


def test_without_a_ledger_a_stop_is_not_taken_for_a_sale_that_will_not_be(tmp_path: Path) -> None:
    stop = client_id("a", "s", "ASH", 1, "stop", 1)
    account = Account(sold={stop: Sale("ASH", stop, -1, "100")})  # a cancel would fail
    report, note = flatten(account, tmp_path / "K", KillNote(ts_ms=1, flatten=True), BLIND)
    assert report.stay == 1
    assert report.undone == [
        "nothing was sold, stops stay: there is no ledger here; --all sells what the account holds of ASH"
    ]
    assert (note.flatten, list(account.sold)) == (False, [stop])


def test_on_a_full_disk_the_ballast_makes_room_and_without_one_nothing_is_sold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "K"
    whole = kill_note.replace

    def full(path: Path, note: KillNote) -> None:
        if (path.parent / "ballast").exists() or not (path.parent / "room").exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(path, note)

    monkeypatch.setattr(kill_note, "replace", full)
    account = Account()
    report, _ = flatten(account, path, KillNote(ts_ms=1))
    assert account.sold == {}
    assert report.undone == [
        "nothing was sold, stops stay: K cannot hold what is sold: make room on the disk, then again"
    ]
    for name in ("ballast", "room"):
        (tmp_path / name).touch()
    flatten(account, path, KillNote(ts_ms=1))
    assert account.ordered == -100
    assert not (tmp_path / "ballast").exists()
