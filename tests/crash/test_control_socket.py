"""The control socket under abuse: it answers within a second all the while, keeps its memory, and trading goes on."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.crash.test_daemon import PLAIN, endless, running
from tests.crash.world import World, opened

pytestmark = pytest.mark.crash

MORE_KB = 64_000  # that abuse may add to what the daemon holds
BARS = 3  # that have to come in while it lasts


class Daemon:
    """Ready and trading; `ask` gives the answer to a request and how long it took."""

    def __init__(self, world: World, process: subprocess.Popen[bytes]) -> None:
        self.path = world.short / "control.sock"
        self.process = process

    def connect(self, limit_s: float = 5.0) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(limit_s)
        until = time.monotonic() + limit_s
        while True:
            try:
                client.connect(str(self.path))
                return client
            except BlockingIOError:  # more knock at once than may wait at the door
                if time.monotonic() > until:
                    client.close()
                    raise
                time.sleep(0.01)

    def status(self) -> dict[str, Any]:
        """Within a second."""
        begun = time.monotonic()
        head, _, body = self.say(b"GET /v1/status HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").partition(
            b"\r\n\r\n"
        )
        assert head.startswith(b"HTTP/1.1 200"), head
        assert time.monotonic() - begun < 1.0
        return dict(json.loads(body))

    def say(self, request: bytes) -> bytes:
        """Everything that comes back until the other side hangs up."""
        answer = b""
        with self.connect() as client:
            with suppress(BrokenPipeError, ConnectionResetError):
                client.sendall(request)
            with suppress(ConnectionResetError):
                while part := client.recv(65_536):
                    answer += part
        return answer

    def memory_kb(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])

    def goes_on(self) -> None:
        """More bars come in, soon."""
        begun, until = self.status()["bars_left"], time.monotonic() + 20
        while self.status()["bars_left"] > begun - BARS:
            assert time.monotonic() < until, "no bar comes in"
            time.sleep(0.05)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("control") / "w"
    with opened(folder, endless(), PLAIN, seed=1) as world, running(world) as process:
        yield Daemon(world, process)


@pytest.fixture(autouse=True)
def unmoved(daemon: Daemon) -> Iterator[None]:
    """Whatever is done to it."""
    daemon.goes_on()
    before_kb = daemon.memory_kb()
    yield
    daemon.goes_on()
    assert daemon.memory_kb() - before_kb < MORE_KB


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00" * 4_096,
        b"\xff\xfe\r\n\r\n" * 100,
        b"GET\r\n\r\n",
        b"GET /v1/status HTTP/9.9\r\n\r\n",
        b"A" * 1_000_000,
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\n" + b"X: y\r\n" * 50_000 + b"\r\n",
        b"POST /v1/halt HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/halt HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/halt HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\r\n\xff\xfe{}",
    ],
    ids=lambda garbage: repr(garbage[:24]),
)
def test_garbage_is_refused(daemon: Daemon, garbage: bytes) -> None:
    with daemon.connect(limit_s=2.0) as client:
        with suppress(BrokenPipeError, ConnectionResetError, TimeoutError):  # it need not read all of it
            client.sendall(garbage)
            client.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            assert not client.recv(65_536).startswith(b"HTTP/1.1 2")
    assert daemon.status()["halted"] == []


def test_a_body_of_a_hundred_megabytes_is_not_waited_for(daemon: Daemon) -> None:
    head = b"POST /v1/halt HTTP/1.1\r\nHost: a\r\nContent-Length: 104857600\r\n\r\n"
    with daemon.connect() as client:
        with suppress(BrokenPipeError, ConnectionResetError):
            client.sendall(head + b" " * 200_000)
        with suppress(ConnectionResetError):
            assert client.recv(65_536).startswith(b"HTTP/1.1 413")
    assert daemon.status()["halted"] == []


def test_a_body_larger_than_the_limit_is_refused(daemon: Daemon) -> None:
    head = b"POST /v1/halt HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 70000\r\n\r\n"
    assert daemon.say(head + b" " * 70_000).startswith(b"HTTP/1.1 413")
    assert daemon.status()["halted"] == []


def test_a_client_that_never_reads_costs_nothing(daemon: Daemon) -> None:
    ask = b"GET /v1/orders HTTP/1.1\r\nHost: a\r\n\r\n" * 2_000
    with daemon.connect(limit_s=0.5) as client:
        with suppress(TimeoutError, BrokenPipeError, ConnectionResetError):
            client.sendall(ask)
        for _ in range(5):
            daemon.status()
            time.sleep(0.2)


def test_two_hundred_idle_clients_are_no_hindrance(daemon: Daemon) -> None:
    begin: list[Callable[[socket.socket], None]] = [
        lambda client: None,
        lambda client: client.sendall(b"GET /v1/st"),
        lambda client: client.sendall(b"POST /v1/halt HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n{"),
    ]
    with ExitStack() as stack:
        for i in range(200):
            begin[i % len(begin)](stack.enter_context(daemon.connect()))
        for _ in range(5):
            daemon.status()
            time.sleep(0.1)
        daemon.goes_on()
    assert daemon.status()["halted"] == []
