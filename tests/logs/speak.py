"""Lines of every kind through the program's own logging, for a journal beside it: run by test_journal."""

from __future__ import annotations

import logging

from avwapd.config import load
from avwapd.ops import logs

LONG = "long " * 80_000


def main() -> None:
    lines = logs.begin(load(None, options={"log.format": "journal", "run.mode": "sim"}), as_json_lines=False)
    lines.base["RUN"] = "run-7"
    log = logging.getLogger("avwapd")
    log.info("a fill", extra={"fields": {"EVENT": "fill", "SYMBOL": "AAPL", "ORDER_ID": "av-1", "TS_MS": 17}})
    log.info("another", extra={"fields": {"EVENT": "fill", "SYMBOL": "MSFT", "lower": "x", "_TRUSTED": "y"}})
    log.warning("two\nlines", extra={"fields": {"EVENT": "alert", "SYMBOL": "AAPL", "NOTE": "a\nb"}})
    log.error("%s", LONG, extra={"fields": {"EVENT": "long"}})
    try:
        raise ValueError("the reason")
    except ValueError:
        log.exception("failed")
    lines.close()
    assert lines.lost == {"rate": 0, "room": 0, "sink": 0}, lines.lost


if __name__ == "__main__":
    main()
