"""Every row of the fault table: the fault fires, behaviour and invariants hold, and a broken daemon is found."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from avwapd.demo_venue.faults import FAULTS
from tests.wire_faults import (
    cases_book,
    cases_rest,
    cases_sends,
    cases_short,
    cases_streams,
    market,
    plants,
    table,
)
from tests.wire_faults.play import SPEED, Case, Outcome, invariants, play

CASES = (*cases_sends.CASES, *cases_book.CASES, *cases_streams.CASES, *cases_rest.CASES)


@pytest.fixture(scope="session")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive that every case plays."""
    state = tmp_path_factory.mktemp("sawmill")
    market.archive(state)
    return state / "archive"


@pytest.fixture(scope="session")
def results() -> dict[str, list[table.Result]]:
    """By case, those that passed."""
    return {}


def both(case: Case, bars: Path, folder: Path) -> Iterator[tuple[str, Outcome]]:
    """The case with a sound daemon and with each broken one, two at a time; the sound one first."""
    broken = sorted(set(case.plants.values()))
    broken = [",".join(broken)] if case.together else broken
    with ExitStack() as stack, ThreadPoolExecutor(2) as pool:
        runs = {}
        for plant in ("", *broken):
            (folder / (plant or "sound")).mkdir()
            runs[plant] = pool.submit(play, case, bars, folder / (plant or "sound"), stack, plant)
        for plant, run in runs.items():
            yield plant, run.result()


def hold(case: Case, bars: Path, folder: Path) -> list[table.Result]:
    """Every row of the case: AssertionError where it does not hold, or where a control does."""
    seen: dict[int, str] = {}
    found: dict[int, str] = {}
    checked = ""
    fired: dict[int, str] = {}
    for plant, outcome in both(case, bars, folder):
        if not plant:
            assert outcome.ended is None, outcome.said[-3000:]
            seen = {row: expect(outcome) for row, expect in case.expects.items()}
            fired = {row: firings(outcome, row) for row in case.expects}
            checked = invariants(outcome)
            continue
        for row, name in case.plants.items():
            if name in plant.split(","):
                found[row] = control(outcome, row, name)
    assert set(found) == set(seen)
    return [table.Result(row, fired[row], text, checked, found[row]) for row, text in seen.items()]


def firings(outcome: Outcome, row: int) -> str:
    """Which faults of the row fired how often."""
    names = [name for name in outcome.fired if FAULTS[name].row == row] or list(outcome.fired)
    return ", ".join(f"`{name}` {outcome.fired[name]}" for name in names)


def control(outcome: Outcome, row: int, plant: str) -> str:
    """How the broken daemon was found out."""
    about = (getattr(plants, plant).__doc__ or "").rstrip(".")
    if outcome.ended is not None:
        assert not outcome.case.together, outcome.said[-3000:]
        return f"{about}: the daemon ends with {outcome.ended}"
    idle = [name for name in outcome.case.faults if FAULTS[name].row == row and not outcome.fired[name]]
    assert not idle, f"{plant}: {idle} never fired, which proves nothing"
    try:
        outcome.case.expects[row](outcome)
        if not outcome.case.together:
            invariants(outcome)
    except AssertionError as error:
        return f"{about}: {short(str(error))}"
    pytest.fail(f"{outcome.case.name}: row {row} holds though {plant}: {about}")


def short(text: str) -> str:
    """The first line of a failure, without ids."""
    line = text.strip().splitlines()[0] if text.strip() else "an invariant is broken"
    line = re.sub(r"av-[a-z2-7]+", "an order", line)
    line = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "an id", line)
    return line if len(line) <= 110 else line[:107] + "…"


@pytest.mark.parametrize("case", cases_short.CASES, ids=lambda case: case.name)
def test_rows(case: Case, bars: Path, tmp_path: Path) -> None:
    """The rows that cost most where they fail, in short markets."""
    assert len(hold(case, bars, tmp_path)) == len(case.expects)


@pytest.mark.campaign
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_row(case: Case, bars: Path, tmp_path: Path, results: dict[str, list[table.Result]]) -> None:
    results[case.name] = hold(case, bars, tmp_path)


@pytest.mark.campaign
def test_the_table(results: dict[str, list[table.Result]]) -> None:
    """Written where every case passed in this run."""
    missing = [case.name for case in CASES if case.name not in results]
    if missing:
        pytest.skip(f"not every case ran, or not every one passed: {', '.join(missing)}")
    rows = [one for found in results.values() for one in found]
    assert {one.row for one in rows} == set(table.EXPECTED)
    table.write(rows, SPEED)
