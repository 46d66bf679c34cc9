"""The explainer: what a fault's traces cover, and what is planted beside them and must be found."""

from __future__ import annotations

from dataclasses import replace

from avwapd.core.codes import BAR_MISSING
from tests.wire_soak.explain import BAR, LATE, ORDER, PACE, explain
from tests.wire_soak.rows import MINUTE_MS, Decision, Fill, Firing, Move, Run, Trace

OPEN_MS = 1_000 * MINUTE_MS
SYMBOLS = ("ASH", "ELM")


def at(minute: int) -> int:
    return OPEN_MS + minute * MINUTE_MS


def quiet(minutes: int = 60) -> Run:
    """A run in which ASH goes in at 10 and out at 30."""
    bars = {(at(n), name): ((0, 1.0, 1.0, 1.0, 1.0, 9.0),) for n in range(1, minutes) for name in SYMBOLS}
    decisions = {key: Decision(("no_signal",), 0) for key in bars}
    decisions[at(10), "ASH"] = Decision(("entry",), 100)
    fills = [Fill(at(11), "ASH", "entry", "", "buy", 100, 500), Fill(at(30), "ASH", "stop", "stop", "sell", 100, 490)]
    moves = [
        Move(at(10), "ASH", "FLAT", "ENTERING", "ordered", 0),
        Move(at(11), "ASH", "ENTERING", "OPEN", "filled", 100),
        Move(at(30), "ASH", "OPEN", "FLAT", "stopped", 0),
    ]
    heard = {fills[0]: (at(10),), fills[1]: (at(29),)}
    return Run(decisions, moves, fills, bars, heard, (), (OPEN_MS,))


def denied() -> Run:
    """The same, but the entry at 10 was lost on its way."""
    run = quiet()
    moves = [run.moves[0], Move(at(12), "ASH", "ENTERING", "FLAT", "unfilled", 0)]
    trace = Trace(at(12), "ASH", ORDER, "submit EXPIRED after 2 attempts: never arrived", at(10))
    return replace(run, moves=moves, fills=[], heard={}, traces=[trace])


LOST = Firing(at(10) + 500, "lose_request", "submit", "")


def unexplained(clean: Run, faulted: Run, firings: list[Firing]) -> list[str]:
    return [
        f"{each.difference.table} {each.difference.symbol}"
        for each in explain(clean, faulted, firings)
        if not each.fault
    ]


def test_equal_runs_have_no_difference() -> None:
    assert explain(quiet(), quiet(), [LOST]) == []


def test_what_a_fault_left_a_trace_of_is_named() -> None:
    verdicts = explain(quiet(), denied(), [LOST])
    assert len(verdicts) == 5
    assert {each.fault for each in verdicts} == {"lose_request"}
    assert any(each.downstream for each in verdicts)


def test_a_trace_without_a_firing_explains_nothing() -> None:
    assert unexplained(quiet(), denied(), [])
    assert unexplained(quiet(), denied(), [replace_time(LOST, at(-30))]), "too long ago"
    assert unexplained(quiet(), denied(), [Firing(at(10), "nan_bar", "data_stream", "ASH")]), "of another kind"


def test_a_firing_without_a_trace_explains_nothing() -> None:
    assert unexplained(quiet(), replace(denied(), traces=[]), [LOST])


def test_another_symbol_s_fault_explains_nothing() -> None:
    assert unexplained(quiet(), denied(), [Firing(at(10), "stop_held", "book", "ELM")])


def test_a_planted_decision_is_found() -> None:
    """Beside a fault of another symbol, long after a fault of its own, and before it."""
    for minute, name in ((12, "ELM"), (40, "ASH"), (5, "ASH")):
        faulted = denied()
        decisions = dict(faulted.decisions) | {(at(minute), name): Decision(("entry",), 7)}
        assert unexplained(quiet(), replace(faulted, decisions=decisions), [LOST]) == [f"decisions {name}"]


def test_a_planted_fill_and_move_are_found() -> None:
    faulted = denied()
    fill, move = Fill(at(50), "ELM", "entry", "", "buy", 1, 1), Move(at(50), "ELM", "FLAT", "OPEN", "filled", 1)
    planted = replace(faulted, fills=[fill], moves=[*faulted.moves, move])
    assert unexplained(quiet(), planted, [LOST]) == ["fills ELM", "moves ELM"]


