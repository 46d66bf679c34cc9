"""A human's end of the line: an HTTP server on this machine that takes messages, refuses, breaks off or hangs."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Human:
    """mood: ok | 500 | hang | trickle; calls: every request; heard: the messages that were taken."""

    def __init__(self) -> None:
        self.mood = "ok"
        self.calls = 0
        self.heard: list[dict[str, Any]] = []
        self.heads: list[dict[str, str]] = []
        self.gone = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self.port = 0

    def open(self) -> None:
        human = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                human.calls += 1
                human.heads.append(dict(self.headers))
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self._answer(body)

            def do_GET(self) -> None:
                human.calls += 1
                human.heads.append({"path": self.path})
                self._answer(b"{}")

            def _answer(self, body: bytes) -> None:
                mood = human.mood
                if mood == "hang":
                    human.gone.wait(30)
                    return
                if mood == "trickle":
                    for _ in range(300):
                        if human.gone.wait(0.1):
                            return
                        try:
                            self.wfile.write(b"H")
                            self.wfile.flush()
                        except OSError:
                            return
                self.send_response(200 if mood == "ok" else int(mood))
                self.end_headers()
                if mood == "ok":
                    human.heard.append(json.loads(body or b"{}"))

            def log_message(self, *_: Any) -> None:
                pass

        ThreadingHTTPServer.daemon_threads = True
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def address(self) -> str:
        return f"json://127.0.0.1:{self.port}/in?rto=3&cto=1"

    def until_heard(self, count: int, limit_s: float = 20.0) -> None:
        end = time.monotonic() + limit_s
        while len(self.heard) < count:
            assert time.monotonic() < end, (self.calls, self.heard)
            time.sleep(0.02)


@contextmanager
def human() -> Iterator[Human]:
    made = Human()
    made.open()
    try:
        yield made
    finally:
        made.gone.set()
        made.close()
