"""One input through the engine, and the rows it leaves.

The journal numbers every input, folds it into the World and says what is to be committed with it. Loading after a
crash, verifying a run and running live all fold through here, so they cannot drift apart.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from avwapd.core import codes, engine, records
from avwapd.core.codes import CANCEL, PURPOSE_ENTRY, PURPOSE_RESTATE
from avwapd.core.machine import ALERTS, DECISIONS, EFFECTS, ERROR, ERROR_SYMBOL, FILLS, FROZEN, TRANSITIONS
from avwapd.core.records import REPORT
from avwapd.settings import bind, limits_in
from avwapd.store import StoreError, VenueUnknown
from avwapd.store.ids import client_id, is_ours
from avwapd.store.rows import AnchorRow, GateRow, Input, Move, OutboxRow, PositionRow, StepRows
from avwapd.store.snapshot import head_of, layout, packed
from avwapd.store.watchlist import Listed, Watchlist, of_body
from avwapd.store.watchlist import records as watch_records

FILL_QTY, FILL_PURPOSE, FILL_HELD = ((records.FILL.names or ()).index(name) for name in ("qty", "purpose", "held"))

RULES_VERSION = "1"
WORD_FIELDS = ("number", "ts_ms", "cid", "ref_cid", "venue_id", "kind", "exec_id", "final", "cum_qty", "last_qty",
               "price_ticks", "fee_units", "fee_lots")  # fmt: skip
UNKNOWN = "unknown"  # of a word: about an order of ours that no row explained when it was heard; it stays so
ADJUSTMENT = ("qty", "price_ticks", "fee_units", "exec_id", "reason")
ALL = -1  # the symbol of an act that means every symbol
DRILL_FETCH, DRILL_PERSIST = "drill fetch", "drill persist"  # a barrier that was made to fail on purpose
OF_ALL = (codes.ACT_REARM, codes.ACT_DRAIN)  # acts on the portfolio itself
Terms = tuple[int, int]  # of an order: purpose, side


def order_terms(state: Any, intent: int, known: Mapping[tuple[int, int], Terms], symbol: int) -> Terms:
    """(purpose, side) of an order: from its slot while a machine remembers it, else as it was sent; unknown is 0, 0."""
    for slot in ("entry", "protect", "leave", "replaced"):
        if state[slot]["intent"] == intent:
            return int(state[slot]["purpose"]), int(state[slot]["side"])
    return known.get((symbol, intent), (0, 0))


def gate_row(act: Act, seq: int, ts_ms: int, symbol: str) -> GateRow:
    """An outer gate's turn as people read it."""
    return GateRow(seq, ts_ms, codes.OUTER_GATES[act.kind - codes.ACT_GATE], int(act.freeze), act.reason, symbol)


class EngineStopped(StoreError):
    """The engine met what cannot be: the process ends before anything of it is committed."""


@dataclass(frozen=True)
class Names:
    """What order ids are derived from, and how symbols are called."""

    account: str
    strategy: str
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Act:
    """An operator's act, or a freeze by the router. symbol ALL means every symbol (or the portfolio)."""

    kind: int  # codes.ACT_*
    symbol: int
    freeze: bool
    who: str
    reason: str


@dataclass(frozen=True, slots=True)
class Adjustment:
    """An explicit row that makes a position follow the venue's truth: a hand edit adopted, a busted execution undone.

    qty: signed lots to add to the signed position, never 0; price_ticks and fee_units: what they were paid at; exec_id:
    unique in the ledger; reason: for people, not empty.
    """

    symbol: int
    qty: int
    price_ticks: int
    fee_units: int
    exec_id: str
    reason: str


