"""What the running daemon says of itself: for `ctl status`, heartbeat.json, health and metrics."""

from __future__ import annotations

from collections import Counter
from typing import Any

from avwapd import __version__
from avwapd.actors.live import LiveBars
from avwapd.actors.vitals import vitals
from avwapd.core.codes import PHASES


def facts_of(daemon: Any, run: str) -> dict[str, Any]:
    """From memory alone, each part by its own words. run: the run's id."""
    states = daemon.journal.world.states
    phases = Counter(PHASES[phase] for phase in states["phase"].tolist())
    names = daemon.journal.names.symbols
    newest = daemon.clock.market_ms
    listed = daemon.lists.facts()
    return {
        "version": __version__,
        "run": run,
        "mode": daemon.config.run.mode,
        "account": daemon.config.run.account,
        "ready": daemon.ready,
        "epoch": daemon.epoch,
        "symbols": len(names),
        "phases": {name: phases.get(name, 0) for name in PHASES},
        "last_ts_ms": newest or None,
        "lag_ms": daemon.clock.lag_ms,
        "bars_left": daemon.feed.left,
        "waiting_for": daemon.bars.waiting_for,
        "equity": float(daemon.journal.world.portfolio[0]["equity"]),
        "decisions": daemon.story.decided,
        "queues": {
            "symbols": {"size": daemon.symbols.waiting, "bound": daemon.symbols.room},
            "writer": {"size": daemon.writer.waiting, "bound": daemon.config.queues.writer},
            "router": {"size": daemon.router.waiting, "bound": daemon.router.room},
        },
        "in_doubt": [row.cid for row in daemon.router.in_doubt],
        "halted": [names[i] for i in range(len(names)) if states[i]["halted"]],
        "kill_switch": daemon.switch.on(),
        "gates": daemon.gates.facts(),
        "watchlist": None if listed is None else {**listed, "missing": len(listed["missing"])},
        "draining": bool(daemon.journal.world.portfolio[0]["drained"]),
        "commits": daemon.writer.commits,
        "pulse": daemon.pulse.facts(),
        "notices": daemon.notices.facts(),
        "drill": daemon.drill.facts(),
        **{name: told() for name, told in daemon.beside.items()},
        **(daemon.at_venue.facts() if daemon.at_venue is not None else {}),
    }


def health_of(daemon: Any, now_ms: int, identity: tuple[int, str, str], measured: dict[str, Any]) -> dict[str, Any]:
    """The facts with what is due, who this is, the newest beat and the ledger's file. now_ms: market time."""
    live = daemon.bars.feed.schedule if isinstance(daemon.bars, LiveBars) else None
    found = vitals(daemon.facts(), daemon.config, daemon.journal.world.portfolio[0], live, now_ms)
    pid, _, boot_id = identity
    return {**found, "pid": pid, "boot_id": boot_id, **daemon.heartbeat.facts(), "database": measured}
