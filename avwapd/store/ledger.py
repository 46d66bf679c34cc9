"""What the rows mean: plain functions over a connection, each called inside one transaction of the writer.

The one place that knows the tables. Nothing here begins or ends a transaction, and nothing here awaits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

import numpy as np

from avwapd.core import codes
from avwapd.core.records import BAR
from avwapd.store import EpochFenced, ImpossibleMove, InstrumentsChanged, RulesChanged, notices
from avwapd.store.limits import Limits, breach
from avwapd.store.rows import Input, InstrumentRow, Move, OutboxRow, Request, RunRow, Snapshot, StepRows
from avwapd.store.sql import Connection, load
from avwapd.store.watchlist import Watchlist

SQL = load("queries.sql")
SNAPSHOTS_KEPT = 3
SHOWN_MODES = {"replay": "sim"}
SIDES = {1: "buy", -1: "sell"}
LISTED = ("rank", "symbol", "side", "tier", "execute", "price", "level", "stop", "r1", "r2", "trend_score", "dist_pct",
          "slope", "confluence", "sector", "anchor", "anchor_date", "atr", "swing_low", "swing_high")  # fmt: skip


# ---------------------------------------------------------------------------------------------- who writes


def begin_epoch(conn: Connection, started_ms: int, pid: int, host: str, boot_id: str) -> int:
    """Take the ledger over; whoever held an older epoch can commit nothing any more."""
    [(epoch,)] = conn.execute(SQL["begin_epoch"], (started_ms, pid, host, boot_id)).fetchall()
    return int(epoch)


def end_epoch(conn: Connection, epoch: int, ended_ms: int) -> None:
    """Note a clean end; an epoch without this note crashed."""
    conn.execute(SQL["end_epoch"], (ended_ms, epoch))


def assert_epoch(conn: Connection, epoch: int) -> None:
    """Refuse to go on where a newer start has taken over."""
    (newest,) = conn.execute(SQL["newest_epoch"]).fetchone()
    if newest != epoch:
        row = conn.execute(SQL["epoch_row"], (newest,)).fetchone()
        holder = f"epoch {newest}, pid {row[2]} on {row[3]}" if row else "no epoch begun"
        raise EpochFenced("another start owns the ledger", holder, f"let this process (epoch {epoch}) end")


def begin_run(conn: Connection, run: RunRow) -> None:
    """Note what the run is made of."""
    conn.execute(SQL["begin_run"], run)


def assert_rules(conn: Connection, rules: Mapping[str, object], defaults: Mapping[str, object] | None = None) -> None:
    """A ledger is folded by the rules it was written with; under others its positions would not be its own.

    A setting that is younger than the ledger had its default then.
    """
    row = conn.execute(SQL["last_rules"]).fetchone()
    if row is None or last_seq(conn) == 0:
        return
    before = {**(defaults or {}), **json.loads(row[0])}
    changed = sorted(name for name in before.keys() | rules.keys() if before.get(name) != rules.get(name))
    if changed:
        told = "; ".join(f"{name} was {before.get(name)!r}, is {rules.get(name)!r}" for name in changed[:5])
        raise RulesChanged(
            f"settings that decide differ from those this ledger was written with: {told}",
            f"{len(changed)} of {len(rules)} settings",
            "set them back, or start a new ledger in another state folder (--state-dir)",
        )


def assert_mode(conn: Connection, mode: str) -> None:
    """Orders of one market are not carried on in another: what is held at one venue is not there at the other.

    A dry run leaves nothing behind, so any mode may follow it. mode: as a run is recorded.
    """
    row = conn.execute(SQL["last_trading_mode"]).fetchone()
    if row is None or mode in (row[0], "dry-run"):
        return
    raise RulesChanged(
        f"this ledger has orders of mode {SHOWN_MODES.get(row[0], row[0])}, the start is in mode "
        f"{SHOWN_MODES.get(mode, mode)}",
        "run.mode",
        "start in the mode it was written in, or name another state folder (--state-dir)",
    )


def register_instruments(conn: Connection, wanted: Iterable[InstrumentRow]) -> dict[tuple[str, str], int]:
    """The symbol_id of each (exchange, symbol): dense, in sorted order at first, later ones appended.

    Tick, lot and timeframe of a known instrument never change: all its rows are counted in them.
    """
    known = {(row[1], row[2]): row for row in conn.execute(SQL["instruments"]).fetchall()}
    ids = {key: int(row[0]) for key, row in known.items()}
    for row in sorted(wanted):
        key = (row.exchange, row.symbol)
        old = known.get(key)
        if old and (row.timeframe, row.tick, row.lot) != (old[3], old[6], old[7]):
            raise InstrumentsChanged(
                "tick, lot or timeframe differ from the ledger's",
                f"{row.exchange} {row.symbol}",
                "start a new ledger in another state folder, or restore the old terms",
            )
        symbol_id = ids.setdefault(key, len(ids))
        conn.execute(SQL["put_instrument"], (symbol_id, *row))
    return ids


def sync_words(conn: Connection) -> None:
    """Give the views the core's words; a code whose meaning changed needs a migration, not a new word."""
    kinds: Mapping[str, tuple[str, ...]] = {
        "phase": codes.PHASES,
        "skip": codes.SKIPS,
        "signal": codes.SIGNALS,
        "setup": codes.SETUPS,
        "gate": codes.GATES,
        "exit": codes.EXITS,
        "purpose": codes.PURPOSES,
        "cause": codes.CAUSES,
        "anchor": codes.ANCHORS,
        "portfolio": ("unblocked", "blocked"),
    }
    wanted = {(kind, code): word for kind, words in kinds.items() for code, word in enumerate(words)}
    known = {(kind, code): word for kind, code, word in conn.execute(SQL["words"]).fetchall()}
    for key, word in known.items():
        if wanted.get(key) != word:
            raise InstrumentsChanged(
                f"the ledger says {word!r} where the program says {wanted.get(key)!r}",
                f"words {key[0]} {key[1]}",
                "run the version that wrote this ledger, or start a new one in another state folder",
            )
    conn.executemany(SQL["put_word"], [(*key, word) for key, word in wanted.items() if key not in known])


