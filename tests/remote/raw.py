"""A server that says exactly these bytes, at this pace: what no HTTP library would send."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import anyio


@dataclass
class Raw:
    """body: what the answer is, by path; paths without one get silence. seen: requests by path."""

    port: int = 0
    answers: dict[str, bytes] = field(default_factory=dict)
    every_s: float = 0.0  # between two bytes
    late: dict[str, bytes] = field(default_factory=dict)  # by path: what follows the answer unasked, a moment later
    close: bool = True  # hang up after an answer
    seen: Counter[str] = field(default_factory=Counter)
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    under_way: set[asyncio.Task[None] | None] = field(default_factory=set)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.under_way.add(asyncio.current_task())
        try:
            await self._serve(reader, writer)
        except asyncio.CancelledError:
            pass  # the test is over; the server's protocol would complain of it
        finally:
            writer.transport.abort()
            self.under_way.discard(asyncio.current_task())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (
                        int(line.split(b":")[1])
                        for line in head.split(b"\r\n")
                        if line.lower().startswith(b"content-length")
                    ),
                    0,
                )
                body = await reader.readexactly(length)
                path = head.split()[1].decode().partition("?")[0]
                self.seen[path] += 1
                self.requests.append(head + body)
                answer = self.answers.get(path, self.answers.get("*"))
                if answer is None:
                    await reader.read()  # mute until the other side goes
                    break
                for at in range(0, len(answer), 1) if self.every_s else (0,):
                    writer.write(answer[at : at + 1] if self.every_s else answer)
                    await writer.drain()
                    if self.every_s:
                        await anyio.sleep(self.every_s)
                if path in self.late:
                    await anyio.sleep(0.05)
                    writer.write(self.late[path])
                if self.close:
                    break
            writer.close()
            await writer.wait_closed()


def http(
    body: bytes, *, status: str = "200 OK", kind: str = "application/json", extra: str = "", length: int | None = None
) -> bytes:
    """A whole answer; `length`: what the header claims."""
    claimed = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {claimed}\r\n{extra}\r\n".encode() + body


@asynccontextmanager
async def raw(tls: ssl.SSLContext | None = None, **answers: bytes) -> AsyncIterator[Raw]:
    """answers: by path without its slash."""
    found = Raw(answers={"*" if name == "any" else f"/{name}": body for name, body in answers.items()})
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0, limit=1 << 20, ssl=tls)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        while found.under_way:
            for task in found.under_way:
                if task is not None:
                    task.cancel()
            await anyio.sleep(0.001)
