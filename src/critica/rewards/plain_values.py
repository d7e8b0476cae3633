"""Values of built-in types as JSON and back: the only thing a program's functions may hand to whoever judges them.

Objects of a program's own classes do not travel, so none of their methods (an `__eq__` that always agrees) is ever
called by a judge. Imports no torch.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

COLLECTIONS: Mapping[str, Any] = MappingProxyType({"l": list, "t": tuple, "S": set, "F": frozenset})


class NotPlain(ValueError):
    """A value of a foreign type, or nonsense instead of a value."""


def encode(value: object) -> list[Any]:
    """`[letter, content]`; a subclass travels as the built-in type it extends, anything else as its type's name."""
    if value is None:
        return ["n"]
    if isinstance(value, bool):
        return ["b", bool(value)]
    if isinstance(value, int):
        return ["i", hex(int(value))]  # no limit on digits, and quick
    if isinstance(value, float):
        return ["f", float.hex(value)]
    if isinstance(value, complex):
        return ["c", float.hex(value.real), float.hex(value.imag)]
    if isinstance(value, str):
        return ["s", str.__str__(value)]
    if isinstance(value, bytes | bytearray):
        return ["y", bytes(value).hex()]
    if isinstance(value, dict):
        return ["d", [[encode(key), encode(item)] for key, item in dict.items(value)]]
    if isinstance(value, range):
        return ["r", value.start, value.stop, value.step]
    for letter, kind in COLLECTIONS.items():
        if isinstance(value, kind):
            return [letter, [encode(item) for item in kind.__iter__(value)]]
    return ["?", type(value).__name__[:80]]


def decode(data: Any) -> Any:
    """What `encode` wrote. Raises `NotPlain`."""
    try:
        return _decode(data)
    except NotPlain:
        raise
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, RecursionError) as error:
        raise NotPlain(f"returned something unreadable ({type(error).__name__})") from error


def _decode(data: Any) -> Any:
    letter = data[0]
    if letter in COLLECTIONS:
        return COLLECTIONS[letter](_decode(item) for item in data[1])
    if letter == "?":
        raise NotPlain(f"returned a {str(data[1])[:80]}, which is not plain data")
    readers = {
        "n": lambda: None,
        "b": lambda: bool(data[1]),
        "i": lambda: int(data[1], 16),
        "f": lambda: float.fromhex(data[1]),
        "c": lambda: complex(float.fromhex(data[1]), float.fromhex(data[2])),
        "s": lambda: str(data[1]),
        "y": lambda: bytes.fromhex(data[1]),
        "d": lambda: {_decode(key): _decode(item) for key, item in data[1]},
        "r": lambda: range(int(data[1]), int(data[2]), int(data[3])),
    }
    return readers[letter]()


def same_output(said: str, wanted: str, tolerance: float) -> bool:
    """Line by line, white space at line ends and empty lines at the end aside; numbers within tolerance if above 0."""
    lines, goals = ([line.rstrip() for line in text.rstrip().split("\n")] for text in (said, wanted))
    if lines == goals:
        return True
    if tolerance == 0.0 or len(lines) != len(goals):
        return False
    pairs = [(line.split(), goal.split()) for line, goal in zip(lines, goals, strict=True)]
    return all(
        len(words) == len(targets)
        and all(word == target or _near(word, target, tolerance) for word, target in zip(words, targets, strict=True))
        for words, targets in pairs
    )


def same_value(value: Any, wanted: Any, tolerance: float) -> bool:
    """Equal, or equal once both went through JSON (tuples are lists there), or within tolerance."""
    try:
        if value == wanted or _through_json(value) == _through_json(wanted):
            return True
    except (TypeError, ValueError, RecursionError):
        return False
    return tolerance > 0.0 and _near_value(value, wanted, tolerance)


def _through_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _near_value(value: Any, wanted: Any, tolerance: float) -> bool:
    if isinstance(value, list | tuple) and isinstance(wanted, list | tuple):
        return len(value) == len(wanted) and all(
            _near_value(one, other, tolerance) for one, other in zip(value, wanted, strict=True)
        )
    if isinstance(value, int | float) and isinstance(wanted, int | float):
        return _near(value, wanted, tolerance)
    return value == wanted


def _near(said: object, wanted: object, tolerance: float) -> bool:
    try:
        one, other = float(said), float(wanted)  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        return False
    return abs(one - other) <= tolerance * max(1.0, abs(other))  # false for NaN
