"""Days of minutes that trade all the time: teeth as in the fault table's market, their fates drawn by a seed.

Every symbol rests below its level, with a dip through every stop, crosses it, and then rises through both targets,
falls through its stop, or stays for a while; what follows what differs by symbol and session, so that in every minute
something is under way somewhere.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from avwapd.feeds.calendar import BELL, sessions
from tests.wire.world import ROOT, clean_environment
from tests.wire_faults.market import CROSS, FALLS, MINUTE_MS, RISES, VOLUME

EXCHANGE = "sawmill"
BARS = 390  # a session
STILL = 40
REST = (-0.40, -1.30, -0.40, -0.40, -0.40, -0.40)  # the dip ends whatever is held, on time or late: runs meet again
HOLDS = (0.26, 0.24, 0.27, 0.25) * 5 + (-0.10, -0.60, -0.60, -0.40)
FATES = (RISES, RISES, RISES, FALLS, FALLS, HOLDS)
BASES = {"ASH": 50.0, "ELM": 40.0, "FIR": 60.0, "OAK": 45.0, "YEW": 55.0, "TEAK": 52.0, "PINE": 48.0, "LIME": 65.0}
SYMBOLS = ",".join(BASES)
FIRST_DAY_MS = 1_704_205_800_000  # 2024-01-02T14:30:00Z: a session of history


def opens(count: int) -> list[int]:
    """The opening bells of so many sessions, history's first."""
    table = sessions(BELL, FIRST_DAY_MS, FIRST_DAY_MS + (2 * count + 5) * 86_400_000)
    return [int(open_ms) for open_ms in table["open_ms"] if open_ms >= FIRST_DAY_MS][:count]


def closes(symbol: str, session: int, seed: int) -> list[float]:
    """One session's closes. History ends at rest, with nothing under way: whoever begins there begins alike."""
    dice = random.Random(f"{seed}/{symbol}/{session}")
    percents: list[float] = [-0.40] * dice.randrange(8)
    while len(percents) < BARS:
        percents += [*REST, *([-0.40] * dice.randrange(3)), *CROSS, *dice.choice(FATES)]
    percents = percents[:BARS]
    if session == 0:
        percents[-STILL:] = [-0.40] * STILL
    return [round(BASES[symbol] * (1 + percent / 100), 2) for percent in percents]


def rows(symbol: str, session: int, open_ms: int, seed: int) -> list[str]:
    """CSV lines of one session's minutes."""
    found, before = [], round(BASES[symbol] * 0.996, 2)
    for at, close in enumerate(closes(symbol, session, seed)):
        high, low = max(before, close) + 0.01, min(before, close) - 0.01
        found.append(f"{open_ms + (at + 1) * MINUTE_MS},{before:.2f},{high:.2f},{low:.2f},{close:.2f},{VOLUME}")
        before = close
    return found


def archive(state: Path, played: int, seed: int) -> list[int]:
    """A session of history and `played` more into a state folder's archive; the opening bells of all of them."""
    state.mkdir(parents=True, exist_ok=True)
    bells = opens(played + 1)
    lines = ["symbol,ts_ms,open,high,low,close,volume"]
    for symbol in BASES:
        for session, open_ms in enumerate(bells):
            lines += [f"{symbol},{line}" for line in rows(symbol, session, open_ms, seed)]
    import_csv(state, lines)
    return bells


def import_csv(state: Path, lines: Sequence[str]) -> None:
    """Bars as lines of a CSV file into a state folder's archive."""
    path = state / "bars.csv"
    path.write_text("\n".join(lines) + "\n")
    done = subprocess.run(
        [sys.executable, "-m", "avwapd", "bars", "import", str(path), "--exchange", EXCHANGE, "--timeframe", "1m",
         "--state-dir", str(state), "--tick", "0.01", "--lot", "1", "--asset", "equity", "--calendar", "XNYS"],
        capture_output=True, text=True, env=clean_environment(), cwd=ROOT, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
