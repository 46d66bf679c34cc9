"""What `make check` asks besides ruff, mypy and the floors: no machine's name and no secret in a file that travels.

python -m tests.tidy.lint
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from tests.tidy.leaks import leaks
from tests.tidy.places import places
from tests.tidy.rules import ROOT, listed


def findings(paths: Iterable[str]) -> list[str]:
    found = []
    for path in paths:
        content = (ROOT / path).read_bytes()
        found += [f"{path}:{each.line}: {each.what}" for rule in (places, leaks) for each in rule(path, content)]
    return sorted(set(found))


def main() -> int:
    found = findings(listed())
    for line in found:
        sys.stderr.write(f"{line}\n")
    if found:
        sys.stderr.write(
            f"{len(found)} findings; exceptions with their reasons are in tests/tidy/places.py, leaks.py\n"
        )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
