"""What a look found: one line with a verdict, and what to do where it is not ok."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

OK, WARN, FAIL = "ok", "warn", "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    name: str
    verdict: str
    what: str
    next_step: str = ""


def worst(findings: Iterable[Finding]) -> str:
    """The colour of the whole."""
    verdicts = {finding.verdict for finding in findings}
    return FAIL if FAIL in verdicts else WARN if WARN in verdicts else OK


def exit_code(findings: Iterable[Finding], strict: bool) -> int:
    """0 ok, 1 fail, 2 warn (1 under --strict)."""
    verdict = worst(findings)
    return {OK: 0, WARN: 1 if strict else 2, FAIL: 1}[verdict]
