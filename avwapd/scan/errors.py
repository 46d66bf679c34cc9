"""Why a scan gives no result."""

from __future__ import annotations

from avwapd.errors import Told


class ScanError(Told):
    """The bars do not allow a scan of this day; exit code 1."""
