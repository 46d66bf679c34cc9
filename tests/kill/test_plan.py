"""Which order goes and which stays, how much is sold: a table each."""

from __future__ import annotations

from decimal import Decimal

import pytest

from avwapd.ops.kill_plan import Resting, Verdict, kill_id, quantity, verdict
from avwapd.store.ids import client_id, is_ours
from avwapd.store.kill_facts import Facts, Line
from avwapd.store.kill_note import Sale

OURS = client_id("a", "s", "ASH", 1, "entry", 1)
CANCEL, STAY, STRANGER = Verdict.CANCEL, Verdict.STAY, Verdict.STRANGER
HELD = {"ASH": Decimal(10)}


def facts(
    held: int = 0, purposes: dict[str, str] | None = None, why: str = "", booked: frozenset[str] = frozenset()
) -> Facts:
    line = Line("ASH", "equity", "USD", "0.01", "0.1", "0", "0", held, 1)
    return Facts(why, {} if why else {"ASH": line}, purposes or {}, (), booked)


@pytest.mark.parametrize(
    ("cid", "side", "purpose", "held", "marked", "flatten", "every", "wanted"),
    [
        (OURS, 1, "entry", {}, True, False, False, CANCEL),
        (OURS, -1, "entry", HELD, True, False, False, CANCEL),  # the ledger's word before the position's
        (OURS, -1, "stop", {}, True, False, False, STAY),
        (OURS, -1, "exit", HELD, True, False, False, STAY),
        (OURS, -1, "stop", HELD, True, True, False, CANCEL),
        (OURS, 1, "", {}, True, False, False, CANCEL),  # no ledger: nothing held, so it opens
        (OURS, 1, "", HELD, True, False, False, CANCEL),
        (OURS, -1, "", HELD, True, False, False, STAY),
        (OURS, -1, "", {"ASH": Decimal(-10)}, True, False, False, CANCEL),
        ("other", 1, "", {}, True, True, False, STRANGER),
        ("other", 1, "", {}, True, True, True, CANCEL),
        (OURS, 1, "", {}, False, False, False, STRANGER),  # ids there are not told from others'
        (OURS, 1, "entry", {}, False, False, False, CANCEL),
        ("av-kill-abc", -1, "", HELD, True, True, True, STAY),  # a sale on its way
        ("sold-here", -1, "", HELD, True, True, True, STAY),
    ],
)  # fmt: skip
def test_verdicts(
    cid: str,
    side: int,
    purpose: str,
    held: dict[str, Decimal],
    marked: bool,
    flatten: bool,
    every: bool,
    wanted: Verdict,
) -> None:
    order = Resting(cid, "v", "ASH", side, Decimal(5))
    known = facts(purposes={cid: purpose} if purpose else {})
    found = verdict(order, known, held, {"sold-here"}, marked=marked, flatten=flatten, every=every)
    assert found is wanted


@pytest.mark.parametrize(
    ("held", "there", "sold", "unheard", "wanted"),
    [
        (100, "10", (), "0", (-1, "10")),
        (-100, "-10", (), "0", (1, "10")),
        (100, "25", (), "0", (-1, "10")),  # the rest is somebody else's
        (100, "4.37", (), "0", (-1, "4.3")),  # never more than is there, whole lots
        (100, "-10", (), "0", (0, "0")),
        (0, "10", (), "0", (0, "0")),
        (100, "0", (), "0", (0, "0")),
        (100, "4", (("6", "c1"),), "0", (-1, "4")),  # sold in part before
        (40, "4", (("6", "booked"),), "0", (-1, "4")),  # which the daemon has booked
        (100, "10", (("10", "c1"),), "0", (0, "0")),
        (0, "10", (), "10", (-1, "10")),  # filled while nobody listened
    ],
)  # fmt: skip
def test_quantities(
    held: int, there: str, sold: tuple[tuple[str, str], ...], unheard: str, wanted: tuple[int, str]
) -> None:
    sales = [Sale("ASH", cid, -1, qty, qty) for qty, cid in sold]
    known = facts(held, booked=frozenset({"booked"}))
    side, qty, _ = quantity("ASH", known, {"ASH": Decimal(there)}, sales, Decimal(unheard))
    assert (side if qty else 0, qty) == (wanted[0], Decimal(wanted[1]))


def test_ids_of_sales_are_the_same_twice_and_never_the_daemons() -> None:
    one = kill_id("av-kill-", 5, "ASH", 0)
    assert one == kill_id("av-kill-", 5, "ASH", 0)
    assert (
        len({one, *(kill_id("av-kill-", ts, name, n) for ts, name, n in ((5, "ASH", 1), (6, "ASH", 0), (5, "ELM", 0)))})
        == 4
    )
    assert not is_ours(one)
    assert len(one) <= 36
