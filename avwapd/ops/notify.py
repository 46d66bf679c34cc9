"""The channels to humans, through Apprise, and the dead man's ping. Apprise is imported by whoever opens a channel.

Both go out from threads of their own under one total deadline a call; nobody who trades waits for them.
"""

from __future__ import annotations

import logging
import urllib.request
import warnings
from collections.abc import Callable, Mapping
from typing import Any
from urllib.error import HTTPError, URLError

from avwapd.config.rules import is_loopback
from avwapd.ops.secrets import NOTIFY_URLS, PING_URL, Redactor, addresses, redactor
from avwapd.ports import Clock
from avwapd.remote.calls import Calls

log = logging.getLogger("avwapd.notices")

THREADS = 3  # a channel that trickles for ever holds one; with none left the deliveries fail, and that is shown
KINDS = {"info": "info", "warning": "warning", "critical": "failure"}
MOST_WORDS = 200


class Undelivered(Exception):
    """No channel took the message."""


class Channels:
    """Every address of AVWAPD_NOTIFY_URLS. A message that one of them took is delivered; the others are told of."""

    def __init__(self, urls: list[str], clock: Clock, limit_s: float, clean: Redactor) -> None:
        self._clean = clean
        self._limit_s = limit_s
        self._calls = Calls("notify", THREADS, clock)
        self._open: list[tuple[str, Any]] = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of modules that its plugins ask of the library
            import apprise

            self._library: Any = apprise
            with self._captured(logging.CRITICAL):
                for number, url in enumerate(urls, 1):
                    channel = apprise.Apprise.instantiate(url, suppress_exceptions=True)
                    if channel is None:
                        log.error("address %d of %s is none that Apprise knows: docs/notify.md", number, NOTIFY_URLS)
                        continue
                    self._open.append((f"{number} ({url.partition(':')[0][:20]})", channel))
        self.names = [name for name, _ in self._open]

    def _captured(self, level: int) -> Any:
        """What the library says meanwhile, instead of its telling the log."""
        return self._library.LogCapture(level=level, fmt="%(message)s")

    async def deliver(self, level: str, title: str, body: str) -> None:
        """Raises Undelivered, or what a call that came to no end raises."""
        await self._calls.run(lambda: self.send(level, title, body), self._limit_s)

    def send(self, level: str, title: str, body: str) -> None:
        """Blocks. Raises Undelivered."""
        troubles = [why for name, channel in self._open if (why := self._one(name, channel, level, title, body))]
        if len(troubles) == len(self._open):
            raise Undelivered("; ".join(troubles) or "no usable address")
        for why in troubles:
            log.warning("a notification channel failed, another took the message: %s", why)

    def _one(self, name: str, channel: Any, level: str, title: str, body: str) -> str:
        """Why it did not take it, or ""."""
        with self._captured(logging.WARNING) as said:
            try:
                taken = channel.notify(body=body or title, title=title, notify_type=KINDS[level])
            except Exception as error:  # noqa: BLE001 - a plugin's mistake is one channel's trouble
                return f"channel {name}: {type(error).__name__}"
            if taken:
                return ""
            words = " ".join(said.getvalue().split())[:MOST_WORDS]
        return self._clean(f"channel {name}: {words or 'refused'}")


def channels(
    clock: Clock, limit_s: float, *, allowed: bool = True, environment: Mapping[str, str] | None = None
) -> Channels | None:
    """Those of AVWAPD_NOTIFY_URLS; None where it is empty. allowed: network.allowed."""
    urls = addresses(NOTIFY_URLS, environment)
    near = [url for url in urls if allowed or is_loopback(url)]
    if len(near) < len(urls):
        log.warning("%d addresses of %s stay unused: network.allowed is false", len(urls) - len(near), NOTIFY_URLS)
    return Channels(near, clock, limit_s, redactor(environment)) if near else None


class Ping:
    """The dead man's ping: a GET that somebody else misses when it stays away."""

    def __init__(self, url: str, clock: Clock, limit_s: float, clean: Callable[[str], str]) -> None:
        self._url = url
        self._calls = Calls("ping", 1, clock)
        self._limit_s = limit_s
        self._clean = clean

    async def send(self) -> None:
        """Raises Undelivered, or what a call that came to no end raises."""
        await self._calls.run(self._get, self._limit_s)

    def _get(self) -> None:
        try:
            request = urllib.request.Request(self._url, headers={"User-Agent": "avwapd"})
            with urllib.request.urlopen(request, timeout=self._limit_s) as answer:
                answer.read(1)
        except HTTPError as error:
            error.close()
            raise Undelivered(f"the ping was answered with {error.code}") from None
        except (URLError, OSError, ValueError) as error:
            raise Undelivered(self._clean(f"the ping did not arrive: {getattr(error, 'reason', error)}")) from None


def ping(
    clock: Clock, limit_s: float, *, allowed: bool = True, environment: Mapping[str, str] | None = None
) -> Ping | None:
    """To AVWAPD_PING_URL; None where it is empty, no http(s) address, or the network is not allowed."""
    found = addresses(PING_URL, environment)
    if not found:
        return None
    if not found[0].startswith(("http://", "https://")):
        log.error("%s is no http(s) address: no ping is sent", PING_URL)
        return None
    if not allowed and not is_loopback(found[0]):
        log.warning("%s stays unused: network.allowed is false", PING_URL)
        return None
    return Ping(found[0], clock, limit_s, redactor(environment))
