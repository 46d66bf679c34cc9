"""Where log lines go: readable lines, JSON lines, or the journal with fields. Never in the way of whoever logs.

A line is made where it is said and written by a thread of its own, so a terminal that was stopped, a pipe that nobody
reads or a full disk costs lines (counted), not time. Lines that repeat by their nature (decisions, transitions,
orders) are bounded a second; fills, warnings, errors and what is said once are not.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from avwapd.config import Config
from avwapd.ops import journal
from avwapd.ops.secrets import Redactor, hide_in_tracebacks, redactor

NAME = "avwapd"
FOREIGN = ("aiohttp", "alpaca", "apprise", "asyncio", "ccxt", "requests", "urllib3", "websockets")
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
PRIORITIES = ((logging.CRITICAL, "2"), (logging.ERROR, "3"), (logging.WARNING, "4"), (logging.INFO, "6"))
REPEATING = frozenset(("", "decision", "transition", "order", "feed"))
BURST_S = 5.0  # so many seconds' lines may come at once
WAITING = 5_000  # lines while nobody takes them; as many again for warnings
CLOSE_S = 2.0
STUCK_S = 0.05
CONTROL = dict.fromkeys((*range(9), *range(11, 32), *range(127, 160)))  # a line cannot move the terminal's cursor


@dataclass(frozen=True, slots=True)
class Line:
    """As said: redacted, its fields in the journal's names."""

    level: int
    logger: str
    created: float
    text: str
    fields: Mapping[str, str]


class Sink(Protocol):
    def write(self, line: Line) -> bool:
        """Whether the line is out; may block its thread, nobody else."""


class Stream:
    """A file descriptor, or what a test put into its place."""

    def __init__(self, file: Any, shape: Callable[[Line], str]) -> None:
        self._file = file
        self._shape = shape
        try:
            self._fd: int | None = file.fileno()
        except (AttributeError, OSError, ValueError):
            self._fd = None

    def write(self, line: Line) -> bool:
        text = self._shape(line) + "\n"
        try:
            if self._fd is None:
                self._file.write(text)
                return True
            rest = text.encode("utf-8", "replace")
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except BlockingIOError:
            time.sleep(STUCK_S)  # somebody made the descriptor non-blocking: this thread may wait
            return False
        except (AttributeError, OSError, ValueError):
            return False
        return True


class ToJournal:
    """base: fields of every line, read anew for each."""

    def __init__(self, to: journal.Journal, base: Mapping[str, str]) -> None:
        self._to = to
        self._base = base

    def write(self, line: Line) -> bool:
        priority = next((word for level, word in PRIORITIES if line.level >= level), "7")
        fields = {
            "MESSAGE": line.text,
            "PRIORITY": priority,
            "SYSLOG_IDENTIFIER": NAME,
            "LOGGER": line.logger,
            **self._base,
            **line.fields,
        }
        for _ in range(3):
            if self._to.send(fields):
                return True
            time.sleep(STUCK_S)
        return False


def plain(line: Line) -> str:
    """For a terminal."""
    return line.text


def stamped(line: Line) -> str:
    """For a file: when, and how bad."""
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(line.created))
    word = "" if line.level <= logging.INFO else f"{logging.getLevelName(line.level)} "
    return f"{when} {word}{line.text}"


def as_json(line: Line) -> str:
    fields = {name.lower(): value for name, value in line.fields.items()}
    told = {"level": logging.getLevelName(line.level).lower(), "from": line.logger, "message": line.text}
    return json.dumps({**told, "logged_ms": round(line.created * 1000), **fields})


