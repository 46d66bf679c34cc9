"""`avwapd session`: what a timer asks before it does anything."""

from __future__ import annotations

import json

import pytest

from avwapd import cli

QUESTIONS = ("today", "before-open", "before-close", "open", "closed")
# (moment, whose answers are yes)
MOMENTS = [
    ("2026-11-20T08:30-05:00", {"today", "before-open", "before-close", "closed"}),
    ("2026-11-20T09:29:59-05:00", {"today", "before-open", "before-close", "closed"}),
    ("2026-11-20T09:30-05:00", {"today", "before-close", "open"}),
    ("2026-11-20T16:00-05:00", {"today", "closed"}),
    ("2026-11-21T11:00-05:00", {"closed"}),  # a Saturday
    ("2026-11-26T11:00-05:00", {"closed"}),  # Thanksgiving
    ("2026-11-27T12:59-05:00", {"today", "before-close", "open"}),  # a half day
    ("2026-11-27T13:00-05:00", {"today", "closed"}),
    ("2026-03-06T13:30Z", {"today", "before-open", "before-close", "closed"}),  # before summer time: 08:30
    ("2026-03-09T13:29Z", {"today", "before-open", "before-close", "closed"}),  # after it: 09:29
    ("2026-03-09T13:30Z", {"today", "before-close", "open"}),
    ("2026-11-02T14:29Z", {"today", "before-open", "before-close", "closed"}),  # and back again
    ("2026-11-20T23:30-05:00", {"today", "closed"}),  # the next day in UTC
]


@pytest.mark.parametrize(("at", "yes"), MOMENTS)
def test_answers_by_exit_code(at: str, yes: set[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert {word for word in QUESTIONS if cli.main(["session", "--ask", word, "--at", at]) == 0} == yes
    assert len(capsys.readouterr().out.splitlines()) == len(QUESTIONS)


def test_tells_in_words_and_facts(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["session", "--at", "2026-11-26T08:30-05:00"]) == 0
    assert capsys.readouterr().out == (
        "no session today (Thursday 2026-11-26 in New York); next opening Fri 2026-11-27 09:30\n"
    )
    assert cli.main(["session", "--json", "--at", "2026-11-27T12:00-05:00"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["date"], facts["session"], facts["open"]) == (20261127, True, True)
    assert facts["close_ms"] - facts["open_ms"] == 3.5 * 3_600_000


def test_nonsense_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["session", "--at", "tomorrow"]) == 64
    assert cli.main(["session", "--ask", "maybe"]) == 64
    assert "no time with its zone" in capsys.readouterr().err
