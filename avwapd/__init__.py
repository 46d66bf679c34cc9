"""Trade anchored VWAP setups, and be able to prove what was done."""

__version__ = "0.1.0"

APPLICATION_ID = 0x61767764  # "avwd", in the header of every ledger
SCHEMA_VERSION = 4  # the database layout this code writes
RULES_VERSION = 1  # moves when the same bars may lead to another decision
