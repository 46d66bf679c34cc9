"""Who may read and who may act, by the uid that the kernel tells."""

from __future__ import annotations

import grp
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from avwapd.actors.control_answer import Refusal
from avwapd.actors.control_peer import Access, Peer, nobody
from tests.control.kit import Socket, as_user, daemon, let_in

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can come as another user")
READER, ACTOR, STRANGER = 4001, 4002, 4003


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Socket]:
    limits = {"CONTROL__ACT_UIDS": f"[{ACTOR}]", "CONTROL__READ_UIDS": f"[{READER}]"}
    with daemon(tmp_path_factory.mktemp("levels"), **limits) as found:
        let_in(found)
        yield found


@ROOT_ONLY
@pytest.mark.crash
@pytest.mark.parametrize(("uid", "reads", "acts"), [(READER, 200, 403), (ACTOR, 200, 200), (STRANGER, 403, 403)])
def test_a_uid_reads_acts_or_is_told_why_not(there: Socket, uid: int, reads: int, acts: int) -> None:
    with as_user(uid):
        read = there.ask("GET", "/v1/status")
        act = there.ask("POST", "/v1/halt", {"symbol": "CEDAR", "reason": f"by {uid}"})
    assert (read.status, act.status) == (reads, acts)
    for answer, verb, key in ((read, "read", "read_uids"), (act, "act", "act_uids")):
        if answer.status == 403:
            assert answer.facts["what"] == f"uid {uid} may not {verb}"
            assert key in answer.facts["next_step"]
    if acts == 200:
        assert there.acts()[0]["who"].startswith(f"uid {uid} pid ")


@ROOT_ONLY
@pytest.mark.crash
def test_who_may_not_act_leaves_a_row_and_moves_nothing(there: Socket) -> None:
    before = there.status()["halted"]
    for path in ("kill", "halt", "flatten", "stop"):
        with as_user(STRANGER):
            assert there.ask("POST", f"/v1/{path}", {}).status == 403
    until = time.monotonic() + 10
    while not {"kill", "halt", "flatten", "stop"} <= {row["verb"] for row in there.acts() if row["status"] == 403}:
        assert time.monotonic() < until
        time.sleep(0.05)
    status = there.status()
    assert (status["halted"], status["kill_switch"]) == (before, False)
    there.goes_on()


@ROOT_ONLY
@pytest.mark.crash
def test_a_flood_of_refused_acts_leaves_few_rows(there: Socket) -> None:
    with as_user(STRANGER):
        for _ in range(200):
            assert there.ask("POST", "/v1/halt", {"reason": "flood"}).status == 403
    there.goes_on()
    rows = [row for row in there.acts() if row["status"] == 403]
    assert 0 < len(rows) <= 130  # a minute may have ended in between


@ROOT_ONLY
@pytest.mark.crash
def test_the_files_mode_shuts_out_before_any_uid_is_asked(there: Socket) -> None:
    there.path.chmod(0o660)
    try:
        with as_user(READER), pytest.raises(PermissionError):
            there.connect()
    finally:
        let_in(there)


@pytest.mark.crash
def test_the_mode_is_0660_and_the_group_is_that_of_the_settings(tmp_path: Path) -> None:
    mine = grp.getgrgid(os.getegid())
    other = next((group for group in grp.getgrall() if os.geteuid() == 0 and group.gr_gid != mine.gr_gid), mine)
    with daemon(tmp_path, CONTROL__GROUP=other.gr_name) as there:
        found = there.path.stat()
        assert (found.st_mode & 0o777, found.st_gid) == (0o660, other.gr_gid)


def test_levels_by_uid() -> None:
    me, root, other = Peer(os.geteuid(), 1), Peer(0, 1), Peer(4711, 1)
    plain = Access()
    assert [plain.may_act(peer) for peer in (me, root, other)] == [True, True, False]
    assert [plain.may_read(peer) for peer in (me, root, other)] == [True, True, True]
    few = Access(act_uids=(5,), read_uids=(6,))
    assert [few.may_act(Peer(uid, 1)) for uid in (5, 6, 7)] == [True, False, False]
    assert [few.may_read(Peer(uid, 1)) for uid in (5, 6, 7)] == [True, True, False]


def test_a_user_of_no_name_is_told_what_that_means() -> None:
    with pytest.raises(Refusal, match="cannot be told") as refused:
        Access().assert_may(Peer(nobody(), 1), "POST")
    assert refused.value.status == 403
    assert "PrivateUsers" in refused.value.body["next_step"]
    Access().assert_may(Peer(nobody(), 1), "GET")
    Access(act_uids=(nobody(),)).assert_may(Peer(nobody(), 1), "POST")
