"""Where bars come from, when markets are open, and which bars are refused.

Nothing here loads pandas or pyarrow: the daemon reads bars from a memory-mapped matrix that a child process
wrote, and its calendars from a packaged table.
"""

from __future__ import annotations

from avwapd.errors import Told


class FeedError(Told):
    """Bars or sessions that cannot be had."""
