"""Whether New York trades today, and whether it does now: for timers, which know no exchange holidays.

Without --ask it tells and leaves with 0. With --ask it answers by its exit code, 0 for yes and 1 for no, as systemd's
ExecCondition= wants it: a no is a line in the journal and no failure.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

EXAMPLE = """\
examples:
  avwapd session
  avwapd session --ask before-open && systemctl restart avwapd
  avwapd session --ask closed --at 2026-11-27T14:00-05:00
"""
ZONE = "America/New_York"
QUESTIONS = {
    "today": "is today a session?",
    "before-open": "is today a session that has yet to open?",
    "before-close": "is today a session that has yet to close?",
    "open": "is the market open?",
    "closed": "is the market closed?",
}
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Today:
    """A moment beside its New York date's session; open_ms and close_ms are 0 where there is none."""

    now_ms: int
    date: int
    open_ms: int
    close_ms: int
    next_open_ms: int

    @property
    def session(self) -> bool:
        return self.close_ms > 0

    def answer(self, question: str) -> bool:
        is_open = self.session and self.open_ms <= self.now_ms < self.close_ms
        return {
            "today": self.session,
            "before-open": self.session and self.now_ms < self.open_ms,
            "before-close": self.session and self.now_ms < self.close_ms,
            "open": is_open,
            "closed": not is_open,
        }[question]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    words = "; ".join(f"{word}: {question}" for word, question in QUESTIONS.items())
    parser.add_argument("--ask", choices=QUESTIONS, help=f"answer by the exit code, 0 yes and 1 no. {words}")
    parser.add_argument("--at", type=moment, metavar="TIME", help="instead of now: a time with its zone, or ts_ms")


def run(args: argparse.Namespace) -> int:
    from avwapd.ports import SystemClock

    today = today_of(SystemClock().now_ms() if args.at is None else args.at)
    yes = today.answer(args.ask) if args.ask else None
    if args.json:
        print(json.dumps(facts(today) | ({} if yes is None else {"asked": args.ask, "answer": yes})))
    elif yes is None:
        print(told(today))
    else:
        print(f"{QUESTIONS[args.ask]} {'yes' if yes else 'no'}: {told(today)}")
    return 1 if yes is False else 0


def today_of(now_ms: int) -> Today:
    """The session of now_ms's date in New York, and the next opening after now."""
    from avwapd.feeds.calendar import BELL, sessions

    date = int(f"{local(now_ms):%Y%m%d}")
    table = sessions(BELL, now_ms - DAY_MS, now_ms + DAY_MS)
    of_date = table[table["date"] == date]
    ahead = table["open_ms"][table["open_ms"] > now_ms]
    opens, closes = (int(of_date[name][0]) if len(of_date) else 0 for name in ("open_ms", "close_ms"))
    return Today(now_ms, date, opens, closes, int(ahead[0]) if len(ahead) else 0)


def told(today: Today) -> str:
    """One line for a person or a journal."""
    day, next_open = local(today.now_ms), f"next opening {local(today.next_open_ms):%a %Y-%m-%d %H:%M}"
    if not today.session:
        return f"no session today ({day:%A} {day:%Y-%m-%d} in New York); {next_open}"
    hours = f"{local(today.open_ms):%H:%M} to {local(today.close_ms):%H:%M}"
    state = "open now" if today.answer("open") else "over" if today.now_ms >= today.close_ms else "ahead"
    return f"session {day:%Y-%m-%d}, {hours} New York, {state}; {next_open}"


def facts(today: Today) -> dict[str, object]:
    return {
        "now_ms": today.now_ms,
        "date": today.date,
        "session": today.session,
        "open_ms": today.open_ms or None,
        "close_ms": today.close_ms or None,
        "open": today.answer("open"),
        "next_open_ms": today.next_open_ms or None,
    }


def local(ts_ms: int) -> datetime:
    return datetime.fromtimestamp(ts_ms / 1000, UTC).astimezone(ZoneInfo(ZONE))


def moment(text: str) -> int:
    """`2026-11-27T14:00-05:00` or milliseconds since 1970."""
    from avwapd.config import moment_ms

    try:
        return int(text) if text.isdigit() else moment_ms(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no time with its zone: {error}") from None
