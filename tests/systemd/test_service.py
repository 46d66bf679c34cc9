"""The installed service under a real systemd: how it starts, is watched, is kept from starting, stops."""

from __future__ import annotations

import time

from tests.systemd.conftest import SECRETS, SERVICE, Box
from tests.systemd.machine import until

DRAIN_S = 10.0
UNIT = f"/etc/systemd/system/{SERVICE}"
TLS = """\
import os, socket, ssl, sys, threading
server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server.load_cert_chain("/opt/given/certificate.pem", sys.argv[1])
door = socket.create_server(("127.0.0.1", 0))
def serve():
    with server.wrap_socket(door.accept()[0], server_side=True) as line:
        line.sendall(line.recv(9))
threading.Thread(target=serve, daemon=True).start()
client = ssl.create_default_context(cafile="/opt/given/certificate.pem")
with client.wrap_socket(socket.create_connection(door.getsockname()), server_hostname="127.0.0.1") as line:
    line.sendall(b"handshake")
    print(line.version(), line.recv(9).decode(), "uid", os.getuid(), flush=True)
"""


def test_starts_after_ready(box: Box) -> None:
    box.stop()
    box.machine.run("systemctl", "start", SERVICE)
    assert box.status()["ready"] is True, "systemctl start came back before READY"
    assert box.state() | {"MainPID": ""} == {
        "ActiveState": "active", "SubState": "running", "Result": "success", "NRestarts": "0", "ExecMainStatus": "0",
        "MainPID": "",
    }  # fmt: skip
    assert "symbols" in box.machine.show(SERVICE, "StatusText")["StatusText"]
    others = box.machine.out("find", "/var/lib/avwapd", "/var/cache/avwapd", "!", "-user", "avwapd")
    assert others == "", "the state folder holds what is not the service's"


def test_runs_compiled_code_under_all_hardening(box: Box) -> None:
    box.start()
    until(lambda: box.status().get("decisions", 0) > 20, "the demo market is decided", box.status)
    lines = box.machine.read(f"/proc/{box.state()['MainPID']}/status").splitlines()
    facts = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert (facts["NoNewPrivs"], facts["Seccomp"], int(facts["CapEff"], 16)) == ("1", "2", 0)
    assert "core_" in box.machine.out("ls", f"/var/cache/avwapd/numba/{code_folder(box)}")
    for path in ("/usr/x", "/etc/avwapd/x", "/opt/avwapd/x", "/var/lib/x"):
        done = inside_unit(box, f"/bin/sh -c 'echo x > {path}'")
        assert done != 0, f"the unit may write {path}"


def code_folder(box: Box) -> str:
    (name,) = box.machine.out("ls", "/var/cache/avwapd/numba").split()
    return name


def test_opens_tls_under_all_hardening(box: Box) -> None:
    box.machine.write("/opt/given/tls.py", TLS)
    box.machine.write("/etc/avwapd/credentials/tls-key", (box.folder / "key.pem").read_text(), 0o600)
    key = "LoadCredential=tls-key:/etc/avwapd/credentials/tls-key"
    assert inside_unit(box, "/usr/bin/python3 /opt/given/tls.py ${CREDENTIALS_DIRECTORY}/tls-key", key) == 0
    told = box.machine.journal("-u", "probe.service", "-o", "cat")
    assert "TLSv1.3 handshake uid" in told, told
    assert "uid 0" not in told


def inside_unit(box: Box, command: str, more: str = "") -> int:
    """The exit code of a command in a unit that differs from the daemon's in its command and kind alone."""
    text = box.machine.read(UNIT)
    out = ("Type=", "ExecStart=", "Restart", "WatchdogSec=", "OnFailure=", "NotifyAccess=", "Wants=avwapd")
    kept = [line for line in text.splitlines() if not line.startswith(out)]
    kept.insert(kept.index("[Service]") + 1, f"Type=oneshot\nExecStart={command}\n{more}")
    # Folders of its own: systemd would take away the daemon's runtime folder with the probe.
    body = "\n".join(kept).replace("Directory=avwapd", "Directory=avwapd-probe")
    box.machine.write("/run/systemd/system/probe.service", body + "\n")
    box.machine.run("systemctl", "daemon-reload")
    return box.machine.run("systemctl", "start", "probe.service", check=False).returncode


