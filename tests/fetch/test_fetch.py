"""`bars fetch` against the simulators' wires, through the real clients."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avwapd import cli
from avwapd.ports import ScaledClock, SystemClock
from avwapd.verbs import fetch_work
from avwapd.verbs.fetch_progress import Progress
from avwapd.verbs.fetch_source import AlpacaSource
from avwapd.verbs.fetch_work import Fetched
from tests.fetch import kit
from tests.fetch.kit import DAY, MINUTE, START, Served, archived, expected, fetched, files, pointed

SHARES = kit.market_of(("AAA", "BBB"), days=12)
COINS = kit.market_of(("BTC-USD", "ETH-USD"), days=2)
FROM = ("--timeframe", "1m", "--from", "2024-01-01")


@pytest.fixture
def alpaca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    with Served(kit.played(SHARES, tmp_path / "sim", "alpaca")) as served, pointed(monkeypatch, served, "alpaca"):
        yield served


def test_the_archive_holds_the_venues_bars_bit_for_bit(
    alpaca: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, facts = fetched(capsys, tmp_path / "mine", "alpaca", "--symbols", "AAA,BBB", *FROM)
    assert (code, facts["result"], facts["missing"], facts["refused"]) == (0, "ok", [], [])
    want = expected(SHARES, alpaca.now_ms)
    assert len(want) > 6000
    assert archived(tmp_path / "mine", "alpaca") == want
    assert facts["added"] == len(want)


def test_a_second_fetch_of_the_same_asks_nothing_and_changes_nothing(
    alpaca: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--symbols", "AAA,BBB", *FROM, "--to", "2024-01-11")
    assert fetched(capsys, tmp_path / "mine", "alpaca", *words)[0] == 0
    before, asked = files(tmp_path / "mine"), alpaca.asked("/stocks/bars")
    code, facts = fetched(capsys, tmp_path / "mine", "alpaca", *words)
    assert (code, facts["added"], facts["unchanged"], facts["questions"]) == (0, 0, 0, 0)
    assert (files(tmp_path / "mine"), alpaca.asked("/stocks/bars")) == (before, asked)


def test_only_what_is_lacking_is_asked(alpaca: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine"
    fetched(
        capsys, mine, "alpaca", "--symbols", "AAA", "--timeframe", "1m", "--from", "2024-01-04", "--to", "2024-01-09"
    )
    alpaca.requests.clear()
    code, facts = fetched(capsys, mine, "alpaca", "--symbols", "AAA,BBB", *FROM)
    assert (code, facts["unchanged"]) == (0, 0)
    assert archived(mine, "alpaca") == expected(SHARES, alpaca.now_ms)
    [parquet] = [path for path in files(mine) if "2024-01-05" in path]
    (mine / parquet).unlink()
    alpaca.requests.clear()
    code, facts = fetched(capsys, mine, "alpaca", "--symbols", "AAA,BBB", *FROM)
    assert (code, facts["added"]) == (0, len(expected(SHARES, START + 5 * DAY, START + 4 * DAY + 1)))
    spans = [query["start"][:16] for path, query in alpaca.requests if path.endswith("/stocks/bars")]
    assert spans[0] == "2024-01-04T23:59"  # the minute before the first bar closes
    assert len(spans) == 2  # the day that was gone, and the newest minute once more


def test_pages_are_followed(
    alpaca: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avwapd.demo_venue.alpaca_data.MOST", 1000)
    code, _ = fetched(capsys, tmp_path / "mine", "alpaca", "--symbols", "AAA,BBB", *FROM)
    assert code == 0
    assert sum("page_token" in query for _, query in alpaca.requests) >= 6
    assert archived(tmp_path / "mine", "alpaca") == expected(SHARES, alpaca.now_ms)


def test_pieces_end_with_files_and_make_the_same_archive(
    alpaca: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--symbols", "AAA,BBB", *FROM, "--to", "2024-01-11")
    assert fetched(capsys, tmp_path / "whole", "alpaca", *words)[0] == 0
    monkeypatch.setattr(AlpacaSource, "chunk_bars", 400)
    code, facts = fetched(capsys, tmp_path / "pieces", "alpaca", *words)
    assert (code, facts["pieces"]["done"]) == (0, facts["pieces"]["all"])
    assert facts["pieces"]["all"] > 15
    assert files(tmp_path / "pieces") == files(tmp_path / "whole")


def test_an_unknown_symbol_is_named_and_the_others_come(
    alpaca: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, facts = fetched(capsys, tmp_path / "mine", "alpaca", "--symbols", "AAA,NOPE", *FROM)
    assert (code, facts["unknown"]) == (1, ["NOPE"])
    assert facts["symbols"]["AAA"]["added"] == len([row for row in expected(SHARES, alpaca.now_ms) if row[1] == "AAA"])


def test_options_describe_the_instrument_at_the_first_fetch_only(
    alpaca: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine"
    words = ("--symbols", "AAA", *FROM, "--to", "2024-01-03")
    assert fetched(capsys, mine, "alpaca", *words, "--lot", "0.001", "--min-qty", "0.01")[0] == 0
    [row] = json.loads((mine / "archive" / "instruments.json").read_text())["instruments"]
    assert (row["tick"], row["lot"], row["min_qty"], row["calendar"]) == ("0.01", "0.001", "0.01", "XNYS")
    base = ["bars", "fetch", "--state-dir", str(mine), "--exchange", "alpaca", *words]
    assert cli.main([*base, "--lot", "1"]) == 1
    assert "AAA's lot is 0.001 since its first import, not 1" in capsys.readouterr().err
    assert cli.main(base) == 0


# ------------------------------------------------------------------ trouble


def test_a_bad_bar_is_named_counted_refused_and_asked_again(
    alpaca: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, words = tmp_path / "mine", ("--symbols", "AAA,BBB", *FROM, "--to", "2024-01-05")
    bad = SHARES.bars[500].copy()
    ts_ms, symbol = int(bad["ts_ms"]), SHARES.symbols[int(bad["symbol"])]
    bad["high"], bad["low"] = bad["low"], bad["high"]
    alpaca.sim.market.revised[ts_ms, int(bad["symbol"])] = bad
    code, facts = fetched(capsys, mine, "alpaca", *words)
    assert (code, facts["refused"]) == (1, [{"symbol": symbol, "ts_ms": ts_ms, "reason": "high_below_low"}])
    want = expected(SHARES, START + 5 * DAY)
    assert archived(mine, "alpaca") == [row for row in want if row[:2] != (ts_ms, symbol)]
    code, facts = fetched(capsys, mine, "alpaca", *words)
    assert (code, len(facts["refused"]), facts["unchanged"]) == (1, 1, 0)
    alpaca.sim.market.revised.clear()
    code, facts = fetched(capsys, mine, "alpaca", *words)
    assert (code, facts["added"]) == (0, 1)
    assert archived(mine, "alpaca") == want


def test_a_bar_that_differs_from_the_archives_is_refused(
    alpaca: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, words = tmp_path / "mine", ("--symbols", "AAA", *FROM, "--to", "2024-01-03")
    fetched(capsys, mine, "alpaca", *words)
    before = files(mine)
    for path in (mine / "archive" / "alpaca" / "1m").glob(".*.asked"):
        path.unlink()
    row = SHARES.bars[SHARES.bars["symbol"] == 0][7].copy()
    row["volume"] += 1
    alpaca.sim.market.revised[int(row["ts_ms"]), 0] = row
    code, facts = fetched(capsys, mine, "alpaca", *words)
    assert (code, [bad["reason"] for bad in facts["refused"]]) == (1, ["differs_from_archive"])
    assert files(mine) == before


@pytest.mark.parametrize(
    "fault", ["down_500", "cut_answer", "html_200", "bad_json", "nan_value", "reset", "duplicate_keys"]
)
def test_a_venue_that_fails_at_times_is_asked_again(
    alpaca: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(AlpacaSource, "chunk_bars", 1000)
    alpaca.fault(fault, on="bars", count=3, skip=1)
    code, facts = fetched(capsys, tmp_path / "mine", "alpaca", "--symbols", "AAA,BBB", *FROM)
    assert alpaca.sim.faults.fired[fault] == 3
    assert (code, facts["missing"]) == (0, [])
    assert archived(tmp_path / "mine", "alpaca") == expected(SHARES, alpaca.now_ms)


def test_what_could_not_be_had_is_said_and_had_by_the_next_fetch(
    alpaca: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AlpacaSource, "chunk_bars", 1000)
    words = ("--symbols", "AAA,BBB", *FROM, "--to", "2024-01-11")
    alpaca.fault("down_500", on="bars", skip=2, count=4)  # every attempt at the third piece
    code, facts = fetched(capsys, tmp_path / "mine", "alpaca", *words)
    [gap] = facts["missing"]
    assert (code, gap["symbols"], facts["pieces"]["failed"]) == (1, ["AAA", "BBB"], 1)
    inside = expected(SHARES, gap["last_ms"], gap["first_ms"])
    want = expected(SHARES, START + 11 * DAY)
    assert inside
    assert archived(tmp_path / "mine", "alpaca") == [row for row in want if row not in inside]
    code, facts = fetched(capsys, tmp_path / "mine", "alpaca", *words)
    assert (code, facts["added"], facts["questions"]) == (0, len(inside), 1)
    assert archived(tmp_path / "mine", "alpaca") == want


def test_a_venue_that_is_down_is_not_asked_for_ever(
    alpaca: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AlpacaSource, "chunk_bars", 400)
    alpaca.fault("down_500", on="bars")
    code, facts = fetched(capsys, tmp_path / "mine", "alpaca", "--symbols", "AAA,BBB", *FROM)
    assert (code, facts["added"], facts["pieces"]["failed"]) == (1, 0, 3)
    assert alpaca.asked("/stocks/bars") == 12
    assert [gap["reason"] for gap in facts["missing"]][-1] == "not asked: 3 questions in a row had no answer"
    covered = {day for gap in facts["missing"] for day in range(gap["first_ms"] // DAY, gap["last_ms"] // DAY + 1)}
    assert covered == set(range(facts["first_ms"] // DAY, facts["last_ms"] // DAY + 1))


@pytest.mark.parametrize("stopped_in", ["settle_rows", "settled"])
def test_stopped_before_or_behind_the_bars_nothing_is_lost(
    alpaca: Served,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    stopped_in: str,
) -> None:
    """In a piece's middle: its bars are not in yet, or are and it is not noted that they were asked."""
    monkeypatch.setattr(AlpacaSource, "chunk_bars", 1000)
    mine, words = tmp_path / "mine", ("--symbols", "AAA,BBB", *FROM, "--to", "2024-01-11")
    real, calls = getattr(fetch_work, stopped_in), 0

    def stopping(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return real(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(fetch_work, stopped_in, stopping)
        command = ["bars", "fetch", "--state-dir", str(mine), "--exchange", "alpaca", *words]
        assert cli.main(command) == 130
    assert "the same command goes on" in capsys.readouterr().err
    before = len(archived(mine, "alpaca"))
    code, facts = fetched(capsys, mine, "alpaca", *words)
    want = expected(SHARES, START + 11 * DAY)
    assert (code, facts["added"]) == (0, len(want) - before)
    assert archived(mine, "alpaca") == want
    assert (facts["unchanged"] > 0) == (stopped_in == "settled")


# ---------------------------------------------------------------- exchanges


@pytest.mark.parametrize("wire", ["binance", "kraken"])
def test_coins(wire: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine"
    with Served(kit.played(COINS, tmp_path / "sim", wire)) as served, pointed(monkeypatch, served, wire):
        reach = 0
        code, facts = fetched(capsys, mine, wire, "--symbols", "BTC-USD,ETH-USD", *FROM)
        if wire == "kraken":
            [gap] = facts["missing"]
            reach = gap["last_ms"] + 1
            assert (code, gap["again"], gap["first_ms"]) == (1, False, START + 1)
            assert "gives no older bars" in gap["reason"]
        else:
            assert (code, facts["missing"]) == (0, [])
        want = expected(COINS, served.now_ms, reach)
        assert len(want) > 1400
        assert archived(mine, wire) == want
        rows = json.loads((mine / "archive" / "instruments.json").read_text())["instruments"]
        assert [(row["tick"], row["lot"], row["quote"]) for row in rows] == [("0.01", "0.00001", "USD")] * 2
        since = str(served.now_ms - 600 * MINUTE)
        words = (
            "--symbols",
            "BTC-USD,ETH-USD",
            "--timeframe",
            "1m",
            "--from",
            since,
            "--to",
            str(served.now_ms - 3 * MINUTE),
        )
        code, facts = fetched(capsys, mine, wire, *words)
        assert (code, facts["questions"], facts["added"]) == (0, 0, 0)


# ------------------------------------------------------------------ refusals


def test_nothing_far_is_asked_while_the_network_is_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APCA_API_KEY_ID", "k")
    monkeypatch.setenv("APCA_API_SECRET_KEY", "s")
    for exchange, symbol in (("alpaca", "SPY"), ("binance", "BTC-USDT")):
        words = ["bars", "fetch", "--state-dir", str(tmp_path), "--exchange", exchange, "--symbols", symbol, *FROM]
        assert cli.main(words) == 78
        told = capsys.readouterr().err
        assert "network.allowed is false" in told
        assert "AVWAPD_NETWORK__ALLOWED=true" in told


def test_addresses_of_another_venue_are_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVWAPD_VENUE__NAME", "alpaca")
    monkeypatch.setenv("AVWAPD_VENUE__ADDRESS", "http://127.0.0.1:9")
    words = ["bars", "fetch", "--state-dir", str(tmp_path), "--exchange", "binance", "--symbols", "BTC-USDT", *FROM]
    assert cli.main(words) == 78
    assert "binance's own address" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "name --symbols A,B, or --universe, or set run.symbols"),
        (("--symbols", "A", "--universe"), "--universe names every symbol already"),
        (("--symbols", "A", "--to", "2023-01-01"), "--to lies before --from"),
        (("--symbols", "A", "--exchange", "kraken", "--actions"), "--actions: kraken tells none"),
        (("--symbols", "A", "--exchange", "embedded"), "name --exchange X, or set venue.name"),
    ],
)
def test_what_does_not_go_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert cli.main(["bars", "fetch", "--state-dir", str(tmp_path), "--exchange", "alpaca", *FROM, *words]) == 64
    assert said in capsys.readouterr().err


