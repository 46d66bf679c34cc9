"""The configured mode and the venue's address agree, or nothing starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from avwapd.config import ConfigError, load
from avwapd.remote.addresses import alpaca_addresses, check_address

PAPER, LIVE = "https://paper-api.alpaca.markets", "https://api.alpaca.markets"


@pytest.mark.parametrize(
    ("mode", "address"),
    [
        ("paper", ""),
        ("live", ""),
        ("paper", PAPER),
        ("live", LIVE),
        ("paper", "wss://paper-api.alpaca.markets/stream"),
        ("live", "wss://stream.data.alpaca.markets/v2/sip"),
        ("paper", "https://data.alpaca.markets"),
        ("paper", "http://127.0.0.1:8490"),
        ("paper", "ws://localhost:8490/stream"),
        ("paper", "http://[::1]:8490"),
    ],
)
def test_they_agree(mode: str, address: str) -> None:
    check_address(mode, "alpaca", address)


@pytest.mark.parametrize(
    ("mode", "address", "what"),
    [
        ("paper", LIVE, "mode paper with the live account's address"),
        ("live", PAPER, "mode live with the paper account's address"),
        ("live", "https://PAPER-api.alpaca.markets", "paper account"),
        ("live", "http://127.0.0.1:8490", "simulated"),
        ("paper", "http://paper-api.alpaca.markets", "unencrypted"),
        ("paper", "https://paper-api.alpaca.markets.evil.example", "nobody knows"),
        ("paper", "https://paper-api.alpaca.markets@evil.example", "no address"),
        ("paper", "https://user:word@paper-api.alpaca.markets", "no address"),
        ("paper", "ftp://paper-api.alpaca.markets", "no address"),
        ("paper", "https://", "no address"),
        ("paper", "https://paper-api.alpaca.markets:99999", "no address"),
        ("paper", "http://127.0.0.1.evil.example", "unencrypted"),
        ("live", "https://127.0.0.2:1", "nobody knows"),
    ],
)
def test_they_do_not(mode: str, address: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        check_address(mode, "alpaca", address)
    assert caught.value.where
    assert caught.value.next_step


def addresses(mode: str = "paper", environment: str = "", **venue: str):  # type: ignore[no-untyped-def]
    options = {"run.mode": "paper", "network.allowed": "true", "venue.name": "alpaca"} | {
        f"venue.{name}": text for name, text in venue.items()
    }
    config = load(environ={}, folder=Path("nowhere"), options=options)
    return alpaca_addresses(mode, config.venue, "iex", environment)


def test_a_simulator_is_one_address() -> None:
    found = addresses(address="http://127.0.0.1:8490/")
    assert (found.trading, found.trading_stream) == ("http://127.0.0.1:8490", "ws://127.0.0.1:8490/stream")
    assert (found.data, found.data_stream) == ("http://127.0.0.1:8490", "ws://127.0.0.1:8490/v2/iex")
    assert found.simulated


def test_the_venues_own() -> None:
    found = addresses("live")
    assert (found.trading, found.trading_stream, found.data, found.data_stream) == ("", "", "", "")
    assert not found.simulated


def test_the_environments_address_is_checked_like_any() -> None:
    assert addresses(environment=f"{PAPER}/v2").trading == PAPER
    with pytest.raises(ConfigError, match="live account"):
        addresses(environment=LIVE)


def test_half_a_simulation_is_refused() -> None:
    with pytest.raises(ConfigError, match="some addresses are simulated"):
        addresses(address="http://127.0.0.1:8490", data_address="https://data.alpaca.markets")
    with pytest.raises(ConfigError, match="some addresses are simulated"):
        addresses(data_address="http://127.0.0.1:8490")
