"""Words of files from outside, before they reach the ledger, a log or a terminal: short, and of letters that show."""

from __future__ import annotations

WORD_LETTERS = 200
SYMBOL_LETTERS = 40


def is_word(text: str) -> bool:
    """Nothing that moves a cursor, turns the text around or cannot be encoded; may be empty."""
    return len(text) <= WORD_LETTERS and text.isprintable()


def is_symbol(text: str) -> bool:
    """Of any alphabet, as an archive may hold it; no blank, and nothing that leads to another folder."""
    plain = 0 < len(text) <= SYMBOL_LETTERS and text.isprintable() and " " not in text
    return plain and text[0] not in "./\\-" and ".." not in text
