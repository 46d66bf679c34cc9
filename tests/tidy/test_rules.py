"""The house rules hold in this checkout, and each of them can fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tidy import rules
from tests.tidy.rules import ROOT, Rule, listed

MANY_LINES = 400
TOO_MANY_LINES = 600


def broken(rule: Rule, paths: list[str]) -> list[str]:
    return [
        f"{path}:{finding.line}: {finding.what}"
        for path in paths
        if rule.applies_to(path)
        for finding in rule.findings((ROOT / path).read_text())
    ]


@pytest.mark.parametrize("rule", rules.PRODUCT_RULES, ids=lambda rule: rule.name)
def test_product_keeps(rule: Rule) -> None:
    paths = listed("avwapd/*.py")
    assert "avwapd/__init__.py" in paths
    assert broken(rule, paths) == []


@pytest.mark.parametrize("rule", rules.TEST_RULES, ids=lambda rule: rule.name)
def test_tests_keep(rule: Rule) -> None:
    assert broken(rule, listed("tests/*.py")) == []


def test_no_file_names_a_machine_or_an_index() -> None:
    found = [
        f"{path}:{finding.line}: {finding.what}"
        for path in listed()
        for finding in rules.strays((ROOT / path).read_bytes())
    ]
    assert found == []


def test_files_stay_short(house_report: list[str]) -> None:
    lengths = {path: len((ROOT / path).read_text().splitlines()) for path in listed("avwapd/*.py", "avwapd/*.sql")}
    house_report += [f"over {MANY_LINES} lines: {path} ({n})" for path, n in lengths.items() if n > MANY_LINES]
    assert {path: n for path, n in lengths.items() if n > TOO_MANY_LINES} == {}


# --------------------------------------------------------- can they fail?
# (rule, source, whether it is an offence)

PLANTED = [
    (rules.wall_clock, "import time\ntime.time()", True),
    (rules.wall_clock, "import time as t\nx = t.monotonic", True),
    (rules.wall_clock, "from time import perf_counter as p\np()", True),
    (rules.wall_clock, "import time\nread = time.time_ns", True),
    (rules.wall_clock, "def f():\n    import datetime\n    return datetime.datetime.now()", True),
    (rules.wall_clock, "from datetime import UTC, datetime as dt\ndt.now(UTC)", True),
    (rules.wall_clock, "from datetime import date\ndate.today()", True),
    (rules.wall_clock, "import datetime as d\nd.datetime.utcnow()", True),
    (rules.wall_clock, "import pandas as pd\npd.Timestamp.now('UTC')", True),
    (rules.wall_clock, "from datetime import datetime\ndatetime.fromtimestamp(1, None)", False),
    (rules.wall_clock, "async def f(clock):\n    return clock.now(), clock.time()", False),
    (rules.randomness, "import random\nrandom.random()", True),
    (rules.randomness, "from random import choice\nchoice([1])", True),
    (rules.randomness, "import random\nrandom.Random()", True),
    (rules.randomness, "import random\nrandom.Random(None)", True),
    (rules.randomness, "import random\nroll = random.random", True),
    (rules.randomness, "import numpy as np\nnp.random.rand(3)", True),
    (rules.randomness, "import numpy as np\nnp.random.default_rng()", True),
    (rules.randomness, "import os\nos.urandom(8)", True),
    (rules.randomness, "import uuid\nuuid.uuid4()", True),
    (rules.randomness, "from uuid import uuid4\nnew = uuid4", True),
    (rules.randomness, "import secrets", True),
    (rules.randomness, "from secrets import token_hex", True),
    (
        rules.randomness,
        "import random\ndef f(seed: int) -> random.Random:\n    return random.Random(seed)",
        False,
    ),
    (rules.randomness, "import numpy as np\nnp.random.default_rng(seed=7)", False),
    (rules.randomness, "import uuid\nuuid.uuid5(uuid.NAMESPACE_URL, 'a')", False),
    (rules.sql_text, "q = 'SELECT a\\nFROM b'", True),
    (rules.sql_text, "q = 'SELECT a '\\\n'FROM b'", True),
    (rules.sql_text, "q = f'SELECT {c} FROM b'", True),
    (rules.sql_text, "q = f'UPDATE {t} SET a = 1'", True),
    (rules.sql_text, "db.execute('INSERT OR IGNORE INTO b VALUES (1)')", True),
    (rules.sql_text, "db.execute('DELETE FROM b')", True),
    (rules.sql_text, "db.execute('CREATE TABLE b (a)')", True),
    (rules.sql_text, "db.execute('PRAGMA user_version')", True),
    (rules.sql_text, "db.execute('BEGIN IMMEDIATE')", True),
    (rules.sql_text, "'''The rows of SELECT ... FROM bars.'''", False),
    (rules.sql_text, "say('select a venue from the list, update it, set a stop')", False),
    (rules.printing, "print('here')", True),
    (rules.printing, "say = print", True),
    (rules.printing, "printer('here')", False),
    (rules.loose_tasks, "import asyncio\nasync def f():\n    await asyncio.gather()", True),
    (rules.loose_tasks, "from asyncio import TaskGroup", True),
    (rules.loose_tasks, "import asyncio as a\nspawn = a.create_task", True),
    (rules.loose_tasks, "import anyio\ngroup = anyio.create_task_group()", False),
    (rules.mute_skips, "import pytest\n@pytest.mark.skip\ndef test_a(): ...", True),
    (rules.mute_skips, "import pytest\n@pytest.mark.skip()\ndef test_a(): ...", True),
    (rules.mute_skips, "import pytest\n@pytest.mark.skipif(True, reason=' ')\ndef test_a(): ...", True),
    (rules.mute_skips, "from pytest import mark\n@mark.xfail\ndef test_a(): ...", True),
    (rules.mute_skips, "import pytest\npytest.skip()", True),
    (rules.mute_skips, "import pytest\npytest.importorskip('apsw')", True),
    (rules.mute_skips, "import pytest\npytest.skip('no strace here')", False),
    (
        rules.mute_skips,
        "import pytest\n@pytest.mark.skipif(True, reason='needs root')\ndef test_a(): ...",
        False,
    ),
]


@pytest.mark.parametrize(("check", "source", "offends"), PLANTED)
def test_a_rule_sees_what_it_should(check: rules.Check, source: str, offends: bool) -> None:
    assert bool(Rule("planted", check).findings(source)) is offends


def test_a_rule_spares_only_its_own_rooms() -> None:
    by_name = {rule.name: rule for rule in rules.PRODUCT_RULES}
    assert not by_name["wall clock"].applies_to("avwapd/ports.py")
    assert by_name["wall clock"].applies_to("avwapd/actors/clock.py")
    assert not by_name["SQL text"].applies_to("avwapd/store/writer.py")
    assert not by_name["SQL text"].applies_to("avwapd/venues/book.py")
    assert by_name["SQL text"].applies_to("avwapd/venues/sim.py")
    assert not by_name["printing"].applies_to("avwapd/cli_ctl.py")
    assert by_name["printing"].applies_to("avwapd/daemon.py")


@pytest.mark.parametrize("folder", ["root", "home/alice", "work", "Users/alice"])
def test_a_machine_path_is_seen_also_in_a_binary_file(folder: str) -> None:
    assert rules.strays(b"\0\x01 = '" + f"/{folder}/x".encode() + b"'")
    assert not rules.strays(f"see docs/{folder}/x, ${{DIR}}/{folder}/x, /homes/x".encode())


@pytest.mark.parametrize("host", ["py" + "pi.org", "files.python" + "hosted.org", "test.py" + "pi.org"])
def test_an_index_address_is_seen(host: str) -> None:
    option, page = "--index" + "-url", "sim" + "ple"
    assert rules.strays(f"\n{option} https://{host}/{page}".encode())[0].line == 2


def test_every_file_that_could_travel_is_listed() -> None:
    assert str(Path(__file__).resolve().relative_to(ROOT)) in listed()
    assert not any(name.startswith((".venv/", ".state/")) for name in listed())
