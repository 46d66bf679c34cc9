"""No secret is read anywhere: planted wherever a secret comes from, looked for wherever words go to."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from avwapd.ops.secrets import HIDDEN, Redactor, addresses, given, redactor
from tests.cli.process import clean_environ
from tests.notify.server import human
from tests.tidy.rules import ROOT

LIMIT_S = 40.0
KEYS = {
    "APCA_API_KEY_ID": "PKPLANTED0KEY0ID0",
    "APCA_API_SECRET_KEY": "planted/alpaca+secret=0123456789",
    "AVWAPD_CCXT_KEY": "planted-ccxt-key-0123",
    "AVWAPD_CCXT_SECRET": "planted-ccxt-secret-4567",
    "AVWAPD_CCXT_PASSWORD": "planted pass word",
    "LIVE_CONFIRM_TOKEN": "planted-live-token-89",
    "SOME_OTHER_API_TOKEN": "planted-other-token-ab",
}
NOTIFY_PARTS = ("plantedbottoken", "planteduser", "plantedpassword")


def spellings(value: str) -> set[str]:
    return {value, quote(value, safe=""), base64.b64encode(value.encode()).decode()}


def found_in(text: str, secrets: list[str]) -> list[str]:
    return [secret for secret in secrets for spelled in spellings(secret) if spelled in text]


# ------------------------------------------------------------------------------------------------- the redactor


@pytest.mark.parametrize(
    "text",
    [
        "refused: {s}",
        "https://user:{s}@example.org/x",
        "GET /v2/orders?token={s}&x=1",
        "{{'APCA-API-SECRET-KEY': '{s}'}}",
        "Authorization: Basic {b}",
        "percent {q} escaped",
        "ValueError('{s}')",
    ],
)
def test_a_known_value_leaves_every_spelling(text: str) -> None:
    secret = "s3cr/t+wörd=="
    clean = Redactor([secret])
    told = text.format(s=secret, q=quote(secret, safe=""), b=base64.b64encode(secret.encode()).decode())
    assert not found_in(clean(told), [secret]), clean(told)
    assert HIDDEN in clean(told)


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abcdef123456",
        '{"api_key": "abcdef123456"}',
        "apca-api-key-id=abcdef123456",
        "https://example.org/x?signature=abcdef123456&y=2",
        "tgram://me:abcdef123456@host/x",
        "password: abcdef123456",
    ],
)
def test_what_is_named_a_secret_is_hidden_though_nobody_knows_it(text: str) -> None:
    assert "abcdef123456" not in Redactor()(text)


@pytest.mark.parametrize(
    "text",
    [
        "2025-11-10 15:10 decision   WILLOW    confirmed, not yet: entry_delay, level 51.177371",
        "the venue's books cannot be read yet: 127.0.0.1",
        "no APCA_API_KEY_ID for venue alpaca",
        "http://127.0.0.1:8490/v2/account",
    ],
)
def test_plain_lines_stay_as_they_are(text: str) -> None:
    assert Redactor(["simulated", "127.0.0.1", "abc"])(text) == text


def test_addresses_lose_their_parts_and_credentials_their_files(tmp_path: Path) -> None:
    (tmp_path / "AVWAPD_NOTIFY_URLS").write_text(
        "# mine\ntgram://123456789:AAbotTOKENbot/987654321\n\njson://u:passw0rd@h/\n"
    )
    (tmp_path / "anything").write_text("a-credential-of-any-name\n")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), "AVWAPD_PING_URL": "https://ping.example.org/uuid-1234-5678"}
    assert addresses("AVWAPD_NOTIFY_URLS", environ) == [
        "tgram://123456789:AAbotTOKENbot/987654321",
        "json://u:passw0rd@h/",
    ]
    assert given("AVWAPD_PING_URL", environ) == "https://ping.example.org/uuid-1234-5678"
    clean = redactor(environ)
    secrets = ["AAbotTOKENbot", "uuid-1234-5678", "passw0rd", "a-credential-of-any-name"]
    said = f"POST https://api.telegram.org/bot123456789:{'/send, '.join(secrets)}"
    assert found_in(said, secrets) == secrets
    assert not found_in(clean(said), secrets)


def test_a_line_is_cheap_to_clean() -> None:
    clean = redactor(
        {**KEYS, "AVWAPD_NOTIFY_URLS": "\n".join(f"json://user{i}:password{i}@host/{i}" for i in range(20))}
    )
    line = "2025-11-10 15:10 decision   WILLOW    confirmed, not yet: entry_delay, level 51.177371"
    begun = time.perf_counter()
    for _ in range(2000):
        clean(line)
    assert (time.perf_counter() - begun) / 2000 < 0.001


# ------------------------------------------------------------------------------------------------- the programs


@contextmanager
def process(words: list[str], environ: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as file:
        child = subprocess.Popen([sys.executable, *words], env=environ, stdout=file, stderr=file, cwd=ROOT)
    try:
        yield child
    finally:
        child.kill()
        child.wait(10)


def until(words: str, log: Path) -> str:
    end = time.monotonic() + LIMIT_S
    while words not in (said := log.read_text(errors="replace")):
        assert time.monotonic() < end, f"{words!r} is not in: {said[-3000:]}"
        time.sleep(0.05)
    return said


def post(address: str, path: str, body: Any) -> None:
    request = urllib.request.Request(address + path, json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=10) as answer:
        answer.read()


def planted(folder: Path, notify: str, *, by_files: bool) -> dict[str, str]:
    """An environment with every secret: as variables, or as systemd's credential files."""
    port = notify.partition("127.0.0.1:")[2].partition("/")[0]
    ping = f"http://127.0.0.1:{port}/plantedping0"
    secrets = {**KEYS, "AVWAPD_NOTIFY_URLS": notify, "AVWAPD_PING_URL": ping}
    if by_files:
        place = folder / "credentials"
        place.mkdir()
        for name, value in secrets.items():
            (place / name).write_text(value + "\n")
        secrets = {"CREDENTIALS_DIRECTORY": str(place)}
    cache = os.environ.get("AVWAPD_CACHE_DIR", "")
    known = {"AVWAPD_CACHE_DIR": cache} if cache else {"HOME": os.environ.get("HOME", "/")}
    quiet = {"PYTHONWARNINGS": "default"}  # a venue's client imports what is deprecated
    return clean_environ(folder) | known | secrets | quiet | {"AVWAPD_LOG__LEVEL": "debug"}


