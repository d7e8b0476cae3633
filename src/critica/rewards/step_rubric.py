"""Rewards for steps: each step of an answer is judged where it stands, beside the outcome and what the step cost."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from critica.environments.base import Environment
from critica.records.supervision import Failed, Outcome, Scale, Scored, TextSpan, Verdict
from critica.rewards.base import RewardConfig, RewardSource, ScoreRequest
from critica.rewards.judge_base import Asking, JudgePart
from critica.rewards.judge_criteria import (
    Criterion,
    Said,
    Wanted,
    ask_criteria,
    check_criteria,
    known_mean,
    plan_criteria,
    shown,
)
from critica.rewards.judge_http import HttpJudge
from critica.rewards.judge_panel import Panel, Question
from critica.rewards.judge_source import QUESTIONS, JudgedSource
from critica.rewards.judge_text import Section
from critica.rewards.rubric_writer import named, writer_question
from critica.rewards.verifiers import EnvironmentScorer
from critica.rewards.workers import WorkerLimits

INSTRUCTIONS = (
    "You judge one step of a response to a task, where it stands: what was written before it is shown as the response."
)
SENSIBLE = Criterion("sensible", "Is this step a sensible way to go on?")
SEES = ("prompt",)
MOST_STEPS = 64


@dataclass(frozen=True)
class StepRubric(RewardConfig):
    """r = outcome + share * mean over steps of the criteria met - cost * mean over steps of what their route costs.

    Three objectives, kept apart until placement; each step's share lands on its own last token. Steps end at
    `separator`. A step that begins with `[NAME]` was routed to NAME, which costs `costs[NAME]`, from 0 to 1. Criteria
    are `criteria`, or `written` ones that the judge writes once for each task. Shared beginnings of siblings are judged
    once. Source: RoRo (routing steps, rubric, outcome and cost); the weights and means are ours. Not for answers of
    hundreds of steps: a step is a question.
    """

    judge: JudgePart = field(default_factory=HttpJudge)
    outcome: RewardConfig = field(default_factory=EnvironmentScorer)
    criteria: tuple[Criterion, ...] = (SENSIBLE,)
    written: int = 0
    share: float = 0.5
    cost: float = 0.0
    costs: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    separator: str = ";"
    asking: Asking = Asking()

    def __post_init__(self) -> None:
        check_criteria(self.criteria)
        if not self.criteria and not self.written:
            raise ValueError("steps need criteria: in reward.criteria, or written for each task (reward.written=3)")
        if not 0.0 < self.share < math.inf or not 0.0 <= self.cost < math.inf or self.written < 0:
            raise ValueError("reward.share must be above 0, and reward.cost and reward.written not negative")
        if not self.separator:
            raise ValueError("reward.separator is empty: it is what a step ends with")
        if not all(0.0 <= cost <= 1.0 for cost in self.costs.values()):
            raise ValueError("reward.costs are from 0 to 1: reward.cost says what the dearest is worth")

    def build(self, environment: Environment, limits: WorkerLimits = WorkerLimits()) -> "StepRubricSource":  # noqa: B008
        """The live source."""
        panel = Panel(self.judge.build(environment, limits), self.asking)
        return StepRubricSource(self, panel, self.outcome.build(environment, limits))


class StepRubricSource(JudgedSource):
    """The live source. The judge is shown the prompt and the answer so far; the outcome's rule sees the whole task."""

    name = "step_rubric"

    def __init__(self, part: StepRubric, panel: Panel, outcome: RewardSource) -> None:
        self.part, self.panel, self.outcome = part, panel, outcome
        self.most_ahead = 1 if part.written else MOST_STEPS
        scales = [Scale("outcome", outcome.low, outcome.high), Scale("process", 0.0, part.share)]
        self.scales = (*scales, *([Scale("cost", -part.cost, 0.0)] if part.cost else []))

    def judge(self, items: Sequence[ScoreRequest]) -> list[Verdict]:
        """The outcomes, then every step of every answer in one round of questions."""
        outcomes = self.outcome.scores(items)
        criteria, spent = self._criteria(items)
        steps = [steps_of(item.text, self.part.separator) for item in items]
        wanted, owners = [], []
        for i, item in enumerate(items):
            own = self._wanted(item, steps[i], criteria[i])
            wanted, owners = wanted + own, owners + [i] * len(own)
        said: list[list[Said]] = [[] for _ in items]
        for i, one in zip(owners, ask_criteria(self.panel, wanted, instructions=INSTRUCTIONS), strict=True):
            said[i].append(one)
        return [
            self._verdict(item, outcomes[i], criteria[i], steps[i], said[i], spent[i]) for i, item in enumerate(items)
        ]

    def ahead(self, item: ScoreRequest) -> Sequence[Question]:
        """Every step; where criteria are to be written, those."""
        if self.part.written:
            return (self._writer(item),)
        wanted = self._wanted(item, steps_of(item.text, self.part.separator), self.part.criteria)
        return plan_criteria(wanted, instructions=INSTRUCTIONS).questions

    def _wanted(
        self, item: ScoreRequest, steps: Sequence[tuple[int, int]], criteria: tuple[Criterion, ...]
    ) -> list[Wanted]:
        """What is to be judged of one answer: each step after those before it; nothing if there are too many."""
        return [
            Wanted(
                (
                    *shown(item.task, SEES),
                    Section("response", item.text[:start]),
                    Section("step", item.text[start:end]),
                ),
                criteria,
            )
            for start, end in steps[: len(steps) if len(steps) <= MOST_STEPS else 0]
        ]

    def _writer(self, item: ScoreRequest) -> Question:
        return writer_question(shown(item.task, SEES), (), self.part.written)

    def _criteria(self, items: Sequence[ScoreRequest]) -> tuple[list[tuple[Criterion, ...]], list[tuple[int, int]]]:
        """Each answer's criteria, and the questions and tokens that writing them took."""
        if not self.part.written:
            return [self.part.criteria] * len(items), [(0, 0)] * len(items)
        heard = self.panel.ask([self._writer(item) for item in items])
        written = [tuple(map(named, one.said)) if one.missing is None else () for one in heard]
        return [(*self.part.criteria, *own) for own in written], [(one.questions, one.tokens) for one in heard]

    def _verdict(
        self,
        item: ScoreRequest,
        outcome: Outcome,
        criteria: Sequence[Criterion],
        steps: Sequence[tuple[int, int]],
        said: Sequence[Said],
        spent: tuple[int, int],
    ) -> Verdict:
        """One answer's. A step without a verdict leaves the mean, and lowers its confidence."""
        part, found = self.part, [known_mean(criteria, one.values) for one in said]
        known = [(span, one) for span, one in zip(steps, found, strict=False) if isinstance(one, tuple)]
        spans: list[TextSpan] = []
        process: Outcome = Scored(0.0)
        if len(steps) > MOST_STEPS:
            process = Failed(f"the answer has {len(steps)} steps, and at most {MOST_STEPS} are judged")
        elif steps and not known:
            process = next(one for one in found if not isinstance(one, tuple))
        elif known:
            shares = [part.share * value / len(known) for _, (value, _) in known]
            spans = [TextSpan(*span, share, 1) for (span, _), share in zip(known, shares, strict=True)]
            sure = math.fsum(confidence for _, (_, confidence) in known) / len(steps)
            process = Scored(min(part.share, math.fsum(shares)), min(1.0, sure))
        outcomes: list[Outcome] = [outcome, process]
        if part.cost:
            paid = [part.costs.get(route_of(item.text[start:end]), 0.0) for start, end in steps]
            charged = [-part.cost * one / len(steps) for one in paid]
            outcomes.append(Scored(max(-part.cost, math.fsum(charged)) if charged else 0.0))
            spans += [TextSpan(*span, cost, 2) for span, cost in zip(steps, charged, strict=True) if cost]
        questions = spent[0] + sum(one.questions for one in said)
        parts = {f"step/{k + 1}": one[0] for k, one in enumerate(found) if isinstance(one, tuple)}
        tokens = spent[1] + sum(one.tokens for one in said)
        return Verdict(tuple(outcomes), parts | {QUESTIONS: float(questions)}, tuple(spans), float(tokens))

    def close(self) -> None:
        """End the judge and the rule."""
        super().close()
        self.outcome.close()


def steps_of(text: str, separator: str) -> list[tuple[int, int]]:
    """[start, end) of every piece between separators that is not blank, its separator included."""
    found, start = [], 0
    while start < len(text):
        at = text.find(separator, start)
        end = len(text) if at < 0 else at + len(separator)
        if text[start : end if at < 0 else at].strip():
            found.append((start, end))
        start = end
    return found


def route_of(step: str) -> str:
    """NAME of a step that begins with `[NAME]`; else empty."""
    name, bracket, _ = step.lstrip().partition("]")
    return name[1:] if bracket and name.startswith("[") else ""
