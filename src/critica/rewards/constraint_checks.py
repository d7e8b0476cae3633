"""How many of a task's constraints a response satisfies: `info["constraints"]`, a list of [category, sub, text].

`count` is what MulDimIF trains on (not a share), `all` is what it tests, `share` is ours for when prompts with many
constraints should not weigh more. A constraint that cannot be read is missing, not failed: it is left out of count and
share, and `all` is then unknown unless one that can be read has failed. Imports no torch.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from critica.environments.constraint_rules import Rule, read_rule
from critica.rewards.judges import Check
from critica.rewards.wire import Declined, Noted, TaskView


def constraints(pay: str, most: int) -> Check:
    """The check of `Constraints`. Raises ValueError if the task has no list of constraints, or one that is too long."""

    def check(task: TaskView, text: str) -> Noted | Declined:
        told = verdicts(_listed(task.info, most), response_of(text))
        known = [verdict for verdict in told if verdict is not None]
        if not known:
            return Declined(f"cannot read any of its {len(told)} constraints")
        note = json.dumps(told)
        if pay == "all":
            if False not in known and len(known) < len(told):
                return Declined(f"cannot read {len(told) - len(known)} of its {len(told)} constraints")
            return Noted(float(False not in known), note)
        return Noted(sum(known) / (len(known) if pay == "share" else 1.0), note)

    return check


def response_of(text: str) -> str:
    """What follows `</think>`, if anything does."""
    return text.rpartition("</think>")[2].strip()


def verdicts(listed: Sequence[Sequence[str]], response: str) -> list[bool | None]:
    """Satisfied, not satisfied, or None for a constraint that cannot be read; in order."""
    rules = [rule_of(*constraint) for constraint in listed]
    return [None if rule is None else rule(response) for rule in rules]


@lru_cache(maxsize=8192)
def rule_of(category: str, subcategory: str, text: str) -> Rule | None:
    """`read_rule`, remembered."""
    return read_rule(category, subcategory, text)


def _listed(info: Mapping[str, Any], most: int) -> Sequence[Sequence[str]]:
    listed = info.get("constraints")
    if not isinstance(listed, list) or not listed or not all(
        isinstance(one, list) and len(one) == 3 and all(isinstance(part, str) for part in one) for one in listed
    ):  # fmt: skip
        raise ValueError("the task's info has no `constraints`: a list of [category, subcategory, text]")
    if len(listed) > most:
        raise ValueError(f"the task has {len(listed)} constraints, more than the declared {most}: set reward.most")
    return listed