def verbs(config: Path, state: Path, environ: dict[str, str], *calls: str, limit_s: float = 60.0) -> str:
    told = ""
    for call in calls:
        words = [*call.split(), "--config", str(config), "--state-dir", str(state)]
        command = [sys.executable, "-m", "avwapd", *words]
        try:
            done = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=limit_s)
            told += f"\n$ {call}\n{done.stdout}{done.stderr}"
        except subprocess.TimeoutExpired as late:  # what does not end without its venue
            told += f"\n$ {call} (ended)\n{(late.stdout or b'').decode()}{(late.stderr or b'').decode()}"
    return told


@pytest.mark.parametrize(
    "by_files",
    [pytest.param(False, marks=pytest.mark.campaign), True],
    ids=["variables", "credential files"],
)
def test_planted_keys_are_found_nowhere(tmp_path: Path, by_files: bool) -> None:
    state, venue_log, log = tmp_path / "state", tmp_path / "venue.log", tmp_path / "daemon.log"
    with human() as person:
        person.mood = "500"
        notify = f"json://planteduser:plantedpassword@127.0.0.1:{person.port}/plantedbottoken?rto=1&cto=1"
        environ = planted(tmp_path, notify, by_files=by_files)
        venue = ["-m", "avwapd.demo_venue", "--state-dir", str(tmp_path / "venue"), "--listen", "127.0.0.1:0"]
        with process(venue, clean_environ(tmp_path) | {"HOME": os.environ.get("HOME", "/")}, venue_log):
            address = json.loads(until('"address"', venue_log).splitlines()[0])["address"]
            config = tmp_path / "wire.toml"
            config.write_text((ROOT / "etc" / "demo_alpaca.toml").read_text().replace("http://127.0.0.1:8490", address))
            run = ["-m", "avwapd", "run", "--config", str(config), "--state-dir", str(state)]
            before = verbs(config, state, environ, "bars fetch", "check --mode config", "version --json")
            with process(run, environ, log) as daemon:
                until("ready:", log)
                up = verbs(config, state, environ, "ctl status --json", "check --mode venue", "config show --origin")
                post(address, "/control/faults", {"set": {"revoked_401": 1.0}})
                down = verbs(
                    config, state, environ, "check --mode venue", "bars fetch", "notify --test", "ctl status --json"
                )
                until("the notification channel fails", log)
                daemon.send_signal(signal.SIGTERM)
                daemon.wait(60)
            after = verbs(config, state, environ, "run --once", limit_s=4.0)
            after += verbs(config, state, environ, "verify", "audit", "notify x", "export decisions")
    assert person.calls > 0, "nothing was ever sent to the channel"
    assert "ready:" in log.read_text()
    everything = {"verbs": before + up + down + after, "daemon.log": log.read_text(errors="replace")}
    for path in sorted(state.rglob("*")):
        if path.is_file():
            everything[str(path.relative_to(state))] = path.read_bytes().decode("latin-1")
    assert {"avwapd.db", "heartbeat.json"} <= everything.keys()
    secrets = [*KEYS.values(), *NOTIFY_PARTS, "plantedping0"]
    leaks = {name: found for name, text in everything.items() if (found := found_in(text, secrets))}
    assert not leaks, leaks
    assert "not delivered" in everything["verbs"], everything["verbs"][-3000:]


def test_a_traceback_of_a_verb_has_no_secret(tmp_path: Path) -> None:
    code = (
        "import sys; from avwapd import cli; import avwapd.verbs.version as v\n"
        "def run(args): raise RuntimeError('key planted-ccxt-key-0123 refused')\n"
        "v.run = run; sys.exit(cli.main(['version']))"
    )
    environ = clean_environ(tmp_path) | KEYS
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=30, cwd=ROOT
    )
    assert done.returncode == 1
    assert "RuntimeError: key [hidden] refused" in done.stderr
    assert "planted" not in done.stderr.replace("planted-ccxt-key-0123 refused')\\n", "") or HIDDEN in done.stderr
