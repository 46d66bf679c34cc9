"""Calls of clients that block: in threads of their own, each under one total deadline, ended from outside.

Such a client knows at best a limit for one read, so a peer that sends a byte a second holds it for ever. Here the call
knows its sockets (`hold`): at the deadline, or when nobody waits any more, they are shut down under it, which frees
the thread. The threads are daemons: not even one that hangs in a name look-up keeps the process from ending.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio

from avwapd.ports import Clock

T = TypeVar("T")


MOST_LETTERS = 200  # of what others say
LONGEST_TRIP_S = 5.0  # of a question for the time


def joined(head: str, said: str, most: int = MOST_LETTERS) -> str:
    """`head: said` on one line, cut at a word; only the head where nothing was said."""
    said = shortened(said, most)
    return f"{head}: {said}" if said else head


def shortened(said: str, most: int = MOST_LETTERS) -> str:
    """On one line, cut at a word; no more than `most` letters."""
    line = " ".join(said.split())
    if len(line) <= most:
        return line
    begin = line[: most - 2]
    return (begin.rpartition(" ")[0] or begin).rstrip(" :,;(") + " …"


def assert_prompt(took_s: float) -> None:
    """Of a question for the time: half a long round trip is no estimate, and this machine may have slept in it."""
    if took_s > LONGEST_TRIP_S:
        raise NoAnswer(f"the time was {took_s:.0f} s on its way: it says nothing about our clock")


class NoAnswer(Exception):
    """Nobody can tell whether the service took the request: no answer, a cut, late or unreadable one, a 5xx."""


class Shut(Exception):
    """The service takes nothing for now and took nothing: rate limit, ban, no right to ask."""

    def __init__(self, reason: str, retry_s: float) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_s = retry_s


class Rejected(Exception):
    """A clear answer that says no. status: HTTP; code: the service's own, 0 without one; body: as parsed."""

    def __init__(self, status: int, code: int, message: str, body: Any) -> None:
        super().__init__(f"{status}/{code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.body = body


@dataclass(slots=True)
class Running:
    """One call under way. `deadline`: of the clock's monotonic seconds."""

    deadline: float
    monotonic: Callable[[], float]
    ended: bool = False
    _sockets: list[socket.socket] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def left(self) -> float:
        """Seconds left, never 0: sockets read 0 as "do not wait". Raises TimeoutError where the time is over."""
        left = self.deadline - self.monotonic()
        if self.ended or left <= 0:
            raise TimeoutError("the time for this call is over")
        return left

    def hold(self, sock: socket.socket) -> None:
        """Of the worker's thread: this call uses `sock`. A handle of its own survives what TLS does to the object."""
        handle = socket.socket(fileno=os.dup(sock.fileno()))
        with self._lock:
            if not self.ended:
                self._sockets.append(handle)
                return
        handle.close()
        raise TimeoutError("the time for this call is over")

    def end(self, *, cut: bool) -> None:
        """Let the sockets go; `cut`: shut them down, so that whoever reads them stops at once."""
        with self._lock:
            self.ended = True
            for handle in self._sockets:
                if cut:
                    with suppress(OSError):
                        handle.shutdown(socket.SHUT_RDWR)
                handle.close()
            self._sockets.clear()


_here = threading.local()


def current() -> Running | None:
    """The call that this thread works for."""
    return getattr(_here, "running", None)


@dataclass(slots=True)
class Job:
    run: Callable[[], Any]
    running: Running
    done: Callable[[Any, BaseException | None], None]


class Calls:
    """At most `threads` calls at a time. Made anywhere, used inside one running loop; `close` when done."""

    def __init__(self, name: str, threads: int, clock: Clock) -> None:
        self.under_way = 0
        self._name = name
        self._room = threads
        self._clock = clock
        self._jobs: deque[Job] = deque()
        self._bell = threading.Condition()
        self._idle = 0
        self._started = 0
        self._closed = False
        self._free: deque[asyncio.Future[None]] = deque()

    async def run(self, call: Callable[[], T], limit_s: float) -> T:
        """What `call` returns or raises, within `limit_s`, the wait for a thread included.

        Raises NoAnswer where the time is over, Shut where no thread came free in it (the call was not made).
        A canceled wait ends the call as the deadline does.
        """
        running = Running(self._clock.monotonic() + limit_s, self._clock.monotonic)
        await self._turn(limit_s)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def settle(value: Any, error: BaseException | None) -> None:
            self.under_way -= 1
            self._let_in()
            if answer.done():
                return
            if error is None:
                answer.set_result(value)
            else:
                answer.set_exception(error)

        def done(value: Any, error: BaseException | None) -> None:
            with suppress(RuntimeError):  # the loop is gone, and so is whoever waited
                loop.call_soon_threadsafe(settle, value, error)

        self._start(Job(call, running, done))
        try:
            with anyio.fail_after(max(0.0, running.deadline - self._clock.monotonic())):
                return await answer
        except TimeoutError as error:
            raise NoAnswer(f"no whole answer within {limit_s:g} s") from error
        finally:
            running.end(cut=not answer.done() or answer.cancelled())

    def close(self) -> None:
        """Let the threads end; calls under way end at their deadline."""
        with self._bell:
            self._closed = True
            self._bell.notify_all()

    # ------------------------------------------------------------------------------------------------- turns

    async def _turn(self, limit_s: float) -> None:
        """Wait for a thread; a thread whose call was given up stays taken until it has really ended."""
        if self._closed:
            raise Shut("the calls are closed", 1.0)
        if self.under_way < self._room:
            self.under_way += 1
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._free.append(mine)
        try:
            with anyio.fail_after(limit_s):
                await mine
        except BaseException as error:
            if mine.done() and not mine.cancelled():
                self.under_way -= 1  # it came just as we gave up
                self._let_in()
            else:
                with suppress(ValueError):
                    self._free.remove(mine)
            if isinstance(error, TimeoutError):
                raise Shut(f"all {self._room} threads for {self._name} are busy", 1.0) from None
            raise

    def _let_in(self) -> None:
        """Pass free turns on, in order."""
        while self._free and self.under_way < self._room:
            waiter = self._free.popleft()
            if not waiter.done():
                self.under_way += 1
                waiter.set_result(None)

    # ----------------------------------------------------------------------------------------------- threads

    def _start(self, job: Job) -> None:
        with self._bell:
            self._jobs.append(job)
            if self._idle >= len(self._jobs):
                self._bell.notify()
                return
            self._started += 1
        threading.Thread(target=self._work, name=f"{self._name}-{self._started}", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._bell:
                self._idle += 1
                while not self._jobs:
                    if self._closed:
                        return
                    self._bell.wait()
                self._idle -= 1
                job = self._jobs.popleft()
            _here.running = job.running
            value, error = None, None
            try:
                job.running.left()
                value = job.run()
            except BaseException as failure:  # noqa: BLE001 - handed to whoever waits, whatever it is
                error = failure
            _here.running = None
            job.running.end(cut=False)
            job.done(value, error)
            del job, value, error
