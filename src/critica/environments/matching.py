"""The scorer of tasks that know their answer: a text is right if it is the answer. Imports no torch."""

from collections.abc import Callable, Mapping
from typing import Any

from critica.environments.answers import extract_answer


def make_scorer(settings: Mapping[str, Any]) -> Callable[[str, Mapping[str, Any], str], float]:
    """`score(answer, info, text)`: 1 if what `settings["extract"]` finds in the text is the answer, else 0."""
    rule = settings["extract"]

    def score(answer: str, info: Mapping[str, Any], text: str) -> float:
        wanted = answer.strip()
        if not wanted:
            raise ValueError("the task has no answer to compare with: judge it with a reward of your own")
        return float(extract_answer(text, rule, wanted) == wanted)

    return score
