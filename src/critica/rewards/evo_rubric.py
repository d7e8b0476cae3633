"""Rubrics that evolve with the answers: criteria are written, checked, pruned, and remembered (EvoRubric)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from critica.environments.base import Environment
from critica.records.supervision import Abstained, Outcome, Scale, Scored, Verdict
from critica.rewards.base import RewardConfig, Scope, ScoreRequest
from critica.rewards.evo_pool import Judgment, RubricPool, survivors
from critica.rewards.exposure import read_needs
from critica.rewards.judge_base import Asking, JudgePart
from critica.rewards.judge_criteria import Criterion, Said, Wanted, ask_criteria, check_criteria, known_mean, shown
from critica.rewards.judge_http import HttpJudge
from critica.rewards.judge_panel import Panel, Question
from critica.rewards.judge_source import JudgedSource, asked_parts
from critica.rewards.judge_text import Section
from critica.rewards.rubric_writer import meta_question, named, writer_question
from critica.rewards.workers import WorkerLimits

WRITTEN = "criterion: "  # the part of a verdict that holds what a written criterion said; its text follows
ALONE = 0.5  # confidence where a criterion has no peers to agree with


@dataclass(frozen=True)
class EvoRubric(RewardConfig):
    """The weighted mean of `criteria` (an expert's, if any) and of written criteria that survived, from 0 to 1.

    At each visit to a prompt `proposals` new criteria are written, seen by a meta-verifier (atomic, checkable,
    relevant, about more than length), and judged on all siblings with those remembered. One that says the same of all
    is dropped, and one whose ranks agree with its peers' by less than `agreement` (Spearman, leave-one-out). Survivors
    stay in a pool, `pool` a prompt. Source: EvoRubric (arXiv 2605.29847); equations ours. There one policy writes
    criteria and answers and learns both; here the judge writes them and never learns (see the recipe of that name).
    What the writer would have earned is in `EvoRubricSource.judged`. Consensus keeps what most criteria say: where
    most are wrong alike, it keeps the error.
    """

    judge: JudgePart = field(default_factory=HttpJudge)
    criteria: tuple[Criterion, ...] = ()
    proposals: int = 4
    agreement: float = 0.2
    pool: int = 16
    similarity: float = 0.9
    needs: tuple[str, ...] = ("prompt",)
    asking: Asking = Asking()

    def __post_init__(self) -> None:
        check_criteria(self.criteria)
        read_needs(self.needs)
        if "prompt" not in self.needs:
            raise ValueError("reward.needs must name the prompt: criteria are written for it, and remembered by it")
        if self.proposals < 0 or self.pool < 1 or not -1 <= self.agreement <= 1 or not 0 < self.similarity <= 1:
            raise ValueError(
                "reward.proposals must be 0 or more, pool 1 or more, agreement in [-1, 1], similarity in (0, 1]"
            )

    @property
    def scope(self) -> Scope:
        return "group"

    def build(self, environment: Environment, limits: WorkerLimits = WorkerLimits()) -> "EvoRubricSource":  # noqa: B008
        """The live source, its pool empty."""
        return EvoRubricSource(self, Panel(self.judge.build(environment, limits), self.asking))


class EvoRubricSource(JudgedSource):
    """The live source. `judged` holds what became of each criterion of the last call, by group."""

    name = "evo_rubric"
    scope = "group"
    scales = (Scale("evo_rubric", 0.0, 1.0),)

    def __init__(self, part: EvoRubric, panel: Panel) -> None:
        self.part, self.panel = part, panel
        self.needs = read_needs(part.needs)
        self.pool = RubricPool(part.pool, part.similarity)
        self.judged: dict[str, list[Judgment]] = {}

    def judge(self, items: Sequence[ScoreRequest]) -> list[Verdict]:
        """Three rounds of questions: criteria are written, looked at, and applied."""
        groups = grouped(items)
        first = {name: items[members[0]] for name, members in groups.items()}
        task = {name: shown(item.task, self.part.needs) for name, item in first.items()}
        spent = {name: [0, 0] for name in groups}
        fresh = self._written(task, first, spent)
        texts = {name: tuple(dict.fromkeys((*self.pool.of(first[name].task.prompt), *fresh[name]))) for name in groups}
        wanted = []
        for item in items:
            criteria = (*self.part.criteria, *map(named, texts[item.group]))
            wanted.append(Wanted((*task[item.group], Section("response", item.text)), criteria))
        said = ask_criteria(self.panel, wanted)
        self.judged = {}
        verdicts: dict[int, Verdict] = {}
        for name, members in groups.items():
            rows = [said[i] for i in members]
            table = {text: [row.values.get(named(text).id) for row in rows] for text in texts[name]}
            judged = self._learn(first[name].task.prompt, table, self._experts(rows))
            self.judged[name] = judged
            for k, i in enumerate(members):
                verdicts[i] = self._verdict(said[i], judged, table, k, spent[name] if not k else [0, 0])
        return [verdicts[i] for i in range(len(items))]

    def _written(
        self, task: Mapping[str, list[Section]], first: Mapping[str, ScoreRequest], spent: Mapping[str, list[int]]
    ) -> dict[str, tuple[str, ...]]:
        """What is written about each group's prompt and passes the meta-verifier."""
        fresh: dict[str, tuple[str, ...]] = dict.fromkeys(task, ())
        if not self.part.proposals:
            return fresh
        drafts: list[tuple[str, str]] = []
        heard_of = self.panel.ask([self._writer(first[name]) for name in task])
        for name, heard in zip(task, heard_of, strict=True):
            spent[name][0] += heard.questions
            spent[name][1] += heard.tokens
            drafts += [(name, text) for text in (heard.said if heard.missing is None else ())]
        looked = self.panel.ask([meta_question(task[name], text) for name, text in drafts])
        for (name, text), heard in zip(drafts, looked, strict=True):
            spent[name][0] += heard.questions
            spent[name][1] += heard.tokens
            if heard.missing is None and heard.said:
                fresh[name] = (*fresh[name], text)
        return fresh

    def ahead(self, item: ScoreRequest) -> Sequence[Question]:
        """What is written about its prompt does not depend on the answers."""
        return (self._writer(item),) if self.part.proposals else ()

    def _writer(self, item: ScoreRequest) -> Question:
        known = self.pool.of(item.task.prompt)
        return writer_question(shown(item.task, self.part.needs), known, self.part.proposals, item.step)

    def _experts(self, rows: Sequence[Said]) -> Tensor:
        """What the expert's criteria say of the siblings, those that are known of all."""
        cells = [[row.values.get(criterion.id) for row in rows] for criterion in self.part.criteria]
        return _known(cells, len(rows))[1]

    def _learn(self, prompt: str, table: Mapping[str, Sequence[object]], experts: Tensor) -> list[Judgment]:
        """Prune, agree, remember. Criteria whose word on a sibling is missing are neither kept nor dropped."""
        places, values = _known(list(table.values()), experts.shape[1])
        texts = [list(table)[k] for k in places]
        judged = survivors(texts, values, experts, self.part.agreement)
        self.pool.learn(prompt, judged)
        return judged

    def _verdict(
        self,
        said: Said,
        judged: Sequence[Judgment],
        table: Mapping[str, Sequence[object]],
        k: int,
        spent: Sequence[int],
    ) -> Verdict:
        kept = [one for one in judged if one.kept]
        found = known_mean((*self.part.criteria, *(named(one.text) for one in kept)), said.values)
        outcome: Outcome = found if not isinstance(found, tuple) else Scored(*found)
        if isinstance(outcome, Scored) and kept and all(one.agreement != one.agreement for one in kept):
            outcome = Scored(outcome.value, ALONE * outcome.confidence)
        if isinstance(outcome, Abstained) and not self.part.criteria:
            outcome = Abstained("no written criterion tells these answers apart")
        experts = {criterion.id: said.values.get(criterion.id) for criterion in self.part.criteria}
        written = {f"{WRITTEN}{text}": row[k] for text, row in table.items()}
        parts = asked_parts(said.questions + spent[0], {**experts, **written})
        return Verdict((outcome,), parts, cost=float(said.tokens + spent[1]))

    def state_dict(self) -> dict[str, Any]:
        """The pool, and what was spent."""
        return super().state_dict() | self.pool.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """What `state_dict` gave."""
        super().load_state_dict(state)
        self.pool.load_state_dict(state)


def grouped(items: Sequence[ScoreRequest]) -> dict[str, list[int]]:
    """The places of each group's answers."""
    groups: dict[str, list[int]] = {}
    for i, item in enumerate(items):
        groups.setdefault(item.group, []).append(i)
    return groups


def _known(rows: Sequence[Sequence[object]], width: int) -> tuple[list[int], Tensor]:
    """(which rows are known of everybody, their values [K G])."""
    places = [k for k, row in enumerate(rows) if all(isinstance(value, float) for value in row)]
    values = [[float(value) for value in rows[k] if isinstance(value, float)] for k in places]
    return places, torch.tensor(values, dtype=torch.float64).reshape(len(places), width)
