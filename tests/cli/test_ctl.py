"""Asking the daemon: what goes over the socket, what is shown, and what is said when nobody answers."""

from __future__ import annotations

import json
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from avwapd import cli
from avwapd.verbs.tables import lines_of

STATUS = {
    "run": "r1",
    "mode": "sim",
    "symbols": ["A", "B", "C"],
    "phases": {"FLAT": 2, "OPEN": 1},
    "last_ts_ms": 1_714_656_900_000,
    "lag_ms": 12,
    "queues": {"bars": {"size": 3, "bound": 100}, "writer": [0, 10]},
    "halted": ["B"],
}


class Daemon:
    """Answers every connection with the same bytes and keeps what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[tuple[str, bytes]] = []
        self.answer: bytes | None = b""
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.server.bind(str(folder / "control.sock"))
        self.server.listen()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def says(self, value: object, status: str = "200 OK") -> None:
        body = json.dumps(value).encode()
        self.answer = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    def serve(self) -> None:
        while True:
            connection, _ = self.server.accept()
            with connection:
                head, _, body = self.heard(connection).partition(b"\r\n\r\n")
                line = head.split(b"\r\n")[0].decode()
                if not line:
                    return
                self.asked.append((line.removesuffix(" HTTP/1.1"), body))
                if self.answer is None:
                    connection.recv(1)  # mute until the other side leaves
                else:
                    connection.sendall(self.answer)

    def heard(self, connection: socket.socket) -> bytes:
        data = b""
        while piece := connection.recv(65536):
            data += piece
            head, end, body = data.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
            if end and len(body) >= length:
                break
        return data

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as last:
            last.connect(str(self.folder / "control.sock"))
        self.thread.join()
        self.server.close()


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state folder with a short name: pytest's own can be too long for a socket."""
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    folder = Path(tempfile.mkdtemp(prefix="avwapd"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def daemon(state: Path) -> Iterator[Daemon]:
    running = Daemon(state)
    yield running
    running.close()


def ctl(state: Path, *words: str) -> int:
    return cli.main(["--state-dir", str(state), "ctl", *words])


@pytest.mark.parametrize(
    ("words", "asked", "body"),
    [
        (["status"], "GET /v1/status", None),
        (["positions"], "GET /v1/positions", None),
        (["orders"], "GET /v1/orders", None),
        (["gates"], "GET /v1/gates", None),
        (
            ["why", "BTC/USDT", "2024-05-02T13:35:00Z"],
            "GET /v1/why?symbol=BTC%2FUSDT&ts_ms=1714656900000",
            None,
        ),
        (["why", "A", "1714656900000"], "GET /v1/why?symbol=A&ts_ms=1714656900000", None),
        (["halt"], "POST /v1/halt", {}),
        (["halt", "AAPL"], "POST /v1/halt", {"symbol": "AAPL"}),
        (["halt", "--json", "AAPL"], "POST /v1/halt", {"symbol": "AAPL"}),
        (["resume", "AAPL", "--json"], "POST /v1/resume", {"symbol": "AAPL"}),
        (["resume", "AAPL", "--force"], "POST /v1/resume", {"symbol": "AAPL", "force": True}),
        (["flatten"], "POST /v1/flatten", {}),
        (["drain"], "POST /v1/drain", {}),
        (["stop"], "POST /v1/stop", {}),
    ],
)
def test_what_is_asked(state: Path, daemon: Daemon, words: list[str], asked: str, body: object) -> None:
    daemon.says({"ok": True})
    assert ctl(state, *words) == 0
    [(line, sent)] = daemon.asked
    assert line == asked
    assert (json.loads(sent) if sent else None) == body


def test_status_for_people(state: Path, daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.says(STATUS)
    assert ctl(state, "status") == 0
    assert capsys.readouterr().out.splitlines() == [
        "run       r1",
        "mode      sim",
        "symbols   3",
        "phases    FLAT 2  OPEN 1",
        "last bar  2024-05-02T13:35:00Z  1714656900000",
        "lag       12 ms",
        "queues    bars 3/100  writer 0/10",
        "halted    B",
    ]


def test_json_is_the_answer_itself(state: Path, daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.says(STATUS)
    assert ctl(state, "status", "--json") == 0
    assert json.loads(capsys.readouterr().out) == STATUS


def test_rows_become_a_table() -> None:
    rows = [{"symbol": "A", "qty": 5}, {"symbol": "LONG", "qty": 1000, "stop": None}]
    assert list(lines_of("positions", {"positions": rows})) == [
        "symbol   qty  stop",
        "A          5     -",
        "LONG    1000     -",
    ]
    assert list(lines_of("positions", {"positions": []})) == ["no positions"]
    assert list(lines_of("orders", rows[:1])) == ["symbol  qty", "A         5"]


@pytest.mark.parametrize(
    "answer", [None, 5, "x", [], [1, "a"], {}, {"last_ts_ms": "x"}, {"last_ts_ms": 10**30}, {"queues": 3}]
)
def test_no_answer_breaks_the_table(answer: object) -> None:
    for act in ("status", "positions", "halt"):
        list(lines_of(act, answer))


# ---------------------------------------------------------- nobody answers


def told(state: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = ctl(state, *words)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["avwapd", "  where", "  next"]
    assert str(state) in lines[1]
    return code, lines[0]


def test_no_socket(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(state, capsys, "status") == (69, "avwapd: no daemon runs here: there is no control socket")


def test_a_socket_that_nobody_listens_at(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(state / "control.sock"))
    code, what = told(state, capsys, "status")
    assert (code, "nobody listens" in what) == (69, True)


def test_permission_is_told_in_words(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert told(state, capsys, "status") == (69, "avwapd: this user may not use the control socket")


def test_a_mute_daemon(state: Path, daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.answer = None
    code, what = told(state, capsys, "status", "--limit-s", "0.05")
    assert (code, what) == (69, "avwapd: the daemon did not answer within 0.05 s")


@pytest.mark.parametrize("answer", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 nope\r\n\r\n"])
def test_a_daemon_that_breaks_off(
    state: Path, daemon: Daemon, capsys: pytest.CaptureFixture[str], answer: bytes
) -> None:
    daemon.answer = answer
    code, what = told(state, capsys, "status")
    assert (code, "broke off" in what) == (69, True)


def test_a_refusal_is_passed_on(state: Path, daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.says({"what": "no such symbol", "where": f"{state}: ZZZ", "next_step": "look"}, "404 Not Found")
    assert told(state, capsys, "halt", "ZZZ") == (1, "avwapd: no such symbol")


@pytest.mark.parametrize("length", [2, 9])
def test_an_answer_that_is_no_json(
    state: Path, daemon: Daemon, capsys: pytest.CaptureFixture[str], length: int
) -> None:
    daemon.answer = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nhi".encode()
    code, what = told(state, capsys, "status")
    assert (code, "no JSON" in what) == (69, True)
