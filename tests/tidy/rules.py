"""The house rules that a linter does not know, as functions from one source text to its findings."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLI = ("avwapd/__main__.py", "avwapd/cli.py", "avwapd/cli_*.py", "avwapd/verbs/*.py")
CLOCK_PORT = "avwapd/ports.py"


def listed(*patterns: str) -> list[str]:
    """Files that are tracked, or would be by `git add .`."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return sorted(name for name in set(names.split("\0")) if name and (ROOT / name).is_file())


@dataclass(frozen=True)
class Finding:
    line: int
    what: str


Check = Callable[[ast.Module], Iterator[Finding]]


@dataclass(frozen=True)
class Rule:
    name: str
    check: Check
    allowed_in: tuple[str, ...] = ()

    def applies_to(self, path: str) -> bool:
        return not any(fnmatch(path, pattern) for pattern in self.allowed_in)

    def findings(self, source: str) -> list[Finding]:
        return sorted(self.check(ast.parse(source)), key=lambda finding: finding.line)


# ------------------------------------------------------------------- names
# `from datetime import datetime as dt; dt.now` is read as `datetime.datetime.now`, so an alias hides nothing.


def _aliases(tree: ast.Module) -> dict[str, str]:
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for item in node.names:
                head = item.name.partition(".")[0]
                known[item.asname or head] = item.name if item.asname else head
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for item in node.names:
                known[item.asname or item.name] = f"{node.module}.{item.name}"
    return known


def _dotted(node: ast.expr, known: dict[str, str]) -> str | None:
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = _dotted(node.value, known)
        return f"{owner}.{node.attr}" if owner else None
    return None


def _uses(tree: ast.Module) -> Iterator[tuple[int, str, ast.Call | None]]:
    """Every use of an imported name, spelled in full, with the call around it where there is one."""
    known = _aliases(tree)
    calls = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and id(node) not in inner:
            name = _dotted(node, known)
            if name:
                yield node.lineno, name, calls.get(id(node))


def _imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, item.name) for item in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield from ((node.lineno, f"{node.module}.{item.name}") for item in node.names)


def _banned(tree: ast.Module, names: frozenset[str]) -> Iterator[Finding]:
    yield from (Finding(line, name) for line, name in _imported(tree) if name in names)
    yield from (Finding(line, name) for line, name, _ in _uses(tree) if name in names)


# ------------------------------------------------------------------- rules

WALL_CLOCK = frozenset(
    f"time.{name}{unit}"
    for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time", "clock_gettime")
    for unit in ("", "_ns")
) | frozenset(
    f"{owner}.{name}"
    for owner in ("datetime.datetime", "datetime.date", "pandas.Timestamp")
    for name in ("now", "utcnow", "today")
)


def wall_clock(tree: ast.Module) -> Iterator[Finding]:
    yield from _banned(tree, WALL_CLOCK)


ENTROPY = frozenset(("uuid.uuid1", "uuid.uuid4", "os.urandom", "os.getrandom"))
SEEDED = frozenset(("random.Random",)) | frozenset(
    f"numpy.random.{name}" for name in ("default_rng", "Generator", "SeedSequence", "PCG64", "PCG64DXSM", "Philox")
)
NUMPY_RANDOM_TYPES = frozenset(("numpy.random.Generator", "numpy.random.BitGenerator"))


def _has_seed(call: ast.Call) -> bool:
    given = [*call.args, *(word.value for word in call.keywords)]
    return any(not (isinstance(value, ast.Constant) and value.value is None) for value in given)


def randomness(tree: ast.Module) -> Iterator[Finding]:
    """A generator with a seed repeats itself and is welcome; everything else that rolls dice is not."""
    yield from _banned(tree, ENTROPY)
    for line, name in _imported(tree):
        if name.partition(".")[0] == "secrets":
            yield Finding(line, name)
    for line, name, call in _uses(tree):
        if not name.startswith(("random.", "numpy.random.")):
            continue
        if call is None and name in SEEDED | NUMPY_RANDOM_TYPES:
            continue  # a type in a signature
        if call is None or name not in SEEDED or not _has_seed(call):
            yield Finding(line, name if name not in SEEDED else f"{name} without a seed")


