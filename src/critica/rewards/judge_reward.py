"""A judge as a reward: every answer on its own, by a list of criteria."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from critica.environments.base import Environment
from critica.records.supervision import Outcome, Scale, Scored, Verdict
from critica.rewards.base import RewardConfig, ScoreRequest
from critica.rewards.exposure import read_needs
from critica.rewards.judge_base import Asking, JudgePart
from critica.rewards.judge_criteria import (
    GRADES,
    INSTRUCTIONS,
    Criterion,
    Plan,
    Said,
    Wanted,
    check_criteria,
    known_mean,
    plan_criteria,
    shown,
)
from critica.rewards.judge_http import HttpJudge
from critica.rewards.judge_panel import Panel, Question
from critica.rewards.judge_source import JudgedSource, asked_parts
from critica.rewards.judge_text import Section
from critica.rewards.workers import WorkerLimits

QUALITY = Criterion("quality", "How good is the response as an answer to the task?", choices=GRADES)


@dataclass(frozen=True)
class JudgeReward(RewardConfig):
    """Asks `judge` about each answer by `criteria`; told are their weighted mean, or with `apart` each by itself.

    The judge is shown the answer and the task's fields named in `needs`, and nothing else is there to be shown.
    `per_call` criteria go into one question (0: all; 1 is dearer, and keeps a criterion from coloring the next). A
    criterion that does not apply, or whose answer cannot be read, leaves the mean, and lowers the confidence if it
    applies; without any the answer has no outcome. `apart` is for `placement.combination=normalize_then_sum`.
    """

    judge: JudgePart = field(default_factory=HttpJudge)
    criteria: tuple[Criterion, ...] = (QUALITY,)
    apart: bool = False
    needs: tuple[str, ...] = ("prompt",)
    per_call: int = 0
    instructions: str = INSTRUCTIONS
    asking: Asking = Asking()

    def __post_init__(self) -> None:
        read_needs(self.needs)
        check_criteria(self.criteria)
        if not self.criteria or self.per_call < 0:
            raise ValueError("reward.criteria needs at least one criterion, and reward.per_call cannot be negative")
        if any(criterion.route != "judge" for criterion in self.criteria):
            raise ValueError("this reward only judges: take reward=rubric for criteria that are extracted and verified")

    def build(self, environment: Environment, limits: WorkerLimits = WorkerLimits()) -> "JudgeRewardSource":  # noqa: B008
        """The live source."""
        return JudgeRewardSource(self, Panel(self.judge.build(environment, limits), self.asking))


class JudgeRewardSource(JudgedSource):
    """The live source."""

    name = "judge"

    def __init__(self, part: JudgeReward, panel: Panel) -> None:
        self.part, self.panel = part, panel
        self.needs = read_needs(part.needs)
        self.most_ahead = math.ceil(len(part.criteria) / (part.per_call or len(part.criteria)))
        self.scales = (
            tuple(Scale(criterion.id, 0.0, 1.0) for criterion in part.criteria)
            if part.apart
            else (Scale(self.name, 0.0, 1.0),)
        )

    def judge(self, items: Sequence[ScoreRequest]) -> list[Verdict]:
        """All criteria of all answers in one round of questions."""
        plan = self._plan(items)
        return [self._verdict(said) for said in plan.read(self.panel.ask(plan.questions))]

    def ahead(self, item: ScoreRequest) -> Sequence[Question]:
        """All criteria of the answer."""
        return self._plan([item]).questions

    def _plan(self, items: Sequence[ScoreRequest]) -> Plan:
        part = self.part
        wanted = [
            Wanted((*shown(item.task, part.needs), Section("response", item.text)), part.criteria) for item in items
        ]
        return plan_criteria(wanted, part.per_call, part.instructions)

    def _verdict(self, said: Said) -> Verdict:
        groups = [(criterion,) for criterion in self.part.criteria] if self.part.apart else [self.part.criteria]
        outcomes: list[Outcome] = []
        for criteria in groups:
            found = known_mean(criteria, said.values)
            outcomes.append(Scored(*found) if isinstance(found, tuple) else found)
        return Verdict(tuple(outcomes), asked_parts(said.questions, said.values), cost=float(said.tokens))