def test_another_bar_diverges_its_symbol_until_the_session_ends() -> None:
    """A lost minute moves the line of the whole session; the next one begins alike."""
    clean, bars = quiet(), dict(quiet().bars)
    bars[at(30), "ELM"] = ((2, None, None, None, None, None),)
    decisions = dict(clean.decisions) | {
        (at(30), "ELM"): Decision(("fetch_failed",), 0),
        (at(45), "ELM"): Decision(("another level",), 0),
    }
    faulted = replace(clean, bars=bars, decisions=decisions)
    firing = Firing(at(30), "mute_stream", "data_stream", "")
    assert unexplained(clean, faulted, [firing]) == []
    later = replace(clean, opens=(OPEN_MS, at(40)))
    assert unexplained(later, replace(faulted, opens=later.opens), [firing]) == ["decisions ELM"]
    assert BAR == "bar"


def test_a_word_that_came_late_is_seen_by_comparison_alone() -> None:
    clean = quiet()
    heard = dict(clean.heard) | {clean.fills[0]: (at(12),)}
    decisions = dict(clean.decisions) | {(at(12), "ASH"): Decision(("in_flight",), 0)}
    faulted = replace(clean, heard=heard, decisions=decisions)
    muted = Firing(at(11), "mute_stream", "stream", "")
    (verdict,) = explain(clean, faulted, [muted])
    assert (verdict.fault, verdict.how.startswith(LATE)) == ("mute_stream", True)
    (verdict,) = explain(clean, faulted, [])
    assert verdict.fault == PACE


def test_a_size_follows_the_account_only_after_money_differs() -> None:
    faulted = denied()
    clean = quiet()
    sized = {(at(40), "ELM"): Decision(("entry",), 100)}, {(at(40), "ELM"): Decision(("entry",), 101)}
    one = replace(clean, decisions=dict(clean.decisions) | sized[0])
    other = replace(faulted, decisions=dict(faulted.decisions) | sized[1])
    assert unexplained(one, other, [LOST]) == []
    twice = replace(other, decisions=dict(other.decisions) | {(at(40), "ELM"): Decision(("entry",), 200)})
    assert unexplained(one, twice, [LOST]) == ["decisions ELM"]
    alone = replace(clean, decisions=dict(clean.decisions) | sized[1])
    assert unexplained(one, alone, [LOST]) == ["decisions ELM"]


def replace_time(firing: Firing, ts_ms: int) -> Firing:
    return firing._replace(ts_ms=ts_ms)


def test_a_position_with_another_stop_stays_diverged_over_night() -> None:
    """Entered beside another line: the line is the same again in the next session, the stop is not."""
    clean, bars = quiet(), dict(quiet().bars)
    bars[at(8), "ASH"] = ((0, 1.0, 2.0, 1.0, 2.0, 9.0),)
    held = {(at(n), "ASH"): Decision(("in_position", 480, 520, 540), 100) for n in range(11, 30)}
    other = {key: Decision(("in_position", 479, 521, 541), 100) for key in held}
    exits = [clean.fills[0], clean.fills[1]._replace(price_ticks=489)]
    clean = replace(clean, decisions=dict(clean.decisions) | held, opens=(OPEN_MS, at(12)))
    faulted = replace(clean, decisions=dict(clean.decisions) | other, bars=bars, fills=exits)
    firing = Firing(at(8), "frozen_feed", "data_stream", "ASH")
    assert unexplained(clean, faulted, []) != []
    assert unexplained(clean, faulted, [firing]) == []
    same_stop = replace(faulted, decisions=clean.decisions)
    assert unexplained(clean, same_stop, [firing]) == ["fills ASH", "fills ASH"]


def test_the_sound_side_s_own_haste_is_no_fault() -> None:
    """Its REST did not answer in time, on a machine with too much to do: told apart from every fault."""
    bars = dict(quiet().bars) | {(at(30), "ELM"): ((BAR_MISSING, None, None, None, None, None),)}
    decisions = dict(quiet().decisions) | {(at(30), "ELM"): Decision(("fetch_failed",), 0)}
    clean = replace(quiet(), bars=bars, decisions=decisions)
    (verdict,) = explain(clean, quiet(), [Firing(at(30), "mute_stream", "data_stream", "")])
    assert verdict.fault == PACE


def test_a_stop_that_does_not_work_is_seen_when_it_should() -> None:
    """Long after the fault, as long as the same position is held; not of the next position."""
    clean = quiet()
    fills = [clean.fills[0], Fill(at(31), "ASH", "exit", "stop", "sell", 100, 470)]
    faulted = replace(clean, fills=fills, heard={})
    held = Firing(at(12), "stop_held", "book", "ASH")
    assert unexplained(clean, faulted, [held]) == []
    assert unexplained(clean, faulted, [held._replace(ts_ms=at(5))]) == ["fills ASH", "fills ASH"]
