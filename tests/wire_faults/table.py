"""The table of docs/faults.md: what each row promises, and what a whole campaign saw of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "faults.md"

EXPECTED = {
    23: ("An order is lost on its way", "in doubt; looked up; sent again under the same id: one order"),
    24: ("The venue takes an order, its answer is lost", "in doubt; looked up and found: one order"),
    25: ("The answer is cut, reset, or shorter than promised", "as if it were lost: looked up and found"),
    26: ("504, although the order was taken; then “duplicate”", "a duplicate is no refusal: found, and compared"),
    27: ("429, with and without Retry-After", "nothing is sent before the time is over; stops and exits follow"),
    28: ("500, 502, 503 for half an hour", "the breaker opens, an alert; stops work on at the venue"),
    29: ("An answer byte by byte", "the whole call has one limit"),
    30: ("A page, half a JSON, NaN, 1e400, a key twice, an unknown status", "no answer: looked up; a reading is void"),
    31: ("The key is revoked, the account blocked", "no entry, an alert; no stop or exit counts as refused"),
    32: ("“Order not found”, although it is there", "the symbol waits; no second order"),
    33: ("Positions lag behind the fills", "nothing is done before two readings, some time apart, agree"),
    34: ("A stream is open and mute", "noticed by the bars that are due; made anew; REST fills the gap"),
    35: ("Messages twice, out of order, not at all", "every fill counts once, no bar is lost"),
    36: ("A stream is closed after each log-in", "it comes back ever more slowly, a bounded number of times"),
    37: ("Giant and unreadable frames", "closed and made anew; nothing is lost"),
    38: ("Fills before the answer, after the cancel, after the refusal", "booked; the position is the venue's"),
    39: ("Half a fill, then nothing, or a cancel; a hundred small fills", "sums right; a stop for what is held"),
    40: ("A trade is taken back", "booked back by an explicit row, with an alert"),
    41: ("A cancel or a replacement races a fill; a replacement is refused", "sums right; never more sold than held"),
    42: ("A stop is held, refused, expires, or is gone", "another stop, an exit, or a halt with an alert, soon"),
    43: ("Trading halts, and goes on beyond the stop", "one order to leave, which fills at what is to be had"),
    44: ("Somebody else's order; a sale by hand", "an alert within a minute; the symbol is halted"),
    45: ("A split or a new name overnight", "restated by an explicit row, a new stop; or a halt with an alert"),
    46: ("A bar with NaN, or its high below its low", "refused and counted; REST has the right one"),
    47: ("A bar the stream lost; a minute without trades", "told apart: the one is had by REST, the other is no bar"),
    48: ("A bar comes twice, with other values", "decided once; the other values are kept"),
    49: ("A bar from the future; one that is not over", "refused; never decided on"),
    50: ("A bar comes late; a bar is corrected", "kept beside the decision, which stands"),
    51: ("Every bar repeats the last price", "noticed after five bars; no entry; an alert"),
}  # fmt: skip


@dataclass(frozen=True)
class Result:
    """One row of the catalogue in one case."""

    row: int
    fired: str
    seen: str
    invariants: str
    control: str


HEAD = """\
# Faults of a venue, and what the daemon makes of them

Written by `make campaign` (tests/wire_faults), last with every row passing; the figures are that run's.

Each row: a simulated Alpaca with that fault switched on, a daemon process with the real client beside it, a market of
one-minute bars that trades all the time, at {speed:.0f} times its pace (row 44: at 30). "Fired" is the simulator's own
count. Behind every case the invariants are checked: no order of ours twice at the venue; every order, execution,
position and cent equal on both sides; `avwapd audit` (the invariants over the database) and `avwapd verify` (the same
bars decided again by a backtest). "Control": the same case with a daemon in which one promise is broken on purpose,
which the same checks must find.

Times are the market's; a minute of it took {bar_s:.2f} s here.

| Row | Fault | Fired | Expected | Seen | Invariants | Control: this broken promise is found |
| --- | --- | --- | --- | --- | --- | --- |
"""


def write(results: list[Result], speed: float, path: Path = PAGE) -> None:
    lines = [HEAD.format(speed=speed, bar_s=60 / speed)]
    for one in sorted(results, key=lambda one: (one.row, one.fired)):
        about, expected = EXPECTED[one.row]
        cells = (str(one.row), about, one.fired, expected, one.seen, one.invariants, one.control)
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |\n")
    path.write_text("".join(lines))
