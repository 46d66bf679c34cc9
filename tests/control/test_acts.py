"""Acts over the socket of a real daemon: noted before and after, done once a key, refused with a row, and replayed."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from avwapd.core.codes import OUTER_GATES
from tests.control.kit import Socket, daemon, ledger, request

pytestmark = pytest.mark.crash


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Socket]:
    with daemon(tmp_path_factory.mktemp("acts")) as found:
        yield found


def journaled(there: Socket, symbol: str) -> int:
    """How many acts on a symbol the journal holds."""
    with ledger(there) as conn:
        sql = "SELECT count(*) FROM inputs JOIN instruments i USING (symbol_id) WHERE kind = 'act' AND symbol = ?"
        return int(conn.execute(sql, (symbol,)).fetchone()[0])


def test_an_act_has_a_row_with_who_what_and_what_came_of_it(there: Socket) -> None:
    done = there.ask("POST", "/v1/halt", {"symbol": "CEDAR", "reason": "a test"})
    assert done.status == 200
    row = there.acts()[0]
    assert (row["verb"], json.loads(row["body"])) == ("halt", {"reason": "a test", "symbol": "CEDAR"})
    assert row["status"] == 200
    assert json.loads(row["answer"]) == done.facts
    assert row["who"].startswith(f"uid {os.geteuid()} pid {os.getpid()} (")


def test_the_same_key_acts_once_and_has_one_answer(there: Socket) -> None:
    before = journaled(there, "HAZEL")
    body = {"symbol": "HAZEL", "reason": "once"}
    first = there.ask("POST", "/v1/halt", body, key="once-1")
    again = there.ask("POST", "/v1/halt", dict(reversed(body.items())), key="once-1")
    assert (first.status, first.facts) == (again.status, again.facts)
    assert journaled(there, "HAZEL") == before + 1
    for path, other in (("/v1/halt", {"symbol": "BIRCH"}), ("/v1/resume", body)):
        refused = there.ask("POST", path, other, key="once-1")
        assert (refused.status, "used for another act" in refused.facts["what"]) == (422, True)
    assert journaled(there, "HAZEL") == before + 1


def test_the_same_key_at_the_same_time_acts_once(there: Socket) -> None:
    before = journaled(there, "BIRCH")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: there.ask("POST", "/v1/halt", {"symbol": "BIRCH"}, key="flood"), range(8)))
    assert {answer.status for answer in found} <= {200, 503}
    assert len({json.dumps(answer.facts) for answer in found if answer.status == 200}) == 1
    assert journaled(there, "BIRCH") == before + 1


@pytest.mark.parametrize("key", ["", "a b", "x" * 65, "ключ", "a/b"])
def test_what_is_no_key_is_refused(there: Socket, key: str) -> None:
    raw = request("POST", "/v1/halt", {"symbol": "CEDAR"}, more=f"Idempotency-Key: {key}")
    assert there.say(raw).startswith(b"HTTP/1.1 400")


def test_a_refused_act_has_a_row_and_leaves_its_key(there: Socket) -> None:
    refused = there.ask("POST", "/v1/halt", {"symbol": "NOSUCH"}, key="free")
    assert refused.status == 404
    until = time.monotonic() + 10
    while not any("NOSUCH" in row["body"] for row in there.acts()):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert there.ask("POST", "/v1/halt", {"symbol": "CEDAR"}, key="free").status == 200


def test_a_token_is_kept_nowhere(there: Socket) -> None:
    secret = "correct-horse-battery"
    assert there.ask("POST", "/v1/arm", {"token": secret, "hours": 1}).status in (403, 409, 501)
    assert there.ask("POST", "/v1/arm", {"token": secret, "hours": "x"}).status == 400
    there.goes_on()
    for path in (there.world.ledger, there.world.ledger.with_name("avwapd.db-wal"), there.world.log):
        assert secret.encode() not in path.read_bytes()


def test_gates_are_told_open_and_closed_with_reason_and_time(there: Socket) -> None:
    rows = there.ask("GET", "/v1/gates").facts
    assert [row["gate"] for row in rows if not row["closed"] and not row["symbol"]] == list(OUTER_GATES)
    assert there.ask("POST", "/v1/kill", {"reason": "a drill"}).status == 200
    rows = there.ask("GET", "/v1/gates").facts
    assert (rows[0]["gate"], rows[0]["closed"], rows[0]["reason"]) == ("kill_switch", 1, "a drill")
    assert abs(rows[0]["since_ms"] - time.time() * 1000) < 60_000
    assert there.ask("POST", "/v1/unkill", {}).status == 200
    assert "kill_switch" not in [row["gate"] for row in there.ask("GET", "/v1/gates").facts if row["closed"]]


def test_alerts_are_read_and_acknowledged(there: Socket) -> None:
    there.ask("POST", "/v1/kill", {})
    there.ask("POST", "/v1/unkill", {})
    newest = there.ask("GET", "/v1/alerts?unread=1").facts[0]
    assert there.ask("POST", "/v1/ack", {"id": newest["id"]}).facts == {"done": "ack", "read": 1}
    assert newest["id"] not in [row["id"] for row in there.ask("GET", "/v1/alerts?unread=1").facts]
    assert newest["id"] in [row["id"] for row in there.ask("GET", "/v1/alerts").facts]
    assert there.ask("POST", "/v1/ack", {"id": 10**9}).status == 404
    assert there.ask("POST", "/v1/ack", {"id": True}).status == 400
    assert there.ask("POST", "/v1/ack", {}).status == 200
    assert there.ask("GET", "/v1/alerts?unread=1").facts == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/kill", {"flatten": "yes"}),
        ("/v1/kill", {"reason": 3}),
        ("/v1/drill", {}),
        ("/v1/drill", {"fault": "fetch", "times": -1}),
        ("/v1/arm", {"hours": 1e9}),
        ("/v1/arm", {"token": 5}),
        ("/v1/stop", {"now": True}),
        ("/v1/unkill?x=1", {}),
    ],
)
def test_what_does_not_fit_is_refused_before_it_begins(there: Socket, path: str, body: object) -> None:
    refused = there.ask("POST", path, body)
    assert refused.status == 400
    assert set(refused.facts) == {"what", "where", "next_step"}


def test_health_and_metrics_answer(there: Socket) -> None:
    assert {"mode", "decisions", "queues"} <= there.ask("GET", "/v1/health").facts.keys()
    metrics = there.ask("GET", "/v1/metrics")
    assert metrics.status in (200, 501)
    assert there.ask("GET", "/v1/halt").status == 405
    nowhere = there.ask("GET", "/v1/nowhere")
    assert (nowhere.status, "POST /v1/halt" in nowhere.facts["next_step"]) == (404, True)


def test_it_listens_on_no_tcp_port(there: Socket) -> None:
    fds = Path(f"/proc/{there.process.pid}/fd").iterdir()
    mine = {link.partition("[")[2].rstrip("]") for fd in fds if (link := str(fd.readlink())).startswith("socket:")}
    assert mine
    for table in ("tcp", "tcp6"):
        path = Path(f"/proc/{there.process.pid}/net/{table}")
        rows = [line.split() for line in path.read_text().splitlines()[1:]] if path.exists() else []
        assert not [row for row in rows if row[3] == "0A" and row[9] in mine]


def test_a_key_holds_over_a_crash(tmp_path: Path) -> None:
    """What was done is answered, not done again; what was under way is told as such."""
    with daemon(tmp_path) as before:
        world = before.world
        first = before.ask("POST", "/v1/halt", {"symbol": "CEDAR"}, key="kept")
        assert first.status == 200
        before.process.send_signal(signal.SIGKILL)
        before.process.wait(10)
        with closing(sqlite3.connect(world.ledger)) as conn:
            sql = "INSERT INTO acts (ts_ms, who, verb, body, key) VALUES (1, 'uid 0 pid 1', 'halt', '{}', 'half')"
            conn.execute(sql)
            conn.commit()
        at = world.log.stat().st_size
        process = world.spawn()
        try:
            assert world.wait_ready(process, at), world.tail()
            after = Socket(world, process)
            count = journaled(after, "CEDAR")
            again = after.ask("POST", "/v1/halt", {"symbol": "CEDAR"}, key="kept")
            assert (again.status, again.facts) == (200, first.facts)
            half = after.ask("POST", "/v1/halt", {}, key="half")
            assert (half.status, "under way when the daemon ended" in half.facts["what"]) == (409, True)
            assert journaled(after, "CEDAR") == count
            assert after.ask("POST", "/v1/stop", {}, key="end").status == 200
            assert process.wait(20) == 0
        finally:
            process.kill()
            process.wait(10)
        with ledger(before) as conn:
            assert conn.execute("SELECT status FROM acts WHERE key = 'end'").fetchone() == (200,)
