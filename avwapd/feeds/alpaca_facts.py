"""What Alpaca says besides bars: assets, sessions, corporate actions, which share of the volume its plan sees."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from avwapd.feeds.alpaca_rest import AlpacaRest, listed, milliseconds, moment, number
from avwapd.feeds.bar_source import FeedDoubt
from avwapd.feeds.calendar import BELL, all_sessions

NEW_YORK = ZoneInfo("America/New_York")
FEW = 20  # symbols that are asked for one by one, rather than all assets
SHARE_DAYS = 10
AT_ONCE = 200
# What changes a symbol in a way that no ratio of prices tells: kind of the answer -> field that names ours, and words.
CHANGES: Mapping[str, tuple[str, str]] = {
    "name_changes": ("old_symbol", "is called {new_symbol} from then on"),
    "unit_splits": ("old_symbol", "is split into units"),
    "spin_offs": ("source_symbol", "spins {new_symbol} off"),
    "cash_mergers": ("acquiree_symbol", "is taken over for cash"),
    "stock_mergers": ("acquiree_symbol", "becomes {acquirer_symbol}"),
    "stock_and_cash_mergers": ("acquiree_symbol", "becomes {acquirer_symbol} and cash"),
    "redemptions": ("symbol", "is redeemed"),
    "worthless_removals": ("symbol", "is removed as worthless"),
}


class ActionRow(NamedTuple):
    """As in the archive: earlier prices are multiplied by price_ratio, earlier volumes divided by split_ratio."""

    ex_date: int  # yyyymmdd
    symbol: str
    price_ratio: float
    split_ratio: float


class Change(NamedTuple):
    """Something that a human must look at before the symbol is traded again."""

    date: int  # yyyymmdd
    symbol: str
    what: str


class SessionDifference(NamedTuple):
    """A day on which the venue's calendar differs from the packaged one. open_ms = close_ms = 0: closed."""

    date: int
    open_ms: int
    close_ms: int
    packaged_open_ms: int
    packaged_close_ms: int


