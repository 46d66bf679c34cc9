"""The files that come from outside, each as one case: made, mutated, read.

python -m tests.fuzz.targets watchlist 1000 [SEED]
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from avwapd.config import ConfigError, as_plain, config_hash, layers, load, packaged
from avwapd.config.kinds import Table
from avwapd.config.shown import as_toml
from avwapd.scan.lists import parse_list
from avwapd.scan.sheet import SheetError
from avwapd.scan.universe import parse_universe
from avwapd.settings import params
from avwapd.store import StoreError, lists, universe, watchlist
from tests.fuzz.judge import PLANTED, SEED, judged, limit_memory, refused
from tests.fuzz.mutate import NASTY, mutated

FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-")) if __name__ == "__main__" else Path()  # of this process


def place() -> Path:
    return FOLDER


# ------------------------------------------------------------------ config

KEYS = tuple(layers.kinds())
DEFAULTS = packaged("avwapd.toml").read_bytes()


@cache
def base() -> dict[str, Any]:
    """The packaged defaults, read once: they are not what is mutated."""
    return layers._read(packaged("avwapd.toml"))


@cache
def usual() -> dict[str, Any]:
    return {key: getattr(getattr(layers.defaults(), key.partition(".")[0]), key.partition(".")[2]) for key in KEYS}


def some_value(dice: random.Random, key: str) -> str:
    """Mostly one that fits: what is refused at the first glance hides what comes after it."""
    now = usual()[key]
    how = dice.random()
    if how < 0.15:
        return dice.choice(NASTY)
    if how < 0.35 and isinstance(now, int | float) and not isinstance(now, bool):
        return repr(now * dice.choice((1000, -1, 0.001, 2, 0)))
    return as_toml(now)


def local_layer(dice: random.Random) -> bytes:
    """A file of a few settings, right or wrong."""
    sections: dict[str, list[str]] = {}
    for key in dice.sample(KEYS, dice.randrange(1, 8)):
        section, _, name = key.partition(".")
        value = some_value(dice, key)
        if dice.random() < 0.05:
            name = dice.choice((name[:-1] or "x", name.upper(), f"{name}_", "__class__"))
        if dice.random() < 0.03:
            name, value = dice.choice(("api_key", "token", "x")), f'"{PLANTED}"'
        head = f"[{section}]" if dice.random() < 0.97 else dice.choice((f"[[{section}]]", f"[{section}.{name}]"))
        sections.setdefault(head, []).append(f"{name} = {value}")
    lines = [line for head, settings in sections.items() for line in (head, *settings)]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def environ_of(dice: random.Random) -> dict[str, str]:
    found = {}
    for key in dice.sample(KEYS, dice.randrange(0, 4)):
        name = key.upper().replace(".", "__")
        if isinstance(layers.kinds()[key], Table):
            name += dice.choice(("", "__USD", "__A", "__", "____"))
        if dice.random() < 0.1:
            name = dice.choice((name.replace("__", "_"), name.lower(), f"{name}__X", "STATE_DIRR", "__", "FOO", "Ü__X"))
        found[f"AVWAPD_{name}"] = some_value(dice, key).replace("\0", "")
    if dice.random() < 0.1:
        found["AVWAPD_TOKEN"] = PLANTED
    return found


def config(dice: random.Random) -> str:
    data = local_layer(dice) if dice.random() < 0.85 else DEFAULTS
    data = mutated(dice, data) if dice.random() < 0.5 else data
    file = place() / dice.choice(("given.toml", "given.toml", "avwapd.local.toml"))
    file.write_bytes(data)
    try:
        found = load(file, folder=place(), environ=environ_of(dice))
    except ConfigError as error:
        return refused(error, (78,))
    finally:
        file.unlink()
    json.dumps(as_plain(found), allow_nan=False)
    assert len(config_hash(found)) == 64
    for key, kind in layers.kinds().items():  # what came through is within its bounds, whatever the way
        section, _, name = key.partition(".")
        value = getattr(getattr(found, section), name)
        assert value is None or kind.read("max" if value == float("inf") else value) == value, key
    if found.equity.currency in found.equity.start:
        record = params(found, currency=found.equity.currency, timeframe_ms=60_000, bell=True, unattended=True)[0]
        assert 0 < record["ceiling_notional"] <= 1e6
    return "taken"


# --------------------------------------------------------------- watchlist


def row(dice: random.Random, rank: int) -> dict[str, Any]:
    side, level = dice.choice((1, -1)), round(dice.uniform(5, 500), 2)
    return {
        "symbol": f"S{rank}", "rank": rank, "side": side, "tier": dice.choice("AB"), "execute": dice.random() < 0.8,
        "sector": "Energy", "anchor": "YTD", "anchor_date": 20240102, "confluence": 1, "price": level * 1.01,
        "level": level, "stop": level * (1 - side * 0.03), "r1": level * (1 + side * 0.03),
        "r2": level * (1 + side * 0.06),
        "trend_score": 7.5, "dist_pct": 1.0, "slope": 0.01, "atr": None, "swing_low": level * 0.95, "swing_high": None,
    }  # fmt: skip


def whole_list(dice: random.Random) -> dict[str, Any]:
    rows = [row(dice, rank) for rank in range(1, dice.choice((1, 3, 20)) + 1)]
    anchors = [
        {"symbol": each["symbol"], "kind": "YTD", "anchor_date": 20240102, "known_date": 20240103, "rule_version": "1"}
        for each in rows
    ]
    found = {"format": 1, "scan_date": 20240502, "rules_version": "1", "data_hash": "d", "config_hash": "c",
             "rows": rows, "anchors": anchors}  # fmt: skip
    return found | {"version": watchlist.version_of(20240502, rows, anchors)}


DEEP: Any = []
for _ in range(400):
    DEEP = [DEEP]
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.0, -0.0, 10**30, 10**400, float("nan"), float("inf"), 1e308, "", "a" * 100_000, "\0",
    "\ud800", "\u202eX", "A\nB", "\x1b[2J", "../x", [], {}, [[]], {"a": []}, DEEP, 99_999_999, "1", "A", [1] * 5000,
)  # fmt: skip


def bent(dice: random.Random, value: Any) -> None:
    """One value somewhere inside gives way, goes, or comes in addition."""
    while isinstance(value, dict | list) and value:
        at = dice.choice(list(value)) if isinstance(value, dict) else dice.randrange(len(value))
        if isinstance(value[at], dict | list) and value[at] and dice.random() < 0.85:
            value = value[at]
            continue
        act = dice.random()
        if act < 0.15:
            del value[at]
        elif act < 0.25 and isinstance(value, dict):
            value[dice.choice(("x", "", "symbol", "\ud800"))] = dice.choice(ODD)
        else:
            value[at] = dice.choice(ODD)
        return


def list_bytes(dice: random.Random) -> bytes:
    found = whole_list(dice)
    how = dice.random()
    if how < 0.6:
        for _ in range(dice.choice((1, 1, 2))):
            bent(dice, found)
        if dice.random() < 0.7 and all(name in found for name in ("scan_date", "rows", "anchors")):
            text = json.dumps({name: found[name] for name in ("scan_date", "rows", "anchors")})
            if "NaN" not in text and "Infinity" not in text and isinstance(found["rows"], list | tuple):
                with suppress(TypeError):  # under its right name, so that no check before hides the next
                    found["version"] = watchlist.version_of(found["scan_date"], found["rows"], found["anchors"])
    data = json.dumps(found).encode()
    return data if how < 0.55 else mutated(dice, data)


def of_watchlist(dice: random.Random) -> str:
    file = place() / "watchlist.json"
    file.write_bytes(list_bytes(dice))
    try:
        found = watchlist.read(file)
    except watchlist.WatchlistRefused as error:
        return refused(error, (1, 78))
    assert found is not None
    assert watchlist.of_body(found.body) == found
    symbols = [str(each["symbol"]) for each in found.rows]
    records, missing = watchlist.records(found.rows, found.scan_date, symbols)
    assert (len(records), missing) == (len(found.rows), ())
    for word in (*symbols, *(str(each["sector"]) for each in found.rows)):
        assert word.encode() is not None
        assert word.isprintable()
    return "taken"


# --------------------------------------------------- universe and lists

HOLDINGS = """\
Some Fund
Fund Holdings as of,"May 02, 2024"

