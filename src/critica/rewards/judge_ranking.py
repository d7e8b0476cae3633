"""Siblings side by side: a judge grades or compares all answers to a prompt at once, in orders that cancel its bias."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal

import torch

from critica.environments.base import Environment
from critica.functional.random import generator
from critica.functional.rubrics import standardized, standardized_bound
from critica.records.supervision import Abstained, Failed, Outcome, Scale, Scored, Verdict
from critica.rewards.base import RewardConfig, Scope, ScoreRequest
from critica.rewards.exposure import read_needs
from critica.rewards.judge_base import Asking, JudgePart
from critica.rewards.judge_criteria import (
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
from critica.rewards.judge_panel import Heard, Panel, Question
from critica.rewards.judge_reward import QUALITY
from critica.rewards.judge_source import JudgedSource, asked_parts
from critica.rewards.judge_text import Section, Unreadable, answer_object, attributed, question_messages
from critica.rewards.workers import WorkerLimits

INSTRUCTIONS = "You compare responses to one task. Their order means nothing."
BETTER = {"1": (1.0, 0.0), "2": (0.0, 1.0), "tie": (0.5, 0.5)}
TOP = 10.0


@dataclass(frozen=True)
class JudgeRanking(RewardConfig):
    """alone * z(an answer's own grade) + (1 - alone) * z(its grade among its siblings), z over the group.

    A judge that sees one answer at a time gives nearly all of them the same grade; side by side it tells them apart
    (Stable-Layers, arXiv 2605.30257; the mixture is ours). `grid` shows all siblings in `orders` orders, drawn by
    chance and each followed by its reverse, so that what a place in the list is worth is averaged out; `pairs` shows
    every pair both ways, G (G - 1) questions for G siblings. `alone` 0 asks side by side only. `told` wins, for pairs
    alone, tells the share of comparisons won, a tie counting half, in place of group deviations: an estimate of the win
    rate against the policy itself, which also judges have whose preferences go in circles.
    """

    judge: JudgePart = field(default_factory=HttpJudge)
    criteria: tuple[Criterion, ...] = (QUALITY,)
    compare: Literal["grid", "pairs"] = "grid"
    orders: int = 2
    alone: float = 0.5
    told: Literal["deviations", "wins"] = "deviations"
    needs: tuple[str, ...] = ("prompt",)
    seed: int = 0
    asking: Asking = Asking()

    def __post_init__(self) -> None:
        read_needs(self.needs)
        check_criteria(self.criteria)
        if not 0.0 <= self.alone < 1.0 or self.orders < 1:
            raise ValueError("reward.alone must lie in [0, 1), and reward.orders be at least 1")
        if self.told == "wins" and (self.compare != "pairs" or self.alone):
            raise ValueError("reward.told=wins is the share of pairs won: set reward.compare=pairs and reward.alone=0")

    @property
    def scope(self) -> Scope:
        return "group"

    def build(self, environment: Environment, limits: WorkerLimits = WorkerLimits()) -> "JudgeRankingSource":  # noqa: B008
        """The live source."""
        return JudgeRankingSource(self, Panel(self.judge.build(environment, limits), self.asking))


class JudgeRankingSource(JudgedSource):
    """The live source."""

    name = "judge_ranking"
    scope = "group"

    def __init__(self, part: JudgeRanking, panel: Panel) -> None:
        self.part, self.panel = part, panel
        self.needs = read_needs(part.needs)
        bound = standardized_bound()
        self.scales = (Scale(self.name, 0.0, 1.0) if part.told == "wins" else Scale(self.name, -bound, bound),)

    def judge(self, items: Sequence[ScoreRequest]) -> list[Verdict]:
        """Own grades, if they count, and one round of comparisons over all groups."""
        part = self.part
        groups: dict[str, list[int]] = {}
        for i, item in enumerate(items):
            groups.setdefault(item.group, []).append(i)
        own = [Said() for _ in items]
        if part.alone:
            plan = self._alone(items)
            own = plan.read(self.panel.ask(plan.questions))
        asked: list[tuple[tuple[int, ...], Question]] = []
        for members in groups.values():
            for order in self._orders(items[members[0]].task.prompt, members):
                asked.append((order, self._question([items[i] for i in order])))
        heard = self.panel.ask([question for _, question in asked])
        verdicts: list[Verdict | None] = [None] * len(items)
        for members in groups.values():
            mine = [(order, said) for (order, _), said in zip(asked, heard, strict=True) if order[0] in members]
            for i, verdict in zip(members, self._grade(members, own, mine), strict=True):
                verdicts[i] = verdict
        return [verdict for verdict in verdicts if verdict is not None]

    def ahead(self, item: ScoreRequest) -> Sequence[Question]:
        """Its own grade, if that counts."""
        return self._alone([item]).questions if self.part.alone else ()

    def _alone(self, items: Sequence[ScoreRequest]) -> Plan:
        part = self.part
        wanted = [Wanted((*shown(i.task, part.needs), Section("response", i.text)), part.criteria) for i in items]
        return plan_criteria(wanted)

    def _orders(self, prompt: str, members: Sequence[int]) -> list[tuple[int, ...]]:
        """The orders in which these siblings are shown, counted by (seed, prompt)."""
        if len(members) < 2:
            return []
        if self.part.compare == "pairs":
            return [order for a, b in combinations(members, 2) for order in ((a, b), (b, a))]
        chance, found = generator(self.part.seed, "judge_ranking", prompt), []
        for number in range(self.part.orders):
            order = found[-1][::-1] if number % 2 else tuple(members[i] for i in chance.permutation(len(members)))
            found.append(order)
        return found

    def _question(self, row: Sequence[ScoreRequest]) -> Question:
        sections = shown(row[0].task, self.part.needs)
        names = [str(place + 1) for place in range(len(row))]
        sections += [attributed("response", i.text, name=name) for name, i in zip(names, row, strict=True)]
        sections += [Section("criterion", criterion.text) for criterion in self.part.criteria]
        if self.part.compare == "pairs":
            return Question(question_messages(INSTRUCTIONS, sections, '{"better": "1|2|tie"}'), _read_better)
        form = json.dumps({"scores": dict.fromkeys(names, "0 to 10")})
        return Question(question_messages(INSTRUCTIONS, sections, form), lambda text: _read_scores(text, names))

    def _grade(
        self, members: Sequence[int], own: Sequence[Said], heard: Sequence[tuple[tuple[int, ...], Heard]]
    ) -> list[Verdict]:
        """The verdicts about one group."""
        part, count = self.part, len(members)
        alone, beside = torch.full((count,), torch.nan), torch.full((count,), torch.nan)
        why: list[Abstained | Failed | None] = [None] * count
        for k, i in enumerate(members):
            found = known_mean(part.criteria, own[i].values) if part.alone else Abstained("not asked")
            if isinstance(found, tuple):
                alone[k] = found[0]
            elif part.alone:
                why[k] = found
            grades = [said.said[order.index(i)] for order, said in heard if i in order and said.missing is None]
            if grades:
                beside[k] = sum(grades) / len(grades)
            elif count > 1:
                why[k] = why[k] or next(said.missing for order, said in heard if i in order)
        z1, z2 = standardized(alone, ~alone.isnan()), standardized(beside, ~beside.isnan())
        told = part.alone * z1 + (1 - part.alone) * z2
        if part.told == "wins":
            told = beside.nan_to_num(0.5)
        verdicts = []
        for k, i in enumerate(members):
            missing = why[k]
            outcome: Outcome = missing if missing is not None else Scored(float(told[k]))
            values = {"alone": float(alone[k]), "beside": float(beside[k])}
            kept = {name: value for name, value in values.items() if value == value}
            share = [said for order, said in heard if order[0] == i]  # a question's cost goes to whom it shows first
            questions = own[i].questions + sum(said.questions for said in share)
            tokens = own[i].tokens + sum(said.tokens for said in share)
            verdicts.append(Verdict((outcome,), asked_parts(questions, kept), cost=float(tokens)))
        return verdicts


def _read_better(text: str) -> tuple[float, float]:
    said = str(answer_object(text, "better")).strip().casefold()
    if said not in BETTER:
        raise Unreadable(f"{said!r} is none of 1, 2, tie")
    return BETTER[said]


def _read_scores(text: str, names: Sequence[str]) -> tuple[float, ...]:
    scores = answer_object(text, "scores")
    if not isinstance(scores, dict) or set(scores) != set(names):
        raise Unreadable(f"its scores are not those of responses {', '.join(names)}")
    found = []
    for name in names:
        value = scores[name]
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= TOP:
            raise Unreadable(f"{value!r} is no grade from 0 to 10")
        found.append(float(value))
    return tuple(found)
