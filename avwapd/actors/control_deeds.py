"""Acts that are noted: a row before, its outcome after, and each key acts once.

An act runs in a task of its own: a client that hangs up does not leave it half done. Where the ledger cannot note it in
time, it is not done. The kill switch alone is turned all the same: it must not wait for the disk.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
from anyio.abc import TaskGroup

from avwapd.actors.control_answer import Refusal, packed
from avwapd.actors.control_peer import Peer
from avwapd.ports import Clock
from avwapd.store import StoreError, acts
from avwapd.store.writer import Receipt, Writer

log = logging.getLogger("avwapd.control")

KEY = re.compile(r"[A-Za-z0-9._-]{1,64}")
KEY_HEADER = "Idempotency-Key"
SHOW = "avwapd ctl acts shows it; avwapd ctl status and gates show what holds now"
NOTE_S = 2.0  # for the row before an act
KILL_NOTE_S = 0.2
ACT_S = 30.0  # for an act, from the row before to the row after
REFUSED_A_MINUTE = 60  # rows about acts that were refused; more are counted
ANSWER_KEPT = 65_536

Said = tuple[int, Any]


@dataclass(slots=True)
class Wish:
    """One act that was asked for. do: does it and returns the facts to answer; after: once its row is complete."""

    verb: str
    body: str
    peer: Peer
    key: str | None
    do: Callable[[], Awaitable[dict[str, Any]]]
    after: Callable[[], None] = lambda: None
    unheard: bool = False  # done even where it cannot be noted
    said: Said = (500, {})
    done: anyio.Event = field(default_factory=anyio.Event)


class Deeds:
    """Belongs to the daemon's loop; `open` gives it the task group that acts run in."""

    def __init__(self, writer: Writer, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock
        self._under_way: dict[str, Wish] = {}
        self._group: TaskGroup | None = None
        self._minute = 0
        self._refused = 0

    def open(self, group: TaskGroup) -> None:
        self._group = group

    # ------------------------------------------------------------------------------------------------- acting

    async def perform(self, wish: Wish) -> Said:
        """Status and facts of the answer: of this act, or of the one that was done under this key."""
        assert self._group is not None
        running = self._under_way.get(wish.key) if wish.key is not None else None
        if running is None:
            if wish.key is not None:
                self._under_way[wish.key] = wish
            running = wish
            self._group.start_soon(self._carry, wish)
        elif (running.verb, running.body) != (wish.verb, wish.body):
            raise other_body(wish)
        with anyio.move_on_after(ACT_S):
            await running.done.wait()
            return running.said
        raise Refusal(
            504, f"{wish.verb} is under way and not durable after {ACT_S:g} s", "ledger", f"do not repeat it: {SHOW}"
        )

    async def _carry(self, wish: Wish) -> None:
        try:
            wish.said = await self._noted(wish)
        except Refusal as refusal:
            wish.said = refusal.status, refusal.body
        finally:
            if wish.key is not None:
                self._under_way.pop(wish.key, None)
            wish.done.set()
        if wish.said[0] == 200:
            wish.after()

    async def _noted(self, wish: Wish) -> Said:
        """Row, act, row."""
        number = None
        try:
            number, earlier = await self._begin(wish)
        except Refusal:
            if not wish.unheard:
                raise
            log.error("%s by %s is done without a row in the ledger: it did not answer", wish.verb, wish.peer)
        else:
            if earlier is not None:
                return replayed(wish, earlier)
        status, facts = await self._do(wish)
        if number is None:
            return status, facts | {"noted": False}
        await self._end(number, status, facts)
        return status, facts

    async def _do(self, wish: Wish) -> Said:
        try:
            return 200, await wish.do()
        except Refusal as refusal:
            return refusal.status, refusal.body
        except StoreError as error:
            return 409, told(error)
        except Exception as error:
            if hasattr(error, "what") and hasattr(error, "next_step"):
                return 409, told(error)
            log.exception("%s by %s failed", wish.verb, wish.peer)
            return 500, {"what": f"{wish.verb} failed: {error}", "where": "daemon", "next_step": "see its log"}

    async def _begin(self, wish: Wish) -> tuple[int, acts.Deed | None]:
        fn = partial(
            acts.begin, ts_ms=self._clock.now_ms(), who=str(wish.peer), verb=wish.verb, body=wish.body, key=wish.key
        )
        receipt: Receipt | None = None
        try:
            with anyio.move_on_after(KILL_NOTE_S if wish.unheard else NOTE_S):
                receipt = await self._writer.post(fn)
                number, earlier = await receipt.wait()
                return int(number), earlier
        except StoreError as error:
            raise Refusal(503, f"{wish.verb} is not done: {error.what}", error.where, error.next_step) from None
        if receipt is not None and self._group is not None:
            self._group.start_soon(self._late, receipt, wish)
        raise Refusal(
            503, f"{wish.verb} is not done: the ledger cannot note it", "ledger", "see the daemon's log; ask again"
        )

    async def _late(self, receipt: Receipt, wish: Wish) -> None:
        """A row that came after its act was given up, or done without it."""
        try:
            number, earlier = await receipt.wait()
            if earlier is None:
                status = 200 if wish.unheard else 503
                words = "done before this row was written" if wish.unheard else "not done: the ledger was late"
                await self._end(int(number), status, {"what": words})
        except StoreError:
            log.error("%s by %s has no row in the ledger", wish.verb, wish.peer)

    async def _end(self, number: int, status: int, facts: Any) -> None:
        kept = packed(facts).decode().strip()
        if len(kept) > ANSWER_KEPT:
            kept = packed({"what": "the answer was too long to be kept"}).decode().strip()
        try:
            await self._writer.submit(partial(acts.end, number=number, status=status, answer=kept))
        except StoreError as error:
            log.error("the outcome of act %d is not in the ledger: %s", number, error.what)

    # ---------------------------------------------------------------------------------------------- refusing

    def refuse(self, verb: str, body: str, peer: Peer, refusal: Refusal) -> None:
        """Note an act that was not begun; nobody waits for it, and a flood of them does not fill the ledger."""
        minute = int(self._clock.monotonic() // 60)
        if minute != self._minute:
            if self._refused > REFUSED_A_MINUTE:
                log.warning("%d more acts were refused and not noted", self._refused - REFUSED_A_MINUTE)
            self._minute, self._refused = minute, 0
        self._refused += 1
        if self._refused > REFUSED_A_MINUTE or self._group is None:
            return
        log.warning("refused: %s by %s: %s", verb, peer, refusal.body["what"])
        self._group.start_soon(self._note_refusal, verb, body, peer, refusal)

    async def _note_refusal(self, verb: str, body: str, peer: Peer, refusal: Refusal) -> None:
        fn = partial(
            acts.refused,
            ts_ms=self._clock.now_ms(),
            who=str(peer),
            verb=verb,
            body=body,
            status=refusal.status,
            answer=packed(refusal.body).decode().strip(),
        )
        try:
            with anyio.move_on_after(NOTE_S):
                await self._writer.submit(fn)
        except StoreError:
            log.error("a refused %s by %s has no row in the ledger", verb, peer)


def told(error: Any) -> dict[str, Any]:
    return {"what": error.what, "where": str(error.where), "next_step": error.next_step}


def key_of(headers: Any) -> str | None:
    """The client's own name for the act. Raises Refusal."""
    given: str | None = headers.get(KEY_HEADER)
    if given is not None and KEY.fullmatch(given) is None:
        raise Refusal(400, f"{KEY_HEADER} is no key", KEY_HEADER, "give 1 to 64 of A-Z a-z 0-9 . _ -")
    return given


def other_body(wish: Wish) -> Refusal:
    return Refusal(
        422,
        f"the key {wish.key} was used for another act",
        KEY_HEADER,
        "nothing was done; give each act its own key",
    )


def replayed(wish: Wish, earlier: acts.Deed) -> Said:
    """The first answer again."""
    import orjson

    if (earlier.verb, earlier.body) != (wish.verb, wish.body):
        raise other_body(wish)
    if earlier.status is None:
        raise Refusal(
            409,
            f"{wish.verb} was under way when the daemon ended (act {earlier.id}): look before you repeat it",
            "ledger",
            f"{SHOW}; then ask again under another key",
        )
    return earlier.status, orjson.loads(earlier.answer)
