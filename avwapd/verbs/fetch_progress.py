"""How far a download is: one moving line on a terminal, else a plain line now and then."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from avwapd.ports import Clock
from avwapd.verbs.fetch_work import Fetched
from avwapd.verbs.tables import moment

WIDTH = 24
PLAIN_EVERY_S = 5.0
REDRAW_EVERY_S = 0.1


class Progress:
    """Writes to `out`; call it after every piece, and `end` once."""

    def __init__(self, clock: Clock, out: TextIO | None = None) -> None:
        self._clock = clock
        self._out = out or sys.stderr
        self._terminal = self._out.isatty() and os.environ.get("TERM") != "dumb"
        self._begun = clock.monotonic()
        self._shown = float("-inf")

    def __call__(self, done: Fetched) -> None:
        last = done.done + done.failed >= done.chunks
        self.line(line_of(done, self._clock.monotonic() - self._begun), at_once=last)

    def line(self, line: str, *, at_once: bool = False) -> None:
        """Show it, unless the last one is too fresh."""
        now = self._clock.monotonic()
        if now - self._shown < (REDRAW_EVERY_S if self._terminal else PLAIN_EVERY_S) and not at_once:
            return
        self._shown = now
        if self._terminal:
            self._out.write(f"\r\033[K{line}")
        else:
            self._out.write(f"{line}\n")
        self._out.flush()

    def end(self) -> None:
        """What follows begins on a line of its own."""
        if self._terminal:
            self._out.write("\r\033[K")
            self._out.flush()


def line_of(done: Fetched, elapsed_s: float) -> str:
    """As in `[#####-----] 12 of 24 pieces, 49,140 bars, 38 s, about 38 s left`."""
    tried = done.done + done.failed
    share = tried / done.chunks if done.chunks else 1.0
    bar = "#" * round(share * WIDTH)
    left = elapsed_s / share - elapsed_s if share else 0.0
    rest = f", about {shown_s(left)} left" if 0 < share < 1 else ""
    bars = done.added.total() + done.unchanged.total()
    lost = f", {done.failed} not had" if done.failed else ""
    return f"[{bar:-<{WIDTH}}] {tried} of {done.chunks} pieces{lost}, {bars:,} bars, {shown_s(elapsed_s)}{rest}"


def shown_s(seconds: float) -> str:
    """A duration as people say it."""
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    return f"{round(whole / 60)} min" if whole < 5400 else f"{whole / 3600:.1f} h"


def stretch_words(first_ms: int, last_ms: int) -> str:
    """Closes from … to …, without the milliseconds since 1970."""
    return f"{moment(first_ms).split()[0]} to {moment(last_ms).split()[0]}"
