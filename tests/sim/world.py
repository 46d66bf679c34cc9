"""A whole trading life in one process: the real daemon on virtual time, killed and started again as often as wanted.

`live` plays a Plan to the end of its market. The exchange, and what is on its way to it, outlive every kill; the daemon
has only its ledger file, as the kill left it.
"""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel

from avwapd.daemon import Daemon
from avwapd.doors import Doors
from avwapd.feeds.world import Setup, in_window
from avwapd.store.audit import Violation, audit
from avwapd.store.database import open_sync
from avwapd.venues.book import Exchange
from tests.sim import ledgers
from tests.sim.database import SimConnection, crash_copy
from tests.sim.loop import Killed, Mode, SimResult, VirtualLoop, simulate
from tests.sim.scenario import Plan
from tests.sim.watch import Watch, WatchedDatabase
from tests.sim.wire import FreeMarket, Lasting, Wire

MAX_LIVES = 40
MAX_STEPS = 400_000  # of one life; ten times what the longest needs
FIRST_S = 1.0  # virtual time of the first bar of a market that runs by itself


@dataclass(frozen=True)
class Kill:
    """A life ends `plus` loop steps after the `number`th `event` in it; the next one begins `down_s` later.

    event: step (of the loop), asked, commit, heard (of the database), send, taken, answered (of the venue), folded (a
    barrier). A life that ends by itself before is not killed.
    """

    event: str
    number: int
    plus: int = 0
    down_s: float = 0.0


@dataclass
class World:
    """Everything of one scenario that outlives a daemon."""

    plan: Plan
    folder: Path
    stepwise: bool = False
    posts: bool = False
    make_daemon: Callable[..., Daemon] = Daemon
    on_daemon: Callable[[Daemon, World], None] = lambda daemon, world: None
    life: int = 0
    now_s: float = 0.0
    trace: list[str] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    happened: Counter[str] = field(default_factory=Counter)  # in this life
    ready: bool = False
    kill_switch: bool = False

    def __post_init__(self) -> None:
        self.setup: Setup = self.plan.setup
        config = self.setup.config
        self.folder.mkdir(parents=True, exist_ok=True)
        self.marks: Counter[str] = Counter()
        exchange = Exchange(
            self.folder / "venue.db",
            self.setup.instruments,
            self.setup.market.symbols,
            volume_share=config.fills.volume_share,
            refuses_duplicates=self.plan.refuses_duplicates,
            eager=self.plan.bar_s > 0,
        )
        self.lasting = Lasting(exchange, self.marks)
        bars, _ = in_window(self.setup.market.bars, config)
        self.market = FreeMarket(exchange, bars, start_s=FIRST_S, bar_s=self.plan.bar_s) if self.plan.bar_s else None
        self.wire = Wire(self.lasting, self.plan.faults, self.market)
        self.watch = Watch(self.lasting, stepwise=self.stepwise)
        self.watch.happen = self.wire.happen = self.lasting.happen = self._happen
        self._kill: Kill | None = None
        self.restarted: list[float] = []  # virtual time of each life but the first
        self.caught_up: list[float] = []  # virtual time of each end of a catch-up
        self.connection: SimConnection | None = None
        self.daemon: Daemon | None = None
        self.epoch_ms = int(bars["ts_ms"][0])

    @property
    def exchange(self) -> Exchange:
        return self.lasting.exchange

    @property
    def path(self) -> Path:
        """The ledger of the life that runs, or ran last."""
        return self.folder / f"life-{self.life}.db"

    # ------------------------------------------------------------------------------------------------- a life

    async def _live(self) -> None:
        loop = anyio.lowlevel.current_token().native_token
        assert isinstance(loop, VirtualLoop)
        self.wire.begin_life(loop, self.life)
        daemon = self.make_daemon(self.setup, self._doors(loop), once=True)
        self.daemon = daemon
        self._listen(daemon, loop)
        self.on_daemon(daemon, self)
        await daemon.serve()

    def _listen(self, daemon: Daemon, loop: VirtualLoop) -> None:
        """Hear when a barrier is folded and when the last missed one was."""
        bars, caught_up = daemon.journal.bars, daemon.journal.caught_up

        def folded(barrier: Any, note: str = "") -> Any:
            rows = bars(barrier, note)
            if daemon.ready:
                self._happen("folded")
            return rows

        def over() -> Any:
            self.caught_up.append(loop.time())
            return caught_up()

        daemon.journal.bars, daemon.journal.caught_up = folded, over  # type: ignore[method-assign]

    def _doors(self, loop: VirtualLoop) -> Doors:
        async def database() -> Any:
            opened = partial(open_sync, self.path, synchronous="NORMAL")
            self.connection = await SimConnection(opened, loop, name="ledger")
            self.watch.opened(self.connection._conn)
            return WatchedDatabase(self.connection, self.watch)

        async def venue(setup: Setup) -> Any:
            return self.wire

        def ready() -> None:
            self.ready = True

        return Doors(
            clock=SimClock(loop, self.epoch_ms),
            open_database=database,
            open_venue=venue,
            publish_beat=lambda facts: None,
            killed=lambda: self.kill_switch,
            identity=(1000 + self.life, "sim", f"boot-{self.life}"),
            on_ready=ready,
        )

    def _happen(self, event: str) -> None:
        self.happened[event] += 1
        kill = self._kill
        if kill is not None and (event, self.happened[event]) == (kill.event, kill.number):
            assert self.wire.loop is not None
            self.wire.loop.pull_the_plug(kill.plus)

    def one_life(self, *, seed: int | str, mode: Mode, kill: Kill | None, max_steps: int = MAX_STEPS) -> bool:
        """Run a daemon until it ends or is killed; True where it ended by itself."""
        self.happened.clear()
        self.ready = False
        self._kill = kill
        result: SimResult[None] = simulate(
            self._live,
            seed=f"{seed}/{self.life}",
            mode=mode,
            start_s=self.now_s,
            kill_at_step=kill.number if kill is not None and kill.event == "step" else None,
            max_steps=max_steps,
        )
        self.now_s = result.virtual_s
        self.trace.append(result.trace_hash)
        self.steps.append(result.steps)
        if result.killed is None:
            return True
        self._bury(result.killed)
        assert kill is not None
        if kill.down_s:
            self.wire.idle_until(self.now_s + kill.down_s)
            self.now_s += kill.down_s
        self.restarted.append(self.now_s)
        return False

    def _bury(self, killed: Killed) -> None:
        """The file goes on as the kill left it; the dead keep their own copy."""
        self.marks["killed"] += 1
        if not self.ready:
            self.marks["killed before it was ready"] += 1
        if self.connection is not None and self.connection._answers:
            self.marks["killed between commit and delivery"] += 1
        before = self.path
        self.life += 1
        if before.exists():
            crash_copy(before, self.path)
        killed.release()

    def close(self) -> None:
        self.exchange.close()


