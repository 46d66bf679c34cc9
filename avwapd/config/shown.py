"""A configuration as text for people: TOML that loads to the same again, each value with what may stand there and
the layer it came from, and the environment's example file."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from avwapd.config import environment, layers
from avwapd.config.errors import ConfigError
from avwapd.config.kinds import Table, masked
from avwapd.config.sections import Config

LAYERS = ("defaults", "file", "local", "environment", "command line")
_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


class NoSuchSetting(ConfigError):
    """A section or setting that was asked for and is none."""

    exit_code = 64


@dataclass(frozen=True, slots=True)
class Shown:
    """layer: one of LAYERS; origin: the file or variable; of a table's entries that differ, one each in `entries`."""

    key: str
    value: Any
    default: Any
    allowed: str
    layer: str
    origin: str
    entries: Mapping[str, str]

    @property
    def changed(self) -> bool:
        return bool(self.value != self.default)


def shown(config: Config, entries: Mapping[str, str], wanted: str = "") -> Iterator[Shown]:
    """Every setting, or those of one section, or one."""
    known, usual = layers.kinds(), layers.defaults()
    if wanted and wanted not in known and wanted not in layers.shapes():
        near = layers.nearest(wanted, [*layers.shapes(), *known])
        what = f"{wanted[:60]!r} is no section and no setting{near}"
        raise NoSuchSetting(what, "the command line", "avwapd config show names them all")
    for key, kind in known.items():
        section, _, name = key.partition(".")
        if wanted not in ("", section, key):
            continue
        origin = config.origins[key]
        value = getattr(getattr(config, section), name)
        own = {item: entries[f"{key}.{item}"] for item in value} if isinstance(kind, Table) else {}
        default = getattr(getattr(usual, section), name)
        yield Shown(key, value, default, kind.allowed, layer_of(origin), origin, own)


def layer_of(origin: str) -> str:
    if origin == str(layers.packaged(layers.BASE)):
        return "defaults"
    if origin.startswith(environment.PREFIX):
        return "environment"
    if origin == "command line":
        return origin
    return "local" if origin.endswith(layers.LOCAL) else "file"


def as_toml(value: Any) -> str:
    """One value as TOML; an address without its password and query."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return '""'
    if value == math.inf:
        return '"max"'
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _quoted(masked(value))
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_name(key)} = {as_toml(item)}" for key, item in value.items())
        return f"{{{inner}}}"
    return f"[{', '.join(map(as_toml, value))}]"


def _name(key: str) -> str:
    return key if _BARE.fullmatch(key) else _quoted(key)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def lines(found: list[Shown], *, with_origin: bool) -> Iterator[str]:
    """The settings as a file; with their origins, what may stand there and where each came from."""
    before = ""
    for each in found:
        section, _, name = each.key.partition(".")
        if section != before:
            yield from ([""] if before else []) + [f"[{section}]"]
            before = section
        if not with_origin:
            yield f"{name} = {as_toml(each.value)}"
            continue
        yield f"{name} = {as_toml(each.value)}  # {each.allowed}; from {_from(each.layer, each.origin)}"
        places = dict.fromkeys(each.entries.values())
        for place in places if len(places) > 1 else ():
            names = ", ".join(item for item, origin in each.entries.items() if origin == place)
            yield f"#   {_from(layer_of(place), place)}: {names}"


def _from(layer: str, origin: str) -> str:
    return layer if layer in ("defaults", origin) else f"{layer}: {origin}"


def variables(environ: Mapping[str, str]) -> list[dict[str, Any]]:
    """The known variables that are set; of a secret only that it is."""
    return [
        {"name": each.name, "value": None if each.secret else masked(environ[each.name]), "secret": each.secret,
         "words": each.words}
        for each in environment.KNOWN
        if each.name in environ
    ]  # fmt: skip


# ---------------------------------------------------------- .env.example

HEAD = """\
# Every environment variable of avwapd. Made by `avwapd config example`; nothing reads this file by itself:
#
#   cp .env.example .env                        # .env never travels: git ignores it
#   set -a && . ./.env && set +a                # or EnvironmentFile= in a unit
#
# Take the # away from what you need. A variable that begins with AVWAPD_ and is not listed here is refused.
# As a service, give secrets as systemd's credentials instead: files of the same names.
"""
SETTINGS = """
# ---------------------------------------------------------------- settings
# AVWAPD_SECTION__KEY, above every file. Units and words: etc/avwapd.toml; bounds: avwapd config show --origin.
# Lists are written A,B,C; of a table one entry at a time: AVWAPD_EQUITY__START__USD=100000.
"""


def example() -> str:
    """The text of .env.example: each variable commented out, no value that could be a secret."""
    parts = [HEAD]
    for giver, words in (
        (environment.USER, ""),
        (environment.TESTS, ""),
        (environment.SYSTEMD, "# Given by systemd or the machine; not to be set by hand.\n"),
        (environment.MACHINE, ""),
    ):
        parts.append(f"\n{words}" if words else "")
        for each in environment.KNOWN:
            if each.given_by == giver:
                secret = " (secret)" if each.secret else ""
                parts.append(f"\n# {each.words}{secret}\n#{each.name}=\n")
    parts.append(SETTINGS)
    usual = layers.defaults()
    for section in layers.shapes():
        parts.append(f"\n# [{section}]\n")
        for key, kind in layers.kinds().items():
            if key.partition(".")[0] == section:
                value = getattr(getattr(usual, section), key.partition(".")[2])
                parts += [f"#{line}\n" for line in assignments(key, kind, value)]
    return "".join(parts)


def assignments(key: str, kind: object, value: Any) -> list[str]:
    name = environment.PREFIX + key.upper().replace(".", "__")
    if isinstance(kind, Table):
        named = {item: one for item, one in value.items() if re.fullmatch(r"\w+", item, re.ASCII)}
        return [f"{name}__{item}={as_text(one)}" for item, one in named.items()] or [f"{name}__NAME="]
    return [f"{name}={as_text(value)}"]


def as_text(value: Any) -> str:
    """A value as the environment writes it."""
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ",".join(map(as_text, value))
    if isinstance(value, str):
        return value
    return as_toml(value).strip('"')
