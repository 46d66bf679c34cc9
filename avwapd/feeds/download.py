"""One file over the network, whole or not at all, within a time and a size."""

from __future__ import annotations

import anyio

from avwapd.feeds import FeedError

LIMIT_S = 60.0
MOST_BYTES = 64_000_000


def download(url: str, limit_s: float = LIMIT_S, most: int = MOST_BYTES) -> bytes:
    """The body of a plain 200 answer; FeedError for everything else, at the latest after `limit_s` seconds."""
    return anyio.run(fetch, url, limit_s, most)


async def fetch(url: str, limit_s: float, most: int) -> bytes:
    import aiohttp

    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=limit_s)) as session,
            session.get(url) as answer,
        ):
            if answer.status != 200:
                what = f"the server answered {answer.status} {answer.reason or ''}".rstrip()
                raise FeedError(what, url, "look whether the address still holds; with --file nothing is fetched")
            body = bytearray()
            async for piece in answer.content.iter_chunked(1 << 16):
                body += piece
                if len(body) > most:
                    raise FeedError(f"the file is longer than {most} bytes", url, "look at the address")
            return bytes(body)
    except TimeoutError:
        what = f"no whole file within {limit_s:g} s"
        raise FeedError(what, url, "try again later, or download it yourself and give it with --file") from None
    except (aiohttp.ClientError, OSError) as error:
        what = f"the file could not be fetched ({str(error) or type(error).__name__})"
        raise FeedError(what[:200], url, "try again later, or download it yourself and give it with --file") from None
