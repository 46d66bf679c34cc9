"""One life of the whole daemon in a process of its own: prints the trace hash of each life, then of its rows.

python -m tests.sim.world_probe SEED JUNK

JUNK seeds what lies on the heap beforehand, and with it the addresses of all that comes after.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path

from tests.sim.determinism_probe import litter
from tests.sim.free import free
from tests.sim.scenario import mixed
from tests.sim.world import Kill, live


def main(seed: int, junk: int) -> None:
    plan = mixed(seed) if seed % 2 else free(seed, barriers=40)
    kills = [Kill("commit", 20, 2), Kill("send", 3, 1)]
    plan.setup  # noqa: B018 - compiling leaves its own litter
    heap = litter(junk)
    with tempfile.TemporaryDirectory() as folder:
        found = live(plan, Path(folder), kills=kills)
    del heap
    print(*found.trace, hashlib.sha256(repr(found.rows).encode()).hexdigest())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