class Journal:
    """The engine with its memory of what was said. Synchronous; one owner."""

    def __init__(self, world: engine.World, names: Names, *, fingerprint: str, fresh_ms: int) -> None:
        symbols = len(world.states)
        self.world = world
        self._caps = world.params.copy()  # as configured; an act may bind them tighter
        self.limits: dict[str, float] = {}  # in force besides the caps
        self.names = names
        self.fingerprint = fingerprint
        self.fresh_ms = fresh_ms
        self.seq = 0
        self.cursor = 0  # the venue's last word that was taken
        self.listed: Listed | None = None
        self.orders: dict[str, tuple[int, int]] = {}  # cid -> symbol, intent
        self.cids: dict[tuple[int, int], str] = {}
        self.terms: dict[tuple[int, int], Terms] = {}  # symbol, intent -> what a fill that comes much later is of
        self.canceling: dict[tuple[int, int], int] = {}  # order -> the cancel request about it
        self.out = engine.new_output(symbols, 64 * symbols)
        self._anchored = world.states["avwap"]["anchor_ms"].copy()
        self._snapshot_date = 0
        self._word = np.zeros(1, REPORT)
        self._recording = True

    # ------------------------------------------------------------------------------------------- inputs

    def bars(self, bars: Any, note: str = "") -> StepRows:
        """One barrier: a BAR array of one ts_ms in symbol order; note: how it differs from what the feed brought."""
        ts_ms = int(bars[0]["ts_ms"])
        date = int(self.world.portfolio[0]["session_date"])
        self._begin()
        engine.step_many(self.world, self.out, bars)
        rows = self._rows("bars", ts_ms, None, note)
        if not self._recording:
            return rows
        rows.bars = bars.tolist()
        if date and int(self.world.portfolio[0]["session_date"]) != date:
            rows.snapshot = self.snapshot()
        return rows

    def word(self, word: Any) -> StepRows | None:
        """One word of the venue (port.Word), None where it was taken before. Raises EngineStopped on a gap."""
        if word.number <= self.cursor:
            return None
        if word.number != self.cursor + 1:
            raise EngineStopped(
                f"the venue's word {word.number} came after word {self.cursor}", word.cid, "pull the words in order"
            )
        fields = {name: getattr(word, name) for name in WORD_FIELDS}
        if word.cid not in self.orders and is_ours(word.cid):
            fields[UNKNOWN] = True
        return self._report(fields, json.dumps(fields, separators=(",", ":")))

    def refused(self, cid: str, kind: str, state: str, reason: str) -> StepRows:
        """An order that will not be at the venue, by our own knowledge; state: what its outbox row becomes."""
        fields = dict.fromkeys(WORD_FIELDS, 0) | {
            "cid": cid,
            "ref_cid": "",
            "venue_id": "",
            "exec_id": "",
            "kind": kind,
        }
        fields |= {"ts_ms": self.last_ms, "final": False, "state": state, "reason": reason}
        return self._report(fields, json.dumps(fields, separators=(",", ":")))

    def act(self, act: Act, ts_ms: int) -> StepRows:
        """An operator's act; recorded with who and why."""
        body = {"kind": codes.act_word(act.kind), "freeze": act.freeze, "who": act.who, "reason": act.reason}
        self._begin()
        self._act(act)
        symbol = None if act.symbol == ALL else act.symbol
        rows = self._rows("act", ts_ms, symbol, json.dumps(body, separators=(",", ":")))
        touched = range(len(self.world.states)) if act.symbol == ALL else [act.symbol]
        if not self._recording:
            return rows
        if act.kind >= codes.ACT_GATE:
            rows.gates = [gate_row(act, rows.seq, ts_ms, "" if symbol is None else self.names.symbols[symbol])]
            touched = [i for i in touched if act.kind == codes.ACT_GATE + codes.OUTER_KILL_SWITCH]
        rows.positions = [self._position(i, act.reason if act.freeze else "") for i in touched]
        return rows

    def watchlist(self, listed: Watchlist, ts_ms: int) -> StepRows:
        """A list of the scan, in the place of the one before; between two barriers."""
        self._begin()
        found, missing = watch_records(listed.rows, listed.scan_date, self.names.symbols)
        engine.watch(self.world, found)
        self.listed = Listed(listed.scan_date, listed.version, len(listed.rows), missing)
        rows = self._rows("watchlist", ts_ms, None, listed.body)
        rows.watchlist = listed
        return rows

    def restate(self, actions: Any) -> StepRows:
        """Splits and dividends (ACTION rows of one session's open), before its first bar."""
        ts_ms = int(actions["ts_ms"][0])
        self._begin()
        engine.restate(self.world, self.out, ts_ms, actions)
        body = [list(row) for row in actions[["date", "symbol", "price_ratio", "split_ratio"]].tolist()]
        rows = self._rows("restate", ts_ms, None, json.dumps(body, separators=(",", ":")))
        rows.fills = [(f"restate-{fill[1]}-{ts_ms}", fill[FILL_QTY], *fill) for fill in rows.fills]
        return rows

    def adjust(self, change: Adjustment, ts_ms: int) -> StepRows:
        """The position becomes what the venue says it is; orders follow it. ts_ms: market time.

        Raises ValueError for one that changes nothing or that nobody explains.
        """
        known = 0 <= change.symbol < len(self.world.states)
        if not (known and change.qty and change.exec_id and change.reason):
            raise ValueError(f"an adjustment needs a symbol, a quantity, an exec_id and a reason: {change}")
        self._begin()
        engine.adjust(self.world, self.out, change.symbol, ts_ms, change.qty, change.price_ticks, change.fee_units)
        fields = {name: getattr(change, name) for name in ADJUSTMENT}
        rows = self._rows("adjust", ts_ms, change.symbol, json.dumps(fields, separators=(",", ":")))
        rows.fills = self._booked(rows, change.exec_id, 0)
        return rows

    def caught_up(self) -> StepRows:
        """The last missed bar is folded."""
        self._begin()
        engine.caught_up(self.world, self.out)
        return self._rows("caught_up", int(self.world.portfolio[0]["last_ms"]), None, "")

    def load(self, entry: Input) -> None:
        """Take a journaled input again for the memory it left; its rows are in the ledger already."""
        self._recording = False
        try:
            self.fold(entry)
        finally:
            self._recording = True

    def know(self, orders: Iterable[tuple[str, int, int, str, int]]) -> None:
        """Before loading: every order ever made (cid, symbol, intent, purpose, side)."""
        for cid, symbol, intent, purpose, side in orders:
            self.orders[cid] = (symbol, intent)
            self.cids[symbol, intent] = cid
            self.terms[symbol, intent] = (codes.PURPOSES.index(purpose), side)

    def resume(self, canceling: Iterable[tuple[int, int, int]]) -> None:
        """After loading: the cancels without an answer (symbol, order, cancel)."""
        self.canceling = {(symbol, order): cancel for symbol, order, cancel in canceling}
        self._anchored = self.world.states["avwap"]["anchor_ms"].copy()

    def fold(self, entry: Input) -> StepRows | None:
        """Take a journaled input again (loading, verifying); the rows are those it left then."""
        rows: StepRows | None
        if entry.kind == "bars":
            if entry.bars is None or len(entry.bars) == 0:
                raise EngineStopped("a journaled barrier has no bars", f"input {entry.seq}", "restore a backup")
            rows = self.bars(entry.bars, entry.body)
        elif entry.kind == "report":
            rows = self._report(json.loads(entry.body), entry.body)
        elif entry.kind == "caught_up":
            rows = self.caught_up()
        elif entry.kind == "restate":
            actions = [(entry.ts_ms, *row) for row in json.loads(entry.body)]
            rows = self.restate(np.array(actions, records.ACTION))
        elif entry.kind == "adjust":
            rows = self.adjust(Adjustment(int(entry.symbol_id or 0), **json.loads(entry.body)), entry.ts_ms)
        elif entry.kind == "watchlist":
            rows = self.watchlist(of_body(entry.body), entry.ts_ms)
        else:
            body = json.loads(entry.body)
            symbol = ALL if entry.symbol_id is None else entry.symbol_id
            kind = codes.act_kind(body["kind"])
            rows = self.act(Act(kind, symbol, body["freeze"], body["who"], body["reason"]), entry.ts_ms)
        if self.seq != entry.seq:
            raise EngineStopped(f"input {entry.seq} folded as {self.seq}", "the journal", "restore a backup")
        return rows

    # ------------------------------------------------------------------------------------------- folding

    def _begin(self) -> None:
        self.out.n[:] = 0

    def _check(self) -> None:
        code = int(self.out.n[ERROR])
        if code:
            raise EngineStopped(
                f"the engine stopped: {codes.ERRORS[code]}",
                self.symbol_name(int(self.out.n[ERROR_SYMBOL])),
                "keep the ledger and report this; nothing of this input was recorded",
            )

    def symbol_name(self, symbol: int) -> str:
        return self.names.symbols[symbol] if 0 <= symbol < len(self.names.symbols) else "portfolio"

    def _act(self, act: Act) -> None:
        limits = limits_in(act.reason) if act.kind == codes.ACT_GATE + codes.OUTER_LIMITS else None
        if limits is not None:
            self._limit(limits)
        if act.kind in OF_ALL or act.kind >= codes.ACT_GATE or act.symbol != ALL:
            engine.act(self.world, self.out, act.symbol, act.kind, act.freeze)
            return
        for symbol in range(len(self.world.states)):
            engine.act(self.world, self.out, symbol, act.kind, act.freeze)

    def _limit(self, limits: dict[str, float]) -> None:
        self.limits = limits
        bind(self.world.params, self._caps, limits)

    def _report(self, fields: dict[str, Any], body: str) -> StepRows:
        """Fold a word by the order it names; a word about no order of ours only moves the cursor."""
        self.cursor = max(self.cursor, int(fields["number"]))  # our own words carry 0
        known = None if UNKNOWN in fields else self.orders.get(fields["cid"])
        if known is None and UNKNOWN not in fields and is_ours(fields["cid"]):
            raise VenueUnknown(
                "a journaled word is about an order of ours that this ledger never made",
                fields["cid"],
                "restore a backup: rows of this ledger are missing",
            )
        self._begin()
        if known is None:
            return self._rows("report", fields["ts_ms"], None, body)
        symbol, intent = known
        ref = self.orders.get(fields["ref_cid"], (symbol, 0))[1]
        kind = codes.REPORTS.index(fields["kind"])
        row = self._word[0]
        row["ts_ms"], row["symbol"], row["intent"], row["ref"] = fields["ts_ms"], symbol, intent, ref
        row["kind"], row["final"] = kind, fields["final"]
        row["purpose"], row["side"] = order_terms(self.world.states[symbol], intent, self.terms, symbol)
        row["cum_qty"], row["last_qty"], row["price"] = fields["cum_qty"], fields["last_qty"], fields["price_ticks"]
        row["fee"], row["fee_lots"] = fields["fee_units"], fields["fee_lots"]
        frozen = bool(self.world.states[symbol]["halted"] == FROZEN)
        engine.report(self.world, self.out, row)
        rows = self._rows("report", fields["ts_ms"], symbol, body)
        if not frozen and self.world.states[symbol]["halted"] == FROZEN:
            why = (
                f"its exit was refused: {fields.get('reason', '')}"
                if kind == codes.REJECTED
                else "more was filled than asked"
            )
            rows.alerts.append(f"{self.symbol_name(symbol)} halted: {why} ({fields['cid']})")
        rows.fills = self._booked(rows, fields["exec_id"], fields["cum_qty"])
        rows.outbox_moves = self._moves(symbol, intent, ref, kind, fields)
        return rows

    def _booked(self, rows: StepRows, exec_id: str, cum_qty: int) -> list[Any]:
        """FILL rows with the execution behind them. What is written off, and what a flip opens, is named after it."""
        found: list[Any] = []
        for at, fill in enumerate(rows.fills):
            restated = fill[FILL_PURPOSE] == PURPOSE_RESTATE
            name = f"{exec_id}/{at + 1}" if at else exec_id
            if restated and not fill[FILL_HELD] and (at or rows.kind == "report"):
                name = f"dust-{fill[1]}-{rows.seq}"
            found.append((name, fill[FILL_QTY] if restated else cum_qty, *fill))
        return found

    def _moves(self, symbol: int, intent: int, ref: int, kind: int, fields: dict[str, Any]) -> list[Move]:
        """What a word does to outbox rows: the order's own, a replaced one's, the cancel that asked for it."""
        venue_id = fields["venue_id"] or None
        filled = fields["cum_qty"] or None
        if kind == codes.CANCEL_REFUSED:
            asked = self.canceling.pop((symbol, intent), 0)
            return [Move(symbol, asked, "REJECTED")] if asked else []
        if kind == codes.FILLED and not fields["final"]:
            return [Move(symbol, intent, "PARTIAL", filled, venue_id)]
        if kind == codes.FILLED:
            # A cancel that a fill was faster than is answered by it; no venue need say so.
            asked = self.canceling.pop((symbol, intent), 0)
            answered = [Move(symbol, asked, "REJECTED")] if asked else []
            return [Move(symbol, intent, "FILLED", filled, venue_id), *answered]
        if "state" in fields:
            return [Move(symbol, intent, fields["state"], note=fields["reason"])]
        state = "ACKED" if kind == codes.REPLACED else codes.REPORTS[kind].upper()
        moves = [Move(symbol, intent, state, filled, venue_id)]
        if kind == codes.REPLACED:
            moves.append(Move(symbol, ref, "REPLACED"))
        if kind in (codes.CANCELED, codes.EXPIRED):
            asked = self.canceling.pop((symbol, intent), 0)
            if asked:
                moves.append(Move(symbol, asked, "ACKED"))
        return moves

    # ---------------------------------------------------------------------------------------------- rows

    def _rows(self, kind: str, ts_ms: int, symbol: int | None, body: str) -> StepRows:
        """Number the input and take what the engine said about it."""
        self._check()
        n = self.out.n
        self.seq += 1
        rows = StepRows(self.seq, kind, ts_ms, symbol, body)
        if not self._recording:
            return rows
        rows.decisions = self.out.decisions[: n[DECISIONS]].tolist()
        if n[TRANSITIONS]:
            rows.transitions = self.out.transitions[: n[TRANSITIONS]].tolist()
        if n[EFFECTS]:
            rows.effects = [self._outbox_row(effect) for effect in self.out.effects[: n[EFFECTS]].tolist()]
        if n[FILLS]:
            rows.fills = self.out.fills[: n[FILLS]].tolist()
            rows.consumed = self._consumed(self.out.fills[: n[FILLS]])
        touched = {row[1] for rows_of in (rows.transitions, rows.effects, rows.fills) for row in rows_of}
        reason = "the venue gave what was not asked" if n[ALERTS] else ""
        rows.positions = [self._position(i, reason) for i in sorted(touched) if i >= 0]
        if kind == "bars":
            rows.anchors = self._new_anchors()
        return rows

    def _consumed(self, fills: Any) -> list[tuple[int, int, int]]:
        entries = fills[fills["purpose"] == PURPOSE_ENTRY]
        states = self.world.states
        return [
            (int(row["symbol"]), int(states[row["symbol"]]["consumed_date"]), int(row["ts_ms"]))
            for row in entries
            if row["held"] == row["qty"]
        ]

    def _outbox_row(self, effect: tuple[Any, ...]) -> OutboxRow:
        ts_ms, symbol, intent, ref, kind, purpose, side, type_, qty, limit, stop, reason = effect
        word = codes.PURPOSES[purpose]
        cid = client_id(self.names.account, self.names.strategy, self.symbol_name(symbol), ts_ms, word, intent)
        if kind == CANCEL:
            self.canceling[symbol, ref] = intent
        else:
            self.orders[cid] = (symbol, intent)
            self.cids[symbol, intent] = cid
            self.terms[symbol, intent] = (purpose, side)
        due = ts_ms + self.fresh_ms
        return OutboxRow(ts_ms, symbol, intent, ref, kind, purpose, side, type_, qty, limit, stop, reason, cid, due)

    def _position(self, symbol: int, reason: str) -> PositionRow:
        names = ("phase", "side", "qty", "entry_cost", "entry_qty", "stop", "r1", "r2", "trade", "halted")
        state = self.world.states[symbol]
        values = [int(state[name]) for name in names]
        return PositionRow._make([symbol, *values, reason])

    def _new_anchors(self) -> list[AnchorRow]:
        """The anchors that this barrier began; one comparison of small columns for all symbols."""
        lines = self.world.states["avwap"]
        changed = np.argwhere(lines["anchor_ms"][:, :-1] != self._anchored[:, :-1])
        if not len(changed):
            return []
        rows = []
        for symbol, slot in changed.tolist():
            line = lines[symbol, slot]
            self._anchored[symbol, slot] = line["anchor_ms"]
            if line["anchor_ms"]:
                kind = int(self.world.rules[symbol, slot]["kind"])
                rows.append(AnchorRow(symbol, slot, kind, RULES_VERSION, int(line["anchor_ms"]), int(line["known_ms"])))
        return rows

    # --------------------------------------------------------------------------------------- facts, memory

    @property
    def quiet(self) -> bool:
        """Nothing is held, wanted or live: the next bar needs no answer from the venue first."""
        return not self.world.states["phase"].any()

    @property
    def last_ms(self) -> int:
        """The newest barrier folded."""
        return int(self.world.portfolio[0]["last_ms"])

    def snapshot(self) -> bytes:
        """The memory after the newest input, with the fingerprint it is good for."""
        head = {
            "seq": self.seq,
            "cursor": self.cursor,
            "layout": layout(),
            "fingerprint": self.fingerprint,
            "parts": [int(part.nbytes) for part in self._parts()],
            "listed": None if self.listed is None else asdict(self.listed),
            "limits": self.limits,
        }
        return packed(head, b"".join(part.tobytes() for part in self._parts()))

    def restore(self, body: bytes) -> bool:
        """Take a snapshot back; False where it was written by other rules or another layout (fold from the start)."""
        head, begin = head_of(body)
        if not head or self.foreign(body):
            return False
        raw = zlib.decompress(body[begin:])
        at = 0
        for part, size in zip(self._parts(), head["parts"], strict=True):
            if size != part.nbytes:
                return False
            part[...] = np.frombuffer(raw, part.dtype, part.size, at).reshape(part.shape)
            at += size
        self.seq, self.cursor = head["seq"], head["cursor"]
        self._limit(head.get("limits", {}))
        listed = head["listed"]
        self.listed = None if listed is None else Listed(**listed | {"missing": tuple(listed["missing"])})
        self._anchored = self.world.states["avwap"]["anchor_ms"].copy()
        return True

    def foreign(self, body: bytes) -> bool:
        """True of a snapshot that was written by another layout or other rules: nothing is known against it."""
        head, _ = head_of(body)
        return bool(head) and (head["layout"] != layout() or head["fingerprint"] != self.fingerprint)

    def _parts(self) -> Iterable[Any]:
        w = self.world
        return (w.states, w.portfolio, w.value, w.profile_counts, w.profile, w.watch)

    def state_hash(self) -> str:
        """Hex digest of the engine's memory, for the replay certificate."""
        digest = hashlib.sha256()
        for part in self._parts():
            digest.update(part.tobytes())
        return digest.hexdigest()
