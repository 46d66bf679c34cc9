"""Requests to the control socket that were mutated by a seed, and a crowd that sends them."""

from __future__ import annotations

import random
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from tests.control.kit import Socket, request

SEEDS = (
    request("GET", "/v1/status"),
    request("GET", "/v1/gates"),
    request("GET", "/v1/health"),
    request("GET", "/v1/positions"),
    request("GET", "/v1/why?symbol=CEDAR&ts_ms=1762785600000"),
    request("GET", "/v1/alerts?unread=1"),
    request("HEAD", "/v1/orders"),
    request("POST", "/v1/halt", {"symbol": "CEDAR", "reason": "fuzz"}, key="fuzz-1"),
    request("POST", "/v1/resume", {"symbol": "CEDAR", "force": False}),
    request("POST", "/v1/drill", {"fault": "fetch", "times": 0}),
    request("POST", "/v1/ack", {"id": 1}),
    request("POST", "/v1/arm", {"token": "x", "hours": 1.5}),
    request("POST", "/v1/kill", {"reason": "fuzz", "flatten": None}),
    b"POST /v1/halt HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
)
WORDS = (
    b"\x00", b"\xff", b"\r\n", b"\r\n\r\n", b"{", b"}", b"[" * 2_000, b'"' * 9, b"-1", b"1e999", b"9" * 20,
    b"Content-Length: 5\r\n", b"Content-Length: -5\r\n", b"Transfer-Encoding: chunked\r\n", b"%00",
    b"Content-Encoding: gzip\r\n", b"Expect: 100-continue\r\n", b"Upgrade: websocket\r\nConnection: upgrade\r\n",
    b"Connection: keep-alive\r\n",
    b"../", b"HTTP/0.9", b"HTTP/2.0", b"A" * 20_000, b"null", b"NaN", b"\xed\xa0\x80", b"\\ud800",
    b"Idempotency-Key: fuzz-1\r\n", b"\x16\x03\x01\x02\x00\x01",
)  # fmt: skip
LIMIT_S = 15.0  # a connection that lasts longer hangs


def mutated(chance: random.Random) -> bytes:
    """One request with one to five of its parts changed; it need not be one any more."""
    data = bytearray(chance.choice(SEEDS))
    for _ in range(chance.randint(1, 5)):
        at, kind = chance.randrange(len(data) + 1), chance.randrange(6)
        if kind == 0:
            data[at : at + 1] = bytes([chance.randrange(256)])
        elif kind == 1:
            data[at:at] = chance.choice(WORDS)
        elif kind == 2:
            del data[at : at + chance.randint(1, 40)]
        elif kind == 3:
            data[at:at] = data[at : at + chance.randint(1, 200)]
        elif kind == 4:
            del data[at:]
        else:
            data += chance.choice(SEEDS)
        data = data or bytearray(b"x")
    return bytes(data)


@dataclass
class Crowd:
    """What came back. hung: connections that nobody ended in time."""

    answers: Counter[str] = field(default_factory=Counter)
    hung: list[bytes] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, there: Socket, data: bytes, manner: int) -> None:
        """manner: waits for the answer, ends its own half first, or goes away at once."""
        with there.connect(LIMIT_S) as client:
            said = b""
            with suppress(BrokenPipeError, ConnectionResetError):
                client.sendall(data)
                if manner == 2:
                    return
                client.shutdown(socket.SHUT_WR)
            try:
                with suppress(ConnectionResetError):
                    said = client.recv(65_536)
                    while client.recv(65_536):
                        pass
            except TimeoutError:
                self.hung.append(data)
        with self.lock:
            self.answers[said[9:12].decode(errors="replace") if said.startswith(b"HTTP/1.") else "none"] += 1


def attack(there: Socket, count: int, *, seed: int, threads: int = 24) -> Crowd:
    """Send `count` mutated requests by several clients at once."""
    crowd = Crowd()

    def one(number: int) -> None:
        chance = random.Random(f"{seed}/{number}")
        for _ in range(count // threads):
            crowd.send(there, mutated(chance), chance.randrange(3))

    clients = [threading.Thread(target=one, args=(number,)) for number in range(threads)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return crowd


def stream(seed: int, count: int) -> Iterator[bytes]:
    """The requests alone, for who wants to see that a seed repeats itself."""
    chance = random.Random(seed)
    yield from (mutated(chance) for _ in range(count))
