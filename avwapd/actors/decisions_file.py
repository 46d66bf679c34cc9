"""The decisions that mattered, as files beside the ledger: one JSON line each, a file a session, and the newest alone.

For whoever would rather read a file than a database. Trading never waits for it: committed inputs are turned into
lines and queued; a thread writes. Where the disk refuses, or the queue overflows, that is counted, and what is missing
is read back from the ledger once the disk takes it. A line carries its input's number, so that after any end of the
process writing goes on behind the last whole line: none twice, none left out.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from anyio.abc import TaskStatus

from avwapd.actors.decision_record import Recorder
from avwapd.ports import Clock
from avwapd.store import StoreError, cycles
from avwapd.store.rows import StepRows

log = logging.getLogger("avwapd.decisions")

ROOM = 1_000  # lines that wait; more are read back from the ledger
AT_ONCE = 500  # inputs of one look into the ledger
BACKLOG = 20_000  # inputs of a ledger whose files are gone: older ones stay in the ledger alone
AGAIN_S = 5.0
TAIL_BYTES = 4_194_304  # longer than any line
Line = dict[str, Any]


class DecisionsFile:
    """folder: of the daily files; latest: the newest line with the portfolio beside it.

    session: the date of market time; portfolio: what is held now; measure: the ledger's path, size, time of change.
    """

    def __init__(
        self,
        folder: Path,
        latest: Path,
        database: Path,
        recorder: Callable[[], Recorder],
        clock: Clock,
        *,
        session: Callable[[int], str],
        portfolio: Callable[[], dict[str, Any]],
        measure: Callable[[], dict[str, Any]],
        room: int = ROOM,
    ) -> None:
        self.written = 0  # lines since the start
        self.failed = 0  # times the disk refused
        self.dropped = 0  # lines that found no room, to be read back
        self.last_seq = 0  # of the newest line
        self.told = 0  # inputs since the start
        self._folder = folder
        self._latest = latest
        self._database = database
        self._recorder = recorder
        self._live = recorder()
        self._clock = clock
        self._session = session
        self._portfolio = portfolio
        self._measure = measure
        self._room = room
        self._lines: deque[Line] = deque()
        self._behind = True
        self._bell = anyio.Event()

    def tell(self, rows: StepRows) -> None:
        """A committed input; returns at once."""
        self.told += 1
        line = self._live.record(rows)
        if line is None:
            return
        if len(self._lines) >= self._room:
            self.dropped += 1
            self._behind = True
            return
        self._lines.append(line)
        self._bell.set()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Write until canceled; then what is queued, as far as the disk takes it."""
        try:
            await self._try(self._resume, self._portfolio())
            task_status.started()
            while True:
                await self._bell.wait()
                self._bell = anyio.Event()
                if not await self._turn():
                    await self._clock.sleep(AGAIN_S)
                    self._bell.set()
        finally:
            with anyio.CancelScope(shield=True):
                await self._turn()

    async def _turn(self) -> bool:
        """Write what there is; whether the disk took it."""
        while self._lines:
            batch = list(self._lines)
            if not await self._try(self._write, batch, self._portfolio()):
                return False
            for _ in batch:
                self._lines.popleft()
        if self._behind:
            return await self._try(self._resume, self._portfolio())
        return True

    async def _try(self, work: Callable[..., None], *given: Any) -> bool:
        try:
            await anyio.to_thread.run_sync(work, *given)
        except (OSError, StoreError, ValueError) as error:
            self.failed += 1
            self._behind = True
            self._lines.clear()
            self._bell.set()
            if self.failed in (1, 10, 100) or self.failed % 1000 == 0:
                log.warning("decisions cannot be written to their file (%d times): %s", self.failed, error)
            return False
        return True

    # ------------------------------------------------------------------------------------------- in the thread

    def _resume(self, portfolio: dict[str, Any]) -> None:
        """Everything material after the newest whole line, from the ledger."""
        self._behind = False  # what finds no room from here on is read the next time
        newest = self._mend()
        recorder = self._recorder()
        if newest is None:
            self.last_seq = max(0, cycles.head(self._database) - BACKLOG)
        else:
            self.last_seq, recorder.market_ms = int(newest["seq"]), int(newest["market_ms"])
        recorder.know(cycles.verdicts(self._database, self.last_seq))
        seq = self.last_seq
        while rows := cycles.since(self._database, seq, AT_ONCE):
            seq = rows[-1].seq
            self._write([line for each in rows if (line := recorder.record(each)) is not None], portfolio)
        if not self.told:
            self._live.know(recorder.verdicts)

    def _mend(self) -> Line | None:
        """The newest line of all files; what a crash left half written behind it is cut off."""
        newest: Line | None = None
        for path in sorted(self._folder.glob("????-??-??.jsonl"))[-2:]:
            line = last_line(path)
            if line is not None and (newest is None or line["seq"] > newest["seq"]):
                newest = line
        return newest

    def _write(self, lines: list[Line], portfolio: dict[str, Any]) -> None:
        fresh = [line for line in lines if line["seq"] > self.last_seq]
        if not fresh:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        database = self._measure()
        for line in fresh:
            line["session"] = self._session(line["market_ms"])
            with (self._folder / f"{line['session']}.jsonl").open("ab") as file:
                file.write(json.dumps(line | {"database": database}, separators=(",", ":")).encode() + b"\n")
            self.last_seq = line["seq"]
            self.written += 1
        beside = self._latest.with_suffix(".tmp")
        beside.write_text(json.dumps(fresh[-1] | {"portfolio": portfolio, "database": database}) + "\n")
        beside.replace(self._latest)

    def facts(self) -> dict[str, Any]:
        """For status."""
        counts = {"written": self.written, "failed": self.failed, "dropped": self.dropped, "waiting": len(self._lines)}
        return {**counts, "last_seq": self.last_seq, "behind": self._behind}


def last_line(path: Path) -> Line | None:
    """The last whole line of a file, None where it has none; bytes behind it are cut off."""
    size = path.stat().st_size
    with path.open("rb+") as file:
        file.seek(max(0, size - TAIL_BYTES))
        tail = file.read()
        end = tail.rfind(b"\n") + 1
        while end > 0:
            begin = tail.rfind(b"\n", 0, end - 1) + 1
            try:
                line = json.loads(tail[begin:end])
            except ValueError:
                end = begin
                continue
            if end < len(tail):
                file.truncate(size - len(tail) + end)
            return dict(line)
        file.truncate(size - len(tail))
    return None
