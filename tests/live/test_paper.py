"""Against real endpoints, only where the user asks for it: an Alpaca paper account, and public candles of exchanges.

    AVWAPD_LIVE_TESTS=1 APCA_API_KEY_ID=… APCA_API_SECRET_KEY=… pytest tests/live

Nothing here touches real money: the one order is placed at the paper account, far from the market, and canceled.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

ASKED = os.environ.get("AVWAPD_LIVE_TESTS") == "1"
KEYS = all(os.environ.get(name) for name in ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY"))
wants_network = pytest.mark.skipif(not ASKED, reason="real endpoints are asked only with AVWAPD_LIVE_TESTS=1")
wants_account = pytest.mark.skipif(
    not (ASKED and KEYS),
    reason="a real paper account needs AVWAPD_LIVE_TESTS=1, APCA_API_KEY_ID and APCA_API_SECRET_KEY",
)
pytestmark = pytest.mark.network


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("AVWAPD_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("APCA_API_BASE_URL", raising=False)
    monkeypatch.setenv("AVWAPD_NETWORK__ALLOWED", "true")
    return tmp_path / "state"


def told(capsys: pytest.CaptureFixture[str], state: Path, *words: str) -> tuple[int, dict[str, Any]]:
    from avwapd import cli

    code = cli.main([*words, "--json", "--state-dir", str(state)])
    return code, json.loads(capsys.readouterr().out)


@wants_account
def test_alpaca_paper_passes_the_check(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVWAPD_VENUE__NAME", "alpaca")
    code, facts = told(capsys, state, "check", "--mode", "venue", "--symbol", "SPY")
    assert (code, facts["passed"], facts["total"]) == (0, 6, 6), facts["checks"]


@wants_account
@pytest.mark.parametrize("timeframe", ["1m", "1d"])
def test_alpaca_history_comes_and_is_not_asked_twice(
    state: Path, capsys: pytest.CaptureFixture[str], timeframe: str
) -> None:
    words = ("bars", "fetch", "--exchange", "alpaca", "--symbols", "SPY,AAPL", "--timeframe", timeframe)
    window = ("--from", "2024-05-01", "--to", "2024-05-03", "--actions")
    code, facts = told(capsys, state, *words, *window)
    assert (code, facts["missing"], facts["refused"]) == (0, [], [])
    assert facts["added"] >= (6 if timeframe == "1d" else 2000)
    code, facts = told(capsys, state, *words, *window)
    assert (code, facts["added"], facts["questions"]) == (0, 0, 0)


@wants_network
@pytest.mark.parametrize(("exchange", "symbol"), [("binance", "BTC-USDT"), ("kraken", "BTC-USD")])
def test_public_candles(
    state: Path, capsys: pytest.CaptureFixture[str], exchange: str, symbol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from avwapd.ports import SystemClock

    since = str(SystemClock().now_ms() - 3 * 3_600_000)
    words = ("bars", "fetch", "--exchange", exchange, "--symbols", symbol, "--timeframe", "1m", "--from", since)
    code, facts = told(capsys, state, *words)
    assert (code, facts["missing"], facts["refused"]) == (0, [], [])
    assert facts["added"] >= 170
