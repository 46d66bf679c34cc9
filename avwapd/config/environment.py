"""Every environment variable that the program reads, besides the settings (AVWAPD_SECTION__KEY).

One list: what is not in it and begins with AVWAPD_ is refused, .env.example is made from it, and values of its
secrets are kept out of every log.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from avwapd.config.errors import ConfigError

PREFIX: Final = "AVWAPD_"
USER, SYSTEMD, MACHINE, TESTS = "yours", "systemd's", "the machine's", "the tests'"


@dataclass(frozen=True, slots=True)
class Variable:
    """given_by: who sets it. secret: its value is never shown; such a one may be a credential file of that name."""

    name: str
    words: str
    given_by: str = USER
    secret: bool = False


KNOWN: Final = (
    Variable("AVWAPD_STATE_DIR", "where ledger, archive and lists lie; --state-dir goes before it"),
    Variable(
        "AVWAPD_CACHE_DIR", "where the engine's compiled code is kept; else systemd's folder, else ~/.cache/avwapd"
    ),
    Variable("AVWAPD_KILL_SWITCH", "1: opens nothing from the start on, until the daemon is started without it"),
    Variable("AVWAPD_LIVE_TRADING", "1: the first of two keys of the mode live; the other is LIVE_CONFIRM_TOKEN"),
    Variable("LIVE_CONFIRM_TOKEN", "the second key: what STATE/live_confirm_token.txt (0600) says", secret=True),
    Variable("APCA_API_KEY_ID", "Alpaca: the account's key", secret=True),
    Variable("APCA_API_SECRET_KEY", "Alpaca: the key's secret", secret=True),
    Variable("APCA_API_BASE_URL", "Alpaca: another address than the mode's own; has to fit the mode"),
    Variable("AVWAPD_CCXT_KEY", "an exchange through ccxt: the account's key", secret=True),
    Variable("AVWAPD_CCXT_SECRET", "an exchange through ccxt: the key's secret", secret=True),
    Variable("AVWAPD_CCXT_PASSWORD", "an exchange through ccxt: the pass phrase, where it wants one", secret=True),
    Variable("AVWAPD_NOTIFY_URLS", "where notifications go, as Apprise writes addresses, one a line", secret=True),
    Variable("AVWAPD_PING_URL", "a dead man's switch elsewhere, asked while the daemon makes progress", secret=True),
    Variable("AVWAPD_LIVE_TESTS", "1: tests/live asks real endpoints; the program itself does not read it", TESTS),
    Variable("CREDENTIALS_DIRECTORY", "one file a secret, named like its variable; goes before it", SYSTEMD),
    Variable("STATE_DIRECTORY", "the state folder, where AVWAPD_STATE_DIR does not say", SYSTEMD),
    Variable("RUNTIME_DIRECTORY", "where the control socket lies", SYSTEMD),
    Variable("CACHE_DIRECTORY", "compiled code, where AVWAPD_CACHE_DIR does not say", SYSTEMD),
    Variable("NOTIFY_SOCKET", "who is told: ready, watchdog, stopping", SYSTEMD),
    Variable("WATCHDOG_USEC", "how often the watchdog wants to hear of progress", SYSTEMD),
    Variable("WATCHDOG_PID", "whose watchdog that is", SYSTEMD),
    Variable("JOURNAL_STREAM", "that the log goes to the journal", SYSTEMD),
    Variable("MONITOR_UNIT", "which unit failed, of the service that tells of it", SYSTEMD),
    Variable("MONITOR_SERVICE_RESULT", "how it failed", SYSTEMD),
    Variable("MONITOR_EXIT_CODE", "how it ended", SYSTEMD),
    Variable("MONITOR_EXIT_STATUS", "with which code or signal", SYSTEMD),
    Variable("HOME", "~, for the folders that nothing else names", MACHINE),
    Variable("XDG_CACHE_HOME", "in the place of ~/.cache", MACHINE),
    Variable("SUDO_USER", "who deploys, for the deployment log", MACHINE),
    Variable("TERM", "dumb: plain lines in the place of a progress bar", MACHINE),
)
NAMES: Final = frozenset(variable.name for variable in KNOWN)
SECRETS: Final = tuple(variable.name for variable in KNOWN if variable.secret)


def unknown(names: Iterable[str]) -> list[str]:
    """Those that begin like ours, are no setting's, and that nothing reads."""
    return sorted(name for name in names if name.startswith(PREFIX) and "__" not in name and name not in NAMES)


def words_about(name: str) -> str:
    """What is wrong with an unknown variable; its value is never shown."""
    from difflib import get_close_matches

    shown = name[:60].encode("ascii", "backslashreplace").decode()
    from avwapd.config.layers import kinds

    settings = [PREFIX + key.upper().replace(".", "__") for key in kinds()]
    ours = [known for known in sorted(NAMES) if known.startswith(PREFIX)]
    near = get_close_matches(name[:60], ours + settings, n=1, cutoff=0.8)
    hint = f"; the nearest is {near[0]}" if near else "; a setting is AVWAPD_SECTION__KEY, with two __"
    return f"{shown} is no variable of avwapd{hint}"


def refuse_unknown(names: Iterable[str]) -> None:
    """A mistyped AVWAPD_STATE_DIR would quietly lead to another ledger."""
    for name in unknown(names):
        raise ConfigError(
            words_about(name),
            "the environment",
            "unset or correct it; .env.example and docs/configuration.md list them",
        )
