"""The whole thing as its user has it: a simulated venue's process, a daemon's process, real clients between them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from avwapd.store.ids import is_ours

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "bars"
READY_S = 90.0  # a cold cache compiles first
ROOT = Path(__file__).resolve().parents[2]
US = "AIG,BAC,IBM,SPY"
KEYS = {
    "APCA_API_KEY_ID": "key-of-the-test",
    "APCA_API_SECRET_KEY": "secret-of-the-test",
    "AVWAPD_CCXT_KEY": "key-of-the-test",
    "AVWAPD_CCXT_SECRET": "c2VjcmV0LW9mLXRoZS10ZXN0",
}


# Chosen because their backtest shows entries, stops, R1 trims, R2 and flattening on the recorded day; costs are left to
# the venue, so that the embedded one and the wire's charge alike.
US_SETTINGS = """
[signal]
setup = "breakout_hold"
[gates]
volume_ratio = 0
entries_per_symbol_day = 5
open_delay_min = 10
[stop]
percent_stop_factor = 0.9985
avwap_stop_factor = 0.9985
swing_low_factor = 0.999
atr_stop_multiple = 0.0
[exit]
flatten_before_close = true
[size]
method = "risk_per_trade"
[fills]
commission_usd = 0.0
slippage_bps = 0.0
"""
# A simulated market at hundreds of times its pace: what would be seconds of noise at a real one is minutes of it.
FAST = "skew_limit_ms = 600_000\nsettling_ms = 60_000\ncalls_minute = 100_000\nreserve_calls = 1_000\n"


def clean_environment() -> dict[str, str]:
    """Without settings of whoever runs the tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AVWAPD_", "APCA_"))} | KEYS


class Child:
    """A process whose lines are kept in a file."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.log = log
        with log.open("ab") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment, cwd=ROOT)

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, words: str, *, limit_s: float = READY_S, after: int = 0) -> str:
        """The rest of the first line behind `after` characters that has `words`."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            found = next((line for line in self.text()[after:].splitlines() if words in line), None)
            if found is not None:
                return found
            if self.process.poll() is not None:
                raise AssertionError(f"ended with {self.process.returncode} before {words!r}:\n{self.text()[-4000:]}")
            time.sleep(0.02)
        raise AssertionError(f"no {words!r} within {limit_s} s:\n{self.text()[-4000:]}")

    def end(self, sig: signal.Signals = signal.SIGTERM, *, limit_s: float = 30.0) -> int:
        if self.process.poll() is None:
            self.process.send_signal(sig)
        return self.process.wait(limit_s)


@dataclass
class Venue:
    """The simulator. `archive`: a state folder's archive whose bars of `bars_of` it plays from `first` on."""

    folder: Path
    archive: Path
    bars_of: str
    symbols: str
    first: str
    last: str = ""
    exchange: str = "alpaca"
    speed: float = 600.0
    options: tuple[str, ...] = ()
    port: int = 0
    address: str = ""
    child: Child = field(init=False)

    def start(self) -> Venue:
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "avwapd.demo_venue", "--state-dir", str(self.folder)]
        command += ["--archive", str(self.archive), "--from-exchange", self.bars_of, "--symbols", self.symbols]
        command += ["--from", self.first, "--speed", str(self.speed), "--exchange", self.exchange]
        command += ["--listen", f"127.0.0.1:{self.port}", *(["--to", self.last] if self.last else []), *self.options]
        log = self.folder / "venue.log"
        after = len(log.read_text(errors="replace")) if log.exists() else 0
        self.child = Child(command, log, clean_environment())
        facts = json.loads(self.child.wait_for('"address"', after=after))
        self.address = facts["address"]
        self.port = int(self.address.rpartition(":")[2])
        return self

    def ask(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.address + path, data), timeout=10) as answer:
            return json.loads(answer.read())

    def book(self) -> Any:
        return self.ask("/control/book")

    def go(self, paused: bool = False) -> None:
        self.ask("/control", {"pause": paused})

    def faults(self, **settings: Any) -> Any:
        return self.ask("/control/faults", {"set": settings})

    def wait_over(self, limit_s: float) -> None:
        """Until the market has closed its last bar."""
        end = time.monotonic() + limit_s
        while not self.ask("/control")["over"]:
            if time.monotonic() > end:
                raise AssertionError(f"the market is not over within {limit_s} s: {self.ask('/control')}")
            time.sleep(0.1)


