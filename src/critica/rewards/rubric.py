"""A rubric with tiers: criteria are judged or extracted and verified, and none buys back an essential one (RLR^3)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from critica.environments.base import Environment
from critica.functional.rubrics import Hierarchy, hierarchical, hierarchical_bound
from critica.records.supervision import Abstained, Outcome, Scale, Scored, Verdict
from critica.rewards.base import RewardConfig, RewardSource, Scope, ScoreRequest
from critica.rewards.exposure import read_needs
from critica.rewards.judge_base import Asking, JudgePart
from critica.rewards.judge_criteria import (
    Criterion,
    Plan,
    Value,
    Wanted,
    check_criteria,
    criteria_of,
    known_mean,
    plan_criteria,
    shown,
)
from critica.rewards.judge_extract import extract_question, verified
from critica.rewards.judge_http import HttpJudge
from critica.rewards.judge_panel import Panel, Question
from critica.rewards.judge_source import JudgedSource, asked_parts
from critica.rewards.judge_text import Section
from critica.rewards.verifiers import EnvironmentScorer
from critica.rewards.workers import WorkerLimits


@dataclass(frozen=True)
class Rubric(RewardConfig):
    """`criteria`, and those of each task's `info[key]`, told as one score that compares siblings.

    The score is `functional.rubrics.hierarchical`: essential criteria first, additional ones only among siblings that
    met all essential ones, criteria that everybody meets or nobody without weight (`saturate`). It is in deviations
    of the group, so take it beside a critic that compares siblings, and an advantage that does not scale again.
    Minimal exposure: the extractor is shown the response, what to copy, and `extractor_sees`, never an answer; the
    judge `judge_sees`. Source: RLR^3 (arXiv 2605.30244), routes and tiers; equations ours.
    """

    judge: JudgePart = field(default_factory=HttpJudge)
    criteria: tuple[Criterion, ...] = ()
    key: str = "rubric"
    verifier: RewardConfig = field(default_factory=EnvironmentScorer)
    bonus: float = 0.3
    saturate: bool = True
    judge_sees: tuple[str, ...] = ("prompt",)
    extractor_sees: tuple[str, ...] = ("prompt",)
    asking: Asking = Asking()

    def __post_init__(self) -> None:
        check_criteria(self.criteria)
        for name in (*self.judge_sees, *self.extractor_sees):
            read_needs((name,))
            if name in ("info", f"info.{self.key}"):
                raise ValueError(f"{name} holds the rubric itself, with its answers: name the entries that are needed")
        if "answer" in self.extractor_sees:
            raise ValueError("the extractor would copy the answer it is shown: leave it out of extractor_sees")
        if not 0.0 <= self.bonus < math.inf:
            raise ValueError(f"reward.bonus is {self.bonus}: it must be 0 or above, and finite")
        if not self.criteria and not self.key:
            raise ValueError("a rubric needs criteria: in reward.criteria, or in the tasks (reward.key)")

    @property
    def scope(self) -> Scope:
        return "group"

    def build(self, environment: Environment, limits: WorkerLimits = WorkerLimits()) -> "RubricSource":  # noqa: B008
        """The live source."""
        panel = Panel(self.judge.build(environment, limits), self.asking)
        return RubricSource(self, panel, self.verifier.build(environment, limits))


class RubricSource(JudgedSource):
    """The live source. It sees the whole task, because the rule does; what a model is shown is picked out below."""

    name = "rubric"
    scope = "group"
    most_ahead = None

    def __init__(self, part: Rubric, panel: Panel, verifier: RewardSource) -> None:
        self.part, self.panel, self.verifier = part, panel, verifier
        bound = hierarchical_bound(part.bonus)
        self.scales = (Scale(self.name, -bound, bound),)

    def judge(self, items: Sequence[ScoreRequest]) -> list[Verdict]:
        """One round of questions: what is judged and what is extracted, for all siblings of all groups."""
        part = self.part
        criteria = [criteria_of(item.task, part.criteria, part.key) for item in items]
        plan, copied, extracts = self._plan(items, criteria)
        heard = self.panel.ask([*plan.questions, *extracts])
        said, copies = plan.read(heard[: len(plan.questions)]), heard[len(plan.questions) :]
        values = [dict(one.values) for one in said]
        questions, tokens = [one.questions for one in said], [one.tokens for one in said]
        checked = verified([(items[i], criterion) for i, criterion in copied], copies, self.verifier)
        for (i, criterion), value, one in zip(copied, checked, copies, strict=True):
            values[i][criterion.id] = value
            questions[i], tokens[i] = questions[i] + one.questions, tokens[i] + one.tokens
        groups: dict[str, list[int]] = {}
        for i, item in enumerate(items):
            groups.setdefault(item.group, []).append(i)
        verdicts = dict[int, Verdict]()
        for members in groups.values():
            some = criteria[members[0]]
            if not some:
                why = f"task {items[members[0]].task.task_id!r} has no criteria: give it info[{part.key!r}]"
                verdicts |= dict.fromkeys(members, Verdict((Abstained(why),)))
                continue
            found = tiers(some, [values[i] for i in members], part.bonus, part.saturate)
            for k, i in enumerate(members):
                verdicts[i] = verdict_of(some, values[i], found, k, questions[i], tokens[i])
        return [verdicts[i] for i in range(len(items))]

    def ahead(self, item: ScoreRequest) -> Sequence[Question]:
        """What is judged and what is extracted."""
        plan, _, extracts = self._plan([item], [criteria_of(item.task, self.part.criteria, self.part.key)])
        return (*plan.questions, *extracts)

    def _plan(
        self, items: Sequence[ScoreRequest], criteria: Sequence[tuple[Criterion, ...]]
    ) -> tuple[Plan, list[tuple[int, Criterion]], list[Question]]:
        """(what is judged, what is extracted of which item, the questions for that)."""
        part = self.part
        judged = [
            Wanted(
                (*shown(item.task, part.judge_sees), Section("response", item.text)),
                tuple(criterion for criterion in some if criterion.route == "judge"),
            )
            for item, some in zip(items, criteria, strict=True)
        ]
        copied = [
            (i, criterion)
            for i, some in enumerate(criteria)
            for criterion in some
            if criterion.route == "extract_then_verify"
        ]
        extracts = [extract_question(items[i], criterion, part.extractor_sees) for i, criterion in copied]
        return plan_criteria(judged), copied, extracts

    def close(self) -> None:
        """End the judge and the rule."""
        super().close()
        self.verifier.close()


def tiers(criteria: Sequence[Criterion], values: Sequence[dict[str, Value]], bonus: float, saturate: bool) -> Hierarchy:
    """`hierarchical` over siblings whose criteria have these values."""
    cells = [[value if isinstance(value := row[c.id], float) else math.nan for row in values] for c in criteria]
    table = torch.tensor(cells, dtype=torch.float64).reshape(len(criteria), len(values))
    exempt = torch.tensor([[row[c.id] is None for row in values] for c in criteria], dtype=torch.bool)
    weights = torch.tensor([criterion.weight for criterion in criteria], dtype=torch.float64)
    essential = torch.tensor([criterion.tier == "essential" for criterion in criteria], dtype=torch.bool)
    return hierarchical(table, ~table.isnan(), weights, essential, bonus, saturate, exempt.reshape(table.shape))


def verdict_of(
    criteria: Sequence[Criterion], values: dict[str, Value], found: Hierarchy, k: int, questions: int, tokens: int
) -> Verdict:
    """Sibling k's verdict; without any known criterion the reason why."""
    known = known_mean(criteria, values)
    outcome: Outcome = Scored(float(found.score[k]), known[1]) if isinstance(known, tuple) else known
    parts = asked_parts(questions, values) | {
        "tier/essential": float(found.essential[k]),
        "tier/additional": float(found.additional[k]),
        "tier/passed": float(found.passed[k]),
    }
    return Verdict((outcome,), parts, cost=float(tokens))
