"""The queue of what is to be told: real ledgers, a real writer, Apprise itself against a server on this machine."""

from __future__ import annotations

import random
import sqlite3
import time
from functools import partial
from pathlib import Path

import anyio
import pytest

from avwapd.store import notes, notices
from avwapd.store.notices import put
from tests.notify.desk import Desk, desk
from tests.notify.server import human


async def alert(there: Desk, what: str, level: str = "critical", event: str = "alert") -> None:
    await there.writer.submit(partial(notes.alert, ts_ms=there.clock.now_ms(), level=level, what=what, event=event))


async def test_a_notice_and_an_alert_arrive_and_the_alert_is_marked(tmp_path: Path) -> None:
    with human() as person:
        async with desk(tmp_path, human=person) as there:
            there.notices.say("fill", "info", "AAPL buy 10 @ 200", "trade #1")
            await alert(there, "AAPL is held without a stop", event="unprotected")
            await there.until(lambda: len(person.heard) == 2)
            await there.settled()
            assert {(one["title"], one["type"]) for one in person.heard} == {
                ("avwapd demo sim: AAPL buy 10 @ 200", "info"),
                ("avwapd demo sim: AAPL is held without a stop", "failure"),
            }
            assert await there.rows("SELECT delivered FROM alerts") == [(1,)]
            states = await there.rows("SELECT event, state FROM notices ORDER BY event")
            assert states == [("fill", "delivered"), ("unprotected", "delivered")]
            assert there.notices.facts()["channel"] == "working"
            assert there.notices.facts()["untold_alerts"] == 0


async def test_errors_of_the_channel_are_tried_again_and_shown_as_deaf(tmp_path: Path) -> None:
    with human() as person:
        person.mood = "500"
        async with desk(tmp_path, human=person, speed=20) as there:
            await alert(there, "the feed is down")
            await there.until(lambda: there.notices.failures >= 3)
            facts = there.notices.facts()
            assert facts["deaf"] is True
            assert facts["channel"] == "failing"
            assert facts["untold_alerts"] == 1
            assert "500" in facts["error"], facts
            assert await there.rows("SELECT delivered FROM alerts") == [(0,)]
            person.mood = "ok"
            await there.until(lambda: bool(person.heard))
            await there.settled()
            assert there.notices.deaf is False
            assert await there.rows("SELECT delivered FROM alerts") == [(1,)]
            [(attempts, note)] = await there.rows("SELECT attempts, note FROM notices")
            assert attempts >= 3, (attempts, note)


@pytest.mark.parametrize("mood", ["hang", "trickle"])
async def test_a_channel_that_hangs_delays_nobody(tmp_path: Path, mood: str) -> None:
    with human() as person:
        person.mood = mood
        async with desk(tmp_path, human=person, limit_s=0.5) as there:
            await alert(there, "the feed is down")
            await there.until(lambda: person.calls > 0)
            worst = 0.0
            for number in range(200):
                begun = time.perf_counter()
                there.notices.say("fill", "info", f"fill {number}")
                worst = max(worst, time.perf_counter() - begun)
                await there.writer.submit(lambda conn: conn.execute("SELECT 1").fetchone())
            assert worst < 0.05, "saying it waited for the channel"
            await there.until(lambda: there.notices.failures > 0)
            assert there.notices.deaf


