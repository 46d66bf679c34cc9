"""What a start finds under it: the mark of how far the ledger had come, room on the disk, files that may go."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio

from avwapd.config import Config
from avwapd.ops import ballast
from avwapd.ops.retention import forget_daily
from avwapd.paths import Paths
from avwapd.store import mark
from avwapd.store.mark import Mark


def doors(config: Config, paths: Paths) -> dict[str, Any]:
    """The daemon's doors to them; before the ledger is opened, because a full disk is to be given room first."""

    async def keep_mark(found: Mark) -> None:
        await anyio.to_thread.run_sync(mark.write, paths.mark, found)

    async def forget_files(now_ms: int) -> int:
        days = config.disk.daily_files_days
        return await anyio.to_thread.run_sync(partial(forget_daily, paths.daily_decisions, now_ms=now_ms, days=days))

    room = ballast.prepare(paths.state, ballast_mb=config.disk.ballast_mb, least_mb=config.health.fail_disk_mb)
    return {
        "read_mark": lambda: mark.read(paths.mark),
        "keep_mark": keep_mark,
        "forget_files": forget_files,
        "no_room": room.short,
    }
