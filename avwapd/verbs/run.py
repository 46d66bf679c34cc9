"""The daemon in the foreground."""

from __future__ import annotations

import argparse
import logging
import os
import random
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avwapd.config import REMOTE_MODES, Config, ConfigError, config_hash, is_loopback, load, refuse_absent_mode
from avwapd.paths import Paths, resolve
from avwapd.ports import Clock, ScaledClock, SystemClock
from avwapd.store.ids import is_ours
from avwapd.venues.port import VenueDoubt

if TYPE_CHECKING:
    from avwapd.daemon import Daemon, Doors
    from avwapd.feeds.world import Setup

EXAMPLE = """\
examples:
  avwapd run --config etc/demo.toml
  avwapd run --replay --exchange binance --symbols ETH-BTC,ADA-BTC --timeframe 5m --speed max --once
"""
log = logging.getLogger("avwapd")

OVERRIDES = {
    "exchange": "run.exchange",
    "symbols": "run.symbols",
    "timeframe": "run.timeframe",
    "window_from": "run.window_from",
    "window_to": "run.window_to",
    "speed": "run.speed",
}
FOREIGN = ("aiohttp", "alpaca", "asyncio", "ccxt", "websockets")
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--replay", action="store_true", help="feed archived bars to the simulated venue")
    parser.add_argument("--once", action="store_true", help="end with 0 when a finite feed is done and settled")
    parser.add_argument("--exchange", help="whose bars")
    parser.add_argument("--symbols", help="A,B,… (default: all the archive has)")
    parser.add_argument("--timeframe", help="1m, 5m, 1h, 1d, …")
    parser.add_argument("--from", dest="window_from", help="first bar decided: ts_ms, date or time with its zone")
    parser.add_argument("--to", dest="window_to", help="last bar decided")
    parser.add_argument("--speed", help="seconds of market time in a second, or max")


def run(args: argparse.Namespace) -> int:
    options = {key: value for name, key in OVERRIDES.items() if (value := getattr(args, name)) is not None}
    if args.replay:
        options["run.market"] = "archive"
    config = load(Path(args.config) if args.config else None, options=options)
    refuse_absent_mode(config)
    assert_reachable(config)
    tell(config, as_json=bool(args.json))
    paths = resolve(args.state_dir)
    make_folder(paths.state)
    from avwapd.store.lock import hold

    with hold(paths.state):
        return serve(config, paths, once=args.once)


def assert_reachable(config: Config) -> None:
    """Keys are there and addresses fit the mode, before anything is begun; raises ConfigError."""
    if config.run.mode not in REMOTE_MODES:
        return
    from avwapd.remote import credentials
    from avwapd.remote.addresses import assert_addresses

    keys = credentials.load(config)
    assert_addresses(config.run.mode, config.venue, config.feed.plan, keys.address)


def make_folder(state: Path) -> None:
    """The state folder, or three words on why it cannot be."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        (state / ".probe").touch()
        (state / ".probe").unlink()
    except OSError as error:
        what = f"the state folder cannot be used ({error.strerror})"
        raise ConfigError(what, str(state), "name one that this user may write: --state-dir") from None


def serve(config: Config, paths: Paths, *, once: bool) -> int:
    """Load, warm, run; the exit code."""
    import anyio

    from avwapd.daemon import Daemon
    from avwapd.feeds.source import market_of
    from avwapd.feeds.world import build, warm

    market = market_of(config, paths.archive)
    setup = build(config, market)
    warm(setup)
    daemon = Daemon(setup, doors(config, paths), once=once)
    log.info(
        "avwapd starts: mode=%s venue=%s symbols=%d bars=%d database=%s config=%s",
        config.run.mode,
        config.embedded.venue if config.run.mode not in REMOTE_MODES else config.venue.name,
        len(market.symbols),
        len(market.bars),
        paths.database.name,
        config_hash(config)[:12],
    )
    lost = [name for name, row in zip(market.symbols, setup.instruments, strict=True) if row["convert_symbol"] == -2]
    if lost:
        log.warning(
            "%s cannot be traded: no conversion to %s among the symbols; set [equity] currency "
            "(AVWAPD_EQUITY__CURRENCY) to what they are quoted in, or add the pair",
            ", ".join(lost[:8]),
            config.equity.currency,
        )
    try:
        anyio.run(watched, daemon)
    except BaseExceptionGroup as group:
        raise hinted(first_of(group), config) from group
    return 0


def hinted(error: BaseException, config: Config) -> BaseException:
    """With the way out that only a simulated venue has."""
    from avwapd.actors.reconcile import AccountTooSmall

    if isinstance(error, AccountTooSmall) and is_loopback(config.venue.address):
        error.next_step += "; a simulated venue opens a new account: avwapd demo-venue --fresh"
    return error


async def watched(daemon: Daemon) -> None:
    """Serve; SIGTERM and SIGINT end in order, a second one at once."""
    import anyio

    async with anyio.create_task_group() as group:

        async def listen() -> None:
            with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                count = 0
                async for received in signals:
                    count += 1
                    if count > 1:
                        log.warning("second signal: ending now; the next start looks up what is in doubt")
                        os._exit(128 + received)
                    daemon.stop(f"{signal.Signals(received).name}")

        group.start_soon(listen)
        await daemon.serve()
        group.cancel_scope.cancel()


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The reason inside nested groups: the first that can say what to do next, else the first."""
    leaves: list[BaseException] = []
    stack: list[BaseException] = [group]
    while stack:
        error = stack.pop()
        if isinstance(error, BaseExceptionGroup):
            stack.extend(reversed(error.exceptions))
        else:
            leaves.append(error)
    return next((error for error in leaves if hasattr(error, "next_step")), leaves[0])


