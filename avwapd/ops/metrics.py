"""The daemon's facts as Prometheus metrics: text for `ctl metrics` and for the page on 127.0.0.1.

Built from one look at the facts, in a registry of its own, at each question: nothing is counted twice, and a metric
whose fact is unknown is left out rather than zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from avwapd.ops.finding import FAIL, OK, WARN
from avwapd.ops.health import judge

Facts = Mapping[str, Any]
COLOURS = {OK: 0, WARN: 1, FAIL: 2}
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# name, help, path of the fact, factor
GAUGES = (
    ("ready", "1 once the daemon trades", ("ready",), 1),
    ("epoch", "how often this ledger was started", ("epoch",), 1),
    ("beat_age_seconds", "since the last proof of progress", ("beat_age_s",), 1),
    ("last_bar_timestamp_seconds", "close of the newest bar", ("pulse", "last_bar_ms"), 1e-3),
    ("last_decision_timestamp_seconds", "close of the newest decided bar", ("pulse", "last_decision_ms"), 1e-3),
    ("bar_lag_seconds", "newest bar behind its due time", ("bar_lag_s",), 1),
    ("expected_bars", "bars due by the calendar and not there", ("expected_bars",), 1),
    ("clean_bars", "clean bars in a row", ("pulse", "clean_bars"), 1),
    ("market_open", "1 inside a session", ("market_open",), 1),
    ("equity", "in the equity currency", ("equity",), 1),
    ("symbols", "symbols of the run", ("symbols",), 1),
    ("reconcile_age_seconds", "market time since ledger and venue agreed", ("reconcile", "agreed_age_s"), 1),
    ("clock_skew_seconds", "the venue's clock beside ours", ("skew_ms",), 1e-3),
    ("naked_worst_seconds", "longest time a position was without a stop", ("naked", "worst_s"), 1),
    ("database_bytes", "size of the ledger", ("database", "bytes"), 1),
    ("wal_bytes", "size of the write-ahead log", ("database", "wal_bytes"), 1),
    ("disk_free_bytes", "free where the ledger lies", ("database", "disk_free_bytes"), 1),
    ("kill_switch", "1 while it is closed", ("kill_switch",), 1),
    ("draining", "1 while no new entry is made", ("draining",), 1),
    ("notices_waiting", "notifications that wait for delivery", ("notices", "waiting"), 1),
    ("alerts_unread", "alerts above info that nobody was told of", ("notices", "untold_alerts"), 1),
)
COUNTERS = (
    ("decisions", "decisions since the start", ("decisions",)),
    ("commits", "commits since the start", ("commits",)),
    ("beats", "proofs of progress since the start", ("beat",)),
    ("orders_sent", "requests that left for the venue", ("router", "sent")),
    ("naked_spells", "times a position was without a stop", ("naked", "spells")),
    ("reconcile_readings", "readings of the venue's books", ("reconcile", "readings")),
    ("reconcile_failures", "readings that failed", ("reconcile", "failed")),
    ("decision_file_failures", "times the disk refused the decisions' files", ("decision_files", "failed")),
)


def value_of(facts: Facts, path: tuple[str, ...]) -> float | None:
    found: Any = facts
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return float(found) if isinstance(found, bool | int | float) else None


class Look:
    """A collector over one look."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def collect(self) -> Iterator[Metric]:
        facts = self._facts
        info = GaugeMetricFamily("avwapd_run_info", "what runs here", labels=["version", "mode", "run", "account"])
        info.add_metric([str(facts.get(name, "")) for name in ("version", "mode", "run", "account")], 1)
        yield info
        for name, words, path, factor in GAUGES:
            if (value := value_of(facts, path)) is not None:
                yield GaugeMetricFamily(f"avwapd_{name}", words, value=value * factor)
        for name, words, path in COUNTERS:
            if (value := value_of(facts, path)) is not None:
                yield CounterMetricFamily(f"avwapd_{name}", words, value=value)
        yield from self._labelled()

    def _labelled(self) -> Iterator[Metric]:
        facts = self._facts
        queues = facts.get("queues") or {}
        yield labelled("queue_size", "inputs that wait", "queue", {n: q["size"] for n, q in queues.items()})
        yield labelled("queue_bound", "how many may wait", "queue", {n: q["bound"] for n, q in queues.items()})
        yield labelled("machines", "symbols by phase", "phase", facts.get("phases") or {})
        yield labelled("halted", "symbols that wait for a human", "symbol", dict.fromkeys(facts.get("halted") or (), 1))
        yield labelled("gate_closed", "gates that hold everybody back", "gate", dict.fromkeys(facts["gates_closed"], 1))
        naked = (facts.get("naked") or {}).get("now_s") or {}
        yield labelled("naked_seconds", "held without a stop at the venue", "symbol", naked)
        faults = CounterMetricFamily("avwapd_faults", "decisions of bars that failed or came late", labels=["fault"])
        for fault, count in sorted(((facts.get("pulse") or {}).get("faults") or {}).items()):
            faults.add_metric([fault], count)
        yield faults
        colours = {found.name: COLOURS[found.verdict] for found in judge(facts)}
        yield labelled("health", "0 ok, 1 warn, 2 fail", "check", colours)


def labelled(name: str, words: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"avwapd_{name}", words, labels=[label])
    for key, value in values.items():
        family.add_metric([key], float(value))
    return family


def text(facts: Facts) -> bytes:
    """All of it, in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Look(facts))
    return generate_latest(registry)
