"""From the field that differs to what has probably happened, and the one command that shows more."""

from __future__ import annotations

from avwapd.config import REMOTE_MODES
from avwapd.core.records import DECISION
from avwapd.research.compare import FLAGS, Mismatch
from avwapd.research.record import PRICES
from avwapd.store.rows import RunRow

ORDERED = ("intent", "qty", "limit", "skip", "gates_blocked")
FETCH = "avwapd bars fetch, under the run's own --config; then avwapd verify again"
FILLED = ("phase_before", "phase_after", "exit", "side", "stop", "r1", "r2")


def explain(found: Mismatch, row: RunRow) -> tuple[str, str]:
    """(hypothesis, next command)."""
    where = f"--exchange {row.exchange} --timeframe {row.timeframe}"
    why = f"avwapd why {found.symbol} {found.where}"
    if found.layer == "replay":
        return (
            "the journal no longer leads to the recorded rows: other code, another configuration, or an edited ledger",
            "avwapd audit",
        )
    if found.layer == "trades" and row.mode != "replay":
        return "what the venue said is taken from the record: its fills are not those its words lead to", "avwapd audit"
    if found.layer == "trades":
        row_of = found.live_row or found.backtest_row or {}
        when = row_of.get("exit_ts_ms", "")
        return "the venue filled an order otherwise than the fill model does", f"avwapd why {found.symbol} {when}"
    if row.mode in REMOTE_MODES and not_archived(found):
        return "the bars of this run are not in the archive yet: a run at a venue does not keep them there", FETCH
    if found.field in ("symbols", "engine", "bars") or not found.where:
        return _whole(found, where)
    if found.field == "row" and found.live_row is None:
        what = "a bar of the archive was not decided: dropped at ingestion, or imported after the run"
        return what, f"avwapd bars check {where} --symbols {found.symbol}"
    if found.field == "row":
        return "the run decided a bar that the archive does not have", f"avwapd bars check {where}"
    if found.field in PRICES:
        what = "the run decided on another version of this bar: a forming one, or a correction"
        return what, f"avwapd bars check {where} --symbols {found.symbol}"
    if found.field == "flags":
        return f"marks ({', '.join(FLAGS[:2])}, …) that no recorded downtime explains", why
    if found.field in ORDERED:
        return "entries were ranked, sized or blocked in another order", why
    if found.field in FILLED:
        return "an order before this bar was filled, or a position managed, otherwise than the fill model does", why
    assert found.field in (DECISION.names or ())
    return "another bar went into the line before this one, or the rules are of another version", why


def not_archived(found: Mismatch) -> bool:
    """The run decided what the archive has no bar for."""
    return found.field in ("engine", "bars") or (found.field == "row" and found.backtest_row is None)


def _whole(found: Mismatch, where: str) -> tuple[str, str]:
    if found.field == "engine":
        return "the archive's bars are not what the run was fed", f"avwapd bars check {where}"
    return "the archive does not hold the bars of this run", "avwapd bars list"
