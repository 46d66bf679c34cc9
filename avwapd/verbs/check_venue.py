"""`check --mode venue`: the account, the clock, a page of bars, and an order far from the market, placed and canceled.

Through the same adapters as the daemon's. The order is a limit order to buy the least there is at half the last close;
it is canceled whatever happens in between. On a live account none is placed unless --order says so.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from avwapd.config import Config, ConfigError, load
from avwapd.ops.finding import FAIL, OK, WARN, Finding, exit_code
from avwapd.paths import resolve
from avwapd.remote.calls import joined
from avwapd.verbs.check import summed, told

if TYPE_CHECKING:
    from avwapd.ports import Clock
    from avwapd.remote.terms import Terms
    from avwapd.venues.port import RemoteVenue, Request, VenueOrder
    from avwapd.verbs.fetch_source import Source

FAR = 0.5  # of the last close
DAYS_BACK = 5  # the last bar may lie behind a long week-end
SEEN_S, CANCELED_S, CLEAN_S = 15.0, 15.0, 15.0  # wall seconds at most
POLL_S = 0.25
MODES = ("paper", "live")
STEPS = ("account", "clock", "bars", "order placed", "order seen", "order canceled")
LOOKS_ONLY = "the live account is only looked at; --order places one there"
AGAIN = "see address, keys and network; then again"
SHOWN = 8
DAY_MS = 86_400_000


@dataclass(frozen=True)
class Desk:
    """What the steps need. reason: why no order is placed, "" where one is; remedy: the next step then."""

    venue: RemoteVenue
    source: Source
    clock: Clock
    terms: Terms
    cid: Callable[[str], str]
    timeframe_ms: int
    skew_limit_ms: int
    symbols: tuple[str, ...] = ()  # that the run will trade
    least: tuple[float, str, str] | None = None  # equity that orders are sized by, its currency, what to do with less
    simulated: bool = False
    reason: str = ""
    remedy: str = ""


def run_venue(args: argparse.Namespace) -> int:
    """0 where all went well, 1 where something did not, 2 with a warning; 78 where nothing could be begun."""
    mode = "live" if args.live else "paper"
    config = config_for(Path(args.config) if args.config else None, mode)
    findings: list[Finding] = []

    def tell(finding: Finding) -> None:
        findings.append(finding)
        told(args, finding)

    async def work() -> None:
        from avwapd.feeds.live import FeedDoubt
        from avwapd.verbs.check_desk import desk_for

        async with AsyncExitStack() as stack:
            try:
                desk = await desk_for(config, mode, resolve(args.state_dir), args, stack)
            except FeedDoubt as doubt:
                tell(Finding(STEPS[0], FAIL, unclear(doubt), AGAIN))
                for name in STEPS[1:]:
                    tell(Finding(name, FAIL, "not tried: the venue does not answer", f"see {STEPS[0]}"))
                return
            async with aclosing(steps(desk)) as found:
                async for finding in found:
                    tell(finding)

    anyio.run(work)
    summed(args, findings, config)
    return exit_code(findings, args.strict)


def config_for(path: Path | None, mode: str) -> Config:
    """The configuration, for this account. Raises ConfigError where it names no venue, or the other account."""
    config = load(path)
    if config.venue.name == "embedded":
        what = "no venue across a network is configured: venue.name is embedded"
        next_step = "set venue.name, as in AVWAPD_VENUE__NAME=alpaca"
        raise ConfigError(what, config.origins.get("venue.name", "[venue]"), next_step)
    if config.run.mode == mode:
        return config
    if config.run.mode in MODES:
        what = f"run.mode is {config.run.mode}, this would look at the {mode} account"
        raise ConfigError(what, config.origins.get("run.mode", "[run]"), "leave --live out")
    return load(path, options={"run.mode": mode, "run.market": "archive"})


# --------------------------------------------------------------------- steps


async def steps(desk: Desk) -> AsyncGenerator[Finding, None]:
    """One finding after the other; what cannot be tried any more says so."""
    yield await tried("account", account(desk))
    yield await tried("clock", skew(desk))
    closes: list[float] = []
    yield await tried("bars", bars(desk, closes))
    if desk.reason:
        # By wish it is no trouble; otherwise a part of the check is lacking.
        verdict = OK if desk.reason == LOOKS_ONLY else WARN
        yield Finding("order", verdict, f"none placed: {desk.reason}", "" if verdict == OK else desk.remedy)
        return
    if not closes:
        for name in STEPS[3:]:
            yield Finding(name, FAIL, "not tried: without a price there is nothing far from it", "see bars")
        return
    async with aclosing(ordered(desk, closes[0])) as found:
        async for finding in found:
            yield finding


async def tried(name: str, step: Awaitable[Finding]) -> Finding:
    """The step's finding, or its failure as one."""
    from avwapd.feeds.live import FeedDoubt
    from avwapd.venues.port import VenueDoubt, VenueRefused, VenueShut

    try:
        return await step
    except VenueShut as error:
        return Finding(name, FAIL, f"the venue takes nothing: {error.reason}", f"again in {error.retry_s:g} s")
    except VenueRefused as error:
        return Finding(name, FAIL, f"refused: {error.reason}", "see the account at the venue")
    except (VenueDoubt, FeedDoubt) as error:
        return Finding(name, FAIL, unclear(error), AGAIN)


