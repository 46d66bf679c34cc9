"""Which addresses a mode may talk to: paper has play money, live real, a simulator on this machine neither."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import urlsplit

from avwapd.config.errors import ConfigError
from avwapd.config.sections import VenueSettings
from avwapd.remote.credentials import is_loopback

PAPER, LIVE = "paper", "live"
# By venue: the hosts of either account, and those that serve both (data).
HOSTS: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "alpaca": {
            PAPER: ("paper-api.alpaca.markets",),
            LIVE: ("api.alpaca.markets",),
            "data": ("data.alpaca.markets", "stream.data.alpaca.markets"),
        },
    }
)
SCHEMES = ("http", "https", "ws", "wss")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Of one venue; empty: the client's own."""

    trading: str
    trading_stream: str
    data: str
    data_stream: str
    simulated: bool


def check_address(mode: str, name: str, address: str) -> None:
    """Raise ConfigError unless `address` (empty: the venue's own for the mode) belongs to `mode` of venue `name`."""
    if not address:
        return
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    if not host or parts.scheme not in SCHEMES or port == 0 or parts.username or parts.query or parts.fragment:
        raise ConfigError(f"{address[:200]} is no address of a venue", "venue.address", "give http(s)://HOST[:PORT]")
    if is_loopback(address):
        if mode != PAPER:
            raise ConfigError(
                f"mode {mode} with a simulated venue on this machine",
                f"venue.address = {address}",
                "set run.mode = paper, or leave the address empty",
            )
        return
    if parts.scheme in ("http", "ws"):
        raise ConfigError(
            "keys would cross the network unencrypted", f"venue.address = {address}", "give an https or wss address"
        )
    for belongs, hosts in HOSTS.get(name, {}).items():
        if host in hosts and belongs in (mode, "data"):
            return
        if host in hosts:
            raise ConfigError(
                f"mode {mode} with the {belongs} account's address",
                f"venue.address = {address}",
                f"set run.mode = {belongs}, or leave the address empty for the {mode} one",
            )
    raise ConfigError(
        f"nobody knows whether {host} is {name}'s paper or live account",
        f"venue.address = {address}",
        "leave the address empty for the venue's own",
    )


def assert_addresses(mode: str, venue: VenueSettings, plan: str, environment_address: str = "") -> str:
    """Every address fits the mode, else ConfigError; the trading address, "" for the venue's own."""
    if venue.name == "alpaca":
        return alpaca_addresses(mode, venue, plan, environment_address).trading
    for address in (venue.address, venue.stream_address, venue.data_address, venue.data_stream_address):
        check_address(mode, venue.name, address)
    return venue.address


def alpaca_addresses(mode: str, venue: VenueSettings, plan: str, environment_address: str = "") -> Addresses:
    """Every address of Alpaca from the configured ones; raises ConfigError where one does not fit the mode."""
    trading = (venue.address or environment_address).rstrip("/").removesuffix("/v2")
    simulated = is_loopback(trading)
    data = venue.data_address.rstrip("/") or (trading if simulated else "")
    stream = venue.stream_address or (_socket(trading) + "/stream" if trading else "")
    data_stream = venue.data_stream_address or (_socket(data) + f"/v2/{plan}" if is_loopback(data) else "")
    for address in (trading, stream, data, data_stream):
        check_address(mode, "alpaca", address)
    if any(is_loopback(address) != simulated for address in (stream, data, data_stream) if address):
        raise ConfigError(
            "some addresses are simulated and some are not",
            f"venue.address = {trading or 'the venue’s own'}",
            "set all of them, or only venue.address",
        )
    return Addresses(trading, stream, data, data_stream, simulated)


def _socket(address: str) -> str:
    """http -> ws, https -> wss."""
    return "ws" + address.removeprefix("http")
