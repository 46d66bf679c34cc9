"""The lint of `make check` passes here, and each of its rules can fail."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.tidy.leaks import SPARED, leaks
from tests.tidy.lint import findings
from tests.tidy.places import ALLOWED, places
from tests.tidy.rules import ROOT, listed


def test_this_house_is_clean() -> None:
    assert findings(listed()) == []


def test_make_check_asks() -> None:
    assert "-m tests.tidy.lint" in (ROOT / "Makefile").read_text()


def test_it_answers_within_seconds_and_without_pytest() -> None:
    code = "import sys; from tests.tidy.lint import main; main(); sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=30, check=False).returncode == 0


def test_every_exception_says_why() -> None:
    assert all(each.why for each in ALLOWED)
    assert all(why for _, why in SPARED)


LETTERS = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0fG3iJ6lM9o"
PLACES = [
    ("see /opt/trading/x", "a path of one machine"),
    ("ExecStart=/usr/bin/thing", "a path of one machine"),
    ("cp x /tmp/y", "a path of one machine"),
    ('Path("/home")', "a path of one machine"),
    ("log = '/var/log/avwapd.log'", "a path of one machine"),
    ("dir = 'C:\\\\Users'", "a path of one machine"),
    ("User=alice", "a user"),
    ("  Group=wheel", "a user"),
    ("cd ~alice/avwapd", "a user"),
    ("scp alice@vps7:/x .", "a user at a host"),
    ("url = 'https://box.alice.net/x'", "a host"),
    ("host = '10.20.30.40'", "an address"),
    ("if machine == 'x86_64':", "a processor"),
    ("/usr/lib/x86_64-linux-gnu/faketime", "a processor"),
]
KEEPS = [
    "/proc/self/fd", "#!/usr/bin/env bash", "#!/bin/sh", "> /dev/null", "http://127.0.0.1:8490", "198.51.100.1:80",
    "https://venue.example/x", "User=avwapd", "User=@USER@", "User=$SERVICE_USER", "~/.cache/avwapd", "docs/run/x",
    "${PREFIX}/opt/x", "v3.54.1.300", "paper/live", "and/or", "GET /v1/status", "read/run", "$HOME/.local/bin",
    "user@example.com", "https://paper-api.alpaca.markets/v2",
]  # fmt: skip


@pytest.mark.parametrize(("text", "what"), PLACES)
def test_what_ties_to_a_machine_is_seen(text: str, what: str) -> None:
    assert any(each.what.startswith(what) and each.line == 2 for each in places("avwapd/x.py", f"\n{text}\n".encode()))


@pytest.mark.parametrize("text", KEEPS)
def test_what_holds_everywhere_is_left_alone(text: str) -> None:
    assert list(places("avwapd/x.py", text.encode())) == []


def test_an_exception_is_of_its_files_only() -> None:
    text = b"PREFIX=/opt/avwapd"
    assert list(places("contrib/install.sh", text)) == []
    assert list(places("avwapd/x.py", text)) != []
    assert list(places("contrib/install.sh", b"PREFIX=/opt/other")) != []


LEAKS = [
    ("key = 'PK" + "A1B2C3D4E5F6G7H8I9'", "an Alpaca key"),
    ("APCA_API_KEY_ID=AK" + "ZZ7Y6X5W4V3U2T1S0R", "an Alpaca key"),
    ("-----BEGIN " + "RSA PRIVATE KEY-----", "a private key"),
    ("-----BEGIN " + "PRIVATE KEY-----", "a private key"),
    ("https://hooks.slack" + ".com/services/T0/B0/x", "a webhook"),
    ("https://discord" + ".com/api/webhooks/123/abc", "a webhook"),
    ("https://api.telegram" + ".org/bot123456:abc/send", "a webhook"),
    ("Authorization: Bearer " + LETTERS, "a bearer token"),
    ("x = 'eyJ" + "hbGciOiJIUzI1.eyJ" + "zdWIiOiIxMjM0'", "a web token"),
    ("AKIA" + "ABCDEFGHIJKLMNOP", "a token of a well-known kind"),
    ("ghp_" + "a" * 36, "a token of a well-known kind"),
    ("proxy = 'http://alice:" + "correcthorse@proxy.example'", "a password in an address"),
    (f"secret = '{LETTERS}'", "secret = a long random text"),
    (f'"token": "{LETTERS}"', "token = a long random text"),
    (f"AVWAPD_CCXT_SECRET={LETTERS}", "AVWAPD_CCXT_SECRET = a long random text"),
    ("api_secret: " + "0a1b2c3d4e" * 5, "api_secret = a long random text"),
    ("key = '" + "0a1b2c3d" * 8 + "'", "key = a long random text"),
]
NO_LEAKS = [
    "config_hash = '" + "0a1b2c3d" * 8 + "'", "#APCA_API_SECRET_KEY=", "secret = Secret('simulated')",
    "name = 'tests_research_verify_wire_and_much_more_of_it'", "PKCS = 1", "PACKAGES_OF_ALL_KINDS_AND",
    "Bearer realm", "export APCA_API_SECRET_KEY=…", "http://{user}:{password}@host/", "tcp://127.0.0.1:9000",
]  # fmt: skip


@pytest.mark.parametrize(("text", "what"), LEAKS)
def test_what_looks_like_a_secret_is_seen_and_not_repeated(text: str, what: str) -> None:
    found = list(leaks("docs/x.md", f"\n{text}\n".encode()))
    assert (found[0].line, found[0].what) == (2, what)
    assert LETTERS not in str(found)


@pytest.mark.parametrize("text", NO_LEAKS)
def test_what_is_no_secret_is_left_alone(text: str) -> None:
    assert list(leaks("docs/x.md", text.encode())) == []
