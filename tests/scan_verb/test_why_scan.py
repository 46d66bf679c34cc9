"""`avwapd why SYMBOL DATE --scan`: the candidate's row, or where it fell."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from avwapd.core.daily import FELL_WORDS
from avwapd.store.universe import Member, save
from avwapd.verbs.why_scan import WORDS, words_of
from tests.scan_verb.market import BAD, CHEAP, RISING, THIN, YOUNG, Run, members


def why(run: Run, symbol: str, *words: object, day: str = "2024-05-02") -> str:
    code, out, err = run("why", symbol, day, "--scan", *words)
    assert (code, err) == (0, "")
    return str(out)


def scanned(run: Run) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Candidates and fallen of the newest scan's files."""
    code, out, _ = run("scan", "--json")
    assert code == 0
    folder = Path(json.loads(out)["out"])
    names = ("daily_candidates.csv", "scan_fallen.csv")
    first, second = (list(csv.DictReader(io.StringIO((folder / name).read_text()))) for name in names)
    return first, second


@pytest.mark.parametrize(
    ("symbol", "words"),
    [
        (CHEAP, "step 1 (price): the close of 2.47 is under 3"),
        (THIN, "step 1 (volume): a mean volume of 2,252.65 shares a day is under 400,000"),
        (BAD, "step 1 (bad_ticker): it is on the list of bad tickers"),
        ("RB", "step 3 (earnings): calendar days to its earnings: 1, up to 2 keep it out"),
        (YOUNG, "step 4 (min_bars): 40 daily bars are fewer than 80"),
        ("NOBODY", "step 1: it is not in the universe of 2024-04-01"),
    ],
)
def test_where_it_fell(run: Run, symbol: str, words: str) -> None:
    assert f"fell out  {words}\n" in why(run, symbol)


def test_every_symbol_is_told_as_the_files_have_it(run: Run) -> None:
    candidates, fallen = scanned(run)
    for place, row in enumerate(candidates, start=1):
        text = why(run, row["Symbol"])
        assert f"tier {row['TrendTier']}, place {place} of {len(candidates)}, marked for execution" in text
        assert f"entry level {float(row['Entry_Level']):.2f}  stop loss {float(row['Stop_Loss']):.2f}" in text
        assert f"{row['Anchor']} of {row['Anchor_Date']}" in text
        assert "fell out" not in text
    for row in fallen:
        text = why(run, row["symbol"])
        assert f"fell out  step {row['step']} ({row['reason']}): " in text
        assert "candidate" not in text


def test_json_has_the_row_or_the_fall(run: Run) -> None:
    candidates, _ = scanned(run)
    found = json.loads(why(run, candidates[0]["Symbol"], "--json"))
    (row,) = found["rows"]
    assert (row["place"], row["entry_level"]) == (1, float(candidates[0]["Entry_Level"]))
    assert found["fell"] == []
    found = json.loads(why(run, CHEAP, "--json"))
    assert (found["rows"], found["fell"]) == ([], [{"step": 1, "reason": "price", "value": 2.47, "limit": 3.0}])


def test_a_day_without_bars_is_the_session_before_it(run: Run) -> None:
    assert "close of 2024-04-26 (2024-04-28 has no bars: the session before it)" in why(run, "RA", day="2024-04-28")


def test_rules_alone_know_no_liquidity(run: Run) -> None:
    text = why(run, THIN, "--rules-only")
    assert "by rules alone" in text
    assert "step 1" not in text


def test_where_no_whole_scan_can_be_done_the_rules_alone_answer_and_say_so(run: Run, state: Path) -> None:
    save(state / "universe", 20240402, [*members(), *(Member(f"ZZ{n}", "", "", 0.0) for n in range(10))])
    code, out, err = run("why", THIN, "2024-05-02", "--scan")
    assert code == 0
    assert "by rules alone" in out
    assert "no whole scan of that day (10 of 37 symbols have no bar" in err
    for path in (state / "universe").iterdir():
        path.unlink()
    code, out, err = run("why", "RA", "2024-05-02", "--scan")
    assert (code, "candidate" in out) == (0, True)
    assert "there is no snapshot of the universe" in err
    (state / "universe/2024-04-02.csv").write_text("half")
    code, _, err = run("why", "RA", "2024-05-02", "--scan")
    assert code == 1
    assert "2024-04-02.csv" in err


def test_a_time_is_no_date(run: Run) -> None:
    code, _, err = run("why", "RA", "1714656900000", "--scan")
    assert code == 64
    assert "TS is a date like 2012-03-09" in err


def test_every_reason_has_words() -> None:
    assert set(WORDS) == set(FELL_WORDS) - {""}
    fallen: dict[str, Any] = {"step": 7, "reason": "distance", "value": 8.5, "limit": None}
    assert words_of(fallen).endswith("the close lies 8.5% away, unknown% is the most")
    for reason in RISING[:1]:
        assert "value 1, limit 2" in words_of({"step": 0, "reason": reason, "value": 1.0, "limit": 2.0})
