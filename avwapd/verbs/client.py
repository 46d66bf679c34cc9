"""One question to the daemon: HTTP over its unix socket. Every way in which that fails becomes a sentence."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import time
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from pathlib import Path
from typing import Any, NamedTuple

MAX_ANSWER_BYTES = 64_000_000
NOTE = "X-Avwapd-Note"
LOCK_NAME = "avwapd.lock"
AGAIN_S = 0.02  # between knocks where too many knock at once
EITHER = "see its log; avwapd ctl status says whether it is there again"


class DaemonError(Exception):
    """The daemon cannot be asked, or refuses."""

    def __init__(self, what: str, where: str, next_step: str, exit_code: int) -> None:
        super().__init__(what, where, next_step)
        self.what = what
        self.where = where
        self.next_step = next_step
        self.exit_code = exit_code


class Told(NamedTuple):
    """answer: JSON's value, or text as it is; note: what the answer leaves out."""

    answer: Any
    note: str = ""


class Broken(Exception):
    """The connection was there and broke: asking again, under the same key, is right."""


UNREACHABLE, REFUSED = 69, 1
UNHEARD = "see its log; --limit-s waits longer; what was asked for it may do yet, once it goes on"


class UnixConnection(HTTPConnection):
    def __init__(self, path: Path, limit_s: float) -> None:
        super().__init__("avwapd", timeout=limit_s)
        self.path = path
        self.limit_s = limit_s

    def connect(self) -> None:
        """Knock; where more do at once than may wait at the door, again."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.limit_s)
        for _ in range(max(1, int(self.limit_s / AGAIN_S))):
            try:
                self.sock.connect(str(self.path))
                return
            except BlockingIOError:
                time.sleep(AGAIN_S)
        raise TimeoutError


def ask(path: Path, method: str, target: str, body: object, limit_s: float) -> Any:
    """The answer's JSON, or its text; DaemonError where there is none."""
    return tell(path, method, target, body, limit_s).answer


def tell(
    path: Path,
    method: str,
    target: str,
    body: object,
    limit_s: float,
    *,
    key: str | None = None,
    lock: Path | None = None,
) -> Told:
    """The answer with its note. Asked twice where the connection breaks and a second time cannot act twice.

    lock: the daemon's lock file, where it does not lie beside the socket.
    """
    for last in (method != "GET" and key is None, True):
        try:
            return once(path, method, target, body, limit_s, key)
        except Broken as broken:
            if last:
                what = f"the daemon broke off: {broken}"
                raise DaemonError(what, str(path), f"ask again; {EITHER}", UNREACHABLE) from None
        except (OSError, HTTPException) as error:
            raise unreachable(error, path, limit_s, lock or path.with_name(LOCK_NAME)) from None
    raise AssertionError("not reached")


def once(path: Path, method: str, target: str, body: object, limit_s: float, key: str | None) -> Told:
    connection = UnixConnection(path, limit_s)
    headers = {"Connection": "close"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    if key is not None:
        headers["Idempotency-Key"] = key
    try:
        connection.connect()
        try:
            send(connection, method, target, body, headers)
            response = connection.getresponse()
            content = response.read(MAX_ANSWER_BYTES)
        except TimeoutError:
            raise
        except IncompleteRead as error:
            raise Broken(f"its answer ends after {len(error.partial)} bytes") from None
        except (OSError, HTTPException) as error:
            raise Broken(" ".join(str(error).split()) or type(error).__name__) from None
    finally:
        connection.close()
    return understood(response, content, path)


def send(connection: HTTPConnection, method: str, target: str, body: object, headers: dict[str, str]) -> None:
    """A daemon that sends somebody away does not read first; its answer is there all the same."""
    with suppress(BrokenPipeError):
        connection.request(method, target, None if body is None else json.dumps(body), headers)


def understood(response: HTTPResponse, content: bytes, path: Path) -> Told:
    note = response.headers.get(NOTE, "")
    length = response.headers.get("Content-Length", "")
    if length.isdecimal() and len(content) < int(length):
        raise Broken(f"its answer ends after {len(content)} of {length} bytes")
    if response.status < 400 and response.headers.get("Content-Type", "").startswith("text/plain"):
        return Told(content.decode(errors="replace"), note)
    try:
        answer = json.loads(content)
    except ValueError:
        what = f"the daemon's answer is no JSON (status {response.status})"
        raise DaemonError(what, str(path), "see its log", UNREACHABLE) from None
    if response.status >= 400:
        raise refused(answer, response.status, path)
    return Told(answer, note)


def unreachable(error: Exception, path: Path, limit_s: float, lock: Path) -> DaemonError:
    """Why nobody answers, and what to do."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        words = absent(lock)
    elif isinstance(error, ConnectionRefusedError):
        words = refusing(path, lock)
    elif isinstance(error, PermissionError):
        words = "this user may not use the control socket", "call as the daemon's user, or join its group"
    elif isinstance(error, TimeoutError):
        words = f"the daemon did not answer within {limit_s:g} s", UNHEARD
    elif isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        words = "this program has no file descriptors left", "close programs, or raise ulimit -n"
    elif isinstance(error, OSError) and error.errno in (errno.ENOTSOCK, errno.EPROTOTYPE):
        words = "what lies there is no socket of a daemon", "name another --state-dir, or move it away"
    else:
        reason = " ".join(str(error).split()) or type(error).__name__
        words = f"the control socket cannot be used: {reason}", EITHER
    return DaemonError(words[0], str(path), words[1], UNREACHABLE)


def absent(lock: Path) -> tuple[str, str]:
    """A daemon holds its lock long before it listens."""
    holder = locked_by(lock)
    if holder:
        return f"the daemon (pid {holder}) is starting: its control socket is not there yet", "ask again in a moment"
    return "no daemon runs here: there is no control socket", "start it, or name its --state-dir"


def refusing(path: Path, lock: Path) -> tuple[str, str]:
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            return "what lies there is no socket of a daemon", "name another --state-dir, or move it away"
    except OSError:
        pass
    if holder := locked_by(lock):
        return f"the daemon (pid {holder}) is starting or ending: nobody listens yet", "ask again in a moment"
    return "the daemon is gone: its control socket is left, nobody listens", "start it: avwapd run"


def locked_by(lock: Path) -> str:
    """The process that holds the state folder; "" where none does, as far as can be seen.

    Read from the kernel's table: to try the lock could be in the way of a daemon that starts.
    """
    try:
        facts, table = lock.stat(), Path("/proc/locks").read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
    place = f"{os.major(facts.st_dev):02x}:{os.minor(facts.st_dev):02x}:{facts.st_ino}"
    rows = [line.split() for line in table.splitlines()]
    return next((row[4] for row in rows if len(row) > 5 and row[1] == "FLOCK" and row[5] == place), "")


def refused(answer: object, status: int, path: Path) -> DaemonError:
    told = answer if isinstance(answer, dict) else {}
    what = told.get("what") or told.get("error") or f"the daemon refused (status {status})"
    where = told.get("where") or path
    return DaemonError(str(what), str(where), str(told.get("next_step") or "avwapd ctl --help"), REFUSED)
