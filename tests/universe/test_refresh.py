"""`avwapd universe`: snapshots by date, shrinks, the network's switch."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from avwapd.store.universe import UniverseError, as_of, dates, newest
from avwapd.verbs.days import today
from tests.universe.holdings import OTHERS, SHARES, Run, issuer, many, plain


def put(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def members(run: Run, *words: object) -> list[str]:
    code, out, _ = run("universe", "show", "--json", *words)
    assert code == 0
    return [member["symbol"] for member in json.loads(out)["members"]]


def test_the_issuers_file_becomes_a_snapshot_of_its_own_date(run: Run, tmp_path: Path) -> None:
    code, out, err = run("universe", "refresh", "--file", put(tmp_path / "iwv.csv", issuer()))
    assert (code, err) == (0, "")
    for words in ("2024-11-20 (the file)", "rows      9", "5, each once", "4: 1 Cash, 1 Futures, 1 Money Market, 1 no"):
        assert words in out
    assert "  Information Technology       2\n" in out
    path = tmp_path / "state/universe/2024-11-20.csv"
    assert path.read_text().splitlines()[:3] == [
        "Ticker,Name,Sector,WeightPct,Exchange",
        "AAPL,APPLE INC,Information Technology,5.65,NASDAQ",
        "BRK.B,BERKSHIRE HATHAWAY INC B,Financials,1.37,NYSE",
    ]
    assert [found.name for found in path.parent.iterdir()] == [path.name]
    code, out, _ = run("universe", "show")
    assert code == 0
    assert "AAPL, BRK.B, NVDA" in out


def test_json_has_the_same_facts(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("universe", "refresh", "--file", put(tmp_path / "iwv.csv", issuer()), "--json")
    facts = json.loads(out)
    assert (code, facts["tickers"], facts["rows"], facts["date"], facts["before"]) == (0, 5, 9, "2024-11-20", None)
    assert facts["age_days"] >= 0
    assert facts["odd"] == []


def test_a_plain_file_is_of_the_day_given_or_of_today(run: Run, tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", plain(many(20)))
    first = today()
    _, out, _ = run("universe", "refresh", "--file", path, "--json")
    facts = json.loads(out)
    assert facts["date_from"] == "today: the file names none"
    assert first <= int(facts["date"].replace("-", "")) <= today()
    _, out, _ = run("universe", "refresh", "--file", path, "--date", "2012-03-09", "--json")
    assert (json.loads(out)["date"], json.loads(out)["date_from"]) == ("2012-03-09", "--date")


def test_the_newest_at_or_before_a_day(run: Run, tmp_path: Path) -> None:
    for day, count in (("2010-01-04", 20), ("2011-01-03", 19), ("2012-01-03", 18)):
        put(tmp_path / "a.csv", plain(many(count)))
        assert run("universe", "refresh", "--file", tmp_path / "a.csv", "--date", day)[0] == 0
    assert [len(members(run, *words)) for words in ((), ("--as-of", "2011-12-31"), ("--as-of", "2011-01-03"))] == [
        18, 19, 19
    ]  # fmt: skip
    code, _, err = run("universe", "show", "--as-of", "2009-12-31")
    assert code == 1
    assert "no snapshot of 2009-12-31 or before; the first is of 2010-01-04" in err
    folder = tmp_path / "state/universe"
    assert dates(folder) == [20100104, 20110103, 20120103]
    stands_in = as_of(folder, 20091231)
    assert (stands_in.date, stands_in.stand_in) == (20100104, True)
    assert (as_of(folder, 20111231).date, as_of(folder, 20111231).stand_in) == (20110103, False)
    assert as_of(folder).date == 20120103


def test_a_date_to_come_or_against_the_files_own_is_refused(run: Run, tmp_path: Path) -> None:
    path = put(tmp_path / "iwv.csv", issuer())
    code, _, err = run("universe", "refresh", "--file", path, "--date", "2020-01-02")
    assert code == 1
    assert "the file says it is of 2024-11-20, --date says 2020-01-02" in err
    code, _, err = run("universe", "refresh", "--file", put(tmp_path / "b.csv", issuer(day="Jan 2, 2090")))
    assert code == 1
    assert "2090-01-02 is yet to come" in err
    assert run("universe", "refresh", "--file", path, "--date", "soon")[0] == 64
    assert not (tmp_path / "state").exists()


def test_a_shrink_is_refused_with_its_figures_unless_accepted(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    refresh = ("universe", "refresh", "--file", path, "--date", "2024-05-02")
    put(path, plain(many(100)))
    assert run(*refresh)[0] == 0
    put(path, plain(many(90)))
    assert run(*refresh)[0] == 0  # exactly a tenth is no more than a tenth
    put(path, plain(many(80)))
    code, _, err = run("universe", "refresh", "--file", path, "--date", "2024-05-03")
    assert code == 1
    assert "would shrink from 90 members (2024-05-02) to 80, by over 10%" in err
    assert "--accept-shrink" in err
    assert run(*refresh)[0] == 1  # also of the same day
    assert len(members(run)) == 90
    assert run("universe", "refresh", "--file", path, "--date", "2024-05-01")[0] == 0  # nothing before it
    assert run(*refresh, "--accept-shrink")[0] == 0
    assert len(members(run, "--as-of", "2024-05-02")) == 80


def test_a_refused_file_leaves_what_was_there(run: Run, tmp_path: Path) -> None:
    path = put(tmp_path / "iwv.csv", issuer())
    assert run("universe", "refresh", "--file", path)[0] == 0
    before = (tmp_path / "state/universe/2024-11-20.csv").read_bytes()
    code, out, err = run("universe", "refresh", "--file", put(path, issuer((*SHARES, SHARES[0]))))
    assert (code, out) == (1, "")
    assert "1 duplicate ticker: NVDA (lines 11, 16)" in err
    assert (tmp_path / "state/universe/2024-11-20.csv").read_bytes() == before


def test_odd_tickers_are_counted_and_named(run: Run, tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", plain([*many(200), ("ÄÖ", "x", "x", 1)]))
    code, _, err = run("universe", "refresh", "--file", path)
    assert code == 0
    assert "warning: 1 row left out: line 202: 'ÄÖ' is no ticker" in err


def test_a_file_or_folder_that_is_not_there_is_told(run: Run, tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        code, _, err = run("universe", "refresh", "--file", path)
        assert code == 1
        assert "the file cannot be read" in err
    code, _, err = run("universe", "show")
    assert code == 1
    assert "there is no snapshot of the universe" in err
    assert newest(tmp_path / "state/universe") is None


@pytest.mark.parametrize(
    "content",
    [b"", b"Ticker,Name\n", b"Ticker,Name,Sector,WeightPct,Exchange\nB,b,x,1,\nA,a,x,1,\n",
     b"Ticker,Name,Sector,WeightPct,Exchange\nB,b,x,one,\n", b"Ticker,Name,Sector,WeightPct,Exchange\nB,b\n",
     b"Ticker,Name,Sector,WeightPct,Exchange\n", b"\xff"],
)  # fmt: skip
def test_a_snapshot_that_somebody_broke_is_refused(tmp_path: Path, content: bytes) -> None:
    put(tmp_path / "2024-05-02.csv", content)
    with pytest.raises(UniverseError) as caught:
        as_of(tmp_path)
    assert caught.value.where.endswith("2024-05-02.csv")


# ---------------------------------------------------------------- network


class Issuer(BaseHTTPRequestHandler):
    """Serves /whole; /missing is 404; /slow sends a part and waits."""

    def do_GET(self) -> None:
        body = issuer((*SHARES, *OTHERS))
        self.send_response(404 if self.path == "/missing" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.path == "/slow":
            self.wfile.write(body[:50])
            self.server.released.wait(20)  # type: ignore[attr-defined]
        elif self.path == "/cut":
            self.wfile.write(body[:50])
        else:
            self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        del words


@pytest.fixture
def server() -> Iterator[str]:
    site = ThreadingHTTPServer(("127.0.0.1", 0), Issuer)
    site.released = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{site.server_port}"
    site.released.set()  # type: ignore[attr-defined]
    site.shutdown()
    thread.join()
    site.server_close()


def aim(monkeypatch: pytest.MonkeyPatch, url: str, allowed: str = "true") -> None:
    monkeypatch.setenv("AVWAPD_NETWORK__ALLOWED", allowed)
    monkeypatch.setenv("AVWAPD_UNIVERSE__URL", url)


def test_without_a_file_it_is_fetched(run: Run, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    aim(monkeypatch, f"{server}/whole")
    code, out, err = run("universe", "refresh")
    assert (code, err) == (0, "")
    assert "2024-11-20 (the file)" in out
    assert members(run) == ["AAPL", "BRK.B", "NVDA", "SPAM", "UAMY"]


@pytest.mark.parametrize(
    ("path", "what"), [("/missing", "the server answered 404"), ("/cut", "the file could not be fetched")]
)
def test_a_bad_answer_is_no_universe(
    run: Run, server: str, monkeypatch: pytest.MonkeyPatch, path: str, what: str, tmp_path: Path
) -> None:
    aim(monkeypatch, server + path)
    code, _, err = run("universe", "refresh")
    assert code == 1
    assert what in err
    assert not (tmp_path / "state").exists()


def test_a_slow_answer_ends_by_the_whole_deadline(server: str) -> None:
    from avwapd.feeds import FeedError
    from avwapd.feeds.download import download

    began = time.monotonic()
    with pytest.raises(FeedError, match=r"no whole file within 0\.3 s"):
        download(f"{server}/slow", limit_s=0.3)
    assert time.monotonic() - began < 5
    with pytest.raises(FeedError, match="longer than 100 bytes"):
        download(f"{server}/whole", most=100)


def test_nothing_is_fetched_where_the_network_is_off_or_no_address_is_set(
    run: Run, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    aim(monkeypatch, f"{server}/whole", allowed="false")
    code, _, err = run("universe", "refresh")
    assert code == 78
    assert "network.allowed is false: nothing is fetched" in err
    aim(monkeypatch, "")
    code, _, err = run("universe", "refresh")
    assert code == 78
    assert "universe.url is empty" in err
