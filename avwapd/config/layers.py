"""Settings from the packaged defaults, the files, the environment and the command line, checked as one."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, get_type_hints

import avwapd
from avwapd.config import environment, sections
from avwapd.config.environment import PREFIX
from avwapd.config.errors import ConfigError
from avwapd.config.kinds import Kind, Table, Unfit, parsed, show
from avwapd.config.rules import RULES, Rule

BASE, LOCAL = "avwapd.toml", "avwapd.local.toml"
MAX_FILE_BYTES = 4_000_000
MOST_TOLD = 50  # problems that are looked into and told; a file of something else would have thousands
SECRET_WORDS = ("secret", "password", "passphrase", "token", "credential", "api_key", "private_key")


@dataclass(frozen=True, slots=True)
class Value:
    """A raw value of one layer, and how it is to be read."""

    raw: Any
    origin: str
    is_text: bool  # from the environment or an option: not yet parsed


@dataclass(slots=True)
class Gathering:
    """What all layers say so far, and all that is wrong with them."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    problems: dict[str, tuple[str, str]] = field(default_factory=dict)  # key -> what, where
    entries: dict[str, str] = field(default_factory=dict)  # "equity.start.USD" -> its layer, of tables
    untold: int = 0

    @property
    def full(self) -> bool:
        """Whether there are problems enough; what is counted then is not looked into."""
        if len(self.problems) < MOST_TOLD:
            return False
        self.untold += 1
        return True

    def refuse(self, key: str, what: str, where: str) -> None:
        if key in self.problems or not self.full:
            self.problems[key] = (what, where)

    def take(self, key: str, value: Value) -> None:
        kind = kinds()[key]
        try:
            found = kind.text(value.raw) if value.is_text else kind.read(value.raw)
        except Unfit as unfit:
            self.refuse(key, f"{key} = {show(value.raw)} {unfit}", value.origin)
            return
        if isinstance(kind, Table):
            self.entries.update((f"{key}.{name}", value.origin) for name in found)
            found = MappingProxyType({**self.values.get(key, {}), **found})
        self.values[key] = found
        self.origins[key] = value.origin


@cache
def kinds() -> Mapping[str, Kind]:
    """Every setting by its dotted name."""
    found = {}
    for section, cls in shapes().items():
        for name, hint in get_type_hints(cls, include_extras=True).items():
            found[f"{section}.{name}"] = hint.__metadata__[0]
    return MappingProxyType(found)


@cache
def shapes() -> Mapping[str, Any]:
    hints = get_type_hints(sections.Config)
    return MappingProxyType({name: cls for name, cls in hints.items() if name != "origins"})


def packaged(name: str) -> Path:
    """A file of etc/: inside the package where it is installed, beside it in a checkout."""
    package = Path(avwapd.__file__).resolve().parent
    installed = package / "etc" / name
    return installed if installed.exists() else package.parent / "etc" / name


def files(config_file: Path | None, folder: Path) -> list[Path]:
    """The files that are read, in their order; `--config` has to exist, the others may."""
    base = config_file if config_file is not None else folder / "etc" / BASE
    local = base.with_name(LOCAL)
    found = [packaged(BASE)]
    if config_file is not None or base.exists():
        found.append(base)
    if local.exists() or local.is_symlink():
        found.append(local)
    return [path for position, path in enumerate(found) if not any(_same(path, had) for had in found[:position])]


def _same(left: Path, right: Path) -> bool:
    try:
        return left.samefile(right)
    except OSError:
        return False


# ------------------------------------------------------------------ layers