class AlpacaFacts:
    """The questions that are asked now and then. symbols: of the market."""

    def __init__(self, rest: AlpacaRest, symbols: Sequence[str], plan: str) -> None:
        self.rest = rest
        self.symbols = tuple(symbols)
        self.plan = plan

    def close(self) -> None:
        """Let the threads end."""
        self.rest.close()

    # ---------------------------------------------------------------------------------------------- instruments

    async def instruments(self, symbols: Sequence[str], *, whole: bool = True) -> dict[str, dict[str, str]]:
        """asset, quote, tick, lot, min_qty, min_notional, calendar of each symbol that Alpaca has. whole: whole shares.

        Raises FeedDoubt.
        """
        if len(symbols) <= FEW:
            rows = [row for symbol in symbols if (row := await self._asset(symbol)) is not None]
        else:
            rows = list(listed(await self.rest.ask("trading", lambda client: client.get_all_assets()), "assets"))
        found = {}
        for row in rows:
            name = row.get("symbol")
            if name in symbols and isinstance(name, str):
                parts = row.get("fractionable") is True and not whole
                lot = "0.0001" if parts else "1"
                found[name] = {
                    "asset": "equity",
                    "quote": "USD",
                    "tick": "0.01",
                    "lot": lot,
                    "min_qty": lot,
                    "min_notional": "1" if parts else "0",
                    "calendar": BELL,
                }
        return found

    async def _asset(self, symbol: str) -> Mapping[str, Any] | None:
        try:
            row = await self.rest.ask("trading", lambda client: client.get_asset(symbol))
        except FeedDoubt as doubt:
            if getattr(doubt.__cause__, "status", 0) == 404:
                return None
            raise
        return listed([row], "asset")[0]

    # ----------------------------------------------------------------------------------------- clock and calendar

    async def clock_ms(self) -> int:
        """What the venue's clock showed: however long the answer took, it is no earlier there now. Raises FeedDoubt."""
        answer = await self.rest.ask("trading", lambda client: client.get_clock())
        try:
            return milliseconds(answer["timestamp"])
        except (KeyError, TypeError, ValueError) as error:
            raise FeedDoubt("alpaca clock: an answer of another shape") from error

    async def calendar(self, first: date, last: date) -> list[tuple[int, int, int]]:
        """(yyyymmdd, open_ms, close_ms) of every session the venue knows, first and last included. Raises FeedDoubt."""

        def call(client: Any) -> Any:
            from alpaca.trading.requests import GetCalendarRequest

            return client.get_calendar(GetCalendarRequest(start=first, end=last))

        found = []
        for row in listed(await self.rest.ask("trading", call), "calendar"):
            try:
                day = date.fromisoformat(row["date"])
                opens, closes = (_local_ms(day, row[word]) for word in ("open", "close"))
            except (KeyError, TypeError, ValueError) as error:
                raise FeedDoubt("alpaca calendar: a day that cannot be read") from error
            if first <= day <= last:
                found.append((int(f"{day:%Y%m%d}"), opens, closes))
        return found

    async def session_differences(self, first: date, last: date) -> list[SessionDifference]:
        """Days of which the venue says something else than the packaged calendar. Raises FeedDoubt."""
        theirs = {day: (opens, closes) for day, opens, closes in await self.calendar(first, last)}
        table = all_sessions(BELL)
        begin, end = (int(f"{day:%Y%m%d}") for day in (first, last))
        rows = table[(table["date"] >= begin) & (table["date"] <= end)]
        ours = {int(row["date"]): (int(row["open_ms"]), int(row["close_ms"])) for row in rows}
        return [
            SessionDifference(day, *theirs.get(day, (0, 0)), *ours.get(day, (0, 0)))
            for day in sorted(theirs.keys() | ours.keys())
            if theirs.get(day) != ours.get(day)
        ]

    # ------------------------------------------------------------------------------------------ corporate actions

    async def corporate_actions(
        self, symbols: Sequence[str], first: date, last: date
    ) -> tuple[list[ActionRow], list[Change]]:
        """Splits and dividends by ex-date, and what no ratio can tell. Raises FeedDoubt.

        A cash dividend's ratio is taken from the last daily close before its ex-date.
        """
        ratios: dict[tuple[int, str], list[float]] = {}
        changes: list[Change] = []
        paid: list[tuple[int, str, float]] = []
        for at in range(0, len(symbols), AT_ONCE):
            answer = await self._actions(list(symbols[at : at + AT_ONCE]), first, last)
            for kind, rows in answer.items():
                for row in listed(rows, f"corporate actions ({str(kind)[:40]})"):
                    try:
                        self._read(kind, row, ratios, changes, paid)
                    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
                        raise FeedDoubt(f"alpaca corporate actions: a row of {str(kind)[:40]} is unreadable") from error
        closes = await self._closes_before(paid)
        for day, symbol, money in paid:
            close = closes.get((day, symbol), math.nan)
            if 0 < money < close:
                ratios.setdefault((day, symbol), [1.0, 1.0])[0] *= 1.0 - money / close
            else:
                changes.append(Change(day, symbol, f"pays {money:g} a share, and no close before it is known"))
        found = [ActionRow(day, symbol, price, split) for (day, symbol), (price, split) in sorted(ratios.items())]
        return [row for row in found if row.symbol in symbols], [c for c in sorted(changes) if c.symbol in symbols]

    async def _actions(self, names: list[str], first: date, last: date) -> Mapping[str, Any]:
        def call(client: Any) -> Any:
            from alpaca.data.requests import CorporateActionsRequest

            return client.get_corporate_actions(CorporateActionsRequest(symbols=names, start=first, end=last))

        answer = await self.rest.ask("actions", call)
        if not isinstance(answer, dict):
            raise FeedDoubt("alpaca corporate actions: an answer of another shape")
        return answer

    @staticmethod
    def _read(
        kind: str,
        row: Mapping[str, Any],
        ratios: dict[tuple[int, str], list[float]],
        changes: list[Change],
        paid: list[tuple[int, str, float]],
    ) -> None:
        """One row of an answer. Raises KeyError, TypeError, ValueError and ZeroDivisionError."""
        if kind in ("forward_splits", "reverse_splits", "stock_dividends"):
            day = _day(row["ex_date"])
            if kind == "stock_dividends":
                ratio = 1.0 / (1.0 + number(row["rate"]))
            else:
                ratio = number(row["old_rate"]) / number(row["new_rate"])
            if not 1e-6 <= ratio <= 1e6:
                raise ValueError(f"a ratio of {ratio}")
            pair = ratios.setdefault((day, str(row["symbol"])), [1.0, 1.0])
            pair[0] *= ratio
            pair[1] *= ratio
        elif kind == "cash_dividends":
            paid.append((_day(row["ex_date"]), str(row["symbol"]), number(row["rate"])))
        elif kind in CHANGES:
            field, words = CHANGES[kind]
            day = _day(row.get("ex_date") or row.get("effective_date") or row["process_date"])
            changes.append(Change(day, str(row[field]), words.format_map(row)))

    async def _closes_before(self, paid: Sequence[tuple[int, str, float]]) -> dict[tuple[int, str], float]:
        """The last daily close before each ex-date."""
        found: dict[tuple[int, str], float] = {}
        for day in sorted({day for day, _, _ in paid}):
            names = sorted({symbol for on, symbol, _ in paid if on == day})
            ex_date = date.fromisoformat(str(day))
            for name, rows in (await self._daily(names, ex_date - timedelta(10), ex_date, self.plan)).items():
                before = [row for row in rows if _local_day(row["t"]) < ex_date]
                if before:
                    found[day, name] = number(before[-1]["c"])
        return found

    async def _daily(self, names: list[str], first: date, last: date, plan: str) -> dict[str, list[Mapping[str, Any]]]:
        """Daily bars as they come, by symbol. Raises FeedDoubt."""

        def call(client: Any) -> Any:
            from alpaca.data.enums import Adjustment, DataFeed
            from alpaca.data.requests import StockBarsRequest
            from alpaca.data.timeframe import TimeFrame

            begin, end = (datetime.combine(day, time(), NEW_YORK) for day in (first, last))
            return client.get_stock_bars(
                StockBarsRequest(
                    symbol_or_symbols=names,
                    timeframe=TimeFrame.Day,
                    start=begin,
                    end=end,
                    adjustment=Adjustment.RAW,
                    feed=DataFeed(plan),
                )
            )

        answer = await self.rest.ask("history", call)
        if not isinstance(answer, dict):
            raise FeedDoubt("alpaca history: an answer of another shape")
        found = {str(name): list(listed(rows, "history")) for name, rows in answer.items()}
        try:
            for rows in found.values():
                for row in rows:
                    _ = milliseconds(row["t"]), number(row["c"]), number(row["v"])
        except (KeyError, TypeError, ValueError) as error:
            raise FeedDoubt("alpaca history: a daily bar that cannot be read") from error
        return found

    # ---------------------------------------------------------------------------------------------- volume share

    async def volume_share(self, symbols: Sequence[str], now_ms: int) -> dict[str, float]:
        """Which part of the consolidated volume the plan's bars had in the last complete sessions, by symbol.

        A symbol of which nothing is known is left out. Raises FeedDoubt.
        """
        if self.plan == "sip":
            return dict.fromkeys(symbols, 1.0)
        today = moment(now_ms).astimezone(NEW_YORK).date()
        first, last = today - timedelta(SHARE_DAYS), today - timedelta(1)
        found: dict[str, float] = {}
        for at in range(0, len(symbols), AT_ONCE):
            names = list(symbols[at : at + AT_ONCE])
            ours, whole = await self._daily(names, first, last, self.plan), await self._daily(names, first, last, "sip")
            for name in names:
                volumes = {row["t"]: number(row["v"]) for row in whole.get(name, ())}
                seen = {row["t"]: number(row["v"]) for row in ours.get(name, ())}
                total = sum(volumes.values())
                if total > 0:
                    found[name] = sum(seen.get(t, 0.0) for t in volumes) / total
        return found


def _local_ms(day: date, text: Any) -> int:
    """ "09:30" of a day in New York."""
    found = datetime.combine(day, time.fromisoformat(text), NEW_YORK)
    return round(found.timestamp() * 1000)


def _day(text: Any) -> int:
    return int(f"{date.fromisoformat(text):%Y%m%d}")


def _local_day(text: Any) -> date:
    return moment(milliseconds(text)).astimezone(NEW_YORK).date()


def ex_days(now_ms: int, back: int, ahead: int) -> tuple[date, date]:
    """Dates in New York from `back` days before to `ahead` days after a moment."""
    today = moment(now_ms).astimezone(NEW_YORK).date()
    return today - timedelta(back), today + timedelta(ahead)


__all__ = ["ActionRow", "AlpacaFacts", "Change", "SessionDifference", "ex_days"]
