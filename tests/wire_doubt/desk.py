"""The router at real clients beside a simulated venue whose every answer to an order is in doubt."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from avwapd.actors.mail import BarsClosed
from avwapd.config import Config, load
from avwapd.core.machine import FROZEN
from avwapd.demo_venue.desk_shapes import PROFILES
from avwapd.feeds.market import Market
from avwapd.feeds.world import build, warm
from avwapd.remote.credentials import Credentials, Secret
from avwapd.remote.terms import terms_of
from avwapd.store.audit import audit
from avwapd.store.ids import is_ours
from avwapd.venues.alpaca import alpaca_venue
from avwapd.venues.ccxt import open_ccxt
from avwapd.venues.port import Request, VenueDoubt, VenueRefused
from tests.actors_router.bench import SPEED, Bench, MarketTime, living
from tests.venue.simulators import running
from tests.wire_faults.play import SETTINGS

LOST_MS = 240_000  # market time; look-ups that lie with a chance of three in four do so for less
SENDS = ["submit", "replace", "cancel"]
KINDS = ("lose_request", "lose_answer", "reset", "cut_answer", "gateway_504_taken")
NO_ORDER = ("REJECTED", "EXPIRED", "STALE", "DENIED")
OPEN_ROWS = ("NEW", "SENDING", "UNKNOWN")
EXCHANGES = ("binance", "kraken")
Send = Callable[[Request], Awaitable[None]]
Plant = Callable[[Send], Send]
ROWS = """
SELECT x.cid, x.kind, x.state, x.attempts, o.symbol_id, o.filled_qty, ifnull(x.note, '')
FROM outbox x JOIN orders o ON o.cid = coalesce(iif(x.kind = 'cancel', x.ref_cid, NULL), x.cid)
"""


def flat(sections: dict[str, Any]) -> dict[str, str]:
    """TOML sections as options of the command line."""
    return {
        f"{section}.{name}": str(value).lower() if isinstance(value, bool) else str(value)
        for section, values in sections.items()
        for name, value in values.items()
    }


def options(url: str, source: Market, wire: str, *, answer_ms: int, settling_ms: int) -> dict[str, str]:
    more = {
        "run.mode": "paper",
        "run.timeframe": source.timeframe,
        "venue.name": wire,
        "venue.address": url,
        "venue.speed": str(SPEED),
        "venue.skew_limit_ms": "600000",
        "venue.settling_ms": str(settling_ms),
        "venue.calls_minute": "100000",
        "venue.reserve_calls": "1000",
        "venue.breaker_failures": "1000",
        "venue.threads": "32",
        "order.answer_limit_ms": str(answer_ms),
        "order.fresh_ms": str(20 * 60_000),
        "gates.entries_per_symbol_day": "200",
        "caps.max_positions": "10000",
        "size.method": "volatility_proxy",
        "size.proxy_fraction": "0.01",
        "size.min_position": "0",
        "exit.flatten_before_close": "false",
        "exit.invalidation": "true",
    }
    return flat(tomllib.loads(SETTINGS)) | more


def chances(share_lost: float, clean: float) -> dict[str, float]:
    """Chances of KINDS in the order in which they are rolled, so that each send meets one of them, or none if clean."""
    left, rolled = 1.0, {}
    each = (1.0 - share_lost - clean) / (len(KINDS) - 1)
    for name in KINDS:
        share = share_lost if name == "lose_request" else each
        rolled[name] = min(1.0, share / left)
        left -= share
    return rolled if clean else rolled | {KINDS[-1]: 1.0}


@dataclass
class Outcome:
    """What a world came to. fired: ambiguous sends by fault; asked: by request; ends: of the doubted orders."""

    profile: str
    fired: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    marks: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(
            self.profile,
            self.fired + other.fired,
            self.asked + other.asked,
            self.ends + other.ends,
            self.marks + other.marks,
            self.wrong + other.wrong,
        )

    @property
    def sends(self) -> int:
        return self.fired.total()

    def line(self) -> str:
        kinds = ", ".join(f"{name} {self.fired[name]}" for name in KINDS)
        ends = ", ".join(f"{name} {count}" for name, count in sorted(self.ends.items()))
        marks = ", ".join(f"{name} {count}" for name, count in sorted(self.marks.items()))
        state = "kept" if not self.wrong else f"{len(self.wrong)} WRONG"
        return f"  {self.profile}: {self.sends} ambiguous sends ({kinds}); orders in doubt: {ends}; {marks}; {state}"


class Line:
    """Between router and client: what each request met."""

    def __init__(self, send: Send) -> None:
        self.doubted: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self._send = send

    async def send(self, request: Request) -> None:
        try:
            await self._send(request)
        except VenueDoubt:
            self.doubted[request.cid] += 1
            raise
        except VenueRefused as refused:
            self.seen["duplicates refused"] += refused.duplicate
            raise


def half() -> float:
    """For jitter."""
    return 0.5


@asynccontextmanager
async def opened(
    folder: Path, source: Market, profile: str, *, reconciling: bool, plant: Plant | None, seed: int
) -> AsyncIterator[tuple[Bench, Line]]:
    wire = profile if profile in EXCHANGES else "alpaca"
    slow = profile == "slow"
    first_ms = int(source.bars["ts_ms"][0])
    manners = PROFILES.get(profile, PROFILES["strict"])
    async with running(
        folder / "venue", market=source, first_ms=first_ms, profile=manners, seed=seed, wire=wire
    ) as at:  # fmt: skip
        answer_ms, settling_ms = (700, 6_000) if slow else (300, 6_000)
        words = options(at.url, source, wire, answer_ms=answer_ms, settling_ms=settling_ms)
        config: Config = load(None, folder=Path("/nonexistent"), environ={}, options=words)
        setup = build(config, source)
        warm(setup)
        clock = MarketTime(at.sim)
        terms = terms_of(source.symbols, source.instruments, "-" if wire == "alpaca" else "/")
        venue: Any
        if wire == "alpaca":
            unique = profile != "lenient"
            venue = alpaca_venue(
                config, terms, clock, ours=is_ours, chance=half, environment={}, refuses_duplicates=unique
            )
        else:
            keys = Credentials(Secret("key"), Secret("c2VjcmV0"))
            venue = await open_ccxt(config, keys, terms, clock, ours=is_ours, jitter=half)
        line = Line(plant(venue.send) if plant is not None else venue.send)
        venue.send = line.send
        there = Bench(at, config, setup, clock, venue, folder / "avwapd.db", lost_ms=LOST_MS)
        try:
            async with living(there, terms, reconciling=reconciling, orders_minute=0, at_once=32):
                yield there, line
        finally:
            with anyio.CancelScope(shield=True):
                await venue.close()


async def play(
    folder: Path,
    source: Market,
    profile: str,
    *,
    seed: int = 1,
    share_lost: float = 0.2,
    lies: float = 0.2,
    deaf: float = 0.0,
    clean: float = 0.0,
    reconciling: bool = False,
    plant: Plant | None = None,
    limit_s: float = 600.0,
) -> Outcome:
    """Play the market to its end; then a perfect line, until all is known.

    share_lost: of the sends that never arrive; lies: chance that a look-up does not find what is there; deaf: chance
    that the stream leaves an event out; clean: share of the sends that meet no fault.
    """
    outcome = Outcome(profile)
    async with opened(folder, source, profile, reconciling=reconciling, plant=plant, seed=seed) as (there, line):
        faults = there.sim.faults
        for name, chance in chances(share_lost, clean).items():
            faults.set(name, {"on": SENDS, "p": chance})
        if lies:
            faults.set("not_found_lie", {"p": lies})
        if deaf:
            faults.set("dropped_events", {"on": "stream", "p": deaf})
        with anyio.fail_after(limit_s):
            await trade(there)
            faults.clear()
            await there.quiet()
        outcome.fired = Counter({name: faults.fired[name] for name in KINDS})
        outcome.asked = Counter(fired["where"] for fired in faults.log if fired["fault"] in KINDS)
        outcome.marks = line.seen + Counter({"lies": faults.fired["not_found_lie"]})
        await judge(there, line, outcome)
    return outcome


async def trade(there: Bench) -> None:
    """Bars from the running market into the machines until it is over."""
    send, receive = anyio.create_memory_object_stream[Any](10_000)
    there.sim.market.on_bars.append(lambda ts_ms, rows: send.send_nowait(rows))
    async with anyio.create_task_group() as group:
        group.start_soon(fold, there, receive)
        there.sim.market.pause(False)
        while not there.sim.market.over:  # noqa: ASYNC110 - it has no event of its own
            await anyio.sleep(0.05)
        send.close()


async def fold(there: Bench, bars: MemoryObjectReceiveStream[Any]) -> None:
    async with bars:
        async for rows in bars:
            mail = BarsClosed(rows)
            await there.symbols.put(mail)
            await mail.folded.wait()
            there.market_ms = int(rows[0]["ts_ms"])


async def judge(there: Bench, line: Line, outcome: Outcome) -> None:
    """Both sides at the end. What the profile can tell has one order or none, never two, and nobody waits."""
    wrong, can_tell = outcome.wrong, outcome.profile != "lenient"
    row = getattr(there.venue, "row", None)
    made: dict[str, list[Any]] = {}
    for order in there.sim.desk.all_orders():
        made.setdefault(row.from_venue(order.client_id) if row else order.client_id, []).append(order)
    terms = list(terms_of(there.setup.market.symbols, there.setup.market.instruments).values())
    rows = await there.rows(ROWS)
    alerts = [what for level, what in await there.alerts() if level == "critical"]
    halted = {int(i) for i in (there.states["halted"] == FROZEN).nonzero()[0]}
    known = {row[0] for row in rows if row[1] != "cancel"}
    wrong += [f"{cid}: at the venue, in no outbox" for cid in made.keys() - known]
    for cid, kind, state, _, symbol, filled, note in rows:
        if state in OPEN_ROWS and (symbol not in halted or can_tell):
            wrong.append(f"{cid}: {kind} is {state} at the end, nobody was called ({note})")
        if kind == "cancel":
            continue
        orders = made.get(cid, [])
        at_venue = sum(terms[symbol].lots(order.filled) for order in orders)
        if len(orders) > 1:
            wrong.append(f"{cid}: {len(orders)} orders at the venue, {kind} {state}")
        if not orders and state not in (*NO_ORDER, *OPEN_ROWS):
            wrong.append(f"{cid}: {state}, and the venue never had it")
        if orders and state in NO_ORDER and any(order.live or order.filled for order in orders):
            wrong.append(f"{cid}: {state} ({note}), at the venue {orders[0].status}, {at_venue} filled")
        if at_venue != filled:
            wrong.append(f"{cid}: {filled} lots filled, at the venue {at_venue}")
        if state == "UNKNOWN" and not any(cid in what for what in alerts):
            wrong.append(f"{cid}: in doubt, and no alert names it")
        if line.doubted[cid]:
            none = "halted" if state == "UNKNOWN" else "none, told so"
            outcome.ends[("one" if len(orders) == 1 else "two") if orders else none] += 1
            if line.doubted[cid] > 1:
                outcome.marks["in doubt again"] += 1
    outcome.marks["symbols halted"] = len(halted)
    if can_tell and halted:  # nobody has to be called where the venue can tell
        wrong.append(f"{len(halted)} symbols halted: {alerts[:3]}")
    held, at_venue = there.held(), there.sim.desk.true_positions()
    for term in terms:
        ours, theirs = held.get(term.symbol, 0), at_venue.get(term.symbol, Decimal(0))
        if not ours * term.lot <= theirs < (ours + 1) * term.lot:  # less than a lot of a coin is not counted
            wrong.append(f"{term.symbol}: {ours} lots held, at the venue {theirs}")
    run = there.config.run
    found = await there.writer.submit(lambda conn: audit(conn, account=run.account, strategy=run.strategy))
    wrong += [str(one) for one in found]
