"""The preflight looks at everything and touches nothing."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import avwapd as package
from avwapd.verbs import check
from avwapd.verbs.header import header_of
from tests.cli.process import avwapd


def checked(folder: Path, *words: str, **environ: str) -> tuple[int, dict[str, Any], dict[str, Any]]:
    done = avwapd("--config-check", "--json", "--state-dir", "state", *words, folder=folder, **environ)
    assert done.stderr == ""
    facts = json.loads(done.stdout)
    return done.returncode, facts, {finding["name"]: finding for finding in facts["checks"]}


def make_database(path: Path, application_id: int, version: int, *, wal: bool = False) -> sqlite3.Connection:
    path.parent.mkdir(exist_ok=True)
    conn = sqlite3.connect(path)
    conn.execute(f"PRAGMA journal_mode = {'WAL' if wal else 'DELETE'}")
    conn.execute("PRAGMA wal_autocheckpoint = 0")
    conn.execute("CREATE TABLE t (x)")
    conn.execute(f"PRAGMA application_id = {application_id}")
    conn.execute(f"PRAGMA user_version = {version}")
    conn.commit()
    return conn


def listing(folder: Path) -> list[tuple[str, int, int]]:
    return sorted((str(p.relative_to(folder)), p.stat().st_mtime_ns, p.stat().st_size) for p in folder.rglob("*"))


def test_an_empty_folder_passes_and_stays_empty(tmp_path: Path) -> None:
    code, facts, findings = checked(tmp_path)
    assert (code, facts["ok"], facts["passed"]) == (0, True, facts["total"])
    assert facts["config_hash"]
    assert set(findings) >= {
        "configuration",
        "mode",
        "state folder",
        "control socket",
        "database",
        "credentials",
        "network",
    }
    assert findings["network"]["what"] == "off"
    assert list(tmp_path.iterdir()) == []


def test_words_for_people(tmp_path: Path) -> None:
    done = avwapd("check", "--mode", "config", folder=tmp_path)
    assert done.stdout.splitlines()[-1] == "7 of 7"


def test_a_broken_configuration_is_78_and_the_rest_is_still_looked_at(tmp_path: Path) -> None:
    code, facts, findings = checked(tmp_path, AVWAPD_GATES__SLOPE_BARS="0", AVWAPD_RUN__NOPE="1")
    assert (code, facts["ok"], facts["config_hash"]) == (78, False, None)
    assert "gates.slope_bars" in findings["configuration"]["what"]
    assert "run.nope" in findings["configuration"]["what"]
    assert findings["database"]["verdict"] == "ok"


@pytest.mark.parametrize(
    ("application_id", "version", "verdict", "what"),
    [
        (package.APPLICATION_ID, package.SCHEMA_VERSION, "ok", f"schema {package.SCHEMA_VERSION}"),
        (package.APPLICATION_ID, 0, "ok", "migrates it"),
        (package.APPLICATION_ID, package.SCHEMA_VERSION + 1, "fail", "newer than this code"),
        (12345, 1, "fail", "another program (application id 0x3039)"),
    ],
)
@pytest.mark.parametrize("wal", [False, True])
def test_a_database_is_known_by_its_header(
    tmp_path: Path, application_id: int, version: int, verdict: str, what: str, wal: bool
) -> None:
    with closing(make_database(tmp_path / "state/avwapd.db", application_id, version, wal=wal)):
        before = listing(tmp_path)
        code, _, findings = checked(tmp_path)
        assert listing(tmp_path) == before
    assert findings["database"]["verdict"] == verdict
    assert what in findings["database"]["what"]
    assert code == (0 if verdict == "ok" else 1)


def test_what_was_not_committed_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "state/avwapd.db"
    with closing(make_database(path, 7, 1, wal=True)) as conn:
        conn.execute("PRAGMA cache_size = 1")
        conn.execute("PRAGMA cache_spill = 1")
        conn.execute("BEGIN")
        conn.execute("PRAGMA user_version = 9")
        conn.executemany("INSERT INTO t VALUES (?)", [(b"x" * 3000,)] * 200)
        assert header_of(path).user_version == 1
        conn.commit()
        assert header_of(path).user_version == 9
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert header_of(path).user_version == 9


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0", b"x" * 200])
def test_a_file_that_is_no_database_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/avwapd.db").write_bytes(content)
    code, _, findings = checked(tmp_path)
    assert code == 1
    assert "no SQLite database" in findings["database"]["what"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check.writable("x", tmp_path / "a/b").verdict == check.OK
    monkeypatch.setattr(os, "access", lambda *_: False)
    finding = check.writable("x", tmp_path / "a/b")
    assert finding.verdict == check.FAIL
    assert str(tmp_path) in finding.what


def test_a_file_where_the_state_folder_should_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    code, _, findings = checked(tmp_path)
    assert code == 1
    assert "is no folder" in findings["state folder"]["what"]


def test_a_socket_path_too_long_is_told(tmp_path: Path) -> None:
    code, _, findings = checked(tmp_path, RUNTIME_DIRECTORY="/" + "x" * 200)
    assert code == 1
    assert "a unix socket may have 107" in findings["control socket"]["what"]


def test_a_warning_is_2_and_strict_makes_it_1() -> None:
    findings = [check.Finding("a", check.OK, ""), check.Finding("b", check.WARN, "")]
    assert check.exit_code(findings, strict=False) == 2
    assert check.exit_code(findings, strict=True) == 1
    assert check.exit_code(findings[:1], strict=True) == 0


def test_the_store_and_the_check_know_the_same_identity() -> None:
    from avwapd.store import database, migrate

    assert database.APPLICATION_ID == package.APPLICATION_ID
    assert migrate.newest(migrate.packaged()) == package.SCHEMA_VERSION