async def test_an_outage_of_an_hour_loses_nothing_and_ends_within_a_minute(tmp_path: Path) -> None:
    """RELIABILITY row 64, sixty seconds of it in one: refused, broken and mute in turns."""
    speed, draw = 600.0, random.Random(64)
    with human() as person:
        person.close()  # nobody listens
        async with desk(tmp_path, human=person, speed=speed, limit_s=1.0) as there:
            end_ms = there.clock.now_ms() + 3_600_000
            said = 0
            while there.clock.now_ms() < end_ms:
                said += 1
                level = draw.choice(["info", "warning", "critical"])
                if draw.random() < 0.5:
                    await alert(there, f"alert {said}", level)
                else:
                    there.notices.say("gate", level, f"gate {said}")
                await there.clock.sleep(60)
            assert there.notices.deaf
            assert there.notices.facts()["waiting"] >= said - 1
            assert there.notices.facts()["critical_waiting_s"] > 3000
            person.open()
            back_ms = there.clock.now_ms()
            await there.until(lambda: bool(person.heard))
            assert there.clock.now_ms() - back_ms < 300_000, "the first try after the outage came late"
            await there.settled()
            assert there.notices.deaf is False
            assert await there.rows("SELECT count(*) FROM notices WHERE state IN ('delivered', 'summed')") == [(said,)]
            assert await there.rows("SELECT count(*) FROM alerts WHERE NOT delivered") == [(0,)]
            told = "\n".join(one["title"] + "\n" + one["message"] for one in person.heard)
            assert "critical" in person.heard[0]["type"] or person.heard[0]["type"] == "failure", person.heard[0]
            assert told.count("alert ") + told.count("gate ") >= min(said, 40)


async def test_what_waits_survives_the_process(tmp_path: Path) -> None:
    with human() as person:
        person.mood = "500"
        async with desk(tmp_path, human=person) as there:
            await alert(there, "the feed is down")
            await there.until(lambda: there.notices.failures > 0)
        assert not person.heard
        person.mood = "ok"
        async with desk(tmp_path, human=person) as there:
            await there.until(lambda: bool(person.heard))
            await there.settled()
            assert await there.rows("SELECT delivered FROM alerts") == [(1,)]


async def test_more_than_an_hour_may_carry_becomes_one_message_and_critical_ones_pass(tmp_path: Path) -> None:
    with human() as person:
        async with desk(tmp_path, human=person, speed=60, per_hour=3) as there:
            for number in range(3):
                there.notices.say("fill", "info", f"early {number}")
                await there.until(lambda number=number: len(person.heard) == number + 1)  # type: ignore[misc]
            for number in range(30):
                there.notices.say("fill", "info", f"held back {number}")
            await there.until(lambda: there.notices.facts()["waiting"] == 30)
            assert len(person.heard) == 3
            await alert(there, "the feed is down")
            await there.until(lambda: len(person.heard) == 4)
            assert "the feed is down" in person.heard[3]["title"], "critical goes out past the limit"
            await there.clock.sleep(120)
            assert len(person.heard) == 4, "the hour's limit was not kept"
        async with desk(tmp_path, human=person, speed=60_000, per_hour=3) as there:
            await there.until(lambda: len(person.heard) == 5)
            assert "30 notices" in person.heard[4]["title"]
            await there.settled()
            assert await there.rows("SELECT count(*) FROM notices WHERE state = 'summed'") == [(30,)]


async def test_without_a_channel_alerts_are_given_up_and_the_rest_is_not_even_queued(tmp_path: Path) -> None:
    async with desk(tmp_path) as there:
        there.notices.say("fill", "info", "a fill")
        await alert(there, "the feed is down")
        facts = there.notices.facts()
        assert facts["channel"] == "none"
        assert facts["deaf"] is False
        assert await there.rows("SELECT count(*) FROM notices") == [(1,)]
    async with desk(tmp_path) as there:
        assert await there.rows("SELECT state, note FROM notices") == [("given_up", "no AVWAPD_NOTIFY_URLS")]
        assert await there.rows("SELECT delivered FROM alerts") == [(0,)]


async def test_an_event_that_is_not_wanted_is_not_told(tmp_path: Path) -> None:
    with human() as person:
        async with desk(tmp_path, human=person, events=("halt",)) as there:
            there.notices.say("fill", "info", "a fill")
            await alert(there, "the feed is down")
            await alert(there, "AAPL halted", event="halt")
            await there.settled()
            assert [one["title"] for one in person.heard] == ["avwapd demo sim: AAPL halted"]


async def test_what_is_too_old_is_given_up(tmp_path: Path) -> None:
    with human() as person:
        person.mood = "500"
        async with desk(tmp_path, human=person, speed=3000, give_up_hours=1.0) as there:
            await alert(there, "the feed is down")
            await there.settled()
            [(state, note)] = await there.rows("SELECT state, note FROM notices")
            assert state == "given_up"
            assert "500" in note
            assert there.notices.facts()["untold_alerts"] == 1


