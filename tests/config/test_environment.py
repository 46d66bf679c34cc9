"""One list of environment variables: all that the code reads is in it, all that is in it is read, and .env.example
and etc/avwapd.toml name every variable and every setting."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from avwapd import cli
from avwapd.config import ConfigError, as_plain, load, packaged
from avwapd.config.environment import KNOWN, NAMES, PREFIX, SECRETS, TESTS, refuse_unknown, unknown
from avwapd.config.kinds import Table
from avwapd.config.layers import kinds, shapes
from avwapd.paths import resolve
from tests.tidy.rules import ROOT, listed

NAME = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|HOME|TERM|PATH|LANG|TZ")
OURS = re.compile(r"(?:AVWAPD|APCA)_[A-Z0-9_]+")
LISTED_IN = "avwapd/config/environment.py"
# Reads whose name only a run knows, and why none can be missed there.
BY_NAME = {
    "avwapd/config/environment.py": "the list itself",
    "avwapd/config/shown.py": "the list itself",
    "avwapd/config/layers.py": "the settings",
    "avwapd/ops/secrets.py": "the secrets of the list, and of systemd's folder",
    "avwapd/paths.py": "whoever calls gives the name as a text",
    "avwapd/remote/credentials.py": "the constants of Names, which are texts of their own",
    "avwapd/verbs/check.py": "a constant of Names",
    "avwapd/verbs/notify.py": "MONITOR_ and a text of its own",
}
MONITOR = "MONITOR_"
WHOLE = re.compile(r"(?:dict\()?(?:os\.)?environ\w*(?: if .* else \w+)?\)?")


def constants(tree: ast.Module) -> dict[str, str]:
    """The texts that a module gives names to."""
    found = {}
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        values = [getattr(node, "value", None)]
        if isinstance(targets[0], ast.Tuple) and isinstance(values[0], ast.Tuple):
            targets, values = targets[0].elts, values[0].elts
        for target, value in zip(targets, values * len(targets) if len(values) == 1 else values, strict=True):
            if isinstance(target, ast.Name) and isinstance(value, ast.Constant) and isinstance(value.value, str):
                found[target.id] = value.value
    return found


def environments(tree: ast.Module) -> set[str]:
    """The names that an environment goes by in a module."""
    found = {"env", "environ", "environment", "os.environ"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and WHOLE.fullmatch(ast.unparse(node.value)):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


def read_names(source: str, elsewhere: Mapping[str, str] = MappingProxyType({})) -> Iterator[tuple[int, str | None]]:
    """The variables that a source reads, by line; None for one whose name only a run knows. elsewhere: the texts that
    other modules give names to."""
    tree = ast.parse(source)
    known = {**elsewhere, **constants(tree)}
    names = environments(tree)

    def about(node: ast.expr) -> bool:
        if isinstance(node, ast.IfExp):
            return about(node.body) or about(node.orelse)
        return ast.unparse(node) in names or (isinstance(node, ast.Attribute) and node.attr in ("env", "environ"))

    def name_of(node: ast.expr) -> str | None:
        if isinstance(node, ast.Constant):
            return str(node.value)
        return known.get(node.id) if isinstance(node, ast.Name) else None

    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and OURS.fullmatch(node.value):
            if "__" not in node.value:
                yield node.lineno, node.value
        elif isinstance(node, ast.Subscript) and about(node.value):
            if isinstance(node.ctx, ast.Load):
                yield node.lineno, name_of(node.slice)
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
            if about(node.comparators[0]):
                yield node.lineno, name_of(node.left)
        elif isinstance(node, ast.Call):
            of_it = isinstance(node.func, ast.Attribute) and node.func.attr in ("get", "pop") and about(node.func.value)
            if of_it or ast.unparse(node.func) == "os.getenv":
                yield node.lineno, name_of(node.args[0])
            elif any(about(each) for each in node.args):
                given = filter(None, map(name_of, node.args))
                yield from ((node.lineno, name) for name in given if NAME.fullmatch(name))


def of_the_code() -> dict[str, str]:
    """Each variable that the product reads, and a place."""
    sources = {path: (ROOT / path).read_text() for path in listed("avwapd/*.py") if path != LISTED_IN}
    elsewhere: dict[str, str] = {}
    for source in sources.values():
        elsewhere |= {name: text for name, text in constants(ast.parse(source)).items() if NAME.fullmatch(text)}
    found = {f"{MONITOR}{text}": "" for text in re.findall(r'"([A-Z_]+)"', sources["avwapd/verbs/notify.py"])}
    found = {name: "avwapd/verbs/notify.py" for name in found if name in NAMES}
    for path, source in sources.items():
        for line, name in read_names(source, elsewhere):
            if name is None:
                assert path in BY_NAME, f"{path}:{line} reads a variable whose name cannot be seen"
            elif NAME.fullmatch(name):
                found[name] = f"{path}:{line}"
    return found


def test_the_list_names_all_that_is_read() -> None:
    assert {name: place for name, place in of_the_code().items() if name not in NAMES} == {}


def test_all_that_is_listed_is_read() -> None:
    of_tests = "".join((ROOT / path).read_text() for path in listed("tests/live/*.py"))
    read = set(of_the_code())
    assert {each.name for each in KNOWN if each.given_by != TESTS} - read == set()
    assert all(each.name in of_tests for each in KNOWN if each.given_by == TESTS)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import os\nos.environ['X_Y']", ["X_Y"]),
        ("import os\nos.environ.get('X_Y', '')", ["X_Y"]),
        ("import os\nos.getenv('X_Y')", ["X_Y"]),
        ("def f(env):\n    return env.get('X_Y')", ["X_Y"]),
        ("def f(environment):\n    return 'X_Y' in environment", ["X_Y"]),
        ("FOLDER = 'X_Y'\ndef f(environ):\n    return environ.get(FOLDER)", ["X_Y"]),
        ("def f(env):\n    return first(env, 'X_Y')", ["X_Y"]),
        ("A = Names('APCA_NEW')", ["APCA_NEW"]),
        ("import os\nos.environ.get(name)", [None]),
        ("import os\nos.environ['X_Y'] = '1'", []),
        ("x = 'AVWAPD_GATES__SETTLE_MIN'", []),
        ("import os\nknown = os.environ\nknown.get('X_Y')", ["X_Y"]),
        ("A, FOLDER = 'a', 'X_Y'\ndef f(environ):\n    return environ[FOLDER]", ["X_Y"]),
        ("import os\ndef f(env=None):\n    return (os.environ if env is None else env).get('X_Y')", ["X_Y"]),
        ("d.get('X_Y')", []),
    ],
)
def test_a_read_is_seen(source: str, names: list[str | None]) -> None:
    assert [name for _, name in read_names(source)] == names


# ------------------------------------------------------------ .env.example

EXAMPLE = (ROOT / ".env.example").read_text()
ASSIGNED = dict(re.findall(r"^#([A-Z]\w*)=(.*)$", EXAMPLE, re.MULTILINE))


def test_the_example_is_what_the_program_makes(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["config", "example"]) == 0
    assert capsys.readouterr().out == EXAMPLE, "run: avwapd config example > .env.example"


def test_the_example_names_every_variable_and_every_setting_and_nothing_else() -> None:
    settings = {name for name in ASSIGNED if "__" in name}
    assert set(ASSIGNED) - settings == NAMES
    entry = {f"{PREFIX}{key.upper().replace('.', '__')}": kind for key, kind in kinds().items()}
    tables = tuple(f"{name}__" for name, kind in entry.items() if isinstance(kind, Table))
    plain = {name for name, kind in entry.items() if not isinstance(kind, Table)}
    assert {name for name in settings if not name.startswith(tables)} == plain
    assert [table for table in tables if not any(name.startswith(table) for name in settings)] == []


def test_what_the_example_says_is_the_default(tmp_path: Path) -> None:
    """Every line taken as it stands changes nothing."""
    settings = {name: text for name, text in ASSIGNED.items() if "__" in name and not name.endswith("__NAME")}
    assert as_plain(load(folder=tmp_path, environ=settings)) == as_plain(load(folder=tmp_path, environ={}))


def test_no_secret_has_a_value_there() -> None:
    assert len(SECRETS) >= 8
    assert {name: ASSIGNED[name] for name in SECRETS if ASSIGNED[name]} == {}


def test_the_log_hides_the_secrets_of_the_list() -> None:
    from avwapd.ops.secrets import redactor

    given = {name: f"planted-{at}-value" for at, name in enumerate(SECRETS)}
    hide = redactor(given)
    for name, value in given.items():
        assert value not in hide(f"{name} is {value}."), name


def test_every_line_has_words() -> None:
    for each in KNOWN:
        assert re.search(rf"^# \S.*\n#{each.name}=", EXAMPLE, re.MULTILINE), each.name


# ------------------------------------------------------------ etc/avwapd.toml


def test_the_file_names_every_setting_and_nothing_else() -> None:
    """The other way round from test_settings: whatever line of the file is a setting's."""
    text = packaged("avwapd.toml").read_text()
    found = tomllib.loads(text)
    assert set(found) == set(shapes())
    assert {f"{section}.{name}" for section, table in found.items() for name in table} == set(kinds())


# ------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("AVWAPD_STATEDIR", "AVWAPD_STATEDIR is no variable of avwapd; the nearest is AVWAPD_STATE_DIR"),
        ("AVWAPD_KILLSWITCH", "the nearest is AVWAPD_KILL_SWITCH"),
        ("AVWAPD_LIVE_TRADE", "the nearest is AVWAPD_LIVE_TRADING"),
        ("AVWAPD_GATES_SETTLE_MIN", "the nearest is AVWAPD_GATES__SETTLE_MIN"),
        ("AVWAPD_", "a setting is AVWAPD_SECTION__KEY, with two __"),
    ],
)
def test_a_variable_that_nothing_reads_is_refused(name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(folder=tmp_path, environ={name: "hunter2"})
    assert words in caught.value.what
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ConfigError, match=name):
        resolve(None, {name: "x", "HOME": str(tmp_path)})


def test_known_ones_and_others_peoples_are_not(tmp_path: Path) -> None:
    environ = dict.fromkeys([*NAMES, "AVWAP", "PATH", "avwapd_x", "AVWAPD"], "1") | {"AVWAPD_RUN__SEED": "1"}
    assert unknown(environ) == []
    refuse_unknown(environ)
    load(folder=tmp_path, environ=environ)
