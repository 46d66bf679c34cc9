"""`init` writes once, whole, and never over anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from avwapd.config import load
from avwapd.verbs import init
from tests.cli.process import avwapd


def test_what_init_writes_is_read_from_then_on(tmp_path: Path) -> None:
    done = avwapd("init", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    target = tmp_path / "etc/avwapd.local.toml"
    assert load(folder=tmp_path, environ={}).origins["run.mode"] == str(target)
    assert sorted(path.name for path in target.parent.iterdir()) == [target.name]
    check = avwapd("--config", str(target), "--config-check", folder=tmp_path)
    assert check.returncode == 0
    assert "wrote etc/avwapd.local.toml" in done.stdout


@pytest.mark.parametrize("there", ["file", "dangling link", "folder"])
def test_what_is_there_is_left(tmp_path: Path, there: str) -> None:
    target = tmp_path / "avwapd.local.toml"
    if there == "file":
        target.write_text("mine")
    elif there == "folder":
        target.mkdir()
    else:
        target.symlink_to("nowhere")
    done = avwapd("init", str(tmp_path), folder=tmp_path)
    assert done.returncode == 0
    assert "left as it is" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    assert there != "file" or target.read_text() == "mine"


def test_one_that_came_in_between_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "avwapd.local.toml"
    target.write_text("mine")
    monkeypatch.setattr(init.os.path, "lexists", lambda _: False)
    assert not init.write_new(target, "new")
    assert target.read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    done = avwapd("init", "x/y", folder=tmp_path)
    assert done.returncode == 78
    assert done.stderr.startswith("avwapd: no configuration written: not a directory\n  where: x/y/avwapd.local.toml")
