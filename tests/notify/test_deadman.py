"""The ping leaves for progress alone, and says once that it fails."""

from __future__ import annotations

import logging

import pytest

from avwapd.actors.deadman import DeadMan
from avwapd.ops.notify import Undelivered, ping
from avwapd.ports import SystemClock
from tests.notify.server import human


async def test_no_progress_no_ping() -> None:
    beats = 1
    with human() as person:
        there = ping(SystemClock(), 5.0, environment={"AVWAPD_PING_URL": f"http://127.0.0.1:{person.port}/p"})
        assert there is not None
        man = DeadMan(SystemClock(), lambda: beats, there.send, every_s=1.0)
        await man.turn()
        await man.turn()
        assert (person.calls, man.facts()) == (1, {"sent": 1, "failures": 0, "withheld": 1})
        beats += 1
        await man.turn()
        assert person.calls == 2


@pytest.mark.parametrize("mood", ["500", "hang", "refused"])
async def test_a_failure_is_told_once_and_the_same_progress_is_tried_again(
    mood: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("avwapd"), "propagate", True)
    with human() as person:
        if mood == "refused":
            person.close()
        else:
            person.mood = mood
        url = f"http://127.0.0.1:{person.port}/secret-path-1234"
        there = ping(SystemClock(), 0.5, environment={"AVWAPD_PING_URL": url})
        assert there is not None
        man = DeadMan(SystemClock(), lambda: 1, there.send, every_s=1.0)
        with caplog.at_level(logging.INFO):
            await man.turn()
            await man.turn()
        assert man.failures == 2
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "secret-path-1234" not in caplog.text
        person.mood = "ok"
        if mood == "refused":
            person.open()
        person.gone.set()
        await man.turn()
        assert (man.sent, man.failures) == (1, 0)


def test_no_address_a_wrong_one_or_no_network_is_no_ping() -> None:
    clock = SystemClock()
    assert ping(clock, 1.0, environment={}) is None
    assert ping(clock, 1.0, environment={"AVWAPD_PING_URL": "ftp://127.0.0.1/x"}) is None
    assert ping(clock, 1.0, allowed=False, environment={"AVWAPD_PING_URL": "https://example.org/x"}) is None
    assert ping(clock, 1.0, allowed=True, environment={"AVWAPD_PING_URL": "https://example.org/x"}) is not None
    assert Undelivered.__doc__
