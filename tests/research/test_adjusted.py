"""An adjustment through the journal: what it leaves, and that folding it again leaves the same."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from avwapd.store import ledger
from avwapd.store.journal import Adjustment, Journal
from tests.research import paper
from tests.research.conftest import Base


def test_it_is_booked_and_folded_again(base: Base, tmp_path: Path) -> None:
    with closing(paper.Live(base.setup, tmp_path)) as live:
        live.run(until=int(base.market.bars["ts_ms"][100]))
        live.conn.execute("BEGIN IMMEDIATE")
        ts_ms = live.journal.last_ms + 5
        rows = live.journal.adjust(Adjustment(2, 30, 2_000, 9, "x-1", "bought by hand"), ts_ms)
        live.take(rows)
        assert [(fill[0], fill[1]) for fill in rows.fills] == [("x-1", 30)]
        assert [effect.qty for effect in rows.effects] == [30]
        rows = live.journal.adjust(Adjustment(2, -45, 2_100, 3, "x-2", "sold by hand"), ts_ms + 1)
        live.take(rows)
        assert [(fill[0], fill[-4]) for fill in rows.fills] == [("x-2", 0), ("x-2/2", 15)]
        live.conn.execute("COMMIT")
        names, fresh_ms = live.journal.names, live.journal.fresh_ms
        again = Journal(base.setup.fresh(), names, fingerprint=base.setup.fingerprint, fresh_ms=fresh_ms)
        again.know(ledger.order_ids(live.conn))
        for entry in ledger.inputs_after(live.conn, 0):
            again.load(entry)
        assert again.state_hash() == live.journal.state_hash()
        assert again.seq == live.journal.seq
        assert "x-2/2" in ledger.exec_ids(live.conn)


@pytest.mark.parametrize(
    "change",
    [
        Adjustment(9, 1, 100, 0, "x", "why"),
        Adjustment(-1, 1, 100, 0, "x", "why"),
        Adjustment(0, 0, 100, 0, "x", "why"),
        Adjustment(0, 1, 100, 0, "", "why"),
        Adjustment(0, 1, 100, 0, "x", ""),
    ],
)
def test_one_that_cannot_be_is_refused(base: Base, tmp_path: Path, change: Adjustment) -> None:
    with closing(paper.Live(base.setup, tmp_path)) as live:
        with pytest.raises(ValueError, match="adjustment"):
            live.journal.adjust(change, 1)
        assert live.journal.seq == 0