def unclear(error: Exception) -> str:
    return joined("no clear answer", str(error) or type(error).__name__)


async def account(desk: Desk) -> Finding:
    books = await desk.venue.books()
    figures = (("cash", books.cash), ("equity", books.equity), ("buying power", books.buying_power))
    said = [f"{word} {value}" for word, value in figures if value]
    held = sum(1 for holding in books.holdings.values() if holding.qty) + len(books.foreign)
    said += [f"{held} held", f"{len(books.orders)} orders open"]
    worth = float(books.equity or books.cash or 0)
    if desk.least is not None and worth < desk.least[0]:
        least, currency, remedy = desk.least
        said.append(f"less than equity.start.{currency} = {least:g}")
        return Finding("account", FAIL, ", ".join(said), remedy)
    return Finding("account", OK, ", ".join(said))


async def skew(desk: Desk) -> Finding:
    found = await desk.venue.skew_ms()
    what = f"the venue's is {abs(found)} ms {'ahead' if found >= 0 else 'behind'}"
    if abs(found) > desk.skew_limit_ms:
        next_step = "set this machine's clock (NTP)"
        if desk.simulated:
            next_step = "set venue.speed to the simulated venue's; the line that demo-venue starts with has it"
        return Finding("clock", FAIL, f"{what}; allowed are {desk.skew_limit_ms} ms", next_step)
    return Finding("clock", OK, what)


async def bars(desk: Desk, closes: list[float]) -> Finding:
    """A page of bars; the last close goes into `closes`."""
    from avwapd.feeds.check import check_bars
    from avwapd.verbs.tables import moment

    now = desk.clock.now_ms()
    reach = desk.source.reach_ms
    first = max(now - DAYS_BACK * DAY_MS, 0 if reach is None else reach + desk.timeframe_ms)
    rows = await desk.source.history((desk.terms.symbol,), first, now)
    if not len(rows):
        what = f"no bar of {desk.terms.symbol} in {DAYS_BACK} days"
        return Finding("bars", FAIL, what, "name another symbol: --symbol S; see venue.data_address and feed.plan")
    bad = check_bars(rows, timeframe_ms=1, now_ms=now).counts
    newest = rows[-1]
    what = f"{len(rows)} of {desk.terms.symbol}, the last closed {moment(int(newest['ts_ms'])).split()[0]}"
    if bad:
        return Finding("bars", FAIL, f"{what}; refused: {bad}", "the venue sends what is no bar")
    closes.append(float(newest["close"]))
    there = await desk.source.instruments(desk.symbols) if desk.symbols else {}
    if unknown := [symbol for symbol in desk.symbols if symbol not in there]:
        names = ", ".join(unknown[:SHOWN]) + (f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else "")
        return Finding("bars", FAIL, f"{what}; the venue does not know {names}", "take them out of run.symbols")
    return Finding("bars", OK, f"{what} at {float(newest['close']):g}")


# --------------------------------------------------------------------- order


