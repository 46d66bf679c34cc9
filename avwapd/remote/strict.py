"""JSON as others send it, read without mercy: what is not plain JSON of finite numbers and single keys is refused."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn


def parse(body: bytes) -> Any:
    """Raises ValueError for anything but one JSON value in UTF-8 without NaN, Infinity, 1e400 or doubled keys."""
    try:
        return _DECODER.decode(body.decode())
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None


def _constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is beyond every number")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in a JSON object")
    return found


_DECODER = json.JSONDecoder(parse_constant=_constant, parse_float=_float, object_pairs_hook=_object)
