"""One row of a task file becomes a prompt, an answer and columns, or a sentence saying what is wrong with it.

Imports no torch. A row is refused, never repaired: a file that says something else than it seems to would train
something else than it seems to.
"""

import difflib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, cast, get_args

from critica.environments.base import EnvironmentProblem
from critica.records.words import Message, Role

MAX_ROW_BYTES = 2**24
MAX_DEPTH = 64
MAX_NAMES_SHOWN = 12
ROLES: tuple[Role, ...] = get_args(Role)
MESSAGE_KEYS = ("role", "content", "tool_calls", "tool_call_id")
ABSENT = object()  # what a row says in a column that it does not have


class TaskFileProblem(EnvironmentProblem):
    """A task file cannot be used as it is; the text names the file, the row, the column and what to change."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column asks and which one holds the answer; every other one goes to `Task.info`."""

    prompt: str
    answer: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands, for people: `tasks.jsonl, line 7`."""

    file: str
    unit: str
    number: int

    def refuse(self, problem: str) -> NoReturn:
        """Raise `TaskFileProblem` saying where."""
        raise TaskFileProblem(f"{self.file}, {self.unit} {self.number}: {problem}")


@dataclass(frozen=True, slots=True)
class Row:
    """What a row says. `answer` is empty if it has none: an answer that is there is never empty."""

    messages: tuple[Message, ...]
    answer: str
    info: Mapping[str, Any]

    @property
    def prompt(self) -> str:
        """The messages' contents joined by newlines, as `Task.prompt` has it."""
        return "\n".join(message.content for message in self.messages)


def parse_line(raw: bytes, columns: Columns, place: Place) -> Row:
    """The row that one line of JSON holds. Raises `TaskFileProblem`."""
    return parse_record(decode_line(raw, place), columns, place)


def decode_line(raw: bytes, place: Place) -> dict[str, Any]:
    """One line as a JSON object, strictly: UTF-8, each column once, no NaN, no infinity."""
    if len(raw) > MAX_ROW_BYTES:
        place.refuse(f"it is longer than {MAX_ROW_BYTES:,} bytes: is every task on a line of its own?")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            place.refuse(f"column {shown(twice)} is written twice: keep one")
        return found

    def no_number(word: str) -> NoReturn:
        place.refuse(f"{word} is no JSON number: write null, or leave the column out")

    try:
        record = json.loads(raw.decode("utf-8"), object_pairs_hook=once, parse_constant=no_number)
    except TaskFileProblem:
        raise
    except UnicodeDecodeError as error:
        place.refuse(f"byte {error.start + 1} is not UTF-8: save the file as UTF-8")
    except json.JSONDecodeError as error:
        place.refuse(f"it is not JSON ({error.msg} at character {error.pos + 1}): write one JSON object a line")
    except ValueError:
        place.refuse("a number in it has thousands of digits: write it as text")
    except RecursionError:
        place.refuse(f"it is nested deeper than {MAX_DEPTH} levels: flatten it")
    if not isinstance(record, dict):
        place.refuse(f'it is {kind(record)}, not an object: write {{"prompt": "…", "answer": "…"}}')
    return record


def parse_record(record: Mapping[str, Any], columns: Columns, place: Place) -> Row:
    """The row that a record of named columns holds. Raises `TaskFileProblem`."""
    require_plain(record, place)
    asked, answered = lookup(record, columns.prompt), lookup(record, columns.answer)
    if asked is ABSENT:
        place.refuse(f"there is no column {shown(columns.prompt)}{near(columns.prompt, record)}")
    messages = _messages(asked, columns.prompt, place)
    answer = _answer(None if answered is ABSENT else answered, columns.answer, place)
    info = {name: value for name, value in record.items() if name not in (columns.prompt, columns.answer)}
    return Row(messages, answer, info)


def lookup(record: Mapping[str, Any], column: str) -> Any:
    """The value of a column, or with dots of a field inside of one (`reward_model.ground_truth`); ABSENT for none."""
    if column in record:
        return record[column]
    value: Any = record
    for name in column.split("."):
        if not isinstance(value, dict) or name not in value:
            return ABSENT
        value = value[name]
    return value


