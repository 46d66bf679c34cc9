"""Rows 12 and 13: bytes that are not what was written; a WAL that is cut, bent, gone, or met by an old -shm.

SQLite keeps no sum over a page of the file: a page that is no page any more is found, a figure that became another one
is not, unless something in the rows says so. A frame of the WAL has a sum: what follows a broken one never happened.
"""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from avwapd.store import LedgerDamaged, NotOurLedger, StoreError, copies
from avwapd.store.database import open_sync
from avwapd.store.sql import transact
from tests.faults_disk import kit
from tests.store import story

PAGE = 4096
FRAME = PAGE + 24
HEAD = 32
REFUSED = (LedgerDamaged, NotOurLedger)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A ledger with a story in it, folded."""
    path = tmp_path_factory.mktemp("whole") / "avwapd.db"
    story.tell(path, 16).close()
    return path.read_bytes()


def opened(path: Path) -> None:
    with closing(open_sync(path, create=False)):
        pass


def test_every_page_that_becomes_zeros_is_found_at_the_start(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "avwapd.db"
    path.write_bytes(whole)
    opened(path)  # the control: as it is, it opens
    free = free_pages(path)
    pages = len(whole) // PAGE
    assert pages > 40
    found = 0
    for page in range(pages):
        broken = bytearray(whole)
        broken[page * PAGE : (page + 1) * PAGE] = bytes(PAGE)
        path.write_bytes(broken)
        if page + 1 in free:
            continue
        with pytest.raises(REFUSED) as caught:
            opened(path)
        found += 1
        assert path.read_bytes() == broken, "a refused file keeps every byte"
        if isinstance(caught.value, LedgerDamaged):
            assert "avwapd db restore" in caught.value.next_step
    assert found == pages - len(free)


def free_pages(path: Path) -> set[int]:
    """Pages that hold nothing."""
    with closing(sqlite3.connect(path)) as conn:
        count = conn.execute("PRAGMA freelist_count").fetchone()[0]
    assert count == 0, "the story deletes too little for that"
    return set()


def test_a_flipped_bit_is_found_or_changes_one_figure(whole: bytes, tmp_path: Path, house_report: list[str]) -> None:
    """Each of 400 bits: refused at the start, found by `db check`, or a figure that no rule forbids."""
    path = tmp_path / "avwapd.db"
    draw = random.Random("row 12")
    counts: Counter[str] = Counter()
    for _ in range(400):
        broken = bytearray(whole)
        at = draw.randrange(len(whole))
        broken[at] ^= 1 << draw.randrange(8)
        path.write_bytes(broken)
        counts[verdict(path)] += 1
    house_report.append(f"400 flipped bits in a ledger: {dict(counts)}")
    assert counts["refused at the start"] > 20
    assert counts["found by db check"] > 5
    assert counts["crashed"] == 0


def verdict(path: Path) -> str:
    try:
        opened(path)
    except StoreError:
        return "refused at the start"
    except sqlite3.Error:
        return "crashed"
    try:
        _, checks = copies.check(path)
    except StoreError:
        return "found by db check"
    except ValueError:
        return "found by db check"
    return "found by db check" if any(each.found for each in checks) else "no rule forbids it"


# ------------------------------------------------------------------------------------------------------ WAL


@pytest.fixture(scope="module")
def torn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """File, WAL and -shm as a kill leaves them: forty commits of one row each are in the WAL alone."""
    folder = tmp_path_factory.mktemp("torn")
    path = folder / "avwapd.db"
    story.tell(path).close()
    conn = open_sync(path)
    for number in range(40):
        transact(lambda c, number=number: c.execute("INSERT INTO beats VALUES (?, 'x')", (number,)))(conn)
    found = {entry.name.removeprefix("avwapd.db"): entry.read_bytes() for entry in folder.glob("avwapd.db*")}
    conn.close()
    return found


def laid(folder: Path, files: dict[str, bytes]) -> Path:
    for rest in ("", "-wal", "-shm"):
        path = folder / f"avwapd.db{rest}"
        path.unlink(missing_ok=True)
        if rest in files:
            path.write_bytes(files[rest])
    return folder / "avwapd.db"


def committed(path: Path) -> int:
    """How many of the commits are there; they have to be the first ones."""
    with closing(open_sync(path, create=False)) as conn:
        found = [number for (number,) in conn.execute("SELECT ts_ms FROM beats ORDER BY ts_ms")]
        assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert found == list(range(len(found)))
    return len(found)


def test_of_a_cut_wal_the_commits_before_the_cut_remain(torn: dict[str, bytes], tmp_path: Path) -> None:
    wal = torn["-wal"]
    frames = (len(wal) - HEAD) // FRAME
    assert frames >= 40
    before = 0
    for cut in range(0, len(wal) + 1, FRAME // 2):
        left = committed(laid(tmp_path, {**torn, "-wal": wal[:cut]}))
        assert before <= left <= 40
        before = left
    assert committed(laid(tmp_path, torn)) == 40


@pytest.mark.parametrize("seed", range(25))
def test_of_a_bent_wal_the_commits_before_the_bend_remain(seed: int, torn: dict[str, bytes], tmp_path: Path) -> None:
    draw = random.Random(f"row 13/{seed}")
    wal = bytearray(torn["-wal"])
    at = draw.randrange(len(wal))
    wal[at] ^= 1 << draw.randrange(8)
    left = committed(laid(tmp_path, {**torn, "-wal": bytes(wal)}))
    last = [end for end in commit_ends(torn["-wal"]) if end <= at]
    assert left <= 40
    if at < len(torn["-wal"]) - FRAME:
        assert left == sum(1 for end in row_ends(torn["-wal"]) if end <= at), (
            f"{len(last)} commits end before byte {at}"
        )


def commit_ends(wal: bytes) -> list[int]:
    """Where each commit's last frame ends."""
    ends = range(HEAD + FRAME, len(wal) + 1, FRAME)
    return [end for end in ends if int.from_bytes(wal[end - FRAME + 4 : end - FRAME + 8], "big")]