SQL = re.compile(
    r"\b(SELECT\b.*\bFROM|INSERT (OR \w+ )?INTO|REPLACE INTO|UPDATE\b.*\bSET|DELETE FROM|PRAGMA"
    r"|(CREATE|DROP|ALTER) (TABLE|(UNIQUE )?INDEX|VIEW|TRIGGER)|BEGIN (IMMEDIATE|EXCLUSIVE))\b",
    re.DOTALL,
)


def _docstrings(tree: ast.Module) -> set[int]:
    return {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def sql_text(tree: ast.Module) -> Iterator[Finding]:
    prose = _docstrings(tree)
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(p.value if isinstance(p, ast.Constant) else "{}" for p in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose | parts:
            text = node.value
        else:
            continue
        found = SQL.search(text)
        if found:
            yield Finding(node.lineno, found.group()[:60])


def printing(tree: ast.Module) -> Iterator[Finding]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == "print":
            yield Finding(node.lineno, "print")


LOOSE_TASKS = frozenset(
    f"asyncio.{name}"
    for name in (
        "TaskGroup",
        "gather",
        "create_task",
        "ensure_future",
        "taskgroups.TaskGroup",
        "tasks.gather",
    )
)


def loose_tasks(tree: ast.Module) -> Iterator[Finding]:
    """Tasks live in anyio groups: one kind of cancellation, and no task without an owner."""
    yield from _banned(tree, LOOSE_TASKS)


def _says_why(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Constant):
        return isinstance(value.value, str) and bool(value.value.strip())
    return value is not None


def mute_skips(tree: ast.Module) -> Iterator[Finding]:
    """A skipped test says why; so does one that is expected to fail."""
    first_argument_is_reason = ("pytest.mark.skip", "pytest.skip", "unittest.skip")
    skipping = (*first_argument_is_reason, "pytest.mark.skipif", "pytest.mark.xfail", "pytest.importorskip")
    for line, name, call in _uses(tree):
        if name not in skipping or (call is None and name == "pytest.skip"):
            continue  # not a skip, or a mere mention
        reason = next((word.value for word in call.keywords if word.arg == "reason"), None) if call else None
        if reason is None and call and call.args and name in first_argument_is_reason:
            reason = call.args[0]
        if not _says_why(reason):
            yield Finding(line, f"{name} without a reason")


PRODUCT_RULES = (
    Rule("wall clock", wall_clock, (CLOCK_PORT, *CLI)),
    Rule("randomness", randomness, (CLOCK_PORT,)),
    Rule("SQL text", sql_text, ("avwapd/store/*.py", "avwapd/venues/book*.py")),
    Rule("printing", printing, CLI),
    Rule("loose tasks", loose_tasks),
)
TEST_RULES = (Rule("mute skips", mute_skips),)

# ------------------------------------------------- text that must not travel
# Put together from halves, so that this file does not find itself.

STRAYS = tuple(
    re.compile(pattern.encode())
    for pattern in (
        r"(?<![\w.})*])/" + r"(root|work)/",
        r"(?<![\w.})*])/" + r"(home|Users)/\w",
        r"\b(test\.)?py" + r"pi\.(org|python\.org)\b",
        r"\bfiles\.python" + r"hosted\.org\b",
        r"\bregistry\.npm" + r"js\.org\b",
    )
)


def strays(content: bytes) -> list[Finding]:
    """Paths of one machine and addresses of package indexes, in any kind of file."""
    return [
        Finding(content.count(b"\n", 0, match.start()) + 1, match.group().decode())
        for pattern in STRAYS
        for match in pattern.finditer(content)
    ]
