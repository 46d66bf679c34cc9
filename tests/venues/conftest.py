from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import numpy as np
import pytest

from avwapd.core.records import BAR
from avwapd.venues.faults import FaultPlan
from avwapd.venues.server import ExchangeServer
from tests.venues.kit import exchange
from tests.venues.process import served


@pytest.fixture
async def aimed(tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """A bare HTTP session whose host `venue` is an exchange's server in this process."""
    server = ExchangeServer(exchange(tmp_path), FaultPlan(), np.zeros(0, BAR), 0.0)
    async with (
        served(server, tmp_path) as path,
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as session,
    ):
        yield session
