"""How far the set that a response names is the right one: the Jaccard index. Imports no torch."""

import json
import re
from collections.abc import Set
from typing import Any

from critica.rewards.judges import Check
from critica.rewards.wire import Declined, TaskView

BRACKETS = re.compile(r"\[[^\[\]]*\]|\{[^{}]*\}")


def set_overlap(exact: bool, unparsed: str, weighted: bool) -> Check:
    """The check of `SetOverlap`. Raises ValueError if the task's own set cannot be read."""

    def check(task: TaskView, text: str) -> float | Declined:
        gold = _gold(task)
        said = read_set(text)
        if said is None:
            return 0.0 if unparsed == "zero" else Declined("found no list in [...] or {...}")
        share = float(said == gold) if exact else jaccard(said, gold)
        return share * _weight(task) if weighted else share

    return check


def jaccard(said: Set[str], gold: Set[str]) -> float:
    """|said and gold| / |said or gold|; two empty sets are the same set, 1."""
    return len(said & gold) / len(said | gold) if said or gold else 1.0


def read_set(text: str) -> frozenset[str] | None:
    """The members of the last [...] or {...} of a text, JSON or separated by commas; None without one."""
    found = BRACKETS.findall(text.rpartition("</think>")[2])
    if not found:
        return None
    return frozenset(member for member in map(_plain, _members(found[-1])) if member)


def _members(written: str) -> list[Any]:
    try:
        listed = json.loads(f"[{written[1:-1]}]")
    except (ValueError, RecursionError):
        return re.split(r"[,;\n]", written[1:-1])
    return listed


def _plain(member: Any) -> str:
    return " ".join(str(member).split()).strip("\"'").casefold()


def _gold(task: TaskView) -> frozenset[str]:
    if isinstance(task.info.get("members"), list):
        return frozenset(map(_plain, task.info["members"]))
    found = read_set(task.answer)
    if found is None:
        raise ValueError(
            f"the task's own answer {task.answer[:80]!r} is no [...] or {{...}}, and its info has no `members`"
        )
    return found


def _weight(task: TaskView) -> float:
    weight = task.info.get("reward_weight")
    if not isinstance(weight, int | float) or not 0.0 <= weight <= 1.0:
        raise ValueError("the task's info has no `reward_weight` between 0 and 1: add it, or set reward.weighted=false")
    return float(weight)
