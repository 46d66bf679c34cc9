"""Log lines in a real journal: found by field, whole, with their priorities."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from avwapd.ops import journal
from tests.cli.process import clean_environ
from tests.logs.namespace import journal_of, unshare
from tests.logs.speak import LONG
from tests.tidy.rules import ROOT

beside_journald = pytest.mark.skipif(unshare() is None, reason="no journald, or no mount namespace to run one in")


def rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def words(value: Any) -> str:
    """The journal gives what has several lines as bytes."""
    return bytes(value).decode() if isinstance(value, list) else str(value)


@beside_journald
def test_a_journal_is_asked_by_symbol_and_event(tmp_path: Path) -> None:
    environ = clean_environ(tmp_path)
    found = rows(journal_of([sys.executable, "-m", "tests.logs.speak"], tmp_path / "out.json", environ=environ))
    ours = [row for row in found if row.get("SYSLOG_IDENTIFIER") == "avwapd"]
    [fill] = [row for row in ours if row.get("EVENT") == "fill" and row.get("SYMBOL") == "AAPL"]
    wanted = {"MESSAGE": "a fill", "ORDER_ID": "av-1", "TS_MS": "17", "RUN": "run-7", "MODE": "sim", "PRIORITY": "6"}
    assert wanted.items() <= fill.items()
    assert not any("lower" in row or "_TRUSTED" in row for row in ours)
    [alert] = [row for row in ours if row.get("EVENT") == "alert"]
    assert (words(alert["MESSAGE"]), words(alert["NOTE"]), alert["PRIORITY"]) == ("two\nlines", "a\nb", "4")
    [long] = [row for row in ours if row.get("EVENT") == "long"]
    assert words(long["MESSAGE"]) == LONG
    [failed] = [row for row in ours if words(row["MESSAGE"]).startswith("failed")]
    assert "ValueError: the reason" in words(failed["MESSAGE"])
    assert failed["PRIORITY"] == "3"


@beside_journald
def test_the_daemons_fills_are_found_by_a_query(tmp_path: Path) -> None:
    state = tmp_path / "state"
    cache = os.environ.get("AVWAPD_CACHE_DIR", "")
    environ = clean_environ(tmp_path) | {"AVWAPD_LOG__FORMAT": "journal", "AVWAPD_STATE_DIR": str(state)}
    environ |= {"AVWAPD_CACHE_DIR": cache} if cache else {"HOME": os.environ.get("HOME", "/")}
    words = [sys.executable, "-m", "avwapd", "run", "--config", str(ROOT / "etc" / "demo.toml"), "--once"]
    command = [*words, "--speed", "max", "--to", "2025-11-12T00:00:00Z"]
    found = rows(journal_of(command, tmp_path / "out.json", "EVENT=fill + EVENT=start", environ=environ))
    starts = [row for row in found if row["EVENT"] == "start"]
    fills = [row for row in found if row["EVENT"] == "fill"]
    assert len(starts) == 1
    assert str(state / "avwapd.db") in starts[0]["MESSAGE"]
    assert {"RUN", "CONFIG", "DATABASE", "MODE"} <= starts[0].keys()
    assert "version=" in starts[0]["MESSAGE"]
    assert fills, "no fill was found by its field"
    assert all(row["SYMBOL"] and row["ORDER_ID"].startswith("av") and row["RUN"] for row in fills), fills[0]


def test_a_full_socket_is_not_waited_for_and_a_missing_one_is_told(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    there = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        there.bind(str(path))
        to = journal.Journal(path)
        assert to.present()
        sent = 0
        while to.send({"MESSAGE": "x"}):
            sent += 1
            assert sent < 100_000, "a socket that nobody reads never got full"
        assert sent > 0
        there.recv(1000)
        assert to.send({"MESSAGE": "y"})
    finally:
        there.close()
        to.close()
    path.unlink()
    assert not to.present()
    assert not to.send({"MESSAGE": "z"})
    to.close()


def test_the_stream_of_the_manager_is_recognised(tmp_path: Path) -> None:
    with (tmp_path / "one").open("w") as one, (tmp_path / "two").open("w") as two:
        found = os.fstat(one.fileno())
        environ = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        assert journal.connected(environ, two.fileno(), one.fileno())
        assert not journal.connected(environ, two.fileno())
        assert not journal.connected({}, one.fileno())
        assert not journal.connected(environ, 9_999)


@pytest.mark.parametrize("name", ["lower", "1X", "_X", "A=B", "", "A\nB", "X" * 65])
def test_a_name_that_the_journal_would_refuse_spoils_no_other_field(name: str) -> None:
    assert journal.datagram({name: "x", "MESSAGE": "m"}) == b"MESSAGE=m\n"
