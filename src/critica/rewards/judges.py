"""The built-in verifiers' own code, made in a worker from plain settings. Imports no torch."""

import importlib
import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from critica.rewards.wire import Judge, TaskView

Check = Callable[[TaskView, str], float]
NUMBER = re.compile(r"[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?:\s*/\s*\d+(?:\.\d+)?)?")


def make_judge(settings: Mapping[str, Any]) -> Judge:
    """The judge of a verifier's settings: a tree of kinds, see `make_check`."""
    check = make_check(settings)
    return Judge(settings["kind"], False, lambda items: [check(items[0].task, items[0].text)])


def make_check(settings: Mapping[str, Any]) -> Check:
    """exact, numeric, regex (over another check), or environment (a scorer by address)."""
    kind = settings["kind"]
    if kind == "exact":
        return exact(settings["ignore_case"])
    if kind == "numeric":
        return numeric(settings["tolerance"])
    if kind == "regex":
        return regex(settings["pattern"], make_check(settings["then"]))
    factory = getattr(importlib.import_module(settings["module"]), settings["factory"])
    return environment(factory(settings["settings"]), settings["threshold"])


def exact(ignore_case: bool) -> Check:
    """1 if the text is the answer, outer white space aside."""

    def check(task: TaskView, text: str) -> float:
        said, wanted = text.strip(), task.answer.strip()
        return float(said.casefold() == wanted.casefold() if ignore_case else said == wanted)

    return check


def numeric(tolerance: float) -> Check:
    """1 if the last number in the text is within tolerance * max(1, |answer|) of the answer."""

    def check(task: TaskView, text: str) -> float:
        wanted = parse_number(task.answer.strip())
        if wanted is None:
            raise ValueError(f"the task's own answer {task.answer!r} is not a number: use `exact` for such tasks")
        found = NUMBER.findall(text)
        said = parse_number(found[-1]) if found else None
        if said is None:
            return 0.0
        return float(abs(said - wanted) <= Fraction(tolerance) * max(1, abs(wanted)))

    return check


def parse_number(text: str) -> Fraction | None:
    """The exact value of `-1,234.5`, `3e-2` or `3/4`; None for anything else, infinity and a zero denominator."""
    if not NUMBER.fullmatch(text):
        return None
    above, _, below = text.replace(",", "").partition("/")
    exponent = re.search(r"[eE]([-+]?\d+)", above)
    if exponent and abs(int(exponent[1])) > 400:  # an exact 1e999999999 would fill the memory
        return None
    divisor = Fraction(below.strip() or 1)
    return None if divisor == 0 else Fraction(above.strip()) / divisor


def regex(pattern: str, then: Check) -> Check:
    """What the last match holds (its first group, if it has one) goes to the next check; no match is a wrong answer."""
    compiled = re.compile(pattern, re.DOTALL)

    def check(task: TaskView, text: str) -> float:
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
