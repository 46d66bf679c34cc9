"""Numbered SQL files, `0002_why.sql` and on: each brings a ledger from the version before to its own."""
