"""A venue to try things on, on this machine: archived bars played as a market behind the wire of a real exchange.

It speaks Alpaca's REST and websockets (or binance's, or kraken's), keeps one account in the state folder, and can fail
in every way a venue can: --fault NAME=0.1, or while it runs: POST /control/faults. Any key and secret will do.
"""

from __future__ import annotations

import argparse

EXAMPLE = """\
examples:
  avwapd demo-venue
  avwapd demo-venue --from-exchange us --symbols SPY,AAPL --timeframe 1m --from 2024-03-01 --speed 60
  avwapd demo-venue --profile slow --fault lose_answer=0.2 --fault mute_stream='{"on": "data_stream", "count": 1}'
then, in another shell:
  avwapd run --config etc/demo_alpaca.toml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from avwapd.demo_venue.server import add_arguments as add

    add(parser)


def run(args: argparse.Namespace) -> int:
    import anyio

    from avwapd.config import ConfigError
    from avwapd.demo_venue.server import options_of, serve
    from avwapd.venues.book import warm

    try:
        options, host, port = options_of(args)
    except ValueError as error:
        raise ConfigError(str(error), "the command line", "see avwapd demo-venue --help") from None
    warm()
    try:
        anyio.run(serve, options, host, port)
    except OSError as error:
        raise ConfigError(
            f"cannot listen there ({error.strerror})", f"{host}:{port}", "name another: --listen"
        ) from None
    return 0
