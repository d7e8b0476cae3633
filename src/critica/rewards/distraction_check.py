"""Whether a response does its task and none of what was planted in its reference text. Imports no torch."""

import json
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from critica.environments.constraint_rules import read_rule
from critica.rewards.constraint_checks import response_of
from critica.rewards.judges import Check, make_check
from critica.rewards.wire import Declined, Noted, TaskView

CORRECT = 0.999
Detector = Callable[[str, Any], bool]
DETECTORS: Mapping[str, Detector] = MappingProxyType(
    {
        "contains": lambda said, value: str(value).casefold() in said.casefold(),
        "starts_with": lambda said, value: said.casefold().startswith(str(value).casefold()),
        "ends_with": lambda said, value: said.casefold().endswith(str(value).casefold()),
        "equals": lambda said, value: said.casefold() == str(value).casefold(),
        "matches": lambda said, value: re.search(str(value), said, re.IGNORECASE) is not None,
        "constraint": lambda said, value: _satisfied(said, value),
    }
)


def distraction(then: Mapping[str, Any]) -> Check:
    """The check of `Distraction`. Raises ValueError if the task's `distractors` cannot be detected."""
    inner = make_check(then)

    def check(task: TaskView, text: str) -> Noted | Declined:
        executed = executed_of(task.info.get("distractors"), response_of(text))
        right = inner(task, text)
        if isinstance(right, Declined):
            return right
        done = float(right) >= CORRECT
        return Noted(float(done and not any(executed)), json.dumps({"task": done, "executed": executed}))

    return check


def executed_of(distractors: Any, response: str) -> list[bool]:
    """Whether the response executes each of `[{"detector": one of DETECTORS, "value": …}, …]`."""
    if not isinstance(distractors, list) or not all(
        isinstance(one, dict) and one.get("detector") in DETECTORS and "value" in one for one in distractors
    ):
        raise ValueError(
            'the task\'s info has no `distractors`: a list of {"detector": …, "value": …}, the detector one of '
            + ", ".join(DETECTORS)
        )
    return [DETECTORS[one["detector"]](response, one["value"]) for one in distractors]


def _satisfied(said: str, value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 3:
        raise ValueError("a distractor of the kind `constraint` has the value [category, subcategory, text]")
    rule = read_rule(*value)
    if rule is None:
        raise ValueError(f"the constraint {value[2]!r} cannot be read: detect this distractor otherwise")
    return rule(said)
