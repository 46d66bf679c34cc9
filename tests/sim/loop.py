"""An event loop without a world: its own clock, a seed instead of chance, and a plug to pull.

Two runs of one seed take the same steps at the same virtual times; `trace_hash` says so in one line.
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
import gc
import hashlib
import heapq
import itertools
import math
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import Context
from dataclasses import dataclass
from random import Random
from typing import Any, Generic, Literal, NoReturn, TypeVar

from tests.sim.ordered import OrderedSet, ordered_sets

T = TypeVar("T")
Mode = Literal["fifo", "shuffled"]

MAX_STEPS = 1_000_000
STEPS_BETWEEN_COLLECTIONS = 1 << 16

# What a killed world leaves behind. Python would close a dropped coroutine, and so run its `finally`, even
# while the interpreter shuts down; one reference too many keeps this list beyond that.
_GRAVEYARD: list[object] = []
ctypes.pythonapi.Py_IncRef(ctypes.py_object(_GRAVEYARD))


class NotSimulated(RuntimeError):
    """The code reached for a thread, a socket or a process of the real world."""


class Deadlock(RuntimeError):
    """Nothing is ready and no timer will ever make it so."""


class Livelock(RuntimeError):
    """The step bound is spent and the main task still runs."""


class Unhandled(RuntimeError):
    """A callback or a forgotten task failed; asyncio would only log it."""


class _PowerCut(BaseException):
    """Leaves the loop from between two callbacks."""


@dataclass(frozen=True)
class TraceStep:
    number: int
    virtual_s: float
    who: str


@dataclass(frozen=True)
class Killed:
    """The process died before step `at_step + 1`; what it held stays as it was until `release`."""

    at_step: int
    virtual_s: float
    _held: tuple[Callable[[], object], ...]

    def release(self) -> None:
        """Give back files that the dead still hold. Copy them first: a database tidies itself when closed."""
        for close in self._held:
            close()


@dataclass(frozen=True)
class SimResult(Generic[T]):
    """`virtual_s` is the clock at the end, where the next life of the daemon may start."""

    value: T | None
    steps: int
    virtual_s: float
    trace_hash: str
    killed: Killed | None
    log: list[TraceStep] | None


class VirtualLoop(asyncio.BaseEventLoop):
    def __init__(
        self,
        *,
        seed: int | str,
        mode: Mode = "shuffled",
        start_s: float = 0.0,
        max_steps: int = MAX_STEPS,
        keep_log: bool = False,
    ) -> None:
        super().__init__()
        self.seed = seed
        self.steps = 0
        self.log: list[TraceStep] | None = [] if keep_log else None
        self._shuffled = mode == "shuffled"
        self._now = start_s
        self._max_steps = max_steps
        self._kill_at: int | None = None
        self._dead = False
        self._trace = hashlib.blake2b(digest_size=16)
        self._streams: dict[str, Random] = {}
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timer_numbers = itertools.count()
        self._task_numbers = itertools.count(1)
        self._tasks: list[asyncio.Task[Any]] = []
        self._tasks_before_prune = 64
        self._held: list[Callable[[], object]] = []
        self._unhandled: list[dict[str, Any]] = []
        self._asyncgens.data = OrderedSet()  # closed in the order of their birth
        self.set_task_factory(self._new_task)

    # ------------------------------------------------------------ for scenarios

    def time(self) -> float:
        return self._now

    def random(self, source: str) -> Random:
        """One stream for each source, so that a draw more in one does not shift the others."""
        if source not in self._streams:
            self._streams[source] = Random(f"{self.seed}/{source}")
        return self._streams[source]

    def at_release(self, close: Callable[[], object]) -> None:
        """How to give back something of the real world, should this one be killed."""
        self._held.append(close)

    def pull_the_plug(self, after: int = 0) -> None:
        """The callback that is running now is the last, or so many more follow it."""
        self._kill_at = self.steps + after

    @property
    def trace_hash(self) -> str:
        return self._trace.hexdigest()

    def run_until(self, main: Coroutine[Any, Any, T], *, kill_at_step: int | None = None) -> T | Killed:
        """Run `main` to its end, or let exactly `kill_at_step` callbacks happen and then none. Works once."""
        self._kill_at = kill_at_step
        task = self.create_task(main, name="main", context=Context())
        with _no_threads(), _own_garbage(self):
            try:
                try:
                    return self.run_until_complete(task)
                finally:
                    if not self._dead:
                        self._wind_down()
            except _PowerCut:
                return Killed(self.steps, self._now, tuple(self._held))
            finally:
                if self._dead:
                    self._bury()
                else:
                    self.close()

    def close(self) -> None:
        super().close()
        self._timers.clear()
        self._tasks.clear()

    def raise_unhandled(self) -> None:
        if self._unhandled:
            first, self._unhandled = self._unhandled[0], []
            raise Unhandled(first.get("message", "")) from first["exception"]

    # --------------------------------------------------------------- the machine

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        self._check_closed()
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._timer_numbers), timer))
        timer._scheduled = True
        return timer

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        if self._thread_id not in (None, threading.get_ident()):
            raise NotSimulated("call_soon_threadsafe from another thread")
        return self.call_soon(callback, *args, context=context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self._exception_handler is None and "exception" in context:
            self._unhandled.append(context)
        else:
            super().call_exception_handler(context)

    def _new_task(
        self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, T], **options: Any
    ) -> asyncio.Task[T]:
        number = next(self._task_numbers)
        options["name"] = options.get("name") or f"task-{number}"
        task = asyncio.Task(coro, loop=loop, **options)
        task.number = number  # names repeat, numbers do not
        self._tasks.append(task)
        if len(self._tasks) > self._tasks_before_prune:
            self._tasks = self._living()
            self._tasks_before_prune = 2 * len(self._tasks) + 64
        return task

    def _living(self) -> list[asyncio.Task[Any]]:
        return [task for task in self._tasks if not task.done()]

    def _run_once(self) -> None:
        try:
            self._turn()
        except BaseException:
            self._dead = True  # between two callbacks, or inside one that may not go on
            raise

    def _turn(self) -> None:
        if not self._ready and not self._stopping:
            self._jump()
        self._collect_due()
        if self._shuffled:
            self._shuffle_task_steps()
        for _ in range(len(self._ready)):
            if self._kill_at is not None and self.steps >= self._kill_at:
                raise _PowerCut
            handle = self._ready.popleft()
            if handle._cancelled:
                continue
            if self.steps >= self._max_steps:
                raise Livelock(f"{self.steps} steps, now at {self._now} s, next {_who(handle)}")
            self._record(_who(handle))
            handle._run()
            if self._unhandled:
                self.raise_unhandled()

    def _jump(self) -> None:
        self._drop_cancelled_timers()
        if not self._timers or self._timers[0][0] == math.inf:
            waiting = "; ".join(f"{_number(task)} {task.get_name()} {_where(task)}" for task in self._living())
            raise Deadlock(f"at {self._now} s nothing can wake: {waiting}")
        self._now = max(self._now, self._timers[0][0])

    def _drop_cancelled_timers(self) -> None:
        if self._timer_cancelled_count > 100 and 2 * self._timer_cancelled_count > len(self._timers):
            self._timers = [entry for entry in self._timers if not entry[2]._cancelled]
            heapq.heapify(self._timers)
            self._timer_cancelled_count = 0
        while self._timers and self._timers[0][2]._cancelled:
            heapq.heappop(self._timers)
            self._timer_cancelled_count -= 1

    def _collect_due(self) -> None:
        """Timers of one instant have no promised order, so the seed gives them one."""
        while self._timers and self._timers[0][0] <= self._now:
            instant = self._timers[0][0]
            due = []
            while self._timers and self._timers[0][0] == instant:
                timer = heapq.heappop(self._timers)[2]
                timer._scheduled = False
                if timer._cancelled:
                    self._timer_cancelled_count -= 1
                else:
                    due.append(timer)
            if self._shuffled and len(due) > 1:
                self.random("sched").shuffle(due)
            self._ready.extend(due)

    def _shuffle_task_steps(self) -> None:
        """Tasks change places with tasks only: futures and transports count on their callbacks' order."""
        slots = [slot for slot, handle in enumerate(self._ready) if _stepping(handle) is not None]
        if len(slots) > 1:
            batch = list(self._ready)
            order = slots.copy()
            self.random("sched").shuffle(order)
            for slot, source in zip(slots, order, strict=True):
                self._ready[slot] = batch[source]

    def _record(self, who: str) -> None:
        self.steps += 1
        self._trace.update(f"{self.steps} {self._now!r} {who}\n".encode())
        if self.log is not None:
            self.log.append(TraceStep(self.steps, self._now, who))
        if self.steps % STEPS_BETWEEN_COLLECTIONS == 0:
            gc.collect()

    def _wind_down(self) -> None:
        """The end that `asyncio.run` gives, in an order that repeats."""
        left = self._living()
        for task in left:
            task.cancel()
        if left:
            self.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        for task in left:
            if not task.cancelled() and (error := task.exception()) is not None:
                message = f"{task.get_name()} failed while it was cancelled"
                self._unhandled.append({"message": message, "exception": error})
        self.run_until_complete(self.shutdown_asyncgens())

    def _bury(self) -> None:
        self._closed = True
        _GRAVEYARD.append(self)

    # --------------------------------------------------------- the missing world

    def _write_to_self(self) -> None:
        """Nobody sleeps in a selector here."""

    def _process_events(self, event_list: object) -> None:
        """There is no input or output."""


