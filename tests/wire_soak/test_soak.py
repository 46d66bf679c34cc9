"""A market with a fault every few minutes, beside the same market without: every difference names its fault."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest

from tests.wire_soak import market, twins
from tests.wire_soak.evidence import firings, read
from tests.wire_soak.explain import PACE, REMADE_LINE, REMADE_STOP, explain
from tests.wire_soak.rows import LEVEL, MINUTE_MS, STOP, Decision, Difference, Firing, Run, Verdict
from tests.wire_soak.schedule import ONCE, Event, once, schedule
from tests.wire_soak.twins import CLEAN, FAULTED, Side

SEED = 4
DAYS = (4, 29, 47)
SESSION_MS = market.BARS * MINUTE_MS


def hours(bells: Sequence[int]) -> list[tuple[int, int]]:
    return [(open_ms, open_ms + SESSION_MS - 8 * MINUTE_MS) for open_ms in bells]


def judged(
    sides: Sequence[Side], bells: Sequence[int], since_ms: int, last_ms: int
) -> tuple[Run, Run, list[Firing], list[Verdict]]:
    """Of the market from its beginning to its end, both stated before it is played, and both seen by both sides.

    Behind its end a side goes on for as long as the other is waited for.
    """
    clean, faulted = (read(each.trader.state / "avwapd.db", bells, since_ms, last_ms) for each in sides)
    for run in (clean, faulted):
        assert max(ts_ms for ts_ms, _ in run.decisions) == last_ms, "a side ended before the market did"
    log = firings(sides[-1].log)
    return clean, faulted, log, explain(clean, faulted, log)


def told(verdicts: Sequence[Verdict], sides: Sequence[Side], clean: Run) -> str:
    """A summary in lines, and where something is unexplained its first differences."""
    bare = [each for each in verdicts if not each.fault]
    by = Counter(each.fault for each in verdicts if each.fault and each.fault != PACE)
    pace = sum(each.fault == PACE for each in verdicts)
    direct = sum(bool(each.fault) and not each.downstream for each in verdicts)
    fired = sides[-1].fired
    ran = f"{sum(fired.values())} firings of {len(fired)} faults; "
    ran += f"{len(clean.decisions)} decisions and {len(clean.fills)} fills"
    downstream = len(verdicts) - direct - len(bare)
    lines = [
        f"{ran} without faults; {len(verdicts)} differences: {direct} direct, {downstream} downstream,",
        f"of these {pace} by the machine's pace; {len(bare)} unexplained",
        "by fault: " + ", ".join(f"{name} {count}" for name, count in by.most_common()),
        f"resumed {dict(sides[-1].resumed)}, halted at the end {sides[-1].halted()}",
        *(str(each.difference) for each in bare[:20]),
    ]
    return "\n".join(lines)


def finds_planted(clean: Run, faulted: Run, log: list[Firing], count: int) -> float:
    """The share of decisions changed at random that the explainer then cannot explain."""
    dice = random.Random(f"{SEED}/planted")
    before = {each.difference[:3] for each in explain(clean, faulted, log) if not each.fault}
    same = sorted(key for key, row in clean.decisions.items() if faulted.decisions.get(key) == row)
    found = 0
    keys = dice.sample(same, count)
    for some in (keys[at : at + 20] for at in range(0, count, 20)):
        decisions = dict(faulted.decisions)
        for key in some:
            row = decisions[key]
            decisions[key] = Decision((*row.what[:-1], (row.what[-1] or 0) + 1), row.qty)
        after = {
            each.difference[:3] for each in explain(clean, replace(faulted, decisions=decisions), log) if not each.fault
        }
        found += sum((*key, "decisions") in after - before for key in some)
    return found / count


def believed(clean: Run, faulted: Run, log: list[Firing], verdicts: Sequence[Verdict]) -> list[Difference]:
    """Of the rows explained by what a former session's bars make: those that would be so with a tick more, too."""
    found = []
    for each in verdicts:
        key = each.difference[:2]
        for field in (LEVEL, STOP) if each.how in (REMADE_LINE, REMADE_STOP) else ():
            row = faulted.decisions[key]
            what = list(row.what)
            what[field] += 0.01 if field == LEVEL else 1
            other = replace(faulted, decisions=dict(faulted.decisions) | {key: Decision(tuple(what), row.qty)})
            again = {one.difference[:3]: one.how for one in explain(clean, other, log)}
            found += [each.difference] if again[*key, "decisions"] == each.how else []
    return found


