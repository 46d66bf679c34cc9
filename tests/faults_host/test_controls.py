"""Controls for rows whose own tests have none: the promise is broken on purpose, and the same checks must say so."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from functools import partial
from pathlib import Path

import pytest

from avwapd.actors import router_gate
from avwapd.ports import SystemClock
from avwapd.remote.alpaca import sorted_error
from avwapd.remote.calls import Calls, NoAnswer
from avwapd.remote.session import BoundedSession
from tests.kill import test_sim
from tests.remote.raw import http, raw
from tests.sim.scenario import Plan


def test_a_router_that_does_not_look_at_the_switch_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Row 53: between an entry's commit and its call the router's own look is all that holds it."""
    monkeypatch.setattr(router_gate.Gate, "_no_entry", lambda self, symbol: "")
    plan = Plan(seed=1, barriers=60, options=test_sim.OPTIONS)
    with pytest.raises(AssertionError):
        test_sim.run(plan, tmp_path / "w", "commit", 1, pending=True)


# -------------------------------------------------------------------------------------------------- certificates


def certificate(path: Path, name: str, *, made: str = "") -> ssl.SSLContext:
    """Key and certificate for two days from `made` on, or from now; anybody may vouch for it by the same file."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=IP:{name}"]
    command = [*(("faketime", made) if made else ()), *command]
    subprocess.run([*command, "-keyout", str(path), "-out", f"{path}.crt"], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


@pytest.mark.skipif(
    shutil.which("openssl") is None or shutil.which("faketime") is None, reason="needs openssl and faketime: row 62"
)
@pytest.mark.parametrize(
    ("name", "made", "words"),
    [
        pytest.param("127.0.0.1", "2020-01-01 00:00:00", "expired", id="expired"),
        pytest.param("127.0.0.1", "2037-01-01 00:00:00", "not yet valid", id="not begun"),
        pytest.param("127.0.0.9", "", "mismatch", id="another name"),
        pytest.param("127.0.0.1", "", "", id="a good one"),
    ],
)
async def test_what_a_certificate_does_not_vouch_for_gets_no_order(
    name: str, made: str, words: str, tmp_path: Path
) -> None:
    """Row 62: no byte of a request leaves, and to whoever asked it is no answer; the good one is the control."""
    path = tmp_path / "both.pem"
    async with raw(tls=certificate(path, name, made=made), x=http(b"{}")) as server:
        calls, session = Calls("test", 1, SystemClock()), BoundedSession(1)
        session.verify = str(path)
        try:
            post = partial(session.post, f"https://127.0.0.1:{server.port}/x", json={"qty": "1"})
            if not words:
                assert (await calls.run(post, 5.0)).status_code == 200
                return
            with pytest.raises(Exception, match=words) as caught:
                await calls.run(post, 5.0)
            assert isinstance(sorted_error(caught.value), NoAnswer)
            assert server.requests == []
        finally:
            calls.close()
            session.close()
