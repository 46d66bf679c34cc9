"""Going back over a change of the ledger's layout: right only where nothing was traded since, refused otherwise."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from avwapd.ops import release as releases
from avwapd.ops.after import wrong
from avwapd.ops.deploy import Closed, Deployment
from avwapd.ops.host import Done, Host
from avwapd.ops.release import DeployRefused, Release
from avwapd.store.tally import Tally, tally

OLD_SCHEMA, NEW_SCHEMA = 3, 4
BEFORE = Tally(OLD_SCHEMA, 100, 10, 8)


@dataclass(frozen=True, slots=True)
class Desk(Host):
    """A host that answers from `now` and keeps what was asked of it; its folders are real."""

    now: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def systemctl(self, *words: str, limit_s: float = 0) -> Done:
        self.asked.append(" ".join(words))
        state = "active" if self.now["running"] else "inactive"
        return Done(0, f"ActiveState={state}\nNRestarts=0\n" if words[0] == "show" else "", "")

    def as_service(self, command: Sequence[str], limit_s: float) -> Done:
        words = list(command[3:])
        self.asked.append(" ".join(words))
        if words[:1] == ["session"]:
            return Done(0, json.dumps({"open": self.now["open"]}), "")
        if words[:2] == ["deploy", "--tally"]:
            return Done(0, json.dumps({"tally": asdict(self.now["tally"])}), "")
        if words[:2] == ["db", "restore"]:
            return Done(0, "", "")
        return Done(0, "{}", "")

    def append(self, name: str, entry: dict[str, Any]) -> None:
        with (self.state / name).open("a") as file:
            file.write(json.dumps(entry) + "\n")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Two releases, the newer in use, and the entry of the deploy that brought it."""
    folders = {name: tmp_path / name for name in ("config_dir", "state", "cache", "runtime", "units", "credentials")}
    for folder in folders.values():
        folder.mkdir()
    found = Desk(
        prefix=tmp_path, user="nobody", group="nogroup", config=tmp_path / "x.toml", backups=tmp_path / "b", **folders
    )
    for name, schema in (("1-old", OLD_SCHEMA), ("2-new", NEW_SCHEMA)):
        release = Release(tmp_path / "releases" / name, name, name[0], schema, "")
        release.folder.mkdir(parents=True)
        releases.finish(release)
        releases.point(tmp_path, "current" if name == "2-new" else "previous", release)
    found.append("deployments.jsonl", {"to": "2-new", "backup": "copy.db", "tally": asdict(BEFORE)})
    found.now.update(running=False, open=False, tally=Tally(NEW_SCHEMA, 150, 10, 8))
    return found


def deployment(desk: Desk, said: list[str], *, dry: bool = False) -> Deployment:
    return Deployment(desk, said.append, lambda: "now", lambda: 0.0, dry=dry)


def current(desk: Desk) -> str:
    return (desk.prefix / "current").resolve().name


def test_over_a_migration_it_says_what_is_right(desk: Desk) -> None:
    with pytest.raises(DeployRefused, match=r"nothing was traded since, so the copy copy\.db is right"):
        deployment(desk, []).back()
    assert current(desk) == "2-new"


def test_it_restores_where_asked_and_nothing_was_traded(desk: Desk) -> None:
    assert deployment(desk, []).back(restore=True) == 0
    assert current(desk) == "1-old"
    assert "db restore --force-older copy.db" in desk.asked
    assert desk.lines("deployments.jsonl")[-1]["outcome"] == "ok, ledger restored"


@pytest.mark.parametrize("since", [Tally(NEW_SCHEMA, 101, 11, 8), Tally(NEW_SCHEMA, 101, 10, 9)])
def test_it_refuses_where_something_was_traded(desk: Desk, since: Tally) -> None:
    desk.now["tally"] = since
    with pytest.raises(DeployRefused, match="migrated and traded since"):
        deployment(desk, []).back(restore=True)
    assert current(desk) == "2-new"
    assert not [words for words in desk.asked if words.startswith(("stop", "db restore"))]


