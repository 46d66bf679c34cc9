"""The offline check of a configuration for a venue across a network: name, address and keys, none of them shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from avwapd import cli
from tests.cli.process import avwapd

BASE = {"AVWAPD_RUN__MODE": "paper", "AVWAPD_RUN__MARKET": "archive", "AVWAPD_NETWORK__ALLOWED": "true"}
KEYS = {"APCA_API_KEY_ID": "PKSHOWNNEVER", "APCA_API_SECRET_KEY": "sshownneither"}


def checked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, state: Path, environ: dict[str, str]
) -> tuple[int, dict[str, Any], str]:
    for name in (*KEYS, "APCA_API_BASE_URL", "AVWAPD_CCXT_KEY", "AVWAPD_CCXT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**BASE, **environ}.items():
        monkeypatch.setenv(name, value)
    code = cli.main(["check", "--mode", "config", "--json", "--state-dir", str(state)])
    out = capsys.readouterr().out
    return code, {finding["name"]: finding for finding in json.loads(out)["checks"]}, out


def test_a_whole_configuration_passes_and_no_key_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code, found, out = checked(capsys, monkeypatch, tmp_path, {"AVWAPD_VENUE__NAME": "alpaca", **KEYS})
    assert code == 0
    assert [found[name]["what"] for name in ("venue", "credentials", "network")] == ["alpaca", "present", "allowed"]
    assert not any(secret in out for secret in KEYS.values())
    assert not tmp_path.joinpath("archive").exists()


@pytest.mark.parametrize(
    ("environ", "name", "verdict", "words"),
    [
        ({"AVWAPD_VENUE__NAME": "alpaca"}, "credentials", "fail", "no APCA_API_KEY_ID"),
        (
            {"AVWAPD_VENUE__NAME": "alpaca", "AVWAPD_VENUE__ADDRESS": "https://api.alpaca.markets", **KEYS},
            "address",
            "fail",
            "mode paper with the live account's address",
        ),
        (
            {"AVWAPD_VENUE__NAME": "alpaca", "APCA_API_BASE_URL": "https://api.alpaca.markets", **KEYS},
            "address",
            "fail",
            "mode paper with the live account's address",
        ),
        (
            {"AVWAPD_VENUE__NAME": "alpaca", "AVWAPD_VENUE__ADDRESS": "http://127.0.0.1:1"},
            "credentials",
            "ok",
            "made up: the venue is simulated",
        ),
        ({"AVWAPD_VENUE__NAME": "nosuchplace"}, "venue", "fail", "no exchange that ccxt knows"),
        ({"AVWAPD_VENUE__NAME": "bitstamp"}, "venue", "warn", "no stops there"),
        ({"AVWAPD_VENUE__NAME": "bigone"}, "venue", "warn", "untried"),
        ({"AVWAPD_VENUE__NAME": "binance"}, "venue", "ok", "binance through ccxt"),
        ({"AVWAPD_VENUE__NAME": "kraken"}, "credentials", "fail", "no AVWAPD_CCXT_KEY"),
    ],
)
def test_each_trouble_at_its_line(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    environ: dict[str, str],
    name: str,
    verdict: str,
    words: str,
) -> None:
    code, found, _ = checked(capsys, monkeypatch, tmp_path, environ)
    assert found[name]["verdict"] == verdict
    assert words in found[name]["what"]
    assert bool(found[name]["next_step"]) == (verdict != "ok")
    assert code == (1 if any(finding["verdict"] == "fail" for finding in found.values()) else 2 * (verdict == "warn"))


def test_it_loads_no_client_library(tmp_path: Path) -> None:
    """What takes a second to load has no place in a check that people wait for."""
    environ = {**BASE, **KEYS, "AVWAPD_VENUE__NAME": "bigone", "PYTHONPROFILEIMPORTTIME": "1"}
    done = avwapd("--config-check", "--state-dir", "state", folder=tmp_path, **environ)
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "avwapd" in loaded
    assert not loaded & {"ccxt", "alpaca", "numba", "numpy", "pandas", "pyarrow", "aiohttp"}