async def test_the_last_words_are_delivered_and_a_dead_channel_is_not_waited_for(tmp_path: Path) -> None:
    with human() as person:
        async with desk(tmp_path, human=person) as there:
            there.notices.say("stop", "info", "stopped: SIGTERM")
            await there.notices.finish(5.0)
            assert [one["title"] for one in person.heard] == ["avwapd demo sim: stopped: SIGTERM"]
            person.mood = "500"
            await alert(there, "the feed is down")
            await there.until(lambda: there.notices.failures > 0)
            begun = time.monotonic()
            await there.notices.finish(30.0)
            assert time.monotonic() - begun < 10


async def test_a_channel_that_throws_anything_is_a_channel_that_fails(tmp_path: Path) -> None:
    async def broken(level: str, title: str, body: str) -> None:
        raise ZeroDivisionError("plugin")

    async with desk(tmp_path, deliver=broken) as there:
        await alert(there, "the feed is down")
        await there.until(lambda: there.notices.failures > 0)
        assert there.notices.facts()["error"] == "plugin"


def test_the_same_said_again_while_it_waits_is_one_row(conn: sqlite3.Connection) -> None:
    one = put(conn, 1, "alert", "critical", "the feed is down", "first")
    assert put(conn, 2, "alert", "critical", "the feed is down", "second") == one
    assert put(conn, 3, "halt", "critical", "the feed is down") != one
    [first, second] = notices.due(conn)
    assert (first.times, first.body, second.times) == (2, "second", 1)
    notices.settle(conn, [one], "delivered", 9)
    assert put(conn, 4, "alert", "critical", "the feed is down") != one, "what was told is told anew"


def test_critical_goes_first_then_in_order(conn: sqlite3.Connection) -> None:
    for number, level in enumerate(["info", "critical", "warning", "critical"]):
        put(conn, number, "alert", level, f"{number}")
    assert [each.title for each in notices.due(conn)] == ["1", "3", "0", "2"]


def test_every_alert_has_its_notice_in_the_same_transaction(conn: sqlite3.Connection) -> None:
    """I20: there is no moment in which an alert stands and nobody is to be told."""
    conn.execute("BEGIN")
    notes.alert(conn, ts_ms=1, level="warning", what="venue shut")
    notes.alert(conn, ts_ms=2, level="warning", what="venue shut")
    conn.execute("COMMIT")
    joined = "SELECT a.what, n.event, n.times FROM alerts a JOIN notices n ON n.id = a.notice_id"
    assert conn.execute(joined).fetchall() == [("venue shut", "alert", 2)] * 2


async def test_messages_that_wait_together_are_one_message_with_the_gravest_level(tmp_path: Path) -> None:
    heard: list[tuple[str, str, str]] = []
    called, gate = anyio.Event(), anyio.Event()

    async def slow(level: str, title: str, body: str) -> None:
        called.set()
        await gate.wait()
        heard.append((level, title, body))

    async with desk(tmp_path, deliver=slow, limit_s=15.0) as there:
        there.notices.say("start", "info", "started")
        with anyio.fail_after(10):
            await called.wait()
        for number in range(50):
            await alert(there, f"S{number} halted", event="halt")
        gate.set()
        await there.settled()
    assert len(heard) == 2
    assert heard[1][0] == "critical"
    assert "50 notices" in heard[1][1]
    assert "halt: S0 halted" in heard[1][2]
    assert "and 10 more" in heard[1][2]


def test_nobody_hears_twice_of_a_human_without_need(conn: sqlite3.Connection) -> None:
    for number in range(4):
        put(conn, number, "fill", "info", f"{number}")
    notices.settle(conn, [1, 2], "summed", 100)
    notices.settle(conn, [3], "delivered", 200)
    notices.settle(conn, [1], "given_up", 300)
    assert notices.sent(conn, 0, 1000) == 2, "two messages, three notices"
    assert [each.id for each in notices.due(conn)] == [4]
