"""The one decorator of the core: numba where it compiles, plain Python under NUMBA_DISABLE_JIT=1.

numba's file cache looks only at the decorated function's own file and misses an edit in a callee of another module.
So the cache folder is named by a hash of every core source, numba, llvmlite and the processor: an edit anywhere means
a new folder, never stale machine code. No fastmath and no threads: both would break equality in bits.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding
import numba

CORE = Path(__file__).parent / "core"


def source_hash(core: Path = CORE) -> str:
    """Hex digest (16 characters) over the core's sources, the compiler's versions and the processor."""
    digest = hashlib.sha256()
    for path in [Path(__file__), *sorted(core.glob("*.py"))]:
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    host = f"{numba.__version__} {llvmlite.__version__} {llvmlite.binding.get_host_cpu_name()}"
    digest.update(f"{host} {llvmlite.binding.get_host_cpu_features().flatten()}".encode())
    return digest.hexdigest()[:16]


def cache_folder() -> Path:
    """Where compiled code is kept: systemd's $CACHE_DIRECTORY, else the user's cache folder."""
    given = os.environ.get("AVWAPD_CACHE_DIR") or os.environ.get("CACHE_DIRECTORY")
    base = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "avwapd"
    return base / "numba" / source_hash()


numba.config.CACHE_DIR = str(cache_folder())


def compiled(function: Any) -> Any:
    """Compile `function` at first call and keep the machine code on disk."""
    return numba.njit(cache=True, error_model="numpy", nogil=True, _nrt=False)(function)


def inlined(function: Any) -> Any:
    """Compile `function` into its callers: for what takes a whole World, whose arrays are dear to pass by value."""
    return numba.njit(inline="always", cache=True, error_model="numpy", nogil=True, _nrt=False)(function)
