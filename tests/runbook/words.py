"""Every call of a program that a page shows: in fenced and indented blocks, and between backticks."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SPANS = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
PROMPT = re.compile(r"^(?:\$ |[a-z]*@?ExecStart=)")
REMARK = re.compile(r"\s+#(?: .*)?$")
ENDS = re.compile(r"\s*(?:&&|\|\||;|\||>|<)\s*|\$\(|\)\"")
BEFORE = re.compile(
    r"^(?:sudo(?: -u \w+)? |env (?:-u \w+ )*|exec |export |ssh (?:-\S+ )*host "
    r"|[A-Z][A-Z_]*='[^']*' |[A-Z][A-Z_0-9]*=\S* )+"
)
# What stands for something: a word in capitals, an ellipsis, a choice.
STANDS_FOR = {"TS": "1515630000000", "SYMBOL": "AAPL", "N": "1", "UNIT": "avwapd.service"}


@dataclass(frozen=True)
class Said:
    where: str
    words: tuple[str, ...]


def said(page: Path, program: str) -> Iterator[Said]:
    """The program's calls in a page, word by word, without what stands before and behind."""
    fenced, prompted, whole = False, False, ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
            prompted = fenced and line.startswith("```console")
            continue
        if prompted and not line.startswith("$ "):
            continue  # what a command says
        code = fenced or line.startswith("    ")
        if code and line.endswith("\\"):
            whole += line[:-1]
            continue
        pieces, whole = [whole + line] if code else SPANS.findall(line), ""
        for piece in pieces:
            for part in ENDS.split(REMARK.sub("", piece)):
                words = split(BEFORE.sub("", PROMPT.sub("", part.strip())))
                if words and words[0] == program:
                    yield Said(f"{page.name}:{number}", tuple(words[1:]))


def split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # a quotation mark of prose
        return text.split()


def filled(words: tuple[str, ...]) -> list[str] | None:
    """With something for each word that stands for one; None: a mere mention that goes on with an ellipsis."""
    if any("…" in word or "|" in word for word in words):
        return None
    found = []
    for word in words:
        if word.startswith("[") or word.endswith("]"):
            word = word.strip("[]")
        found.append(STANDS_FOR.get(word, word))
    return found
