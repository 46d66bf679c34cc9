"""The fenced `console` blocks of a page: commands, and what stands under each of them.

A word behind `console` says where a block is run. None: in one shell, in order; stays: the same, and its last command
keeps running; systemd: in the container of tests/systemd; live: nowhere, its words are checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

KINDS = ("", "stays", "systemd", "live")
FENCE = re.compile(r"```console *(\w*)\n(.*?)\n```", re.DOTALL)
EXIT = re.compile(r"# exit (\d+(?:, \d+)*)")


@dataclass
class Command:
    """fragments: each has to be in the output, `…` standing for anything; exits: the exit codes that are right."""

    text: str
    where: str
    fragments: list[str] = field(default_factory=list)
    exits: tuple[int, ...] = (0,)

    def lacking(self, output: str) -> list[str]:
        """The fragments that are not in the output; how many spaces there are does not matter."""
        said = " ".join(output.split())
        return [
            fragment
            for fragment in self.fragments
            if not re.search(".*".join(map(re.escape, " ".join(fragment.split()).split("…"))), said)
        ]


@dataclass
class Block:
    kind: str
    commands: list[Command]


def blocks(path: Path) -> Iterator[Block]:
    """In their order. ValueError: a block that cannot be understood."""
    page = path.read_text(encoding="utf-8")
    for found in FENCE.finditer(page):
        kind, first = found[1], page.count("\n", 0, found.start()) + 2
        if kind not in KINDS:
            raise ValueError(f"{path.name}:{first - 1}: {kind!r} is no kind of block: {', '.join(KINDS[1:])}")
        commands: list[Command] = []
        for number, line in enumerate(found[2].splitlines(), first):
            if line.startswith("$ "):
                commands.append(Command(line[2:], f"{path.name}:{number}"))
            elif not commands:
                raise ValueError(f"{path.name}:{number}: no command above {line!r}")
            elif exits := EXIT.fullmatch(line):
                commands[-1].exits = tuple(map(int, exits[1].split(", ")))
            else:
                commands[-1].fragments.append(line)
        yield Block(kind, commands)
