"""Writes `calendars.json` anew from exchange_calendars: `python -m avwapd.feeds.calendar_build`.

Run it when the library is updated. Only this file looks at the library; what it leaves out is weekends and
the usual hours, what it keeps is every exception to them.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

FIRST, LAST = "1970-01-01", "2035-12-31"
TARGET = Path(__file__).with_name("calendars.json")


def library_calendar(name: str, first: str = FIRST, last: str = LAST) -> Any:
    """The library's own calendar object."""
    import exchange_calendars

    with warnings.catch_warnings():
        # The library reads times in a way that a newer pandas deprecates; the values are right.
        warnings.filterwarnings("ignore", "Series.values returning an ndarray", DeprecationWarning)
        return exchange_calendars.get_calendar(name, start=first, end=last)


def exchange_table(name: str = "XNYS", first: str = FIRST, last: str = LAST) -> dict[str, Any]:
    """The exceptions of one exchange: holidays (weekdays without a session) and unusual opens and closes."""
    import numpy as np

    calendar = library_calendar(name, first, last)
    zone = str(calendar.tz)
    dates = [int(day.strftime("%Y%m%d")) for day in calendar.sessions]
    opens = [at.strftime("%H:%M") for at in calendar.opens.dt.tz_convert(zone)]
    closes = [at.strftime("%H:%M") for at in calendar.closes.dt.tz_convert(zone)]
    usual_open, usual_close = max(set(opens), key=opens.count), max(set(closes), key=closes.count)
    weekdays = np.arange(first, np.datetime64(last) + 1, dtype="datetime64[D]")
    weekdays = weekdays[np.is_busday(weekdays)]
    known = set(dates)
    return {
        "timezone": zone,
        "first": first,
        "last": last,
        "open": usual_open,
        "close": usual_close,
        "holidays": [day for day in (int(str(d).replace("-", "")) for d in weekdays) if day not in known],
        "special_opens": _grouped(dates, opens, usual_open),
        "special_closes": _grouped(dates, closes, usual_close),
    }


def _grouped(dates: list[int], times: list[str], usual: str) -> dict[str, list[int]]:
    """Dates by their unusual time of day."""
    unusual = sorted(set(times) - {usual})
    return {word: [date for date, at in zip(dates, times, strict=True) if at == word] for word in unusual}


def build() -> bytes:
    """The packaged file's bytes."""
    import exchange_calendars

    tables = {"version": exchange_calendars.__version__, "XNYS": exchange_table()}
    return (json.dumps(tables, separators=(",", ":")) + "\n").encode()


if __name__ == "__main__":
    TARGET.write_bytes(build())
    sys.stderr.write(f"wrote {TARGET}\n")
