"""One question to the daemon: HTTP over its unix socket."""

from __future__ import annotations

import json
import socket
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

MAX_ANSWER_BYTES = 64_000_000


class DaemonError(Exception):
    """The daemon cannot be asked, or refuses."""

    def __init__(self, what: str, where: str, next_step: str, exit_code: int) -> None:
        super().__init__(what, where, next_step)
        self.what = what
        self.where = where
        self.next_step = next_step
        self.exit_code = exit_code


UNREACHABLE, REFUSED = 69, 1


class UnixConnection(HTTPConnection):
    def __init__(self, path: Path, limit_s: float) -> None:
        super().__init__("avwapd", timeout=limit_s)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


def ask(path: Path, method: str, target: str, body: object, limit_s: float) -> Any:
    """The answer's JSON; DaemonError where there is none."""
    connection = UnixConnection(path, limit_s)
    headers = {"Content-Type": "application/json"} if body is not None else {}
    try:
        connection.request(method, target, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        status, content = response.status, response.read(MAX_ANSWER_BYTES)
    except (OSError, HTTPException) as error:
        raise unreachable(error, path, limit_s) from None
    finally:
        connection.close()
    try:
        answer = json.loads(content)
    except ValueError:
        what = f"the daemon's answer is no JSON (status {status})"
        raise DaemonError(what, str(path), "see its log", UNREACHABLE) from None
    if status >= 400:
        raise refused(answer, status, path)
    return answer


def unreachable(error: Exception, path: Path, limit_s: float) -> DaemonError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        words = (
            "no daemon runs here: there is no control socket",
            "start it, or name its --state-dir",
        )
    elif isinstance(error, ConnectionRefusedError):
        words = "the daemon is gone: its control socket is left, nobody listens", "start it: avwapd run"
    elif isinstance(error, PermissionError):
        words = "this user may not use the control socket", "call as the daemon's user, or join its group"
    elif isinstance(error, TimeoutError):
        words = f"the daemon did not answer within {limit_s:g} s", "see its log; --limit-s waits longer"
    else:
        reason = " ".join(str(error).split()) or type(error).__name__
        words = f"the daemon broke off: {reason}", "ask again; see its log"
    return DaemonError(words[0], str(path), words[1], UNREACHABLE)


def refused(answer: object, status: int, path: Path) -> DaemonError:
    told = answer if isinstance(answer, dict) else {}
    what = told.get("what") or told.get("error") or f"the daemon refused (status {status})"
    where = told.get("where") or path
    return DaemonError(str(what), str(where), str(told.get("next_step") or "avwapd ctl --help"), REFUSED)
