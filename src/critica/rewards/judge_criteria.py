"""Criteria: what a judge is asked about an answer, one by one, and what it said of each."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, Literal

from critica.records.supervision import Abstained, Failed
from critica.records.words import Task
from critica.rewards.judge_panel import Heard, Panel, Question
from critica.rewards.judge_text import (
    Section,
    Unreadable,
    answer_object,
    attributed,
    choice_score,
    question_messages,
)

INSTRUCTIONS = (
    "You judge a response to a task. For each criterion say which of its choices fits best, or null where the"
    " criterion does not apply to this task."
)
GRADES = tuple(str(grade) for grade in range(11))


@dataclass(frozen=True, slots=True)
class Criterion:
    """One thing to look at. Choice k of n `choices` (worst first) scores k / (n - 1).

    `route` extract_then_verify lets a model copy what `text` names out of the response and a rule compare it with
    `answer`, or with the task's answer where that is empty; the model is not shown either.
    """

    id: str
    text: str
    tier: Literal["essential", "additional"] = "essential"
    weight: float = 1.0
    route: Literal["judge", "extract_then_verify"] = "judge"
    choices: tuple[str, ...] = ("no", "yes")
    answer: str = ""

    def __post_init__(self) -> None:
        if not self.id.strip() or not self.text.strip():
            raise ValueError("a criterion needs an id and a text")
        if not (0.0 <= self.weight < math.inf):
            raise ValueError(f"criterion {self.id!r} has weight {self.weight}: it must be 0 or above, and finite")
        names = [choice.strip().casefold() for choice in self.choices]
        if len(names) < 2 or len(set(names)) < len(names) or "" in names:
            raise ValueError(f"criterion {self.id!r} needs two or more different choices, worst first: {self.choices}")


Value = float | None | Abstained | Failed  # None: it does not apply


def check_criteria(criteria: Sequence[Criterion]) -> None:
    """Raises ValueError if two have one id, or none has a weight."""
    names = [criterion.id for criterion in criteria]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two criteria have the id {twice[0]!r}: ids tell them apart")
    if criteria and not sum(criterion.weight for criterion in criteria) > 0:
        raise ValueError("no criterion has a weight above 0")


def criteria_from(listed: object) -> tuple[Criterion, ...]:
    """Criteria from plain data: a list of tables with the fields of `Criterion` (`name` may stand for `id`)."""
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        raise ValueError("a rubric is a list of criteria, each with an id and a text")
    found = []
    for number, row in enumerate(listed):
        if not isinstance(row, Mapping):
            raise ValueError(f"criterion {number + 1} of a rubric is no table")
        given: dict[str, Any] = {"id": row.get("name", f"c{number + 1}"), **row}
        given.pop("name", None)
        unknown = set(given) - {item.name for item in fields(Criterion)}
        if unknown or not isinstance(given.get("text"), str):
            what = f"has no field {sorted(unknown)[0]!r}" if unknown else "needs a text"
            raise ValueError(f"criterion {given['id']!r} of a rubric {what}")
        if "choices" in given:
            given["choices"] = tuple(map(str, given["choices"]))
        if "weight" in given:
            given["weight"] = float(given["weight"])
        found.append(Criterion(**given))
    check_criteria(found)
    return tuple(found)


def criteria_of(task: Task, common: tuple[Criterion, ...], key: str) -> tuple[Criterion, ...]:
    """The common criteria, then those of the task's own `info[key]`."""
    own = criteria_from(task.info[key]) if key and key in task.info else ()
    check_criteria((*common, *own))
    return (*common, *own)


