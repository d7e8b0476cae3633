"""Which rows of a task file are kept: conditions such as `level == easy | medium`, `difficulty <= 3`.

A row that does not meet every condition is left out, and counted. `prompt_tokens` is no column: it is the length of the
prompt in the policy's own tokens, with the chat template.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from critica.environments.rows import ABSENT, Place, TaskFileProblem, kind, lookup, shown

PROMPT_TOKENS = "prompt_tokens"
COMPARISONS = ("<=", ">=", "<", ">")
FORM = re.compile(r"\s*(?P<column>[^<>=!|]*[^<>=!|\s])\s*(?P<sign><=|>=|==|!=|<|>)\s*(?P<value>[^=].*)\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Condition:
    """`column` compared with `values` (several only for == and !=), as it was written in `text`."""

    text: str
    column: str
    sign: str
    values: tuple[str, ...]

    @property
    def of_length(self) -> bool:
        """Whether it is about the prompt's length in tokens."""
        return self.column == PROMPT_TOKENS

    def admits(self, record: Mapping[str, Any], place: Place) -> bool:
        """Whether a row meets it. Null, or no such column, is equal to `null` alone and never larger or smaller.

        Raises `TaskFileProblem` where something other than a number would be compared by size.
        """
        value = lookup(record, self.column)
        if self.sign not in COMPARISONS:
            among = any(equal(None if value is ABSENT else value, text) for text in self.values)
            return among == (self.sign == "==")
        if value is None or value is ABSENT:
            return False
        if isinstance(value, bool) or not isinstance(value, int | float):
            place.refuse(
                f"column {shown(self.column)} is {kind(value)}, and environment.keep asks whether it is {self.sign}"
                f" {self.values[0]}: only numbers have a size; compare with == and |"
            )
        return self.compares(value)

    def compares(self, number: int | float) -> bool:
        """Whether this number is below or above, as the sign says."""
        bound = float(self.values[0])
        return {"<=": number <= bound, ">=": number >= bound, "<": number < bound, ">": number > bound}[self.sign]


def parse_condition(text: str) -> Condition:
    """The condition that is written so. Raises `TaskFileProblem` with an example."""
    found = FORM.fullmatch(text)
    if found is None:
        raise TaskFileProblem(
            f"keep: {shown(text)} is no condition: write COLUMN, one of == != < <= > >=, and a value, as in"
            " 'difficulty <= 3', 'level == easy | medium' or 'prompt_tokens <= 512'"
        )
    column, sign, value = found["column"], found["sign"], found["value"].strip()
    if sign in COMPARISONS and not is_number(value):
        raise TaskFileProblem(f"keep: {shown(text)} compares with {shown(value)}: write a number after {sign}")
    if column == PROMPT_TOKENS and sign not in COMPARISONS:
        raise TaskFileProblem(f"keep: {shown(text)}: bound a length, as in 'prompt_tokens <= 512'")
    several = sign not in COMPARISONS
    return Condition(text.strip(), column, sign, tuple(v.strip() for v in value.split("|")) if several else (value,))


def is_number(text: str) -> bool:
    """Whether the text is a finite number."""
    try:
        return abs(float(text)) < float("inf")
    except ValueError:
        return False


def equal(value: Any, text: str) -> bool:
    """Whether a value is what the text says: a text as it is, anything else as JSON writes it (3 and 3.0 are one)."""
    if isinstance(value, str):
        return value.strip() == text
    if isinstance(value, int | float) and not isinstance(value, bool):
        return is_number(text) and float(text) == value
    return json.dumps(value, sort_keys=True) == text
