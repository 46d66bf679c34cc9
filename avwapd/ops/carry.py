"""Take a release's machine code over into the next: `python -m avwapd.ops.carry PACKAGE`.

numba files machine code by the path of the source. Two releases with the same core have it at two paths; what was
compiled for one is right for the other, since the cache folder's name is a hash of the core, the compiler and the
processor. A release with another core finds nothing here.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from numba.core.caching import _CacheLocator

from avwapd.compiled import CORE, cache_folder

NOTHING = 3  # exit code: there was nothing to take over, or it is there already


def carry(package: Path) -> int:
    """From the installed package `package` to this one; how many files."""
    before, after = (cache_folder() / subfolder(core) for core in (package / "core", CORE))
    if not before.is_dir() or after.exists():
        return 0
    beside = after.with_name(f".{after.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(before, beside)
    beside.rename(after)
    return sum(1 for _ in after.iterdir())


def subfolder(core: Path) -> str:
    """Where numba files what lies in this folder."""
    return str(_CacheLocator.get_suitable_cache_subpath(str(core / "engine.py")))


if __name__ == "__main__":
    count = carry(Path(sys.argv[1]))
    sys.stdout.write(f"{count} files of machine code taken over\n")
    sys.exit(0 if count else NOTHING)
