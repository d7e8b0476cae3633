"""How much a stated forecast betters the prior one that the prompt gave. Imports no torch."""

import math
import re
from typing import Any

from critica.rewards.judges import Check
from critica.rewards.wire import TaskView

LIST = re.compile(r"\[([^\[\]]*)\]")
NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?")


def relative_forecast(epsilon: float, parsed: float, unparsed: float) -> Check:
    """The check of `RelativeForecast`. Raises ValueError without a `prior` and a `truth` of as many numbers."""

    def check(task: TaskView, text: str) -> float:
        prior, truth = (_numbers(task.info.get(name), name) for name in ("prior", "truth"))
        if len(prior) != len(truth):
            raise ValueError(f"the task's prior has {len(prior)} numbers and its truth {len(truth)}")
        said = read_forecast(text, len(truth))
        return unparsed if said is None else improvement(said, prior, truth, epsilon) + parsed

    return check


def improvement(said: list[float], prior: list[float], truth: list[float], epsilon: float) -> float:
    """clip(1 - err(said) / (err(prior) + epsilon), -1, 1), with err the mean absolute error.

    1 for the truth, about 0 for a copy of the prior, -1 for twice its error or more. Where the prior is exact, only
    errors well below epsilon are paid.
    """
    ratio = mean_error(said, truth) / (mean_error(prior, truth) + epsilon)
    return max(-1.0, min(1.0, 1.0 - ratio))


def mean_error(one: list[float], other: list[float]) -> float:
    """Mean absolute difference."""
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(other)


def read_forecast(text: str, count: int) -> list[float] | None:
    """The numbers of the last [...] of a text, or, where one is asked for, the last number; None if not so many."""
    text = text.rpartition("</think>")[2]
    lists = LIST.findall(text)
    if lists:
        parts = [part.strip() for part in lists[-1].split(",")]
    else:
        parts = [found[0] for found in NUMBER.finditer(text)][-1:] if count == 1 else []
    if len(parts) != count or not all(NUMBER.fullmatch(part) for part in parts):
        return None
    found = [float(part) for part in parts]
    return found if all(map(math.isfinite, found)) else None


def _numbers(value: Any, name: str) -> list[float]:
    listed = value if isinstance(value, list) else [value]
    plain = [item for item in listed if isinstance(item, int | float) and not isinstance(item, bool)]
    if not listed or len(plain) < len(listed) or not all(map(math.isfinite, plain)):
        raise ValueError(f"the task's info has no `{name}`: a number, or a list of numbers")
    return [float(item) for item in plain]
