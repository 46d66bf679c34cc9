"""The control socket's door: who comes in, how many at once, how long and how much they may say.

One request a connection. A connection is arriving (until its request is there), served, or leaving (its answer waits to
be read). Arriving and leaving ones share a room; where it is full the oldest goes, so nobody holds it by doing nothing.
A served one has a place by its kind: what acts never waits behind what asks. Without file descriptors the door rests.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio
from aiohttp import web
from anyio.abc import TaskGroup, TaskStatus

from avwapd.actors.control_answer import Refusal, raw
from avwapd.actors.control_peer import WHERE, Access, Peer, peer_of

log = logging.getLogger("avwapd.control")

IDLE_CALLERS = 32  # arriving or leaving
PLACES = {"read": 32, "act": 8, "kill": 16}  # served at once; what halts must not wait behind what asks
KILLS = ("/v1/kill", "/v1/halt")
ARRIVE_S = 5.0  # for a whole request, however it dribbles
HALF_S = 0.2  # for the handler to begin after the other side's end of file
LEAVE_S = 5.0  # for the answer to be read
SERVED_S = 40.0  # longer than the longest wait of any handler
TAKEN_BYTES = 262_144  # of one connection: body, head and what comes unasked
BACKLOG = 128
PACE_S = 0.001  # between two that come in
REST_S = 0.1  # without descriptors
STARVED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
ARRIVING, SERVED, LEAVING = range(3)

FULL = raw(503, "too many clients at once", "ask again")
LATE = raw(408, f"no whole request came within {ARRIVE_S:g} s", "send head and body at once")
LARGE = raw(413, "more was sent than a request may have", "send at most 65536 bytes of body")
SHORT = raw(503, "the daemon has no file descriptors left", "see its log; raise LimitNOFILE")


class Caller(asyncio.Protocol):
    """One connection: aiohttp's own protocol behind a count of bytes and a time limit."""

    def __init__(self, door: Door, inner: asyncio.Protocol, peer: Peer) -> None:
        self.peer = peer
        self.state = ARRIVING
        self._door = door
        self._inner = inner
        self._taken = 0
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def inner(self) -> asyncio.Protocol:
        return self._inner

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._door.entered(self)
        self.turn(ARRIVING)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._taken += len(data)
        if self._taken <= TAKEN_BYTES:
            self._inner.data_received(data)
        elif self.state == ARRIVING:
            self.dismiss(LARGE)

    def eof_received(self) -> bool | None:
        # Whoever only stopped sending gets an answer; what is not a whole request by now never will be one.
        self._inner.eof_received()
        if self.state == ARRIVING and self._timer is not None:
            self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_later(HALF_S, self.dismiss, LATE)
        return self.state != ARRIVING or self._taken > 0

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._door.left(self)
        self._inner.connection_lost(exc)

    def turn(self, state: int) -> None:
        """Another state, and its own time limit."""
        self.state = state
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is None or (self._transport.is_closing() and state != LEAVING):
            return
        seconds, said = ((ARRIVE_S, LATE), (SERVED_S, b""), (LEAVE_S, b""))[state]
        self._timer = asyncio.get_running_loop().call_later(seconds, self.dismiss, said)

    def dismiss(self, said: bytes = b"") -> None:
        """End it now; what was said reaches who reads."""
        if self._transport is None:
            return
        if said and not self._transport.is_closing():
            self._transport.write(said)
        self._transport.abort()


