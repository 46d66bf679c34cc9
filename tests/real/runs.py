"""The recorded markets that the product is shown on, and how to run them: real processes, real files."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from avwapd.store.reader import open_reader

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "bars"
LIMIT_S = 300
BTC_PAIRS = "ADA-BTC,DASH-BTC,ETC-BTC,ETH-BTC,NXT-BTC,TRX-BTC,XMR-BTC"


@dataclass(frozen=True)
class Recorded:
    """One run: whose bars, in which currency, what is set besides the defaults, and the round trips it must show."""

    name: str
    exchange: str
    timeframe: str
    symbols: str
    currency: str
    trips: int
    settings: dict[str, str] = field(default_factory=dict)
    folder: str = ""

    @property
    def files(self) -> dict[str, Path]:
        return {name: DATA / (self.folder or self.exchange) / f"{name}_{self.timeframe}.parquet" for name in self.names}

    @property
    def names(self) -> list[str]:
        return self.symbols.split(",")


# Minute bars of six days know no 14-day ATR, and the volatility proxy's smallest size is below the 1,000 USD minimum:
# (d) and (e) size by risk.
BY_RISK = {"AVWAPD_SIZE__METHOD": "risk_per_trade"}
RUNS = {
    run.name: run
    for run in (
        Recorded("a", "binance", "5m", BTC_PAIRS, "BTC", 30),
        Recorded("b", "binance", "5m", "XRP-ETH", "ETH", 1),
        Recorded("c", "coinbase", "1m", "BTC-USD,LTC-USD", "USD", 1),
        Recorded("d", "us", "1m", "AIG,BAC,IBM,SPY", "USD", 1, BY_RISK),
        Recorded("e", "us", "1m", "GOOG", "USD", 1, BY_RISK),
        Recorded("f", "us", "1h", "AAPL,SPY", "USD", 30),
    )
}


def need(run: Recorded) -> None:
    """Skip, loudly, where the recorded bars are not there."""
    missing = [path.name for path in run.files.values() if not path.exists()]
    if missing:
        pytest.skip(f"recorded bars are not on this machine: {', '.join(missing)}")


class Desk:
    """A state folder with the run's bars imported, and the command line on it."""

    def __init__(self, run: Recorded, state: Path) -> None:
        self.run = run
        self.state = state
        state.mkdir(parents=True, exist_ok=True)
        for name, path in run.files.items():
            self.call("bars", "import", str(path), "--symbol", name, *self.market)

    @property
    def market(self) -> list[str]:
        return ["--exchange", self.run.exchange, "--timeframe", self.run.timeframe]

    def call(self, *words: str, expect: int | None = 0, **settings: str) -> subprocess.CompletedProcess[str]:
        env = {key: value for key, value in os.environ.items() if not key.startswith("AVWAPD_")}
        env |= {"AVWAPD_EQUITY__CURRENCY": self.run.currency, "AVWAPD_LOG__LEVEL": "warning"}
        env |= self.run.settings | settings
        if cache := os.environ.get("AVWAPD_CACHE_DIR"):
            env["AVWAPD_CACHE_DIR"] = cache
        command = [sys.executable, "-m", "avwapd", *words, "--state-dir", str(self.state)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        if expect is not None:
            told = f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
            assert done.returncode == expect, f"{words}: {done.returncode}\n{told}"
        return done

    def replay(self, *words: str, **settings: str) -> None:
        """The whole window at full speed, to its end."""
        symbols = ["--symbols", self.run.symbols, "--speed", "max", "--once"]
        self.call("run", "--replay", *self.market, *symbols, *words, **settings)

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        conn = open_reader(self.state / "avwapd.db")
        try:
            return conn.execute(sql).fetchall()
        finally:
            conn.close()
