"""The daemon's answers as lines for people. What an answer does not hold is left out, never guessed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from avwapd.verbs.status_words import PARTS, part_rows
from avwapd.verbs.venue_words import SECTIONS, section_rows


def lines_of(act: str, answer: Any) -> Iterator[str]:
    """Readable lines for the answer to `act`."""
    if act in ("status", "health") and isinstance(answer, Mapping):
        yield from pairs(status_rows(answer))
    elif act in FORMS and isinstance(answer, list) and answer:
        yield from table([FORMS[act](row) if isinstance(row, Mapping) else row for row in answer])
    elif isinstance(answer, Mapping):
        inner = answer.get(act)
        if isinstance(inner, list):
            yield from table(inner) if inner else [f"no {act}"]
        else:
            yield from pairs((name, words(value)) for name, value in answer.items())
    elif isinstance(answer, list):
        yield from table(answer) if answer else [f"no {act}"]
    else:
        yield words(answer)


def gate_row(row: Mapping[str, Any]) -> dict[str, Any]:
    closed = {1: "CLOSED", 0: "open"}.get(row.get("closed"), "?")  # type: ignore[arg-type]  # None finds nothing
    symbol, reason = row.get("symbol") or "all", row.get("reason") or ""
    return {"gate": row.get("gate"), "state": closed, "symbol": symbol, "since": since(row), "reason": reason}


def act_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Without the answer's JSON, which --json has; a refusal's words stay."""
    said = str(row.get("answer", ""))
    found = WHAT.search(said)
    shown = {"id": row.get("id"), "at": stamp(row.get("ts_ms")), "who": row.get("who"), "verb": row.get("verb")}
    return {**shown, "body": row.get("body") or "", "status": row.get("status"), "said": found[1] if found else ""}


def alert_row(row: Mapping[str, Any]) -> dict[str, Any]:
    shown = {"id": row.get("id"), "at": stamp(row.get("ts_ms")), "level": row.get("level")}
    return {**shown, "read": bool(row.get("read")), "what": row.get("what")}


def since(row: Mapping[str, Any]) -> str:
    return stamp(row["since_ms"]) if row.get("since_ms") else ""


def stamp(value: Any) -> str:
    return moment(value).split()[0] if isinstance(value, int) and value > 0 else "-"


WHAT = re.compile(r'"what":"((?:[^"\\]|\\.)*)"')
FORMS: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "gates": gate_row,
    "acts": act_row,
    "alerts": alert_row,
}


def status_rows(status: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    shown = {
        "last_ts_ms": ("last bar", moment),
        "lag_ms": ("lag", lambda value: f"{value} ms"),
        "symbols": ("symbols", count),
        "halted": ("halted", words),
        "queues": ("queues", fills),
    }
    for name, value in status.items():
        if name in SECTIONS and value is not None:
            yield from section_rows(name, value)
            continue
        if name in PARTS:
            yield from part_rows(name, value)
            continue
        label, form = shown.get(name, (name.replace("_", " "), words))
        if value is not None:
            yield label, form(value)


def moment(value: Any) -> str:
    """A `ts_ms` in both spellings; 0 is no bar yet."""
    if not isinstance(value, int) or value <= 0:
        return "none yet"
    try:
        text = datetime.fromtimestamp(value / 1000, UTC).isoformat(timespec="milliseconds")
    except (OverflowError, ValueError, OSError):
        return str(value)
    return f"{text.replace('+00:00', 'Z').replace('.000Z', 'Z')}  {value}"


def count(value: Any) -> str:
    return str(len(value)) if isinstance(value, list | dict) else words(value)


def fills(value: Any) -> str:
    """Queues as name count/bound."""
    if not isinstance(value, Mapping):
        return words(value)
    return "  ".join(f"{name} {fill(item)}" for name, item in value.items())


def fill(item: Any) -> str:
    if isinstance(item, Mapping) and {"size", "bound"} <= item.keys():
        return f"{item['size']}/{item['bound']}"
    if isinstance(item, list) and len(item) == 2:
        return f"{item[0]}/{item[1]}"
    return words(item)


def words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "  ".join(f"{name} {words(item)}" for name, item in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(map(words, value)) or "none"
    return "-" if value is None else str(value)


def pairs(rows: Iterator[tuple[str, str]] | Sequence[tuple[str, str]]) -> Iterator[str]:
    listed = list(rows)
    width = max((len(name) for name, _ in listed), default=0)
    for name, text in listed:
        yield f"{name:<{width}}  {text}"


def table(rows: Sequence[Any]) -> Iterator[str]:
    """Rows under their names; columns as wide as they need, numbers to the right."""
    if not all(isinstance(row, Mapping) for row in rows):
        yield from (words(row) for row in rows)
        return
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[words(row.get(name)) for name in names] for row in rows]
    numeric = [all(isinstance(row.get(name), int | float | None) for row in rows) for name in names]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(names)]
    for line in [names, *cells]:
        yield "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
