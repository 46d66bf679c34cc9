"""Every command that the pages show is one: avwapd's own parser takes it, units and scripts that are named exist."""

from __future__ import annotations

import argparse
import importlib
import re
from pathlib import Path

import pytest

from avwapd import cli
from avwapd.config import load
from avwapd.demo_venue.server import listening
from tests.runbook.blocks import KINDS, blocks
from tests.runbook.words import Said, filled, said
from tests.tidy.rules import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
UNITS = ROOT / "contrib" / "systemd"
# What a line names as coming later or as another's, and what is no unit of ours.
NOT_HERE = {"serve"}
OTHERS = {"systemd-timesyncd", "systemd-time-wait-sync"}
ACTING = {"start", "stop", "restart", "status", "enable", "cat", "edit", "is-active", "list-timers", "daemon-reload"}
PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def refusal(words: list[str]) -> str:
    """Why the command line would refuse these words; "" where it takes them. Nothing is run."""
    parsed: list[argparse.Namespace] = []
    try:
        at = cli.verb_position(words)
        top = cli.top_parser().parse_args(words[:at])
        if at == len(words):
            return ""
        module = importlib.import_module(cli.module_of(words[at]))
        parser = cli.VerbParser(prog=f"avwapd {words[at]}")
        module.add_arguments(parser)
        if "--help" not in words:
            parsed.append(parser.parse_args(words[at + 1 :], top))
    except (SystemExit, ModuleNotFoundError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def mention(call: Said) -> bool:
    """A verb that is only named, without what it needs: `avwapd why`."""
    return len(call.words) <= 2 and not any(word.startswith("-") for word in call.words)


@PAGE
def test_avwapd_takes_every_line(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = []
    for call in said(page, "avwapd"):
        words = filled(call.words)
        if words is None or not words or words[0] in NOT_HERE:
            continue
        why = refusal(words)
        if why and not (mention(call) and "the following arguments are required" in capsys.readouterr().err):
            wrong.append(f"{call.where}: avwapd {' '.join(call.words)}: {why}")
        capsys.readouterr()
    assert wrong == []


@PAGE
def test_units_that_are_named_exist(page: Path) -> None:
    wrong = []
    for program in ("systemctl", "journalctl"):
        for call in said(page, program):
            wrong += [f"{call.where}: {program} {name}" for name in units(program, call.words) if not exists(name)]
    assert wrong == []


def units(program: str, words: tuple[str, ...]) -> list[str]:
    """The units that a call names."""
    if program == "journalctl":
        return [words[at + 1] for at, word in enumerate(words[:-1]) if word == "-u"]
    assert not words or words[0] in ACTING, words
    return [word for word in words[1:] if not word.startswith("-")]


def exists(name: str) -> bool:
    """As a template of ours; NAME and UNIT stand for one, `avwapd-*` for some."""
    if name in OTHERS or name == "UNIT" or "NAME" in name:
        return True
    stem, _, instance = name.partition("@")
    if "." not in name:
        name = f"{stem}@.service" if instance else f"{stem}.service"
    return any(UNITS.glob(name)) or any(UNITS.glob(f"{name.removesuffix('.service')}.timer"))


@PAGE
def test_scripts_that_are_named_exist(page: Path) -> None:
    named = set(re.findall(r"contrib/systemd/([\w-]+\.\w+)", page.read_text(encoding="utf-8")))
    assert sorted(name for name in named if not (UNITS / name).is_file()) == []


@PAGE
def test_links_lead_somewhere(page: Path) -> None:
    named = re.findall(r"\]\(((?!https?:)[^)#]+)", page.read_text(encoding="utf-8"))
    assert [name for name in named if not (page.parent / name).exists()] == []


def test_commands_were_found() -> None:
    """The sieve has to let something through."""
    calls = [call for page in PAGES for call in said(page, "avwapd")]
    assert len(calls) > 200
    assert refusal(["ctl", "hallt"]).startswith("SystemExit")
    assert refusal(["check", "--mode", "helth"]).startswith("SystemExit")
    assert not exists("avwapd-scann.timer")
    kinds = {block.kind for block in blocks(ROOT / "docs" / "runbook.md")}
    assert kinds == set(KINDS)


@pytest.mark.parametrize(
    ("address", "wanted", "found"),
    [
        ("", None, ("127.0.0.1", 8490)),
        ("http://127.0.0.1:18490", None, ("127.0.0.1", 18490)),
        ("https://venue.example:443", None, ("127.0.0.1", 8490)),
        ("http://127.0.0.1:18490", "127.0.0.1:0", ("127.0.0.1", 0)),
        ("http://127.0.0.1:18490", ":7", ("127.0.0.1", 7)),
    ],
)
def test_the_demo_venue_listens_where_the_daemon_looks(
    address: str, wanted: str | None, found: tuple[str, int]
) -> None:
    config = load(None, environ={"AVWAPD_VENUE__ADDRESS": address})
    assert listening(wanted, config) == found
