"""A scan under way: what it looks at, and who fell so far."""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avwapd.config import Config
from avwapd.core.daily import FELL_STEPS, FELL_WORDS, SCAN, Days
from avwapd.core.daily_scan import glance, newest_session
from avwapd.scan.errors import ScanError
from avwapd.scan.result import Fallen, Records, ScanInputs
from avwapd.settings import scan_params

CLOSE, MEAN, RETURN = range(3)  # of a glance


@dataclass
class Day:
    """place: symbol -> its number in `days`; chosen: that of each of `names`, -1 for none; rows: SCAN [names];
    why: symbol -> how it fell.
    """

    inputs: ScanInputs
    config: Config
    params: Records
    days: Days
    sessions: Records
    session: int
    place: dict[str, int]
    names: list[str]
    chosen: NDArray[np.int64]
    rows: Records
    why: dict[str, Fallen]
    warnings: list[str]

    @property
    def date(self) -> int:
        return int(self.sessions[self.session]["date"])

    def date_of(self, row: int) -> int:
        """Session date of a row of `days`."""
        return int(self.sessions[self.days.session[row]]["date"])

    def sector(self, symbol: str) -> str:
        return self.inputs.members[symbol].sector if symbol in self.inputs.members else ""

    def fall(self, symbol: str, reason: int, value: float | None = None, limit: float | None = None) -> None:
        self.why[symbol] = Fallen(symbol, FELL_STEPS[reason], FELL_WORDS[reason], value, limit)

    def left(self) -> list[int]:
        """Positions in `names` of those that did not fall yet."""
        return [i for i, symbol in enumerate(self.names) if symbol not in self.why]

    def glance(self, symbol: str) -> list[float]:
        """[close, regime mean, return] of an index or fund at the scan's session; NaN where unknown."""
        out = np.zeros(3)
        glance(self.days, self.place.get(symbol, -1), self.session, self.params[0], out)
        return out.tolist()


def begin(inputs: ScanInputs, config: Config, rules_only: bool) -> Day:
    """Find the scan's session and its symbols; ScanError where no bar of the universe lies so early.

    The session is the newest of any symbol there is; with rules alone, of the chosen ones.
    """
    names = sorted(inputs.members) if inputs.members or not rules_only else sorted(inputs.symbols)
    place = {symbol: row for row, symbol in enumerate(inputs.symbols)}
    chosen = np.array([place.get(symbol, -1) for symbol in names], np.int64)
    days, sessions = Days(*(frozen(column) for column in inputs.days)), frozen(inputs.sessions)
    last = len(sessions) - 1
    if inputs.as_of is not None:
        last = bisect.bisect_right(sessions["date"], inputs.as_of) - 1
    session = int(newest_session(days, chosen, last))
    if session >= 0 and not rules_only:  # a session that the universe lacks is one whose bars are missing
        session = int(newest_session(days, np.arange(len(place)), last))
    if session < 0:
        when = f"at or before {shown(inputs.as_of)}" if inputs.as_of is not None else "at all"
        what = f"none of the universe's {len(names):,} symbols has a daily bar {when}"
        raise ScanError(what, f"the daily bars of {config.scan.exchange}", "import daily bars, or scan a later day")
    params = scan_params(config, rules_only=rules_only)
    rows = np.zeros(len(names), SCAN)
    return Day(inputs, config, params, days, sessions, session, place, names, chosen, rows, {}, [])


def frozen(column: Any) -> Any:
    """A plain read-only view: so the kernels are compiled for one kind of array, wherever it lies."""
    view = np.asarray(column).view(np.ndarray)
    view.flags.writeable = False
    return view


def shown(date: int) -> str:
    """A yyyymmdd number as YYYY-MM-DD."""
    return f"{date // 10_000:04}-{date // 100 % 100:02}-{date % 100:02}"
