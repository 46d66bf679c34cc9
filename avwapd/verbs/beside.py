"""What runs beside trading in the daemon's process and may fail without hurting it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from avwapd.paths import Paths
from avwapd.ports import SystemClock

if TYPE_CHECKING:
    from avwapd.actors.decisions_file import DecisionsFile
    from avwapd.daemon import Daemon


def beside(daemon: Daemon, paths: Paths) -> list[Any]:
    """The files of decisions; Prometheus' page where a port is set."""
    files = decisions_file(daemon, paths)
    daemon.listeners.append(files.tell)
    daemon.beside["decision_files"] = files.facts
    found: list[Any] = [files]
    if daemon.config.metrics.port:
        from avwapd.ops.metrics_server import MetricsServer

        found.append(MetricsServer(daemon.config.metrics.port, daemon.health))
    return found


def decisions_file(daemon: Daemon, paths: Paths) -> DecisionsFile:
    from avwapd.actors.decision_record import Recorder
    from avwapd.actors.decisions_file import DecisionsFile
    from avwapd.feeds.calendar import BELL, all_sessions
    from avwapd.ops.measure import measure

    market, journal = daemon.setup.market, daemon.journal
    ticks, lots = ([float(row[name]) for row in market.instruments] for name in ("tick", "lot"))
    bell = bool(daemon.setup.instruments["bell"].any())
    table = all_sessions(BELL)

    def session(ts_ms: int) -> str:
        """The New York session that a time lies in or comes before; where no bell rings, the day UTC."""
        at = int(table["close_ms"].searchsorted(ts_ms)) if bell else len(table)
        if at >= len(table):
            return datetime.fromtimestamp(ts_ms / 1000, UTC).date().isoformat()
        day = int(table["date"][at])
        return f"{day // 10_000:04}-{day // 100 % 100:02}-{day % 100:02}"

    return DecisionsFile(
        paths.daily_decisions,
        paths.decision_latest,
        paths.database,
        lambda: Recorder(market.symbols, ticks, lots, journal.last_ms),
        SystemClock(),
        session=session,
        portfolio=lambda: portfolio(daemon, ticks, lots),
        measure=lambda: measure(paths.database),
    )


def portfolio(daemon: Daemon, ticks: list[float], lots: list[float]) -> dict[str, Any]:
    """What is held and wanted now, as people read it."""
    world, names = daemon.journal.world, daemon.journal.names.symbols
    rows = [
        {
            "symbol": names[i],
            "side": "long" if state["side"] > 0 else "short",
            "qty": round(int(state["qty"]) * lots[i], 12),
            "stop": round(int(state["stop"]) * ticks[i], 12) or None,
            "halted": bool(state["halted"]),
        }
        for i in world.states["qty"].nonzero()[0].tolist()
        for state in (world.states[i],)
    ]
    port = world.portfolio[0]
    return {"equity": float(port["equity"]), "positions": rows, "session_date": int(port["session_date"])}
