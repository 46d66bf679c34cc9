"""The two keys: what is wrong with them is said, what they are never."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from avwapd.ops.arming import FILE_NAME, missing

SECRET = "correct-horse-battery"
ENV = {"AVWAPD_LIVE_TRADING": "1", "LIVE_CONFIRM_TOKEN": SECRET}


def keyed(state: Path, text: str = SECRET + "\n", mode: int = 0o600) -> Path:
    path = state / FILE_NAME
    path.write_text(text)
    path.chmod(mode)
    return path


def test_both_keys(tmp_path: Path) -> None:
    keyed(tmp_path)
    assert missing(tmp_path, environ=ENV) == []
    assert missing(tmp_path, SECRET, ENV) == []
    assert missing(tmp_path, "another", ENV) == [f"the token given is not what {FILE_NAME} says"]
    assert missing(tmp_path, "", ENV) == [f"the token given is not what {FILE_NAME} says"]


@pytest.mark.parametrize("value", ["", "0", "true", "yes", "11"])
def test_the_first_key_is_exactly_1(value: str, tmp_path: Path) -> None:
    keyed(tmp_path)
    assert missing(tmp_path, environ=ENV | {"AVWAPD_LIVE_TRADING": value}) == ["AVWAPD_LIVE_TRADING is not 1"]


def test_a_credential_goes_before_the_variable(tmp_path: Path) -> None:
    keyed(tmp_path)
    folder = tmp_path / "credentials"
    folder.mkdir()
    env = ENV | {"CREDENTIALS_DIRECTORY": str(folder)}
    assert missing(tmp_path, environ=env) == []
    (folder / "LIVE_CONFIRM_TOKEN").write_text("old\n")
    assert missing(tmp_path, environ=env) == [f"LIVE_CONFIRM_TOKEN is not what {FILE_NAME} says"]
    (folder / "LIVE_CONFIRM_TOKEN").write_text(SECRET)
    assert missing(tmp_path, environ=env | {"LIVE_CONFIRM_TOKEN": ""}) == []


def linked(state: Path) -> None:
    other = state / "other"
    other.write_text(SECRET)
    other.chmod(0o600)
    (state / FILE_NAME).symlink_to(other)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda state: None, "is not in the state folder"),
        (lambda state: keyed(state, mode=0o644), "has mode 0644, wanted is 0600"),
        (lambda state: keyed(state, mode=0o400), "has mode 0400, wanted is 0600"),
        (lambda state: keyed(state, text=" \n"), "is empty"),
        (lambda state: keyed(state, text="x" * 5000), "is longer than"),
        (lambda state: keyed(state, text="wrong"), "LIVE_CONFIRM_TOKEN is not what"),
        (linked, "cannot be opened as a file"),
        (lambda state: os.mkfifo(state / FILE_NAME, 0o600), "is no regular file"),
        (lambda state: (state / FILE_NAME).mkdir(), "is no regular file"),
    ],
)
def test_a_file_that_is_no_key(make: Callable[[Path], object], words: str, tmp_path: Path) -> None:
    make(tmp_path)
    [said] = missing(tmp_path, environ=ENV)
    assert words in said
    assert SECRET not in said


def test_no_token_of_the_service(tmp_path: Path) -> None:
    keyed(tmp_path)
    said = missing(tmp_path, environ={"AVWAPD_LIVE_TRADING": "1"})
    assert said == ["there is no LIVE_CONFIRM_TOKEN, neither a credential nor a variable"]
    assert len(missing(tmp_path, environ={})) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_another_users_file_is_no_key(tmp_path: Path) -> None:
    os.chown(keyed(tmp_path), 12345, -1)
    assert missing(tmp_path, environ=ENV) == [f"{FILE_NAME} belongs to another user"]