def _refusal(name: str) -> Callable[..., NoReturn]:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise NotSimulated(name)

    return refuse


for _name in (
    *("run_in_executor", "set_default_executor", "getaddrinfo", "getnameinfo", "add_signal_handler"),
    *("add_reader", "remove_reader", "add_writer", "remove_writer", "sendfile", "sock_sendfile"),
    *("sock_recv", "sock_recv_into", "sock_recvfrom", "sock_recvfrom_into", "sock_sendall", "sock_sendto"),
    *("sock_connect", "sock_accept", "create_connection", "create_server", "create_datagram_endpoint"),
    *("create_unix_connection", "create_unix_server", "connect_accepted_socket", "start_tls"),
    *("connect_read_pipe", "connect_write_pipe", "subprocess_shell", "subprocess_exec"),
):
    setattr(VirtualLoop, _name, _refusal(_name))


def _stepping(handle: asyncio.Handle) -> asyncio.Task[Any] | None:
    """The task whose next step this is. `task.cancel` and the like are callbacks, not steps."""
    callback = handle._callback
    owner = getattr(callback, "__self__", None)
    if not isinstance(owner, asyncio.Task):
        return None
    name = getattr(callback, "__name__", type(callback).__name__)
    return owner if name in ("TaskStepMethWrapper", "task_wakeup", "__step", "__wakeup") else None


