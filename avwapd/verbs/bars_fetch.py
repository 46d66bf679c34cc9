"""`avwapd bars fetch`: a venue's history into the archive. Asks only what is lacking; a killed one goes on."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avwapd.config import Config, load
from avwapd.config.modes import DRY_RUN, SIM
from avwapd.paths import Paths, resolve

if TYPE_CHECKING:
    from avwapd.store.archive import Archive
    from avwapd.verbs.fetch_actions import Taken
    from avwapd.verbs.fetch_work import Ask, Fetched

EXAMPLE = """\
examples:
  avwapd bars fetch                            what the configured run needs for its warm-up
  avwapd bars fetch --exchange alpaca --symbols SPY,AAPL --timeframe 1m --from 2024-05-01
  avwapd bars fetch --exchange alpaca --universe --timeframe 1d --from 2020-01-01 --actions
  avwapd bars fetch --exchange binance --symbols BTC-USDT --timeframe 5m --from 2024-01-01 --to 2024-03-31
Keys come from the environment (APCA_API_KEY_ID, APCA_API_SECRET_KEY; AVWAPD_CCXT_KEY, AVWAPD_CCXT_SECRET); most
crypto exchanges serve bars without any.
"""
SHOWN = 20  # lines of one kind on a terminal; --json has them all
ADDRESSES = ("address", "stream_address", "data_address", "data_stream_address")


def run_fetch(archive: Archive, args: argparse.Namespace) -> int:
    """0 where everything is there, 1 where something was refused or is missing."""
    from avwapd.store.archive import named
    from avwapd.verbs.bars import SETTABLE
    from avwapd.verbs.fetch_work import Ask

    config = config_for(Path(args.config) if args.config else None, args.exchange)
    exchange = args.exchange or config.venue.name
    symbols = args.symbols or (members(resolve(args.state_dir)) if args.universe else tuple(sorted(config.run.symbols)))
    wrong = unusable(args, exchange, symbols)
    if wrong:
        print(f"avwapd bars fetch: {wrong}\n  next: avwapd bars fetch --help", file=sys.stderr)
        return 64
    timeframe = args.timeframe or config.run.timeframe
    archive.folder(exchange, timeframe)
    named(symbols, "--symbols")
    wanted = {name: getattr(args, name) for name in SETTABLE}
    ask = Ask(exchange, timeframe, tuple(symbols), args.start, args.end, back_days(config, timeframe), wanted)
    return carried_out(config, ask, archive, actions=args.actions, as_json=args.json)


def unusable(args: argparse.Namespace, exchange: str, symbols: tuple[str, ...]) -> str:
    """What does not go together, "" where all does."""
    if args.symbols and args.universe:
        return "--universe names every symbol already"
    if exchange == "embedded":
        return "name --exchange X, or set venue.name"
    if not symbols:
        return "name --symbols A,B, or --universe, or set run.symbols"
    if args.actions and exchange != "alpaca":
        return f"--actions: {exchange} tells none; import them: avwapd bars actions FILE"
    if args.start is not None and args.end is not None and args.end < args.start:
        return "--to lies before --from"
    return ""


def config_for(path: Path | None, exchange: str | None) -> Config:
    """The configuration, as for a venue of this name: addresses of another venue are not this one's."""
    config = load(path)
    if exchange is None or config.venue.name == exchange:
        return config
    options = {"venue.name": exchange, **{f"venue.{name}": "" for name in ADDRESSES}}
    if config.run.mode == DRY_RUN:  # of the mode only the account's address matters here, and no run goes there
        options["run.mode"] = SIM
    return load(path, options=options)


def back_days(config: Config, timeframe: str) -> int:
    """Calendar days that a warm-up, and on daily bars a scan, looks back, with some to spare for holidays."""
    sessions = config.run.warmup_sessions
    if timeframe.endswith("d"):
        sessions = max(sessions, config.scan.window_bars)
    return sessions * 7 // 5 + sessions // 20 + 10


def members(paths: Paths) -> tuple[str, ...]:
    """The symbols of the newest universe."""
    from avwapd.store.universe import as_of

    return tuple(sorted(member.symbol for member in as_of(paths.universe).rows))


