"""Sights and updates in odd orders: what they come to, with no wire in between."""

from __future__ import annotations

from typing import Any

import pytest

from avwapd.ports import SystemClock
from avwapd.venues import alpaca_words as words
from avwapd.venues.alpaca_ear import Ear
from avwapd.venues.alpaca_words import Misshapen
from avwapd.venues.port import KnownOrder
from tests.venues.test_hearing import TERMS, request

AT = "2026-01-02T15:00:00.123456789Z"


def ear(*known: KnownOrder) -> tuple[Ear, list[str]]:
    looks: list[str] = []
    found = Ear(TERMS, lambda wire: wire, lambda cid: not cid.startswith("zz"), SystemClock(), looks.append)
    found.begin(0, known, frozenset(), lambda: None)
    return found, looks


def order(cid: str = "a", status: str = "new", filled: str = "0", **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": f"v-{cid}",
        "client_order_id": cid,
        "symbol": "AAPL",
        "side": "buy",
        "type": "stop",
        "qty": "10",
        "filled_qty": filled,
        "limit_price": None,
        "stop_price": "99.5",
        "status": status,
        "submitted_at": AT,
        "replaces": None,
        "replaced_by": None,
    }
    return found | changes


def update(event: str, body: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"stream": "trade_updates", "data": {"event": event, "timestamp": AT, "order": body} | changes}


def told(found: Ear) -> list[tuple[str, str, str]]:
    return [(word.kind, word.cid, word.ref_cid) for word in found.hearing.after(0)]


def sent(*requests: Any) -> tuple[Ear, list[str]]:
    found, looks = ear()
    for one in requests:
        found.hearing.sent(one)
    return found, looks


def moved() -> tuple[Ear, list[str]]:
    """A stop `a` that works and a request `b` to take its place."""
    found, looks = sent(request("a"), request("b", kind="replace", ref_cid="a"))
    found.observe(words.seen(order("a")))
    return found, looks


def test_a_replacement_that_was_only_accepted_is_none_yet() -> None:
    found, _ = moved()
    found.observe(words.seen(order("b", "pending_replace", replaces="v-a")))
    found.observe(words.seen(order("b", "pending_new", replaces="v-a")))
    assert told(found) == [("acked", "a", "")]
    found.take_update(update("order_replace_rejected", order("a")))
    assert told(found)[1:] == [("rejected", "b", "a")]
    found.observe(words.seen(order("a", "canceled")))
    assert told(found)[2:] == [("canceled", "a", "")]


@pytest.mark.parametrize("about", ["a", "b"])
def test_a_refused_replacement_is_told_of_either_order(about: str) -> None:
    found, _ = moved()
    found.take_update(update("order_replace_rejected", order(about, "rejected" if about == "b" else "new")))
    assert told(found)[1:] == [("rejected", "b", "a")]


@pytest.mark.parametrize("backwards", [False, True])
def test_a_replacement_is_one_word_whatever_is_heard_first(backwards: bool) -> None:
    found, _ = moved()
    news = [update("replaced", order("a", "replaced", replaced_by="v-b")), update("new", order("b", replaces="v-a"))]
    for one in reversed(news) if backwards else news:
        found.take_update(one)
        found.take_update(one)
    assert told(found)[1:] == [("replaced", "b", "a")]


def test_after_a_restart_a_chain_is_known_by_the_venues_ids() -> None:
    found, looks = ear(
        KnownOrder("a", "AAPL", -1, 10, 0, "ACKED", "v-a"), KnownOrder("b", "AAPL", -1, 10, 0, "UNKNOWN", "")
    )
    found.observe(words.seen(order("a", "replaced", replaced_by="v-b")))
    assert (told(found), looks) == ([("acked", "a", "")], ["a"])  # by whom is not known yet: it is asked for
    found.observe(words.seen(order("b", replaces="v-a")))
    found.observe(words.seen(order("a", "replaced", replaced_by="v-b")))
    assert told(found)[1:] == [("replaced", "b", "a")]


def test_an_order_replaced_by_a_stranger_is_canceled() -> None:
    found, _ = ear(KnownOrder("a", "AAPL", -1, 10, 4, "PARTIAL", "v-a"))
    found.observe(words.seen(order("zz", replaces="v-a")))
    found.observe(words.seen(order("a", "replaced", "4", replaced_by="v-zz")))
    assert told(found) == [("canceled", "a", "")]


def test_a_status_nobody_knows_ends_nothing() -> None:
    found, _ = sent(request())
    found.take_update(update("quantum", order("a", "quantum")))
    assert told(found) == []
    assert found.counts == {"unknown_events": 1, "unknown_statuses": 1}


def test_more_filled_than_heard_is_asked_for() -> None:
    found, looks = sent(request())
    found.take_update(update("canceled", order("a", "canceled", "6")))
    assert [kind for kind, *_ in told(found)] == ["acked"]
    assert looks == ["a"]
    fill = update("partial_fill", order("a", "partially_filled", "6"), qty="6", price="100.5")
    found.take_update(fill)
    assert [kind for kind, *_ in told(found)] == ["acked", "filled", "canceled"]


def test_stream_and_activities_name_an_execution_alike() -> None:
    row = {"order_id": "v-a", "cum_qty": "6.0", "qty": "6", "price": "100.5", "transaction_time": AT, "id": "x::y"}
    data = {"qty": "6", "price": "100.5", "timestamp": AT}
    streamed = words.update_fill(data, words.seen(order("a", "partially_filled", "6")))
    assert words.activity_fill(row) == streamed


@pytest.mark.parametrize(
    "bad",
    [
        None,
        [],
        {},
        {"data": None},
        {"data": {"event": 7, "order": order()}},
        update("new", {}),
        update("new", order(filled_qty=None)),
        update("new", order(filled_qty="NaN")),
        update("new", order(filled_qty="Infinity")),
        update("new", order(filled_qty="1e400")),
        update("new", order(filled_qty=True)),
        update("new", order(side="sideways")),
        update("new", order(submitted_at="yesterday")),
        update("new", order(submitted_at="2026-01-02T15:00:00")),
        update("new", order(submitted_at=7)),
        update("fill", order("a", "filled", "10"), qty="0", price="1"),
        update("fill", order("a", "filled", "10"), qty="-1", price="1"),
        update("fill", order("a", "filled", "10"), qty="10"),
        update("fill", order("a", "filled", "10"), qty="10", price="nan"),
    ],
)
def test_what_is_no_update_is_refused_and_changes_nothing(bad: Any) -> None:
    found, _ = sent(request())
    with pytest.raises(Misshapen):
        found.take_update(bad)
    assert told(found) == []


def test_a_bust_is_told_once_and_is_no_word() -> None:
    found, _ = sent(request())
    heard: list[Any] = []
    found.on_bust = heard.append
    message = update("trade_bust", order("a", "filled", "10"), qty="10", price="100.5", execution_id="e1")
    found.take_update(message)
    found.take_update(message)
    assert [(bust.exec_id, bust.symbol, bust.side, bust.qty, bust.price) for bust in heard] == [
        ("bust:e1", "AAPL", 1, "10", "100.5")
    ]
    assert told(found) == []
