"""What must hold between settings that are each right by themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from avwapd.config.modes import REMOTE_MODES, is_remote
from avwapd.config.sections import MAX_LINES, Config


@dataclass(frozen=True, slots=True)
class Rule:
    keys: tuple[str, ...]  # the last one is named as the one to change
    holds: Callable[[Config], bool]
    wanted: str


def lines(config: Config) -> int:
    """How many anchored lines each symbol needs."""
    words = (config.anchors.level, *config.anchors.extra)
    longest = max((len(moments) for moments in config.anchors.user.values()), default=0)
    return len([word for word in words if word != "user"]) + (longest if "user" in words else 0)


def _user_named(config: Config) -> bool:
    return "user" in (config.anchors.level, *config.anchors.extra) or "User" in config.scan.anchors


def _remote(config: Config) -> bool:
    return is_remote(config)


def _addresses_near(config: Config) -> bool:
    """Every address of the venue is on this machine."""
    wanted = config.venue
    given = (wanted.stream_address, wanted.data_address, wanted.data_stream_address)
    return all(is_loopback(address) for address in (wanted.address, *filter(None, given)))


def is_loopback(address: str) -> bool:
    """Of a URL: its host is this machine."""
    try:
        host = urlsplit(address).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _venue_near(config: Config) -> bool:
    """The venue is on this machine: no packet leaves it."""
    kind, _, rest = config.embedded.venue.partition(":")
    if kind != "tcp":
        return True
    host = rest.rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


RULES = (
    Rule(
        ("run.mode", "venue.name"),
        lambda c: c.run.mode not in REMOTE_MODES or c.venue.name != "embedded",
        "must name a venue (alpaca, binance, kraken, …) in the modes paper and live",
    ),
    Rule(
        ("venue.address", "network.allowed"),
        lambda c: not _remote(c) or c.network.allowed or bool(c.venue.address),
        "must be true: venue.address is empty, which means the venue's own across the network (or set venue.address "
        "to a simulated venue on this machine)",
    ),
    Rule(
        ("network.allowed", "venue.address"),
        lambda c: not _remote(c) or c.network.allowed or not c.venue.address or _addresses_near(c),
        "and the other addresses of [venue] must be on this machine (127.0.0.1, ::1, localhost) while network.allowed "
        "is false",
    ),
    Rule(
        ("venue.calls_minute", "venue.reserve_calls"),
        lambda c: c.venue.reserve_calls < c.venue.calls_minute,
        "must be below venue.calls_minute",
    ),
    Rule(
        ("run.mode", "run.market"),
        lambda c: not _remote(c) or c.run.market == "archive",
        'must be "archive" in the modes paper and live: the warm-up comes from there',
    ),
    Rule(
        ("network.allowed", "embedded.venue"),
        lambda c: c.network.allowed or _venue_near(c),
        "must be on this machine (127.0.0.1, ::1, localhost) while network.allowed is false",
    ),
    Rule(
        ("run.window_from", "run.window_to"),
        lambda c: c.run.window_from is None or c.run.window_to is None or c.run.window_from <= c.run.window_to,
        "must not lie before run.window_from",
    ),
    Rule(
        ("signal.allow_short", "signal.allow_long"),
        lambda c: c.signal.allow_long or c.signal.allow_short,
        "must be true where signal.allow_short is false: nothing would ever be traded",
    ),
    Rule(
        ("signal.setup", "anchors.extra"),
        lambda c: c.signal.setup != "pinch" or lines(c) >= 2,
        'must name a second line where signal.setup is "pinch"',
    ),
    Rule(
        ("anchors.level", "anchors.extra"),
        lambda c: c.anchors.level not in c.anchors.extra,
        "must not repeat anchors.level",
    ),
    Rule(
        ("anchors.level", "anchors.extra", "anchors.user"),
        lambda c: _user_named(c) == bool(c.anchors.user),
        'and the word "user" in anchors.level or anchors.extra need each other',
    ),
    Rule(
        ("anchors.level", "anchors.user", "anchors.extra"),
        lambda c: lines(c) <= MAX_LINES,
        f"asks for more than {MAX_LINES} lines a symbol, anchors.user counted",
    ),
    Rule(
        ("gates.shortest_entry_delay_s", "gates.longest_entry_delay_s"),
        lambda c: c.gates.shortest_entry_delay_s <= c.gates.longest_entry_delay_s,
        "must not be below gates.shortest_entry_delay_s",
    ),
    Rule(
        ("gates.longest_entry_delay_s", "gates.confirmation_age_min"),
        lambda c: c.gates.confirmation_age_min * 60 >= c.gates.longest_entry_delay_s,
        "must not be shorter than gates.longest_entry_delay_s: no confirmation would live to its order",
    ),
    Rule(
        ("stop.open_noise_min", "stop.early_trend_min"),
        lambda c: c.stop.open_noise_min <= c.stop.early_trend_min,
        "must not be below stop.open_noise_min",
    ),
    Rule(
        ("exit.r1_multiple", "exit.r2_multiple"),
        lambda c: c.exit.r1_multiple < c.exit.r2_multiple,
        "must be above exit.r1_multiple",
    ),
    Rule(
        ("caps.max_gross_notional", "caps.max_symbol_notional"),
        lambda c: not c.caps.max_gross_notional or c.caps.max_symbol_notional <= c.caps.max_gross_notional,
        "must not be above caps.max_gross_notional",
    ),
    Rule(
        ("equity.currency", "equity.start"),
        lambda c: c.equity.currency in c.equity.start,
        "must have an entry for equity.currency",
    ),
    Rule(
        ("heartbeat.interval_ms", "heartbeat.stall_after_ms"),
        lambda c: c.heartbeat.interval_ms < c.heartbeat.stall_after_ms,
        "must be above heartbeat.interval_ms",
    ),
)
