from __future__ import annotations

import re
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from avwapd.store.ids import client_id, is_ours

PARTS = st.tuples(st.text(max_size=8), st.text(max_size=8), st.text(max_size=8), st.integers(), st.text(max_size=8))


@given(PARTS, st.integers(1, 9))
def test_an_id_is_short_plain_and_ours(parts: tuple[str, str, str, int, str], intent: int) -> None:
    cid = client_id(*parts, intent)
    assert re.fullmatch(r"[a-z0-9-]{1,32}", cid)
    assert cid.startswith("av-")
    assert is_ours(cid)


@given(PARTS, PARTS)
def test_two_decisions_never_share_an_id(
    one: tuple[str, str, str, int, str], two: tuple[str, str, str, int, str]
) -> None:
    assert (client_id(*one, 1) == client_id(*two, 1)) == (one == two)


def test_another_process_derives_the_same_id() -> None:
    here = client_id("paper-1", "avwap", "BTC/USD", 1_700_000_000_000, "entry", 7)
    code = "from avwapd.store.ids import client_id as c;print(c('paper-1','avwap','BTC/USD',1700000000000,'entry',7))"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert here == there == "av-" + here[3:]
    assert not is_ours("av-" + "0" * 26)
    assert not is_ours("someone-else")