@dataclass
class Trader:
    """A daemon at a venue. `settings`: TOML of the sections behind [venue]."""

    state: Path
    venue: Venue
    settings: str
    timeframe: str = "1m"
    venue_lines: str = ""
    run_lines: str = ""
    mode: str = "paper"
    child: Child = field(init=False)

    @property
    def config(self) -> Path:
        return self.state.parent / f"{self.state.name}.toml"

    def write_config(self) -> None:
        names = ", ".join(f'"{name}"' for name in self.venue.symbols.split(","))
        self.config.write_text(
            f'[run]\nmode = "{self.mode}"\naccount = "wire"\nexchange = "{self.venue.bars_of}"\n'
            f'timeframe = "{self.timeframe}"\nsymbols = [{names}]\n{self.run_lines}\n'
            f'[venue]\nname = "{self.venue.exchange}"\naddress = "{self.venue.address}"\n'
            f"speed = {self.venue.speed:g}\n{self.venue_lines}\n{self.settings}"
        )

    def start(self, *, ready: bool = True) -> Trader:
        self.state.mkdir(parents=True, exist_ok=True)
        self.write_config()
        log = self.state.parent / f"{self.state.name}.log"
        after = len(log.read_text(errors="replace")) if log.exists() else 0
        self.child = Child(self.command("run"), log, clean_environment())
        if ready:
            self.child.wait_for("ready:", after=after)
        return self

    def command(self, *words: str) -> list[str]:
        return [
            sys.executable, "-m", "avwapd", words[0], "--config", str(self.config), "--state-dir", str(self.state),
            *words[1:],
        ]  # fmt: skip

    def verb(self, *words: str, limit_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words),
            capture_output=True,
            text=True,
            env=clean_environment(),
            cwd=ROOT,
            timeout=limit_s,
            check=False,
        )

    def status(self) -> Any:
        return json.loads(self.verb("ctl", "status", "--json").stdout)

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Of the ledger, read only."""
        with closing(sqlite3.connect(f"file:{self.state / 'avwapd.db'}?mode=ro", uri=True)) as conn:
            return conn.execute(sql, values).fetchall()

    def wait_decided(self, ts_ms: int, limit_s: float = 30.0) -> None:
        """Until the newest bar is decided, and its orders are answered."""
        end = time.monotonic() + limit_s
        while True:
            facts = self.status()
            if (facts["feed"]["decided_ms"] or 0) >= ts_ms and not facts["in_doubt"]:
                return
            assert time.monotonic() < end, f"not decided within {limit_s} s: {facts}"
            time.sleep(0.2)

    def cash(self) -> Decimal:
        """What all fills brought less fees, exactly."""
        rows = self.rows(
            "SELECT i.tick, i.lot, f.side, f.price_ticks, f.qty, f.fee_units FROM fills f JOIN instruments i"
            " USING (symbol_id)"
        )
        total = Decimal(0)
        for tick, lot, side, price, qty, fee in rows:
            sign = 1 if side == "buy" else -1
            total -= Decimal(sign * price * qty + fee) * Decimal(tick) * Decimal(lot)
        return total

    def held(self) -> dict[str, Decimal]:
        """Signed quantity by symbol, flat ones left out."""
        rows = self.rows("SELECT i.symbol, i.lot, p.side, p.qty FROM positions p JOIN instruments i USING (symbol_id)")
        return {symbol: Decimal(lot) * (qty if side == "long" else -qty) for symbol, lot, side, qty in rows if qty}

    def exits(self) -> dict[str, int]:
        """How many fills left by which reason."""
        return dict(
            self.rows("SELECT reason, count(*) FROM fills WHERE purpose IN ('stop', 'trim', 'exit') GROUP BY reason")
        )


def books_agree(trader: Trader, venue: Venue, start: Decimal) -> None:
    """Orders, executions, positions and cash of both sides, to the last decimal."""
    book = venue.book()
    lots = dict(trader.rows("SELECT symbol, lot FROM instruments"))
    at_venue = {
        name: Decimal(qty) // Decimal(lots[name]) * Decimal(lots[name]) for name, qty in book["positions"].items()
    }
    assert trader.held() == {name: qty for name, qty in at_venue.items() if qty}  # less than a lot is not counted
    assert abs(trader.cash() - (Decimal(book["cash"]) - start)) < Decimal("0.01")
    made = Counter(order["client_id"] for order in book["orders"])
    assert [cid for cid, count in made.items() if count > 1] == []
    known = {cid for (cid,) in trader.rows("SELECT cid FROM orders")}
    assert {cid for cid in made if is_ours(cid)} <= known


def import_bars(state: Path, exchange: str, files: Mapping[str, Path], timeframe: str, *terms: str) -> None:
    """Recorded bars into a state folder's archive."""
    for symbol, path in files.items():
        done = subprocess.run(
            [sys.executable, "-m", "avwapd", "bars", "import", str(path), "--exchange", exchange, "--symbol", symbol,
             "--timeframe", timeframe, "--state-dir", str(state), *terms],
            capture_output=True, text=True, env=clean_environment(), cwd=ROOT, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode in (0, 2), done.stderr


def us_archive(state: Path) -> None:
    """The recorded minutes of four symbols into a state folder; skips, loudly, where they are not there."""
    files = {name: SHARED / "us" / f"{name}_1m.parquet" for name in US.split(",")}
    need(files.values())
    state.mkdir(parents=True, exist_ok=True)
    import_bars(state, "us", files, "1m", "--tick", "0.01", "--lot", "1")


def need(files: Iterable[Path]) -> None:
    """Skip where recorded bars are missing."""
    missing = [path.name for path in files if not path.exists()]
    if missing:
        pytest.skip(f"the recorded bars are not on this machine: {', '.join(missing)}")


def same_rows(one: Path, other: Path, first_ms: int, last_ms: int) -> dict[str, int]:
    """How many decisions, transitions and fills two ledgers have in a window; asserts that they are the same."""
    window = f"ts_ms BETWEEN {first_ms} AND {last_ms}"
    questions = {
        "decisions": f"SELECT * FROM decisions WHERE {window} ORDER BY ts_ms, symbol_id",
        "transitions": "SELECT ts_ms, symbol_id, before, after, cause, qty FROM transitions"
        f" WHERE {window} ORDER BY ts_ms, symbol_id, seq, n",
        "fills": "SELECT ts_ms, symbol_id, intent, purpose, reason, side, qty, price_ticks, fee_units, held FROM fills"
        f" WHERE {window} ORDER BY ts_ms, symbol_id, seq",
    }
    counts = {}
    for name, question in questions.items():
        rows = []
        for state in (one, other):
            with closing(sqlite3.connect(f"file:{state / 'avwapd.db'}?mode=ro", uri=True)) as conn:
                rows.append(conn.execute(question).fetchall())
        assert rows[0] == rows[1], name
        counts[name] = len(rows[0])
    return counts


def embedded_run(trader: Trader, state: Path, first: str, last: str) -> None:
    """The same bars under the same settings through the embedded venue."""
    shutil.copytree(trader.state / "archive", state / "archive")
    config = state.parent / f"{state.name}.toml"
    text = trader.config.read_text().replace('mode = "paper"', 'mode = "sim"')
    config.write_text(text.replace("[venue]", f'window_from = "{first}"\nwindow_to = "{last}"\n[venue]', 1))
    command = [sys.executable, "-m", "avwapd", "run", "--config", str(config), "--state-dir", str(state)]
    command += ["--replay", "--once", "--speed", "max"]
    done = subprocess.run(
        command, capture_output=True, text=True, env=clean_environment(), cwd=ROOT, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr


def play(venue: Venue, trader: Trader, *, started: bool = False) -> None:
    """Until the market is over, the last bar decided and the last word heard; the daemon ends in order."""
    if not started:
        venue.start()
        trader.start()
    venue.wait_over(3_600)
    trader.wait_decided(venue.ask("/control")["closed_ms"])
    assert trader.child.end() == 0, trader.child.text()[-4000:]


def verified(trader: Trader) -> None:
    """`verify` and `audit` have nothing to say against the run."""
    for verb in ("verify", "audit"):
        done = trader.verb(verb)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
