"""`python -m bench [name …] [--quick]`: measures what is named, or all, and prints one table."""

from __future__ import annotations

import argparse
import importlib
import os

BENCHES = ("lines", "history", "parquet", "barrier", "latency", "daily", "wire", "minute", "reader")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Speed, beside its limits.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"which: {', '.join(BENCHES)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="smaller sizes; the figures then say little")
    asked = parser.parse_args()
    unknown = set(asked.names) - set(BENCHES)
    if unknown:
        parser.error(f"no bench {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    measure = importlib.import_module("bench.measure")
    lines = []
    for name in asked.names or BENCHES:
        lines += importlib.import_module(f"bench.{name}").run(asked.quick)
    load = os.getloadavg()[0]
    print(f"medians of interleaved runs; load {load:.1f} on {os.cpu_count()} processors")
    print(measure.table(lines))


if __name__ == "__main__":
    main()
