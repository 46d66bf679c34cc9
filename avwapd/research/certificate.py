"""The replay certificate: every recorded input through a fresh engine leaves the recorded rows, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avwapd.core import codes
from avwapd.core.records import DECISION, FILL, TRANSITION
from avwapd.feeds.world import Setup
from avwapd.research.compare import Mismatch, Side, bits, decisions_differ
from avwapd.research.record import Record
from avwapd.store import StoreError, ledger
from avwapd.store.journal import Journal, Names
from avwapd.store.rows import OutboxRow, StepRows

Rows = NDArray[np.void]
SIDES = {1: "buy", -1: "sell"}
BUNDLE = 50_000


@dataclass
class Folded:
    """What the inputs left this time."""

    inputs: int
    decisions: Rows
    transitions: Rows
    fills: Rows
    effects: list[OutboxRow]
    state_at_snapshot: str | None


def certify(
    record: Record, setup: Setup, *, account: str, strategy: str, fingerprint: str
) -> tuple[int, Mismatch | None]:
    """(inputs folded, the first difference)."""
    names = Names(account, strategy, record.symbols)

    def journal() -> Journal:
        return Journal(setup.fresh(), names, fingerprint=fingerprint, fresh_ms=setup.config.order.fresh_ms)

    snapshot = ledger.load_snapshot(record.conn)
    try:
        folded = fold(record, journal(), snapshot.seq if snapshot else None)
    except StoreError as error:
        return 0, difference("", "", "input", "recorded", f"{error.what} ({error.where})")
    for found in differences(record, folded):
        return folded.inputs, found
    if snapshot is None:
        return folded.inputs, None
    restored = journal()
    if not snapshot.damaged and restored.foreign(snapshot.body):
        return folded.inputs, None  # an older program's: a start folds the journal instead
    whole = restored.restore(snapshot.body) and not snapshot.damaged
    mine = restored.state_hash() if whole else "unusable"
    if mine != folded.state_at_snapshot:
        what = difference(str(snapshot.ts_ms), "", "snapshot", mine, folded.state_at_snapshot or "no such input")
        return folded.inputs, what
    return folded.inputs, None


def fold(record: Record, journal: Journal, snapshot_seq: int | None) -> Folded:
    kept = {
        name: Bundles(dtype) for name, dtype in (("decisions", DECISION), ("transitions", TRANSITION), ("fills", FILL))
    }
    effects: list[OutboxRow] = []
    state = None
    count = 0
    for entry in ledger.inputs_after(record.conn, 0):
        rows: StepRows | None = journal.fold(entry)
        count += 1
        if rows is not None:
            kept["decisions"].add(rows.decisions)
            kept["transitions"].add(rows.transitions)
            kept["fills"].add([fill[2:] for fill in rows.fills])
            effects += rows.effects
        if entry.seq == snapshot_seq:
            state = journal.state_hash()
    whole = [bundle.whole() for bundle in kept.values()]
    return Folded(count, whole[0], whole[1], whole[2], effects, state)


class Bundles:
    """Rows as tuples, packed into arrays before there are too many."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._packed = [np.zeros(0, dtype)]
        self._loose: list[Any] = []

    def add(self, rows: Sequence[Any]) -> None:
        self._loose += rows
        if len(self._loose) >= BUNDLE:
            self._packed.append(np.array(self._loose, self._dtype))
            self._loose = []

    def whole(self) -> Rows:
        return np.concatenate([*self._packed, np.array(self._loose, self._dtype)])


def differences(record: Record, folded: Folded) -> Iterator[Mismatch]:
    decisions = folded.decisions[np.lexsort((folded.decisions["symbol"], folded.decisions["ts_ms"]))]
    found = decisions_of(record, decisions)
    if found is not None:
        yield found
    for name, mine, theirs in (
        ("transition", record.transitions(), folded.transitions),
        ("fill", record.fills(), folded.fills),
    ):
        found = rows_differ(name, mine, theirs, record.symbols)
        if found is not None:
            yield found
    found = effects_differ(record, folded.effects)
    if found is not None:
        yield found


def decisions_of(record: Record, folded: Rows) -> Mismatch | None:
    """The recorded decisions against the folded ones; the bars are the same by nature."""
    recorded = record.decisions()
    no_bars = [np.zeros(len(rows), [(name, "f8") for name in ("open", "high", "low", "close", "volume")])
               for rows in (recorded, folded)]  # fmt: skip
    found = decisions_differ(Side(recorded, no_bars[0]), Side(folded, no_bars[1]), record.symbols)
    if found is None:
        return None
    return replace(found, layer="replay")


def rows_differ(name: str, recorded: Rows, folded: Rows, symbols: Sequence[str]) -> Mismatch | None:
    """Transitions or fills in the order in which they happened."""
    common = min(len(recorded), len(folded))
    first: tuple[int, str] | None = None
    for field in recorded.dtype.names or ():
        unlike = np.flatnonzero(bits(recorded[field][:common]) != bits(folded[field][:common]))
        if len(unlike) and (first is None or unlike[0] < first[0]):
            first = (int(unlike[0]), field)
    if first is None and len(recorded) == len(folded):
        return None
    at, field = first or (common, "row")
    rows = [side[at] if at < len(side) else None for side in (recorded, folded)]
    some = next(row for row in rows if row is not None)
    values = ["absent" if row is None else "present" if field == "row" else row[field].item() for row in rows]
    shown = [None if row is None else dict(zip(row.dtype.names, row.item(), strict=True)) for row in rows]
    symbol = symbols[some["symbol"]] if some["symbol"] >= 0 else "portfolio"
    return Mismatch("replay", str(some["ts_ms"]), symbol, f"{name} {field}", values[0], values[1], shown[0], shown[1])


def effects_differ(record: Record, effects: list[OutboxRow]) -> Mismatch | None:
    """What was to be said to the venue, with the ids it was said under."""
    ordered = sorted(effects, key=lambda e: (e.symbol_id, e.intent))
    requests = [(e.symbol_id, e.intent, codes.EFFECTS[e.kind], e.cid, e.ref or None, e.due_ts_ms) for e in ordered]
    orders = [
        (
            *(e.symbol_id, e.intent, e.cid, codes.PURPOSES[e.purpose], SIDES[e.side], codes.ORDER_TYPES[e.type]),
            *(e.qty, e.limit, e.stop, codes.EXITS[e.reason], e.ts_ms, e.ref or None),
        )
        for e in ordered
        if e.kind != codes.CANCEL
    ]
    recorded = [row[:6] for row in record.ask("outbox").fetchall()]
    for name, mine, theirs in (("request", recorded, requests), ("order", record.ask("orders").fetchall(), orders)):
        if mine == theirs:
            continue
        at = next((i for i, pair in enumerate(zip(mine, theirs, strict=False)) if pair[0] != pair[1]), None)
        at = min(len(mine), len(theirs)) if at is None else at
        values = [" ".join(map(str, side[at])) if at < len(side) else "absent" for side in (mine, theirs)]
        symbol = (mine[at] if at < len(mine) else theirs[at])[0]
        return difference("", record.symbols[symbol], name, values[0], values[1])
    return None


def difference(where: str, symbol: str, field: str, live: str, backtest: str) -> Mismatch:
    return Mismatch("replay", where, symbol, field, live, backtest, None, None)