def doors(config: Config, paths: Paths) -> Doors:
    """The real world."""
    from avwapd.daemon import Doors
    from avwapd.feeds.source import live_feed
    from avwapd.store.database import open_database
    from avwapd.store.watchlist import read as read_watchlist
    from avwapd.venues.choose import open_remote, open_venue

    clock = clock_of(config)
    chance = random.Random(f"{os.getpid()}/{boot_id()}").random  # jitter only: nothing that is decided

    async def database() -> Any:
        return await open_database(paths.database)

    async def venue(setup: Setup) -> Any:
        if config.run.mode not in REMOTE_MODES:
            return await open_venue(config, setup, paths.state)
        opened = await open_remote(config, setup, clock, ours=is_ours, chance=chance)
        if isinstance(clock, ScaledClock):
            await follow(clock, opened)
        return opened

    def feed(setup: Setup) -> Any:
        return live_feed(config, setup, clock, chance=chance)

    return Doors(
        clock=clock,
        open_feed=feed,
        chance=chance,
        open_database=database,
        open_venue=venue,
        publish_beat=lambda facts: write_beat(paths.heartbeat, facts),
        killed=paths.kill_switch.exists,
        read_watchlist=lambda: read_watchlist(paths.watchlist),
        identity=(os.getpid(), socket.gethostname(), boot_id()),
        servers=lambda daemon: servers(daemon, paths),
        on_ready=lambda: log.info("ready: control socket %s", paths.socket.name),
    )


def clock_of(config: Config) -> Clock:
    """The machine's, or that of a simulated venue, which is not there yet."""
    near = config.run.mode in REMOTE_MODES and is_loopback(config.venue.address)
    return ScaledClock(SystemClock().now_ms(), config.venue.speed) if near else SystemClock()


async def follow(clock: ScaledClock, venue: Any) -> None:
    """Set market time to the simulated venue's; waits until it answers."""
    while True:
        try:
            clock.set(clock.now_ms() + await venue.skew_ms())
            return
        except VenueDoubt as doubt:
            log.warning("the venue's clock cannot be read yet: %s", doubt)
            await clock.sleep(1.0)


def servers(daemon: Daemon, paths: Paths) -> list[Any]:
    from avwapd.actors.control import Control

    at_venue = daemon.at_venue
    return [
        Control(
            paths.socket,
            paths.database,
            daemon.symbols,
            daemon.facts,
            daemon.stop,
            daemon.lists.reload,
            difference_of=at_venue.reconciler.difference_of if at_venue is not None else lambda symbol: "",
        )
    ]


def write_beat(path: Path, facts: dict[str, Any]) -> None:
    """heartbeat.json, whole or not at all."""
    import orjson

    beside = path.with_suffix(".tmp")
    try:
        beside.write_bytes(orjson.dumps(facts, default=str) + b"\n")
        beside.replace(path)
    except OSError as error:
        log.warning("the heartbeat file cannot be written: %s", error)


def boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def tell(config: Config, *, as_json: bool) -> None:
    """Log lines to standard output: as text, or one JSON object a line."""
    handler = logging.StreamHandler(sys.stdout)
    if as_json or config.log.format == "json":
        handler.setFormatter(JsonLines())
    else:
        handler.setFormatter(logging.Formatter("%(message)s"))
    root = logging.getLogger("avwapd")
    root.handlers = [handler]
    root.propagate = False
    root.setLevel(LEVELS[config.log.level])
    # A closed pipe must not fill it with tracebacks; a client's garbage is answered, not told.
    logging.raiseExceptions = False
    # Clients tell each outage with a traceback; ours say it in a line.
    for name in FOREIGN:
        logging.getLogger(name).setLevel(logging.CRITICAL)


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        import json

        return json.dumps({"level": record.levelname.lower(), "from": record.name, "message": record.getMessage()})
