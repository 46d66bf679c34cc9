"""Minutes that certainly trade: a saw-tooth round each symbol's level, some teeth reach R1 and R2, some the stop."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.wire.world import ROOT, clean_environment

EXCHANGE = "sawmill"
MINUTE_MS = 60_000
DAY_MS = 86_400_000
WARM_UP_MS = 1_704_205_800_000  # 2024-01-02T14:30:00Z, New York opens; that day is history but for its last bars
OPEN_MS = WARM_UP_MS + DAY_MS  # of the first session that is played from its beginning
BARS = 390  # a session
VOLUME = 200_000

# Percent from the base at each close of a tooth: below the level, across it and held, then a fate of its own.
REST, CROSS = (-0.40,) * 6, (0.22, 0.26)
RISES = (0.30, 0.55, 0.90, 1.30, 1.30, 0.40, -0.40, -0.40)
FALLS = (0.24, 0.22, -0.10, -0.80, -0.80, -0.40, -0.40, -0.40)
STAYS = (0.26, 0.24, 0.27, 0.25) * 12 + (-0.40, -0.40)

# Base, fate, offset in bars. What is offset differently acts in different minutes.
SAWS = {
    "ASH": (50.0, RISES, 0),
    "ELM": (40.0, FALLS, 3),
    "FIR": (60.0, RISES, 6),
    "OAK": (45.0, FALLS, 9),
    "YEW": (55.0, RISES, 11),
    "TEAK": (52.0, STAYS, 2),
    "BAY": (48.0, STAYS, 3),
}
SYMBOLS = ",".join(SAWS)


def closes(symbol: str, count: int) -> list[float]:
    """The first `count` closes of a session."""
    base, fate, offset = SAWS[symbol]
    tooth = REST + CROSS + fate
    percents = [tooth[(at - offset) % len(tooth)] for at in range(count)]
    return [round(base * (1 + percent / 100), 2) for percent in percents]


def rows(symbol: str, count: int, open_ms: int) -> list[str]:
    """CSV lines of one session's first minutes."""
    found, before = [], round(SAWS[symbol][0] * 0.996, 2)
    for at, close in enumerate(closes(symbol, count)):
        high, low = max(before, close) + 0.01, min(before, close) - 0.01
        found.append(f"{open_ms + (at + 1) * MINUTE_MS},{before:.2f},{high:.2f},{low:.2f},{close:.2f},{VOLUME}")
        before = close
    return found


def archive(state: Path) -> None:
    """Sessions that begin as every session does, into a state folder's archive."""
    state.mkdir(parents=True, exist_ok=True)
    lines = ["symbol,ts_ms,open,high,low,close,volume"]
    for symbol in SAWS:
        for day in range(3):
            lines += [f"{symbol},{line}" for line in rows(symbol, BARS, WARM_UP_MS + day * DAY_MS)]
    path = state / "bars.csv"
    path.write_text("\n".join(lines) + "\n")
    done = subprocess.run(
        [sys.executable, "-m", "avwapd", "bars", "import", str(path), "--exchange", EXCHANGE, "--timeframe", "1m",
         "--state-dir", str(state), "--tick", "0.01", "--lot", "1", "--asset", "equity", "--calendar", "XNYS"],
        capture_output=True, text=True, env=clean_environment(), cwd=ROOT, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
