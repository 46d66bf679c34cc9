"""Whatever a file or the environment says: a configuration or a ConfigError, nothing else."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from avwapd.config import ConfigError, as_plain, config_hash, load, packaged
from avwapd.config.layers import kinds

TEXT = packaged("avwapd.toml").read_text()
LINES = TEXT.splitlines()
VALUES = st.one_of(
    st.integers(),
    st.floats(),
    st.booleans(),
    st.text(max_size=20),
    st.lists(st.one_of(st.text(max_size=5), st.integers()), max_size=4),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
)


def outcome(content: bytes, environ: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "given.toml"
        path.write_bytes(content)
        try:
            config = load(path, folder=Path(folder), environ=environ)
        except ConfigError as error:
            str(error).encode()
        else:
            json.dumps(as_plain(config), allow_nan=False)
            assert len(config_hash(config)) == 64


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """The default file with a few bytes or lines lost, doubled, moved or replaced."""
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.integers(0, 3)):
            case 0:
                del lines[at]
            case 1:
                lines.insert(draw(st.integers(0, len(lines) - 1)), lines[at])
            case 2:
                name = lines[at].partition("=")[0]
                lines[at] = f"{name} = {json.dumps(draw(VALUES))}"
            case _:
                cut = draw(st.integers(0, len(lines[at])))
                lines[at] = lines[at][:cut] + draw(st.text(max_size=3)) + lines[at][cut + 1 :]
    return "\n".join(lines).encode("utf-8", "replace")


@given(mutated())
@settings(max_examples=150, deadline=None)
def test_a_mutated_file_never_crashes(content: bytes) -> None:
    outcome(content, {})


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_no_file_crashes(content: bytes) -> None:
    outcome(content, {})


NAMES = [key.upper().replace(".", "__") for key in kinds()]
ENVIRON_TEXT = st.text(st.characters(exclude_characters="\0"), max_size=20)


@given(st.dictionaries(st.sampled_from(NAMES), st.one_of(ENVIRON_TEXT, VALUES.map(json.dumps)), max_size=5))
@settings(max_examples=150, deadline=None)
def test_no_environment_crashes(environ: dict[str, str]) -> None:
    outcome(b"", {f"AVWAPD_{name}": text for name, text in environ.items()})


@given(st.from_regex(r"AVWAPD_[A-Za-z_]{0,30}", fullmatch=True), ENVIRON_TEXT)
@settings(max_examples=100, deadline=None)
def test_no_variable_name_crashes(name: str, text: str) -> None:
    outcome(b"", {name: text})
