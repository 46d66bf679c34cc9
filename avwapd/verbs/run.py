"""The daemon in the foreground."""

from __future__ import annotations

import argparse
import logging
import os
import random
import signal
import socket
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avwapd import __version__
from avwapd.config import Config, ConfigError, account_mode, config_hash, is_loopback, is_remote, load
from avwapd.ops import logs, told
from avwapd.paths import Paths, resolve
from avwapd.ports import Clock, ScaledClock, SystemClock
from avwapd.store.ids import is_ours
from avwapd.venues.port import VenueDoubt

if TYPE_CHECKING:
    from avwapd.daemon import Daemon
    from avwapd.doors import Doors
    from avwapd.feeds.world import Setup

EXAMPLE = """\
examples:
  avwapd run --config etc/demo.toml
  avwapd run --replay --exchange binance --symbols ETH-BTC,ADA-BTC --timeframe 5m --speed max --once
"""
log = logging.getLogger("avwapd")

SECOND_SIGNAL_S = 0.5  # for log lines that wait

OVERRIDES = {
    "exchange": "run.exchange",
    "symbols": "run.symbols",
    "timeframe": "run.timeframe",
    "window_from": "run.window_from",
    "window_to": "run.window_to",
    "speed": "run.speed",
}


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
        options |= {"run.market": "archive", "run.mode": "sim"}
    logs.guard_descriptors()
    config = load(Path(args.config) if args.config else None, options=options)
    assert_reachable(config)
    lines = logs.begin(config, as_json_lines=bool(args.json))
    paths = resolve(args.state_dir)
    make_folder(paths.state)
    from avwapd.store.lock import hold

    try:
        with hold(paths.state):
            return serve(config, paths, lines, once=args.once)
    finally:
        lines.close()


def assert_reachable(config: Config) -> None:
    """Keys are there and addresses fit the mode, before anything is begun; raises ConfigError."""
    if not is_remote(config):
        return
    from avwapd.remote import credentials
    from avwapd.remote.addresses import assert_addresses

    keys = credentials.load(config)
    assert_addresses(account_mode(config), config.venue, config.feed.plan, keys.address)


