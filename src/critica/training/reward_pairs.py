"""Preference pairs on disk: a prompt, the answer that was preferred, the one that was not, and columns beside them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from critica.functional.random import uniforms
from critica.records.words import EMPTY, Message, Role

MOST_VALUES = 20  # a column with more values than this cuts no slices
LEAST_PAIRS = 5  # nor does one with fewer pairs a value, on the average: it names rows
NAMES = ("prompt", "chosen", "rejected")


class BadPairs(ValueError):
    """A file of preference pairs cannot be read, or not for this; the text says which line and what to write."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One comparison. `columns` holds whatever else the line says, as text."""

    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    columns: Mapping[str, str] = field(default_factory=lambda: EMPTY, hash=False)

    @property
    def prompt_text(self) -> str:
        """The messages' contents by line."""
        return "\n".join(message.content for message in self.prompt)

    @property
    def swapped(self) -> "Pair":
        """The same two answers with the other one preferred."""
        return replace(self, chosen=self.rejected, rejected=self.chosen)


@dataclass(frozen=True, slots=True)
class PairFile:
    """The pairs of a file, in its order, and the SHA-256 of its bytes: where a reward model comes from."""

    path: str
    sha256: str
    pairs: tuple[Pair, ...]


def read_pairs(path: Path | str) -> PairFile:
    """A JSONL file of {"prompt", "chosen", "rejected", …}: texts, or lists of messages of which an answer is one.

    Every other key is a column. Raises `BadPairs` with the line and what is wrong there, FileNotFoundError.
    """
    path = Path(path)
    raw = path.read_bytes()
    pairs = []
    for number, line in enumerate(raw.decode("utf-8", errors="replace").splitlines(), 1):
        if line.strip():
            try:
                pairs.append(_pair(json.loads(line)))
            except (ValueError, TypeError, KeyError) as error:
                raise BadPairs(f"{path}, line {number}: {_reason(error)}") from error
    if not pairs:
        raise BadPairs(f"{path} holds no pairs: write one JSON object per line, with prompt, chosen and rejected")
    return PairFile(str(path), hashlib.sha256(raw).hexdigest(), tuple(pairs))


def _pair(line: Any) -> Pair:
    if not isinstance(line, dict):
        raise ValueError("a line is a JSON object with prompt, chosen and rejected")
    missing = [name for name in NAMES if name not in line]
    if missing:
        raise ValueError(f"{' and '.join(missing)} is missing: it has {', '.join(sorted(line)) or 'no keys'}")
    columns = {key: value if isinstance(value, str) else json.dumps(value, sort_keys=True)
               for key, value in line.items() if key not in NAMES}  # fmt: skip
    chosen, rejected = answer_of(line["chosen"], "chosen"), answer_of(line["rejected"], "rejected")
    return Pair(prompt_of(line["prompt"]), chosen, rejected, columns)


def prompt_of(said: Any) -> tuple[Message, ...]:
    """A text as one message of the user, or the messages of a list. Raises ValueError."""
    if isinstance(said, str):
        return (Message("user", said),)
    if not isinstance(said, list) or not said or not all(isinstance(one, dict) for one in said):
        raise ValueError("prompt is a text or a list of messages {role, content}")
    return tuple(Message(cast(Role, one["role"]), str(one["content"])) for one in said)


def answer_of(said: Any, name: str) -> str:
    """A text, or the content of the one message of the assistant in a list. Raises ValueError."""
    if isinstance(said, str):
        return said
    if isinstance(said, list) and len(said) == 1 and isinstance(said[0], dict) and said[0].get("role") == "assistant":
        return str(said[0]["content"])
    raise ValueError(f"{name} is a text, or a list of exactly one message of the assistant (the prompt goes to prompt)")


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"no JSON ({error.msg} at column {error.colno})"
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def slices_of(pairs: Sequence[Pair], columns: Sequence[str] = ()) -> dict[str, list[int]]:
    """`column=value` -> which pairs, for these columns; by default for all with 2 to 20 values of five pairs or more.

    Raises `BadPairs` for a column that no pair has.
    """
    names = list(dict.fromkeys(name for pair in pairs for name in pair.columns))
    for name in columns:
        if name not in names:
            raise BadPairs(f"no pair has a column {name!r}: there are {', '.join(names) or 'none'}")
    found: dict[str, list[int]] = {}
    for name in columns or names:
        values: dict[str, list[int]] = {}
        for index, pair in enumerate(pairs):
            if name in pair.columns:
                values.setdefault(pair.columns[name], []).append(index)
        enough = sum(map(len, values.values())) >= LEAST_PAIRS * len(values)
        if columns or (2 <= len(values) <= MOST_VALUES and enough):
            found |= {f"{name}={value}": rows for value, rows in sorted(values.items())}
    return found


def split_by_prompt(pairs: Sequence[Pair], held_out: float, seed: int) -> tuple[list[int], list[int]]:
    """(training, held-out) pairs: a prompt is wholly on one side. At least one prompt is on either.

    Raises `BadPairs` for fewer than two prompts.
    """
    prompts = list(dict.fromkeys(pair.prompt_text for pair in pairs))
    if len(prompts) < 2:
        raise BadPairs("all pairs ask the same prompt, so none can be held out: bring pairs about several")
    draws = dict(zip(prompts, (float(uniforms(seed, "pairs/split", prompt, count=1)[0]) for prompt in prompts),
                     strict=True))  # fmt: skip
    count = min(len(prompts) - 1, max(1, round(held_out * len(prompts))))
    aside = set(sorted(prompts, key=lambda prompt: draws[prompt])[:count])
    kept = [i for i, pair in enumerate(pairs) if pair.prompt_text not in aside]
    return kept, [i for i, pair in enumerate(pairs) if pair.prompt_text in aside]