Ticker,Name,Sector,Asset Class,Market Value,Weight (%),Exchange
"AAPL","APPLE INC","Information Technology","Equity","1,234.56","5.1","NASDAQ"
"BRKB","BERKSHIRE HATHAWAY B","Financials","Equity","999.00","1.6","New York Stock Exchange Inc."
"XOM","EXXON MOBIL","Energy","Equity","88","1.0","NYSE"
"MSFT","MICROSOFT","Information Technology","Equity","77","4.0","NASDAQ"
"USD","US DOLLAR","Cash and/or Derivatives","Cash","1","0.1","-"
"ESM4","S&P FUT","Cash and/or Derivatives","Futures","1","0.0","-"

"The content is the issuer's, and so on."
"""
PLAIN = "Ticker,Name,Sector,WeightPct\n" + "".join(f"T{n},Name {n},Energy,0.{n}\n" for n in range(1, 60))
LISTS = {
    "earnings": "symbol,date,when,known_date\n"
    + "".join(f"T{n},2024-05-{n:02},amc,2024-04-01\n" for n in range(1, 30)),
    "bad-tickers": "symbol,reason,from,to\n" + "".join(f"T{n},halted {n},2024-01-01,\n" for n in range(1, 30)),
    "listings": "symbol,exchange,listed\n" + "".join(f"T{n},NASDAQ,2004-01-02\n" for n in range(1, 30)),
}
CELLS = (
    "", "-", "--", "A" * 300_000, "\t", "a\x07b", "9" * 500, "-5", "1e9", "nan", "inf", "1,000,000.5", "AAPL", "brk.b",
    "2024-02-30", "99999999", "20240502", "as of", "=cmd()", "\u202e", "\ud7ff", "ﬁ", "BRK.B.C", "../x", "amc ",
    "Ticker",
)  # fmt: skip


def cell(dice: random.Random, data: bytes) -> bytes:
    """One cell of one line gives way, goes, or comes in addition."""
    lines = data.decode("utf-8", "replace").split("\n")
    at = dice.randrange(len(lines))
    cells = lines[at].split(",")
    place_in = dice.randrange(len(cells))
    act = dice.random()
    if act < 0.1:
        del cells[place_in]
    elif act < 0.2:
        cells.insert(place_in, dice.choice(CELLS))
    else:
        cells[place_in] = dice.choice(CELLS)
    lines[at] = ",".join(cells)
    return "\n".join(lines).encode("utf-8", "replace")


@cache
def shares() -> dict[str, str]:
    return dict(load(environ={}, folder=place()).universe.class_shares)


def of_universe(dice: random.Random) -> str:
    """A holdings file as the issuer or a person gives it; or a snapshot that was changed on disk."""
    if dice.random() < 0.25:
        return of_snapshot(dice)
    data = mutated(dice, dice.choice((HOLDINGS, PLAIN)).encode(), (cell,))
    try:
        found = parse_universe(data, "holdings.csv", shares())
    except SheetError as error:
        return refused(error, (1, 78))
    saved = universe.save(place(), 20240502, (universe.Member(*each) for each in found.members))
    assert len(saved.rows) == len(found.members)
    return "taken"


def of_snapshot(dice: random.Random) -> str:
    text = "Ticker,Name,Sector,WeightPct,Exchange\n" + "".join(f"T{n:02},N,S,0.5,NYSE\n" for n in range(30))
    (place() / "2024-05-03.csv").write_bytes(mutated(dice, text.encode(), (cell,)))
    try:
        found = universe.newest(place())
    except StoreError as error:
        return refused(error, (1, 78))
    finally:
        (place() / "2024-05-03.csv").unlink()
    assert found is not None
    assert all(each.weight_pct == each.weight_pct and each.symbol for each in found.rows)
    return "taken"


def of_lists(dice: random.Random) -> str:
    """An import as a person gives it; or an imported list that was changed on disk."""
    kind = dice.choice(tuple(LISTS))
    if dice.random() < 0.5:
        try:
            found = parse_list(kind, mutated(dice, LISTS[kind].encode(), (cell,)), "given.csv", shares(), 20240502)
        except SheetError as error:
            return refused(error, (1, 78))
        lists.save(place(), kind, found.rows, "2024-05-02")
        assert lists.load(place()).facts[kind].rows == len(found.rows)  # what was taken can be read again
        return "taken"
    parsed = parse_list(kind, LISTS[kind].encode(), "given.csv", shares(), 20240502)
    path = lists.save(place(), kind, parsed.rows, "2024-05-02")
    path.write_bytes(mutated(dice, path.read_bytes(), (cell,)))
    try:
        kept = lists.load(place())
        kept.bad_on(20240502)
        kept.known_on(20240502)
    except StoreError as error:
        return refused(error, (1, 78))
    finally:
        path.unlink()
    return "taken"


def of_files(dice: random.Random) -> str:
    return of_universe(dice) if dice.random() < 0.5 else of_lists(dice)


TARGETS = {"config": config, "watchlist": of_watchlist, "universe": of_files}


def main() -> int:
    name, cases = sys.argv[1], int(sys.argv[2])
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else SEED
    parsed, packed = base(), packaged("avwapd.toml")
    plain_read = layers._read
    layers._read = lambda path: parsed if path == packed else plain_read(path)
    shares()
    limit_memory()
    try:
        counts, wrong = judged(TARGETS[name], cases, seed)
    finally:
        shutil.rmtree(FOLDER)
    print(json.dumps({"target": name, "cases": cases, "seed": seed, **counts, "wrong": wrong}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
