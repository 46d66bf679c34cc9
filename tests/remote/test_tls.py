"""The same over TLS, as every real venue is reached: a handshake that hangs, a body that drips end at the deadline."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest
import requests

from avwapd.ports import SystemClock
from avwapd.remote.calls import Calls, NoAnswer
from avwapd.remote.session import BoundedSession
from tests.remote.raw import http, raw

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate with")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate of 127.0.0.1 in one file."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", str(path), "-out", f"{path}.crt"], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def context(certificate: Path) -> ssl.SSLContext:
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.load_cert_chain(certificate)
    return found


@pytest.mark.parametrize("how", ["mute", "drip", "handshake"])
async def test_the_deadline_is_total(certificate: Path, how: str) -> None:
    async with raw(tls=None if how == "handshake" else context(certificate), drip=http(b" " * 1000)) as server:
        server.every_s, server.close = 0.02, False
        calls, session = Calls("test", 1, SystemClock()), BoundedSession(1)
        session.verify = str(certificate)
        begun = time.perf_counter()
        with pytest.raises(NoAnswer):
            await calls.run(partial(session.get, f"https://127.0.0.1:{server.port}/{how}"), 0.5)
        assert time.perf_counter() - begun < 1.0
        assert await calls.run(lambda: "the thread is free", 0.5)
        calls.close()
        session.close()


async def test_an_answer_and_a_kept_connection(certificate: Path) -> None:
    async with raw(tls=context(certificate), x=http(b'{"a": 1}')) as server:
        server.close = False
        calls, session = Calls("test", 1, SystemClock()), BoundedSession(1)
        session.verify = str(certificate)
        for _ in range(3):
            answer = await calls.run(lambda: session.get(f"https://127.0.0.1:{server.port}/x").json(), 2.0)
            assert answer == {"a": 1}
        assert server.connections == 1
        calls.close()
        session.close()


async def test_a_certificate_nobody_vouches_for_is_refused(certificate: Path) -> None:
    async with raw(tls=context(certificate), x=http(b"{}")) as server:
        calls, session = Calls("test", 1, SystemClock()), BoundedSession(1)
        with pytest.raises(requests.exceptions.SSLError):
            await calls.run(partial(session.get, f"https://127.0.0.1:{server.port}/x"), 2.0)
        assert not server.requests
        calls.close()
        session.close()
