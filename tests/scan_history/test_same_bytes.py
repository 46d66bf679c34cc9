"""The same input gives the same files, whatever the process, and in whatever order the bars were imported."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import pytest

from avwapd import cli
from avwapd.research.historical import FILE, read_candidates
from avwapd.research.output import MANIFEST
from tests.scan_history.conftest import Run
from tests.scan_history.market import SYMBOLS, bars, events, furnish, furnished, iso, window
from tests.scan_verb.children import child

SEED = 11
LEFT_OUT = "S20"
DAYS = (window()[120], window()[-1])
WORLD = {"TZ": "Asia/Kathmandu", "LC_ALL": "de_DE.UTF-8", "LANG": "tr_TR.UTF-8", "PYTHONHASHSEED": "77"}


def told(run: Run, state: Path, out: Path) -> dict[str, bytes]:
    """Every file of two scans and of a short walk."""
    for day in DAYS:
        code, _, err = run("--state-dir", state, "scan", "--as-of", iso(day), "--out", out / str(day), "--json")
        assert code == 0, err
    words = ("backtest", "--mode", "historical_scan", "--start", iso(window()[-25]), "--out", out / "walk", "--json")
    code, _, err = run("--state-dir", state, *words)
    assert code == 0, err
    return files(out)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


Files = dict[str, bytes]


@pytest.fixture(scope="module")
def here(whole_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The files of the whole market, written at once and scanned in this process."""
    out = tmp_path_factory.mktemp("here")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(out)
        return told(lambda *words: (cli.main([*map(str, words)]), "", ""), whole_state, out)


def test_a_run_here_and_one_in_another_world(whole_state: Path, here: Files, tmp_path: Path) -> None:
    assert {f"walk/{FILE}", f"walk/{MANIFEST}", f"{DAYS[0]}/daily_candidates.csv"} <= here.keys()
    assert len(here) == 10
    (tmp_path / FILE).write_bytes(here[f"walk/{FILE}"])
    assert len(read_candidates(tmp_path / FILE)) > 10
    assert all(len(here[f"{day}/daily_candidates.csv"].splitlines()) > 2 for day in DAYS)

    def run(*words: object) -> tuple[int, str, str]:
        done = child(*words, folder=tmp_path, environ=WORLD)
        return done.returncode, done.stdout, done.stderr

    assert told(run, whole_state, tmp_path / "there") == here


def written_apart(folder: Path) -> list[Path]:
    """Every symbol's bars as two CSV files, cut in the middle."""
    folder.mkdir()
    paths = []
    for number, symbol in enumerate(SYMBOLS):
        columns = {name: column.tolist() for name, column in bars(number).items()}
        rows = list(zip(*columns.values(), strict=True))
        for part, some in enumerate((rows[: len(rows) // 2], rows[len(rows) // 2 :])):
            path = folder / f"{symbol}-{part}.csv"
            with path.open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow([*columns, "symbol"])
                writer.writerows([*row, symbol] for row in some)
            paths.append(path)
    return paths


def test_the_order_of_import_is_no_input(here: Files, tmp_path: Path, avwapd: Run) -> None:
    """Files that the command imports, shuffled, against bars that were written at once."""
    state, paths = tmp_path / "state", written_apart(tmp_path / "csv")
    given = [(event.symbol, iso(event.ex_date), *map(repr, event[2:])) for event in events()]
    random.Random(SEED).shuffle(paths)
    random.Random(SEED).shuffle(given)
    table = tmp_path / "events.csv"
    table.write_text("\n".join(map(",".join, [("symbol", "ex_date", "price_ratio", "split_ratio"), *given])) + "\n")
    words = ("--state-dir", state, "bars")
    half = len(paths) // 2
    for some in (paths[:half], paths[half:]):
        code, _, err = avwapd(*words, "import", *some, "--exchange", "us", "--timeframe", "1d")
        assert code == 0, err
    code, _, err = avwapd(*words, "actions", table, "--exchange", "us")
    assert code == 0, err
    furnish(state)
    assert told(avwapd, state, tmp_path / "out") == here


def test_another_bar_gives_other_bytes(here: Files, tmp_path: Path, avwapd: Run) -> None:
    """What the tests above compare does change with its input."""
    fewer = furnished(tmp_path / "fewer", [symbol for symbol in SYMBOLS if symbol != LEFT_OUT])
    other = told(avwapd, fewer, tmp_path / "other")
    assert here.keys() == other.keys()
    assert here[f"walk/{FILE}"] != other[f"walk/{FILE}"]
    assert here[f"{DAYS[1]}/scan_manifest.json"] != other[f"{DAYS[1]}/scan_manifest.json"]
