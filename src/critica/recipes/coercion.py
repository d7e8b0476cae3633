"""A value from TOML or the command line becomes what a field's annotation says, or a sentence saying why not."""

import difflib
import enum
import json
import math
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from critica.records.names import odd_letter


class ConfigError(ValueError):
    """A setting that cannot be: the message says which, what was found, and what to write instead."""


def nearest(name: str, choices: Iterable[str]) -> str:
    """`; the nearest is 'x'` when one of the choices resembles the name, and which letter of it is odd, if one is."""
    close = difflib.get_close_matches(name, sorted(choices), n=1, cutoff=0.5)
    return (f"; the nearest is {close[0]!r}" if close else "") + odd_letter(name)


def leaves(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, flattened; any other annotation alone."""
    origin = get_origin(annotation)
    if origin is typing.Annotated:
        return leaves(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return tuple(leaf for member in get_args(annotation) for leaf in leaves(member))
    return (annotation,)


def describe(annotation: Any) -> str:
    """The annotation as a person would say it."""
    return " or ".join(dict.fromkeys(_describe_leaf(leaf) for leaf in leaves(annotation)))


def _describe_leaf(leaf: Any) -> str:
    origin, arguments = get_origin(leaf), get_args(leaf)
    if leaf is type(None):
        return "none"
    if leaf is bool:
        return "true or false"
    if origin is Literal:
        return " or ".join(repr(choice) for choice in arguments)
    if origin is tuple and len(arguments) == 2 and arguments[1] is ...:
        return f"a list of {describe(arguments[0])}"
    if origin is tuple:
        return f"a list ({', '.join(describe(item) for item in arguments)})"
    if isinstance(leaf, type) and issubclass(leaf, enum.Enum):
        return " or ".join(repr(member.value) for member in leaf)
    return leaf.__name__ if isinstance(leaf, type) else str(leaf).removeprefix("typing.")


def to_text(value: Any) -> str:
    """The value as one would write it after `=` on the command line."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, tuple):
        return "[" + ", ".join(json.dumps(v) if isinstance(v, str) else to_text(v) for v in value) + "]"
    if isinstance(value, str) and (value != value.strip() or not value.isprintable()):
        return json.dumps(value, ensure_ascii=False)  # bare, its ends would be lost
    return str(value)


def coerce(value: Any, annotation: Any, path: str, example: Any = None) -> Any:
    """A TOML value as the annotation's type; an int serves as a float, a list as a tuple, "none" as None.

    Raises `ConfigError` naming `path`, what was expected, what was found, and an example.
    """
    refuse_unwritable(value, path)
    members = leaves(annotation)
    if isinstance(value, str) and value == "none" and type(None) in members:
        return None
    for leaf in members:
        if leaf is type(value):
            return value
    for leaf in members:
        converted, ok = _coerce_leaf(value, leaf, path)
        if ok:
            return converted
    hint = f" For example {path}={to_text(example)}." if example not in (None, ()) else ""
    words = [word for leaf in members if get_origin(leaf) is Literal for word in get_args(leaf)]
    close = nearest(value, map(str, words)) if isinstance(value, str) else ""
    raise ConfigError(f"{path}: expected {describe(annotation)}, got {value!r}{close}.{hint}")


def refuse_unwritable(value: Any, path: str) -> None:
    """Refuse what no part can mean or no config file can hold: NaN, halves of characters, integers beyond 64 bits."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ConfigError(f"{path}: {len(str(abs(value)))} digits are more than an integer of 64 bits has.")
    if isinstance(value, float) and math.isnan(value):
        raise ConfigError(f"{path}: nan is no number that a setting can have.")
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        raise ConfigError(f"{path}: {value!r} holds bytes that are not UTF-8 text: write it in UTF-8.")


def _coerce_leaf(value: Any, leaf: Any, path: str) -> tuple[Any, bool]:
    origin, arguments = get_origin(leaf), get_args(leaf)
    if leaf is Any or leaf is object:
        return value, True
    if origin is Literal:
        matches = [choice for choice in arguments if choice == value and type(choice) is type(value)]
        return (matches[0], True) if matches else (None, False)
    if leaf is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return (float(value), True) if number else (None, False)
    if leaf is int and isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return int(value), True
    if leaf is Path and isinstance(value, str):
        return Path(value), True
    if isinstance(leaf, type) and issubclass(leaf, enum.Enum):
        matches = [member for member in leaf if member.value == value]
        return (matches[0], True) if matches else (None, False)
    if origin in (tuple, frozenset) and isinstance(value, list | tuple):
        return _coerce_sequence(list(value), origin, arguments, path)
    if origin is not None and issubclass_safe(origin, Mapping) and isinstance(value, Mapping):
        return {key: coerce(item, arguments[1], f"{path}.{key}") for key, item in value.items()}, True
    return None, False


def _coerce_sequence(
    value: list[Any], origin: type, arguments: tuple[Any, ...], path: str
) -> tuple[Any, bool]:
    if origin is frozenset or (len(arguments) == 2 and arguments[1] is ...):
        return origin(coerce(item, arguments[0], f"{path}.{i}") for i, item in enumerate(value)), True
    if len(value) != len(arguments):
        return None, False
    pairs = zip(value, arguments, strict=True)
    return tuple(coerce(item, kind, f"{path}.{i}") for i, (item, kind) in enumerate(pairs)), True


def issubclass_safe(candidate: Any, base: Any) -> bool:
    """`issubclass`, and false when either is no class (a `Literal`, a `tuple[int, ...]`)."""
    plain = isinstance(candidate, type) and isinstance(base, type) and get_origin(base) is None
    return plain and issubclass(candidate, base)


def parse_toml(text: str) -> dict[str, Any]:
    """The tables that the text spells. Raises `TOMLDecodeError` whatever is wrong."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise tomllib.TOMLDecodeError("it is nested too deeply") from None
    except ValueError as error:  # an integer of thousands of digits
        raise tomllib.TOMLDecodeError("a number in it has too many digits") from error


def toml_value(text: str) -> Any:
    """The one value that the text spells, all of it: no comment, no second line. Raises `TOMLDecodeError`."""
    tables = parse_toml(f"value = {text}")
    inside = parse_toml(f"value = [{text}]")["value"]  # a comment would swallow the bracket
    if len(tables) > 1 or len(inside) > 1:
        raise tomllib.TOMLDecodeError("it says more than one value")
    return tables["value"]


def readings(text: str, annotation: Any) -> list[Any]:
    """Every TOML value that the text after `=` may stand for, the most specific first."""
    text = text.strip()
    found: list[Any] = []
    if text.lower() in ("true", "false"):
        found.append(text.lower() == "true")
    try:
        found.append(toml_value(text))
    except tomllib.TOMLDecodeError:
        for number in (int, float):
            try:
                found.append(number(text))
                break
            except ValueError:
                continue
    found.append(text)
    if any(get_origin(leaf) in (tuple, frozenset) for leaf in leaves(annotation)) and not text.startswith(
        "["
    ):
        items = [item for item in text.split(",") if item.strip()]
        found[-1:] = [[readings(item, Any)[0] for item in items], text]
    return found
