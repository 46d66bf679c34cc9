"""Mistakes of the trade, planted one by one: the harness must notice each, or its silence proves nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from avwapd.actors.router import Router
from avwapd.actors.router_doubt import as_request
from avwapd.actors.router_doubts import Doubts
from avwapd.store import journal as journal_module
from avwapd.store import ledger
from avwapd.store.ids import client_id
from avwapd.store.journal import Journal
from avwapd.venues.faults import FaultPlan
from tests.sim import ledgers
from tests.sim.campaign import reference
from tests.sim.scenario import Plan
from tests.sim.world import Kill, Outcome, live

PLAN = Plan(seed=3, kind="equity", symbols=2, barriers=50)
LOSSY = replace(PLAN, faults=FaultPlan(lose_request=0.2, lose_answer=0.2, double_words=0.3, seed=4))
WINDOWS = [Kill("send", number, plus) for number in range(1, 7) for plus in (0, 1, 2, 3)]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return reference(PLAN, tmp_path_factory.mktemp("expected"))


def notices(plan: Plan, expected: Outcome, folder: Path, kills: Iterable[Kill | None] = (None,)) -> str:
    """What the first trial that noticed something says; empty where none did."""
    for number, kill in enumerate(kills):
        try:
            found = live(plan, folder / str(number), kills=[kill] if kill else [], stepwise=True)
        except (AssertionError, ExceptionGroup, RuntimeError) as error:
            return f"{kill}: {innermost(error)!r}"
        wrong = ledgers.differences(expected.rows, found.rows) + [str(violation) for violation in found.violations]
        if wrong:
            return f"{kill}: {wrong[0]}"
    return ""


def innermost(error: BaseException) -> BaseException:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error.__cause__ or error


def test_nothing_planted_nothing_noticed(expected: Outcome, tmp_path: Path) -> None:
    assert notices(LOSSY, expected, tmp_path / "lossy", [None, *WINDOWS[::6]]) == ""
    assert notices(PLAN, expected, tmp_path / "plain", WINDOWS[::6]) == ""


def test_sent_before_the_commit(expected: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hasty(self: Any, symbol: int, intent: int) -> None:
        row = await self._desk._writer.submit(lambda conn: ledger.request(conn, symbol, intent))
        await self.venue.send(as_request(row))
        await (await self._desk.sending(symbol, intent)).wait()

    async def unclaimed(self: Any, step: Any) -> None:
        pass

    monkeypatch.setattr(Router, "claim", unclaimed)
    monkeypatch.setattr(Router, "_send", hasty)
    assert "never sent" in notices(PLAN, expected, tmp_path, WINDOWS)


def test_order_ids_that_change_from_start_to_start(
    expected: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = count(1)
    monkeypatch.setattr(journal_module, "client_id", lambda account, *rest: client_id(f"{account}{next(ticks)}", *rest))
    assert notices(PLAN, expected, tmp_path)


def test_a_fill_booked_twice(expected: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    once = Journal.word

    def credulous(self: Journal, word: Any) -> Any:
        if word.number > self.cursor or word.kind != "filled":
            return once(self, word)
        again = replace(word, cum_qty=word.cum_qty + word.last_qty)
        return self._report({name: getattr(again, name) for name in journal_module.WORD_FIELDS}, "{}")

    monkeypatch.setattr(Journal, "word", credulous)
    assert notices(LOSSY, expected, tmp_path)


def test_a_blind_second_post_where_duplicates_are_not_refused(
    expected: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def blind(self: Any, key: tuple[int, int], doubt: Any) -> bool:
        return bool(await self._again(key, doubt))

    monkeypatch.setattr(Doubts, "ask", blind)
    line = FaultPlan(lose_answer=0.5)
    plans = [replace(PLAN, faults=replace(line, seed=seed), refuses_duplicates=False) for seed in range(8)]
    assert "two orders" in "".join(notices(plan, expected, tmp_path / str(plan.faults.seed)) for plan in plans)


def test_a_time_out_taken_for_a_refusal(expected: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def sure(self: Any, row: Any, why: str, **_: Any) -> None:
        if row.kind != "cancel":
            await self._desk.refuse(row.cid, "rejected", "REJECTED", why)

    monkeypatch.setattr(Doubts, "add", sure)
    assert notices(LOSSY, expected, tmp_path)


def test_acknowledged_before_it_was_sent(expected: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call = Router._call

    async def early(self: Any, row: Any, **given: Any) -> None:
        await self._desk.mark(row, "ACKED", "surely")
        await call(self, row, **given)

    monkeypatch.setattr(Router, "_call", early)
    kills = [Kill("commit", number, 1) for number in range(20, 50)]
    assert notices(replace(PLAN, faults=FaultPlan(delay_ms=5)), expected, tmp_path, [*WINDOWS, *kills])


def test_what_was_being_sent_is_forgotten_at_the_start(
    expected: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resume = Router.resume

    def forgetful(self: Any, pending: Any, live: Any) -> None:
        resume(self, [row for row in pending if row.state == "NEW"], live)

    monkeypatch.setattr(Router, "resume", forgetful)
    slow = replace(PLAN, faults=FaultPlan(delay_ms=5))  # killed while the request has not arrived
    assert notices(slow, expected, tmp_path, WINDOWS)
