"""The daily scan as a user runs it: `avwapd scan` from the archive to its files, a process of its own, beside pandas.

The derived bars are there and the kernels are compiled, as on any morning but the first. Growth is measured inside
one process and by what a further symbol costs, so that no fixed part (start, calendar, the file's 200 rows) flatters
it: seconds a symbol from 4,000 to 10,000 over those from 1,000 to 4,000. Linear within a fifth means at most 1.2;
work that grew with the square would show 2.8.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from avwapd.config import load
from avwapd.feeds.calendar import BELL, all_sessions
from avwapd.paths import Paths
from avwapd.verbs.scan_work import Asked, contents, scanned
from bench.daily_market import LAST, LONG
from bench.measure import Line, medians, milliseconds

ROOT = Path(__file__).parents[1]
PEER = Path(__file__).with_name("pandas_scan.py")
WINDOW = 500  # sessions
LIMIT_S = 600
# Between this process and the one that is measured: after a fork a child's peak begins with its parent's.
RUNNER = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
seconds = time.perf_counter() - start
if done.returncode:
    sys.exit(done.stderr)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""


class Cost(NamedTuple):
    """Of a whole process: wall seconds, processor seconds, peak of resident memory in MiB."""

    seconds: float
    processor: float
    memory: float


def process(folder: Path, *words: object) -> Cost:
    """Run `python WORDS…` in a folder to its end."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    kept = {k: v for k, v in os.environ.items() if not k.startswith("AVWAPD_") or k == "AVWAPD_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, sys.executable, *map(str, words)],
        cwd=folder,
        env=kept | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=LIMIT_S,
    )
    return Cost(*json.loads(done.stdout))


def made(folder: Path, symbols: int, sessions: int) -> Path:
    """A state folder with a generated market, its bars derived."""
    state = folder / f"{symbols}-{sessions}"
    state.mkdir()
    process(folder, "-m", "bench.daily_market", symbols, sessions, state)
    process(state, *avwapd(state, "scan"))
    return state


def avwapd(state: Path, *words: object) -> tuple[object, ...]:
    return ("-m", "avwapd", "--state-dir", state, *words)


def side_by_side(state: Path, turns: int) -> tuple[list[Cost], list[Cost]]:
    """Scan and pandas script in turns."""
    ours, theirs = [], []
    for _ in range(turns):
        ours.append(process(state, *avwapd(state, "scan")))
        theirs.append(process(state, PEER, state / LONG, state / "peer.csv"))
    return ours, theirs


def history_seconds(state: Path, sessions: int) -> float:
    """`avwapd backtest --mode historical_scan` over the last sessions, the whole process."""
    dates = all_sessions(BELL)["date"]
    last = int(np.searchsorted(dates, int(LAST.replace("-", ""))))
    first = f"{dates[last - sessions + 1]}"
    start = f"{first[:4]}-{first[4:6]}-{first[6:]}"
    words = avwapd(state, "backtest", "--mode", "historical_scan", "--start", start, "--out", state / "history")
    return process(state, *words).seconds


def growth(folders: dict[int, Path], turns: int) -> dict[int, float]:
    """Symbols -> seconds from the archive to the files' bytes, inside this process."""
    config = load(folder=Path("/nonexistent"), environ={})

    def whole(state: Path) -> None:
        contents(scanned(config, Paths(state, state / "none"), Asked()), config)

    found = medians({str(n): lambda state=state: whole(state) for n, state in folders.items()}, turns)  # type: ignore[misc]
    return {int(name): seconds for name, seconds in found.items()}


def run(quick: bool) -> list[Line]:
    symbols, sessions, walked, turns = (300, WINDOW, 25, 3) if quick else (3000, WINDOW, 250, 7)
    sizes = (100, 400, 1000) if quick else (1000, 4000, 10_000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours, theirs = side_by_side(made(folder, symbols, sessions), turns)
        walk = history_seconds(made(folder, symbols, sessions + walked), walked)
        took = growth({n: made(folder, n, sessions) for n in sizes}, turns)
    seconds, processor, memory = (statistics.median(column) for column in zip(*ours, strict=True))
    peer = statistics.median(cost.seconds for cost in theirs)
    few, more, many = sizes
    early, late = (took[more] - took[few]) / (more - few), (took[many] - took[more]) / (many - more)
    name = f"scan of {symbols:,} × {sessions}, a process"
    return [
        Line(name, f"{seconds:.2f} s", f"{processor:.2f} s of processor", "", "≤ 1.0 s, quiet machine"),
        Line(name, f"{seconds:.2f} s", f"pandas, 8 AVWAPs {peer:.2f} s", f"{peer / seconds:.1f} ×", "≥ 2 ×"),
        Line(
            name,
            f"{memory:.0f} MiB",
            f"pandas {statistics.median(cost.memory for cost in theirs):.0f} MiB",
            "",
            "≤ 350 MiB",
        ),
        Line(f"historical_scan of {walked} × {symbols:,}, a process", f"{walk:.1f} s", "", "", "≤ 40 s"),
        Line(
            f"a further symbol, {more:,} to {many:,}",
            f"{late * 1e6:.1f} µs",
            f"{few:,} to {more:,} {early * 1e6:.1f} µs; {many:,} in {milliseconds(took[many])}",
            f"{late / early:.2f} ×",
            "≤ 1.2 ×",
        ),
    ]
