"""docs/faults-host.md has every row of its part of the fault table, and every test that it names exists."""

from __future__ import annotations

import re
from functools import cache

import pytest

from tests.tidy.rules import ROOT

ROWS = [5, *range(9, 23), *range(52, 65)]
COLUMNS = ("row", "fault", "how it is made", "what must happen", "holds", "test", "control")
NAMED = re.compile(r"`(\w+/test_\w+\.py)(?:::(test_\w+))?`( \*\(long\)\*)?")
LONG = re.compile(r"@pytest\.mark\.campaign\n(?:@.*\n(?:[ )\]].*\n)*)*(?:async )?def (test_\w+)")


@cache
def table(text: str = "") -> list[dict[str, str]]:
    lines = (text or (ROOT / "docs" / "faults-host.md").read_text()).splitlines()
    rows = [[cell.strip() for cell in line.strip().strip("|").split(" | ")] for line in lines if line.startswith("| ")]
    assert all(len(row) == len(COLUMNS) for row in rows), [row[0] for row in rows if len(row) != len(COLUMNS)]
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows if row[0].isdecimal()]


@cache
def written(file: str) -> frozenset[str]:
    path = ROOT / "tests" / file
    return (
        frozenset(re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.M)) if path.is_file() else frozenset()
    )


def missing(cell: str) -> list[str]:
    """Named tests that are nowhere."""
    return [
        f"{file}::{name}"
        for file, name, _ in NAMED.findall(cell)
        if not written(file) or name not in {"", *written(file)}
    ]


def test_every_row_is_there_once_and_in_order() -> None:
    assert [int(row["row"]) for row in table()] == ROWS


@pytest.mark.parametrize("row", table(), ids=lambda row: row["row"])
def test_every_cell_says_something_and_every_test_exists(row: dict[str, str]) -> None:
    assert all(row.values())
    assert missing(row["test"]) == []
    assert missing(row["control"]) == []
    quick = [name for _, name, is_long in NAMED.findall(row["test"]) if not is_long]
    assert quick, "make test shows something of every row"


@pytest.mark.parametrize("row", table(), ids=lambda row: row["row"])
def test_what_is_long_is_called_so(row: dict[str, str]) -> None:
    for cell in (row["test"], row["control"]):
        for file, name, is_long in NAMED.findall(cell):
            if name:
                text = (ROOT / "tests" / file).read_text()
                whole = re.search(r"^pytestmark = .*campaign", text, re.M)
                assert bool(whole or name in LONG.findall(text)) == bool(is_long), f"{file}::{name}"


def test_a_test_that_is_nowhere_would_be_seen() -> None:
    assert missing("`store/test_lock.py::test_nothing`, `store/test_nothing.py`, `store/test_lock.py`") == [
        "store/test_lock.py::test_nothing",
        "store/test_nothing.py::",
    ]
