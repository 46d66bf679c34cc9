"""What `avwapd scan` and `avwapd why --scan` share: gather what a day's scan looks at, run it, keep its files."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import avwapd
from avwapd.config import Config, config_hash
from avwapd.paths import Paths
from avwapd.verbs.days import age_days, counted
from avwapd.verbs.version import code_hash

if TYPE_CHECKING:
    from avwapd.feeds.daily import DailyMarket
    from avwapd.scan.run import ScanResult
    from avwapd.store.lists import Lists
    from avwapd.store.universe import Snapshot

CANDIDATES, TRADINGVIEW, FALLEN, MANIFEST = (
    "daily_candidates.csv",
    "tradingview_watchlist.txt",
    "scan_fallen.csv",
    "scan_manifest.json",
)
FALLEN_COLUMNS = ("symbol", "step", "reason", "value", "limit")
Stage = Callable[[str], None]


@dataclass(frozen=True)
class Asked:
    """as_of: yyyymmdd, None for the newest session; symbols: with rules_only, none for all."""

    as_of: int | None = None
    rules_only: bool = False
    symbols: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scanned:
    """One scan and all it looked at. newest: yyyymmdd of the archive's last session; snapshot: None with rules_only."""

    result: ScanResult
    market: DailyMarket
    newest: int
    snapshot: Snapshot | None
    lists: Lists
    asked: Asked
    warnings: tuple[str, ...]

    @property
    def listing(self) -> dict[str, str]:
        """Where symbols are listed: by the issuer's file, and over it by the imported list."""
        known = {row.symbol: row.exchange for row in self.snapshot.rows if row.exchange} if self.snapshot else {}
        return {**known, **self.lists.listing}


def scanned(config: Config, paths: Paths, asked: Asked, stage: Stage = lambda text: None) -> Scanned:
    """Run the scan of a day. Offline; raises what its parts raise, and has then written nothing."""
    from avwapd.feeds.daily import load_daily
    from avwapd.store.lists import load as load_lists
    from avwapd.store.universe import as_of as universe_of

    stage("universe and lists")
    snapshot = None if asked.rules_only else universe_of(paths.universe, asked.as_of)
    lists = load_lists(paths.lists)
    stage(f"daily bars of {config.scan.exchange}")
    with ThreadPoolExecutor(1) as beside:  # the bars' checksum is found while the compiler loads
        loading = beside.submit(load_daily, paths.archive, config.scan.exchange)
        from avwapd.research.scanning import holes_in, inputs_of, moves_in
        from avwapd.scan.run import scan

        market = loading.result()
    newest, day = days_of(market, asked.as_of)
    members: Mapping[str, Any] = {row.symbol: row for row in snapshot.rows} if snapshot else named(market, asked)
    stage(f"scan of {day_text(day)}")
    inputs = inputs_of(market, members, lists, config, day, stand_in=bool(snapshot and snapshot.stand_in))
    holes = () if asked.rules_only else holes_in(market, config, day)
    result = scan(inputs, config, rules_only=asked.rules_only)
    said = (
        *standing_in(snapshot, asked),
        *problems_told(market),
        *holes,
        *moves_in(market, members, config, day),
        *result.warnings,
    )
    return Scanned(result, market, newest, snapshot, lists, asked, said)


def days_of(market: DailyMarket, as_of: int | None) -> tuple[int, int]:
    """The newest session with a bar, and the newest at or before `as_of`; both yyyymmdd."""
    from avwapd.feeds import FeedError

    held = market.sessions["date"][market.seen]
    fitting = held if as_of is None else held[held <= as_of]
    if not len(fitting):
        what = f"no daily bar of {market.exchange}" + (f" lies at or before {day_text(as_of)}" if as_of else "")
        next_step = f"see `avwapd bars list --exchange {market.exchange} --timeframe 1d`"
        raise FeedError(what, f"the archive's {market.exchange}/1d", next_step)
    return int(held[-1]), int(fitting[-1])


def named(market: DailyMarket, asked: Asked) -> dict[str, Any]:
    """Members for symbols that were named on the command line; one without bars is an error."""
    from avwapd.feeds import FeedError
    from avwapd.store.universe import Member

    missing = sorted(set(asked.symbols) - set(market.symbols))
    if missing:
        what = f"no daily bars of {', '.join(missing[:5])}" + (f" and {len(missing) - 5} more" * (len(missing) > 5))
        raise FeedError(what, f"the archive's {market.exchange}/1d", "see `avwapd bars list --timeframe 1d`")
    return {symbol: Member(symbol, "", "", 0.0) for symbol in asked.symbols}


