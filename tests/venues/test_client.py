"""The client against servers that lie, stall and tear: every bad answer is a doubt, and nothing is sent twice."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream, TaskGroup

from avwapd.venues import client
from avwapd.venues.client import HttpVenue
from avwapd.venues.port import VenueDoubt, VenueOrder, VenueRefused, Word
from avwapd.venues.wire import Address
from tests.venues.kit import MINUTE, bar, submit

ORDER = VenueOrder("a", "v1", "AAA", 1, "market", 10, 0, 0, 0, "live")
WORD = Word(1, MINUTE, "a", "", "v1", "acked", "", False, 0, 0, 0, 0, 0)


def http(body: bytes, status: str = "200 OK", *, length: int | None = None) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body) if length is None else length}\r\n\r\n".encode() + body


class Hostile:
    """Answers every request with the same bytes, then hangs or hangs up."""

    def __init__(self, path: Path, answer: bytes, *, hang: bool = False, pace_s: float = 0.0) -> None:
        self.path = path
        self.answer = answer
        self.hang = hang
        self.pace_s = pace_s
        self.requests = 0

    async def handle(self, stream: ByteStream) -> None:
        async with stream:
            await stream.receive()
            self.requests += 1
            try:
                for i in range(0, len(self.answer), 1 if self.pace_s else 1 << 20):
                    await stream.send(self.answer[i : i + (1 if self.pace_s else 1 << 20)])
                    await anyio.sleep(self.pace_s)
                if self.hang:
                    await anyio.sleep(60)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                return

    async def serve(self, *, task_status: Any) -> None:
        async with await anyio.create_unix_listener(self.path) as listener:
            task_status.started()
            await listener.serve(self.handle)


@asynccontextmanager
async def facing(hostile: Hostile, limit_s: float = 0.3) -> AsyncIterator[HttpVenue]:
    group: TaskGroup
    async with anyio.create_task_group() as group:
        await group.start(hostile.serve)
        venue = HttpVenue(f"unix:{hostile.path}", limit_s=limit_s)
        try:
            yield venue
        finally:
            await venue.close()
            group.cancel_scope.cancel()


async def outcomes(venue: HttpVenue) -> list[str]:
    """What each kind of call says."""
    said = []
    calls: list[Callable[[], Any]] = [
        lambda: venue.send(submit("a")),
        lambda: venue.look_up("a"),
        lambda: venue.words(0),
        lambda: venue.open_bar(MINUTE, bar(1)),
        lambda: venue.after(0),
    ]
    for call in calls:
        try:
            await call()
            said.append("taken")
        except VenueDoubt:
            said.append("doubt")
        except VenueRefused:
            said.append("refused")
    return said


UNCLEAR = {
    "silence": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-",
    "half a body": http(b'{"taken": "a"', length=400),
    "no http": b"SSH-2.0-OpenSSH_9.2\r\n",
    "html": http(b"<html>sign in to the hotel</html>"),
    "html 404": http(b"<html>no such page</html>", "404 Not Found"),
    "empty": http(b""),
    "nan": http(b'{"taken": NaN, "order": NaN, "words": NaN}'),
    "list": http(b"[]"),
    "500": http(b'{"refused": "no"}', "500 Internal Server Error"),
    "504": http(b'{"taken": "a"}', "504 Gateway Timeout"),
    "redirect": b"HTTP/1.1 307 Moved\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n",
    "422 without words": http(b'{"error": "no"}', "422 Unprocessable"),
    "refused with a strange duplicate": http(b'{"refused": "no", "duplicate": 1}', "422 Unprocessable"),
}


@pytest.mark.parametrize("what", UNCLEAR)
async def test_an_unclear_answer_is_a_doubt(tmp_path: Path, what: str) -> None:
    hostile = Hostile(tmp_path / "s", UNCLEAR[what])
    async with facing(hostile) as venue:
        with pytest.raises(VenueDoubt):
            await venue.send(submit("a"))
        assert hostile.requests == 1, "nothing is tried twice"
        assert set(await outcomes(venue)) == {"doubt"}


async def test_a_refusal_is_one_only_when_it_says_so(tmp_path: Path) -> None:
    body = http(b'{"refused": "too big", "duplicate": true}', "422 Unprocessable")
    async with facing(Hostile(tmp_path / "s", body)) as venue:
        with pytest.raises(VenueRefused) as refusal:
            await venue.send(submit("a"))
        assert (refusal.value.reason, refusal.value.duplicate) == ("too big", True)


@pytest.mark.parametrize("pace_s", [0.0, 0.02])
async def test_the_limit_is_for_the_whole_call(tmp_path: Path, pace_s: float) -> None:
    hostile = Hostile(tmp_path / "s", http(b'{"taken": "a"}' + b" " * 2_000, length=4_000), hang=True, pace_s=pace_s)
    async with facing(hostile) as venue:
        with anyio.fail_after(2), pytest.raises(VenueDoubt, match="no whole answer"):
            await venue.send(submit("a"))


async def test_an_endless_answer_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "BODY_BYTES", 1_000)
    async with facing(Hostile(tmp_path / "s", http(b" " * 500_000, length=10**9)), limit_s=5.0) as venue:
        with pytest.raises(VenueDoubt, match="more than"):
            await venue.words(0)


async def test_nobody_there_is_a_doubt(tmp_path: Path) -> None:
    for address in (f"unix:{tmp_path / 'none'}", "tcp:127.0.0.1:1"):
        venue = HttpVenue(address, limit_s=1.0)
        assert set(await outcomes(venue)) == {"doubt"}
        await venue.close()


@pytest.mark.parametrize(
    "change",
    [
        {"cid": "b"},
        {"qty": "10"},
        {"qty": 10.0},
        {"qty": True},
        {"side": None},
        {"state": "sleeping"},
        {"extra": 1},
        {"filled_qty": 1 << 63},
    ],
)
async def test_an_order_of_another_shape_is_a_doubt(tmp_path: Path, change: dict[str, Any]) -> None:
    answer = http(json.dumps({"order": asdict(ORDER) | change}).encode())
    async with facing(Hostile(tmp_path / "s", answer)) as venue:
        with pytest.raises(VenueDoubt):
            await venue.look_up("a")


@pytest.mark.parametrize(
    "words",
    [
        [WORD, WORD],
        [asdict(WORD) | {"number": 2}],
        [asdict(WORD) | {"number": 0}],
        [asdict(WORD), asdict(WORD) | {"number": 3}],
        [asdict(WORD) | {"kind": "sung"}],
        [asdict(WORD) | {"final": 0}],
        [[1, 2, 3]],
        {"number": 1},
    ],
)
async def test_words_with_gaps_or_of_another_shape_are_a_doubt(tmp_path: Path, words: Any) -> None:
    plain = [asdict(word) if isinstance(word, Word) else word for word in words]
    async with facing(Hostile(tmp_path / "s", http(json.dumps({"words": plain}).encode()))) as venue:
        with pytest.raises(VenueDoubt):
            await venue.words(0)


@pytest.mark.parametrize("text", ["", "here", "tcp:host", "tcp::80", "host:port", "host:99999"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        Address.parse(text)


@pytest.mark.parametrize("text", ["unix:/run/venue.sock", "tcp:127.0.0.1:8080"])
def test_an_address_reads_as_it_is_written(text: str) -> None:
    assert str(Address.parse(text)) == text
