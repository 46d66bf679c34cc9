"""A copy is whole, checked, private and named last; nothing is overwritten, nothing foreign is removed."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from avwapd.cli import main
from avwapd.ops import backup as ops
from avwapd.ops.backup import BackupRefused, backup, forget, sha256_of
from avwapd.store import LedgerDamaged, LedgerMissing, NotOurLedger, copies
from avwapd.store.copies import NoRoom
from avwapd.store.database import open_sync
from avwapd.store.sql import transact
from tests.store import story

NOW_MS = 1_767_323_045_000  # 2026-01-02 03:04:05 UTC
DATED = "avwapd-20260102T030405Z.db"


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A ledger with a small true story in it."""
    (tmp_path / "state").mkdir()
    path = tmp_path / "state" / "avwapd.db"
    story.tell(path).close()
    return path


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    (tmp_path / "shelf").mkdir()
    return tmp_path / "shelf"


def rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every table of a file, without what a copy says of itself."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as conn:
        tables = [name for (name,) in conn.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {
            name: conn.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall() for name in tables if name != "copies"
        }


def test_a_copy_has_every_row_and_says_that_it_is_one(ledger: Path, shelf: Path) -> None:
    done = backup(ledger, shelf, now_ms=NOW_MS)
    assert done.path == shelf / DATED
    assert rows(done.path) == rows(ledger)
    assert stat.S_IMODE(done.path.stat().st_mode) == 0o600
    assert (done.size, done.sha256) == (done.path.stat().st_size, sha256_of(done.path))
    assert (done.facts, done.facts.copy) == (copies.look(done.path), True)
    assert not copies.look(ledger).copy
    assert [entry.name for entry in shelf.iterdir()] == [DATED]
    assert not any(each.found for each in copies.check(done.path)[1])


def test_rows_that_lie_in_the_wal_alone_are_in_it(ledger: Path, shelf: Path) -> None:
    with closing(open_sync(ledger)) as conn:
        transact(lambda c: c.execute("INSERT INTO beats VALUES (7, 'in the WAL')"))(conn)
        assert ledger.with_name("avwapd.db-wal").stat().st_size > 0
        done = backup(ledger, shelf, now_ms=NOW_MS)
    with closing(sqlite3.connect(done.path)) as conn:
        assert conn.execute("SELECT body FROM beats WHERE ts_ms = 7").fetchone() == ("in the WAL",)


def test_an_open_transaction_of_the_writer_is_not_in_it_and_is_not_waited_for(ledger: Path, shelf: Path) -> None:
    with closing(open_sync(ledger)) as conn:
        conn.execute("BEGIN IMMEDIATE")
        conn.execute("INSERT INTO beats VALUES (7, 'half')")
        done = backup(ledger, shelf, now_ms=NOW_MS)
        conn.execute("COMMIT")
    with closing(sqlite3.connect(done.path)) as conn:
        assert conn.execute("SELECT count(*) FROM beats").fetchone() == (0,)


def test_nothing_is_overwritten(ledger: Path, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = shelf / "mine.db"
    target.write_text("not a copy")
    with pytest.raises(BackupRefused, match="a file already"):
        backup(ledger, target, now_ms=NOW_MS)
    copy = copies.copy_into

    def meanwhile(*given: object, **named: object) -> object:
        facts = copy(*given, **named)  # type: ignore[arg-type]
        (shelf / DATED).write_text("somebody else was faster")
        return facts

    monkeypatch.setattr(copies, "copy_into", meanwhile)
    with pytest.raises(BackupRefused, match="a file already"):
        backup(ledger, shelf, now_ms=NOW_MS)
    assert (shelf / DATED).read_text() == "somebody else was faster"
    assert target.read_text() == "not a copy"
    assert {entry.name for entry in shelf.iterdir()} == {DATED, "mine.db"}


def test_where_nothing_can_be_written_it_says_so(ledger: Path, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackupRefused, match="folder is missing"):
        backup(ledger, shelf / "no" / "a.db", now_ms=NOW_MS)
    with pytest.raises(BackupRefused, match="no such folder"):
        backup(ledger, shelf / "backups", now_ms=NOW_MS)  # it would be a file of that name
    with pytest.raises(LedgerMissing):
        backup(shelf / "avwapd.db", shelf, now_ms=NOW_MS)
    monkeypatch.setattr(ops, "free_bytes", lambda folder: 1_000_000)
    with pytest.raises(NoRoom, match=r"1\.0 MB left"):
        backup(ledger, shelf, now_ms=NOW_MS)
    assert list(shelf.iterdir()) == []


def test_a_disk_that_fills_meanwhile_leaves_nothing(ledger: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: SQLite meets an error in the middle of the copy."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536)); "
        "from avwapd.cli import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "db", "backup", str(shelf), "--keep", "0", "--state-dir", str(ledger.parent)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "the copy cannot be written" in done.stderr
    assert "make room there" in done.stderr
    assert list(shelf.iterdir()) == []


@pytest.mark.parametrize("fault", ["page", "orphan"])
def test_a_copy_of_a_damaged_ledger_gets_no_name(fault: str, ledger: Path, shelf: Path) -> None:
    if fault == "page":
        with ledger.open("r+b") as file:
            file.seek(8 * 4096)
            file.write(os.urandom(ledger.stat().st_size - 8 * 4096))
    else:
        with closing(sqlite3.connect(ledger)) as conn:
            conn.execute("INSERT INTO positions VALUES (99, 'FLAT', '', 0, 0, 0, 0, 0, 0, 0, 0, '', 1)")
            conn.commit()
    with pytest.raises(LedgerDamaged):
        backup(ledger, shelf, now_ms=NOW_MS)
    assert list(shelf.iterdir()) == []


def test_no_ledger_of_ours_is_not_copied(shelf: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "theirs.db")) as conn:
        conn.execute("CREATE TABLE theirs (x)")
    with pytest.raises(NotOurLedger):
        backup(tmp_path / "theirs.db", shelf, now_ms=NOW_MS)
    assert list(shelf.iterdir()) == []


def test_the_newest_stay_and_what_is_not_ours_too(ledger: Path, shelf: Path) -> None:
    made = [backup(ledger, shelf, now_ms=NOW_MS + 1000 * i).path for i in range(4)]
    foreign = {
        "avwapd-20250101T000000Z.db": b"no ledger at all",
        "avwapd-notes.db": b"mine",
        "holiday.jpg": b"jpg",
        ".x.db.1.tmp.bak": b"other",
    }
    for name, content in foreign.items():
        (shelf / name).write_bytes(content)
    live = shelf / "avwapd-20250102T000000Z.db"  # a ledger, not a copy: put there by hand
    with closing(open_sync(live)):
        pass
    done = backup(ledger, shelf, now_ms=NOW_MS + 9000, keep=2)
    assert done.removed == (made[2], made[1], made[0])
    left = {entry.name for entry in shelf.iterdir() if not entry.name.startswith(f"{live.name}-")}
    assert left == {done.path.name, made[3].name, live.name, *foreign}
    assert forget(shelf, 2) == ()


def test_what_a_killed_backup_left_is_swept_and_a_living_one_is_not(ledger: Path, shelf: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait(30)
    dead, alive = shelf / f".{DATED}.{gone.pid}.tmp", shelf / f".{DATED}.{os.getppid()}.tmp"
    dead.write_bytes(b"half")
    alive.write_bytes(b"half")
    backup(ledger, shelf, now_ms=NOW_MS)
    assert {entry.name for entry in shelf.iterdir()} == {DATED, alive.name}


def test_the_verb_tells_what_it_did(ledger: Path, shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = str(ledger.parent)
    assert main(["db", "backup", str(shelf), "--json", "--state-dir", state]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"]
    assert told["sha256"] == sha256_of(Path(told["path"]))
    assert (told["schema"], told["epoch"], told["seq"]) == (4, 1, copies.look(ledger).seq)
    assert told["last_ms"] > 0
    assert main(["db", "check", told["path"], "--state-dir", state]) == 0
    said = capsys.readouterr().out
    assert "ok    sqlite" in said
    assert "ok    snapshots" in said
    assert main(["db", "backup", told["path"], "--state-dir", state]) == 1
    assert "nothing is overwritten" in capsys.readouterr().err


def test_check_finds_each_kind_of_damage(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(ledger)) as conn:
        conn.execute("UPDATE snapshots SET sha256 = 'x'")
        conn.execute("INSERT INTO positions VALUES (99, 'FLAT', '', 0, 0, 0, 0, 0, 0, 0, 0, '', 1)")
        conn.commit()
    assert main(["db", "check", "--json", "--state-dir", str(ledger.parent)]) == 1
    told = json.loads(capsys.readouterr().out)
    broken = {each["name"]: each["found"] for each in told["checks"] if each["found"]}
    assert "points to no row of instruments" in broken["sqlite"][0]
    assert "its hash does not hold" in broken["snapshots"][0]
