"""The built-in verifiers' own code, made in a worker from plain settings. Imports no torch."""

import importlib
import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from critica.environments.numbers import last_number, parse_number
from critica.rewards.wire import Declined, Judge, Noted, TaskView

Check = Callable[[TaskView, str], float | Noted | Declined]
ELSEWHERE: Mapping[str, tuple[str, str]] = MappingProxyType(  # kind: where its check is made from the settings
    {
        "strict_math": ("critica.rewards.strict_math", "strict_math"),
        "math_verify": ("critica.rewards.math_library", "library_math"),
        "json_schema": ("critica.rewards.json_schema_check", "json_schema"),
        "set_overlap": ("critica.rewards.set_overlap_check", "set_overlap"),
        "proper_scoring": ("critica.rewards.proper_scoring_check", "proper_scoring"),
        "constraints": ("critica.rewards.constraint_checks", "constraints"),
        "post_time": ("critica.rewards.forecast_check", "relative_forecast"),
        "distraction": ("critica.rewards.distraction_check", "distraction"),
        "format": ("critica.rewards.format_check", "format_check"),
    }
)


def make_judge(settings: Mapping[str, Any]) -> Judge:
    """The judge of a verifier's settings: a tree of kinds, see `make_check`."""
    check = make_check(settings)
    return Judge(settings.get("name", settings["kind"]), False, lambda items: [check(items[0].task, items[0].text)])


def make_check(settings: Mapping[str, Any]) -> Check:
    """exact, numeric, regex (over another check), environment (a scorer by address), or one of `ELSEWHERE`."""
    kind = settings["kind"]
    if kind == "live":
        return settings["check"]
    if kind in ELSEWHERE:
        module, factory = ELSEWHERE[kind]
        rest = {name: value for name, value in settings.items() if name not in ("kind", "name")}
        return getattr(importlib.import_module(module), factory)(**rest)
    if kind == "exact":
        return exact(settings["ignore_case"])
    if kind == "numeric":
        return numeric(settings["tolerance"])
    if kind == "regex":
        return regex(settings["pattern"], make_check(settings["then"]))
    factory = getattr(importlib.import_module(settings["module"]), settings["factory"])
    return environment(factory(settings["settings"]), settings["threshold"])


def exact(ignore_case: bool) -> Check:
    """1 if the text is the answer, outer white space aside. Raises if the task has no answer."""

    def check(task: TaskView, text: str) -> float:
        said, wanted = text.strip(), task.answer.strip()
        if not wanted:
            raise ValueError("the task has no answer to compare with: judge it with a reward of your own, or name its"
                             " answer column")  # fmt: skip
        return float(said.casefold() == wanted.casefold() if ignore_case else said == wanted)

    return check


def numeric(tolerance: float) -> Check:
    """1 if the number that the text ends on is within tolerance * max(1, |answer|) of the answer.

    What can be read in two ways (`1,2`, `4 or 5`, `10-3`, `x12`, `5 million`) is no number: see `numbers.last_number`.
    """

    slack = Fraction(tolerance)
    wanted_of = lru_cache(maxsize=4096)(parse_number)  # the samples of a prompt share their answer

    def check(task: TaskView, text: str) -> float:
        wanted = wanted_of(task.answer.strip())
        if wanted is None:
            raise ValueError(f"the task's own answer {task.answer!r} is not a number: use `exact` for such tasks")
        said = last_number(text)
        if said is None or said == wanted:
            return float(said is not None)
        return float(abs(said - wanted) <= slack * max(1, abs(wanted)))

    return check


def regex(pattern: str, then: Check) -> Check:
    """What the last match holds (its first group, if it has one) goes to the next check; no match is a wrong answer."""
    compiled = re.compile(pattern, re.DOTALL)

    def check(task: TaskView, text: str) -> float | Noted | Declined:
        matches = list(compiled.finditer(text))
        if not matches:
            return 0.0
        found = matches[-1][1 if compiled.groups else 0]
        return 0.0 if found is None else then(task, found)

    return check


def environment(score: Callable[[str, Mapping[str, Any], str], float], threshold: float | None) -> Check:
    """The environment's scorer; with a threshold 1 at or above it, else 0; without one its raw partial credit."""

    return lambda task, text: at_least(threshold, float(score(task.answer, task.info, text)))


def at_least(threshold: float | None, value: float) -> float:
    """1 if value >= threshold, else 0. The raw value without a threshold or if not finite, an error to be seen."""
    return value if threshold is None or not math.isfinite(value) else float(value >= threshold)
