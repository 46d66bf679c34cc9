"""KILL_SWITCH: a file of the state folder that stops everything that opens risk, for as long as it exists.

That it exists is the switch: an empty one closes as well as one with words. The words say who and why, and what the
separate program sold in the daemon's stead, so that the daemon books it instead of selling a second time.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MOST_BYTES = 1 << 20
MODE = 0o644
BESIDE = ".new"


@dataclass(frozen=True, slots=True)
class Sale:
    """One order of the kill program. side: 1 buys back, -1 sells; quantities and price as decimal text.

    symbol: as the ledger calls it; filled, price: what became of it, as far as the program saw.
    """

    symbol: str
    cid: str
    side: int
    qty: str
    filled: str = "0"
    price: str = "0"


@dataclass(frozen=True, slots=True)
class KillNote:
    """flatten: the kill program leaves positions, so that nobody else may; whole: it came to its end."""

    reason: str = ""
    who: str = ""
    ts_ms: int = 0
    flatten: bool = False
    whole: bool = True
    sales: tuple[Sale, ...] = ()


def close(path: Path, note: KillNote) -> None:
    """Durable before it returns. A full disk may keep the words from it, not the file itself. Raises OSError."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, MODE)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    _sync_folder(path)
    with contextlib.suppress(OSError):
        replace(path, note)


def replace(path: Path, note: KillNote) -> None:
    """Other words, whole or not at all; the file is never away. Raises OSError."""
    beside = path.with_name(path.name + BESIDE)
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, MODE)
    try:
        os.write(handle, json.dumps(asdict(note)).encode() + b"\n")
        os.fsync(handle)
    finally:
        os.close(handle)
    beside.replace(path)
    _sync_folder(path)


def release(path: Path) -> bool:
    """Take it away, durably; False where there was none. Raises OSError."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    _sync_folder(path)
    return True


def read(path: Path) -> KillNote | None:
    """None where there is no file; one that says nothing readable is a plain kill."""
    try:
        with path.open("rb") as file:
            body = file.read(MOST_BYTES)
    except FileNotFoundError:
        return None
    except OSError:
        return KillNote()
    try:
        return note_of(json.loads(body))
    except (ValueError, TypeError, KeyError, RecursionError):
        return KillNote(reason=body[:200].decode(errors="replace").strip())


def note_of(said: Mapping[str, Any]) -> KillNote:
    """Raises ValueError, TypeError or KeyError for what `replace` never wrote."""
    note = KillNote(**{**said, "sales": tuple(Sale(**sale) for sale in said.get("sales", ()))})
    if [type(value) for value in (note.flatten, note.whole, note.ts_ms)] != [bool, bool, int]:
        raise TypeError("no note of ours")
    for sale in note.sales:
        texts = (sale.symbol, sale.cid, sale.qty, sale.filled, sale.price)
        if sale.side not in (1, -1) or not all(isinstance(text, str) for text in texts):
            raise TypeError("no sale of ours")
    return note


def _sync_folder(path: Path) -> None:
    handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Watched:
    """The file as a look before each order sees it: one stat, and a reading only where it changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._note: KillNote | None = None

    def exists(self) -> bool:
        """Also where nobody can tell whether it does: that closes."""
        try:
            self._path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True
        return True

    def note(self) -> KillNote | None:
        """None where there is no file."""
        try:
            facts = self._path.stat()
        except OSError:
            self._stamp, self._note = None, None
            return None
        stamp = facts.st_ino, facts.st_mtime_ns, facts.st_size
        if stamp != self._stamp:
            self._note = read(self._path)
            self._stamp = stamp
        return self._note
