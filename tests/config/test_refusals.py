"""What is wrong is refused by name, with the place and the next step, all of it at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from avwapd.config import Config, ConfigError, account_mode, is_remote, load


def configured(folder: Path, text: str | bytes, **environ: str) -> Config:
    path = folder / "given.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(path, folder=folder, environ={f"AVWAPD_{name}": value for name, value in environ.items()})


def refusal(folder: Path, text: str | bytes, **environ: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        configured(folder, text, **environ)
    return caught.value


@pytest.mark.parametrize(
    ("text", "what"),
    [
        # unknown
        (
            "[gates]\nopn_delay_min = 1",
            "gates.opn_delay_min is no setting; the nearest is gates.open_delay_min",
        ),
        ("[gate]\nopen_delay_min = 1", "[gate] is no section; the nearest is gates"),
        ("[exit]\nopen_delay_min = 1", "exit.open_delay_min is no setting; there is gates.open_delay_min"),
        ("[run]\nzzzzzzzz = 1", "run.zzzzzzzz is no setting"),
        ("[run]\napi_key = 'abc'", "secrets come from $CREDENTIALS_DIRECTORY or the environment"),
        ("gates = 3", "gates must be a section"),
        # types
        ("[gates]\nopen_delay_min = 'x'", "must be a number from 0 to 1440 (minutes)"),
        ("[gates]\nopen_delay_min = true", "must be a number"),
        ("[gates]\nslope_bars = 5.0", "must be a whole number from 1 to 7 (bars)"),
        ("[gates]\nslope_bars = true", "must be a whole number"),
        ("[signal]\nallow_long = 1", "must be true or false"),
        ("[run]\nsymbols = 'AAPL'", "must be a list"),
        ("[equity]\nstart = 5", "must be a table"),
        ("[run]\naccount = 5", "must be a short name"),
        # ranges
        ("[gates]\nopen_delay_min = -1", "must be a number from 0"),
        ("[gates]\nopen_delay_min = nan", "must be a number from 0"),
        ("[gates]\nopen_delay_min = inf", "must be a number from 0"),
        ("[size]\nrisk_fraction = 1.01", "from 0 to 1 (fraction of 1)"),
        ("[caps]\nmax_gross_fraction = 2.1", "from 0 to 2 (fraction of equity)"),
        ("[caps]\nmax_entries_day = 10_001", "from 0 to 10000 (entries)"),
        ("[anchors]\nswing_k = 9", "from 1 to 8"),
        ("[run]\nseed = 0x" + "f" * 6000, "a int too big to show"),
        ("[fills]\nvolume_share = 0", "must be a number from 1e-06"),
        # words
        ("[run]\ntimeframe = '7m'", "must be one of 1m, 2m, 3m, 5m, 10m"),
        ("[run]\nmode = 'Live'", "must be one of dry-run, sim, paper, live"),
        ("[signal]\nsetup = 'scan'", "must be one of breakout_hold, reclaim, pullback, pinch"),
        ("[anchors]\nlevel = 'decade'", "must be one of session, week"),
        ("[equity]\ncurrency = 'GBP'", "must be one of USD, BTC, ETH"),
        ("[embedded]\nvenue = 'http://x'", "must be inline, unix:PATH or tcp:HOST:PORT"),
        ("[run]\nspeed = 0", 'or "max"'),
        ("[run]\nspeed = 'fast'", 'or "max"'),
        # lists and tables
        ("[run]\nsymbols = ['AAPL', '../x']", "bad entry, number 2: '../x' must be a symbol"),
        ("[run]\nsymbols = ['A..B']", "must be a symbol"),
        ("[run]\nsymbols = ['A', 'A']", "must not name anything twice"),
        ("[anchors]\nextra = ['week', 5]", "number 2: 5 must be one of"),
        ("[equity.start]\nusd = 5", "bad key: 'usd' must be a currency"),
        ("[equity.start]\nUSD = -5", "bad entry: USD = -5"),
        # moments
        ("[run]\nwindow_from = 1714649700", "in milliseconds"),
        ("[run]\nwindow_from = '2024-05-02T13:35:00'", "needs its zone"),
        ("[run]\nwindow_from = 2024-05-02T13:35:00", "needs its zone"),
        ("[run]\nwindow_from = '2024-13-02'", "must be ts_ms, a date"),
        ("[run]\nwindow_from = 13:35:00", "must be ts_ms, a date"),
        ("[run]\nwindow_from = 0001-01-01T00:00:00+23:59", "between 1973 and 2100"),
        ("[anchors]\nlevel = 'user'\n[anchors.user]\nAAPL = ['yesterday']", "must be ts_ms, a date"),
        # between settings
        ("[run]\nwindow_from = 2024-05-03\nwindow_to = 2024-05-02", "run.window_to must not lie before"),
        ("[signal]\nallow_long = false", "signal.allow_long must be true"),
        ('[embedded]\nvenue = "tcp:198.51.100.1:80"', "embedded.venue must be on this machine"),
        ("[anchors]\nextra = ['session']", "anchors.extra must not repeat"),
        ("[signal]\nsetup = 'pinch'", "anchors.extra must name a second line"),
        ("[anchors]\nlevel = 'user'", "need each other"),
        ("[anchors.user]\nAAPL = [2024-05-02]", "need each other"),
        (
            "[anchors]\nextra=['user']\nuser.A=[" + ",".join(f"2024-05-0{day}" for day in range(1, 9)) + "]",
            "more than 8 lines",
        ),
        ("[gates]\nshortest_entry_delay_s = 300", "gates.longest_entry_delay_s must not be below"),
        ("[gates]\nconfirmation_age_min = 3", "gates.confirmation_age_min must not be shorter"),
        ("[stop]\nopen_noise_min = 61", "stop.early_trend_min must not be below"),
        ("[exit]\nr1_multiple = 2", "exit.r2_multiple must be above"),
        (
            "[caps]\nmax_gross_notional = 5\nmax_symbol_notional = 6",
            "caps.max_symbol_notional must not be above",
        ),
        ("[heartbeat]\ninterval_ms = 20_000", "heartbeat.stall_after_ms must be above"),
        # files
        ("[gates", "is not TOML"),
        ("[gates]\na = 1\na = 2", "is not TOML"),
        (b"[run]\naccount = '\xff'", "is not UTF-8"),
        ("[run]\nsymbols = " + "[" * 5000, "nested too deeply"),
        (b"#" * 4_000_001, "too many for a configuration"),
    ],
)
def test_a_wrong_value_is_refused_by_name(tmp_path: Path, text: str | bytes, what: str) -> None:
    error = refusal(tmp_path, text)
    assert what in error.what
    assert error.next_step
    assert error.exit_code == 78
    assert len(error.problems) == 1


def test_a_refusal_names_the_file(tmp_path: Path) -> None:
    assert refusal(tmp_path, "[gates]\nslope_bars = 0").where == str(tmp_path / "given.toml")


@pytest.mark.parametrize(
    ("variable", "text", "what"),
    [
        ("GATES__OPN_DELAY_MIN", "1", "gates.opn_delay_min is no setting"),
        ("GAITS__OPEN_DELAY_MIN", "1", "[gaits] is no section"),
        ("GATES__OPEN_DELAY_MIN", "", "must be a number"),
        ("GATES__OPEN_DELAY_MIN", "1\nx = 2", "must be a number"),
        ("GATES__SLOPE_BARS__X", "1", "one __ too many"),
        ("RUN__SYMBOLS", "[", "run.symbols = '[' must be a list"),
        ("NETWORK__ALLOWED", "yes", "must be true or false"),
        ("EQUITY__START__usd", "1", "bad key"),
        ("RUN__ACCOUNT", "a\udc80", "must be a short name"),
    ],
)
def test_the_environment_is_checked_as_well(tmp_path: Path, variable: str, text: str, what: str) -> None:
    error = refusal(tmp_path, "", **{variable: text})
    assert what in error.what
    assert error.where == f"AVWAPD_{variable}" or "too many" in what
    assert error.what.isprintable()


def test_a_misplaced_secret_is_not_shown(tmp_path: Path) -> None:
    error = refusal(tmp_path, "[run]\nsecret_key = 'hunter2'", RUN__TOKEN="hunter2")
    assert "hunter2" not in str(error)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    text = "[gates]\nslope_bars = 0\nnope = 1\n[exit]\nr1_multiple = 3\n[other]\n"
    error = refusal(tmp_path, text, RUN__SEED="x")
    assert len(error.problems) == 5
    assert error.what.startswith("5 problems")
    for part in ("gates.slope_bars", "gates.nope", "exit.r2_multiple", "[other]", "run.seed"):
        assert part in error.what
    assert error.where == f"{tmp_path / 'given.toml'}, AVWAPD_RUN__SEED"


def test_a_rule_between_settings_is_silent_where_one_of_them_is_wrong(tmp_path: Path) -> None:
    error = refusal(tmp_path, "[gates]\nshortest_entry_delay_s = 'x'\nlongest_entry_delay_s = 1")
    assert len(error.problems) == 1


def test_a_named_file_has_to_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not there"):
        load(tmp_path / "none.toml", environ={})


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="directory"):
        load(tmp_path, folder=tmp_path, environ={})


def test_every_mode_is_there_and_a_dry_run_goes_where_a_venue_is_named(tmp_path: Path) -> None:
    venue = "[venue]\nname = 'alpaca'\naddress = 'http://127.0.0.1:9'"
    for mode, remote, account in (
        ("sim", False, "paper"),
        ("dry-run", True, "paper"),
        ("paper", True, "paper"),
        ("live", True, "live"),
    ):
        config = configured(tmp_path, f"[run]\nmode = '{mode}'\n{venue}")
        assert (is_remote(config), account_mode(config)) == (remote, account)
    assert not is_remote(configured(tmp_path, "[run]\nmode = 'dry-run'"))
    for mode in ("paper", "live"):
        assert "must name a venue" in refusal(tmp_path, f"[run]\nmode = '{mode}'").what
