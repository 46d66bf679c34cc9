"""`check --mode venue`: six of six at a healthy venue, each trouble told at its line, nothing left behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from avwapd import cli
from avwapd.store.lock import hold
from avwapd.verbs import check_venue
from tests.fetch import kit
from tests.fetch.kit import Served, pointed

SHARES = kit.market_of(("AAA", "BBB"), days=3)
COINS = kit.market_of(("BTC-USD",), days=2)
NAMES = ["account", "clock", "bars", "order placed", "order seen", "order canceled"]


@pytest.fixture
def alpaca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    options = kit.played(SHARES, tmp_path / "sim", "alpaca", behind=300, paused=False)
    with Served(options) as served, pointed(monkeypatch, served, "alpaca"):
        monkeypatch.setenv("AVWAPD_RUN__SYMBOLS", '["AAA"]')
        for name in ("SEEN_S", "CANCELED_S"):
            monkeypatch.setattr(check_venue, name, 0.8)
        yield served


def checked(capsys: pytest.CaptureFixture[str], state: Path, *words: str) -> tuple[int, dict[str, Any], dict[str, Any]]:
    capsys.readouterr()
    code = cli.main(["check", "--mode", "venue", "--json", "--state-dir", str(state), *words])
    facts = json.loads(capsys.readouterr().out)
    return code, facts, {finding["name"]: finding for finding in facts["checks"]}


def orders(served: Served) -> list[Any]:
    return list(served.sim.desk.all_orders())


def test_six_of_six(alpaca: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, facts, findings = checked(capsys, tmp_path / "mine")
    assert [finding["name"] for finding in facts["checks"]] == NAMES
    assert {finding["verdict"] for finding in facts["checks"]} == {"ok"}
    assert (code, facts["passed"], facts["total"]) == (0, 6, 6)
    [order] = orders(alpaca)
    assert (order.status, order.filled, order.qty, order.side) == ("canceled", 0, 1, 1)
    assert order.client_id.startswith("av-")
    last = float(findings["bars"]["what"].rpartition(" ")[2])
    assert 0.49 * last < float(order.limit) <= 0.5 * last
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize("wire", ["binance", "kraken"])
def test_six_of_six_at_exchanges(
    wire: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = kit.played(COINS, tmp_path / "sim", wire, behind=300, paused=False)
    with Served(options) as served, pointed(monkeypatch, served, wire):
        code, facts, _ = checked(capsys, tmp_path / "mine", "--symbol", "BTC-USD")
        assert (code, facts["passed"], facts["total"]) == (0, 6, 6), facts
        [order] = orders(served)
        assert (order.status, order.filled) == ("canceled", 0)
        assert order.qty * order.limit >= 5  # the market's least notional


def test_for_people(alpaca: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "--mode", "venue", "--state-dir", str(tmp_path / "mine")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[6:21].strip() for line in lines[:-1]] == NAMES
    assert lines[-1] == "6 of 6"


# --------------------------------------------------------------- what fails


@pytest.mark.parametrize(
    ("fault", "on", "failing"),
    [
        ("down_500", "account", NAMES),
        ("html_200", "account", NAMES),
        ("down_500", "clock", NAMES),
        ("down_500", "bars", ["bars", "order placed", "order seen", "order canceled"]),
        ("blocked_403", "submit", ["order placed", "order seen", "order canceled"]),
        ("lose_request", "submit", ["order placed", "order seen", "order canceled"]),
    ],
)
def test_trouble_is_told_at_its_line(
    alpaca: Served,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    on: str,
    failing: list[str],
) -> None:
    monkeypatch.setenv("AVWAPD_ORDER__ANSWER_LIMIT_MS", "700")
    alpaca.fault(fault, on=on)
    code, facts, findings = checked(capsys, tmp_path / "mine")
    assert (code, [name for name in NAMES if findings[name]["verdict"] == "fail"]) == (1, failing)
    assert all(findings[name]["next_step"] for name in failing)
    assert not [order for order in orders(alpaca) if order.status != "canceled"]
    assert facts["passed"] == 6 - len(failing)
    if fault == "blocked_403":
        assert findings["order canceled"]["what"] == "there was none to cancel"


def test_an_order_whose_answer_was_lost_is_seen_and_canceled(
    alpaca: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVWAPD_ORDER__ANSWER_LIMIT_MS", "700")
    alpaca.fault("lose_answer", on="submit")
    code, _, findings = checked(capsys, tmp_path / "mine")
    assert code == 1
    assert [findings[name]["verdict"] for name in NAMES[3:]] == ["fail", "ok", "ok"]
    assert [order.status for order in orders(alpaca)] == ["canceled"]


def test_an_order_that_cannot_be_canceled_says_so(
    alpaca: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_venue, "CLEAN_S", 1.0)
    alpaca.fault("down_500", on="cancel")
    code, _, findings = checked(capsys, tmp_path / "mine")
    assert code == 1
    assert findings["order canceled"]["verdict"] == "fail"


def test_interrupted_in_the_middle_the_order_is_canceled(
    alpaca: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(check_venue, "seen_there", interrupted)
    assert cli.main(["check", "--mode", "venue", "--state-dir", str(tmp_path / "mine")]) == 130
    assert [order.status for order in orders(alpaca)] == ["canceled"]


def test_symbols_and_equity_that_the_account_does_not_have(
    alpaca: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVWAPD_RUN__SYMBOLS", '["AAA", "BBB", "ZZZ"]')
    monkeypatch.setenv("AVWAPD_EQUITY__START__USD", "1e9")
    code, facts, findings = checked(capsys, tmp_path / "mine")
    assert (code, [name for name in NAMES if findings[name]["verdict"] == "fail"]) == (1, ["account", "bars"])
    assert findings["bars"]["what"].endswith("does not know ZZZ")
    assert "less than equity.start.USD = 1e+09" in findings["account"]["what"]
    assert "demo-venue --fresh" in findings["account"]["next_step"]
    assert facts["passed"] == 4


def test_another_speed_than_the_venues(
    alpaca: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVWAPD_VENUE__SPEED", "1")
    monkeypatch.setenv("AVWAPD_VENUE__SKEW_LIMIT_MS", "1")
    _, _, findings = checked(capsys, tmp_path / "mine")
    assert "venue.speed" in findings["clock"]["next_step"]


# ------------------------------------------------------------ what is safe


def test_beside_a_daemon_no_order_is_placed(alpaca: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with hold(tmp_path):
        code, facts, findings = checked(capsys, tmp_path)
    assert (code, facts["passed"], facts["total"], findings["order"]["verdict"]) == (2, 4, 4, "warn")
    assert "a daemon runs" in findings["order"]["what"]
    assert orders(alpaca) == []


def test_live_needs_a_real_address(alpaca: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "--mode", "venue", "--live", "--state-dir", str(tmp_path)]) == 78
    assert "simulated venue" in capsys.readouterr().err
    assert orders(alpaca) == []


def test_the_live_account_is_only_looked_at() -> None:
    from types import SimpleNamespace

    from avwapd.paths import resolve
    from avwapd.verbs.check_desk import why_none

    paths = resolve("nowhere")
    looking, ordering = SimpleNamespace(order=False), SimpleNamespace(order=True)
    assert why_none("live", paths, looking, None) == check_venue.LOOKS_ONLY  # type: ignore[arg-type]
    assert why_none("live", paths, ordering, None) == ""  # type: ignore[arg-type]
    assert why_none("paper", paths, looking, None) == ""  # type: ignore[arg-type]


def test_no_venue_configured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "--mode", "venue", "--state-dir", str(tmp_path)]) == 78
    assert "venue.name is embedded" in capsys.readouterr().err


def test_paper_configuration_does_not_look_at_the_live_account(
    alpaca: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVWAPD_RUN__MODE", "paper")
    monkeypatch.setenv("AVWAPD_RUN__MARKET", "archive")
    assert cli.main(["check", "--mode", "venue", "--live", "--state-dir", str(tmp_path)]) == 78
    assert "run.mode is paper, this would look at the live account" in capsys.readouterr().err
