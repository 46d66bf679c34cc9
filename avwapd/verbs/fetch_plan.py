"""What to ask of a venue, in which pieces: only what the archive lacks, whole archive files where that is possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from avwapd.config.kinds import TIMEFRAME_MS
from avwapd.store.coverage import Stretch, lacking, spans

CHUNK_BARS = 50_000  # about what one piece holds: a few seconds of asking are lost by a kill
MOST_SYMBOLS = 200  # in one question
OPEN_SHARE = {"XNYS": 0.3, "24/7": 1.0}  # of all bars of a week, those there are: New York with hours before and after


@dataclass(frozen=True, slots=True)
class Chunk:
    """One question: these symbols' bars that close in [first, last]."""

    symbols: tuple[str, ...]
    first_ms: int
    last_ms: int
    bars: int  # about so many


def planned(
    held: Mapping[str, Sequence[Stretch]],
    calendars: Mapping[str, str],
    timeframe: str,
    first_ms: int,
    last_ms: int,
    *,
    chunk_bars: int = CHUNK_BARS,
) -> list[Chunk]:
    """Pieces in the order of time. held, calendars: by symbol; only its symbols are asked."""
    alike: dict[tuple[str, tuple[Stretch, ...]], list[str]] = {}
    for symbol in sorted(held):
        gaps = tuple(lacking(held[symbol], first_ms, last_ms))
        alike.setdefault((calendars[symbol], gaps), []).append(symbol)
    found: list[Chunk] = []
    for (calendar, gaps), symbols in alike.items():
        for first, last in gaps:
            found += _cut(symbols, first, last, timeframe, OPEN_SHARE[calendar], chunk_bars)
    return sorted(found, key=lambda chunk: (chunk.first_ms, chunk.last_ms, chunk.symbols))


def _cut(symbols: Sequence[str], first: int, last: int, timeframe: str, share: float, chunk_bars: int) -> list[Chunk]:
    parts = spans(first, last, timeframe)
    fullest = max(_expected(a, b, timeframe, share) for _, a, b in parts)
    group = max(1, min(MOST_SYMBOLS, int(chunk_bars / fullest)))
    found: list[Chunk] = []
    for at in range(0, len(symbols), group):
        some = tuple(symbols[at : at + group])
        begin, bars = first, 0.0
        for _, a, b in parts:
            more = _expected(a, b, timeframe, share) * len(some)
            if bars and bars + more > chunk_bars:
                found.append(Chunk(some, begin, a - 1, round(bars)))
                begin, bars = a, 0.0
            bars += more
        found.append(Chunk(some, begin, last, round(bars)))
    return found


def _expected(first: int, last: int, timeframe: str, share: float) -> float:
    """Bars of one symbol; at least a little, so that no piece is without end."""
    return max((last - first + 1) / TIMEFRAME_MS[timeframe] * share, 0.5)
