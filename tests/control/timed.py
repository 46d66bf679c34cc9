"""`avwapd run` that notes how long each barrier took from its queue to the moment at which its orders may leave.

TIMED=file python -m tests.control.timed run …
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from avwapd import cli
from avwapd.actors.mail import BarsClosed
from avwapd.actors.symbols import Symbols
from avwapd.daemon import Daemon

VARIABLE = "TIMED"


def main() -> int:
    begun: dict[int, float] = {}
    put, publish = Symbols.put, Daemon._publish
    with Path(os.environ[VARIABLE]).open("a", buffering=1, encoding="ascii") as notes:

        async def timed_put(self: Symbols, mail: Any) -> None:
            if isinstance(mail, BarsClosed):
                begun[int(mail.bars["ts_ms"][0])] = time.perf_counter()
            await put(self, mail)

        def timed_publish(self: Daemon, rows: Any) -> None:
            publish(self, rows)
            if rows.kind == "bars" and (at := begun.pop(rows.ts_ms, None)) is not None:
                notes.write(f"{time.perf_counter()} {time.perf_counter() - at}\n")

        Symbols.put, Daemon._publish = timed_put, timed_publish  # type: ignore[method-assign]
        return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