def _read(path: Path) -> dict[str, Any]:
    try:
        seen = path.stat()
        if not (stat.S_ISREG(seen.st_mode) or stat.S_ISDIR(seen.st_mode) or _same(path, Path(os.devnull))):
            raise ConfigError(
                "the configuration is no regular file", str(path), "name one: what it says may be asked twice"
            )
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            size = max(len(content), seen.st_size)
            raise ConfigError(f"{size} bytes are too many for a configuration", str(path), "name another file")
        return parsed(content.decode("utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError("this configuration file is not there", str(path), "write one: avwapd init") from None
    except OSError as error:
        words = (error.strerror or "cannot be read").lower()
        raise ConfigError(f"the configuration: {words}", str(path), "name a file that can be read") from None
    except UnicodeDecodeError:
        raise ConfigError("the configuration is not UTF-8", str(path), "save it as UTF-8") from None
    except (ValueError, RecursionError) as error:
        words = "is nested too deeply" if isinstance(error, RecursionError) else f"is not TOML: {str(error)[:200]}"
        raise ConfigError(f"the configuration {words}", str(path), "correct it there") from None


def _from_file(path: Path, gathering: Gathering) -> None:
    origin = str(path)
    for section, table in _read(path).items():
        if section not in shapes():
            if not gathering.full:
                gathering.refuse(section, _unknown_section(section), origin)
        elif not isinstance(table, dict):
            gathering.refuse(section, f"{section} must be a section: [{section}]", origin)
        else:
            for name, raw in table.items():
                _take(gathering, f"{section}.{name}", Value(raw, origin, is_text=False))


def _from_environment(environ: Mapping[str, str], gathering: Gathering) -> None:
    for variable in environment.unknown(environ):
        if not gathering.full:
            gathering.refuse(variable, environment.words_about(variable), "environment")
    for variable, text in sorted(environ.items()):
        setting = variable.removeprefix(PREFIX)
        if not variable.startswith(PREFIX) or "__" not in setting:
            continue
        section, name, *entry = setting.split("__", 2)
        key = f"{section.lower()}.{name.lower()}"
        kind = kinds().get(key)
        if entry and isinstance(kind, Table):
            _take_entry(gathering, key, kind, entry[0], text, variable)
        elif entry:
            gathering.refuse(variable, f"{variable} has one __ too many", "environment")
        else:
            _take(gathering, key, Value(text, variable, is_text=True))


def _take_entry(gathering: Gathering, key: str, kind: Table, name: str, text: str, variable: str) -> None:
    try:
        found = kind.entry(name, text, kind.value.text)
    except Unfit as unfit:
        gathering.refuse(key, f"{key} {unfit}", variable)
        return
    gathering.values[key] = MappingProxyType({**gathering.values.get(key, {}), name: found})
    gathering.entries[f"{key}.{name}"] = gathering.origins[key] = variable


def _take(gathering: Gathering, key: str, value: Value) -> None:
    if key in kinds():
        gathering.take(key, value)
        return
    if gathering.full:
        return
    section = key.partition(".")[0]
    words = _unknown_section(section) if section not in shapes() else _unknown_key(key)
    gathering.refuse(show(key), words, value.origin)


def _unknown_section(section: str) -> str:
    return f"[{show(section)[1:-1]}] is no section{nearest(section, shapes())}{_secret(section)}"


def _unknown_key(key: str) -> str:
    section, _, name = key.partition(".")
    near = nearest(key, [other for other in kinds() if other.startswith(f"{section}.")])
    elsewhere = [other for other in kinds() if other.partition(".")[2] == name]
    if elsewhere:
        near = f"; there is {elsewhere[0]}"
    return f"{section}.{show(name)[1:-1]} is no setting{near or nearest(key, kinds())}{_secret(name)}"


def nearest(name: str, known: Mapping[str, object] | list[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name[:100], list(known), n=1)
    return f"; the nearest is {near[0]}" if near else ""


def _secret(name: str) -> str:
    if not any(word in name.lower() for word in SECRET_WORDS):
        return ""
    return "; secrets come from $CREDENTIALS_DIRECTORY or the environment, never from a file"


# -------------------------------------------------------------------- load


def load(
    config_file: Path | None = None,
    *,
    folder: Path | None = None,
    environ: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
) -> sections.Config:
    """The configuration, or a ConfigError that tells all that is wrong with it.

    `folder` is where etc/ is looked for (the working folder); `options` are settings by dotted name that the
    command line gives as text, above all else: {"run.symbols": "A,B"}.
    """
    return traced(config_file, folder=folder, environ=environ, options=options)[0]


def traced(
    config_file: Path | None = None,
    *,
    folder: Path | None = None,
    environ: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
) -> tuple[sections.Config, Mapping[str, str]]:
    """The same, and the layer that each entry of a table came from: "equity.start.USD" -> layer."""
    gathering = Gathering()
    unreadable = []
    for path in files(config_file, folder if folder is not None else Path.cwd()):
        try:
            _from_file(path, gathering)
        except ConfigError as error:
            unreadable.append(error)
    _from_environment(os.environ if environ is None else environ, gathering)
    for key, text in (options or {}).items():
        _take(gathering, key, Value(text, "command line", is_text=True))
    config = _build(gathering) if not unreadable else None
    if unreadable or gathering.problems or config is None:
        raise _error(unreadable, gathering)
    return config, gathering.entries


def defaults() -> sections.Config:
    """The configuration as packaged, whatever files and environment say."""
    gathering = Gathering()
    _from_file(packaged(BASE), gathering)
    config = _build(gathering)
    if config is None:
        raise AssertionError(f"the packaged defaults are not whole: {dict(gathering.problems)}")
    return config


def _build(gathering: Gathering) -> sections.Config | None:
    missing = [key for key in kinds() if key not in gathering.values]
    for key in missing:
        gathering.problems.setdefault(key, (f"{key} is set nowhere", str(packaged(BASE))))
    if missing:
        return None
    built = {
        section: cls(**{key.partition(".")[2]: gathering.values[key] for key in kinds() if _in(key, section)})
        for section, cls in shapes().items()
    }
    config = sections.Config(**built, origins=MappingProxyType(dict(gathering.origins)))
    for rule in _broken(config, gathering.problems):
        layers = [layer for layer in map(gathering.origins.__getitem__, rule.keys) if layer != str(packaged(BASE))]
        what = f"{rule.keys[-1]} {rule.wanted}"
        gathering.refuse(what, what, ", ".join(dict.fromkeys(layers)))
    return config


def _in(key: str, section: str) -> bool:
    return key.partition(".")[0] == section


def _broken(config: sections.Config, wrong: Mapping[str, object]) -> list[Rule]:
    """Rules between settings; one whose settings are wrong by themselves is not asked."""
    asked = [rule for rule in RULES if not any(key in wrong for key in rule.keys)]
    return [rule for rule in asked if not rule.holds(config)]


NEXT: Final = "correct it, then: avwapd --config-check"


def _error(unreadable: list[ConfigError], gathering: Gathering) -> ConfigError:
    problems = gathering.problems
    told = [(error.what, error.where) for error in unreadable] + list(problems.values())
    if len(unreadable) == 1 and not problems:
        return unreadable[0]
    if len(told) == 1:
        return ConfigError(told[0][0], told[0][1], NEXT)
    each = tuple(f"{what} ({where})" for what, where in told)
    where = ", ".join(dict.fromkeys(where for _, where in told))
    lines = "\n".join(f"  {line}" for line in each)
    lines += f"\n  and {gathering.untold} more" if gathering.untold else ""
    return ConfigError(
        f"{len(told) + gathering.untold} problems in the configuration\n{lines}",
        where,
        NEXT.replace("it,", "them,"),
        each,
    )