# ------------------------------------------------------------------------------------------------- one step


def record_step(conn: Connection, rows: StepRows, limits: Limits | None = None) -> list[str]:
    """Record one input with all it made and caused; what a hard limit denied, in words."""
    denied: list[str] = []
    conn.execute(SQL["record_input"], (rows.seq, rows.kind, rows.ts_ms, rows.symbol_id, rows.body))
    if rows.bars:
        conn.executemany(SQL["record_bars"], rows.bars)
    if rows.decisions:
        conn.executemany(SQL["record_decisions"], rows.decisions)
    if rows.transitions:
        conn.executemany(SQL["record_transitions"], rows.transitions)
    if rows.effects:
        denied = _record_effects(conn, rows.seq, rows.effects, limits)
    if rows.fills:
        conn.executemany(SQL["record_fills"], rows.fills)
    if rows.positions:
        conn.executemany(SQL["record_positions"], rows.positions)
    if rows.anchors:
        conn.executemany(SQL["supersede_anchors"], rows.anchors)
        conn.executemany(SQL["record_anchors"], rows.anchors)
    if rows.consumed:
        conn.executemany(SQL["record_consumed"], rows.consumed)
    if rows.gates:
        conn.executemany(SQL["record_gates"], rows.gates)
    if rows.watchlist is not None:
        _record_watchlist(conn, rows, rows.watchlist)
    for move in rows.outbox_moves:
        apply_move(conn, move, rows.ts_ms)
    for what in [*rows.alerts, *denied]:
        notice = notices.put(conn, rows.ts_ms, "halt", "critical", what)
        conn.execute(SQL["record_alert"], (rows.ts_ms, "critical", what, notice)).fetchall()
    if rows.snapshot is not None:
        _record_snapshot(conn, rows.seq, rows.ts_ms, rows.snapshot)
    return denied


def _record_effects(conn: Connection, seq: int, effects: list[OutboxRow], limits: Limits | None) -> list[str]:
    """Orders first, in the order of the effects: a replace or cancel finds the id of the order it names."""
    denied = []
    for e in effects:
        ref = e.ref or None
        opens = e.kind == codes.SUBMIT and e.purpose == codes.PURPOSE_ENTRY  # the cancel of an entry opens nothing
        over = breach(conn, e, limits) if limits is not None and opens else ""
        if e.kind != codes.CANCEL:
            words = codes.PURPOSES[e.purpose], SIDES[e.side], codes.ORDER_TYPES[e.type]
            terms = e.qty, e.limit, e.stop, codes.EXITS[e.reason], e.ts_ms, ref
            conn.execute(SQL["record_order"], (e.symbol_id, e.intent, e.cid, *words, *terms))
        kind = codes.EFFECTS[e.kind]
        conn.execute(SQL["record_outbox"], (e.symbol_id, e.intent, kind, e.cid, ref, seq, e.due_ts_ms))
        if over:
            conn.execute(SQL["deny"], (over, e.symbol_id, e.intent)).fetchall()
            denied.append(f"{over}: {e.cid} was denied, and nothing opens until a human has looked")
    return denied


