"""Alpaca's data endpoints of the simulator: bars with paging, latest values, snapshots, corporate actions."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from typing import Any

import numpy as np
from aiohttp import web

from avwapd.config.kinds import TIMEFRAME_MS
from avwapd.core.records import BAR
from avwapd.demo_venue.alpaca_shapes import fixed_uuid, short_stamp, stamp
from avwapd.demo_venue.desk_shapes import DeskRefused
from avwapd.demo_venue.sim import Sim
from avwapd.feeds.calendar import days_of_dates, session_index

PAGE, MOST = 1000, 10_000
DAY_MS = 86_400_000
NAMES = {"min": "m", "t": "m", "hour": "h", "h": "h", "day": "d", "d": "d"}


def add(app: web.Application, sim: Sim) -> None:
    data = AlpacaData(sim)
    app.add_routes(
        [
            web.get("/v2/stocks/bars", data.bars),
            web.get("/v2/stocks/bars/latest", data.latest_bars),
            web.get("/v2/stocks/quotes/latest", data.latest_quotes),
            web.get("/v2/stocks/trades/latest", data.latest_trades),
            web.get("/v2/stocks/snapshots", data.snapshots),
            web.get("/v2/stocks/{symbol}/bars", data.bars),
            web.get("/v1/corporate-actions", data.corporate_actions),
        ]
    )


def bar_body(row: Any, length_ms: int) -> dict[str, Any]:
    """t is the bar's start, as Alpaca names it; ours are named by the close."""
    return {"t": short_stamp(int(row["ts_ms"]) - length_ms), **figures(row)}


