"""Where the state folder and the socket are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from avwapd.config import ConfigError
from avwapd.paths import resolve

HOME = {"HOME": "/h"}


@pytest.mark.parametrize(
    ("given", "environ", "state"),
    [
        ("/a", {"AVWAPD_STATE_DIR": "/b", "STATE_DIRECTORY": "/c"}, "/a"),
        (None, {"AVWAPD_STATE_DIR": "/b", "STATE_DIRECTORY": "/c"}, "/b"),
        (None, {"STATE_DIRECTORY": "/c:/d"}, "/c"),
        (None, {"AVWAPD_STATE_DIR": "", "STATE_DIRECTORY": ""}, "/h/.local/state/avwapd"),
    ],
)
def test_the_state_folder_comes_from_the_first_that_is_set(
    given: str | None, environ: dict[str, str], state: str
) -> None:
    paths = resolve(given, {**HOME, **environ})
    assert paths.state == Path(state)
    assert paths.database == Path(state, "avwapd.db")
    assert paths.socket == Path(state, "control.sock")


def test_an_empty_state_folder_is_refused() -> None:
    with pytest.raises(ConfigError, match="--state-dir is empty"):
        resolve("", HOME)


def test_a_relative_folder_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve("x", HOME).state == tmp_path / "x"


def test_the_socket_goes_into_the_runtime_folder_where_there_is_one() -> None:
    paths = resolve("/a", {"RUNTIME_DIRECTORY": "/run/avwapd:/run/other"})
    assert paths.socket == Path("/run/avwapd/control.sock")


def test_a_path_too_long_for_a_socket_is_told() -> None:
    room = 107 - len("/control.sock")
    assert resolve("/" + "x" * (room - 1), HOME).socket
    for folder in ("/" + "x" * room, "/" + "é" * (room // 2 + 1)):
        paths = resolve(folder, HOME)
        assert paths.database
        with pytest.raises(ConfigError, match="a unix socket may have 107"):
            _ = paths.socket
