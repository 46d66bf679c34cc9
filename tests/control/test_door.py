"""The door of a real daemon under abuse: bounded in number, time, bytes and descriptors, and trading goes on."""

from __future__ import annotations

import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from avwapd.actors.control_door import ARRIVE_S, IDLE_CALLERS
from tests.control.kit import END, Socket, as_user, daemon, heard, let_in, request

pytestmark = pytest.mark.crash

MORE_KB = 64_000
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can come as another user")


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Socket]:
    with daemon(tmp_path_factory.mktemp("door")) as found:
        yield found


@pytest.fixture(autouse=True)
def unmoved(there: Socket) -> Iterator[None]:
    """Whatever is done to it, it decides, and holds no more than before."""
    there.goes_on()
    before_kb = there.memory_kb()
    yield
    there.goes_on()
    assert there.memory_kb() - before_kb < MORE_KB
    assert there.status()["halted"] == []


def test_one_request_a_connection(there: Socket) -> None:
    """What is sent behind the first is not heard: no queue of acts behind a question."""
    said = there.say(request("GET", "/v1/status") + request("POST", "/v1/halt", {}) + request("GET", "/v1/status"))
    assert said.count(b"HTTP/1.1 200") == 1
    assert b"Connection: close" in said.partition(END)[0]


def test_a_request_that_dribbles_is_ended(there: Socket) -> None:
    whole, begun = request("POST", "/v1/halt", {"reason": "x" * 200}), time.monotonic()
    with there.connect(ARRIVE_S * 3) as client:
        client.setblocking(False)
        said = b""
        for byte in whole:
            with suppress(BrokenPipeError, ConnectionResetError):
                client.send(bytes([byte]))
            time.sleep(0.1)
            with suppress(BlockingIOError, ConnectionResetError):
                said += client.recv(65_536)
                break
    assert said.startswith(b"HTTP/1.1 408")
    assert ARRIVE_S - 1 < time.monotonic() - begun < ARRIVE_S + 3


def test_a_line_of_a_hundred_megabytes_ends_early(there: Socket) -> None:
    sent, piece = 0, b"A" * 1_000_000
    with there.connect() as client, suppress(BrokenPipeError, ConnectionResetError):
        for _ in range(100):
            client.sendall(piece)
            sent += len(piece)
    assert sent < 5_000_000


@pytest.mark.parametrize(
    "head", [b"", b"GET /v1/status HTTP/1.1\r\n", b"POST /v1/halt HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"]
)
def test_a_peer_that_dies_in_the_middle(there: Socket, head: bytes) -> None:
    for _ in range(200):
        client = there.connect()
        client.sendall(head)
        client.close()
    assert there.status()


def test_half_a_connection_gets_its_answer(there: Socket) -> None:
    with there.connect() as client:
        client.sendall(request("GET", "/v1/status"))
        client.shutdown(socket.SHUT_WR)
        assert heard(client).startswith(b"HTTP/1.1 200")


def test_who_never_reads_is_let_go(there: Socket) -> None:
    with ExitStack() as stack:
        for _ in range(60):
            client = stack.enter_context(there.connect())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
            client.sendall(request("GET", "/v1/orders"))
        for _ in range(20):
            assert there.ask("GET", "/v1/status").took_s < 2.0


def test_a_thousand_clients_at_once(there: Socket) -> None:
    """Each is answered or told that there are too many; none waits for ever."""
    said: list[bytes] = []

    def many() -> None:
        for _ in range(50):
            said.append(there.say(request("GET", "/v1/status"))[:12])

    threads = [threading.Thread(target=many) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(said) == 1_000
    assert set(said) <= {b"HTTP/1.1 200", b"HTTP/1.1 503"}
    assert said.count(b"HTTP/1.1 200") > 100


def test_a_thousand_that_do_nothing_do_not_keep_an_act_out(there: Socket) -> None:
    fds = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    with ExitStack() as stack:
        for _ in range(min(1_000, fds - 200)):
            stack.enter_context(there.connect())
        kept = len(list(Path(f"/proc/{there.process.pid}/fd").iterdir()))
        assert kept < IDLE_CALLERS * 2 + 150
        for verb in ("kill", "unkill", "halt", "resume"):
            done = there.ask("POST", f"/v1/{verb}", {})
            assert (done.status, done.took_s < 3.0) == (200, True), done


@ROOT_ONLY
def test_readers_cannot_push_an_actor_out(there: Socket) -> None:
    let_in(there)
    with there.connect() as mine, ExitStack() as stack:
        whole = request("POST", "/v1/halt", {"symbol": "CEDAR"})
        mine.sendall(whole[:20])
        with as_user(4_004):
            for _ in range(IDLE_CALLERS * 3):
                stack.enter_context(there.connect())
        mine.sendall(whole[20:])
        assert heard(mine).startswith(b"HTTP/1.1 200")
    assert there.ask("POST", "/v1/resume", {}).status == 200


def test_it_ends_while_clients_hang_on_it(tmp_path: Path) -> None:
    with daemon(tmp_path) as other, ExitStack() as stack:
        for head in (b"", b"GET /v1/st", request("GET", "/v1/orders")):
            stack.enter_context(other.connect()).sendall(head)
        other.process.send_signal(signal.SIGTERM)
        assert other.process.wait(15) == 0
        assert not other.path.exists()


def test_without_descriptors_it_rests_and_comes_back(tmp_path: Path) -> None:
    """Row 58: the accept loop does not spin, trading goes on, and who frees descriptors is let in again."""
    with daemon(tmp_path) as other, ExitStack() as stack:
        pid, before = other.process.pid, other.status()
        held = max(int(fd.name) for fd in Path(f"/proc/{pid}/fd").iterdir())
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (held + 1, hard))
        knocking = [stack.enter_context(other.connect()) for _ in range(60)]
        cpu, begun = other.cpu_s(), time.monotonic()
        until = time.monotonic() + 20
        while "cannot let anybody in" not in other.world.log.read_text():
            assert time.monotonic() < until, other.world.tail()
            time.sleep(0.1)
        time.sleep(1.0)
        assert (other.cpu_s() - cpu) / (time.monotonic() - begun) < 0.6, "it spins"
        assert other.process.poll() is None
        assert any(client.recv(12) in (b"HTTP/1.1 503", b"") for client in knocking)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        stack.close()
        other.goes_on()
        assert other.status()["decisions"] > before["decisions"]
