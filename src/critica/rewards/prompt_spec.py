"""Prompt-level specifications: a rubric and executable checks for each prompt, and a global grade that fades out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from critica.environments.base import Environment
from critica.records.supervision import Abstained, Failed, Outcome, Scale, Scored, Verdict
from critica.records.words import Task
from critica.rewards.base import RewardConfig, RewardSource, ScoreRequest
from critica.rewards.exposure import read_needs, visible
from critica.rewards.judge_base import Asking, JudgePart
from critica.rewards.judge_criteria import (
    Criterion,
    Plan,
    Said,
    Wanted,
    check_criteria,
    criteria_of,
    known_mean,
    plan_criteria,
    shown,
)
from critica.rewards.judge_http import HttpJudge
from critica.rewards.judge_panel import Panel, Question
from critica.rewards.judge_reward import QUALITY
from critica.rewards.judge_source import JudgedSource, asked_parts
from critica.rewards.judge_text import Section
from critica.rewards.schedule import Schedule
from critica.rewards.spec_file import CRITERIA, SpecChecks, SpecFile
from critica.rewards.workers import WorkerLimits


@dataclass(frozen=True)
class PromptSpec(RewardConfig):
    """r = (1 - alpha) (w_r s_r + w_c s_c) / (w_r + w_c) + alpha s_g.

    s_r: the weighted mean of the criteria (`criteria`, and the prompt's own); s_c: the mean of `checkers`, each on its
    range scaled to [0, 1]; s_g: a judge's grade of the whole answer over 10; alpha: `fading` at the step. What is
    missing leaves both sums; once alpha is 0 nobody is asked for s_g. `specs` is a file made before training, see
    `spec_file.SpecFile`; without one a task's info may hold `rubric` and `checks`.
    Source: prompt-level reward specifications (arXiv 2605.29275): parts, and alpha from 1 to 0 over 800 steps; the
    mixture is ours. What checks cannot see (meaning) is the rubric's to say.
    """

    judge: JudgePart = field(default_factory=HttpJudge)
    criteria: tuple[Criterion, ...] = ()
    checkers: tuple[RewardConfig, ...] = field(default_factory=lambda: (SpecChecks(),))
    weights: tuple[float, float] = (1.0, 1.0)
    fading: Schedule = Schedule()
    specs: str = ""
    judge_sees: tuple[str, ...] = ("prompt",)
    asking: Asking = Asking()

    def __post_init__(self) -> None:
        check_criteria(self.criteria)
        read_needs(self.judge_sees)
        if any(criterion.route != "judge" for criterion in self.criteria):
            raise ValueError("criteria are judged here: what code can check goes into reward.checkers")
        if min(self.weights) < 0 or not 0 < sum(self.weights) < math.inf:
            raise ValueError(f"reward.weights are {self.weights}: of rubric and checks, not negative and not both 0")
        if max(self.fading.start, self.fading.end) > 1:
            raise ValueError("reward.fading is the share of the global grade: between 0 and 1")
        if any(checker.scope != "sample" for checker in self.checkers):
            raise ValueError("reward.checkers look at one answer at a time: take others than those that compare")

    def build(self, environment: Environment, limits: WorkerLimits = WorkerLimits()) -> "PromptSpecSource":  # noqa: B008
        """The live source. Raises `SpecProblem` for a file of specifications that cannot be used."""
        specs = SpecFile.read(self.specs) if self.specs else SpecFile()
        panel = Panel(self.judge.build(environment, limits), self.asking)
        return PromptSpecSource(self, panel, specs, [one.build(environment, limits) for one in self.checkers])


class PromptSpecSource(JudgedSource):
    """The live source. It sees the whole task, because checkers do; the judge is shown `judge_sees`."""

    name = "prompt_spec"
    most_ahead = 2
    scales = (Scale("prompt_spec", 0.0, 1.0),)

    def __init__(self, part: PromptSpec, panel: Panel, specs: SpecFile, checkers: Sequence[RewardSource]) -> None:
        self.part, self.panel, self.specs, self.checkers = part, panel, specs, checkers

    def judge(self, items: Sequence[ScoreRequest]) -> list[Verdict]:
        """One round for rubric and grade, one of checks."""
        part = self.part
        tasks = [self.specs.equipped(item.task) for item in items]
        criteria = [criteria_of(task, part.criteria, CRITERIA) for task in tasks]
        alphas = [part.fading.at(item.step) for item in items]
        plan = self._plan(items, tasks, criteria, alphas)
        said = plan.read(self.panel.ask(plan.questions))
        asked = [
            ScoreRequest(task, i.trajectory_id, i.text, i.group, i.step) for task, i in zip(tasks, items, strict=True)
        ]
        checks = [checked(checker, asked) for checker in self.checkers]
        return [
            self._verdict(criteria[i], alphas[i], (said[i], said[len(items) + i]), [row[i] for row in checks])
            for i in range(len(items))
        ]

    def ahead(self, item: ScoreRequest) -> Sequence[Question]:
        """Its rubric, and its grade while that counts."""
        task = self.specs.equipped(item.task)
        criteria = criteria_of(task, self.part.criteria, CRITERIA)
        return self._plan([item], [task], [criteria], [self.part.fading.at(item.step)]).questions

    def _plan(
        self,
        items: Sequence[ScoreRequest],
        tasks: Sequence[Task],
        criteria: Sequence[tuple[Criterion, ...]],
        alphas: Sequence[float],
    ) -> Plan:
        sees = self.part.judge_sees
        seen = [
            (*shown(visible(task, read_needs(sees)), sees), Section("response", item.text))
            for task, item in zip(tasks, items, strict=True)
        ]
        rubric = [Wanted(sections, some) for sections, some in zip(seen, criteria, strict=True)]
        overall = [
            Wanted(sections, (QUALITY,) if alpha > 0 else ()) for sections, alpha in zip(seen, alphas, strict=True)
        ]
        return plan_criteria([*rubric, *overall])

    def _verdict(
        self, criteria: Sequence[Criterion], alpha: float, said: tuple[Said, Said], checks: Sequence[Outcome]
    ) -> Verdict:
        """One answer's. What is missing leaves the sums, and what has failed lowers the confidence."""
        rubric, overall = said
        s_r = known_mean(criteria, rubric.values) if criteria else Abstained("this prompt has no criteria")
        held = [one.value for one in checks if isinstance(one, Scored)]
        lost = next((one for one in checks if not isinstance(one, Scored)), Abstained("this prompt has no checks"))
        s_c = (math.fsum(held) / len(held), 1.0) if held else lost
        s_g = known_mean((QUALITY,), overall.values) if alpha > 0 else Abstained("faded out")
        w_r, w_c = self.part.weights
        whole = [((1 - alpha) * w_r, s_r, "rubric"), ((1 - alpha) * w_c, s_c, "checks")]
        graded = [(alpha, s_g, "global")]
        mixed = [*_normalized(whole, 1 - alpha), *_normalized(graded, alpha)]
        if not mixed:
            said_nothing = [found for found in (s_r, s_c, s_g) if not isinstance(found, tuple)]
            failed = [found for found in said_nothing if isinstance(found, Failed)]
            outcome: Outcome = (failed or said_nothing)[0]
        else:
            total = math.fsum(share for share, *_ in mixed)
            asked = [(share, found) for share, found, _ in (*whole, *graded) if not isinstance(found, Abstained)]
            sure = math.fsum(share * found[1] for share, found in asked if isinstance(found, tuple))
            outcome = Scored(
                math.fsum(share * value for share, value, _ in mixed) / total,
                min(1.0, sure / math.fsum(share for share, _ in asked)),
            )
        parts = {}
        for share, value, name in mixed:
            parts |= {f"part/{name}": value, f"part/{name}_weight": share}
        questions, tokens = rubric.questions + overall.questions, rubric.tokens + overall.tokens
        return Verdict((outcome,), asked_parts(questions, rubric.values) | parts, cost=float(tokens))

    def close(self) -> None:
        """End the judge and the checkers."""
        super().close()
        for checker in self.checkers:
            checker.close()


def _normalized(
    parts: Sequence[tuple[float, tuple[float, float] | Abstained | Failed, str]], total: float
) -> list[tuple[float, float, str]]:
    """(share, value, name) of the parts that have a value, their shares adding up to `total`."""
    known = [(share, found[0], name) for share, found, name in parts if isinstance(found, tuple) and share > 0]
    weight = math.fsum(share for share, _, _ in known)
    return [(total * share / weight, value, name) for share, value, name in known]


def checked(checker: RewardSource, items: Sequence[ScoreRequest]) -> list[Outcome]:
    """A checker's outcomes on [0, 1]."""
    width = checker.high - checker.low
    return [
        Scored((said.value - checker.low) / width, said.confidence) if isinstance(said, Scored) else said
        for said in checker.scores(items)
    ]
