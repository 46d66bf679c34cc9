"""The two keys of live trading: a variable that says so, and a token that lies in two places.

The token is the service's own secret (LIVE_CONFIRM_TOKEN) and the content of a file in the state folder that only this
user may read. Neither is ever shown; what is wrong with them is.
"""

from __future__ import annotations

import hmac
import os
import stat
from collections.abc import Mapping
from pathlib import Path

SWITCH, TOKEN = "AVWAPD_LIVE_TRADING", "LIVE_CONFIRM_TOKEN"
FOLDER = "CREDENTIALS_DIRECTORY"
FILE_NAME = "live_confirm_token.txt"
MOST_BYTES = 4096


class KeyMissing(Exception):
    """In words, without the key."""


def missing(state: Path, typed: str | None = None, environ: Mapping[str, str] | None = None) -> list[str]:
    """What forbids arming; nothing where both keys are there and agree. typed: what an operator gave besides them."""
    env = os.environ if environ is None else environ
    found = [] if env.get(SWITCH) == "1" else [f"{SWITCH} is not 1"]
    try:
        kept = of_file(state / FILE_NAME)
        given = of_service(env)
    except KeyMissing as lack:
        return [*found, str(lack)]
    if not hmac.compare_digest(given, kept):
        found.append(f"{TOKEN} is not what {FILE_NAME} says")
    if typed is not None and not hmac.compare_digest(typed.strip().encode(), kept):
        found.append(f"the token given is not what {FILE_NAME} says")
    return found


def of_service(env: Mapping[str, str]) -> bytes:
    """A credential file goes before the variable of its name. Raises KeyMissing."""
    folder = env.get(FOLDER, "")
    path = Path(folder) / TOKEN if folder else None
    if path is not None and os.path.lexists(path):
        try:
            with path.open("rb") as file:
                token = file.read(MOST_BYTES + 1).strip()
        except OSError as error:
            raise KeyMissing(f"the credential {TOKEN} cannot be read: {error.strerror}") from None
    else:
        token = env.get(TOKEN, "").encode("utf-8", "surrogateescape").strip()
    if not token:
        raise KeyMissing(f"there is no {TOKEN}, neither a credential nor a variable")
    if len(token) > MOST_BYTES:
        raise KeyMissing(f"{TOKEN} is longer than {MOST_BYTES} bytes")
    return token


def of_file(path: Path) -> bytes:
    """The token of the state folder: a regular file of this user, 0600, not empty. Raises KeyMissing."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise KeyMissing(f"{FILE_NAME} is not in the state folder") from None
    except OSError as error:
        raise KeyMissing(f"{FILE_NAME} cannot be opened as a file: {error.strerror}") from None
    facts = os.fstat(handle)
    if not stat.S_ISREG(facts.st_mode):
        os.close(handle)
        raise KeyMissing(f"{FILE_NAME} is no regular file")
    with os.fdopen(handle, "rb") as file:
        if facts.st_uid != os.geteuid():
            raise KeyMissing(f"{FILE_NAME} belongs to another user")
        if stat.S_IMODE(facts.st_mode) != 0o600:
            raise KeyMissing(f"{FILE_NAME} has mode {stat.S_IMODE(facts.st_mode):04o}, wanted is 0600")
        token = file.read(MOST_BYTES + 1).strip()
    if not token:
        raise KeyMissing(f"{FILE_NAME} is empty")
    if len(token) > MOST_BYTES:
        raise KeyMissing(f"{FILE_NAME} is longer than {MOST_BYTES} bytes")
    return token