def test_it_refuses_without_a_copy(desk: Desk) -> None:
    (desk.state / "deployments.jsonl").unlink()
    with pytest.raises(DeployRefused, match="no copy from before is noted"):
        deployment(desk, []).back(restore=True)


def failed_deploy(desk: Desk) -> tuple[int, list[str]]:
    """What a deploy does by itself after its checks failed, the new release in use."""
    said: list[str] = []
    job = deployment(desk, said)
    job.settle_s = 0.0
    job.entry = {"backup": "copy.db", "health_before": {}}
    new, old = (releases.linked(desk.prefix, link) for link in ("current", "previous"))
    assert new is not None
    return job._return(new, old, BEFORE), said


def test_by_itself_it_restores_what_was_only_migrated(desk: Desk) -> None:
    code, said = failed_deploy(desk)
    assert (code, current(desk)) == (1, "1-old")
    assert "db restore --force-older copy.db" in desk.asked
    assert any("nothing was traded since" in line for line in said)


def test_by_itself_it_stops_where_the_old_one_could_not_read_on(desk: Desk) -> None:
    desk.now["tally"] = Tally(NEW_SCHEMA, 101, 11, 8)
    code, said = failed_deploy(desk)
    assert (code, current(desk)) == (1, "2-new")
    assert "stop avwapd.service" in desk.asked
    assert not [words for words in desk.asked if words.startswith("db restore")]
    assert "deploy forward" in said[-1]


def test_in_session_it_wants_to_be_asked_by_name(desk: Desk) -> None:
    desk.now.update(running=True, open=True)
    with pytest.raises(Closed) as refused:
        deployment(desk, []).back()
    assert refused.value.exit_code == 75


def test_a_dry_run_turns_nothing(desk: Desk) -> None:
    desk.now["tally"] = BEFORE
    said: list[str] = []
    assert deployment(desk, said, dry=True).back() == 0
    assert (current(desk), said[-1]) == ("2-new", "dry run: nothing was changed")
    assert len(desk.lines("deployments.jsonl")) == 1


def test_what_speaks_against_a_fresh_start() -> None:
    before = {"epoch": 4, "halted": ["A"]}
    assert wrong({"epoch": 5, "halted": ["A"], "in_doubt": []}, before) == []
    assert "not the same ledger" in wrong({"epoch": 6}, before)[0]
    assert wrong({"epoch": 5, "in_doubt": ["av-1"]}, before) == ["orders in doubt: av-1"]
    assert wrong({"epoch": 5, "halted": ["A", "B"]}, before) == ["halted since: B"]
    assert "ledger and venue differ" in wrong({"epoch": 5, "reconcile": {"differences": ["A"]}}, before)[0]


def test_the_tally_is_read_from_the_file(tmp_path: Path) -> None:
    assert tally(tmp_path / "none.db") is None
    with closing(sqlite3.connect(tmp_path / "a.db")) as conn:
        conn.executescript("create table inputs(a); create table outbox(a); create table fills(a);")
        conn.executescript("insert into inputs values (1), (2); insert into fills values (1); pragma user_version = 3;")
    assert tally(tmp_path / "a.db") == Tally(3, 2, 0, 1)


def test_links_turn_whole_and_old_releases_go(tmp_path: Path) -> None:
    made = []
    for n in range(6):
        release = Release(tmp_path / "releases" / f"r{n}", f"r{n}", "1", 4, "")
        release.folder.mkdir(parents=True)
        releases.finish(release)
        made.append(release)
    (tmp_path / "releases" / "half").mkdir()
    releases.point(tmp_path, "current", made[0])
    releases.point(tmp_path, "current", made[5])
    releases.point(tmp_path, "previous", made[0])
    assert releases.linked(tmp_path, "current") == made[5]
    releases.prune(tmp_path)
    left = {path.name for path in (tmp_path / "releases").iterdir()}
    assert {"r0", "r5"} <= left
    assert len(left) <= releases.KEPT + 2
    (tmp_path / "current" / releases.NOTE).unlink()
    assert releases.linked(tmp_path, "current") is None
