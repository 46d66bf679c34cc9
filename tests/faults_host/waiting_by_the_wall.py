"""`avwapd run` in which every wait is counted by the wall's clock: what a clock that is set back would then do."""

from __future__ import annotations

import sys
import time

from avwapd import cli, ports


def monotonic(self: ports.SystemClock) -> float:
    return time.time()


if __name__ == "__main__":
    ports.SystemClock.monotonic = monotonic  # type: ignore[method-assign]
    sys.exit(cli.main(sys.argv[1:]))