def row_ends(wal: bytes) -> list[int]:
    """Of the commits of the forty rows: the newest forty."""
    return commit_ends(wal)[-40:]


def test_without_its_wal_or_with_an_old_shm_it_is_whole(torn: dict[str, bytes], tmp_path: Path) -> None:
    gone = {rest: content for rest, content in torn.items() if rest == ""}
    assert committed(laid(tmp_path, gone)) == 0, "what was in the WAL alone never happened: the mark and the venue tell"
    stale = dict(torn)
    stale["-shm"] = bytes(len(torn["-shm"]))
    assert committed(laid(tmp_path, stale)) == 40
    stale["-shm"] = random.Random("shm").randbytes(len(torn["-shm"]))
    assert committed(laid(tmp_path, stale)) == 40


@pytest.mark.crash
@pytest.mark.parametrize("fault", ["gone", pytest.param("cut", marks=pytest.mark.campaign)])
def test_a_daemon_whose_wal_was_lost_is_reconciled(fault: str, tmp_path: Path) -> None:
    """The venue knows what the ledger has forgotten: found out, its symbols halted, nothing twice."""
    with kit.opened(tmp_path / "w", kit.endless()) as world:
        with kit.running(world):
            kit.until(lambda: kit.holds_something(world), world.tail)
        wal = world.ledger.with_name("avwapd.db-wal")
        content = wal.read_bytes()
        assert len(content) > 100 * FRAME
        wal.write_bytes(b"" if fault == "gone" else content[: len(content) // 2])
        if fault == "gone":
            wal.unlink()
        with kit.running(world) as process:
            kit.until(
                lambda: kit.question(world, "SELECT count(*) FROM inputs WHERE kind = 'bars'")[0][0] > 20, world.tail
            )
            assert process.poll() is None
            closed = kit.question(world, "SELECT closed FROM gates WHERE gate = 'ledger'")
            assert closed == [(1,)]
            process.terminate()
            assert process.wait(30) == 0
        halted = {symbol for (symbol,) in kit.question(
            world, "SELECT i.symbol FROM positions JOIN instruments i USING (symbol_id) WHERE halted")}  # fmt: skip
        assert halted
        wrong = [line for line in kit.sound(world, world.play) if "is at the venue and in no outbox" not in line]
        assert wrong == []
