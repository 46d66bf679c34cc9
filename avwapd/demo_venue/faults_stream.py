"""The stream faults round one websocket: everything that is said goes through here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import WSMsgType, web

from avwapd.demo_venue.faults import Faults

Encode = Callable[[], bytes]
GARBAGE = b"\xff\xfe{not a message"


class Speaker:
    """where: stream | data_stream; text: frames of text, else binary. `say` sends one message, or what a fault makes
    of it; control frames of the log-in go out by `plain`."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request, faults: Faults, where: str, *, text: bool):
        self._socket = socket
        self._request = request
        self._faults = faults
        self._where = where
        self._text = text
        self._held: bytes | None = None
        self.mute = False
        self.dead = False  # does not even answer pings

    async def plain(self, message: bytes) -> None:
        """Send as it is, unless the socket has fallen silent."""
        if self.mute or self._socket.closed:
            return
        if self._text:
            await self._socket.send_str(message.decode())
        else:
            await self._socket.send_bytes(message)

    async def say(self, message: bytes) -> None:
        if self.mute:
            return
        fires = self._faults.fires
        if fires("mute_stream", self._where):
            self.mute = True
            return
        if fires("dead_stream", self._where):
            self.mute = self.dead = True
            return
        if fires("drop_stream", self._where):
            self.cut()
            return
        if fires("bad_utf8", self._where):
            await self._frame(GARBAGE, WSMsgType.TEXT)
            return
        if fires("bad_frame", self._where):
            await self.plain(b'{"T":' if self._text else GARBAGE)
        if giant := fires("giant_frame", self._where):
            await self.plain(b"[" + b"0" * int(giant.value) + b"]")
        if fires("dropped_events", self._where):
            return
        if self._held is None and fires("reordered_events", self._where):
            self._held = message
            return
        await self.plain(message)
        if fires("doubled_events", self._where):
            await self.plain(message)
        if self._held is not None:
            held, self._held = self._held, None
            await self.plain(held)

    def cut(self) -> None:
        """A reset."""
        if self._request.transport is not None:
            self._request.transport.abort()

    async def _frame(self, content: bytes, kind: WSMsgType) -> None:
        """A frame that the library would not make."""
        writer = self._socket._writer
        if writer is not None:
            send: Callable[[bytes, WSMsgType], Awaitable[None]] = writer.send_frame
            await send(content, kind)