class Logs(logging.Handler):
    """The one handler: redacts, bounds, queues; a thread writes. lost: lines that nobody will read, by reason."""

    def __init__(self, sink: Sink, redact: Redactor, *, lines_s: int, base: dict[str, str]) -> None:
        super().__init__()
        self.lost = {"rate": 0, "room": 0, "sink": 0}
        self.base = base
        self.redact = redact
        self._sink = sink
        self._lines_s = lines_s
        self._allowance = self._most = lines_s * BURST_S
        self._refilled = 0.0
        self._untold = 0
        self._lines: deque[Line] = deque()
        self._bell = threading.Condition()
        self._closing = False
        self._writing = False
        self._thread: threading.Thread | None = None

    # ------------------------------------------------------------------------------------------------- saying

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._put(self._line(record))
        except Exception:  # noqa: BLE001 - a line that cannot be made is lost, never the work that said it
            self.lost["sink"] += 1

    def _line(self, record: logging.LogRecord) -> Line:
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + (self.formatter or logging.Formatter()).formatException(record.exc_info)
        given: Mapping[str, Any] = getattr(record, "fields", None) or {}
        fields = {name: self._clean(str(value)) for name, value in given.items()}
        return Line(record.levelno, record.name, record.created, self._clean(text), fields)

    def _clean(self, text: str) -> str:
        return self.redact(text).translate(CONTROL)

    def _put(self, line: Line) -> None:
        with self._bell:
            urgent = line.level >= logging.WARNING
            if not urgent and line.fields.get("EVENT", "") in REPEATING and not self._admitted(line.created):
                self.lost["rate"] += 1
                self._untold += 1
                return
            if len(self._lines) >= WAITING * (2 if urgent else 1):
                self.lost["room"] += 1
                self._untold += 1
                return
            self._lines.append(line)
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._work, name="log", daemon=True)
                self._thread.start()
            self._bell.notify_all()

    def _admitted(self, now: float) -> bool:
        self._allowance = min(self._most, self._allowance + max(0.0, now - self._refilled) * self._lines_s)
        self._refilled = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True

    # ------------------------------------------------------------------------------------------------ writing

    def _work(self) -> None:
        while True:
            with self._bell:
                self._writing = False
                self._bell.notify_all()
                while not self._lines:
                    if self._closing:
                        return
                    self._bell.wait()
                line = self._lines.popleft()
                untold, self._untold = self._untold, 0
                self._writing = True
            if untold:
                words = f"{untold} log lines were dropped: more than log.lines_s, or nobody took them"
                untold = 0 if self._sink.write(Line(logging.WARNING, NAME, line.created, words, {})) else untold
            kept = self._sink.write(line)
            with self._bell:
                self._untold += untold + (not kept)
                self.lost["sink"] += not kept

    def flush_within(self, limit_s: float) -> bool:
        """Wait until everything said is written, so long at most."""
        with self._bell:
            return self._bell.wait_for(lambda: not self._lines and not self._writing, limit_s)

    def close(self) -> None:
        """Write what is queued within a limit; a sink that hangs keeps nobody."""
        with self._bell:
            self._closing = True
            self._bell.notify_all()
        self.flush_within(CLOSE_S)
        super().close()


def begin(config: Config, *, as_json_lines: bool, environment: Mapping[str, str] | None = None) -> Logs:
    """Set up the process's logging as [log] says; what goes wrong unforeseen is redacted too."""
    known = os.environ if environment is None else environment
    base: dict[str, str] = {"MODE": config.run.mode, "ACCOUNT": config.run.account}
    redact = redactor(known)
    logs = Logs(_sink(config, known, base, as_json_lines=as_json_lines), redact, lines_s=config.log.lines_s, base=base)
    for old in logging.getLogger(NAME).handlers:
        old.close()
    root = logging.getLogger(NAME)
    root.handlers = [logs]
    root.propagate = False
    root.setLevel(LEVELS[config.log.level])
    logging.raiseExceptions = False
    # Clients tell each outage with a traceback; ours say it in a line.
    for name in FOREIGN:
        foreign = logging.getLogger(name)
        foreign.setLevel(logging.CRITICAL)
        foreign.handlers, foreign.propagate = [logs], False
    logging.getLogger("apprise").handlers = [logging.NullHandler()]  # who delivers asks it why not, and tells once
    hide_in_tracebacks(redact)
    return logs


def _sink(config: Config, known: Mapping[str, str], base: dict[str, str], *, as_json_lines: bool) -> Sink:
    wanted = "json" if as_json_lines else config.log.format
    to = journal.Journal()
    if wanted == "auto" and journal.connected(known, 1, 2):
        wanted = "journal"
    if wanted == "journal" and to.present():
        return ToJournal(to, base)
    if wanted == "json":
        return Stream(sys.stdout, as_json)
    return Stream(sys.stdout, plain if _terminal() else stamped)


def _terminal() -> bool:
    try:
        return bool(sys.stdout.isatty())
    except (AttributeError, ValueError):
        return False


def flush(limit_s: float) -> None:
    """Before the process ends at once: so long at most for what was said."""
    for handler in logging.getLogger(NAME).handlers:
        if isinstance(handler, Logs):
            handler.flush_within(limit_s)


def guard_descriptors() -> None:
    """Fill closed standard descriptors: else the ledger would be opened as one, and a stray line written into it."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - for the process's life
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123  # as above
