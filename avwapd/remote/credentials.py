"""Keys of accounts: from systemd's credential files or the environment, never from a setting, never shown."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from avwapd.config.errors import ConfigError
from avwapd.config.sections import Config

FOLDER = "CREDENTIALS_DIRECTORY"
MAX_BYTES = 64 * 1024
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class Names:
    """The variables, and likewise the credential files, of one kind of account."""

    key: str
    secret: str
    password: str = ""  # optional, where the exchange wants one
    address: str = ""  # optional


ALPACA = Names("APCA_API_KEY_ID", "APCA_API_SECRET_KEY", address="APCA_API_BASE_URL")
CCXT = Names("AVWAPD_CCXT_KEY", "AVWAPD_CCXT_SECRET", "AVWAPD_CCXT_PASSWORD")


class Secret:
    """Text that only `reveal` shows."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return "Secret(…)" if self._text else "Secret()"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a secret is not to be written anywhere")


NONE = Secret("")


@dataclass(frozen=True, slots=True)
class Credentials:
    """An account's keys. address: where the environment sends the client to, or empty. simulated: made up here."""

    key: Secret
    secret: Secret
    password: Secret = NONE
    address: str = ""
    simulated: bool = False


def names_of(venue: str) -> Names:
    return ALPACA if venue == "alpaca" else CCXT


def load(config: Config, environment: Mapping[str, str] | None = None) -> Credentials:
    """Of the configured venue. A venue on this machine is simulated and takes any keys: without any, made-up ones.

    Raises ConfigError that names the variable and the file.
    """
    known = os.environ if environment is None else environment
    names = names_of(config.venue.name)
    address = _read(names.address, known) if names.address else ""
    key, secret = _read(names.key, known), _read(names.secret, known)
    if not (key or secret) and is_loopback(config.venue.address or address):
        return Credentials(Secret("simulated"), Secret("simulated"), address=address, simulated=True)
    for name, value in ((names.key, key), (names.secret, secret)):
        if not value:
            raise ConfigError(
                f"no {name} for venue {config.venue.name}",
                f"neither the environment nor ${FOLDER}/{name}",
                f"export {name}=…, or give the service a credential file of that name",
            )
    password = _read(names.password, known) if names.password else ""
    return Credentials(Secret(key), Secret(secret), Secret(password), address)


def present(config: Config, environment: Mapping[str, str] | None = None) -> bool:
    """Whether `load` would find keys; asks no network."""
    try:
        load(config, environment)
    except ConfigError:
        return False
    return True


def is_loopback(address: str) -> bool:
    """Whether an http(s) or ws(s) address is on this machine, so that nothing real can be behind it."""
    try:
        return urlsplit(address).hostname in LOOPBACK
    except ValueError:
        return False


def _read(name: str, environment: Mapping[str, str]) -> str:
    """A credential file goes before the variable of its name."""
    folder = environment.get(FOLDER, "")
    path = Path(folder) / name if folder else None
    if path is not None and path.exists():
        try:
            if path.stat().st_size > MAX_BYTES:
                raise ValueError(f"more than {MAX_BYTES} bytes")
            text = path.read_text("utf-8")
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"the credential {name} cannot be read: {type(error).__name__}", f"${FOLDER}/{name}", "mend the file"
            ) from None
    else:
        text = environment.get(name, "")
    text = text.strip()
    if any(ord(letter) < 33 or ord(letter) > 126 for letter in text):
        raise ConfigError(
            f"{name} holds something else than one line of printable ASCII", name, "copy the key once more"
        )
    return text
