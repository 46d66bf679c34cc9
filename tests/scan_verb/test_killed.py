"""A scan that is killed while it writes leaves every file old or new, and a watchlist that loads."""

from __future__ import annotations

import json
import random
import signal
from pathlib import Path

from tests.scan_verb.children import child
from tests.scan_verb.market import BAD, Run
from tests.scan_verb.test_acceptance import ISO, facts, fallen

FILES = ("daily_candidates.csv", "scan_fallen.csv", "scan_manifest.json", "tradingview_watchlist.txt")

# Runs scans in forks of itself and kills each at a moment of its writing: before, inside or behind the n-th call that
# makes a file durable. Inside: half of the file's bytes are there.
KILLING = """
import json, os, signal, sys
from pathlib import Path
from avwapd.cli import main

words, moments = json.loads(sys.argv[1]), json.loads(sys.argv[2])
sys.argv = sys.argv[:1]
null = os.open(os.devnull, os.O_WRONLY)
os.dup2(null, 2)
told, done = os.dup(1), []
os.dup2(null, 1)

def planted(name, at, how, count):
    right = getattr(os, name)
    def call(*given):
        count[0] += 1
        if count[0] == at and how != "behind":
            if how == "inside" and name == "fsync" and os.path.isfile(f"/proc/self/fd/{given[0]}"):
                os.ftruncate(given[0], os.fstat(given[0]).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        right(*given)
        if count[0] == at:
            os.kill(os.getpid(), signal.SIGKILL)
    setattr(os, name, call)

def scan(at, how):
    pid = os.fork()
    if not pid:
        count = [0]
        for name in ("fsync", "replace"):
            planted(name, at, how, count)
        code = main(words)
        os.write(told, f"{code} {count[0]}\\n".encode())
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def files():
    paths = [Path(p) for p in json.loads(os.environ["KEPT"])]
    return [p.read_bytes().hex() if p.exists() else None for p in paths]

os.environ["AVWAPD_SCAN__MAX_ROWS"] = "3"
assert main(words) == 0
old = files()
os.environ["AVWAPD_SCAN__MAX_ROWS"] = "200"
for at, how in moments:
    code = scan(at, how)
    done.append([code, files()])
    for path, content in zip(json.loads(os.environ["KEPT"]), old):
        Path(path).write_bytes(bytes.fromhex(content))
scan(0, "")
os.write(told, (json.dumps([old, files(), done]) + "\\n").encode())
"""
DURABLE = 3 * 5  # a file's sync, its rename, its folder's sync; of five files


def test_a_scan_that_is_killed_leaves_old_files_or_new_ones(state: Path) -> None:
    rng = random.Random(9)
    hows = [(at, how) for at in range(1, DURABLE + 1) for how in ("before", "inside", "behind")]
    moments = [hows[0], hows[-1], *rng.sample(hows[1:-1], 22)]
    kept = [state / "watchlist.json", *(state / "scan" / ISO / name for name in FILES)]
    words = ["--state-dir", str(state), "scan", "--json"]
    environ = {"KEPT": json.dumps([str(path) for path in kept])}
    done = child(json.dumps(words), json.dumps(moments), folder=state.parent, code=KILLING, environ=environ)
    assert done.returncode == 0, done.stderr
    *lines, last = done.stdout.splitlines()
    assert lines == [f"0 {DURABLE}"]
    old, new, killed = json.loads(last)
    assert None not in old
    assert all(one != other for one, other in zip(old, new, strict=True))
    states = set()
    for (at, how), (code, found) in zip(moments, killed, strict=True):
        assert code == -signal.SIGKILL, (at, how)
        for name, content, before, after in zip(kept, found, old, new, strict=True):
            assert content in (before, after), (at, how, name)
        rows = json.loads(bytes.fromhex(found[0]))["rows"]
        assert len(rows) == (3 if found[0] == old[0] else len(json.loads(bytes.fromhex(new[0]))["rows"]))
        states.add(tuple(content == before for content, before in zip(found, old, strict=True)))
    assert len(states) > 3  # none yet, some, all
    assert not any(states and not state for state in states)


KILLED_AT_ANY_TIME = """
import json, os, random, signal, sys, time
from pathlib import Path
from avwapd.cli import main

words, live = json.loads(sys.argv[1]), Path(sys.argv[2])
sys.argv = sys.argv[:1]
null, told = os.open(os.devnull, os.O_WRONLY), os.dup(1)
os.dup2(null, 1)
os.dup2(null, 2)
rng, seen = random.Random(4), []
main(words)
for _ in range(10):
    pid = os.fork()
    if not pid:
        for turn in range(1_000):
            os.environ["AVWAPD_SCAN__MAX_ROWS"] = "3" if turn % 2 else "200"
            main(words)
        os._exit(0)
    time.sleep(rng.uniform(0.05, 0.35))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    found = json.loads(live.read_bytes())
    seen.append(len(found["rows"]))
os.write(told, json.dumps(seen).encode())
"""


def test_the_list_always_loads_whenever_a_scan_is_killed(run: Run, state: Path) -> None:
    whole = len(facts(run)["candidates"])
    words = ["--state-dir", str(state), "scan", "--json"]
    done = child(json.dumps(words), state / "watchlist.json", folder=state.parent, code=KILLED_AT_ANY_TIME)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert len(seen) == 10
    assert {*seen} <= {3, whole}
    found = facts(run)  # what they left behind hinders nothing
    assert (len(found["candidates"]), found["fell"]["1"]["bad_ticker"]) == (whole, 1)
    assert fallen(state)[BAD] == ("1", "bad_ticker")
