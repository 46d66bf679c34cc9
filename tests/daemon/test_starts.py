"""What a start refuses, and what the socket refuses, with a real daemon that holds positions."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from avwapd.store.reader import open_reader
from avwapd.verbs.client import DaemonError, ask
from tests.store import story

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 60.0


class Demo:
    """The demo daemon on a state folder of its own, two market hours a second."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.socket = state / "control.sock"
        self.log = state / "log.txt"

    def start(self, **settings: str) -> subprocess.Popen[bytes]:
        env = {key: value for key, value in os.environ.items() if not key.startswith("AVWAPD_")}
        if cache := os.environ.get("AVWAPD_CACHE_DIR"):
            env["AVWAPD_CACHE_DIR"] = cache
        command = [sys.executable, "-m", "avwapd", "run", "--config", str(ROOT / "etc" / "demo.toml")]
        self.state.mkdir(exist_ok=True)
        with self.log.open("wb") as log:
            return subprocess.Popen(
                [*command, "--speed", "7200", "--state-dir", str(self.state)],
                env=env | settings,
                stdout=log,
                stderr=log,
                cwd=ROOT,
            )

    def get(self, path: str) -> object:
        return ask(self.socket, "GET", path, None, 10)

    def post(self, path: str, body: object) -> object:
        return ask(self.socket, "POST", path, body, 10)

    def until(self, seen: str) -> None:
        """Wait until the log says so."""
        end = time.monotonic() + LIMIT_S
        while seen not in self.log.read_text():
            assert time.monotonic() < end, self.log.read_text()[-3000:]
            time.sleep(0.05)


def closed(gates: object) -> list[str]:
    """What blocks entries now."""
    assert isinstance(gates, list)
    return sorted({row["gate"] for row in gates if row["closed"]})


@pytest.fixture(scope="module")
def holding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder whose daemon was killed while it held something under a resting stop."""
    demo = Demo(tmp_path_factory.mktemp("holding") / "state")
    process = demo.start()
    try:
        end = time.monotonic() + LIMIT_S
        demo.until("OPEN (filled)")
        while not any(row["state"] == "ACKED" and row["purpose"] == "stop" for row in demo.get("/v1/orders")):  # type: ignore[attr-defined]
            assert time.monotonic() < end
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait(10)
    return demo.state


@pytest.fixture
def demo(holding: Path, tmp_path: Path) -> Demo:
    """A copy of it, to be started again."""
    subprocess.run(["cp", "-a", str(holding), str(tmp_path / "state")], check=True)
    return Demo(tmp_path / "state")


def ended(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(LIMIT_S)
    finally:
        process.kill()
        process.wait(10)


@pytest.mark.parametrize(
    ("settings", "name"),
    [({"AVWAPD_SIZE__RISK_FRACTION": "0.02"}, "size.risk_fraction"), ({"AVWAPD_RUN__ACCOUNT": "other"}, "run.account")],
)
def test_other_rules_than_the_ledgers_are_refused_by_name(demo: Demo, settings: dict[str, str], name: str) -> None:
    assert ended(demo.start(**settings)) == 78
    assert name in demo.log.read_text()
    assert "new ledger" in demo.log.read_text()
    with closing(open_reader(demo.state / "avwapd.db")) as conn:
        assert conn.execute("SELECT max(epoch) FROM instance").fetchone() == (1,), "nothing was written"


def test_a_venue_that_forgot_our_stop_halts_the_symbol(demo: Demo) -> None:
    for path in demo.state.glob("venue.db*"):
        path.unlink()
    process = demo.start()
    try:
        demo.until("the venue does not know an order that the ledger holds for live")
        demo.until("ready")
        status = demo.get("/v1/status")
        assert isinstance(status, dict)
        assert status["halted"]
    finally:
        process.kill()
        process.wait(10)


def test_a_ledger_that_forgot_the_venues_orders_opens_nothing_and_halts_their_symbols(demo: Demo) -> None:
    for path in demo.state.glob("avwapd.db*"):
        path.unlink()
    process = demo.start()
    try:
        demo.until("an order of ours that this ledger never made")
        demo.until("ready")
        assert demo.get("/v1/status")["halted"]  # type: ignore[index]
        gates = {row["gate"] for row in demo.get("/v1/gates") if row["closed"]}  # type: ignore[attr-defined]
        assert "ledger" in gates
    finally:
        process.kill()
        process.wait(10)


def test_reload_takes_the_scans_list_and_says_what_it_is(demo: Demo) -> None:
    """No file, a list, the same again, one that was changed by hand: refused with a sentence, the old one stays."""
    path = demo.state / "watchlist.json"
    process = demo.start()
    try:
        demo.until("ready")
        assert demo.get("/v1/status")["watchlist"] is None  # type: ignore[index]
        with pytest.raises(DaemonError, match="there is no watchlist"):
            demo.post("/v1/reload", {})
        found = story.listed(story.row("CEDAR"), story.row("ZZZ"), scan_date=20200102)
        path.write_text(found.body)
        answer = demo.post("/v1/reload", {})
        assert isinstance(answer, dict)
        assert (answer["done"], answer["changed"], answer["scan_date"], answer["rows"]) == ("reload", True, 20200102, 2)
        assert (answer["version"], answer["missing"], answer["fresh"]) == (found.version, ["ZZZ"], False)
        assert demo.post("/v1/reload", {})["changed"] is False  # type: ignore[index]
        path.write_text(found.body.replace('"level":100.0', '"level":100.5'))
        with pytest.raises(DaemonError, match="not the hash of its content"):
            demo.post("/v1/reload", {})
        status = demo.get("/v1/status")
        assert isinstance(status, dict)
        assert (status["watchlist"]["version"], status["watchlist"]["missing"]) == (found.version, 1)
        assert closed(demo.get("/v1/gates")) == ["watchlist_stale"]
        with pytest.raises(DaemonError, match="unknown"):
            demo.post("/v1/reload", {"file": "x"})
    finally:
        process.kill()
        process.wait(10)
    with closing(open_reader(demo.state / "avwapd.db")) as conn:
        assert conn.execute("SELECT count(*) FROM inputs WHERE kind = 'watchlist'").fetchone() == (1,)


def test_a_misspelt_key_does_not_widen_an_act(demo: Demo) -> None:
    process = demo.start()
    try:
        demo.until("ready")
        for path, body in (
            ("/v1/flatten", {"sym": "CEDAR"}),
            ("/v1/halt?symbol=CEDAR", {}),
            ("/v1/drain", {"symbol": "X"}),
        ):
            with pytest.raises(DaemonError, match="unknown"):
                demo.post(path, body)
        assert closed(demo.get("/v1/gates")) == []
        demo.post("/v1/drain", {})
        demo.post("/v1/halt", {"symbol": "CEDAR"})
        assert closed(demo.get("/v1/gates")) == ["drain", "halted"]
        demo.post("/v1/resume", {})
        assert closed(demo.get("/v1/gates")) == []
        demo.post("/v1/stop", {})
        assert process.wait(LIMIT_S) == 0
    finally:
        process.kill()
        process.wait(10)
