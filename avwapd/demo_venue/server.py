"""The simulator as a process: python -m avwapd.demo_venue --help, or `avwapd demo-venue`.

It says where it listens in one JSON line on stdout, and ends on SIGTERM or SIGINT. Killed and started again on the same
folder it goes on: orders, cash and positions are there, the market plays on behind its newest closed bar.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import numpy as np
import orjson
from aiohttp import web

from avwapd.config import Config, load
from avwapd.config.kinds import TIMEFRAME_MS, moment_ms
from avwapd.demo_venue.control import add_control
from avwapd.demo_venue.desk import Desk
from avwapd.demo_venue.desk_shapes import PROFILES, FeeRule, Profile
from avwapd.demo_venue.faults import Faults
from avwapd.demo_venue.faults_book import FaultHook
from avwapd.demo_venue.market import SimMarket
from avwapd.demo_venue.published import Published
from avwapd.demo_venue.sim import Sim
from avwapd.feeds import FeedError
from avwapd.feeds.demo import BUNDLED, bundled_market, generate
from avwapd.feeds.market import Market, instrument_records, load_matrix
from avwapd.paths import resolve
from avwapd.ports import Clock, SystemClock
from avwapd.remote.terms import terms_of
from avwapd.venues.book import Exchange, warm

FOLDER = "demo-venue"
HERE, PORT = "127.0.0.1", 8490
SHOWN = 12  # symbols in the line for people
BUNDLED_HISTORY = 20  # sessions of the made-up market that lie behind it at the start


@dataclass(frozen=True, slots=True)
class Wire:
    """module: has `app(sim)`; joint: what stands between base and quote of a pair."""

    module: str
    joint: str
    fee_bps: Decimal
    fee_in_base: bool
    margin: Decimal
    asset: str  # of the made-up market behind it


WIRES = {
    "alpaca": Wire("alpaca_rest", "/", Decimal(0), False, Decimal(4), "equity"),
    "binance": Wire("binance", "", Decimal(10), True, Decimal(1), "crypto"),
    "kraken": Wire("kraken", "/", Decimal(26), False, Decimal(1), "crypto"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a simulator is made of. cash, fee_bps None: the wire's own."""

    market: Market
    state: Path
    wire: str = "alpaca"
    speed: float = 60.0
    first_ms: int | None = None
    cash: Decimal = Decimal(100_000)
    currency: str = "USD"
    profile: Profile = PROFILES["strict"]
    faults: dict[str, Any] = field(default_factory=dict)
    seed: int = 1
    fee_bps: Decimal | None = None
    slippage_bps: float = 0.0
    volume_share: float = 0.1
    skip: bool = True
    paused: bool = False
    key: str = ""
    secret: str = ""
    streams_each: int = 1


class Simulator:
    """Everything of one simulator; `app` serves it, `run` plays it."""

    def __init__(self, options: Options, clock: Clock | None = None) -> None:
        wire = WIRES[options.wire]
        self.wire = options.wire
        source = options.market
        options.state.mkdir(parents=True, exist_ok=True)
        self.resumed = same_world(options)
        instruments, _ = instrument_records(
            source,
            commission_usd=0.0,
            commission_bps=0.0,
            slippage_bps=options.slippage_bps,
            seed=options.seed,
            equity_currency=options.currency,
        )
        self.clock = clock or SystemClock()
        market = SimMarket(
            source,
            self.clock,
            speed=options.speed,
            first_ms=options.first_ms,
            skip=options.skip,
            paused=options.paused,
        )
        terms = terms_of(source.symbols, source.instruments, wire.joint)
        self.exchange = Exchange(
            options.state / "book.db", instruments, source.symbols, volume_share=options.volume_share, eager=True
        )
        try:
            desk = Desk(
                self.exchange,
                terms,
                cash=options.cash,
                fees=FeeRule(wire.fee_bps if options.fee_bps is None else options.fee_bps, wire.fee_in_base),
                profile=replace(options.profile, margin=min(options.profile.margin, wire.margin)),
                now_ms=market.now_ms,
                state=options.state / "desk.jsonl",
                seed=options.seed,
                session_close=market.session_close,
            )
        except BaseException:
            self.exchange.close()
            raise
        faults = Faults(options.seed, market.now_ms, options.faults)
        self.sim = Sim(
            desk=desk,
            market=market,
            faults=faults,
            published=Published(market, faults),
            terms=terms,
            clock=self.clock,
            seed=options.seed,
            key=options.key,
            secret=options.secret,
            currency=options.currency,
            streams_each=options.streams_each,
        )
        desk.hook = FaultHook(self.sim, options.volume_share)
        market.attach(desk)
        self._module = importlib.import_module(f"avwapd.demo_venue.{wire.module}")

    def app(self) -> web.Application:
        made: web.Application = self._module.app(self.sim)
        add_control(made, self.sim)
        return made

    async def run(self) -> None:
        """Play the market until canceled."""
        async with anyio.create_task_group() as group:
            group.start_soon(self.sim.market.run)
            while True:
                await anyio.sleep(0.02)
                self.sim.published.pump()

    def close(self) -> None:
        self.sim.desk.close()
        self.exchange.close()