def kept(folder: Path, sides: Sequence[Side], events: Sequence[Event]) -> None:
    """Beside the ledgers, for whoever looks at them later."""
    (folder / "log.json").write_text(json.dumps(sides[-1].log))
    (folder / "events.json").write_text(json.dumps(events))
    (folder / "rss.json").write_text(json.dumps({each.name: each.rss for each in sides}))


@pytest.mark.campaign
def test_an_hour_with_a_fault_every_few_minutes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    minutes, speed = 60, 220.0
    bells = market.archive(tmp_path / "bars", 1, SEED)
    first_ms, last_ms = bells[1], bells[1] + minutes * MINUTE_MS
    # From history's last bar: the night behind it is where clocks meet that went on before a market that stood.
    sides = [
        twins.side(name, tmp_path, tmp_path / "bars", speed, bells[0] + SESSION_MS, last_ms, 24_000)
        for name in (CLEAN, FAULTED)
    ]
    events = schedule(first_ms + 6 * MINUTE_MS, last_ms - 6 * MINUTE_MS, SEED, hours=hours(bells[1:]))
    with ExitStack() as stack:
        twins.play(sides, events, stack, limit_s=90, every_min=10)
        kept(tmp_path, sides, events)
        clean, faulted, log, verdicts = judged(sides, bells, first_ms, last_ms)
        summary = told(verdicts, sides, clean)
        assert not [each for each in verdicts if not each.fault], summary
        assert sum(sides[-1].fired.values()) >= 8, summary
        for each in sides:
            twins.books(each)
            twins.proven(each)
        assert finds_planted(clean, faulted, log, 20) > 0.3, "what explains everything explains nothing"
    with capsys.disabled():
        print(f"\n{minutes} market minutes: {summary}")


@pytest.mark.campaign
@pytest.mark.parametrize("seed", DAYS)
def test_a_day_with_a_fault_every_few_minutes(seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """24 hours of open market, in four sessions: differences, books, replay, memory."""
    minutes, speed = 24 * 60, 120.0
    bells = market.archive(tmp_path / "bars", 4, seed)
    first_ms, last_ms = bells[1], bells[4] + (minutes - 3 * market.BARS) * MINUTE_MS
    sides = [
        twins.side(name, tmp_path, tmp_path / "bars", speed, bells[0] + SESSION_MS, last_ms, 12_000)
        for name in (CLEAN, FAULTED)
    ]
    events = schedule(first_ms + 6 * MINUTE_MS, last_ms, seed, hours=hours(bells[1:]))
    late_ms = bells[3] + SESSION_MS - 6 * MINUTE_MS
    events += [once(late_ms, "split"), once(late_ms, "symbol_change"), once(bells[4] + SESSION_MS // 3, "manual_close")]
    events.sort()
    with ExitStack() as stack:
        twins.play(sides, events, stack, limit_s=1_000, every_min=2)
        kept(tmp_path, sides, events)
        clean, faulted, log, verdicts = judged(sides, bells, first_ms, last_ms)
        found = finds_planted(clean, faulted, log, 200)
        weights = [weight(each, first_ms, bells) for each in sides]
        books = [twins.books(each, set(ONCE.values())) for each in sides]
        proofs = [twins.proven(each) for each in sides]
        summary = told(verdicts, sides, clean)
        with capsys.disabled():
            print(f"\n24 market hours, seed {seed}: {summary}\nof 200 decisions changed at random the explainer misses"
                  f" {1 - found:.0%}\nRSS {weights}\nbooks {books}\nverify {proofs}")  # fmt: skip
    bare = [each for each in verdicts if not each.fault]
    assert not bare, summary
    assert not believed(clean, faulted, log, verdicts)
    assert found > 0.5, "what explains everything explains nothing"
    assert len(sides[-1].fired) >= 40
    for early, late in weights:
        assert abs(late / early - 1) <= 0.05, f"RSS {early} KiB in the second hour, {late} in the last"


def weight(each: Side, first_ms: int, bells: Sequence[int]) -> tuple[float, float]:
    """The medians of the second hour and of the last, KiB."""
    opened = [
        (
            sum(max(0, min(ts_ms, open_ms + SESSION_MS) - max(open_ms, first_ms)) for open_ms in bells[1:]) / 3_600_000,
            kib,
        )
        for ts_ms, kib in each.rss
    ]
    last = max(at for at, _ in opened)
    return (
        median(kib for at, kib in opened if 1 <= at <= 2),
        median(kib for at, kib in opened if at >= last - 1),
    )
