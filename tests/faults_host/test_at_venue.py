"""Rows 5, 19, 20, 52 and 62 at a venue: the whole daemon, real client and sockets, a market by hand."""

from __future__ import annotations

import socket
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from avwapd import daemon
from avwapd.actors.reconcile import Reconciler
from avwapd.store.audit import audit
from avwapd.venues.port import VenueDoubt
from tests.actors_router.bench import MarketTime
from tests.gates import living
from tests.gates.living import PUBLISHED_MS, Life, life, venue
from tests.remote.raw import http, raw
from tests.venues.ccxt_kit import desk

PAPER: dict[str, Any] = {"mode": "paper", "size__risk_fraction": "0.01", "venue__skew_limit_ms": "2000"}
HOUR_MS = 3_600_000
ENTRIES = "SELECT count(*) FROM orders WHERE purpose = 'entry'"


class Set(MarketTime):
    """The market's clock, and how far ours is off."""

    off_ms = 0
    slept_s = 0.0

    def now_ms(self) -> int:
        return super().now_ms() + self.off_ms

    def monotonic(self) -> float:
        return super().monotonic() + self.slept_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> type[Set]:
    monkeypatch.setattr(living, "MarketTime", Set)
    monkeypatch.setattr(Set, "off_ms", 0)
    monkeypatch.setattr(Set, "slept_s", 0.0)
    return Set


async def compares(there: Life, readings: int = 2) -> None:
    """So many looks at the venue's clock and books, then at the gates."""
    reconciler: Any = there.daemon.at_venue.reconciler  # type: ignore[union-attr]
    for _ in range(readings):
        reconciler._skew_at = None
        await reconciler.turn()
    for _ in range(2):
        await there.daemon.gates.look()


async def whole(there: Life) -> None:
    """The audit has nothing to say, no bar was decided twice, none before its close at the venue."""
    assert await there.daemon.writer.submit(lambda conn: audit(conn, account="sim", strategy="avwap")) == []
    assert await there.rows("SELECT ts_ms, symbol_id FROM bars GROUP BY 1, 2 HAVING count(*) > 1") == []
    assert (await there.rows("SELECT max(ts_ms) FROM decisions"))[0][0] <= there.there.sim.market.now_ms()


@pytest.mark.parametrize("off_ms", [HOUR_MS, -HOUR_MS, 5_000, -5_000])
async def test_a_clock_beside_the_venues_opens_nothing(off_ms: int, clock: type[Set], tmp_path: Path) -> None:
    """Rows 19 and 20: two looks, then no entry until it is right again; what is held keeps its stop and may leave."""
    async with venue(tmp_path) as at, life(at, tmp_path, **PAPER) as there:
        await there.bars_until(lambda: bool((there.states["qty"] > 0).any()))
        clock.off_ms = off_ms
        await compares(there)
        assert there.is_closed("clock_skew") == f"clock skew {-off_ms / 1000:.1f} s"
        before = await there.rows(ENTRIES)
        at.sim.market.half(12)
        await anyio.sleep(0.3)
        assert await there.rows(ENTRIES) == before, "nothing is opened"
        clock.off_ms = 0
        await compares(there)
        assert there.is_closed("clock_skew") == ""
        await there.bar(10)
        await whole(there)
        assert await there.rows("SELECT count(*) FROM alerts WHERE what LIKE 'clock skew%'") == [(2,)]


async def test_a_second_off_is_none(clock: type[Set], tmp_path: Path) -> None:
    """Row 20, and the control of the one above: under the limit nothing happens."""
    async with venue(tmp_path) as at, life(at, tmp_path, **PAPER) as there:
        await there.bar(5)
        for _ in range(20):
            clock.off_ms += 50  # ours is ahead; behind, this market, which stands at a close, would not be over it
            await there.bar()
        await compares(there)
        assert there.is_closed("clock_skew") == ""
        await whole(there)


