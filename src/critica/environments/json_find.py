"""The first JSON object in a text. Imports no torch."""

import json
from typing import Any, NoReturn

MAX_TRIES = 200  # opening braces looked at: a text of a million of them must not take a million tries


def find_object(text: str) -> dict[str, Any] | None:
    """The first balanced JSON object that stands in the text, whatever surrounds it; None if there is none.

    Strict JSON: NaN and Infinity are refused, and so is a name that is written twice in one object.
    """
    decoder = json.JSONDecoder(parse_constant=_refuse, object_pairs_hook=_once)
    at = -1
    for _ in range(MAX_TRIES):
        at = text.find("{", at + 1)
        if at < 0:
            return None
        try:
            return decoder.raw_decode(text, at)[0]
        except (ValueError, RecursionError):
            continue
    return None


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is written twice")
    return found
