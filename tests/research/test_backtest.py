"""A backtest's files: the same bytes from the same inputs, and the same rows that a live run exports."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from avwapd import cli
from avwapd.config import load
from avwapd.feeds.demo import generate
from avwapd.feeds.world import build
from avwapd.research import ResearchError, backtest, compact, equity, output, scripted
from avwapd.research.output import MANIFEST, sha256_of
from avwapd.research.scripted import Script
from tests.research import paper
from tests.research.conftest import Base

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(base: Base, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """avwapd on the base's archive."""
    state = base.state(tmp_path / "state")

    def avwapd(verb: str, *words: object, state: Path = state) -> tuple[int, str]:
        config = ["--config", str(base.config)] if verb in ("backtest", "audit") else []
        code = cli.main(["--state-dir", str(state), verb, *config, *map(str, words)])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return avwapd


@pytest.fixture(scope="module")
def files(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    state = base.state(folder / "state")
    words = ["--state-dir", str(state), "backtest", "--config", str(base.config), "--out", str(folder / "out")]
    assert cli.main(words) == 0
    return folder / "out"


def test_the_same_inputs_give_the_same_bytes(files: Path, run: Run, tmp_path: Path) -> None:
    code, text = run("backtest", "--out", tmp_path / "again")
    assert code == 0, text
    names = sorted(path.name for path in files.iterdir())
    assert names == [MANIFEST, "decisions.csv", "decisions.parquet", "equity.csv", "portfolio.json", "trades.csv"]
    for name in names:
        assert (files / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_the_manifest(files: Path, base: Base) -> None:
    manifest = json.loads((files / MANIFEST).read_text())
    for name, facts in manifest["outputs"].items():
        assert facts == {"sha256": sha256_of(files / name), "bytes": (files / name).stat().st_size}
    assert manifest["data_hash"] == base.setup.market.data_hash
    assert manifest["counts"]["decisions"] == len(base.market.bars)
    assert {"code_version", "config_hash", "calendar_version", "seed", "parameters", "run_id"} <= set(manifest)
    assert manifest["parameters"]["size"]["risk_fraction"] == 0.01


def test_another_input_has_another_id(files: Path, run: Run, tmp_path: Path) -> None:
    first = json.loads((files / MANIFEST).read_text())["run_id"]
    code, text = run("backtest", "--start", "2024-01-08", "--no-csv", "--out", tmp_path / "b", "--json")
    manifest = json.loads(text)
    assert (code, manifest["run_id"] != first) == (0, True)
    assert "decisions.csv" not in manifest["outputs"]
    assert 0 < manifest["counts"]["warmup_bars"] == manifest["counts"]["bars"] - manifest["counts"]["decisions"]


def test_lines_are_found_by_their_fourth_column(files: Path, base: Base) -> None:
    ts_ms = str(base.market.bars["ts_ms"][-1])
    lines = [line.split(",") for line in (files / "decisions.csv").read_text().splitlines()]
    assert lines[0][:4] == ["exchange", "symbol", "timeframe", "ts_ms"]
    assert [line[1] for line in lines if line[3] == ts_ms] == list(base.market.symbols)
    assert {len(line) for line in lines} == {len(lines[0])}
    assert lines[1][:4] == ["demo", "ASH", "5m", str(base.market.bars["ts_ms"][0])]


def test_parquet_and_csv_say_the_same(files: Path) -> None:
    table = pyarrow.parquet.read_table(files / "decisions.parquet")
    lines = [line.split(",") for line in (files / "decisions.csv").read_text().splitlines()]
    assert table.column_names == lines[0]
    row = table.slice(len(table) // 2, 1).to_pylist()[0]
    told = dict(zip(lines[0], lines[1 + len(table) // 2], strict=True))
    for name, value in row.items():
        if isinstance(value, float):
            assert float(told[name]) == value
        else:
            assert told[name] == ("" if value is None else str(value).lower() if value is False else str(value))


def test_a_live_run_exports_the_same_files(files: Path, undisturbed: Path, run: Run, tmp_path: Path) -> None:
    for what, name in (("decisions", "decisions.csv"), ("decisions", "decisions.parquet"), ("trades", "trades.csv")):
        code, text = run("export", what, "--out", tmp_path / name, state=undisturbed)
        assert code == 0, text
        if name.endswith(".csv"):
            assert (tmp_path / name).read_bytes() == (files / name).read_bytes()
    mine, theirs = (pyarrow.parquet.read_table(folder / "decisions.parquet") for folder in (files, tmp_path))
    assert mine.equals(theirs)


def test_a_part_of_a_run_is_exported(undisturbed: Path, base: Base, run: Run, tmp_path: Path) -> None:
    first, last = (int(np.unique(base.market.bars["ts_ms"])[i]) for i in (50, 59))
    window = ("--from", first, "--to", last, "--json")
    _, text = run("export", "decisions", *window, "--out", tmp_path / "d.csv", state=undisturbed)
    assert json.loads(text)["rows"] == 10 * len(base.market.symbols)
    assert run("export", "trades", "--run", "nothing", state=undisturbed)[0] == 1
    assert run("export", "trades", "--out", tmp_path / "t.xlsx", state=undisturbed)[0] == 64
    code, text = run("export", "trades", "--out", tmp_path / "t.parquet", state=undisturbed)
    assert (code, pyarrow.parquet.read_table(tmp_path / "t.parquet").column("pnl").type) == (0, "string")


def test_a_window_without_bars(run: Run, tmp_path: Path) -> None:
    code, text = run("backtest", "--start", "2031-01-01", "--out", tmp_path / "out")
    assert code == 1
    assert "no bars in that window" in text


# ------------------------------------------------------------------------- why, audit


def test_why_answers_from_ledger_and_backtest_alike(files: Path, undisturbed: Path, run: Run) -> None:
    table = pyarrow.parquet.read_table(files / "decisions.parquet", columns=["symbol", "ts_ms", "signal"])
    row = next(row for row in table.to_pylist() if row["signal"] == "entry")
    place = (row["symbol"], row["ts_ms"])
    live = run("why", *place, state=undisturbed)
    assert live == run("why", *place, "--backtest", files)
    assert live[0] == 0
    for words in ("ordered: enter long", "AVWAP", "gates passed", "volume", "first blocked    none", "target 1"):
        assert words in live[1]
    facts = json.loads(run("why", *place, "--json", state=undisturbed)[1])
    assert (facts["phase_after"], facts["gate_volume"]) == ("ENTERING", "pass")


def test_why_without_a_decision(undisturbed: Path, run: Run) -> None:
    code, text = run("why", "ASH", "1704205000001", state=undisturbed)
    assert code == 1
    assert "no decision about ASH" in text
    assert run("why", "ASH", "yesterday", state=undisturbed)[0] == 64


def test_audit(base: Base, undisturbed: Path, run: Run, tmp_path: Path) -> None:
    assert run("audit", "--ids", state=undisturbed)[0] == 0
    state = paper.ran(base.setup, base.state(tmp_path / "broken"), until=int(base.market.bars["ts_ms"][2_000]))
    paper.execute(state, "UPDATE orders SET intent = intent + 100000 WHERE intent = 1")
    code, text = run("audit", "--json", state=state)
    assert (code, json.loads(text)["ok"]) == (1, False)
    assert run("audit", state=tmp_path / "nowhere")[0] == 78


# ------------------------------------------------------------------------ the engine's loop


@pytest.mark.parametrize("begin", [0, 1_000])
def test_word_by_word_gives_the_bits_of_the_loop(base: Base, begin: int) -> None:
    whole = backtest.replay(base.setup, base.market.bars, begin)
    world = base.setup.fresh()
    bars = backtest.warm_bars(base.market.bars, 0, len(base.market.bars), begin)
    parts = scripted.drive(base.setup, world, bars, Script())
    for mine, theirs in zip(parts, (whole.decisions, whole.effects, whole.transitions, whole.fills), strict=True):
        assert by_symbol(mine).tobytes() == by_symbol(theirs).tobytes()
    for mine, theirs in zip(world[4:9], whole.world[4:9], strict=True):
        assert mine.tobytes() == theirs.tobytes()


def by_symbol(rows: Any) -> Any:
    return rows[np.argsort(rows["symbol"], kind="stable")]


def test_pieces_add_up_whatever_their_size(base: Base) -> None:
    whole = backtest.replay(base.setup, base.market.bars, 500)
    small = list(backtest.pieces(base.setup, base.setup.fresh(), base.market.bars, 500, room=100))
    assert len(small) > 20
    assert sum(len(piece.decisions) for piece in small) == len(whole.decisions)
    assert sum(len(piece.fills) for piece in small) == len(whole.fills)
    assert all(len(piece.bars) == len(piece.decisions) for piece in small)


def test_what_stops_the_engine_is_told(base: Base) -> None:
    bars = np.array(base.market.bars)
    bars["ts_ms"][6] = bars["ts_ms"][0] - 300_000
    with pytest.raises(ResearchError, match="bars out of order"):
        backtest.replay(base.setup, bars, 0)


@pytest.mark.parametrize("kind", ["equity", "crypto"])
def test_the_curve_ends_where_the_engine_does(base: Base, kind: str) -> None:
    names = ("ASH", "ELM") if kind == "equity" else ("ETH-BTC", "BTC-USD", "ADA-BTC")
    market = generate(names, 20, "15m", seed=5, kind=kind)
    setup = build(load(base.config, environ={}), market)
    whole = backtest.replay(setup, market.bars, len(market.bars) // 4)
    ts_ms, money = equity.curve(setup, market.bars, whole.fills, whole.effects)
    port = whole.world.portfolio[0]
    assert money[-1] == port["equity"]
    assert max(money.max(), setup.params["start_equity"][0]) == port["peak"]
    assert (np.diff(ts_ms) > 0).all()


def test_compact_rows_are_the_cores_own(base: Base) -> None:
    whole = backtest.replay(base.setup, base.market.bars, 0)
    batch = compact.batch(whole.decisions)
    for name in whole.decisions.dtype.names or ():
        assert batch.column(name).to_numpy().tobytes() == whole.decisions[name].tobytes()


def test_a_file_where_the_folder_of_results_should_be(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(ResearchError, match="no folder can be made there"):
        output.write_text(tmp_path / "out" / "trades.csv", "")
    (tmp_path / "trades.csv").mkdir()
    with pytest.raises(ResearchError, match="a folder has that name"):
        output.write_text(tmp_path / "trades.csv", "")