def carried_out(config: Config, ask: Ask, archive: Archive, *, actions: bool, as_json: bool) -> int:
    import anyio

    from avwapd.feeds import FeedError
    from avwapd.feeds.live import FeedDoubt
    from avwapd.ports import SystemClock
    from avwapd.verbs.fetch_progress import Progress
    from avwapd.verbs.fetch_source import AlpacaSource, opened
    from avwapd.verbs.fetch_work import fetch

    progress = Progress(SystemClock())
    found: list[Fetched] = []
    events: list[Taken] = []

    async def work() -> None:
        async with opened(config, ask.timeframe, ask.symbols) as (source, clock):
            done = await fetch(ask, source, archive, clock, told=progress, begun=found.append)
            if isinstance(source, AlpacaSource) and actions:
                from avwapd.verbs.fetch_actions import fetch_actions

                known = [symbol for symbol in ask.symbols if symbol not in done.unknown]
                events.append(await fetch_actions(source, archive, done, known, clock, progress.line))

    try:
        anyio.run(work)
    except KeyboardInterrupt:
        progress.end()
        kept = found[0].added.total() if found else 0
        print(f"stopped; {kept:,} new bars are in the archive; the same command goes on from there", file=sys.stderr)
        raise
    except FeedDoubt as doubt:
        what = f"{ask.exchange} does not answer: {doubt.reason}"
        raise FeedError(what, where_of(config), "see address, keys and network; then the same command again") from doubt
    finally:
        progress.end()
    [done] = found
    taken = events[0] if events else None
    if as_json:
        print(json.dumps(facts_of(done, taken)))
    else:
        tell(done)
        if taken is not None:
            for line in taken.lines():
                print(line)
    return 0 if done.whole and (taken is None or taken.whole) else 1


def where_of(config: Config) -> str:
    return config.venue.data_address or config.venue.address or f"{config.venue.name}'s own address"


def facts_of(done: Fetched, taken: Taken | None) -> dict[str, Any]:
    return {
        "result": "ok" if done.whole and (taken is None or taken.whole) else "fail",
        "exchange": done.exchange,
        "timeframe": done.timeframe,
        "first_ms": done.first_ms,
        "last_ms": done.last_ms,
        "pieces": {"all": done.chunks, "done": done.done, "failed": done.failed},
        "questions": done.questions,
        "symbols": {
            symbol: {"added": done.added[symbol], "unchanged": done.unchanged[symbol]} for symbol in done.symbols
        },
        "added": done.added.total(),
        "unchanged": done.unchanged.total(),
        "unknown": done.unknown,
        "refused": [{"symbol": symbol, "ts_ms": ts_ms, "reason": why} for symbol, ts_ms, why in done.refused],
        "missing": [asdict(gap) for gap in done.missing],
        "instruments": done.notes,
        "actions": None if taken is None else taken.facts(),
    }


def tell(done: Fetched) -> None:
    """What came, on standard output; what did not, on standard error."""
    from avwapd.verbs.bars_import import WORDS
    from avwapd.verbs.fetch_progress import stretch_words

    for note in done.notes[:SHOWN]:
        print(f"  {note}")
    span = stretch_words(done.first_ms, done.last_ms)
    head = f"{done.exchange} {done.timeframe}, {span}: {done.added.total():,} bars added"
    if done.unchanged.total():
        head += f", {done.unchanged.total():,} were there already"
    if len(done.unknown) == len(done.symbols):
        head += f"; {done.exchange} knows none of these symbols"
    elif not done.chunks:
        head += "; everything was there, nothing was asked" if done.last_ms >= done.first_ms else "; nothing closed yet"
    print(head)
    empty = [s for s in done.symbols if s not in done.unknown and done.chunks and not done.added[s] + done.unchanged[s]]
    if empty and not done.missing:
        print(f"  no new bars: {', '.join(empty[:SHOWN])}{' …' if len(empty) > SHOWN else ''}")
    lines = [f"unknown to {done.exchange}: {symbol}" for symbol in done.unknown]
    lines += [f"refused {symbol}, ts_ms {ts_ms}: {why} ({WORDS[why]})" for symbol, ts_ms, why in done.refused]
    lines += [
        f"missing {some(gap.symbols)}, {stretch_words(gap.first_ms, gap.last_ms)}: {gap.reason}" for gap in done.missing
    ]
    for line in lines[:SHOWN]:
        print(f"  {line}", file=sys.stderr)
    if len(lines) > SHOWN:
        print(f"  … and {len(lines) - SHOWN} more: --json shows all", file=sys.stderr)
    if any(gap.again for gap in done.missing):
        print("  next: the same command again asks for what is missing", file=sys.stderr)


def some(symbols: tuple[str, ...]) -> str:
    return ",".join(symbols) if len(symbols) <= 4 else f"{','.join(symbols[:3])} and {len(symbols) - 3} more"
