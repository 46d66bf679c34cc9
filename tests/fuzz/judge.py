"""What may become of a mutated file: taken, or refused with what, where and the next step. Within time and memory."""

from __future__ import annotations

import random
import resource
import signal
from collections import Counter
from collections.abc import Callable
from types import FrameType

SEED = 20_261_121
CASE_S = 5.0  # of one file; the machine may be busy
MEMORY_BYTES = 512 * 2**20  # of address space beyond what is there when the cases begin
WORDS_LETTERS = 20_000
PLANTED = "hunter2-planted"


class Hung(BaseException):
    """A case took longer than it may; no `except Exception` in between swallows it."""


Target = Callable[[random.Random], str]  # one case: "taken" or "refused"; AssertionError, or whatever came out, else


def refused(error: Exception, exit_codes: tuple[int, ...]) -> str:
    """An error that a person can act on, and no more than fits on a screen or three."""
    what, where, next_step = (getattr(error, name) for name in ("what", "where", "next_step"))
    assert all(isinstance(word, str) and word.strip() for word in (what, where, next_step)), (what, where, next_step)
    assert error.exit_code in exit_codes, error.exit_code  # type: ignore[attr-defined]
    for text in (what, where, next_step):
        assert len(text) < WORDS_LETTERS, len(text)
        assert all(letter.isprintable() or letter == "\n" for letter in text), text[:300]
        assert PLANTED not in text
    return "refused"


def limit_memory() -> None:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY_BYTES, resource.RLIM_INFINITY))


def _ring(number: int, frame: FrameType | None) -> None:
    raise Hung(f"over {CASE_S:g} s")


def judged(target: Target, cases: int, seed: int = SEED) -> tuple[Counter[str], list[str]]:
    """Counts of what became of them, and the cases that went wrong, by the seed that repeats each."""
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    before = signal.signal(signal.SIGALRM, _ring)
    try:
        for case in range(cases):
            try:
                signal.setitimer(signal.ITIMER_REAL, CASE_S)
                counts[target(random.Random(f"{seed}/{case}"))] += 1
            except (Exception, Hung) as error:  # noqa: BLE001 - whatever it is, it is what is looked for
                signal.setitimer(signal.ITIMER_REAL, 0)
                wrong.append(f"{seed}/{case}: {type(error).__name__}: {str(error)[:300]}")
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, before)
    return counts, wrong