def make_folder(state: Path) -> None:
    """The state folder, or three words on why it cannot be."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        (state / ".probe").touch()
        (state / ".probe").unlink()
    except OSError as error:
        what = f"the state folder cannot be used ({error.strerror})"
        raise ConfigError(what, str(state), "name one that this user may write: --state-dir") from None


def serve(config: Config, paths: Paths, lines: logs.Logs, *, once: bool) -> int:
    """Load, warm, run; the exit code."""
    import anyio

    from avwapd.daemon import Daemon
    from avwapd.feeds.source import market_of
    from avwapd.feeds.world import build, warm
    from avwapd.research.standing import with_standing
    from avwapd.runs import run_id

    market = market_of(config, paths.archive)
    if not is_remote(config):
        market = with_standing(config, market, paths.archive)
    setup = build(config, market)
    told.warming()
    warm(setup)
    daemon = Daemon(setup, doors(config, paths), once=once)
    lines.base["RUN"] = run_id(setup)
    log.info(
        "avwapd starts: version=%s mode=%s venue=%s symbols=%d bars=%d database=%s config=%s",
        __version__,
        config.run.mode,
        config.venue.name if is_remote(config) else config.embedded.venue,
        len(market.symbols),
        len(market.bars),
        paths.database,
        config_hash(config)[:12],
        extra={"fields": {"EVENT": "start", "CONFIG": config_hash(config), "DATABASE": str(paths.database)}},
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
                        logs.flush(SECOND_SIGNAL_S)
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
    import anyio

    from avwapd.doors import Doors
    from avwapd.feeds.source import live_feed
    from avwapd.ops import ground
    from avwapd.ops.arming import missing
    from avwapd.ops.measure import measure
    from avwapd.store import StoreError, kill_note, lost
    from avwapd.store.armings import integrity
    from avwapd.store.database import open_database
    from avwapd.store.watchlist import read as read_watchlist
    from avwapd.venues.choose import open_remote, open_venue
    from avwapd.verbs.beside import beside

    clock = clock_of(config)
    watchers = told.Told(config, clock)
    switch = kill_note.Watched(paths.kill_switch)
    chance = random.Random(f"{os.getpid()}/{boot_id()}").random  # jitter only: nothing that is decided

    async def database() -> Any:
        return await open_database(paths.database)

    async def venue(setup: Setup) -> Any:
        if not is_remote(config):
            return await open_venue(config, setup, paths.state)
        opened = await open_remote(config, setup, clock, ours=is_ours, chance=chance)
        if isinstance(clock, ScaledClock):
            await follow(clock, opened)
        return opened

    def feed(setup: Setup) -> Any:
        return live_feed(config, setup, clock, chance=chance)

    async def keep_kill(on: bool, reason: str, who: str) -> bool:
        note = kill_note.KillNote(reason, who, clock.now_ms())
        act = partial(kill_note.close, paths.kill_switch, note) if on else partial(kill_note.release, paths.kill_switch)
        await anyio.to_thread.run_sync(act)
        return True

    async def known() -> Any:
        from avwapd.research.standing import known_of

        return await anyio.to_thread.run_sync(known_of, config, paths.archive)

    def beat(facts: dict[str, Any]) -> None:
        write_beat(paths.heartbeat, facts)
        watchers.beat(facts)

    def ready() -> None:
        log.info("ready: control socket %s", paths.socket.name, extra={"fields": {"EVENT": "ready"}})
        told.ready()

    def note_lost(until_ms: int) -> None:
        try:
            lost.note(paths.lost, until_ms)
        except StoreError as error:
            log.error("%s", error)

    async def whole() -> str:
        return await anyio.to_thread.run_sync(integrity, paths.database)

    return Doors(
        **ground.doors(config, paths),
        live_keys=lambda typed: missing(paths.state, typed),
        integrity=whole,
        clock=clock,
        read_known=known,
        open_feed=feed,
        chance=chance,
        open_database=database,
        open_venue=venue,
        publish_beat=beat,
        killed=switch.exists,
        kill_forced=kill_variable(),
        keep_kill=keep_kill,
        read_kill=switch.note,
        read_watchlist=lambda: read_watchlist(paths.watchlist),
        identity=(os.getpid(), socket.gethostname(), boot_id()),
        servers=lambda daemon: [*servers(daemon, paths, clock), *pingers(config, watchers), *beside(daemon, paths)],
        measure=partial(measure, paths.database),
        note_lost=note_lost,
        lost_ms=lost.read(paths.lost),
        on_ready=ready,
        **watchers.doors(),
    )


def kill_variable() -> str:
    """Why the environment closes the kill switch, "" where it does not; what is neither yes nor no closes it."""
    said = os.environ.get("AVWAPD_KILL_SWITCH", "").strip().lower()
    return "" if said in ("", "0", "false", "no", "off") else f"AVWAPD_KILL_SWITCH={said[:20]}"


def clock_of(config: Config) -> Clock:
    """The machine's, or that of a simulated venue, which is not there yet."""
    near = is_remote(config) and is_loopback(config.venue.address)
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


def servers(daemon: Daemon, paths: Paths, clock: Clock) -> list[Any]:
    from avwapd.actors.control import Control
    from avwapd.actors.control_desk import desk_of
    from avwapd.actors.control_peer import Access

    at_venue, given = daemon.at_venue, daemon.config.control
    return [
        Control(
            paths.socket,
            paths.database,
            daemon.symbols,
            daemon.facts,
            daemon.stop,
            daemon.lists.reload,
            writer=daemon.writer,
            clock=clock,
            desk=desk_of(daemon),
            access=Access(given.act_uids, given.read_uids, given.group),
            difference_of=at_venue.reconciler.difference_of if at_venue is not None else lambda symbol: "",
        )
    ]


def pingers(config: Config, watchers: told.Told) -> list[Any]:
    """The dead man's ping, where it has an address; by the machine's own clock."""
    from avwapd.actors.deadman import DeadMan

    if watchers.ping is None:
        return []
    every_s = config.notify.ping_every_s
    return [DeadMan(SystemClock(), lambda: watchers.beats, watchers.ping.send, every_s=every_s)]


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
