"""Keys: where they come from, and that nothing shows them."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from avwapd.config import Config, ConfigError
from avwapd.config import load as load_config
from avwapd.remote.credentials import Secret, load, present

KEYS = {"APCA_API_KEY_ID": "PKTEST", "APCA_API_SECRET_KEY": "hush-hush"}


def config(name: str = "alpaca", address: str = "") -> Config:
    options = {"run.mode": "paper", "network.allowed": "true", "venue.name": name, "venue.address": address}
    return load_config(environ={}, folder=Path("nowhere"), options=options)


def test_from_the_environment() -> None:
    found = load(config(), KEYS | {"APCA_API_BASE_URL": "https://paper-api.alpaca.markets"})
    assert (found.key.reveal(), found.secret.reveal()) == ("PKTEST", "hush-hush")
    assert found.address == "https://paper-api.alpaca.markets"
    assert not found.simulated


def test_a_file_goes_before_the_environment(tmp_path: Path) -> None:
    (tmp_path / "APCA_API_SECRET_KEY").write_text("from-file\n")
    found = load(config(), KEYS | {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert (found.key.reveal(), found.secret.reveal()) == ("PKTEST", "from-file")


def test_of_an_exchange() -> None:
    known = {"AVWAPD_CCXT_KEY": "k", "AVWAPD_CCXT_SECRET": "s", "AVWAPD_CCXT_PASSWORD": "p"}
    found = load(config("kraken"), known)
    assert [secret.reveal() for secret in (found.key, found.secret, found.password)] == ["k", "s", "p"]
    assert not present(config("kraken"), KEYS)


@pytest.mark.parametrize("missing", list(KEYS))
def test_what_is_missing_is_named(missing: str) -> None:
    known = {name: value for name, value in KEYS.items() if name != missing}
    with pytest.raises(ConfigError, match=f"no {missing}.*CREDENTIALS_DIRECTORY/{missing}.*export") as caught:
        load(config(), known)
    assert "hush" not in str(caught.value)
    assert not present(config(), known)
    assert present(config(), KEYS)


def test_a_venue_on_this_machine_needs_none() -> None:
    found = load(config(address="http://127.0.0.1:8490"), {})
    assert found.simulated
    assert found.key
    assert not load(config(address="http://127.0.0.1:8490"), KEYS).simulated


@pytest.mark.parametrize("bad", ["two\nlines", "nul\0", "sp ace", "ümlaut"])
def test_a_key_that_could_break_a_header_is_refused(bad: str) -> None:
    with pytest.raises(ConfigError, match="printable ASCII") as caught:
        load(config(), KEYS | {"APCA_API_SECRET_KEY": bad})
    assert bad not in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "APCA_API_KEY_ID").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        load(config(), KEYS | {"CREDENTIALS_DIRECTORY": str(tmp_path)})


def test_nothing_shows_a_secret() -> None:
    found = load(config(), KEYS)
    for text in (repr(found), str(found), f"{found.secret}", repr([found]), f"{found!r:>40}"):
        assert "hush" not in text
        assert "PKTEST" not in text
    with pytest.raises(TypeError):
        pickle.dumps(found.secret)
    assert not Secret("")
