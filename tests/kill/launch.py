"""`avwapd run`, except that its event loop blocks at a chosen moment of an entry, for as long as a file says.

python -m tests.kill.launch new|sending FILE run --config …

new: the entry is committed and not yet SENDING; sending: it is SENDING, and the call would be next.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from avwapd import cli
from avwapd.actors.router import Router
from avwapd.actors.router_doubt import Waiting


def main() -> int:
    moment, path = sys.argv[1], Path(sys.argv[2])
    call, enqueue = Router._call, Router._enqueue

    def block() -> None:
        if path.exists():
            seconds = float(path.read_text())
            path.rename(path.with_suffix(".blocked"))
            time.sleep(seconds)

    async def blocked_call(self: Router, row: Any, *, doubted: bool = False) -> None:
        if Waiting.of_row(row).opens:
            block()
        await call(self, row, doubted=doubted)

    def blocked_enqueue(self: Router, item: Waiting) -> None:
        if item.opens:
            block()
        enqueue(self, item)

    async def unclaimed(self: Router, step: Any) -> None:
        """Every request stays NEW until the router sends it."""

    if moment == "sending":
        Router._call = blocked_call  # type: ignore[method-assign]
    else:
        Router._enqueue = blocked_enqueue  # type: ignore[method-assign]
        Router.claim = unclaimed  # type: ignore[method-assign]
    return cli.main(sys.argv[3:])


if __name__ == "__main__":
    sys.exit(main())