def _number(task: asyncio.Task[Any]) -> int:
    return getattr(task, "number", 0)  # zero: somebody made it past the factory


def _who(handle: asyncio.Handle) -> str:
    task = _stepping(handle)
    if task is not None:
        return f"{_number(task)} {task.get_name()}"
    callback = handle._callback
    while isinstance(callback, functools.partial):
        callback = callback.func
    return getattr(callback, "__qualname__", type(callback).__qualname__)


def _where(task: asyncio.Task[Any]) -> str:
    inner: Any = task.get_coro()
    while hasattr(inner, "cr_await") and hasattr(inner.cr_await, "cr_frame"):
        inner = inner.cr_await
    frame = getattr(inner, "cr_frame", None)
    return f"in {inner.__qualname__}:{frame.f_lineno}" if frame is not None else ""


@contextmanager
def _no_threads() -> Iterator[None]:
    """A thread would answer whenever it likes; anyio and aiosqlite start theirs without asking the loop."""
    start, here = threading.Thread.start, threading.get_ident()

    def guarded(thread: threading.Thread) -> None:
        if threading.get_ident() == here:
            raise NotSimulated(f"thread {thread.name}")
        start(thread)

    threading.Thread.start = guarded
    try:
        yield
    finally:
        threading.Thread.start = start


@contextmanager
def _own_garbage(loop: VirtualLoop) -> Iterator[None]:
    """Finalisers run at fixed steps only, and never because of what an earlier run left lying about."""
    was_on, was_frozen = gc.isenabled(), gc.get_freeze_count() > 0
    gc.disable()
    gc.freeze()
    try:
        yield
        gc.collect()
        loop.raise_unhandled()
    finally:
        if not was_frozen:
            gc.unfreeze()
        if was_on:
            gc.enable()


def simulate(
    main: Callable[[], Awaitable[T]],
    *,
    seed: int | str,
    mode: Mode = "shuffled",
    start_s: float = 0.0,
    max_steps: int = MAX_STEPS,
    kill_at_step: int | None = None,
    keep_log: bool = False,
    ordered: bool = True,
) -> SimResult[T]:
    """One life of one world. Only the proof that order matters has a reason to pass `ordered=False`."""
    loop = VirtualLoop(seed=seed, mode=mode, start_s=start_s, max_steps=max_steps, keep_log=keep_log)

    async def root() -> T:
        return await main()

    with ExitStack() as stack:
        if ordered:
            stack.enter_context(ordered_sets())
        try:
            ended = loop.run_until(root(), kill_at_step=kill_at_step)
        except BaseException as error:
            error.add_note(f"simulated: seed {seed!r}, {mode}, step {loop.steps}, {loop.time()} s")
            raise
    killed = ended if isinstance(ended, Killed) else None
    value = None if isinstance(ended, Killed) else ended
    return SimResult(value, loop.steps, loop.time(), loop.trace_hash, killed, loop.log)


def first_difference(one: list[TraceStep], other: list[TraceStep]) -> tuple[TraceStep | None, TraceStep | None] | None:
    """Where two runs part, for the eye of whoever must find out why."""
    for left, right in itertools.zip_longest(one, other):
        if left != right:
            return left, right
    return None
