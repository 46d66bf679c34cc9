"""Days on the command line: yyyymmdd inside, yyyy-mm-dd outside, counted in New York."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo


def today() -> int:
    """New York's date."""
    from avwapd.ports import SystemClock

    now = datetime.fromtimestamp(SystemClock().now_ms() / 1000, UTC).astimezone(ZoneInfo("America/New_York"))
    return now.year * 10_000 + now.month * 100 + now.day


def day(text: str) -> int:
    """An argument like 2024-05-02."""
    from avwapd.scan.sheet import date_of

    found = date_of(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no date like 2024-05-02")
    return found


def age_days(then: int, now: int) -> int:
    return (as_date(now) - as_date(then)).days


def as_date(number: int) -> date:
    return date(number // 10_000, number // 100 % 100, number % 100)


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def aged(then: int, now: int) -> str:
    """An age in words."""
    days = age_days(then, now)
    return "today" if days == 0 else f"{counted(days, 'day')} old" if days > 0 else f"{counted(-days, 'day')} ahead"


def content_of(path: Path) -> bytes:
    """A file that a person named; a SheetError where it cannot be read or is far too long."""
    from avwapd.scan.sheet import SheetError

    most = 64_000_000
    try:
        if path.is_file() and path.stat().st_size > most:
            raise SheetError(f"the file is longer than {most} bytes", path, "name another file")
        return path.read_bytes()
    except OSError as error:
        what = f"the file cannot be read ({error.strerror or error})"
        raise SheetError(what, path, "name a file that is there and yours to read") from None


def warn(text: str) -> None:
    print(f"  warning: {text}", file=sys.stderr)
