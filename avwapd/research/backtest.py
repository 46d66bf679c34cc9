"""A whole history through the engine with the fill model answering: in drained pieces, or collected."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avwapd.core import codes, engine
from avwapd.core.codes import ACT_GATE, BAR_SILENT, BAR_WARMUP
from avwapd.core.machine import DECISIONS, EFFECTS, ERROR, ERROR_SYMBOL, FILLS, TRANSITIONS
from avwapd.core.records import WATCH
from avwapd.feeds.standing import Turn
from avwapd.feeds.world import Setup
from avwapd.research import ResearchError, scripted
from avwapd.research.scripted import Script

ROOM = 65_536  # decisions of one piece: its rows stay in the processor's cache on their way to a file
WARMUP_ROWS = 1_048_576  # flags are set on a copy; a long warm-up is copied and dropped in stretches
ROWLESS = BAR_WARMUP | BAR_SILENT

Rows = NDArray[np.void]


@dataclass(frozen=True)
class Result:
    """What a history led to, in the order in which it happened; world: after the last bar."""

    decisions: Rows
    effects: Rows
    transitions: Rows
    fills: Rows
    world: engine.World


@dataclass(frozen=True)
class Piece:
    """A stretch of whole barriers. The arrays are views that the next piece overwrites."""

    decisions: Rows
    effects: Rows
    transitions: Rows
    fills: Rows
    bars: Rows  # the rows of the market that these decisions are about, one each


def replay(
    setup: Setup, bars: Rows, begin: int, *, script: Script | None = None, lists: Sequence[tuple[int, Rows]] = ()
) -> Result:
    """Run `bars`; rows before `begin` are warm-up. A script puts in what only a run's record knows.

    lists: WATCH rows and the bar before which they take over, in turn; a script brings its own.
    """
    world = setup.fresh()
    if script is not None and not script.empty:
        return Result(*scripted.drive(setup, world, warm_bars(bars, 0, len(bars), begin), script), world)
    parts: list[list[Rows]] = [[], [], [], []]
    for piece in pieces(setup, world, bars, begin, lists=lists):
        for kept, rows in zip(parts, (piece.decisions, piece.effects, piece.transitions, piece.fills), strict=True):
            if len(rows):
                kept.append(rows.copy())
    empty = engine.new_output(0, 0)
    whole = [np.concatenate([none, *kept]) for none, kept in zip(empty[:4], parts, strict=True)]
    return Result(whole[0], whole[1], whole[2], whole[3], world)


def pieces(
    setup: Setup,
    world: engine.World,
    bars: Rows,
    begin: int,
    *,
    buffers: int = 1,
    room: int = ROOM,
    lists: Sequence[tuple[int, Rows]] = (),
) -> Iterator[Piece]:
    """Run `bars` through `world`, piece by piece; a piece is good until `buffers` more have been asked for.

    lists: WATCH rows of the scan, each with the row of `bars` before which it takes over, ascending. The market's
    corporate actions come before the first bar of their session.
    """
    symbols = len(world.states)
    events = max(64 * symbols, room // 4)
    engine.check_capacity(events, symbols)
    outs = [engine.new_output(max(room, symbols), events) for _ in range(buffers + 1)]
    books = engine.new_books(symbols)
    reports = engine.reports_room()
    row_of = np.full(symbols, -1, np.int64)
    turn = 0
    coming = deque(between(setup, bars, lists))
    before = 0  # bars of the stretches that are done
    for stretch, decided in stretches(bars, begin):
        at = 0
        while at < len(stretch):
            out = outs[turn % len(outs)]
            turn += 1
            out.n[:] = 0
            start = at
            stop = at
            while at == stop < len(stretch):
                while coming and coming[0][0] <= before + at:
                    rows = coming.popleft()[1]
                    if isinstance(rows, Turn):
                        engine.act(world, out, rows.symbol, ACT_GATE + rows.gate, rows.closed)
                    elif rows.dtype == WATCH:
                        engine.watch(world, rows)
                    else:
                        first = int(out.n[EFFECTS])
                        engine.restate(world, out, int(rows["ts_ms"][0]), rows)
                        engine.answer(world, out, books, reports, first, False, stretch, row_of)
                stop = min(coming[0][0] - before, len(stretch)) if coming else len(stretch)
                at = engine.run(world, out, books, reports, stretch[:stop], row_of, at)
                refuse_error(out.n, setup, stretch, at)
            yield _piece(setup, out, stretch[start:at] if decided else stretch[:0])
        before += len(stretch)


def between(setup: Setup, bars: Rows, lists: Sequence[tuple[int, Rows]]) -> list[tuple[int, Rows | Turn]]:
    """Lists, gates of a session, corporate actions (ACTION rows of one session) by the bar before which they come.

    Where both come before one bar: on daily bars the list is of that bar's close, so the action is older; else it is
    of the close before.
    """
    actions = [(at, rows) for at, rows in actions_in(setup.market.actions, bars["ts_ms"])]
    turns = [(int(np.searchsorted(bars["ts_ms"], turn.ts_ms, side="right")), turn) for turn in setup.market.turns]
    ordered: list[tuple[int, Rows | Turn]] = [*turns, *actions, *lists]
    if not setup.market.daily:
        ordered = [*lists, *turns, *actions]
    return sorted((item for item in ordered if item[0] < len(bars)), key=lambda item: item[0])


def actions_in(actions: Rows, times: Any) -> Iterator[tuple[int, Rows]]:
    """Each session's actions with the first of `times` (bars, sorted) after its open; none before the first bar."""
    for ts_ms in np.unique(actions["ts_ms"]).tolist():
        at = int(np.searchsorted(times, ts_ms, side="right"))
        if 0 < at < len(times):
            yield at, actions[actions["ts_ms"] == ts_ms]


