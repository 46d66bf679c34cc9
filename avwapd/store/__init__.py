"""The ledger: one SQLite file, one writer, and the errors a person may meet on the way to it."""

from __future__ import annotations

from avwapd.errors import Told


class StoreError(Told):
    """Something about the ledger that a person must know."""


class LedgerRefused(StoreError):
    """The path does not hold a ledger this program may write; the file was left as it was."""

    exit_code = 78


class LedgerMissing(LedgerRefused):
    """No file there, and making one was not asked for."""


class NotOurLedger(LedgerRefused):
    """A folder, no SQLite file, or another program's."""


class LedgerNewer(LedgerRefused):
    """Written by a later version of this program."""


class LedgerReadOnly(LedgerRefused):
    """The file or its folder cannot be written."""


class NetworkFileSystem(LedgerRefused):
    """The state folder lies where neither locks nor fsync can be trusted."""


class InstrumentsChanged(LedgerRefused):
    """An instrument's tick, lot or timeframe differs from the one its rows were written in."""


class RulesChanged(LedgerRefused):
    """Settings that decide differ from those the journal was written with."""


class VenueUnknown(StoreError):
    """Venue and ledger do not belong together: one knows orders of ours that the other does not."""


class LedgerDamaged(StoreError):
    """SQLite's own check found the file broken."""


class MigrationFailed(StoreError):
    """A migration did not go through; the file is as it was and the backup lies beside it."""


class LockHeld(StoreError):
    """Another process owns this state folder."""


class EpochFenced(StoreError):
    """A newer start of the daemon has taken over the ledger."""


class ImpossibleMove(StoreError):
    """An outbox row was told to move where the table of moves has no way."""


class WriterFailed(StoreError):
    """A transaction or its commit failed: memory is ahead of the disk, so the process must end."""
