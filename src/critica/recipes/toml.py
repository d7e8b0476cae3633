"""The resolved config as TOML text, each value followed by where it comes from, and back to tables."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from critica.recipes.coercion import ConfigError, parse_toml

HEADER = re.compile(r"^\[(?P<path>[^\[\]]+)\]$")
ENTRY = re.compile(r"^(?P<key>[A-Za-z0-9_-]+) = ")


def write_toml(tables: Mapping[str, Any], notes: Mapping[str, str]) -> str:
    """The tables as TOML. `notes` maps a path (`critic.quantiles`; `critic`: the whole part) to a comment."""
    import tomli_w

    lines, prefix = [], ""
    for line in tomli_w.dumps(tables).removesuffix("\n").split("\n"):  # a text may hold other line separators
        header, entry = HEADER.match(line), ENTRY.match(line)
        path = ""
        if header:
            path = header["path"]
            prefix = f"{path}."
        elif line.startswith("[["):
            prefix = f"{line}."  # an element of a list has no path of its own to be noted at
        elif entry:
            path = prefix + entry["key"]
        note = "".join(filter(str.isprintable, " ".join(notes.get(path, "").split())))
        lines.append(f"{line}  # {note}" if note and not line.endswith("[") else line)
    return "\n".join(lines) + "\n"


def read_toml(path: Path) -> dict[str, Any]:
    """The file's tables. Raises `ConfigError` naming the file, and the line that is not TOML."""
    try:
        return parse_toml(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: byte {error.start}.") from error
