"""`config show` tells every value, what may stand there and where it came from; what it writes loads to the same."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avwapd import cli
from avwapd.config import ConfigError, as_plain, config_hash, load, packaged
from avwapd.config.kinds import show
from avwapd.config.layers import kinds, traced
from avwapd.config.shown import as_toml, lines, shown

FILE = """
[gates]
settle_min = 7
[equity.start]
USD = 5
[anchors]
extra = ["user"]
[anchors.user]
"BTC/USDT" = ["2024-05-02", 1_714_680_000_000]
[run]
window_from = "2024-05-02"
speed = 60
symbols = ["AAPL", "BRK.B"]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import os

    for name in [name for name in os.environ if name.startswith(("AVWAPD_", "APCA_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/avwapd.toml").write_text(FILE)
    (tmp_path / "etc/avwapd.local.toml").write_text("[gates]\nlast_entry_min = 9\n[equity.start]\nBTC = 6\n")
    monkeypatch.setenv("AVWAPD_GATES__SLOPE_BARS", "3")
    monkeypatch.setenv("AVWAPD_EQUITY__START__ETH", "8")
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.main(["config", *words]) == 0
    return capsys.readouterr().out


def test_what_it_shows_is_a_file_that_gives_the_same(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("show",), ("show", "--origin")):
        file = folder / "shown.toml"
        file.write_text(told(capsys, *words))
        found = tomllib.loads(file.read_text())
        assert {f"{section}.{name}" for section, table in found.items() for name in table} == set(kinds())
        again = load(file, folder=folder, environ={})
        assert config_hash(again) == config_hash(load())
        assert as_plain(again) == as_plain(load())
        file.unlink()


def test_every_value_says_where_it_came_from_and_what_may_stand_there(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = told(capsys, "show", "--origin")
    minutes = "a number from 0 to 1440 (minutes)"
    for line in (
        f"open_delay_min = 20.0  # {minutes}; from defaults",
        f"settle_min = 7.0  # {minutes}; from file: {folder}/etc/avwapd.toml",
        f"last_entry_min = 9.0  # {minutes}; from local: {folder}/etc/avwapd.local.toml",
        "slope_bars = 3  # a whole number from 1 to 7 (bars); from environment: AVWAPD_GATES__SLOPE_BARS",
        f"#   file: {folder}/etc/avwapd.toml: USD",
        f"#   local: {folder}/etc/avwapd.local.toml: BTC",
        "#   environment: AVWAPD_EQUITY__START__ETH: ETH",
    ):
        assert line in text.splitlines(), line
    assert text.count("; from ") == len(kinds())


def test_one_section_one_setting_and_what_was_changed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "show", "gates.settle_min") == "[gates]\nsettle_min = 7.0\n"
    assert set(tomllib.loads(told(capsys, "show", "equity"))) == {"equity"}
    changed = tomllib.loads(told(capsys, "show", "--changed"))
    assert set(changed["gates"]) == {"settle_min", "last_entry_min", "slope_bars"}
    assert set(changed) == {"gates", "equity", "anchors", "run"}


def test_json_has_it_all(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(told(capsys, "show", "--json"))
    assert found["config_hash"] == config_hash(load())
    assert [Path(name).name for name in found["files"]] == ["avwapd.toml", "avwapd.toml", "avwapd.local.toml"]
    by_key = {each["key"]: each for each in found["settings"]}
    assert set(by_key) == set(kinds())
    assert by_key["gates.settle_min"] == {
        "key": "gates.settle_min", "value": 7.0, "default": 0.0, "changed": True, "layer": "file",
        "allowed": "a number from 0 to 1440 (minutes)", "origin": f"{folder}/etc/avwapd.toml", "entries": {},
    }  # fmt: skip
    assert by_key["equity.start"]["entries"]["ETH"] == "AVWAPD_EQUITY__START__ETH"


@pytest.mark.parametrize("words", [("show",), ("show", "--origin"), ("show", "--json"), ("show", "--origin", "venue")])
def test_no_secret_is_shown(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    for name in ("APCA_API_KEY_ID", "AVWAPD_CCXT_SECRET", "AVWAPD_NOTIFY_URLS", "LIVE_CONFIRM_TOKEN"):
        monkeypatch.setenv(name, "hunter2")
    monkeypatch.setenv("APCA_API_BASE_URL", "https://me:" + "hunter2@venue.example/v2?key=hunter2")
    monkeypatch.setenv("AVWAPD_VENUE__ADDRESS", "https://me:" + "hunter2@venue.example/v2")
    monkeypatch.setenv("AVWAPD_UNIVERSE__URL", "https://issuer.example/file.csv?token=hunter2&x=1")
    text = told(capsys, *words)
    assert "hunter2" not in text
    assert "https://***@venue.example/v2" in text
    if words == ("show", "--origin"):
        assert "# variable AVWAPD_CCXT_SECRET: (secret)" in text


def test_no_secret_is_in_a_refusal(folder: Path) -> None:
    environ = {"AVWAPD_VENUE__ADDRESS": "ftp://me:" + "hunter2@venue.example/v2", "AVWAPD_TOKEN": "hunter2"}
    with pytest.raises(ConfigError) as caught:
        load(folder=folder, environ=environ)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in show(["https://a:" + "hunter2@x.example", 5])


@pytest.mark.parametrize(("name", "near"), [("gate", "gates"), ("gates.setle_min", "gates.settle_min"), ("x" * 90, "")])
def test_what_is_no_setting_is_refused(folder: Path, capsys: pytest.CaptureFixture[str], name: str, near: str) -> None:
    assert cli.main(["config", "show", name]) == 64
    assert (f"the nearest is {near}" if near else "no section and no setting") in capsys.readouterr().err


VALUES = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(-(2**60), 2**60),
        st.text(max_size=20),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(VALUES)
@settings(max_examples=300, deadline=None)
def test_a_value_as_toml_reads_back(value: object) -> None:
    def plain(one: object) -> object:
        if isinstance(one, tuple):
            return [plain(item) for item in one]
        if isinstance(one, dict):
            return {name: plain(item) for name, item in one.items()}
        return one

    assert tomllib.loads(f"x = {as_toml(value)}")["x"] == plain(value)


def test_lines_of_the_defaults_have_no_origin_but_the_package(tmp_path: Path) -> None:
    config, entries = traced(folder=tmp_path, environ={})
    assert {each.layer for each in shown(config, entries)} == {"defaults"}
    assert str(packaged("avwapd.toml")) not in "\n".join(lines(list(shown(config, entries)), with_origin=True))
