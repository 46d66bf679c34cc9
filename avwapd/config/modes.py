"""What the modes mean: where orders go, and whose account that is."""

from __future__ import annotations

from typing import Final

from avwapd.config.sections import Config

DRY_RUN: Final = "dry-run"  # decides and opens nothing
SIM: Final = "sim"
PAPER: Final = "paper"
LIVE: Final = "live"
REMOTE_MODES = (PAPER, LIVE)  # always at a venue across a network
EMBEDDED: Final = "embedded"
REPLAY: Final = "replay"  # what the ledger calls a run in mode sim


def is_remote(config: Config) -> bool:
    """Whether bars come from a venue across a network and orders go there; a dry run goes where a venue is named."""
    if config.run.mode == DRY_RUN:
        return config.venue.name != EMBEDDED
    return config.run.mode in REMOTE_MODES


def account_mode(config: Config) -> str:
    """Whose addresses and keys are meant: the live account's in mode live alone."""
    return LIVE if config.run.mode == LIVE else PAPER


def recorded(mode: str) -> str:
    """What the ledger calls a run in this mode."""
    return REPLAY if mode == SIM else mode


def mode_of(word: str) -> str:
    """The mode of a run that the ledger calls so."""
    return SIM if word == REPLAY else word
