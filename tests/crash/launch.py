"""`avwapd run`, except that it may die at a chosen moment, or carry a fault that the tests must find.

    CRASH='{"kill": "sending", "nth": 3}' python -m tests.crash.launch run --once

The kill is SIGKILL to this process: no handler, no `finally`, no flush. Nothing of the daemon knows of it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import wraps
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

from avwapd import cli
from avwapd.actors.router import Router
from avwapd.store import audit, ledger
from avwapd.venues.client import HttpVenue
from avwapd.venues.embedded import EmbeddedVenue
from avwapd.venues.port import VenueDoubt
from tests.crash import plants

VARIABLE = "CRASH"
POINTS = {
    "new": "an order is committed, its row NEW",
    "sending": "its row is SENDING, nothing has left",
    "accepted": "the venue has accepted it, nobody here knows",
    "filled": "a fill was heard and is not booked",
    "asking": "an order in doubt is being looked up",
}
STEPWISE = ("i1_", "i4_", "i8_", "i10_")


@dataclass(frozen=True)
class Crash:
    """kill: a word of POINTS, at the nth time in this life; plant: a function of tests.crash.plants.

    lost: ids of requests that never reach the venue, and never will; audited: a file that gets the first violation
    found after any step, whereupon the process dies.
    """

    kill: str = ""
    nth: int = 1
    plant: str = ""
    lost: tuple[str, ...] = ()
    audited: str = ""

    def environ(self) -> dict[str, str]:
        return {VARIABLE: json.dumps(asdict(self))}


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("not reached")


def main() -> int:
    signal.signal(signal.SIGUSR1, show_tasks)
    wanted = Crash(**json.loads(os.environ.get(VARIABLE, "{}")))
    if wanted.plant:
        getattr(plants, wanted.plant)()
    if wanted.lost:
        lose(frozenset(wanted.lost))
    if wanted.audited:
        audit_each_step(Path(wanted.audited))
    if wanted.kill:
        kill_at(wanted.kill, wanted.nth)
    return cli.main(sys.argv[1:])


def show_tasks(*_: Any) -> None:
    """Where everything waits: asked for before a life that hangs is ended."""
    for task in [thing for thing in gc.get_objects() if isinstance(thing, asyncio.Task) and not thing.done()]:
        task.print_stack()


def kill_at(point: str, nth: int) -> None:
    """Wrap the function at which the moment comes."""
    calls = count(1)

    def due() -> None:
        if next(calls) == nth:
            die()

    if point == "new":
        before(Router, "_send", due)
    elif point == "sending":
        before(HttpVenue, "send", due)
    elif point == "asking":
        before(HttpVenue, "look_up", due)
    elif point == "accepted":
        after(HttpVenue, "send", lambda _: due())
    elif point == "filled":
        after(HttpVenue, "words", lambda words: due() if any(word.kind == "filled" for word in words) else None)
    else:
        raise ValueError(f"{point} is none of {', '.join(POINTS)}")


def before(owner: type, name: str, act: Callable[[], None]) -> None:
    original = getattr(owner, name)

    @wraps(original)
    async def wrapped(*given: Any, **options: Any) -> Any:
        act()
        return await original(*given, **options)

    setattr(owner, name, wrapped)


def after(owner: type, name: str, act: Callable[[Any], None]) -> None:
    original = getattr(owner, name)

    @wraps(original)
    async def wrapped(*given: Any, **options: Any) -> Any:
        result = await original(*given, **options)
        act(result)
        return result

    setattr(owner, name, wrapped)


def lose(cids: frozenset[str]) -> None:
    """These requests never arrive: what a killed sender leaves, without the kill."""
    for owner in (EmbeddedVenue, HttpVenue):
        original = owner.send

        async def send(self: Any, request: Any, original: Any = original) -> None:
            if request.cid in cids:
                raise VenueDoubt("lost on purpose")
            await original(self, request)

        owner.send = send  # type: ignore[method-assign]


def audit_each_step(report: Path) -> None:
    """Hold the stepwise invariants against the rows as each step leaves them, inside its own transaction."""
    checks = {name: query for name, query in audit.CHECKS.items() if name.startswith(STEPWISE)}

    def audited(original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def wrapped(conn: Any, *given: Any, **options: Any) -> Any:
            result = original(conn, *given, **options)
            for name, query in checks.items():
                found = conn.execute(query).fetchone()
                if found:
                    report.write_text(f"{name}: {found}, after {original.__name__} {given} {options}\n")
                    die()
            return result

        return wrapped

    for name in ("record_step", "mark", "mark_sending"):
        setattr(ledger, name, audited(getattr(ledger, name)))


if __name__ == "__main__":
    sys.exit(main())
