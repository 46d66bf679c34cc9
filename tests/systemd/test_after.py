"""After a restart: what passes by itself is waited for, what stays fails, and what no waiting mends fails at once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest

from avwapd.ops import after
from avwapd.ops.after import After
from avwapd.ops.host import Done, Host
from avwapd.ops.release import Release

READY_S = 60.0
BEFORE = {"epoch": 4, "halted": [], "check": 0}
WELL = {"ready": True, "epoch": 5, "halted": [], "in_doubt": []}
DIFFERS = WELL | {"reconcile": {"differences": {"A": ["the venue has 3"]}}}


def doubting(*cids: str) -> dict[str, Any]:
    return WELL | {"in_doubt": list(cids)}


@dataclass(frozen=True, slots=True)
class Restarted(Host):
    """A host whose daemon says these things, one after another, the last one for ever; {}: it is silent."""

    says: Iterator[dict[str, Any]] = field(default_factory=lambda: repeat(WELL))
    fallen: list[str] = field(default_factory=list)
    check: int = 0

    def systemctl(self, *words: str, limit_s: float = 0) -> Done:
        state = "failed" if self.fallen else "active"
        return Done(0, f"ActiveState={state}\nNRestarts=0\n" if words[0] == "show" else "", "")

    def runs_from(self, release: Release) -> bool:
        return True

    def as_service(self, command: Sequence[str], limit_s: float) -> Done:
        if "status" not in command:
            return Done(self.check, "", "naked" if self.check else "")
        status = next(self.says)
        if status.get("epoch") == 0:
            self.fallen.append("down")
        return Done(0, json.dumps(status), "")


@pytest.fixture
def passed_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits, none of which takes any time."""
    waits: list[float] = []
    monkeypatch.setattr(after.time, "sleep", waits.append)
    return waits


def restarted(tmp_path: Path, waits: list[float], *says: dict[str, Any], check: int = 0) -> tuple[list[str], list[str]]:
    """What is wrong after a restart, and what was said. says: the daemon's status, look by look; the first is READY."""
    host = Restarted(
        tmp_path, "nobody", "nogroup", *(tmp_path for _ in range(8)), says=chain(says, repeat(says[-1])), check=check
    )
    said: list[str] = []
    looking = After(host, READY_S, 0.5, said.append, lambda: sum(waits))
    problems, health = looking.restarted(Release(tmp_path, "2-new", "2", 4, ""), BEFORE)
    assert health["service"] in ("active", "failed")
    return problems, said


def test_an_order_in_doubt_is_waited_for(tmp_path: Path, passed_s: list[float]) -> None:
    problems, said = restarted(tmp_path, passed_s, doubting("av-1"), doubting("av-1"), doubting("av-1"), WELL)
    assert problems == []
    assert said == ["waiting up to 60 s for this to pass: orders in doubt: av-1"]
    assert sum(passed_s) < 2


def test_an_order_that_stays_in_doubt_fails_the_release(tmp_path: Path, passed_s: list[float]) -> None:
    problems, _ = restarted(tmp_path, passed_s, WELL, doubting("av-1"))
    assert problems == ["orders in doubt: av-1"]
    assert READY_S <= sum(passed_s) < READY_S + 2


def test_of_several_the_one_that_stays_fails_it(tmp_path: Path, passed_s: list[float]) -> None:
    problems, said = restarted(tmp_path, passed_s, WELL, doubting("av-1", "av-2"), doubting("av-2", "av-3"))
    assert problems == ["orders in doubt: av-2"]
    assert said[-1].endswith("in doubt: av-2")


def test_orders_that_trading_brings_into_doubt_one_by_one_are_no_failure(tmp_path: Path, passed_s: list[float]) -> None:
    problems, _ = restarted(tmp_path, passed_s, doubting("av-1"), doubting("av-1"), doubting("av-2"), doubting("av-3"))
    assert problems == []


def test_a_difference_is_waited_for(tmp_path: Path, passed_s: list[float]) -> None:
    assert restarted(tmp_path, passed_s, DIFFERS, DIFFERS, DIFFERS, WELL)[0] == []


def test_a_difference_that_stays_fails_the_release(tmp_path: Path, passed_s: list[float]) -> None:
    problems, said = restarted(tmp_path, passed_s, DIFFERS)
    assert problems == ["ledger and venue differ: {'A': ['the venue has 3']}"]
    assert len(said) == 1
    assert READY_S <= sum(passed_s) < READY_S + 2


def test_silence_is_borne_for_moments_only(tmp_path: Path, passed_s: list[float]) -> None:
    assert restarted(tmp_path, passed_s, WELL, {}, doubting("av-1"), {}, WELL)[0] == []
    problems, _ = restarted(tmp_path, passed_s, WELL, {})
    assert problems == ["it answers no more on its control socket"]


@pytest.mark.parametrize(
    ("later", "problem"),
    [
        (WELL | {"halted": ["A"]}, "halted since: A"),
        (WELL | {"epoch": 6}, "epoch 6 after 4"),
        (WELL | {"epoch": 0}, "it did not stay up"),
    ],
)
def test_what_no_waiting_mends_fails_at_once(
    later: dict[str, Any], problem: str, tmp_path: Path, passed_s: list[float]
) -> None:
    """Also in the midst of waiting, and with what was waited for."""
    stuck = later | {"in_doubt": ["av-1"]}
    problems, _ = restarted(tmp_path, passed_s, WELL, doubting("av-1"), doubting("av-1"), stuck)
    assert any(each.startswith(problem) for each in problems)
    assert "orders in doubt: av-1" in problems
    assert sum(passed_s) < 2


def test_ill_health_fails_it_once_nothing_is_left_to_wait_for(tmp_path: Path, passed_s: list[float]) -> None:
    problems, _ = restarted(tmp_path, passed_s, WELL, doubting("av-1"), WELL, check=1)
    assert problems == ["avwapd check --mode health: naked"]
