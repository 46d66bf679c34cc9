"""`avwapd kill` at exchanges of ccxt and at a simulated exchange of its own process, without a daemon or a ledger."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from avwapd.config import load
from avwapd.ops.kill_desk import desk_of
from avwapd.ports import ScaledClock, SystemClock
from avwapd.remote import credentials
from avwapd.remote.terms import Terms
from avwapd.store.ids import client_id
from avwapd.store.kill_facts import Facts
from avwapd.venues.ccxt_account import Account
from avwapd.venues.port import Request
from tests.wire.world import ROOT, Child, clean_environment

SYMBOL = "BIRCH-USD"
NOTHING = Facts("there is no ledger here", {}, {})


@pytest.fixture(params=["binance", pytest.param("kraken", marks=pytest.mark.campaign)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str, Path]]:
    """(exchange, its address, configuration): a made-up market that runs."""
    log = tmp_path / "venue.log"
    words = [
        "--state-dir",
        str(tmp_path / "venue"),
        "--exchange",
        request.param,
        "--listen",
        "127.0.0.1:0",
        "--fee-bps",
        "0",
    ]
    venue = Child([sys.executable, "-m", "avwapd.demo_venue", *words, "--speed", "600"], log, clean_environment())
    address = json.loads(venue.wait_for('"address"'))["address"]
    (tmp_path / "state").mkdir()
    config = tmp_path / "kill.toml"
    config.write_text(
        f'[run]\nmode = "paper"\nexchange = "demo"\nsymbols = ["{SYMBOL}"]\n'
        f'[venue]\nname = "{request.param}"\naddress = "{address}"\nspeed = 600\n'
    )
    yield request.param, address, config
    venue.end(signal.SIGKILL)


def kill(config: Path, *words: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "avwapd", "kill", "--config", str(config), "--state-dir",
               str(config.parent / "state"), "--json", *words]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, env=clean_environment(), cwd=ROOT, timeout=90, check=False
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)["venue"]


def settings_of(config: Path) -> Any:
    keys = clean_environment()
    return load(config, environ=keys), credentials.load(load(config, environ=keys), keys)


async def stocked(config: Path) -> None:
    """A coin bought at market, a buy far below and a sell far above: all with ids of ours."""
    settings, keys = settings_of(config)
    clock = ScaledClock(SystemClock().now_ms(), 600.0)
    from avwapd.remote.ccxt import Exchange, access_of

    exchange = Exchange(access_of(settings, keys), clock, limit_s=10.0, speed=600.0, window_ms=60_000)
    try:
        markets = await exchange.load()
        clock.set(clock.now_ms() + await exchange.skew_ms())
        await exchange.skew_ms()
        market = markets["BIRCH/USD"]
        tick, lot = (Decimal(market["precision"][name]) for name in ("price", "amount"))
        terms = Terms(SYMBOL, "BIRCH/USD", tick, lot, lot, Decimal(1), "crypto", "USD")
        account = Account(exchange, {SYMBOL: terms}, clock, settling_ms=60_000)
        mark = Decimal(str((await exchange.ask("question", "fetch_ohlcv", "BIRCH/USD", "5m"))[-1][4]))
        for intent, (side, kind, price) in enumerate([(1, "market", 0), (1, "limit", "0.5"), (-1, "limit", "1.5")]):
            cid = client_id("a", "s", SYMBOL, 1, "entry", intent)
            ticks = terms.ticks(mark * Decimal(price)) if price else 0
            lots = terms.lots(Decimal("0.5"))
            await account.create(Request("submit", cid, "", SYMBOL, "entry", side, kind, lots, ticks, 0), kind="exit")
            for _ in range(600):
                totals, _free = await account.balances()
                if totals.get("BIRCH", Decimal(0)) >= Decimal("0.5"):
                    break
                await anyio.sleep(0.05)
    finally:
        await exchange.close()


async def shown(config: Path) -> tuple[list[int], dict[str, Decimal]]:
    """Sides of what rests, and what is held."""
    settings, _ = settings_of(config)
    desk = desk_of(settings, NOTHING, SystemClock())
    try:
        return sorted(order.side for order in await desk.open_orders()), await desk.positions()
    finally:
        await desk.close()


@pytest.mark.campaign
def test_entries_go_exits_stay_then_everything(place: tuple[str, str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    name, _, config = place
    for variable, value in clean_environment().items():
        if variable.startswith(("AVWAPD_", "APCA_")):
            monkeypatch.setenv(variable, value)
    anyio.run(stocked, config)
    assert anyio.run(shown, config) == ([-1, 1], {SYMBOL: Decimal("0.5")})
    words = () if name == "binance" else ("--all",)  # at kraken our ids look like anybody's
    if words:
        code, report = kill(config)
        assert (code, report["strangers"], report["canceled"]) == (0, 2, 0)
    code, report = kill(config, *words)
    assert (code, report["undone"], report["canceled"], report["stay"]) == (0, [], 1, 1)
    assert anyio.run(shown, config)[0] == [-1]
    code, report = kill(config, "--flatten", "--all")
    assert (code, report["undone"]) == (0, [])
    assert [Decimal(sale["filled"]) for sale in report["sold"]] == [Decimal("0.5")]
    sides, held = anyio.run(shown, config)
    assert sides == []
    assert not any(held.values())


@pytest.mark.campaign  # ccxt alone takes seconds to import, in each process
def test_a_sale_asked_for_twice_is_one(place: tuple[str, str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, config = place
    for variable, value in clean_environment().items():
        if variable.startswith(("AVWAPD_", "APCA_")):
            monkeypatch.setenv(variable, value)
    anyio.run(stocked, config)
    assert kill(config, "--all")[0] == 0
    state = config.parent / "state" / "KILL_SWITCH"
    code, report = kill(config, "--flatten", "--all")
    assert code == 0, report
    note = json.loads(state.read_text())
    note["sales"] = [{**sale, "filled": "0"} for sale in note["sales"]]
    state.write_text(json.dumps(note))  # as if the program had died before it saw the fill
    time.sleep(0.1)
    code, report = kill(config, "--flatten", "--all")
    assert (code, report["undone"]) == (0, [])
    assert len(json.loads(state.read_text())["sales"]) == 1