def test_credentials_are_the_services_alone(box: Box) -> None:
    box.start()
    folder = f"/run/credentials/{SERVICE}"
    for name, content in SECRETS.items():
        path = f"{folder}/{name}"
        mine = ("setpriv", "--reuid", "avwapd", "--regid", "avwapd", "--clear-groups", "cat", path)
        assert box.machine.out(*mine) == content
        other = ("setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "cat", path)
        denied = box.machine.run(*other, check=False)
        assert denied.returncode
        assert "Permission denied" in denied.stderr
        assert box.machine.out("stat", "-c", "%U %a", path) == "avwapd 400"
    assert box.machine.out("stat", "-c", "%U %a", folder) == "avwapd 500"
    environment = box.machine.read(f"/proc/{box.state()['MainPID']}/environ")
    shown = environment + box.machine.journal("-u", SERVICE) + box.machine.out("systemctl", "show", SERVICE)
    assert not [name for name, content in SECRETS.items() if content in shown]


def test_the_journal_is_asked_by_field(box: Box) -> None:
    box.start()
    fills = ("-u", "avwapd", "EVENT=fill", "-o", "json", "--output-fields=SYMBOL,ORDER_ID,MESSAGE")
    until(lambda: box.machine.journal(*fills).count("\n") > 3, "fills are in the journal", box.status)
    lines = box.machine.journal("-u", "avwapd", "SYMBOL=MAPLE", "EVENT=fill", "-o", "cat").splitlines()
    every = box.machine.journal("-u", "avwapd", "EVENT=fill", "-o", "cat").splitlines()
    assert lines
    assert all("MAPLE" in line for line in lines)
    assert len(lines) < len(every)


def test_sigterm_drains(box: Box) -> None:
    box.start()
    begun = time.monotonic()
    box.machine.run("systemctl", "stop", SERVICE)
    assert time.monotonic() - begun < DRAIN_S + 2
    state = box.state()
    assert (state["ActiveState"], state["Result"], state["ExecMainStatus"]) == ("inactive", "success", "0")
    assert box.machine.show("avwapd-health.timer", "ActiveState")["ActiveState"] == "inactive"


def test_the_watchdog_ends_what_hangs_and_it_comes_back(box: Box) -> None:
    quick = "[Service]\nWatchdogSec=3s\nTimeoutAbortSec=500ms\nEnvironment=AVWAPD_HEARTBEAT__INTERVAL_MS=300\n"
    with box.machine.drop_in(SERVICE, quick):
        box.start()
        epoch = box.status()["epoch"]
        time.sleep(3.5)  # longer than the limit: the pings are what keeps it
        assert box.state()["NRestarts"] == "0"
        box.machine.run("kill", "-STOP", box.state()["MainPID"])
        until(lambda: box.state()["NRestarts"] == "1", "systemd starts it again", box.state)
        until(lambda: box.status().get("ready"), "it is ready again", box.state)
        assert box.status()["epoch"] == epoch + 1
    told = box.machine.journal("-u", SERVICE, "-o", "cat")
    assert "Watchdog timeout" in told
    assert "Failed with result 'watchdog'" in told


def test_a_wrong_configuration_fails_once_and_alerts(box: Box) -> None:
    box.stop()
    box.machine.run("rm", "-f", f"/run/alerted.{SERVICE}")
    with box.machine.drop_in(SERVICE, "[Service]\nEnvironment=AVWAPD_GATES__OPEN_DELAY_MIN=soon\n"):
        assert box.machine.run("systemctl", "start", SERVICE, check=False).returncode == 1
        stays_failed(box, "78")
    assert alerted(box) == {"MONITOR_UNIT": SERVICE, "MONITOR_SERVICE_RESULT": "exit-code", "MONITOR_EXIT_STATUS": "78"}


def stays_failed(box: Box, code: str) -> None:
    state = box.state()
    assert (state["ActiveState"], state["ExecMainStatus"], state["NRestarts"]) == ("failed", code, "0")
    time.sleep(1)  # ten times what a restart waits here
    assert box.state()["NRestarts"] == "0"
    assert box.state()["ActiveState"] == "failed"


def alerted(box: Box) -> dict[str, str]:
    until(lambda: box.machine.run("test", "-s", f"/run/alerted.{SERVICE}", check=False).returncode == 0, "the alert")
    lines = box.machine.read(f"/run/alerted.{SERVICE}").splitlines()
    told = dict(line.split("=", 1) for line in lines)
    return {name: told[name] for name in ("MONITOR_UNIT", "MONITOR_SERVICE_RESULT", "MONITOR_EXIT_STATUS")}


PAPER = """\
[Service]
ExecStart=
ExecStart=/opt/avwapd/current/venv/bin/avwapd run --config /opt/checkout/etc/demo_alpaca.toml
Environment=AVWAPD_STATE_DIR=/var/lib/avwapd/paper AVWAPD_WATCHLIST__USE=true AVWAPD_WATCHLIST__REQUIRED=true
"""


def test_a_stale_watchlist_stops_the_start_once(box: Box) -> None:
    """In paper mode at the simulated venue, flat, with no list: exit 75 before READY, and no restart storm."""
    box.stop()
    program = str(box.release.program)
    words = ("systemd-run", "-q", "--unit=venue", "-p", "User=avwapd", "-p", "StateDirectory=avwapd-venue")
    box.machine.run(*words, "--setenv=AVWAPD_CACHE_DIR=/var/cache/avwapd", program, "demo-venue")
    address = "/dev/tcp/127.0.0.1/8490"
    until(lambda: box.machine.run("bash", "-c", f"< {address}", check=False).returncode == 0, "the venue listens")
    as_user = ("setpriv", "--reuid", "avwapd", "--regid", "avwapd", "--clear-groups")
    environ = ("env", "AVWAPD_STATE_DIR=/var/lib/avwapd/paper", "AVWAPD_CACHE_DIR=/var/cache/avwapd")
    fetch = ("bars", "fetch", "--config", "/opt/checkout/etc/demo_alpaca.toml")
    box.machine.run(*as_user, *environ, program, *fetch)
    with box.machine.drop_in(SERVICE, PAPER):
        done = box.machine.run("systemctl", "start", SERVICE, check=False)
        told = box.machine.journal("-u", SERVICE, "-o", "cat", "-n", "20")
        assert done.returncode == 1, told
        assert "watchlist" in told
        stays_failed(box, "75")
    box.machine.run("systemctl", "stop", "venue.service")


FULL = """\
[Service]
Environment=AVWAPD_STATE_DIR=/opt/full AVWAPD_DISK__BALLAST_MB=6 AVWAPD_HEALTH__FAIL_DISK_MB=3
Environment=AVWAPD_HEALTH__WARN_DISK_MB=4
ReadWritePaths=/opt/full
"""


def test_a_full_disk_ends_it_and_it_comes_back_exits_only(box: Box) -> None:
    box.stop()
    box.machine.run("install", "-d", "/opt/full")
    box.machine.run("mount", "-t", "tmpfs", "-o", "size=24m,mode=0700,uid=avwapd,gid=avwapd", "tmpfs", "/opt/full")
    ctl = ("env", "AVWAPD_STATE_DIR=/opt/full", "avwapd", "ctl", "status", "--json")
    try:
        with box.machine.drop_in(SERVICE, FULL):
            box.start()
            assert not closed_gates(box)
            assert box.machine.out("stat", "-c", "%s", "/opt/full/ballast") == "6000000"
            box.machine.run("dd", "if=/dev/zero", "of=/opt/full/fill", "bs=64k", check=False)
            until(lambda: int(box.state()["NRestarts"]) > 0, "a failed write ends it", box.state)
            until(
                lambda: box.status().get("ready"),
                "it comes back",
                lambda: box.machine.journal("-u", SERVICE, "-n", "20"),
            )
            assert "disk" in closed_gates(box), box.machine.run(*ctl).stdout
            assert box.machine.run("test", "-e", "/opt/full/ballast", check=False).returncode == 1
            box.stop()
    finally:
        box.machine.run("systemctl", "stop", SERVICE, check=False)
        box.machine.run("umount", "/opt/full")
    told = box.machine.journal("-u", SERVICE, "-o", "cat")
    assert "exits only" in told


def closed_gates(box: Box) -> list[str]:
    return [row["gate"] for row in box.status()["gates"]["closed"]]