def standing_in(snapshot: Snapshot | None, asked: Asked) -> tuple[str, ...]:
    if snapshot is None or not snapshot.stand_in or asked.as_of is None:
        return ()
    then, now = day_text(snapshot.date), day_text(asked.as_of)
    return (f"no universe of {now} or before: that of {then} stands in, so only what survived until then is seen",)


def problems_told(market: DailyMarket) -> tuple[str, ...]:
    """What the archive's reader left out."""
    return tuple(
        f"{counted(problem.bars, 'bar')} of {problem.symbol} left out: {problem.detail}" for problem in market.problems
    )


def day_text(day: int) -> str:
    return f"{day // 10_000:04}-{day // 100 % 100:02}-{day % 100:02}"


# ------------------------------------------------------------------- files


def contents(done: Scanned, config: Config) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Every file of a scan by name, the manifest last; and the watchlist."""
    from avwapd.scan.files import csv_bytes, tradingview_bytes
    from avwapd.scan.watchlist import watchlist

    files = {
        CANDIDATES: csv_bytes(done.result),
        TRADINGVIEW: tradingview_bytes(done.result, done.listing),
        FALLEN: fallen_bytes(done.result),
    }
    made = watchlist(
        done.result,
        rules_version=str(avwapd.RULES_VERSION),
        data_hash=done.market.data_hash,
        config_hash=config_hash(config),
    )
    manifest = manifest_of(done, config, files) | {"watchlist_version": made["version"]}
    files[MANIFEST] = (json.dumps(manifest, indent=1, allow_nan=False) + "\n").encode()
    return files, made


def fallen_bytes(result: ScanResult) -> bytes:
    """One line for each symbol that fell out; numbers exact, nothing where there is none."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FALLEN_COLUMNS)
    writer.writerows([getattr(fallen, name) for name in FALLEN_COLUMNS] for fallen in result.out)
    return text.getvalue().encode()


def fell(result: ScanResult) -> dict[str, dict[str, int]]:
    """How many fell at each step, by reason."""
    found: dict[str, dict[str, int]] = {}
    for (step, reason), count in sorted(Counter((row.step, row.reason) for row in result.out).items()):
        found.setdefault(str(step), {})[reason] = count
    return found


def manifest_of(done: Scanned, config: Config, files: Mapping[str, bytes]) -> dict[str, Any]:
    """What went in and what came out. Nothing of the wall clock: the same inputs give the same bytes."""
    day, snapshot, market = done.result.scan_date, done.snapshot, done.market
    inputs = {
        "mode": "rules_only" if done.asked.rules_only else "scan",
        "code_version": avwapd.__version__,
        "code_hash": code_hash(),
        "rules_version": str(avwapd.RULES_VERSION),
        "config_hash": config_hash(config),
        "data_hash": market.data_hash,
        "calendar_version": market.calendar_version,
        "exchange": market.exchange,
        "scan_date": day_text(day),
        "symbols": list(done.asked.symbols),
        "universe": snapshot
        and {
            "date": day_text(snapshot.date),
            "age_days": age_days(snapshot.date, day),
            "tickers": len(snapshot.rows),
            "stand_in": snapshot.stand_in,
            "sha256": snapshot.digest,
        },
        "lists": {
            kind: {
                "rows": fact.rows,
                "imported": day_text(fact.imported) if fact.imported else None,
                "age_days": age_days(fact.imported, day) if fact.imported else None,
                "sha256": fact.digest,
            }
            for kind, fact in sorted(done.lists.facts.items())
        },
    }
    plain = json.dumps(inputs, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return {
        "run_id": hashlib.sha256(plain.encode()).hexdigest()[:16],
        **inputs,
        "reason": done.result.reason,
        "counts": counts_of(done),
        "fell": fell(done.result),
        "warnings": list(done.warnings),
        "outputs": {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for name, content in files.items()
        },
    }


def counts_of(done: Scanned) -> dict[str, int]:
    result = done.result
    own = {name: int(count) for name, count in dict(result.counts).items()}
    fallen = len({row.symbol for row in result.out})
    marked = sum(1 for row in result.rows if row.execute)
    return {**own, "candidates": len(result.rows), "marked": marked, "fallen": fallen}


def keep(files: Mapping[str, bytes], folder: Path) -> None:
    """Each file whole; the manifest last, so that it never names what is not there."""
    from avwapd.store import StoreError
    from avwapd.store.whole import write_whole

    if folder.exists() and not folder.is_dir():
        raise StoreError("the scan's files need a folder, and that is a file", folder, "name another place: --out DIR")
    for name, content in files.items():
        write_whole(folder / name, content)
