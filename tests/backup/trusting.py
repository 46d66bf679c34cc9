"""`avwapd`, except that it takes any ledger for the newest: what the drill has to find out."""

from __future__ import annotations

import sys
from typing import Any

from avwapd import cli
from avwapd.actors.older import Older
from avwapd.store import mark


async def believed(self: Any, cid: str) -> None:
    """It will be all right."""


def main() -> int:
    mark.behind = lambda marked, reach, *, copy: ""
    Older.stranger = believed  # type: ignore[method-assign]
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
