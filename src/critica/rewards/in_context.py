"""A judge that adapts to somebody's taste: it reads what they preferred before, and grades as they would."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from critica.environments.base import Environment
from critica.records.supervision import Outcome, Scale, Scored, Verdict
from critica.rewards.base import RewardConfig, ScoreRequest
from critica.rewards.exposure import read_needs
from critica.rewards.judge_base import Asking, JudgePart
from critica.rewards.judge_criteria import GRADES, Criterion, Plan, Wanted, known_mean, plan_criteria, shown
from critica.rewards.judge_http import HttpJudge
from critica.rewards.judge_panel import Panel, Question
from critica.rewards.judge_source import JudgedSource, asked_parts
from critica.rewards.judge_text import Section, attributed
from critica.rewards.workers import WorkerLimits

TASTE = Criterion("taste", "How much would this person like the response?", choices=GRADES)
INSTRUCTIONS = (
    "The examples show which of two responses one person preferred, and how long they took to say so: a quick choice"
    " was a clear one. Infer what this person cares about, and judge the response as they would, not as you would."
)


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One choice that somebody made between two responses to a prompt, and how long it took (0: not known)."""

    prompt: str
    preferred: str
    other: str
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.seconds < float("inf"):
            raise ValueError(f"a choice took {self.seconds} seconds: it must be 0 or above, and finite")


@dataclass(frozen=True)
class InContextReward(RewardConfig):
    """A judge's grade of each answer after `demonstrations` of somebody's choices, from 0 to 1.

    `condition` gives the same reward for other choices: nothing is trained. `path` reads them from JSON lines with the
    fields of `Demonstration`. Source: in-context reward adaptation (arXiv 2605.30323), which trains a transformer for
    it and finds that response times remove a bias of its estimate; here a language model reads the same examples as
    text, with no such guarantee. The fewer examples, the more of the judge's own taste is left.
    """

    judge: JudgePart = field(default_factory=HttpJudge)
    demonstrations: tuple[Demonstration, ...] = ()
    path: str = ""
    needs: tuple[str, ...] = ("prompt",)
    asking: Asking = Asking()

    def __post_init__(self) -> None:
        read_needs(self.needs)
        if self.path and self.demonstrations:
            raise ValueError("reward.demonstrations and reward.path both say what was preferred: give one")

    def condition(self, demonstrations: Sequence[Demonstration]) -> "InContextReward":
        """The same reward for whoever made these choices."""
        return replace(self, demonstrations=tuple(demonstrations), path="")

    def build(self, environment: Environment, limits: WorkerLimits = WorkerLimits()) -> "InContextSource":  # noqa: B008
        """The live source. Raises ValueError if there is nothing to adapt to."""
        examples = read_demonstrations(str(Path(self.path).absolute())) if self.path else self.demonstrations
        if not examples:
            raise ValueError("nobody's choices are given: set reward.path, or take reward=judge for the judge's own")
        return InContextSource(self, Panel(self.judge.build(environment, limits), self.asking), examples)


class InContextSource(JudgedSource):
    """The live source."""

    name = "in_context"
    scales = (Scale("in_context", 0.0, 1.0),)

    def __init__(self, part: InContextReward, panel: Panel, examples: Sequence[Demonstration]) -> None:
        self.part, self.panel = part, panel
        self.needs = read_needs(part.needs)
        self._examples = [rendered(example) for example in examples]

    def judge(self, items: Sequence[ScoreRequest]) -> list[Verdict]:
        """One question an answer."""
        plan, verdicts = self._plan(items), []
        for said in plan.read(self.panel.ask(plan.questions)):
            found = known_mean((TASTE,), said.values)
            outcome: Outcome = Scored(*found) if isinstance(found, tuple) else found
            verdicts.append(Verdict((outcome,), asked_parts(said.questions, said.values), cost=float(said.tokens)))
        return verdicts

    def ahead(self, item: ScoreRequest) -> Sequence[Question]:
        """Its one question."""
        return self._plan([item]).questions

    def _plan(self, items: Sequence[ScoreRequest]) -> Plan:
        wanted = [
            Wanted((*self._examples, *shown(item.task, self.part.needs), Section("response", item.text)), (TASTE,))
            for item in items
        ]
        return plan_criteria(wanted, instructions=INSTRUCTIONS)


def rendered(example: Demonstration) -> Section:
    """The example as the judge reads it."""
    took = {"seconds": f"{example.seconds:g}"} if example.seconds else {}
    text = f"Prompt: {example.prompt}\nPreferred: {example.preferred}\nOver: {example.other}"
    return attributed("example", text, **took)


@lru_cache(maxsize=16)
def read_demonstrations(path: str) -> tuple[Demonstration, ...]:
    """The choices in a file of JSON lines. Raises ValueError naming the line."""
    found = []
    for number, line in enumerate(Path(path).read_text().splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if "seconds" in row:
                row["seconds"] = float(row["seconds"])
            found.append(Demonstration(**row))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
    return tuple(found)