def shown(task: Task, needs: Sequence[str]) -> list[Section]:
    """What the declared fields hold, one section each."""
    sections = []
    for name in needs:
        if name == "prompt":
            sections.append(Section("task", task.prompt))
        elif name == "answer":
            sections.append(Section("reference", task.answer))
        elif name.startswith("info.") and name[5:] in task.info:
            value = task.info[name[5:]]
            text = value if isinstance(value, str) else json.dumps(value)
            sections.append(attributed("info", text, name=name[5:]))
    return sections


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a judge is to look at, and by which criteria."""

    sections: tuple[Section, ...]
    criteria: tuple[Criterion, ...]
    draw: int = 0


@dataclass(frozen=True, slots=True)
class Said:
    """What it said of each criterion, by id, and what that cost."""

    values: dict[str, Value] = field(default_factory=dict)
    questions: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """Questions about criteria, to be asked in one round with whatever else is asked, and whose answer each is."""

    questions: tuple[Question, ...]
    owners: tuple[tuple[int, tuple[Criterion, ...]], ...]
    count: int

    def read(self, heard: Sequence[Heard]) -> list[Said]:
        """What was said of each answer. A question without an answer is missing for each of its criteria."""
        said = [Said() for _ in range(self.count)]
        for (place, some), one in zip(self.owners, heard, strict=True):
            values = one.said if one.missing is None else dict.fromkeys([c.id for c in some], one.missing)
            before = said[place]
            said[place] = Said(before.values | values, before.questions + one.questions, before.tokens + one.tokens)
        return said


def plan_criteria(wanted: Sequence[Wanted], per_call: int = 0, instructions: str = INSTRUCTIONS) -> Plan:
    """Every criterion of every answer; `per_call` of an answer at a time (0: all)."""
    questions, owners = [], []
    for place, want in enumerate(wanted):
        size = per_call or max(1, len(want.criteria))
        for start in range(0, len(want.criteria), size):
            some = want.criteria[start : start + size]
            questions.append(criterion_question(want.sections, some, instructions, want.draw))
            owners.append((place, some))
    return Plan(tuple(questions), tuple(owners), len(wanted))


def ask_criteria(
    panel: Panel, wanted: Sequence[Wanted], per_call: int = 0, instructions: str = INSTRUCTIONS
) -> list[Said]:
    """`plan_criteria`, asked at once."""
    plan = plan_criteria(wanted, per_call, instructions)
    return plan.read(panel.ask(plan.questions))


def criterion_question(
    sections: Sequence[Section], criteria: Sequence[Criterion], instructions: str, draw: int = 0
) -> Question:
    """One question about some criteria of one answer."""
    asked = [attributed("criterion", c.text, id=c.id, choices="|".join(c.choices)) for c in criteria]
    form = json.dumps({"verdicts": {criterion.id: "|".join(criterion.choices) for criterion in criteria}})

    read = partial(read_verdicts, tuple(criteria))
    return Question(question_messages(instructions, [*sections, *asked], form), read, draw)


def read_verdicts(criteria: Sequence[Criterion], text: str) -> dict[str, Value]:
    """The score of each criterion. Raises `Unreadable` unless all of them are there."""
    verdicts = answer_object(text, "verdicts")
    if not isinstance(verdicts, dict):
        raise Unreadable("its verdicts are no table by criterion")
    lacking = [criterion.id for criterion in criteria if criterion.id not in verdicts]
    if lacking:
        raise Unreadable(f"it says nothing of {', '.join(lacking)}")
    return {criterion.id: choice_score(verdicts[criterion.id], criterion.choices) for criterion in criteria}


def known_mean(criteria: Sequence[Criterion], values: Mapping[str, Value]) -> tuple[float, float] | Abstained | Failed:
    """(sum w v / sum w over criteria with a value, the share of the applicable weight that has one).

    Criteria that do not apply leave both sums; so do those without an answer, which the share tells of. Where none
    has a value, the first reason why.
    """
    applying = [c for c in criteria if values.get(c.id) is not None and c.weight > 0]
    scored = [(c.weight, v) for c in applying if isinstance(v := values[c.id], float)]
    if not scored:
        missing = [v for c in applying if isinstance(v := values[c.id], Abstained | Failed)]
        return missing[0] if missing else Abstained("no criterion applies to this task")
    total = math.fsum(weight for weight, _ in scored)
    mean = math.fsum(weight * value for weight, value in scored) / total
    return mean, min(1.0, total / math.fsum(criterion.weight for criterion in applying))