class Door:
    """Listens; hands each connection to aiohttp's server."""

    def __init__(self, path: Path, access: Access) -> None:
        self.callers: dict[asyncio.Protocol, Caller] = {}  # by aiohttp's protocol, oldest first
        self.turned_away = 0
        self.starved = 0
        self._path = path
        self._access = access
        self._served = dict.fromkeys(PLACES, 0)
        self._spare: int | None = None
        self._again: asyncio.TimerHandle | None = None
        self._listener: socket.socket
        self._group: TaskGroup
        self._server: web.Server

    async def run(self, server: web.Server, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Listen until canceled; the socket file goes with it."""
        self._server = server
        self._path.unlink(missing_ok=True)
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as self._listener:
            self._listener.setblocking(False)
            self._listener.bind(str(self._path))
            try:
                self._give_away()
                self._listener.listen(BACKLOG)
                self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
                async with anyio.create_task_group() as self._group:
                    loop.add_reader(self._listener, self._accept)
                    task_status.started()
                    await anyio.sleep_forever()
            finally:
                loop.remove_reader(self._listener)
                if self._again is not None:
                    self._again.cancel()
                self._path.unlink(missing_ok=True)
                if self._spare is not None:
                    os.close(self._spare)
                self.dismiss_idle(b"")

    def _give_away(self) -> None:
        """Mode and group, before anybody can connect. Raises ControlGroup."""
        if self._access.group:
            import shutil

            try:
                shutil.chown(self._path, group=self._access.group)
            except (LookupError, OSError) as error:
                raise ControlGroup(self._access.group, error) from error
        self._path.chmod(0o660)

    # ---------------------------------------------------------------------------------------------- coming in

    def _accept(self) -> None:
        """One at a time and not too fast: a barrier takes several turns of the loop, and a flood must not fill them."""
        self._rest(PACE_S)
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            if error.errno not in STARVED:
                raise
            self._starve(error)
            return
        sock.setblocking(False)
        peer = peer_of(sock)
        if not self._room(peer):
            self._send_away(sock, FULL)
            return
        self._group.start_soon(self._connect, sock, peer)

    async def _connect(self, sock: socket.socket, peer: Peer) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: Caller(self, self._server(), peer), sock)
        except OSError:
            sock.close()

    def _room(self, peer: Peer) -> bool:
        """Whether there is a place to arrive at. The oldest that does nothing goes for it; readers go before actors."""
        idle = [caller for caller in self.callers.values() if caller.state != SERVED]
        if len(idle) < IDLE_CALLERS:
            return True
        acting = self._access.may_act(peer)
        weaker = [caller for caller in idle if not self._access.may_act(caller.peer)]
        oldest = next(iter(weaker or (idle if acting else [])), None)
        if oldest is None:
            return False
        self.turned_away += 1
        oldest.dismiss(FULL if oldest.state == ARRIVING else b"")
        self.callers.pop(oldest.inner, None)
        return True

    def _send_away(self, sock: socket.socket, said: bytes) -> None:
        self.turned_away += 1
        with sock, suppress(OSError):
            sock.send(said)

    def _starve(self, error: OSError) -> None:
        """No descriptor for who knocks: the spare one tells one, those that do nothing are let go, the door rests."""
        self.starved += 1
        if self.starved == 1 or self.starved % 1000 == 0:
            log.error("the control socket cannot let anybody in (%s): %d times so far", error.strerror, self.starved)
        self.dismiss_idle(SHORT)
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None
            with suppress(OSError):
                sock, _ = self._listener.accept()
                self._send_away(sock, SHORT)
        with suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._rest(REST_S)

    def _rest(self, seconds: float) -> None:
        """Nobody comes in for so long."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listener)
        if self._again is not None:
            self._again.cancel()
        self._again = loop.call_later(seconds, self._open_again)

    def _open_again(self) -> None:
        if self._listener.fileno() < 0:
            return
        if self._spare is None:
            with suppress(OSError):
                self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    # ---------------------------------------------------------------------------------------------- inside

    def entered(self, caller: Caller) -> None:
        self.callers[caller.inner] = caller

    def left(self, caller: Caller) -> None:
        self.callers.pop(caller.inner, None)

    def dismiss_idle(self, said: bytes) -> None:
        for caller in [caller for caller in self.callers.values() if caller.state != SERVED]:
            caller.dismiss(said if caller.state == ARRIVING else b"")

    @contextmanager
    def served(self, caller: Caller, method: str, path: str) -> Iterator[None]:
        """A place for the time of one answer. Raises Refusal where there is none."""
        kind = "read" if method in ("GET", "HEAD") else "kill" if path in KILLS else "act"
        if self._served[kind] >= PLACES[kind]:
            self.turned_away += 1
            raise Refusal(503, f"{PLACES[kind]} questions of this kind are being answered", WHERE, "ask again")
        self._served[kind] += 1
        caller.turn(SERVED)
        try:
            yield
        finally:
            self._served[kind] -= 1
            caller.turn(LEAVING)

    def facts(self) -> dict[str, int]:
        return {"clients": len(self.callers), "turned_away": self.turned_away, "starved": self.starved}


class ControlGroup(Exception):
    """The socket cannot be given to the group of the settings."""

    exit_code = 78

    def __init__(self, group: str, error: Exception) -> None:
        super().__init__(group)
        reason = error.strerror if isinstance(error, OSError) else "no such group"
        self.what = f"the control socket cannot be given to the group {group} ({reason})"
        self.where = "[control] group"
        self.next_step = "name a group that the daemon's user is in, or leave it empty"
