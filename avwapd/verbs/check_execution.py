"""Can it trade: the kill switch, the keys of live trading, credentials and address of the venue, limits, gates."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from avwapd.config import Config, is_remote, load
from avwapd.ops.arming import missing
from avwapd.ops.finding import FAIL, OK, WARN, Finding
from avwapd.paths import Paths, resolve
from avwapd.verbs.check import of_address, of_credentials, of_database, of_venue
from avwapd.verbs.client import DaemonError, ask, locked_by

LIMIT_S = 3.0
NO = ("", "0", "false", "no", "off")
SENDS_NOTHING = ("dry-run",)


def findings(args: argparse.Namespace) -> Iterator[Finding]:
    config, paths = load(Path(args.config) if args.config else None), resolve(args.state_dir)
    yield of_mode(config)
    yield of_switch(paths)
    yield of_database(paths.database)
    if is_remote(config):
        yield of_venue(config)
        yield of_address(config)
        yield of_credentials(config)
    yield from of_arming(config, paths)
    yield of_limits(config)
    yield of_gates(paths)


def of_mode(config: Config) -> Finding:
    mode = config.run.mode
    if mode in SENDS_NOTHING:
        return Finding("mode", WARN, f"{mode}: nothing is sent", "set run.mode when orders are wanted")
    return Finding("mode", OK, mode)


def of_switch(paths: Paths) -> Finding:
    said = os.environ.get("AVWAPD_KILL_SWITCH", "").strip().lower()
    if said not in NO:
        return Finding("kill switch", FAIL, "AVWAPD_KILL_SWITCH closes it", "take it out of the environment")
    if os.path.lexists(paths.kill_switch):
        return Finding("kill switch", FAIL, f"{paths.kill_switch.name} is there: no entry leaves", "avwapd ctl unkill")
    return Finding("kill switch", OK, "open")


def of_arming(config: Config, paths: Paths) -> Iterator[Finding]:
    """The two keys, and who may be traded; of the mode live alone."""
    if config.run.mode != "live":
        yield Finding("arming", OK, f"not asked for in mode {config.run.mode}")
        return
    lacks = missing(paths.state)
    yield Finding(
        "arming", FAIL if lacks else OK, "; ".join(lacks) or "both keys are there", "see docs/gates.md" if lacks else ""
    )
    live = config.live
    if not live.allow:
        yield Finding("allow-list", FAIL, "live.allow is empty: nothing may open", "name the symbols in live.allow")
    else:
        yield Finding("allow-list", OK, f"{len(live.allow)} symbols")
    if live.first_live and live.first_symbol not in live.allow:
        what = f"live.first_symbol is {live.first_symbol or 'empty'}, and not in live.allow"
        yield Finding("first live", FAIL, what, "name one symbol of live.allow, or set live.first_live to false")
    elif live.first_live:
        yield Finding("first live", OK, f"{live.first_symbol} alone, under the first_ limits")


def of_limits(config: Config) -> Finding:
    """Whether any entry at all fits under the limits."""
    caps, live = config.caps, config.live
    parts: dict[str, float] = {"positions": caps.max_positions, "entries a day": caps.max_entries_day}
    if config.run.mode == "live":
        first = live.first_live
        parts |= {
            "live positions": live.first_max_positions if first else live.max_positions,
            "live entries a day": live.first_max_entries_day if first else live.max_entries_day,
            "live gross": live.first_max_gross_notional if first else live.max_gross_notional,
            "live a symbol": live.first_max_symbol_notional if first else live.max_symbol_notional,
        }
    shut = [name for name, value in parts.items() if not value]
    if shut:
        return Finding("limits", FAIL, f"0 is allowed: {', '.join(shut)}", "raise it in [caps] or [live]")
    return Finding("limits", OK, ", ".join(f"{name} {value:g}" for name, value in parts.items()))


def of_gates(paths: Paths) -> Finding:
    """As the daemon has them; without one nothing can be said."""
    try:
        closed = ask(paths.socket, "GET", "/v1/health", None, LIMIT_S).get("gates_closed") or []
    except DaemonError as error:
        if locked_by(paths.lock):
            return Finding("gates", FAIL, f"nobody knows: {error.what}", error.next_step)
        return Finding("gates", OK, "no daemon runs here; its gates turn once it does")
    if closed:
        return Finding("gates", WARN, f"closed: {', '.join(closed)}", "avwapd ctl gates says why")
    return Finding("gates", OK, "open")