def same_world(options: Options) -> bool:
    """Whether the folder holds this market's account, else it is new. Raises FeedError where it is another's."""
    path = options.state / "world.json"
    facts = {
        "symbols": list(options.market.symbols),
        "data_hash": options.market.data_hash,
        "wire": options.wire,
        "seed": options.seed,
        "cash": str(options.cash),
        "first_ms": options.first_ms,
    }
    if path.exists():
        there = orjson.loads(path.read_bytes())
        changed = ", ".join(name for name, value in facts.items() if there.get(name) != value)
        if changed:
            what = f"this simulator's account was opened in another market (other {changed})"
            raise FeedError(what, options.state, "name another --state-dir, or throw the account away: --fresh")
        return True
    path.write_bytes(orjson.dumps(facts))
    return False


async def serve(options: Options, host: str, port: int) -> None:
    """Until SIGTERM or SIGINT."""
    simulator = Simulator(options)
    runner = web.AppRunner(simulator.app(), access_log=None, shutdown_timeout=0.5)
    try:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            await runner.setup()
            await web.TCPSite(runner, host, port).start()
            tell(options, host, runner.addresses[0][1], simulator)
            async with anyio.create_task_group() as group:
                group.start_soon(simulator.run)
                await anext(signals)
                group.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await runner.cleanup()
        simulator.close()


def tell(options: Options, host: str, port: int, simulator: Simulator) -> None:
    address = f"http://{host}:{port}"
    market = simulator.sim.market
    facts = {
        "address": address,
        "exchange": options.wire,
        "symbols": names_of(simulator),
        "account": str(options.state),
        "resumed": simulator.resumed,
        "timeframe": market.source.timeframe,
        "speed": options.speed,
        "now_ms": market.now_ms(),
        "bars_left": market.bars_left,
        "profile": options.profile.name,
        "seed": options.seed,
    }
    sys.stdout.write(orjson.dumps(facts).decode() + "\n")
    sys.stdout.flush()
    over = " (this market is over: --fresh begins anew)" if market.over else ""
    cash = f"{simulator.sim.desk.cash:,.2f} {options.currency}"
    account = f"goes on from {options.state}" if simulator.resumed else f"new account in {options.state}"
    names = names_of(simulator)
    quoted = ", ".join(f'"{name}"' for name in names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
    sys.stderr.write(
        f"demo venue ({options.wire}) at {address}{over}\n"
        f"  {account}, cash {cash}\n"
        f"  symbols = [{quoted}]\n"
        f'  point avwapd at it: [run] mode = "paper", [venue] name = "{options.wire}", address = "{address}", '
        f"speed = {options.speed:g}; any key and secret will do\n"
    )


def names_of(simulator: Simulator) -> list[str]:
    """The symbols as avwapd wants them: an exchange of coins has pairs only."""
    symbols = simulator.sim.market.symbols
    if WIRES[simulator.wire].asset == "equity":
        return list(symbols)
    return [name if "-" in name else f"{name}-USD" for name in (symbol.replace("/", "-") for symbol in symbols)]


# ------------------------------------------------------------------------------------------------- command line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--exchange", choices=WIRES, default="alpaca", help="whose wire it speaks (default: alpaca)")
    parser.add_argument("--archive", type=Path, metavar="DIR", help="a bar archive (default: the state folder's)")
    parser.add_argument("--from-exchange", metavar="NAME", help="whose bars of the archive (default: a made-up market)")
    parser.add_argument("--symbols", default="", metavar="A,B", help="of the archive (default: all)")
    parser.add_argument("--timeframe", default="1m", choices=TIMEFRAME_MS, help="of the bars (default: 1m)")
    parser.add_argument("--from", dest="first", metavar="T", help="first bar played; those before are history")
    parser.add_argument("--to", dest="last", metavar="T", help="last bar played")
    parser.add_argument("--speed", type=float, metavar="N", help="market seconds in a second (default: 60)")
    parser.add_argument(
        "--listen", metavar="HOST:PORT", help=f"port 0: any (default: venue.address, else {HERE}:{PORT})"
    )
    parser.add_argument("--profile", choices=PROFILES, default="strict")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME=VALUE", help="a chance, or JSON")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cash", type=Decimal, help="at the start (default: [equity.start] of the configuration)")
    parser.add_argument("--fee-bps", type=Decimal, help="of the notional (default: alpaca 0, binance 10, kraken 26)")
    parser.add_argument("--key", default="", help="the only key that is let in (default: any)")
    parser.add_argument("--secret", default="")
    parser.add_argument("--streams", type=int, default=1, metavar="N", help="connections a stream takes (default: 1)")
    parser.add_argument("--no-skip", action="store_true", help="closed hours pass like open ones")
    parser.add_argument("--paused", action="store_true", help='hold the market until POST /control {"pause": false}')
    parser.add_argument("--fresh", action="store_true", help="throw this simulator's account away first")


