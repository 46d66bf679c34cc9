"""Questions to Alpaca's trading API: orders, executions, the account, the clock; every answer checked by shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from avwapd.ports import Clock
from avwapd.remote.calls import NoAnswer, Rejected, Shut, assert_prompt
from avwapd.remote.line import Line
from avwapd.remote.terms import Terms, plain
from avwapd.venues import alpaca_words as words
from avwapd.venues.alpaca_words import Fill, Misshapen, Seen
from avwapd.venues.port import Books, Holding, OpenOrder, VenueDoubt, VenueShut

if TYPE_CHECKING:
    from alpaca.trading.client import TradingClient

ORDERS_AT_ONCE = 500  # of a listing, the most that the API gives
FILLS_AT_ONCE = 100
PAGES = 200  # of executions


class Reads:
    """Every call raises VenueDoubt (VenueShut) where there is no clear answer, and nothing else."""

    def __init__(
        self,
        client: TradingClient,
        line: Line,
        terms: Mapping[str, Terms],
        clock: Clock,
        ours: Callable[[str], bool],
    ) -> None:
        self._client = client
        self._line = line
        self._terms = terms
        self._clock = clock
        self.is_open: bool | None = None  # by the venue's own clock, when that said `clock_ms`
        self.clock_ms = 0
        self._asked_at: float | None = None
        self._ours = ours
        self._symbols = {one.wire: symbol for symbol, one in terms.items()}
        # Positions in coins lack the slash that orders have.
        self._symbols |= {one.wire.replace("/", ""): symbol for symbol, one in terms.items()}

    def ours_of(self, wire: str) -> str | None:
        """Our name of the venue's symbol."""
        return self._symbols.get(wire)

    async def order_by_cid(self, cid: str) -> Seen | None:
        """None where the venue says that there is none."""
        return await self._order("/orders:by_client_order_id", {"client_order_id": cid})

    async def order_by_id(self, venue_id: str) -> Seen | None:
        return await self._order(f"/orders/{venue_id}", None)

    async def _order(self, path: str, query: dict[str, Any] | None) -> Seen | None:
        try:
            answer = await self._get(path, query)
        except Rejected as no:
            if no.status == 404 and no.code == words.NOT_FOUND:
                return None
            raise VenueDoubt(f"status {no.status}: {no.message[:100]}") from no
        order: Seen = self._shaped(words.seen, answer)
        return order

    async def orders(self, status: str, wires: Sequence[str] = ()) -> list[Seen]:
        """Ours among the newest 500 of `open` or `all`; the strangers' shapes do not matter. wires: of these alone."""
        rows = await self._open_rows(status, wires)
        return [self._shaped(words.seen, row) for row in rows if self._ours(_cid(row))]

    async def _open_rows(self, status: str, wires: Sequence[str] = ()) -> list[Any]:
        query = {"status": status, "limit": ORDERS_AT_ONCE, "direction": "desc", "nested": "false"}
        if wires:
            query["symbols"] = ",".join(wires)
        rows: list[Any] = self._shaped(partial(words.listing, what="orders"), await self._told("/orders", query))
        if status == "open" and len(rows) >= ORDERS_AT_ONCE:
            raise VenueDoubt(f"{len(rows)} open orders: more than one answer holds")
        return rows

    async def fills(self, since_ms: int) -> list[Fill]:
        """Executions of the account since then, the oldest first. A page that makes no headway is a doubt."""
        query: dict[str, Any] = {
            "after": words.stamp(since_ms),
            "direction": "asc",
            "page_size": FILLS_AT_ONCE,
        }
        found: list[Fill] = []
        tokens: set[str] = set()
        for _ in range(PAGES):
            answer = await self._told("/account/activities/FILL", dict(query))
            rows = self._shaped(partial(words.listing, what="activities"), answer)
            for row in rows:
                if not isinstance(row, dict) or row.get("type") in ("fill", "partial_fill", None):
                    found.append(self._shaped(words.activity_fill, row))
            if len(rows) < FILLS_AT_ONCE:
                return found
            token = self._shaped(partial(words.text, name="id"), rows[-1])
            if token in tokens:
                raise VenueDoubt("the executions' pages go round in a circle")
            tokens.add(token)
            query["page_token"] = token
        raise VenueDoubt(f"more than {PAGES} pages of executions")

    async def books(self) -> Books:
        """Account, positions and open orders, one after the other."""
        account = self._shaped(partial(words.mapping, what="an account"), await self._told("/account", None))
        positions = self._shaped(partial(words.listing, what="positions"), await self._told("/positions", None))
        rows = await self._open_rows("open")
        holdings, foreign = self._shaped(self._holdings, positions)
        money = {
            name: plain(self._shaped(partial(words.number, name=name), account))
            for name in ("cash", "equity", "buying_power")
        }
        return Books(
            read_ms=self._clock.now_ms(),
            holdings=holdings,
            orders=[self._shaped(self._open_order, row) for row in rows],
            foreign=foreign,
            **money,
        )

    def _holdings(self, rows: list[Any]) -> tuple[dict[str, Holding], dict[str, str]]:
        holdings: dict[str, Holding] = {}
        foreign: dict[str, str] = {}
        for value in rows:
            row = words.mapping(value, "a position")
            wire, qty = words.text(row, "symbol"), words.number(row, "qty")
            if words.text(row, "side", empty=True) == "short":
                qty = -abs(qty)
            symbol = self.ours_of(wire)
            if symbol in holdings or wire in foreign:
                raise Misshapen(f"{wire} stands twice among the positions")
            if symbol is None:
                foreign[wire] = plain(qty)
                continue
            terms = self._terms[symbol]
            entry = float(words.number(row, "avg_entry_price"))
            holdings[symbol] = Holding(symbol, terms.lots(qty), plain(terms.rest(qty)), entry)
        return holdings, foreign

    def _open_order(self, value: Any) -> OpenOrder:
        """Also a stranger's, whatever it has for fields: that it is there is what matters."""
        row = words.mapping(value, "an order")
        cid, wire = _cid(row), str(row.get("symbol") or "")
        return OpenOrder(
            cid=cid,
            venue_id=words.text(row, "id"),
            symbol=self.ours_of(wire) or wire,
            side=words.SIDES.get(str(row.get("side")), 0),
            qty=str(row.get("qty") or "0"),
            filled=str(row.get("filled_qty") or "0"),
            type=str(row.get("type") or row.get("order_type") or ""),
            ours=self._ours(cid),
        )

    @property
    def clock_age_s(self) -> float | None:
        """How old the newest word of the venue's clock is, by the wall; None before there was one."""
        return None if self._asked_at is None else self._clock.monotonic() - self._asked_at

    async def skew_ms(self) -> int:
        """The venue's clock less ours (market time), corrected by half the round trip."""
        before_ms, begun = self._clock.now_ms(), self._clock.monotonic()
        answer = await self._told("/clock", None)
        after_ms = self._clock.now_ms()
        try:
            assert_prompt(self._clock.monotonic() - begun)
        except NoAnswer as error:
            raise VenueDoubt(str(error)) from error
        row = self._shaped(partial(words.mapping, what="a clock"), answer)
        theirs: int = self._shaped(lambda clock: words.moment(clock, "timestamp"), row)
        is_open = row.get("is_open")
        self.is_open = is_open if isinstance(is_open, bool) else None
        self.clock_ms, self._asked_at = theirs, self._clock.monotonic()
        return theirs - (before_ms + after_ms) // 2

    async def _told(self, path: str, query: dict[str, Any] | None) -> Any:
        try:
            return await self._get(path, query)
        except Rejected as no:
            raise VenueDoubt(f"status {no.status}: {no.message[:100]}") from no

    async def _get(self, path: str, query: dict[str, Any] | None) -> Any:
        try:
            return await self._line.question(partial(self._client.get, path, query))
        except Shut as shut:
            raise VenueShut(shut.reason, shut.retry_s) from shut
        except NoAnswer as error:
            raise VenueDoubt(str(error)) from error

    @staticmethod
    def _shaped(read: Callable[[Any], Any], value: Any) -> Any:
        try:
            return read(value)
        except Misshapen as error:
            raise VenueDoubt(str(error)) from error


def _cid(row: Any) -> str:
    cid = row.get("client_order_id") if isinstance(row, dict) else None
    return cid if isinstance(cid, str) else ""
