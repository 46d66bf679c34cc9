"""docs/gates.md, the engine's words and the tests say the same."""

from __future__ import annotations

import re
from pathlib import Path

from avwapd.config import as_plain, defaults
from avwapd.core.codes import GATES, OUTER_GATES

ROOT = Path(__file__).resolve().parents[2]
PLACES = ("gates", "core", "standing", "kill")
SHOWN = {"kill_switch": "kill_switch", "watchlist": "watchlist_stale", "regime": "regime", "earnings": "earnings",
         "bad_ticker": "bad_ticker"}  # fmt: skip


def table() -> list[list[str]]:
    """The rows of the one table whose first cell names a gate."""
    text = (ROOT / "docs" / "gates.md").read_text()
    lines = [line for line in text.splitlines() if re.match(r"\| (outer )?`\w+` \|", line)]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def written() -> set[str]:
    files = [path for place in PLACES for path in (ROOT / "tests" / place).glob("test_*.py")]
    return {name for path in files for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.M)}


def test_every_gate_has_one_line_and_every_line_a_test() -> None:
    rows = [row for row in table() if not row[0].startswith("`dry") and len(row) == 7]
    named = [row[0].replace("`", "").strip() for row in rows]
    assert named == [f"outer {gate}" for gate in OUTER_GATES] + list(GATES)
    there = written()
    assert [row[0] for row in rows if row[6] not in there] == []


def test_every_line_says_how_it_is_shown_and_how_it_fails() -> None:
    for gate, _, _, shown, fails, clears, _ in (row for row in table() if len(row) == 7):
        name = gate.replace("`", "").strip()
        outer = name.removeprefix("outer ")
        wanted = SHOWN.get(outer, "live") if name.startswith("outer ") else name
        assert shown == wanted, name
        assert fails.split(":")[0] in ("open", "closed", "see there", "`gates.regime_fail_open` (open)"), name
        assert clears


def test_settings_and_defaults_of_the_table_are_the_packaged_ones() -> None:
    plain = as_plain(defaults())
    seen = 0
    for row in (row for row in table() if len(row) == 7):
        for section, key, text in re.findall(r"`(\w+)\.(\w+)` \(([^):]+)", row[2]):
            value = plain[section][key]
            if text[-1].isdigit():
                assert float(text) == float(value), (section, key)
            elif isinstance(value, bool):
                assert text == str(value).lower(), (section, key)
            else:
                assert not value if text in ("none", "off") else text == value, (section, key)
            seen += 1
    assert seen > 25
