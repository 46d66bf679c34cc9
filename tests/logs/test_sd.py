"""What the service manager hears, on sockets of both kinds, and from a whole daemon."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from avwapd.ops import sd
from tests.notify.test_daemon import demo, until


class Manager:
    """A notification socket and what came to it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)
        self.heard: list[str] = []

    def listen(self) -> str:
        while True:
            try:
                self.heard.append(self._socket.recv(65_536).decode())
            except BlockingIOError:
                return "\n".join(self.heard)

    def close(self) -> None:
        self._socket.close()


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_words_arrive_at_both_kinds_of_sockets(tmp_path: Path, kind: str) -> None:
    manager = Manager(str(tmp_path / "n") if kind == "path" else f"@avwapd-test-{os.getpid()}")
    try:
        environ = {"NOTIFY_SOCKET": manager.address}
        assert sd.notify(sd.READY, sd.status("two\nlines  of it"), sd.extend(1.5), environment=environ)
        assert manager.listen() == "READY=1\nSTATUS=two lines of it\nEXTEND_TIMEOUT_USEC=1500000"
    finally:
        manager.close()


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/at/all", "@nobody-listens-here"])
def test_without_a_manager_nothing_happens(address: str) -> None:
    assert not sd.notify(sd.READY, environment={"NOTIFY_SOCKET": address})


def test_a_manager_that_does_not_read_is_not_waited_for(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "n"))
    try:
        begun = time.monotonic()
        told = [sd.notify("STATUS=" + "x" * 5000, environment={"NOTIFY_SOCKET": manager.address}) for _ in range(2000)]
        assert told[0]
        assert not told[-1]
        assert time.monotonic() - begun < 20
    finally:
        manager.close()


def test_the_watchdogs_time() -> None:
    assert sd.watchdog_s({"WATCHDOG_USEC": "30000000"}) == 30.0
    assert sd.watchdog_s({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}) == 30.0
    assert sd.watchdog_s({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}) is None
    assert sd.watchdog_s({"WATCHDOG_USEC": "soon"}) is None
    assert sd.watchdog_s({"WATCHDOG_USEC": "0"}) is None
    assert sd.watchdog_s({}) is None


def test_a_daemon_tells_its_manager_what_it_does(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "n"))
    state = tmp_path / "state"
    try:
        with demo(state, NOTIFY_SOCKET=manager.address) as process:
            until(lambda: "READY=1" in manager.listen() and manager.heard.count("WATCHDOG=1") + 1, state)
            until(lambda: "WATCHDOG=1" in manager.listen() and "last bar" in manager.listen(), state)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        told = manager.listen()
    finally:
        manager.close()
    order = [told.index(word) for word in ("EXTEND_TIMEOUT_USEC=", "READY=1", "WATCHDOG=1", "STOPPING=1")]
    assert order == sorted(order), told
    assert "STATUS=stopping: SIGTERM" in told
    assert "STATUS=sim: 6 symbols" in told
