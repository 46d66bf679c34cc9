"""What must never be read anywhere: the values of known secrets, and whatever looks like one, taken out of text."""

from __future__ import annotations

import base64
import itertools
import os
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from urllib.parse import quote, unquote

from avwapd.config.environment import SECRETS

CREDENTIALS = "CREDENTIALS_DIRECTORY"
NOTIFY_URLS, PING_URL = "AVWAPD_NOTIFY_URLS", "AVWAPD_PING_URL"
ADDRESSES = (NOTIFY_URLS, PING_URL)  # their parts are secret too: a bot's token is a piece of a path
LIKE_SECRET = re.compile(r"(?:^|_)(?:KEY|SECRET|TOKEN|PASSWORD|PASSWD)(?:_|$)")
MAX_BYTES = 64 * 1024
SHORTEST, SHORTEST_PART = 4, 8  # letters; shorter ones would take words out of every line
HIDDEN = "[hidden]"
OPEN = frozenset(("127.0.0.1", "localhost", "simulated"))
PIECES = re.compile(r"[\s/:@?&=,;#]+")
# name: value or name=value, in headers, queries, JSON and the words of exceptions
NAMED = re.compile(
    r"(?i)(\b(?:authorization|apca-api-[a-z-]+|x-mbx-apikey|api-key|api-sign|x-api-key|api_?key|api_?secret|secret_?key|"
    r"access_?token|live_confirm_token|token|secret|password|passwd|signature)\b[\"']?\s*[=:]\s*[\"']?"
    r"(?:(?:bearer|basic|token)\s+)?)([^\s\"'&,;}\]]{4,})"
)
USERINFO = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/@]+@")


def given(name: str, environment: Mapping[str, str] | None = None) -> str:
    """A secret's text: the credential file of that name, else the variable; "" without either or where unreadable."""
    known = os.environ if environment is None else environment
    folder = known.get(CREDENTIALS, "")
    if folder and (path := Path(folder) / name).is_file():
        return _content(path)
    return known.get(name, "").strip()


def addresses(name: str, environment: Mapping[str, str] | None = None) -> list[str]:
    """One a line; lines that begin with # are remarks."""
    lines = (line.strip() for line in given(name, environment).splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _content(path: Path) -> str:
    with suppress(OSError):
        if path.stat().st_size <= MAX_BYTES:
            return path.read_text("utf-8", "replace").strip()
    return ""


class Redactor:
    """Takes the values it was given, in the spellings in which they travel, and what is named as one, out of text."""

    def __init__(self, values: Iterable[str] = (), urls: Iterable[str] = ()) -> None:
        spelled: set[str] = set()
        for value in values:
            spelled.update(_spellings(value, SHORTEST))
        for url in urls:
            spelled.update(_spellings(url, SHORTEST_PART))
            pieces = PIECES.split(url.partition("://")[2] or url)
            for piece in pieces:
                spelled.update(_spellings(piece, SHORTEST_PART))
            for one, other in itertools.pairwise(pieces):
                spelled.add(base64.b64encode(f"{one}:{other}".encode()).decode())
        longest_first = sorted(spelled, key=lambda text: (-len(text), text))
        self._values = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, text: str) -> str:
        if self._values is not None:
            text = self._values.sub(HIDDEN, text)
        if "://" in text:
            text = USERINFO.sub(rf"\1{HIDDEN}@", text)
        return NAMED.sub(rf"\1{HIDDEN}", text)


def hide_in_tracebacks(clean: Callable[[str], str]) -> None:
    """An error that nobody foresaw is shown with its traceback and without secrets, in every thread."""

    def shown(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        with suppress(AttributeError, OSError, ValueError):
            sys.stderr.write(clean("".join(traceback.format_exception(kind, error, trace))))

    sys.excepthook = shown
    threading.excepthook = lambda args: shown(args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback)


def _spellings(value: str, shortest: int) -> Iterable[str]:
    value = value.strip()
    if len(value) < shortest or value in OPEN:
        return ()
    plain = {value, quote(value, safe=""), quote(value), unquote(value), repr(value)[1:-1]}
    return {text for text in plain | {base64.b64encode(value.encode()).decode()} if len(text) >= shortest}


def redactor(environment: Mapping[str, str] | None = None) -> Redactor:
    """Of what this process was given: known names, variables that look like secrets, every credential file."""
    known = dict(os.environ if environment is None else environment)
    names = {*SECRETS, *(name for name in known if LIKE_SECRET.search(name))}
    folder = known.get(CREDENTIALS, "")
    if folder:
        with suppress(OSError):
            names.update(path.name for path in Path(folder).iterdir() if path.is_file())
    values: list[str] = []
    urls: list[str] = []
    for name in sorted(names):
        for text in {given(name, known), known.get(name, "").strip()}:
            (urls if name in ADDRESSES else values).extend([text, *text.splitlines()])
    return Redactor(values, urls)
