"""What the control socket does: each act is checked first, noted, done, and noted again."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from avwapd.actors.control_answer import Refusal, answer, packed
from avwapd.actors.control_deeds import Deeds, Wish, key_of
from avwapd.actors.control_desk import Desk, absent
from avwapd.actors.control_peer import Peer
from avwapd.actors.control_read import unknown_symbol
from avwapd.actors.mail import Acted
from avwapd.actors.symbols import Symbols
from avwapd.config.sections import EVENTS
from avwapd.core import codes
from avwapd.core.machine import FROZEN
from avwapd.store import acts
from avwapd.store.journal import ALL, Act
from avwapd.store.writer import Writer

log = logging.getLogger("avwapd.control")

ENGINE_ACTS = {
    "halt": (codes.ACT_HALT, "no new entries; stops and exits go on"),
    "resume": (codes.ACT_RESUME, "entries again, as far as the gates allow them; without a symbol a drain ends too"),
    "flatten": (codes.ACT_FLATTEN, "positions are sold at market"),
    "drain": (codes.ACT_DRAIN, "no new entries until resume or the next start"),
}
KEYS: Mapping[str, tuple[str, ...]] = {
    "halt": ("symbol", "reason"),
    "resume": ("symbol", "reason", "force"),
    "flatten": ("symbol", "reason"),
    "drain": ("reason",),
    "reload": (),
    "stop": (),
    "kill": ("reason", "flatten"),
    "unkill": (),
    "arm": ("token", "hours"),
    "disarm": ("reason",),
    "rearm": ("reason",),
    "drill": ("fault", "times"),
    "ack": ("id",),
    "notice": ("event", "level", "title"),
}
SECRET = ("token",)
LEVELS = ("info", "warning", "critical")  # of a notice
WORDS_KEPT = 200
MOST_HOURS, MOST_TIMES, LARGEST_ID = 168, 1000, 2**62
MEND = "put it right at the venue now: stops and exits go by what the ledger holds, and may turn a position round"
NAMED = 4
IN_DOUBT = "halted: see its alert, and halt_reason in avwapd ctl positions"
Body = dict[str, Any]
Done = Awaitable[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Powers:
    """What acts act on. difference_of: how the venue's books differ about a symbol's index (ALL: none of ours)."""

    symbols: Symbols
    writer: Writer
    stop: Callable[[str], None]
    reload: Callable[[], Awaitable[dict[str, Any]]]
    difference_of: Callable[[int], str]
    desk: Desk


class Acts:
    """Handlers of POST. Each verb's method checks the body at once and returns what is to be done."""

    def __init__(self, powers: Powers, deeds: Deeds) -> None:
        self._powers = powers
        self._symbols = powers.symbols
        self._desk = powers.desk
        self._deeds = deeds

    async def perform(self, request: web.Request, verb: str, raw: bytes, peer: Peer) -> web.Response:
        """Check, then act once. What is refused before it began is noted as well."""
        shown = ""
        try:
            body = body_of(raw, request)
            shown = spoken(body)
            assert_known(body, request, KEYS[verb])
            key = key_of(request.headers)
            do = self._wish(verb, body, peer)
        except Refusal as refusal:
            self._deeds.refuse(verb, shown[:WORDS_KEPT], peer, refusal)
            raise
        wish = Wish(verb, shown, peer, key, do, unheard=verb == "kill")
        if verb == "stop":
            wish.after = lambda: self._powers.stop(f"operator: stop ({peer})")
        status, facts = await self._deeds.perform(wish)
        if status == 200:
            log.info("operator: %s %s by %s", verb, shown, peer, extra={"fields": {"EVENT": "act"}})
        return answer(facts, status)

    def _wish(self, verb: str, body: Body, peer: Peer) -> Callable[[], Done]:
        if verb in ENGINE_ACTS:
            return self._engine_act(verb, body, peer)
        wish: Callable[[Body, Peer], Callable[[], Done]] = getattr(self, f"_{verb}")
        return wish(body, peer)

    # ------------------------------------------------------------------------------------------- the engine's

    def _engine_act(self, verb: str, body: Body, peer: Peer) -> Callable[[], Done]:
        kind, effect = ENGINE_ACTS[verb]
        symbol = self._symbol(body.get("symbol"))
        reason = words_of(body, "reason", "operator")
        force = flag_of(body, "force")

        async def do() -> dict[str, Any]:
            if verb == "resume" and not force:
                self._refuse_difference(symbol)
            await self._put(Act(kind, symbol, kind == codes.ACT_DRAIN, str(peer), reason))
            if verb == "resume" and symbol == ALL:
                await self._put(Act(codes.ACT_DRAIN, ALL, False, str(peer), reason))
            if verb == "resume" and symbol == ALL and force and self._closed(codes.OUTER_LEDGER):
                await self._put(Act(codes.ACT_GATE + codes.OUTER_LEDGER, ALL, False, str(peer), reason))
            waits = self._waits(symbol) if verb == "flatten" else {}
            said = self._said(symbol) if force else []
            more = {"in_spite_of": said, "next_step": MEND} if said else {}
            return {"done": verb, "symbol": body.get("symbol"), "effect": effect} | waits | more

        return do

    def _symbol(self, name: object) -> int:
        if name is None:
            return ALL
        names = self._symbols.journal.names.symbols
        if not isinstance(name, str) or name not in names:
            raise unknown_symbol(name, names)
        return names.index(name)

    def _closed(self, gate: int) -> bool:
        return bool(int(self._symbols.journal.world.portfolio[0]["outer_closed"]) >> gate & 1)

    def _concerned(self, symbol: int) -> list[int]:
        return [symbol] if symbol != ALL else list(range(len(self._symbols.journal.names.symbols)))

    def _said(self, symbol: int) -> list[str]:
        """How the newest reading of the venue's books differs about these."""
        concerned = [*self._concerned(symbol), ALL] if symbol == ALL else [symbol]
        return [words for each in concerned if (words := self._powers.difference_of(each))]

    def _refuse_difference(self, symbol: int) -> None:
        """What was halted and differs would open entries on books that are wrong."""
        states, difference_of = self._symbols.journal.world.states, self._powers.difference_of
        halted = [each for each in self._concerned(symbol) if states[each]["halted"]]
        said = [words for each in ([*halted, ALL] if symbol == ALL else halted) if (words := difference_of(each))]
        if said:
            more = f" (and {len(said) - NAMED} more)" if len(said) > NAMED else ""
            raise Refusal(
                409,
                f"the newest reading of the venue's books differs: {'; '.join(said[:NAMED])}{more}",
                "reconcile",
                "repair it at the venue, or set reconcile.on_foreign, then resume again after the next reading; "
                "avwapd ctl resume --force goes on all the same",
            )

    def _waits(self, symbol: int) -> dict[str, Any]:
        """Of a flatten: the positions for which nothing leaves, why, and what to do."""
        states, names = self._symbols.journal.world.states, self._symbols.journal.names.symbols
        held = [each for each in self._concerned(symbol) if states[each]["qty"] or states[each]["entry"]["status"]]
        stuck = [each for each in held if states[each]["halted"] == FROZEN]
        if not stuck:
            return {}
        named, first = ", ".join(names[each] for each in stuck), names[stuck[0]]
        sold = "the other positions are sold at market; " if len(held) > len(stuck) else ""
        return {
            "effect": f"{sold}NOTHING LEAVES for {named} until resumed",
            "waits": {names[each]: self._powers.difference_of(each) or IN_DOUBT for each in stuck},
            "next_step": f"look at the venue, put it right, then avwapd ctl resume {first}: the exit leaves then",
        }

    async def _put(self, act: Act) -> None:
        """Put an act and wait until it is durable."""
        mail = Acted(act)
        await self._symbols.put(mail)
        await mail.done.wait()

    # ------------------------------------------------------------------------------------------- the daemon's

    def _reload(self, body: Body, peer: Peer) -> Callable[[], Done]:
        async def do() -> dict[str, Any]:
            return {"done": "reload", **await self._powers.reload()}

        return do

    def _stop(self, body: Body, peer: Peer) -> Callable[[], Done]:
        async def do() -> dict[str, Any]:
            return {"done": "stop", "effect": "settling, then the process ends with 0"}

        return do

    def _ack(self, body: Body, peer: Peer) -> Callable[[], Done]:
        number = body.get("id")
        if number is not None:
            number = whole_of(body, "id", 1, LARGEST_ID)

        async def do() -> dict[str, Any]:
            writer = self._powers.writer
            if number is not None and not await writer.submit(lambda conn: acts.is_alert(conn, number)):
                raise Refusal(404, f"no alert {number}", "alerts", "avwapd ctl alerts lists them")
            read = await writer.submit(lambda conn: acts.acknowledge(conn, number))
            return {"done": "ack", "read": read}

        return do

    # ---------------------------------------------------------------------------------------------- the desk's

    def _kill(self, body: Body, peer: Peer) -> Callable[[], Done]:
        kill = self._has("kill", self._desk.kill)
        reason, flatten = words_of(body, "reason", "operator"), flag_of(body, "flatten")

        async def do() -> dict[str, Any]:
            facts = as_facts("kill", await kill(reason, str(peer)))
            if flatten:
                await self._put(Act(codes.ACT_FLATTEN, ALL, False, str(peer), reason))
                facts["flatten"] = ENGINE_ACTS["flatten"][1]
                facts |= self._waits(ALL)
            return facts

        return do

    def _arm(self, body: Body, peer: Peer) -> Callable[[], Done]:
        arm = self._has("arm", self._desk.arm)
        token = body.get("token", "")
        if not isinstance(token, str):
            raise Refusal(400, "token is no text", "token", "give the token as a string")
        hours = body.get("hours")
        if hours is not None and (isinstance(hours, bool) or not isinstance(hours, int | float)):
            raise Refusal(400, "hours is no number", "hours", f"give a number up to {MOST_HOURS}")
        if hours is not None and not 0 <= hours <= MOST_HOURS:
            raise Refusal(400, f"hours is {hours:g}", "hours", f"give 0 (until the session ends) to {MOST_HOURS}")

        async def do() -> dict[str, Any]:
            return as_facts("arm", await arm(None if hours is None else float(hours), token, str(peer)))

        return do

    def _unkill(self, body: Body, peer: Peer) -> Callable[[], Done]:
        unkill = self._has("unkill", self._desk.unkill)

        async def do() -> dict[str, Any]:
            return as_facts("unkill", await unkill(str(peer)))

        return do

    def _disarm(self, body: Body, peer: Peer) -> Callable[[], Done]:
        return self._reasoned("disarm", self._desk.disarm, body, peer)

    def _rearm(self, body: Body, peer: Peer) -> Callable[[], Done]:
        return self._reasoned("rearm", self._desk.rearm, body, peer)

    def _reasoned(self, verb: str, act: Any, body: Body, peer: Peer) -> Callable[[], Done]:
        found, reason = self._has(verb, act), words_of(body, "reason", "operator")

        async def do() -> dict[str, Any]:
            return as_facts(verb, await found(str(peer), reason))

        return do

    def _drill(self, body: Body, peer: Peer) -> Callable[[], Done]:
        drill = self._has("drill", self._desk.drill)
        fault = body.get("fault")
        if not isinstance(fault, str) or not fault:
            raise Refusal(400, "fault is missing", "fault", "name the fault to force: avwapd ctl drill --help")
        times = whole_of(body, "times", 0, MOST_TIMES) if "times" in body else 1

        async def do() -> dict[str, Any]:
            found = drill(fault[:WORDS_KEPT], times)
            return as_facts("drill", await found if isinstance(found, Awaitable) else found)

        return do

    def _notice(self, body: Body, peer: Peer) -> Callable[[], Done]:
        hand_in = self._has("notice", self._desk.notice)
        event, level = words_of(body, "event", "alert"), words_of(body, "level", "warning")
        for name, given, known in (("event", event, EVENTS), ("level", level, LEVELS)):
            if given not in known:
                raise Refusal(400, f"{name} is {given[:40]!r}", name, f"one of {', '.join(known)}")
        title = words_of(body, "title", "")
        if not title:
            raise Refusal(400, "title is missing", "title", "say what happened: avwapd notify TEXT")

        async def do() -> dict[str, Any]:
            return as_facts("notice", hand_in(event, level, title))

        return do

    def _has(self, verb: str, part: Any) -> Any:
        if part is None:
            raise absent(verb)
        return part


