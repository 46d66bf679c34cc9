"""3,000 symbols' minute bars, sent within one second: when the daemon has decided them all, and what the minute costs.

A simulated Alpaca, the real stream, the real pace; decided is what the ledger has committed.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import numpy as np

from avwapd.demo_venue.server import Simulator
from avwapd.feeds.demo import generate
from avwapd.venues.book import warm
from bench.measure import Line
from bench.wire import SETTINGS, Stopwatch, child, into_archive, venue

PARTS = 10  # frames a second's bars come in
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass
class Minute:
    """late_s: from the last frame to the commit; cpu_s: of the daemon, from one bar to the next."""

    late_s: float
    cpu_s: float


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def decided(ledger: Path, ts_ms: int) -> int:
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as conn:
        return int(conn.execute("SELECT count(*) FROM decisions WHERE ts_ms = ?", (ts_ms,)).fetchone()[0])


def spread(made: Simulator) -> None:
    """A bar's rows leave in parts over a second, as a data stream has them."""
    listeners = list(made.sim.published.on_bars)

    def parts(ts_ms: int, rows: Any, kind: str) -> None:
        async def send() -> None:
            for part in np.array_split(rows, PARTS):
                for listen in listeners:
                    listen(ts_ms, part, kind)
                await anyio.sleep(1.0 / PARTS)
            made.last_frame = time.perf_counter()  # type: ignore[attr-defined]

        made.sending.start_soon(send)  # type: ignore[attr-defined]

    made.sim.published.on_bars[:] = [parts]


async def one(made: Simulator, ledger: Path, pid: int, symbols: int) -> Minute:
    """Close a bar, wait for its decisions, and for the end of its minute."""
    begun, cpu = time.perf_counter(), cpu_s(pid)
    made.last_frame = 0.0  # type: ignore[attr-defined]
    made.sim.market.half(2)
    ts_ms = made.sim.market.closed_ms
    seen = 0.0
    while time.perf_counter() - begun < 20.0 and not seen:
        await anyio.sleep(0.01)
        if made.last_frame and await anyio.to_thread.run_sync(decided, ledger, ts_ms) >= symbols:  # type: ignore[attr-defined]
            seen = time.perf_counter()
    if not seen:
        raise RuntimeError(f"not all of {symbols} were decided")
    late_s = seen - made.last_frame  # type: ignore[attr-defined]
    await anyio.sleep(max(0.0, 60.0 - (time.perf_counter() - begun)))
    return Minute(late_s, cpu_s(pid) - cpu)


async def measured(folder: Path, symbols: int, minutes: int) -> list[Minute]:
    market = generate([f"S{i:04}" for i in range(symbols)], 2, "1m", 9)
    days = np.unique(market.bars["ts_ms"] // 86_400_000)
    first_ms = int(days[1]) * 86_400_000
    into_archive(market, folder / "state" / "archive")
    async with anyio.create_task_group() as group, venue(market, folder / "venue", Stopwatch(), first_ms) as opened:
        made, address = opened
        made.sending = group  # type: ignore[attr-defined]
        spread(made)
        config = folder / "bench.toml"
        config.write_text(SETTINGS.format(address=address).replace("speed = 60.0", "speed = 1.0"))
        command = [sys.executable, "-m", "avwapd", "run", "--config", str(config), "--state-dir", str(folder / "state")]
        async with child(command, "books were compared", folder / "daemon.log") as process:
            await anyio.sleep(5.0)
            found = [await one(made, folder / "state" / "avwapd.db", process.pid, symbols) for _ in range(minutes)]
    return found


def run(quick: bool) -> list[Line]:
    warm()
    symbols, minutes = (300, 2) if quick else (3_000, 4)
    with tempfile.TemporaryDirectory() as name:
        found = anyio.run(measured, Path(name), symbols, minutes)[1:]
    worst = max(minute.late_s for minute in found) * 1e3
    share = max(minute.cpu_s for minute in found) / 60
    return [
        Line(f"{symbols:,} minute bars within a second: decided after the last", f"{worst:.0f} ms", limit="≤ 250 ms"),
        Line(f"{symbols:,} minute bars: processor over the minute", f"{share:.1%} of a core", limit="≤ 25%"),
    ]