def _record_watchlist(conn: Connection, rows: StepRows, listed: Watchlist) -> None:
    """Every row of the list; of the anchors what it says anew. An anchor it does not speak of stands."""
    facts = {"seq": rows.seq, "scan_date": listed.scan_date, "version": listed.version, "taken_ms": rows.ts_ms}
    conn.executemany(
        SQL["record_watchlist"], [{**{name: row[name] for name in LISTED}, **facts} for row in listed.rows]
    )
    said: dict[tuple[str, str], list[Mapping[str, object]]] = {}
    for anchor in listed.anchors:
        said.setdefault((anchor["symbol"], anchor["kind"]), []).append(anchor)
    for (symbol, kind), anchors in said.items():
        standing = json.dumps([f"{anchor['anchor_date']} {anchor['rule_version']}" for anchor in anchors])
        newest = max(int(str(anchor["anchor_date"])) for anchor in anchors)
        given = {"symbol": symbol, "kind": kind, "standing": standing, "by": newest}
        conn.execute(SQL["supersede_scan_anchors"], given)
    names = ("symbol", "kind", "anchor_date", "known_date")
    about = {"seq": rows.seq, "scan_date": listed.scan_date}
    for row in listed.anchors:
        given = {**{name: row[name] for name in names}, "rule_version": str(row["rule_version"]), **about}
        conn.execute(SQL["record_scan_anchors"], given)


def _record_snapshot(conn: Connection, seq: int, ts_ms: int, body: bytes) -> None:
    conn.execute(SQL["record_snapshot"], (seq, ts_ms, body, hashlib.sha256(body).hexdigest()))
    conn.execute(SQL["forget_snapshots"], (SNAPSHOTS_KEPT,))


# --------------------------------------------------------------------------------------------------- outbox


def pending(conn: Connection) -> list[Request]:
    """What is still to be said to the venue, or in doubt, in the order it was decided."""
    return [Request(*row) for row in conn.execute(f"{SQL['requests']} {SQL['where_pending']}").fetchall()]


def denied_unheard(conn: Connection) -> list[Request]:
    """What a hard limit denied and its machine was never told: the process ended in between."""
    return [Request(*row) for row in conn.execute(f"{SQL['requests']} {SQL['where_denied_unheard']}").fetchall()]


def note_of(conn: Connection, symbol_id: int, intent: int) -> str:
    """Why an outbox row is where it is."""
    row = conn.execute(SQL["outbox_note"], (symbol_id, intent)).fetchone()
    return str(row[0] or "") if row else ""


def live(conn: Connection) -> list[Request]:
    """Orders that the venue took and has not ended, as far as we heard."""
    return [Request(*row) for row in conn.execute(f"{SQL['requests']} {SQL['where_live']}").fetchall()]


def request(conn: Connection, symbol_id: int, intent: int) -> Request | None:
    """The outbox row of this intent, in any state."""
    row = conn.execute(f"{SQL['requests']} {SQL['where_intent']}", (symbol_id, intent)).fetchone()
    return Request(*row) if row else None


def mark_sending(conn: Connection, symbol_id: int, intent: int, now_ms: int) -> int:
    """To be committed before the network call; returns the number of this attempt."""
    found = conn.execute(SQL["move_sending"], {"symbol_id": symbol_id, "intent": intent, "now_ms": now_ms}).fetchall()
    if not found:
        raise _impossible(conn, symbol_id, intent, "SENDING")
    return int(found[0][0])


def mark(
    conn: Connection,
    symbol_id: int,
    intent: int,
    state: str,
    now_ms: int,
    *,
    filled_qty: int | None = None,
    venue_id: str | None = None,
    note: str | None = None,
) -> str:
    """Tell an outbox row a word; returns the state it is in now, which a late word may leave as it was."""
    return apply_move(conn, Move(symbol_id, intent, state, filled_qty, venue_id, note), now_ms)


def apply_move(conn: Connection, move: Move, now_ms: int) -> str:
    """`mark` for a Move; a word that the table of moves has no way for ends the process."""
    where = {"symbol_id": move.symbol_id, "intent": move.intent}
    found = conn.execute(SQL["move"], {**where, "word": move.state, "now_ms": now_ms, "note": move.note}).fetchall()
    if not found:
        raise _impossible(conn, move.symbol_id, move.intent, move.state)
    if move.filled_qty is not None or move.venue_id is not None:
        conn.execute(SQL["order_heard"], {**where, "filled_qty": move.filled_qty, "venue_id": move.venue_id}).fetchall()
    return str(found[0][0])


def doubt_unsaid(conn: Connection, now_ms: int) -> int:
    """At the start of an older ledger: what it has as unsaid the lost rows may have sent; returns how many."""
    return len(conn.execute(SQL["doubt_new"], (now_ms,)).fetchall())