def options_of(args: argparse.Namespace) -> tuple[Options, str, int]:
    """The simulator, host and port that the words mean; raises FeedError, ConfigError."""
    config = load(Path(args.config) if args.config else None)
    paths = resolve(args.state_dir)
    state = paths.state / FOLDER
    if args.fresh:
        shutil.rmtree(state, ignore_errors=True)
    first_ms = moment_ms(args.first) if args.first else None
    market = wanted_market(args, args.archive or paths.archive)
    if first_ms is None and not args.from_exchange:
        first_ms = after_sessions(market, BUNDLED_HISTORY)
    host, port = listening(args.listen, config)
    currency = quote_of(market, config)
    options = Options(
        market=market,
        state=state,
        wire=args.exchange,
        speed=args.speed or (config.venue.speed if config.venue.speed != 1 else 60.0),
        first_ms=first_ms,
        cash=args.cash if args.cash is not None else Decimal(str(config.equity.start.get(currency, 100_000))),
        currency=currency,
        profile=PROFILES[args.profile],
        faults=dict(map(fault_setting, args.fault)),
        seed=args.seed,
        fee_bps=args.fee_bps,
        slippage_bps=config.fills.slippage_bps,
        volume_share=config.fills.volume_share,
        skip=not args.no_skip,
        paused=args.paused,
        key=args.key,
        secret=args.secret,
        streams_each=args.streams,
    )
    return options, host, port


def listening(wanted: str | None, config: Config) -> tuple[str, int]:
    """Host and port: as said, else where the configuration looks for a venue on this machine. Raises ValueError."""
    if wanted:
        host, _, given = wanted.rpartition(":")
        return host or HERE, int(given)
    named = urlsplit(config.venue.address)
    return (HERE, named.port) if named.hostname == HERE and named.port else (HERE, PORT)


def wanted_market(args: argparse.Namespace, archive: Path) -> Market:
    if not args.from_exchange:
        return made_up(args.exchange, args.timeframe)
    symbols = tuple(filter(None, args.symbols.split(",")))
    last_ms = moment_ms(args.last, end=True) if args.last else None
    market = load_matrix(archive, args.from_exchange, args.timeframe, symbols, end_ms=last_ms)
    if not len(market.bars):
        raise FeedError(f"no {args.timeframe} bars of {args.from_exchange}", archive, "see `avwapd bars list`")
    return market


def made_up(wire: str, timeframe: str) -> Market:
    """Shares, or pairs that trade day and night, as the exchange has them."""
    if WIRES[wire].asset == "crypto":
        pairs = tuple(f"{name}-USD" for name in BUNDLED["symbols"])
        return generate(**{**BUNDLED, "symbols": pairs, "timeframe": timeframe, "kind": "crypto"})
    bundled = bundled_market()
    return bundled if timeframe == bundled.timeframe else generate(**{**BUNDLED, "timeframe": timeframe})


def after_sessions(market: Market, count: int) -> int | None:
    """The first bar behind so many sessions of a market, by days."""
    times = np.unique(market.bars["ts_ms"])
    days = np.unique(times // 86_400_000)
    if len(days) <= count:
        return None
    return int(times[times >= days[count] * 86_400_000][0])


def quote_of(market: Market, config: Config) -> str:
    quotes = {str(row["quote"]) for row in market.instruments}
    return quotes.pop() if len(quotes) == 1 else config.equity.currency


def fault_setting(text: str) -> tuple[str, Any]:
    """NAME=0.1 or NAME={"p": …}; raises ValueError."""
    name, _, value = text.partition("=")
    return name, orjson.loads(value or "1")


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m avwapd.demo_venue", description="A simulated venue on loopback.")
    parser.add_argument("--config", type=Path, help="for cash, fees, slippage, volume share, speed")
    parser.add_argument("--state-dir", type=Path, help="its account lies in the folder demo-venue in there")
    add_arguments(parser)
    try:
        options, host, port = options_of(parser.parse_args(words))
        warm()
        anyio.run(serve, options, host, port)
    except (FeedError, ValueError, OSError) as error:
        parser.error(str(error))
