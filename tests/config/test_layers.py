"""Each layer wins over the one below it, key by key, and every value knows where it came from."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

from avwapd.config import Config, config_hash, load, packaged, rules_hash

NO_ENV: dict[str, str] = {}


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_packaged_defaults_are_a_whole_configuration(tmp_path: Path) -> None:
    config = load(folder=tmp_path, environ=NO_ENV)
    assert config.gates.open_delay_min == 20
    assert config.exit.invalidation_pct == 0.2
    assert config.equity.start == {"USD": 100_000, "BTC": 10, "ETH": 100}
    assert set(config.origins.values()) == {str(packaged("avwapd.toml"))}


def test_each_layer_wins_over_the_one_below(tmp_path: Path) -> None:
    written(
        tmp_path,
        "etc/avwapd.toml",
        "[gates]\nopen_delay_min = 1\nsettle_min = 1\nlast_entry_min = 1\nslope_bars = 1",
    )
    written(tmp_path, "etc/avwapd.local.toml", "[gates]\nsettle_min = 2\nlast_entry_min = 2\nslope_bars = 2")
    environ = {"AVWAPD_GATES__LAST_ENTRY_MIN": "3", "AVWAPD_GATES__SLOPE_BARS": "3"}
    config = load(folder=tmp_path, environ=environ, options={"gates.slope_bars": "4"})
    gates = config.gates
    assert (gates.open_delay_min, gates.settle_min, gates.last_entry_min, gates.slope_bars) == (1, 2, 3, 4)
    assert gates.volume_ratio == 0.8
    assert [
        config.origins[f"gates.{name}"] for name in ("open_delay_min", "settle_min", "last_entry_min", "slope_bars")
    ] == [
        str(tmp_path / "etc/avwapd.toml"),
        str(tmp_path / "etc/avwapd.local.toml"),
        "AVWAPD_GATES__LAST_ENTRY_MIN",
        "command line",
    ]


def test_a_named_file_takes_the_place_of_the_usual_one_and_has_its_own_local(tmp_path: Path) -> None:
    written(tmp_path, "etc/avwapd.toml", "[run]\nseed = 5\naccount = 'usual'")
    mine = written(tmp_path, "mine/other.toml", "[run]\naccount = 'named'")
    written(tmp_path, "mine/avwapd.local.toml", "[run]\nstrategy = 'local'")
    config = load(mine, folder=tmp_path, environ=NO_ENV)
    assert (config.run.seed, config.run.account, config.run.strategy) == (1, "named", "local")


def test_a_named_local_file_is_read_once(tmp_path: Path) -> None:
    mine = written(tmp_path, "avwapd.local.toml", "[run]\naccount = 'mine'")
    assert load(mine, folder=tmp_path, environ=NO_ENV).run.account == "mine"


def test_tables_grow_entry_by_entry(tmp_path: Path) -> None:
    written(tmp_path, "etc/avwapd.toml", "[equity.start]\nUSD = 5")
    environ = {"AVWAPD_EQUITY__START__ETH": "7"}
    assert load(folder=tmp_path, environ=environ).equity.start == {"USD": 5, "BTC": 10, "ETH": 7}


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("AVWAPD_RUN__SYMBOLS", "AAPL, BTC/USDT", "run.symbols", ("AAPL", "BTC/USDT")),
        ("AVWAPD_RUN__SYMBOLS", '["AAPL"]', "run.symbols", ("AAPL",)),
        ("AVWAPD_RUN__SYMBOLS", "", "run.symbols", ()),
        ("AVWAPD_RUN__SPEED", "max", "run.speed", math.inf),
        ("AVWAPD_RUN__SPEED", "60", "run.speed", 60.0),
        ("AVWAPD_RUN__WINDOW_FROM", "2024-05-02", "run.window_from", 1_714_608_000_001),
        ("AVWAPD_RUN__WINDOW_TO", "2024-05-02", "run.window_to", 1_714_694_400_000),
        ("AVWAPD_RUN__WINDOW_TO", "2024-05-02T13:35:00+02:00", "run.window_to", 1_714_649_700_000),
        ("AVWAPD_RUN__WINDOW_TO", "1714649700000", "run.window_to", 1_714_649_700_000),
        ("AVWAPD_NETWORK__ALLOWED", "true", "network.allowed", True),
        ("AVWAPD_EMBEDDED__VENUE", "tcp:127.0.0.1:9000", "embedded.venue", "tcp:127.0.0.1:9000"),
        ("AVWAPD_FILLS__SLIPPAGE_BPS", "3", "fills.slippage_bps", 3.0),
    ],
)
def test_the_environment_speaks_plain_text(tmp_path: Path, variable: str, text: str, name: str, value: object) -> None:
    config = load(folder=tmp_path, environ={variable: text})
    section, _, key = name.partition(".")
    assert getattr(getattr(config, section), key) == value
    assert config.origins[name] == variable


def test_other_variables_are_not_settings(tmp_path: Path) -> None:
    environ = {"AVWAPD_STATE_DIR": "x", "AVWAPD_CCXT_KEY": "y", "PATH": "z"}
    assert load(folder=tmp_path, environ=environ) == load(folder=tmp_path, environ=NO_ENV)


def test_nothing_can_be_set_later(tmp_path: Path) -> None:
    config = load(folder=tmp_path, environ=NO_ENV)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.gates.open_delay_min = 0  # type: ignore[misc]
    with pytest.raises(TypeError):
        config.equity.start["USD"] = 0  # type: ignore[index]


def test_the_demo_is_a_whole_configuration(tmp_path: Path) -> None:
    config = load(packaged("demo.toml"), folder=tmp_path, environ=NO_ENV)
    assert (config.run.mode, config.run.market, config.network.allowed) == ("sim", "demo", False)


# ------------------------------------------------------------------ identity


def with_env(folder: Path, **environ: str) -> Config:
    return load(folder=folder, environ={f"AVWAPD_{name}": text for name, text in environ.items()})


def test_the_hash_goes_by_values_not_by_layers_or_spelling(tmp_path: Path) -> None:
    plain = with_env(tmp_path)
    written(tmp_path, "etc/avwapd.toml", "[equity.start]\nETH = 100\nUSD = 1e5\n[gates]\nopen_delay_min = 20.0")
    assert config_hash(with_env(tmp_path)) == config_hash(plain)
    assert config_hash(with_env(tmp_path, EXIT__INVALIDATION_PCT="-0.0")) == config_hash(
        with_env(tmp_path, EXIT__INVALIDATION_PCT="0")
    )


def test_every_setting_moves_the_hash(tmp_path: Path) -> None:
    plain = config_hash(with_env(tmp_path))
    for variable, text in (("RUN__SPEED", "60"), ("SIZE__RISK_FRACTION", "0.02"), ("RUN__SYMBOLS", "A")):
        assert config_hash(with_env(tmp_path, **{variable: text})) != plain


def test_the_rules_hash_leaves_out_where_and_how_fast(tmp_path: Path) -> None:
    plain = rules_hash(with_env(tmp_path))
    assert rules_hash(with_env(tmp_path, RUN__SPEED="60", LOG__LEVEL="debug", RUN__SYMBOLS="A")) == plain
    assert rules_hash(with_env(tmp_path, RUN__SEED="2")) != plain
    assert rules_hash(with_env(tmp_path, FILLS__SLIPPAGE_BPS="2")) != plain
