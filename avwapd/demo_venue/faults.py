"""What a venue can do wrong, by name: where it applies, how often, and a count and a log of every time it did.

Switched at the start (`--fault NAME=0.1`) or while running (POST /control/faults). The dice of each fault are its own,
seeded by its name: switching one on does not move another's.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

SUBMIT, CANCEL, REPLACE = ("submit",), ("cancel",), ("replace",)
CALLS = ("submit", "cancel", "replace", "order", "orders", "positions", "account", "activities", "bars", "clock")
READS = ("order", "orders", "positions", "account", "activities", "bars", "clock")
STREAMS = ("stream", "data_stream")
WHERE = (*CALLS, *STREAMS, "book")


@dataclass(frozen=True, slots=True)
class Fault:
    """row: of the fault catalogue; layer: rest | stream | book | data; on: where it applies unless the setting says."""

    name: str
    row: int
    layer: str
    on: tuple[str, ...]
    about: str
    value: Any = None


FAULTS = {
    fault.name: fault
    for fault in (
        # --- REST: before or after the venue took it
        Fault("lose_request", 23, "rest", SUBMIT, "the request is swallowed; silence"),
        Fault("refuse_connection", 23, "rest", SUBMIT, "the connection is cut before the request is looked at"),
        Fault("lose_answer", 24, "rest", SUBMIT, "taken; silence"),
        Fault("reset", 25, "rest", SUBMIT, "taken; the connection is cut before the answer"),
        Fault("cut_answer", 25, "rest", SUBMIT, "taken; half the body, then the connection is cut"),
        Fault("wrong_length", 25, "rest", SUBMIT, "taken; the header promises more bytes than come"),
        Fault("gateway_504_taken", 26, "rest", SUBMIT, "taken; the gateway says 504"),
        Fault("limit_429", 27, "rest", CALLS, "429 with Retry-After (value: seconds)", 2),
        Fault("limit_429_no_header", 27, "rest", CALLS, "429 without Retry-After"),
        Fault("down_500", 28, "rest", CALLS, "500, 502 or 503 with a page; nothing is taken"),
        Fault("slow_drip", 29, "rest", CALLS, "taken; the body comes byte by byte (value: seconds a byte)", 1.0),
        Fault("html_200", 30, "rest", CALLS, "taken; 200 with a page"),
        Fault("empty_200", 30, "rest", CALLS, "taken; 200 without a body"),
        Fault("bad_json", 30, "rest", CALLS, "taken; JSON that ends in the middle"),
        Fault("missing_field", 30, "rest", CALLS, "taken; a field is left out (value: its name)"),
        Fault("unknown_enum", 30, "rest", CALLS, "taken; a status or side that nobody knows"),
        Fault("nan_value", 30, "rest", CALLS, "taken; NaN where a number was"),
        Fault("huge_number", 30, "rest", CALLS, "taken; 1e400 where a number was"),
        Fault("duplicate_keys", 30, "rest", CALLS, "taken; a key twice, with two values"),
        Fault("revoked_401", 31, "rest", CALLS, "the key is not known any more"),
        Fault("blocked_403", 31, "rest", CALLS, "the account is blocked"),
        Fault("not_found_lie", 32, "rest", ("order",), "an order that exists is not found"),
        Fault("stale_positions", 33, "rest", ("positions",), "positions as they were (value: market ms ago)", 60_000),
        Fault("clock_skew", 20, "rest", CALLS, "the venue's clock is off (value: market ms)", 5_000),
        # --- streams
        Fault("mute_stream", 34, "stream", STREAMS, "open, answers pings, says nothing more"),
        Fault("dead_stream", 34, "stream", STREAMS, "open, answers nothing any more"),
        Fault("doubled_events", 35, "stream", STREAMS, "a message comes twice"),
        Fault("reordered_events", 35, "stream", STREAMS, "a message comes after the next one"),
        Fault("dropped_events", 35, "stream", STREAMS, "a message does not come"),
        Fault("drop_stream", 36, "stream", STREAMS, "the connection is cut instead of the message"),
        Fault("stream_storm", 36, "stream", STREAMS, "closed right after the log-in"),
        Fault("second_stream_refused", 36, "stream", STREAMS, "connection limit exceeded, though there is none"),
        Fault("giant_frame", 37, "stream", STREAMS, "a frame of many bytes (value: how many)", 8_000_000),
        Fault("bad_utf8", 37, "stream", STREAMS, "a text frame that is no UTF-8"),
        Fault("bad_frame", 37, "stream", STREAMS, "a frame that is no message"),
        # --- the book
        Fault(
            "fill_before_ack",
            38,
            "book",
            ("book",),
            "the answer to a submit comes after its fill (value: wall ms)",
            500,
        ),
        Fault("fill_after_cancel", 38, "book", ("book",), "canceled, and filled later all the same"),
        Fault("fill_after_reject", 38, "book", ("book",), "rejected, and filled later all the same"),
        Fault("partial_then_nothing", 39, "book", ("book",), "half of it fills, the rest waits (value: bars)", 5),
        Fault("partial_then_cancel", 39, "book", ("book",), "half of it fills, the rest is canceled"),
        Fault("one_lot_fills", 39, "book", ("book",), "a fill in many pieces (value: at most)", 100),
        Fault("trade_bust", 40, "book", ("book",), "an execution is taken back (value: bars later)", 1),
        Fault("cancel_races_fill", 41, "book", ("book",), "the cancel is taken; the order fills instead"),
        Fault("replace_races_fill", 41, "book", ("book",), "the replacement finds the order filled"),
        Fault("replace_rejected", 41, "book", ("book",), "the replacement is refused; the order works on"),
        Fault("stop_vanishes", 42, "book", ("book",), "a resting stop is gone without a word"),
        Fault("stop_held", 42, "book", ("book",), "a stop is accepted and held: it does not work"),
        Fault("stop_rejected", 42, "book", ("book",), "a stop is accepted, then rejected"),
        Fault("stop_expires", 42, "book", ("book",), "a resting stop expires"),
        Fault("halt_reopen_gap", 43, "book", ("book",), "a symbol with a resting stop halts (value: bars)", 5),
        Fault("foreign_order", 44, "book", ("book",), "somebody's order in this account"),
        Fault("manual_close", 44, "book", ("book",), "somebody sells what is held, at market"),
        Fault("split", 45, "book", ("book",), "a holding is split overnight (value: new shares for one)", 4),
        Fault(
            "symbol_change", 45, "book", ("book",), "a symbol has another name from now on (value: the name)", "NEWNAME"
        ),
        # --- bars
        Fault("nan_bar", 46, "data", ("data_stream",), "a bar with NaN, or high below low"),
        Fault("missing_bar", 47, "data", ("data_stream",), "a bar never comes on the stream; REST has it"),
        Fault("silent_bar", 47, "data", ("data_stream",), "a bar that neither stream nor REST has: no trades"),
        Fault("doubled_bar", 48, "data", ("data_stream",), "a bar comes twice, the second time with other values"),
        Fault("future_bar", 49, "data", ("data_stream",), "a bar dated in the future comes first"),
        Fault("forming_bar", 49, "data", ("data_stream",), "half of the bar comes before it is over"),
        Fault("late_bar", 50, "data", ("data_stream",), "a bar comes late (value: market ms)", 45_000),
        Fault(
            "corrected_bar", 50, "data", ("data_stream",), "a corrected bar follows (value: market ms later)", 30_000
        ),
        Fault("frozen_feed", 51, "data", ("data_stream",), "every bar repeats the last price"),
    )
}


@dataclass(slots=True)
class Setting:
    """p: chance each time; count: how often at most; skip: times passed over first; a window in market ms."""

    name: str
    on: tuple[str, ...]
    p: float = 1.0
    count: int | None = None
    skip: int = 0
    from_ms: int = 0
    until_ms: int = 1 << 62
    symbol: str = ""
    value: Any = None


class Faults:
    """settings: {name: probability, or {"on", "p", "count", "skip", "from_ms", "until_ms", "symbol", "value"}}."""

    def __init__(self, seed: int, now_ms: Callable[[], int], settings: Mapping[str, Any] | None = None) -> None:
        self.fired: Counter[str] = Counter()
        self.log: deque[dict[str, Any]] = deque(maxlen=100_000)
        self._seed = seed
        self._now_ms = now_ms
        self._dice: dict[str, random.Random] = {}
        self._set: dict[str, Setting] = {}
        self.listeners: list[Callable[[str], None]] = []  # told the name of a fault that was switched on
        for name, wanted in (settings or {}).items():
            self.set(name, wanted)

    def set(self, name: str, wanted: Any) -> None:
        """Raises ValueError where there is no such fault, place or word."""
        fault = FAULTS.get(name)
        if fault is None:
            raise ValueError(f"{name} is none of {', '.join(FAULTS)}")
        facts = dict(wanted) if isinstance(wanted, Mapping) else {"p": wanted}
        on = facts.pop("on", None)
        places = fault.on if on in (None, "") else (on,) if isinstance(on, str) else tuple(on)
        if any(place not in WHERE for place in places):
            raise ValueError(f"{name}: {', '.join(places)} is not all of {', '.join(WHERE)}")
        try:
            setting = Setting(name, places, **facts)
            setting.p = float(setting.p)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name}: {error}") from None
        if setting.value is None:
            setting.value = fault.value
        self._set[name] = setting
        for listen in self.listeners:
            listen(name)

    def clear(self, names: Iterable[str] | None = None) -> None:
        """Off; None: all."""
        for name in list(self._set) if names is None else names:
            self._set.pop(name, None)

    def is_set(self, name: str) -> bool:
        return name in self._set

    def setting(self, name: str) -> Setting | None:
        """As it is switched on, without rolling or counting."""
        return self._set.get(name)

    def dice(self, name: str) -> random.Random:
        """A fault's own."""
        if name not in self._dice:
            self._dice[name] = random.Random(f"{self._seed}/{name}")
        return self._dice[name]

    def fires(self, name: str, where: str, symbol: str = "", **facts: Any) -> Setting | None:
        """Whether it happens now; then it is counted and logged."""
        setting = self._set.get(name)
        if setting is None or where not in setting.on or setting.count == 0:
            return None
        if setting.symbol and symbol and setting.symbol != symbol:
            return None
        now_ms = self._now_ms()
        if not setting.from_ms <= now_ms <= setting.until_ms:
            return None
        if setting.p < 1 and self.dice(name).random() >= setting.p:
            return None
        if setting.skip > 0:
            setting.skip -= 1
            return None
        if setting.count is not None:
            setting.count -= 1
        self.fired[name] += 1
        self.log.append({"ts_ms": now_ms, "fault": name, "where": where, "symbol": symbol, **facts})
        return setting

    def facts(self) -> dict[str, Any]:
        return {
            "fired": dict(self.fired),
            "set": {
                name: {"on": list(one.on), "p": one.p, "count": one.count, "symbol": one.symbol, "value": one.value}
                for name, one in self._set.items()
            },
        }