async def test_a_question_in_which_the_machine_slept_says_nothing_about_the_clock(
    clock: type[Set], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Row 5: the answer is from before; half of that round trip would be five minutes off."""
    async with venue(tmp_path) as at, life(at, tmp_path, **PAPER) as there:
        await there.bar(2)
        asked: Any = there.daemon.at_venue._venue  # type: ignore[union-attr]
        told = asked._reads._told

        async def sleeps(path: str, query: Any) -> Any:
            answer = await told(path, query)
            clock.off_ms, clock.slept_s = 600_000, 600.0
            return answer

        with monkeypatch.context() as patch:
            patch.setattr(asked._reads, "_told", sleeps)
            with pytest.raises(VenueDoubt, match="600 s on its way"):
                await asked.skew_ms()
        assert await asked.skew_ms() == -600_000, "the next one is taken"


async def test_nor_does_one_at_an_exchange(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Row 5: signed requests would follow that difference."""
    async with desk(tmp_path, "binance") as here:
        exchange: Any = here.venue.exchange
        before = await here.venue.skew_ms()
        ask, follows = exchange.ask, dict(exchange.api.options)
        slept = [0.0]
        real = exchange._clock.monotonic

        async def sleeps(*given: Any) -> Any:
            answer = await ask(*given)
            slept[0] = 600.0
            return answer

        monkeypatch.setattr(exchange._clock, "monotonic", lambda: real() + slept[0])
        with monkeypatch.context() as patch:
            patch.setattr(exchange, "ask", sleeps)
            with pytest.raises(VenueDoubt, match="600 s on its way"):
                await here.venue.skew_ms()
        assert exchange.api.options == follows
        assert abs(await here.venue.skew_ms() - before) <= 1_000


# ------------------------------------------------------------------------------------------------- two daemons


async def test_a_second_ledger_of_the_same_account_opens_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Row 52: it meets orders with its own kind of id that it never made. The first one goes on."""
    monkeypatch.setattr(
        Reconciler, "assert_funded", lambda self: anyio.lowlevel.checkpoint()
    )  # an open loss is refused before
    async with venue(tmp_path) as at, life(at, tmp_path, **PAPER) as first:
        await first.bars_until(lambda: bool((first.states["qty"] > 0).any()))
        (tmp_path / "other").mkdir()
        async with life(at, tmp_path / "other", **PAPER) as second:
            await compares(second)
            for _ in range(20):
                await first.bar()
                second.daemon.bars.feed._event.set()  # type: ignore[union-attr]
                await anyio.sleep(0.01)
            await compares(second)
            assert second.is_closed("ledger") or (second.states["halted"] > 0).any()
            alerts = [what for (what,) in await second.rows("SELECT what FROM alerts")]
            assert any("never made" in what for what in alerts), alerts
            assert await second.rows("SELECT count(*) FROM outbox WHERE state NOT IN ('DENIED', 'STALE')") == [(0,)]
        made = Counter(order.client_id for order in at.sim.desk.all_orders())
        assert max(made.values()) == 1, made
        ours = {cid for (cid,) in await first.rows("SELECT cid FROM orders")}
        assert set(made) <= ours, "all that is at the venue is the first one's"
        await whole(first)


# -------------------------------------------------------------------------------------------------- the network


PAGE = b"<html><body>Please log in to this network</body></html>"
NETWORKS = {
    "no name": b"",
    "a page": http(PAGE, kind="text/html"),
    "a redirect": http(PAGE, status="302 Found", kind="text/html", extra="Location: http://login.invalid/\r\n"),
}
OPEN_ENDS = "SELECT count(*) FROM outbox WHERE state IN ('NEW', 'SENDING', 'UNKNOWN')"


@dataclass
class Resolver:
    """What the venue's name leads to: nowhere (0), or a port of this machine."""

    port: int
    asked: int = 0

    def __call__(self, host: Any, port: Any, *_: Any, **__: Any) -> Any:
        self.asked += 1
        if not self.port:
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", self.port))]


async def next_bar(there: Life) -> None:
    """Decided, whatever becomes of its orders."""
    market = there.there.sim.market
    market.half(2)
    market.idle(PUBLISHED_MS)
    ts_ms = int(market.bar_rows(market._next - 1)[0]["ts_ms"])
    there.daemon.bars.feed._event.set()  # type: ignore[union-attr]
    await there.until(lambda: there.daemon.journal.last_ms >= ts_ms)


@pytest.mark.parametrize(
    "kind", ["a page", *(pytest.param(kind, marks=pytest.mark.campaign) for kind in ("no name", "a redirect"))]
)
async def test_a_network_that_leads_elsewhere_is_a_doubt_and_one_order(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Row 62: orders go into the void or to a page that wants a password; each is a doubt, and there once or never."""
    monkeypatch.setattr(daemon, "LOST_MS", 60_000)  # ten minutes of the market would be ten seconds of the test
    async with (
        venue(tmp_path) as at,
        raw(any=NETWORKS[kind] or http(b"")) as elsewhere,
        life(at, tmp_path, **PAPER) as there,
    ):
        await there.bar(5)
        resolver = Resolver(elsewhere.port if NETWORKS[kind] else 0)
        client: Any = there.daemon.at_venue._venue  # type: ignore[union-attr]
        with monkeypatch.context() as patch:
            patch.setattr(socket, "getaddrinfo", resolver)
            client._client._session._adapter.poolmanager.clear()  # what is open stays open
            for _ in range(60):
                await next_bar(there)
                if await there.rows("SELECT 1 FROM outbox WHERE state = 'UNKNOWN'"):
                    break
            [(doubtful,)] = await there.rows("SELECT count(*) FROM outbox WHERE state = 'UNKNOWN'")
            assert doubtful > 0, "no order met that network"
            assert resolver.asked > 0
            held = {order.client_id for order in at.sim.desk.all_orders()}
            assert held == set(), "nothing has reached the venue"
            await compares(there, 1)
            assert there.daemon.at_venue.reconciler.failed > 0  # type: ignore[union-attr]
            assert elsewhere.connections > 0 or not NETWORKS[kind]
        for _ in range(3):
            await next_bar(there)
            await anyio.sleep(0.05)
        await compares(there)
        with anyio.fail_after(20):
            while (await there.rows(OPEN_ENDS))[0][0]:  # noqa: ASYNC110 - nobody rings for a test
                await anyio.sleep(0.05)
        made = Counter(order.client_id for order in at.sim.desk.all_orders())
        assert max(made.values(), default=1) == 1
        await whole(there)
