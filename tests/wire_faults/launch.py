"""`avwapd`, except that it carries a planted fault: python -m tests.wire_faults.launch PLANT run --config …"""

from __future__ import annotations

import sys

from avwapd import cli
from tests.wire_faults import plants


def main() -> int:
    for name in filter(None, sys.argv[1].split(",")):
        getattr(plants, name)()
    return cli.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