def figures(row: Any) -> dict[str, Any]:
    o, h, low, c, volume = (float(row[name]) for name in ("open", "high", "low", "close", "volume"))
    whole = int(volume) if volume.is_integer() else volume
    return {
        "o": o,
        "h": h,
        "l": low,
        "c": c,
        "v": whole,
        "n": max(1, int(volume) // 100),
        "vw": round((h + low + c) / 3, 6),
    }


class AlpacaData:
    def __init__(self, sim: Sim) -> None:
        self._sim = sim
        self._market = sim.market
        self._row_of = {symbol: row for row, symbol in enumerate(sim.market.symbols)}

    def _asked(self, request: web.Request) -> list[str]:
        text = request.match_info.get("symbol") or request.query.get("symbols", "")
        names = sorted({name for name in text.split(",") if name})
        if not names:
            raise DeskRefused("bad_order", "symbols is required")
        return [name for name in names if name in self._sim.by_wire]

    def _index(self, wire: str) -> int:
        return self._row_of[self._sim.by_wire[wire]]

    # ---------------------------------------------------------------------------------------------------- bars

    async def bars(self, request: web.Request) -> web.Response:
        from avwapd.demo_venue.alpaca_rest import answer, moment

        query = request.query
        length_ms = self._length(query.get("timeframe", ""))
        now_ms = self._market.now_ms()
        start = moment(query.get("start"))
        start = now_ms // DAY_MS * DAY_MS if start is None else start
        end = moment(query.get("end"))
        limit = min(int(query.get("limit") or PAGE), MOST)
        found: dict[str, list[dict[str, Any]]] = {}
        after_symbol, after_ms = opened(query.get("page_token"))
        left, token = limit, None
        newest_first = query.get("sort") == "desc"
        for name in self._asked(request):
            if name < after_symbol:
                continue
            rows = self.rows(self._index(name), length_ms, start, now_ms if end is None else end)
            stamps = self.starts(rows, length_ms)
            if newest_first:
                rows, stamps = rows[::-1], stamps[::-1]
            if name == after_symbol:
                keep = stamps < after_ms if newest_first else stamps > after_ms
                rows, stamps = rows[keep], stamps[keep]
            if not len(rows):
                continue
            if left == 0:
                break
            part = rows[:left]
            starts = stamps[:left]
            found[name] = [
                {"t": short_stamp(int(t_ms)), **figures(row)} for row, t_ms in zip(part, starts, strict=True)
            ]
            left -= len(part)
            token = closed(name, int(starts[-1]))
            if len(part) < len(rows):
                break
        else:
            token = None
        symbol = request.match_info.get("symbol")
        if symbol:
            return answer({"bars": found.get(symbol, []), "symbol": symbol, "next_page_token": token})
        return answer({"bars": found, "next_page_token": token})

    def _length(self, text: str) -> int:
        match = re.fullmatch(r"(\d+)([A-Za-z]+)", text)
        unit = NAMES.get(match[2].lower()) if match else None
        length = TIMEFRAME_MS.get(f"{match[1]}{unit}") if match and unit else None
        if length is None:
            raise DeskRefused("bad_order", f"invalid timeframe: {text}")
        if length % self._market.timeframe_ms:
            own = self._market.source.timeframe
            raise DeskRefused("bad_order", f"invalid timeframe: {text}; this simulator's market has {own} bars")
        return length

    def starts(self, rows: Any, length_ms: int) -> Any:
        """The start of each bar; of a daily bar midnight in New York."""
        if length_ms < DAY_MS:
            return rows["ts_ms"] - length_ms
        index = session_index(rows["ts_ms"], self._market.sessions, daily=self._market.timeframe_ms >= DAY_MS)
        opens = self._market.sessions["open_ms"][index]
        days = days_of_dates(self._market.sessions["date"][index])
        half_past_nine = int(9.5 * 3_600_000)
        return np.where(opens % DAY_MS == 0, opens, np.maximum(opens - half_past_nine, days * DAY_MS))

    def rows(self, symbol: int, length_ms: int, start: int, end: int) -> Any:
        """BAR rows of a length whose start lies in [start, end]; of the running period what there is."""
        own = self._market.timeframe_ms
        if length_ms == own and own < DAY_MS:
            return self._market.history(symbol, start + own, end + own)
        rows = self._market.history(symbol, start // DAY_MS * DAY_MS, end + max(length_ms, DAY_MS))
        if not len(rows):
            return rows
        if length_ms >= DAY_MS:
            index = session_index(rows["ts_ms"], self._market.sessions, daily=own >= DAY_MS)
            rows, index = rows[index >= 0], index[index >= 0]
            made = folded(rows, index)
        else:
            made = folded(rows, (rows["ts_ms"] - 1) // length_ms)
            made["ts_ms"] = ((made["ts_ms"] - 1) // length_ms + 1) * length_ms
        begins = self.starts(made, length_ms)
        return made[(begins >= start) & (begins <= end)]

    # -------------------------------------------------------------------------------------------------- latest

    def _last(self, request: web.Request) -> list[tuple[str, Any]]:
        rows = []
        for name in self._asked(request):
            row = self._market.last_bar(self._index(name))
            if row is not None:
                rows.append((name, row))
        return rows

    async def latest_bars(self, request: web.Request) -> web.Response:
        from avwapd.demo_venue.alpaca_rest import answer

        own = self._market.timeframe_ms
        return answer({"bars": {name: bar_body(row, own) for name, row in self._last(request)}})

    async def latest_quotes(self, request: web.Request) -> web.Response:
        from avwapd.demo_venue.alpaca_rest import answer

        return answer({"quotes": {name: self._quote(name, row) for name, row in self._last(request)}})

    async def latest_trades(self, request: web.Request) -> web.Response:
        from avwapd.demo_venue.alpaca_rest import answer

        return answer({"trades": {name: self._trade(row) for name, row in self._last(request)}})

    async def snapshots(self, request: web.Request) -> web.Response:
        from avwapd.demo_venue.alpaca_rest import answer

        found: dict[str, Any] = {}
        now_ms = self._market.now_ms()
        for name, row in self._last(request):
            days = self.rows(self._index(name), DAY_MS, now_ms - 10 * DAY_MS, now_ms)
            bodies = [
                {"t": short_stamp(int(t_ms)), **figures(day)}
                for day, t_ms in zip(days, self.starts(days, DAY_MS), strict=True)
            ]
            found[name] = {
                "latestTrade": self._trade(row),
                "latestQuote": self._quote(name, row),
                "minuteBar": bar_body(row, self._market.timeframe_ms),
                "dailyBar": bodies[-1] if bodies else None,
                "prevDailyBar": bodies[-2] if len(bodies) > 1 else None,
            }
        return answer(found)

    def _quote(self, name: str, row: Any) -> dict[str, Any]:
        tick = float(self._sim.terms[self._sim.by_wire[name]].tick)
        ask, bid = float(row["close"]) + tick, float(row["close"])
        facts = {"t": stamp(int(row["ts_ms"])), "ap": ask, "as": 3, "ax": "V", "bp": bid, "bs": 2, "bx": "V"}
        return facts | {"c": ["R"], "z": "C"}

    def _trade(self, row: Any) -> dict[str, Any]:
        facts = {"t": stamp(int(row["ts_ms"])), "p": float(row["close"]), "s": 100, "x": "V", "i": int(row["ts_ms"])}
        return facts | {"c": ["@"], "z": "C"}

    # ----------------------------------------------------------------------------------------------- splits &c.

    async def corporate_actions(self, request: web.Request) -> web.Response:
        """Those of the archive, and what the fault `split` made; known up to a day ahead of the market's clock."""
        from avwapd.demo_venue.alpaca_rest import answer

        wanted = request.query.get("symbols", "")
        names = set(wanted.split(",")) if wanted else set(self._sim.by_wire)
        types = set(filter(None, request.query.get("types", "").split(",")))
        horizon = short_stamp(self._market.now_ms() + DAY_MS)[:10]
        first, last = request.query.get("start", "0"), request.query.get("end", "9")
        found: dict[str, list[dict[str, Any]]] = {}
        for kind, body in self._events():
            inside = first <= body["ex_date"] <= min(last, horizon)
            if body["symbol"] in names and inside and (not types or kind[:-1] in types):
                found.setdefault(kind, []).append(body)
        return answer({"corporate_actions": found, "next_page_token": None})

    def _events(self) -> list[tuple[str, dict[str, Any]]]:
        rows: list[tuple[str, dict[str, Any]]] = []
        for action in self._market.source.actions:
            symbol = self._market.symbols[int(action["symbol"])]
            day = f"{int(action['date'])}"
            date = f"{day[:4]}-{day[4:6]}-{day[6:]}"
            split, price = float(action["split_ratio"]), float(action["price_ratio"])
            if split != 1.0:
                rows.append(split_body(self._sim.terms[symbol].wire, *rates(split), date))
            if abs(price / split - 1) > 1e-9:
                before = self._market.history(int(action["symbol"]), 0, int(action["ts_ms"]))
                close = float(before[-1]["close"]) if len(before) else 0.0
                paid = round(close * (1 - price / split), 6)
                facts = {"rate": paid, "special": False, "foreign": False}
                rows.append(("cash_dividends", event_body(self._sim.terms[symbol].wire, date) | facts))
        rows += [split_body(str(s["symbol"]), s["new"], s["old"], str(s["ex_date"])) for s in self._sim.splits]
        return rows


def event_body(wire: str, date: str) -> dict[str, Any]:
    facts = {"id": fixed_uuid("event", wire, date), "symbol": wire, "cusip": "000000000", "process_date": date}
    return facts | {"ex_date": date, "record_date": date, "payable_date": date}


def split_body(wire: str, new: Any, old: Any, date: str) -> tuple[str, dict[str, Any]]:
    body = event_body(wire, date) | {"new_rate": new, "old_rate": old}
    if float(new) >= float(old):
        return "forward_splits", body
    body.pop("cusip")
    return "reverse_splits", body | {"old_cusip": "000000000", "new_cusip": "000000001"}


def rates(ratio: float) -> tuple[float, float]:
    """(new, old) shares of a split ratio such as 1/7 or 10."""
    if ratio < 1:
        new = round(1 / ratio, 9)
        return (round(new) if abs(new - round(new)) < 1e-6 else new), 1
    old = round(ratio, 9)
    return 1, (round(old) if abs(old - round(old)) < 1e-6 else old)


def folded(rows: Any, groups: Any) -> Any:
    """One BAR row a group of neighbours; ts_ms of the last."""
    edges = np.flatnonzero(np.diff(groups)) + 1
    first, last = np.concatenate(([0], edges)), np.concatenate((edges, [len(rows)])) - 1
    made = np.zeros(len(first), BAR)
    made["ts_ms"], made["symbol"] = rows["ts_ms"][last], rows["symbol"][last]
    made["open"], made["close"] = rows["open"][first], rows["close"][last]
    made["high"] = np.maximum.reduceat(rows["high"], first)
    made["low"] = np.minimum.reduceat(rows["low"], first)
    made["volume"] = np.add.reduceat(rows["volume"], first)
    return made


def closed(symbol: str, start_ms: int) -> str:
    """A page token."""
    when = datetime.fromtimestamp(start_ms / 1000, UTC).isoformat()
    return base64.b64encode(f"{symbol}|M|{when}".encode()).decode()


def opened(token: str | None) -> tuple[str, int]:
    """(symbol, start of the last bar given); ("", 0) without a token."""
    if not token:
        return "", 0
    try:
        symbol, _, when = base64.b64decode(token).decode().split("|")
        return symbol, round(datetime.fromisoformat(when).timestamp() * 1000)
    except ValueError:
        raise DeskRefused("bad_order", f"invalid page_token {token}") from None