async def ordered(desk: Desk, close: float) -> AsyncGenerator[Finding, None]:
    """Placed, seen, canceled. Whatever ends this, the order is canceled first."""
    from avwapd.venues.port import Request

    terms = desk.terms
    price = max(1, math.floor(close * FAR / float(terms.tick)))
    lots = least_lots(terms, price)
    cid = desk.cid("check")
    request = Request("submit", cid, "", terms.symbol, "check", 1, "limit", lots, price, 0)
    words = f"buy {terms.qty_text(lots)} {terms.symbol} at {terms.price_text(price)} at most ({cid})"
    order = Placed(request)
    try:
        yield await tried("order placed", sent(desk, order, words))
        yield await tried("order seen", seen_there(desk, request))
        yield await tried("order canceled", taken_back(desk, order))
    finally:
        if order.there:
            with anyio.move_on_after(CLEAN_S, shield=True):
                await tried("clean-up", taken_back(desk, order))


@dataclass
class Placed:
    """there: it may be at the venue, for all we know."""

    request: Request
    there: bool = False


async def sent(desk: Desk, order: Placed, words: str) -> Finding:
    from avwapd.venues.port import VenueRefused, VenueShut

    wait_s = desk.venue.admit("submit", "check")
    if wait_s:
        await desk.clock.sleep(min(wait_s, SEEN_S))
        desk.venue.admit("submit", "check")
    order.there = True
    try:
        await desk.venue.send(order.request)
    except (VenueRefused, VenueShut) as error:
        order.there = getattr(error, "duplicate", False)
        raise
    return Finding("order placed", OK, words)


async def seen_there(desk: Desk, request: Request) -> Finding:
    """By our id, with the fields that we gave."""
    order = await waited(desk, request.cid, SEEN_S, lambda seen: seen is not None)
    if order is None:
        what = f"not found by its id within {SEEN_S:g} s"
        return Finding("order seen", FAIL, what, "look at the venue whether it is there, and cancel it")
    given = (request.symbol, request.side, request.qty, request.limit_ticks)
    has = (order.symbol, order.side, order.qty, order.limit_ticks)
    if given != has:
        return Finding("order seen", FAIL, f"it is another one there: {has} instead of {given}", "report this")
    if order.filled_qty:
        return Finding("order seen", FAIL, "it was filled, far from the market", "sell what was bought")
    return Finding("order seen", OK, f"{order.state}, as {order.venue_id or 'ours'}")


async def taken_back(desk: Desk, placed: Placed) -> Finding:
    """Cancel, and see it canceled."""
    from avwapd.venues.port import Request, VenueRefused

    name, request = "order canceled", placed.request
    if not placed.there:
        return Finding(name, FAIL, "there was none to cancel", "see order placed")
    cancel = Request("cancel", desk.cid("check-cancel"), request.cid, request.symbol, "check", 1, "", 0, 0, 0)
    desk.venue.admit("cancel", "check")
    refusal = ""
    try:
        await desk.venue.send(cancel)
    except VenueRefused as error:
        refusal = f"; the cancel was refused: {error.reason}"
    order = await waited(desk, request.cid, CANCELED_S, lambda seen: seen is not None and seen.state != "live")
    if order is None or order.state != "canceled":
        state = "not to be found" if order is None else order.state
        what = f"it is {state} {CANCELED_S:g} s after the cancel{refusal}"
        return Finding(name, FAIL, what, f"cancel {request.cid} at the venue by hand")
    placed.there = False
    return Finding(name, OK, "canceled, and seen so")


async def waited(
    desk: Desk, cid: str, limit_s: float, enough: Callable[[VenueOrder | None], bool]
) -> VenueOrder | None:
    """Look the order up until it is as wanted or the time is over; as it was last seen. Raises the last VenueDoubt
    where nothing was ever seen."""
    from avwapd.venues.port import VenueDoubt

    order: VenueOrder | None = None
    doubt: VenueDoubt | None = None
    with anyio.move_on_after(limit_s):
        while True:
            try:
                order = await desk.venue.look_up(cid)
                doubt = None
                if enough(order):
                    return order
            except VenueDoubt as error:
                doubt = error
            await desk.clock.sleep(POLL_S)
    if doubt is not None:
        raise doubt
    return order


def least_lots(terms: Terms, price_ticks: int) -> int:
    """The smallest order that the venue takes at this price."""
    price = price_ticks * terms.tick
    lots = max(1, math.ceil(terms.min_qty / terms.lot), math.ceil(terms.min_notional / (price * terms.lot)))
    return lots