def as_facts(verb: str, said: Any) -> dict[str, Any]:
    return {"done": verb, **said} if isinstance(said, dict) else {"done": verb} | ({"said": said} if said else {})


def body_of(raw: bytes, request: web.Request) -> Body:
    """The request's object. Raises Refusal."""
    try:
        body = orjson.loads(raw) if raw else {}
    except orjson.JSONDecodeError:
        raise Refusal(400, "the body is no JSON", request.path, 'send {} or {"symbol": "AAPL"}') from None
    if not isinstance(body, dict):
        raise Refusal(400, "the body is no JSON object", request.path, 'send {} or {"symbol": "AAPL"}')
    return body


def assert_known(body: Body, request: web.Request, known: tuple[str, ...]) -> None:
    """A misspelt key must not widen an act to every symbol."""
    unknown = [*(set(body) - set(known)), *request.query]
    if unknown:
        keys = " and ".join(known) or "no keys"
        raise Refusal(400, f"unknown {unknown[0][:40]!r}", request.path, f"the JSON body takes {keys}; no query")


def spoken(body: Body) -> str:
    """The body as it is kept: one spelling whatever the order of keys, and no secret in it."""
    shown = {name: "(not kept)" if name in SECRET else body[name] for name in sorted(body)}
    return packed(shown).decode().strip()


def words_of(body: Body, name: str, default: str) -> str:
    given = body.get(name)
    if given is not None and not isinstance(given, str):
        raise Refusal(400, f"{name} is no text", name, "give a string")
    text = "".join(letter if letter.isprintable() else " " for letter in given or "")
    return text[:WORDS_KEPT].strip() or default


def flag_of(body: Body, name: str) -> bool:
    """Whether something is wanted. Raises Refusal."""
    flag = body.get(name, False)
    if not isinstance(flag, bool):
        raise Refusal(400, f"{name} is {str(flag)[:40]!r}", name, "give true or false")
    return flag


def whole_of(body: Body, name: str, low: int, high: int) -> int:
    number = body.get(name)
    if not isinstance(number, int) or isinstance(number, bool) or not low <= number <= high:
        raise Refusal(400, f"{name} is {str(number)[:40]!r}", name, f"give a whole number from {low}")
    return number
