"""The whole daemon with a channel: what it tells, what the ping shows, and that neither is ever in the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from avwapd.store.reader import open_reader
from avwapd.verbs.client import ask
from tests.cli.process import avwapd, clean_environ
from tests.notify.server import human
from tests.tidy.rules import ROOT

LIMIT_S = 90.0


@contextmanager
def demo(state: Path, *words: str, speed: str = "3600", **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    """The demo daemon; ended at the latest with the block."""
    state.mkdir(exist_ok=True)
    cache = {"AVWAPD_CACHE_DIR": os.environ["AVWAPD_CACHE_DIR"]} if "AVWAPD_CACHE_DIR" in os.environ else {}
    home = {} if cache else {"HOME": os.environ.get("HOME", "/")}
    command = [sys.executable, "-m", "avwapd", "run", "--config", str(ROOT / "etc" / "demo.toml")]
    with (state / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            [*command, "--speed", speed, "--state-dir", str(state), *words],
            env=clean_environ(state) | home | cache | environ,
            stdout=log,
            stderr=log,
            cwd=ROOT,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.wait(10)


def until(true: Callable[[], object], state: Path, limit_s: float = LIMIT_S) -> None:
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, (state / "log.txt").read_text()[-3000:]
        time.sleep(0.05)


def status(state: Path) -> dict[str, object]:
    answer = ask(state / "control.sock", "GET", "/v1/status", None, 10)
    assert isinstance(answer, dict)
    return answer


def said(state: Path, words: str) -> bool:
    return words in (state / "log.txt").read_text()


def test_start_fills_the_day_and_the_stop_are_told(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with human() as person, demo(state, speed="14400", AVWAPD_NOTIFY_URLS=person.address) as process:
        until(lambda: any("the day" in json.dumps(one) for one in person.heard), state)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        told = "\n".join(one["title"] + "\n" + one["message"] for one in person.heard)
    assert "avwapd demo sim" in told
    assert "started" in told
    assert "stopped: SIGTERM" in told
    assert "trades ended" in told or "daily: the day" in told
    conn = open_reader(state / "avwapd.db")
    events = dict(conn.execute("SELECT event, count(*) FROM notices GROUP BY event").fetchall())
    left = conn.execute("SELECT count(*) FROM notices WHERE state = 'waiting'").fetchone()[0]
    [body] = conn.execute("SELECT body FROM notices WHERE event = 'daily' ORDER BY id LIMIT 1").fetchone()
    conn.close()
    assert events["fill"] > 0, events
    assert left == 0
    assert "equity " in body
    assert "alerts not told" in body


def test_a_channel_that_hangs_does_not_slow_trading(tmp_path: Path) -> None:
    """The same window with a mute channel decides as much, and the status says that nobody hears."""
    state = tmp_path / "state"
    with human() as person:
        person.mood = "hang"
        environ = {"AVWAPD_NOTIFY_URLS": person.address, "AVWAPD_NOTIFY__LIMIT_S": "0.5"}
        with demo(state, speed="7200", **environ):
            until(lambda: said(state, "the notification channel fails"), state)
            before, begun = status(state), time.monotonic()
            until(lambda: int(str(status(state)["decisions"])) > int(str(before["decisions"])) + 200, state)
            facts = status(state)["notices"]
            assert time.monotonic() - begun < 60
            assert isinstance(facts, dict)
            assert facts["deaf"] is True
            assert json.loads((state / "heartbeat.json").read_text())["notices"]["deaf"] is True
    assert not person.heard


def test_the_verb_hands_over_to_the_daemon_which_keeps_it(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with human() as person:
        person.mood = "500"
        with demo(state, AVWAPD_NOTIFY_URLS=person.address):
            until(lambda: said(state, "ready:"), state)
            words = ("notify", "--event", "verify", "--level", "critical", "verify failed", "--state-dir", str(state))
            done = avwapd(*words, folder=tmp_path)
            assert (done.returncode, done.stdout) == (
                0,
                "avwapd notify: the daemon keeps it until it is delivered\n",
            ), done.stderr
            until(lambda: said(state, "the notification channel fails"), state)
            person.mood = "ok"
            until(lambda: any("verify failed" in one["title"] + one["message"] for one in person.heard), state)


def test_the_ping_stays_away_when_the_daemon_stands_still(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with human() as person:
        environ = {
            "AVWAPD_PING_URL": f"http://127.0.0.1:{person.port}/ping/5ecr3t-5ecr3t",
            "AVWAPD_NOTIFY__PING_EVERY_S": "1",
        }
        with demo(state, **environ) as process:
            until(lambda: person.calls >= 2, state)
            assert person.heads[0]["path"] == "/ping/5ecr3t-5ecr3t"
            process.send_signal(signal.SIGSTOP)
            time.sleep(1.5)
            calls = person.calls
            time.sleep(2.5)
            assert person.calls == calls
            process.send_signal(signal.SIGCONT)
            until(lambda: person.calls > calls, state)
            process.send_signal(signal.SIGTERM)
            process.wait(30)
            calls = person.calls
            time.sleep(1.5)
            assert person.calls == calls
    assert "5ecr3t" not in (state / "log.txt").read_text()


def test_the_verb_tells_without_a_daemon_and_fails_no_unit(tmp_path: Path) -> None:
    with human() as person:
        sent = avwapd("notify", "--test", folder=tmp_path, AVWAPD_NOTIFY_URLS=person.address)
        assert (sent.returncode, sent.stdout.strip()) == (0, "avwapd notify: delivered"), sent.stderr
        assert "a test" in person.heard[0]["title"]
        folder = tmp_path / "credentials"
        folder.mkdir()
        (folder / "AVWAPD_NOTIFY_URLS").write_text(f"# two ways\n{person.address}\njson://127.0.0.1:9/x\n")
        facts = {"MONITOR_UNIT": "avwapd.service", "MONITOR_SERVICE_RESULT": "watchdog", "MONITOR_EXIT_STATUS": "ABRT"}
        failed = avwapd(
            "notify", "--unit-failed", "--json", folder=tmp_path, CREDENTIALS_DIRECTORY=str(folder), **facts
        )
        assert json.loads(failed.stdout)["by"] == "channel", failed
        assert person.heard[1]["type"] == "failure"
        assert "avwapd.service failed (watchdog ABRT)" in person.heard[1]["title"]
    gone = avwapd("notify", "x", folder=tmp_path, AVWAPD_NOTIFY_URLS="json://127.0.0.1:9/in")
    assert gone.returncode == 0
    assert "not delivered" in gone.stdout
    assert (
        avwapd("notify", "x", "--strict", folder=tmp_path, AVWAPD_NOTIFY_URLS="json://127.0.0.1:9/in").returncode == 1
    )
    none = avwapd("notify", "x", folder=tmp_path)
    assert (none.returncode, none.stdout.strip()) == (0, "avwapd notify: not delivered: AVWAPD_NOTIFY_URLS is empty")
    far = avwapd(
        "notify", "x", folder=tmp_path, AVWAPD_NOTIFY_URLS="json://192.0.2.1/in", AVWAPD_NETWORK__ALLOWED="false"
    )
    assert "network.allowed is false" in far.stdout
