"""Prometheus' page: parsed by its own parser, on the loopback alone, and never in trading's way."""

from __future__ import annotations

import socket
import urllib.request
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from prometheus_client.parser import text_string_to_metric_families

from avwapd.ops import metrics
from avwapd.ops.metrics_server import HOST, MetricsServer
from tests.health.desk import configured, played
from tests.health.test_health import WELL

pytestmark = pytest.mark.anyio
ANOTHER = "127.0.0.2"  # of this machine's addresses: all of 127/8 is its own


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def families(text: str) -> dict[str, Any]:
    return {family.name: family for family in text_string_to_metric_families(text)}


def fetched(port: int, path: str = "/metrics") -> tuple[int, str, str]:
    with urllib.request.urlopen(f"http://{HOST}:{port}{path}", timeout=10) as answer:
        return answer.status, answer.headers["Content-Type"], answer.read().decode()


async def test_a_real_daemons_facts_parse_and_are_its_own(tmp_path: Path) -> None:
    daemon = await anyio.to_thread.run_sync(
        lambda: played(tmp_path / "state", {}, config=configured(run__window_to="2025-11-13"))
    )
    found = families(daemon.metrics())
    assert all(name.startswith("avwapd_") and family.documentation for name, family in found.items())
    value = {name: family.samples[0].value for name, family in found.items() if len(family.samples) == 1}
    assert value["avwapd_decisions"] == daemon.story.decided
    assert value["avwapd_ready"] == 1
    assert value["avwapd_last_bar_timestamp_seconds"] * 1000 == daemon.pulse.last_bar_ms
    phases = {sample.labels["phase"]: sample.value for sample in found["avwapd_machines"].samples}
    assert sum(phases.values()) == 6
    checks = {sample.labels["check"]: sample.value for sample in found["avwapd_health"].samples}
    assert checks["cadence"] == 0
    assert len(checks) == 14
    (info,) = found["avwapd_run_info"].samples
    assert info.labels["mode"] == "sim"


async def test_the_page_is_served_and_says_what_the_text_says() -> None:
    facts: dict[str, Any] = dict(WELL)
    server = MetricsServer(0, lambda: facts)
    async with anyio.create_task_group() as group:
        await group.start(server.run)
        status, kind, text = await anyio.to_thread.run_sync(fetched, server.port)
        assert (status, kind) == (200, metrics.CONTENT_TYPE)
        assert text == metrics.text(facts).decode()
        facts["beat"] = 8
        _, _, text = await anyio.to_thread.run_sync(fetched, server.port)
        assert families(text)["avwapd_beats"].samples[0].value == 8
        with pytest.raises(ConnectionRefusedError), socket.create_connection((ANOTHER, server.port), timeout=5):
            pass
        group.cancel_scope.cancel()


async def test_a_taken_port_is_told_and_nothing_else_happens(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server((HOST, 0)) as taken:
        server = MetricsServer(taken.getsockname()[1], lambda: WELL)
        async with anyio.create_task_group() as group:
            with anyio.fail_after(10):
                await group.start(server.run)
            group.cancel_scope.cancel()
    assert "no metrics on port" in caplog.text


def test_what_is_unknown_is_left_out_and_labels_are_escaped() -> None:
    text = metrics.text(WELL | {"reconcile": None, "skew_ms": None, "halted": ['A"B\\C\n']}).decode()
    found = families(text)
    assert "avwapd_reconcile_age_seconds" not in found
    assert "avwapd_clock_skew_seconds" not in found
    assert found["avwapd_halted"].samples[0].labels["symbol"] == 'A"B\\C\n'
    assert found["avwapd_disk_free_bytes"].samples[0].value == 50_000_000_000