def doubt_sending(conn: Connection, note: str = "process ended while sending") -> int:
    """At start: what was being sent when the last process ended is in doubt; returns how many."""
    return len(conn.execute(SQL["doubt"], (note,)).fetchall())


def _impossible(conn: Connection, symbol_id: int, intent: int, word: str) -> ImpossibleMove:
    row = request(conn, symbol_id, intent)
    state = f"{row.cid} is {row.state}" if row else "no such row"
    where = f"outbox symbol_id {symbol_id} intent {intent}"
    return ImpossibleMove(f"{word}, but {state}", where, "keep the file and report this; the ledger is unchanged")


# -------------------------------------------------------------------------------------------------- loading


def last_seq(conn: Connection) -> int:
    """The newest input's number, 0 in an empty ledger."""
    return int(conn.execute(SQL["last_seq"]).fetchone()[0])


def last_bar_ts(conn: Connection) -> int:
    """The newest journaled bar's close, 0 in an empty ledger."""
    return int(conn.execute(SQL["last_bar_ts"]).fetchone()[0])


def load_snapshot(conn: Connection) -> Snapshot | None:
    """The newest snapshot whose hash holds; an older one only costs more folding."""
    damaged: list[int] = []
    for seq, ts_ms, body, sha256 in conn.execute(SQL["snapshots"]).fetchall():
        if hashlib.sha256(body).hexdigest() == sha256:
            return Snapshot(seq, ts_ms, body, tuple(damaged))
        damaged.append(seq)
    return None


def inputs_after(conn: Connection, seq: int) -> Iterator[Input]:
    """Every input after `seq` in order, with its BAR rows if it has any; two ordered scans, side by side."""
    groups = groupby(conn.execute(SQL["bars_after"], (seq,)), key=itemgetter(0))
    ahead = next(groups, None)
    for row in conn.execute(SQL["inputs_after"], (seq,)):
        bars = None
        if row[1] == "bars":
            found = []
            if ahead is not None and ahead[0] == row[0]:
                found = [bar[1:] for bar in ahead[1]]
                ahead = next(groups, None)
            bars = np.array(found, dtype=BAR)
        yield Input(row[0], row[1], row[2], row[3], row[4], bars)


def drilled(conn: Connection) -> list[int]:
    """Closes of the intervals that a drill held back and whose bars have not followed."""
    return [int(ts_ms) for (ts_ms,) in conn.execute(SQL["drilled"])]


def order_ids(conn: Connection) -> list[tuple[str, int, int, str, int]]:
    """(cid, symbol_id, intent, purpose, side) of every order ever made: the venue may speak of any of them."""
    return [
        (str(cid), int(symbol), int(intent), str(purpose), int(side))
        for cid, symbol, intent, purpose, side in conn.execute(SQL["order_ids"]).fetchall()
    ]


def known_orders(conn: Connection) -> list[tuple[str, str, int, int, int, str, str]]:
    """(cid, symbol, side, qty, filled_qty, state, venue_id) of every order ever made, oldest first.

    side: 1 or -1; quantities in lots; state: the outbox row's; venue_id: "" where the venue never named one.
    """
    return [tuple(row) for row in conn.execute(SQL["known_orders"]).fetchall()]


def unprotected_since(conn: Connection, symbol_ids: Iterable[int]) -> dict[int, int]:
    """Market ms since when each of these positions has had no stop at the venue, as far as the ledger knows."""
    found = {each: conn.execute(SQL["unprotected_since"], {"symbol_id": each}).fetchone()[0] for each in symbol_ids}
    return {symbol_id: int(ms) for symbol_id, ms in found.items() if ms is not None}


def exec_ids(conn: Connection) -> set[str]:
    """Every execution that was ever taken: none of them counts again."""
    return {str(exec_id) for (exec_id,) in conn.execute(SQL["exec_ids"]).fetchall()}


def filled_for(conn: Connection, order: tuple[int, int]) -> tuple[int, int]:
    """What the executions of an order (symbol, intent) came to: lots, and lots times ticks."""
    qty, ticks = conn.execute(SQL["filled_for"], order).fetchone()
    return int(qty), int(ticks)


@dataclass(frozen=True, slots=True)
class VenueBooks:
    """The account as the venue had it; cash and equity: decimal text, holdings: decimal text by symbol."""

    ts_ms: int
    cash: str
    equity: str
    holdings: Mapping[str, str]
    agreed: bool
    difference: str


def first_venue_books(conn: Connection) -> VenueBooks | None:
    """The first reading of the venue's books: what cash is compared with ever after; None before there was one."""
    row = conn.execute(SQL["first_venue_books"]).fetchone()
    if row is None:
        return None
    ts_ms, cash, equity, holdings, agreed, difference = row
    return VenueBooks(ts_ms, cash, equity, json.loads(holdings), bool(agreed), difference)