def _piece(setup: Setup, out: engine.Output, rows: Rows) -> Piece:
    n = out.n
    decisions = out.decisions[: n[DECISIONS]]
    return Piece(
        decisions,
        out.effects[: n[EFFECTS]],
        out.transitions[: n[TRANSITIONS]],
        out.fills[: n[FILLS]],
        deciding(rows, setup) if len(decisions) != len(rows) else rows,
    )


def deciding(bars: Rows, setup: Setup) -> Rows:
    """The bars that have a decision row."""
    tradable = setup.instruments["tradable"][bars["symbol"]] != 0
    rows: Rows = bars[(bars["flags"] & ROWLESS == 0) & tradable]
    return rows


def stretches(bars: Rows, begin: int) -> Iterator[tuple[Rows, bool]]:
    """The bars in turn and whether they are decided: warm-up as flagged copies, then the window as it lies there."""
    at = 0
    while at < begin:
        end = min(at + WARMUP_ROWS, begin)
        if end < begin:
            end = int(np.searchsorted(bars["ts_ms"], bars["ts_ms"][end], side="right"))
        yield warm_bars(bars, at, min(end, begin), begin), False
        at = end
    yield bars[begin:], True


def warm_bars(bars: Rows, first: int, end: int, begin: int) -> Rows:
    """Rows `first` to `end` with those before `begin` flagged as warm-up: a copy where there are any."""
    if first >= begin:
        return bars[first:end]
    copy = np.array(bars[first:end])
    copy["flags"][: begin - first] |= BAR_WARMUP
    return copy


def refuse_error(n: Any, setup: Setup, bars: Rows, at: int) -> None:
    """Raise what the engine noted; it stopped at the barrier that begins with row `at`."""
    code = int(n[ERROR])
    if not code:
        return
    symbol = int(n[ERROR_SYMBOL])
    name = setup.market.symbols[symbol] if 0 <= symbol < len(setup.market.symbols) else "portfolio"
    when = f" at ts_ms {int(bars['ts_ms'][at])}" if at < len(bars) else ""
    raise ResearchError(f"the engine stopped: {codes.ERRORS[code]}", f"{name}{when}", "avwapd bars check")
