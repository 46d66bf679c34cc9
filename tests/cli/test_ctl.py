"""Asking the daemon: what goes over the socket, what is shown, and what is said when nobody answers."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from avwapd import cli
from avwapd.paths import resolve
from avwapd.store.lock import hold
from avwapd.verbs import check_execution
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
        self.keys: list[str] = []
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
                self.keys.append(head.decode().partition("Idempotency-Key: ")[2].split("\r\n")[0])
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


def test_an_answer_that_is_no_json(state: Path, daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    code, what = told(state, capsys, "status")
    assert (code, "no JSON" in what) == (69, True)


def test_half_an_answer_is_asked_for_again_and_then_told(
    state: Path, daemon: Daemon, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi"
    code, what = told(state, capsys, "status")
    assert (code, what) == (69, "avwapd: the daemon broke off: its answer ends after 2 of 9 bytes")
    assert len(daemon.asked) == 2


# ---------------------------------------------------------------- acts


@pytest.mark.parametrize(
    ("words", "asked", "body"),
    [
        (["kill"], "POST /v1/kill", {"reason": "operator", "flatten": False}),
        (["kill", "--flatten", "--reason", "fire"], "POST /v1/kill", {"reason": "fire", "flatten": True}),
        (["unkill"], "POST /v1/unkill", {}),
        (["disarm"], "POST /v1/disarm", {}),
        (["rearm"], "POST /v1/rearm", {}),
        (["drill", "fetch", "--times", "2"], "POST /v1/drill", {"fault": "fetch", "times": 2}),
        (["ack", "12"], "POST /v1/ack", {"id": 12}),
        (["ack", "all"], "POST /v1/ack", {}),
        (["acts"], "GET /v1/acts", None),
        (["alerts"], "GET /v1/alerts", None),
        (["alerts", "--unread"], "GET /v1/alerts?unread=1", None),
        (["health"], "GET /v1/health", None),
        (["metrics"], "GET /v1/metrics", None),
    ],
)
def test_what_else_is_asked(state: Path, daemon: Daemon, words: list[str], asked: str, body: object) -> None:
    daemon.says({"ok": True})
    assert ctl(state, *words) == 0
    [(line, sent)] = daemon.asked
    assert line == asked
    assert (json.loads(sent) if sent else None) == body


def test_an_act_bears_a_key_and_is_sent_again_under_it(
    state: Path, daemon: Daemon, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.answer = b""
    assert told(state, capsys, "halt", "AAPL")[0] == 69
    first, second = daemon.keys
    assert first == second != ""
    daemon.says({"ok": True})
    assert ctl(state, "halt", "AAPL") == 0
    assert daemon.keys[2] not in ("", first)
    assert ctl(state, "status") == 0
    assert daemon.keys[3] == ""


def test_the_token_comes_from_a_file_or_the_environment(
    state: Path, daemon: Daemon, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.says({"ok": True})
    monkeypatch.delenv("LIVE_CONFIRM_TOKEN", raising=False)
    assert ctl(state, "arm") == 64
    assert "no token" in capsys.readouterr().err
    assert ctl(state, "arm", "--token-file", str(state / "none")) == 64
    assert "cannot be read" in capsys.readouterr().err
    (state / "token").write_text("secret words\n")
    assert ctl(state, "arm", "--token-file", str(state / "token"), "--hours", "2.5") == 0
    monkeypatch.setenv("LIVE_CONFIRM_TOKEN", "other words")
    assert ctl(state, "arm") == 0
    bodies = [json.loads(sent) for _, sent in daemon.asked]
    assert bodies == [{"token": "secret words", "hours": 2.5}, {"token": "other words"}]


@pytest.mark.parametrize(
    "words", [["ack", "-1"], ["ack", "x"], ["drill", "f", "--times", "-1"], ["arm", "--hours", "x"]]
)
def test_what_does_not_fit_is_a_usage_error(state: Path, words: list[str]) -> None:
    assert ctl(state, *words) == 64


def test_metrics_are_printed_as_they_are_and_a_note_goes_to_the_side(
    state: Path, daemon: Daemon, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "# HELP a b\na 1\n"
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(text)}\r\n"
    daemon.answer = (head + "X-Avwapd-Note: the newest\r\n\r\n" + text).encode()
    assert ctl(state, "metrics") == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == (text, "note: the newest\n")


def test_gates_acts_and_alerts_as_tables() -> None:
    closed = {"gate": "arming", "symbol": "", "closed": 1, "reason": "not armed", "since_ms": 1_714_656_900_000}
    assert list(lines_of("gates", [closed, {"gate": "mode", "symbol": "A", "closed": 0}])) == [
        "gate    state   symbol  since                 reason",
        "arming  CLOSED  all     2024-05-02T13:35:00Z  not armed",
        "mode    open    A",
    ]
    act = {"id": 1, "ts_ms": 1_714_656_900_000, "who": "uid 0", "verb": "halt", "body": "{}", "status": 403}
    refused = '{"what":"uid 7 may \\"not\\" act","where":"x"}'
    assert next(reversed(list(lines_of("acts", [{**act, "answer": refused}])))).endswith('403  uid 7 may \\"not\\" act')
    alert = {"id": 4, "ts_ms": 1_714_656_900_000, "level": "critical", "read": 0, "what": "look"}
    assert list(lines_of("alerts", [alert]))[1].split() == ["4", "2024-05-02T13:35:00Z", "critical", "no", "look"]


def test_the_daemons_own_parts_are_told_in_words() -> None:
    status = {
        "gates": {"status": "closed", "reason": "not armed"},
        "router": {"sent": 3, "in_doubt": 1, "held_by": ["books"], "shut": "", "entries_blocked": "no stream"},
        "pulse": {"last_decision_ms": 1_714_656_900_000, "decision_age_s": 2.0, "holes": 0, "faults": {"late": 0}},
        "drill": {"left": {"fetch": 2}, "played": {"fetch": 0}},
        "notices": {"channel": "none", "waiting": 0},
    }
    assert list(lines_of("status", status)) == [
        "gates          closed: not armed; avwapd ctl gates has all",
        "orders         3 sent, 1 IN DOUBT",
        "orders wait    for books",
        "entries        blocked: no stream",
        "last decision  2024-05-02T13:35:00Z, 2.0 s ago",
        "drill to come  fetch 2",
    ]


@pytest.mark.parametrize("part", ["router", "gates", "pulse", "drill", "notices"])
@pytest.mark.parametrize(
    "shape", [None, 3, "x", [1], {}, {"sent": None, "arming": 3, "last_decision_ms": "x", "left": 3}]
)
def test_no_shape_of_a_part_breaks_it(part: str, shape: object) -> None:
    list(lines_of("status", {part: shape}))


# ------------------------------------------------------- nobody answers, more ways


def test_what_is_no_socket(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (state / "control.sock").write_text("")
    assert told(state, capsys, "status") == (69, "avwapd: what lies there is no socket of a daemon")


def test_a_daemon_that_is_starting(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with hold(state):
        code, what = told(state, capsys, "status")
    assert (code, f"pid {os.getpid()}) is starting" in what) == (69, True)
    code, what = told(state, capsys, "status")
    assert "no daemon runs here" in what, "the lock's file alone is nobody"


def test_no_descriptors_left_here(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert told(state, capsys, "status") == (69, "avwapd: this program has no file descriptors left")


def test_a_full_doorstep_is_knocked_at_again(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    knocks: list[int] = []

    def busy(*_: object) -> None:
        knocks.append(1)
        raise BlockingIOError(errno.EAGAIN, "busy")

    monkeypatch.setattr(socket.socket, "connect", busy)
    code, what = told(state, capsys, "status", "--limit-s", "0.2")
    assert (code, what) == (69, "avwapd: the daemon did not answer within 0.2 s")
    assert len(knocks) > 3


def test_who_wanted_to_stop_trading_is_told_what_needs_no_daemon(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, step in (
        (["kill"], "next: avwapd kill: it asks no daemon"),
        (["kill", "--flatten"], "next: avwapd kill --flatten: it asks no daemon"),
        (["flatten"], "next: avwapd kill --flatten asks no daemon, and leaves the kill switch closed"),
        (["flatten", "AAPL"], "next: start it"),
        (["halt"], "next: start it"),
    ):
        assert cli.main(["ctl", *words, "--state-dir", str(state)]) == 69
        assert step in capsys.readouterr().err


def test_a_daemon_that_hangs_is_no_absent_one(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_execution, "LIMIT_S", 0.05)
    paths = resolve(str(state))
    assert check_execution.of_gates(paths).verdict == "ok"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server, hold(state):
        server.bind(str(paths.socket))
        server.listen()
        found = check_execution.of_gates(paths)
    assert (found.verdict, found.what) == ("fail", "nobody knows: the daemon did not answer within 0.05 s")