def test_a_configuration_says_it_all(
    alpaca: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a word, it is what the configured run needs for its warm-up."""
    monkeypatch.setenv("AVWAPD_RUN__SYMBOLS", "BBB,AAA")
    monkeypatch.setenv("AVWAPD_RUN__TIMEFRAME", "1m")
    monkeypatch.setenv("AVWAPD_RUN__WARMUP_SESSIONS", "5")
    capsys.readouterr()
    assert cli.main(["bars", "fetch", "--json", "--state-dir", str(tmp_path / "mine")]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["exchange"], facts["timeframe"], sorted(facts["symbols"])) == ("alpaca", "1m", ["AAA", "BBB"])
    assert facts["first_ms"] == (facts["last_ms"] // DAY - 17) * DAY + 1
    assert archived(tmp_path / "mine", "alpaca") == expected(SHARES, alpaca.now_ms)


def test_without_keys_the_variable_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("APCA_API_KEY_ID", raising=False)
    monkeypatch.setenv("AVWAPD_NETWORK__ALLOWED", "true")
    words = ["bars", "fetch", "--state-dir", str(tmp_path), "--exchange", "alpaca", "--symbols", "SPY", *FROM]
    assert cli.main(words) == 78
    assert "APCA_API_KEY_ID" in capsys.readouterr().err


def test_the_universe_names_the_symbols(alpaca: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine"
    base = ["bars", "fetch", "--state-dir", str(mine), "--exchange", "alpaca", "--universe", *FROM]
    assert cli.main(base) == 1
    assert "avwapd universe refresh" in capsys.readouterr().err
    (mine / "universe").mkdir(parents=True)
    (mine / "universe" / "2024-01-02.csv").write_text(
        "Ticker,Name,Sector,WeightPct,Exchange\nAAA,A,S,1.0,\nBBB,B,S,1.0,\n"
    )
    code, facts = fetched(capsys, mine, "alpaca", "--universe", *FROM)
    assert (code, sorted(facts["symbols"])) == (0, ["AAA", "BBB"])
    assert np.sum([facts["symbols"][name]["added"] for name in ("AAA", "BBB")]) == facts["added"]


# --------------------------------------------------------- corporate actions


def test_splits_and_dividends_come_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, words = tmp_path / "mine", ("--symbols", "AAA,BBB", *FROM, "--to", "2024-01-11", "--actions")
    split = {"symbol": "AAA", "new": 4, "old": 1, "ex_date": "2024-01-09"}
    with Served(kit.played(SHARES, tmp_path / "sim", "alpaca")) as served, pointed(monkeypatch, served, "alpaca"):
        served.sim.splits.append(split)
        code, facts = fetched(capsys, mine, "alpaca", *words)
        assert (code, facts["actions"]["events"], facts["actions"]["added"]) == (0, 1, 1)
        path = mine / "archive" / "alpaca" / "actions.csv"
        assert path.read_text() == "symbol,ex_date,price_ratio,split_ratio\nAAA,2024-01-09,0.25,0.25\n"
        code, facts = fetched(capsys, mine, "alpaca", *words)
        assert (code, facts["actions"]["added"], facts["actions"]["unchanged"]) == (0, 0, 1)
        served.sim.splits[0] = split | {"new": 5}
        code, facts = fetched(capsys, mine, "alpaca", *words)
        assert (code, facts["actions"]["added"]) == (1, 0)
        [refused] = facts["actions"]["refused"]
        assert "AAA 2024-01-09: the venue says price x0.2" in refused
        served.sim.splits.clear()
        code, facts = fetched(capsys, mine, "alpaca", *words)
        assert (code, facts["actions"]["missing"]) == (0, ["AAA 2024-01-09"])
        served.fault("down_500", on="bars")
        code, facts = fetched(capsys, mine, "alpaca", *words)
        assert code == 1
        assert facts["actions"]["unanswered"][0].startswith("2023-12-31 to 2024-01-11: ")
        assert path.read_text().endswith("AAA,2024-01-09,0.25,0.25\n")


# -------------------------------------------------------------- the progress


def test_plain_lines_where_there_is_no_terminal(
    alpaca: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bars", "fetch", "--state-dir", str(tmp_path / "mine"), "--exchange", "alpaca", "--symbols", "AAA", *FROM]
    assert cli.main(words) == 0
    out, err = capsys.readouterr()
    assert "bars added" in out
    assert "\r" not in out + err
    assert "1 of 1 pieces" in err


def test_the_bar_moves_on_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out, done = Terminal(), Fetched("x", "1m", 1, 2, ("A",), chunks=4)
    progress = Progress(ManualClock(), out)
    for _ in range(4):
        done.done += 1
        done.added["A"] += 10
        progress(done)
    progress.end()
    shown = [part for part in out.getvalue().split("\r\033[K") if part]
    assert shown[0].startswith("[######------------------] 1 of 4 pieces, 10 bars, 10 s, about 30 s left")
    assert shown[-1].startswith("[########################] 4 of 4 pieces, 40 bars")
    assert "\n" not in out.getvalue()


class ManualClock(SystemClock):
    """Ten seconds pass with every look."""

    def __init__(self) -> None:
        self.at = 0.0

    def monotonic(self) -> float:
        self.at += 10.0
        return self.at - 10.0


def test_the_budget_slows_the_asking(
    alpaca: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten calls a minute, three of them kept: the eighth question waits for the first to be a minute old."""
    waits: list[float] = []

    async def waited(self: SystemClock, seconds: float) -> None:
        waits.append(seconds)
        raise KeyboardInterrupt

    monkeypatch.setattr(AlpacaSource, "chunk_bars", 400)
    monkeypatch.setattr(ScaledClock, "sleep", waited)
    monkeypatch.setenv("AVWAPD_VENUE__CALLS_MINUTE", "10")
    monkeypatch.setenv("AVWAPD_VENUE__RESERVE_CALLS", "3")
    words = ["bars", "fetch", "--state-dir", str(tmp_path / "mine"), "--exchange", "alpaca", "--symbols", "AAA", *FROM]
    assert cli.main(words) == 130
    assert len(waits) == 1
    assert len(alpaca.requests) == 7