def _messages(value: Any, column: str, place: Place) -> tuple[Message, ...]:
    if isinstance(value, str):
        if not value.strip():
            place.refuse(f"column {shown(column)} is empty: a task asks something")
        return (Message("user", value),)
    if not isinstance(value, list):
        place.refuse(f"column {shown(column)} is {kind(value)}: write text, or a list of {{role, content}} messages")
    if not value:
        place.refuse(f"column {shown(column)} is an empty list: a task has at least one message")
    messages = tuple(_message(item, f"{column}[{number}]", place) for number, item in enumerate(value))
    if messages[-1].role == "assistant":
        place.refuse(f"column {shown(column)} ends with the assistant's words: end it with what is to be answered")
    if not any(message.content.strip() for message in messages):
        place.refuse(f"column {shown(column)} has only empty messages: a task asks something")
    return messages


def _message(value: Any, column: str, place: Place) -> Message:
    if not isinstance(value, dict):
        place.refuse(f"column {shown(column)} is {kind(value)}: a message is an object with role and content")
    given = {name: item for name, item in value.items() if item is not None}  # Parquet fills structs up with null
    unknown = [name for name in given if name not in MESSAGE_KEYS]
    if unknown:
        place.refuse(f"column {shown(column)} has {shown(unknown[0])}: a message has {', '.join(MESSAGE_KEYS)}")
    role, content = given.get("role"), given.get("content")
    if role not in ROLES:
        place.refuse(f"column {shown(column)} has the role {shown(role)}: it is one of {', '.join(ROLES)}")
    if not isinstance(content, str):
        place.refuse(f"column {shown(column)} has as content {kind(content)}: it must be text")
    calls, call_id = given.get("tool_calls", []), given.get("tool_call_id", "")
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        place.refuse(f"column {shown(column)} has tool_calls that are no list of objects: write them as OpenAI does")
    if not isinstance(call_id, str):
        place.refuse(f"column {shown(column)} has as tool_call_id {kind(call_id)}: it must be text")
    return Message(cast(Role, role), content, tuple(calls), call_id)


def _answer(value: Any, column: str, place: Place) -> str:
    """The answer as text; empty for none."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        place.refuse(f"column {shown(column)} is {kind(value)}: an answer is text or a number")
    if isinstance(value, str) and not value.strip():
        place.refuse(f"column {shown(column)} is empty, and an empty text would be right: write the answer")
    return str(value)


def require_plain(record: Mapping[str, Any], place: Place) -> None:
    """Refuse what JSON cannot carry, so that a task travels to a worker and back unchanged."""
    for name, value in record.items():
        _require_text(name, name, place)
        _require_plain(value, name, place)


def _require_plain(value: Any, column: str, place: Place, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        place.refuse(f"column {shown(column)} is nested deeper than {MAX_DEPTH} levels: flatten it")
    if isinstance(value, str):
        _require_text(value, column, place)
    elif isinstance(value, float):
        if not math.isfinite(value):
            place.refuse(f"column {shown(column)} holds {value}, which is no JSON number: write null")
    elif isinstance(value, dict):
        for name, item in value.items():
            if not isinstance(name, str):
                place.refuse(f"column {shown(column)} has a key that is {kind(name)}: keys are text")
            _require_text(name, column, place)
            _require_plain(item, column, place, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _require_plain(item, column, place, depth + 1)
    elif value is not None and not isinstance(value, bool | int):
        place.refuse(f"column {shown(column)} holds {kind(value)}, which JSON cannot carry: write it as text")


def _require_text(text: str, column: str, place: Place) -> None:
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        place.refuse(f"column {shown(column)} holds half a surrogate pair, which is no character: write the whole one")


def near(name: str, names: Iterable[str], setting: str = "prompt") -> str:
    """`: the nearest is 'question', the columns are …`, for a column that is not there."""
    known = list(names)
    listed = ", ".join(shown(other) for other in known[:MAX_NAMES_SHOWN]) + (", …" if known[MAX_NAMES_SHOWN:] else "")
    close = difflib.get_close_matches(name, known, 1, 0.5)
    nearest = f"; the nearest is {shown(close[0])}" if close else ""
    return (
        f"{nearest}. The columns here are: {listed or 'none'}; say which one it is, as in --set environment.{setting}=…"
    )


def kind(value: Any) -> str:
    """What a value is, as a person would say it."""
    if value is None:
        return "null"
    names = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}
    return names.get(type(value), f"a {type(value).__name__}")


def shown(value: Any) -> str:
    """A name in quotes, short enough for a sentence."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…{text[-1]}"
