"""The bars as the venue has them at the end: what it withheld is not there, what it corrected is the correction."""

from __future__ import annotations

import csv
import json
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.wire.world import KEYS, Venue
from tests.wire_soak import market
from tests.wire_soak.explain import MINUTE_MS

NEW_NAME = "NEWNAME"  # what the fault symbol_change makes of one symbol
FIELDS = ("o", "h", "l", "c", "v")
HEADERS = {"APCA-API-KEY-ID": KEYS["APCA_API_KEY_ID"], "APCA-API-SECRET-KEY": KEYS["APCA_API_SECRET_KEY"]}


def pages(venue: Venue, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Each page's bars by symbol, by the data endpoint that a customer has."""
    token = ""
    while True:
        asked = urllib.parse.urlencode({**query, **({"page_token": token} if token else {})})
        request = urllib.request.Request(f"{venue.address}/v2/stocks/bars?{asked}", headers=HEADERS)
        with urllib.request.urlopen(request, timeout=20) as answer:
            page = json.loads(answer.read())
        yield page["bars"]
        token = page["next_page_token"] or ""
        if not token:
            return


def of_venue(venue: Venue, played: Path, folder: Path, renamed: Mapping[str, int]) -> Path:
    """A state folder whose archive is the venue's; returns it.

    played: the CSV that the simulator began with; renamed: symbols that the venue has as NEW_NAME since a time: there
    their bars are asked for, and nothing from that moment on is known under the old name.
    """
    with played.open() as file:
        before = list(csv.reader(file))
    spans = [int(row[1]) for row in before[1:]]
    asked_for = ",".join([market.SYMBOLS, *([NEW_NAME] if renamed else [])])
    (old,) = renamed or ("",)
    query = {"symbols": asked_for, "timeframe": "1Min", "limit": "10000",
             "start": stamp(min(spans) - MINUTE_MS), "end": stamp(max(spans))}  # fmt: skip
    lines = [",".join(before[0])]
    for page in pages(venue, query):
        for symbol, bars in page.items():
            for bar in bars:
                ts_ms = round(datetime.fromisoformat(bar["t"]).timestamp() * 1000) + MINUTE_MS
                name = old if symbol == NEW_NAME else symbol
                if name not in renamed or ts_ms < renamed[name]:
                    lines.append(f"{name},{ts_ms}," + ",".join(str(bar[each]) for each in FIELDS))
    folder.mkdir()
    market.import_csv(folder, lines)
    return folder


def stamp(ts_ms: int) -> str:
    return f"{datetime.fromtimestamp(ts_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
