"""A daemon that trades, and its control socket as a client of any kind sees it."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from avwapd.store.reader import open_reader
from tests.crash.test_daemon import PLAIN, endless
from tests.crash.world import World, opened

END = b"\r\n\r\n"


@dataclass
class Answer:
    status: int
    facts: Any
    took_s: float
    head: bytes = b""


def request(method: str, path: str, body: object = None, *, key: str = "", more: str = "") -> bytes:
    """One whole request's bytes."""
    content = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: a", f"Content-Length: {len(content)}"]
    lines += [f"Idempotency-Key: {key}"] if key else []
    return "\r\n".join([*lines, *([more] if more else []), "", ""]).encode() + content


class Socket:
    """The socket of a running daemon."""

    def __init__(self, world: World, process: subprocess.Popen[bytes]) -> None:
        self.world = world
        self.process = process
        self.path = world.short / "control.sock"

    def connect(self, limit_s: float = 10.0) -> socket.socket:
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
                time.sleep(0.005)
            except BaseException:
                client.close()
                raise

    def say(self, data: bytes, limit_s: float = 15.0) -> bytes:
        """Everything that comes back until the other side hangs up."""
        with self.connect(limit_s) as client:
            with suppress(BrokenPipeError, ConnectionResetError):
                client.sendall(data)
            return heard(client)

    def ask(self, method: str, path: str, body: object = None, **options: str) -> Answer:
        begun = time.monotonic()
        head, _, content = self.say(request(method, path, body, **options)).partition(END)
        assert head, "no answer"
        return Answer(int(head.split()[1]), parsed(content), time.monotonic() - begun, head)

    def status(self) -> dict[str, Any]:
        found = self.ask("GET", "/v1/status")
        assert found.status == 200, found
        return dict(found.facts)

    def acts(self) -> list[dict[str, Any]]:
        """Newest first."""
        return list(self.ask("GET", "/v1/acts").facts)

    def goes_on(self, bars: int = 3) -> None:
        """More bars are decided, soon."""
        begun, until = self.status()["decisions"], time.monotonic() + 20
        while self.status()["decisions"] < begun + bars:
            assert self.process.poll() is None, self.world.tail()
            assert time.monotonic() < until, "nothing is decided"
            time.sleep(0.05)

    def memory_kb(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def heard(client: socket.socket) -> bytes:
    answer = b""
    with suppress(ConnectionResetError):
        while part := client.recv(65_536):
            answer += part
    return answer


def parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content.decode(errors="replace")


@contextmanager
def daemon(folder: Path, *, module: str = "tests.crash.launch", **environ: str) -> Iterator[Socket]:
    """A daemon under the endless replay, ready; environ: AVWAPD_ settings without the prefix."""
    play = endless()
    environ = {"TIMED": str(folder / "timed.txt")} | environ if module != "tests.crash.launch" else environ
    play = replace(play, environ={**play.environ, **{variable(name): value for name, value in environ.items()}})
    with opened(folder / "w", play, PLAIN, seed=1) as world:
        process = world.spawn(module=module)
        try:
            assert world.wait_ready(process, 0), world.tail()
            yield Socket(world, process)
        finally:
            process.kill()
            process.wait(10)


def variable(name: str) -> str:
    return name if name == "TIMED" else f"AVWAPD_{name}"


@contextmanager
def ledger(there: Socket) -> Iterator[sqlite3.Connection]:
    with closing(open_reader(there.world.ledger)) as conn:
        yield conn


@contextmanager
def as_user(uid: int) -> Iterator[None]:
    """Connections made inside are this user's, of no group of ours, and stay so; only root can."""
    groups, gid = os.getgroups(), os.getegid()
    os.setgroups([])
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(gid)
        os.setgroups(groups)


def let_in(there: Socket) -> None:
    """The file's mode lets everybody in, so that what refuses is the uid alone."""
    there.world.short.chmod(0o755)
    there.path.chmod(0o666)