class SimClock:
    """Both clocks from the loop's own."""

    def __init__(self, loop: VirtualLoop, epoch_ms: int) -> None:
        self._loop = loop
        self._epoch_ms = epoch_ms

    def now_ms(self) -> int:
        return self._epoch_ms + int(self._loop.time() * 1000)

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


@dataclass(frozen=True)
class Outcome:
    """How a scenario ended."""

    rows: ledgers.Rows
    violations: list[Violation]
    marks: Counter[str]
    trace: tuple[str, ...]
    steps: tuple[int, ...]
    lives: int
    virtual_s: float
    real_s: float
    faults: Counter[str]
    happened: Counter[str]  # in the last life
    at_venue: dict[str, int]  # signed lots by symbol
    path: Path

    @property
    def ratio(self) -> float:
        """Virtual seconds for one of the processor."""
        return self.virtual_s / self.real_s


@contextmanager
def world_of(plan: Plan, folder: Path, **options: Any) -> Iterator[World]:
    world = World(plan, folder, **options)
    try:
        yield world
    finally:
        world.close()


def live(
    plan: Plan,
    folder: Path,
    *,
    seed: int | str | None = None,
    kills: Sequence[Kill] = (),
    mode: Mode = "shuffled",
    **options: Any,
) -> Outcome:
    """Run a plan to the end of its market through one life more than there are kills."""
    with world_of(plan, folder, **options) as world:
        return play(world, seed=seed, kills=kills, mode=mode)


def play(
    world: World, *, seed: int | str | None = None, kills: Sequence[Kill] = (), mode: Mode = "shuffled"
) -> Outcome:
    """`live` in a world that the caller looks into later."""
    begun = time.process_time()
    chosen = world.plan.seed if seed is None else seed
    for kill in itertools.islice(itertools.chain(kills, itertools.repeat(None)), MAX_LIVES):
        if world.one_life(seed=chosen, mode=mode, kill=kill):
            break
    else:
        raise AssertionError(f"not done after {MAX_LIVES} lives")
    world.wire.idle_until(math.inf)
    real_s = time.process_time() - begun
    return outcome(world, real_s)


def outcome(world: World, real_s: float) -> Outcome:
    config = world.setup.config
    with ExitStack() as stack:
        conn = stack.enter_context(closing(open_sync(world.path, synchronous="NORMAL")))
        world.watch.check_venue(conn)
        world.marks["frozen"] += conn.execute("SELECT count(*) FROM positions WHERE halted = 2").fetchone()[0]
        return Outcome(
            rows=ledgers.rows_of(conn, world.exchange),
            violations=audit(conn, account=config.run.account, strategy=config.run.strategy),
            marks=world.marks,
            trace=tuple(world.trace),
            steps=tuple(world.steps),
            lives=world.life + 1,
            virtual_s=world.now_s,
            real_s=real_s,
            faults=world.wire.counts,
            happened=Counter(world.happened),
            at_venue=world.exchange.positions(),
            path=world.path,
        )
